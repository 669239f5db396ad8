"""Report -> text for a terminal or a log: the verdict's reason first, then rows, worst first.

Colour repeats what a word already says, so nothing is lost without it.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from gate.model import BudgetCheck, BudgetState, Level, Report, State, Timing
from gate.report import format as f
from gate.report import rows, says
from gate.report.rows import Mark, Row

_STATES = {
    State.PASS: "bold green",
    State.ACCEPTED: "bold yellow",
    State.INCONCLUSIVE: "bold yellow",
    State.BLOCKED: "bold red",
    State.ERROR: "bold red",
}
# An accepted row stays red: the merge is allowed, the row is no better for it.
_MARKS = {
    Mark.BLOCKED: "bold red",
    Mark.FAILED: "bold red",
    Mark.WARN: "yellow",
    Mark.UNCLEAR: "yellow",
    Mark.ACCEPTED: "red",
    Mark.IMPROVED: "green",
    Mark.NEW: "cyan",
}
_INDENT = 12  # of what stands below a row, and of what follows a footer's name
_MET = 20  # budgets that are met and still listed
_REASONS = 5
_NARROWEST = 60
_ROOMY = 90


def text(report: Report, *, width: int = 100, color: bool = False) -> str:
    """The whole report, ending in a newline. Lines keep to `width` (at least 60) cells, but for the
    first, which is never broken, and commands and reasons, which are to be copied whole."""
    width = max(width, _NARROWEST)
    shown = rows.ordered(report)
    blocks = (
        _head(report, shown),
        _comparisons(shown, width),
        _alone(shown, width),
        _budgets(report, width),
        _timings(report, width),
        _list("findings", _findings(report), width),
        _list("caveats", says.doubts(report, shown), width),
        _foot(report, width),
    )
    filled = [list(block) for block in blocks]
    lines = [line for block in filled if block for line in (*block, Text())][:-1]
    return _rendered(lines, width=width, color=color)


def _rendered(lines: Iterable[Text], *, width: int, color: bool) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
        legacy_windows=False,
        _environ={},  # the environment must not decide what a report looks like
    )
    for line in lines:
        line.rstrip()
        console.print(line, soft_wrap=True)
    return out.getvalue()


def _head(report: Report, shown: Sequence[Row]) -> Iterator[Text]:
    state = report.verdict.state
    line = Text(says.headline(report))
    line.stylize(_STATES[state], 0, len(state.value))
    yield line
    others = says.reasons(report)[1:]
    for reason in others[:_REASONS]:
        yield Text(f"  also: {reason}")
    if len(others) > _REASONS:
        yield Text(f"  and {f.plural(len(others) - _REASONS, 'more reason')}")
    yield Text(says.sides(report), "dim")
    yield Text(says.tally(shown), "dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line of a table: its cells, the first one's style, and what stands below it."""

    cells: tuple[str, ...]
    style: str = ""
    below: tuple[str, ...] = ()


def _table(header: Sequence[str], lines: Sequence[_Line], *, width: int, flexible: int) -> Iterator[Text]:
    """Columns as wide as their cells, numbers to the right of column `flexible`, which gives way."""
    every = [tuple(header), *(line.cells for line in lines)]
    widths = [max(cell_len(cells[i]) for cells in every) for i in range(len(header))]
    widths[0] = max(widths[0], _INDENT - 2)
    spare = width - sum(widths) - 2 * (len(header) - 1)
    widths[flexible] = max(widths[flexible] + min(spare, 0), 12)
    yield Text(_joined(header, widths, flexible), "dim")
    for line in lines:
        shown = Text(_joined(line.cells, widths, flexible))
        shown.stylize(line.style, 0, len(line.cells[0]))
        yield shown
        for note in line.below:
            yield Text(" " * _INDENT + note, "dim")


def _joined(cells: Sequence[str], widths: Sequence[int], flexible: int) -> str:
    # Left are the mark, the case and the name of its metric beside it; right are numbers.
    parts = [
        _fitted(cell, size) if index <= flexible + 1 else " " * (size - cell_len(cell)) + cell
        for index, (cell, size) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(parts)


def _fitted(cell: str, size: int) -> str:
    """Padded to `size` cells; too long a name loses its middle, since names differ at both ends."""
    if cell_len(cell) <= size:
        return set_cell_size(cell, size)
    head = (size - 3 + 1) // 2
    tail = set_cell_size(cell[::-1], size - 3 - head)[::-1]
    return set_cell_size(cell, head) + "..." + tail


def _comparisons(shown: Sequence[Row], width: int) -> Iterator[Text]:
    judged = [row for row in shown if row.mark is not Mark.EQUAL and not rows.alone(row)]
    if judged:
        header: tuple[str, ...] = ("", "case", "metric", "base", "head", "change", "allowed")
        lines = list(_lines(judged, width))
        if width < _ROOMY:
            # The names of the cases need the room more than what was allowed.
            header = header[:-1]
            lines = [dataclasses.replace(line, cells=line.cells[:-1]) for line in lines]
        yield from _table(header, lines, width=width, flexible=1)
    for equal in rows.equals(shown):
        yield Text(_equal(equal, width))


def _lines(judged: Sequence[Row], width: int) -> Iterator[_Line]:
    before = ""
    for row in judged:
        comparison = row.comparison
        base, head = f.both(comparison.base, comparison.head, comparison.unit)
        allowed = f.UNKNOWN if comparison.allowed is None else f.share(comparison.allowed)
        yield _Line(
            cells=(
                row.mark.value,
                f.clean(row.title),
                f.clean(comparison.metric, 24),
                base,
                head,
                f.change(comparison),
                allowed,
            ),
            style=_MARKS.get(row.mark, ""),
            below=says.notes(row, limit=width - _INDENT, repeated=before),
        )
        before = comparison.cause.summary if comparison.cause else ""


def _equal(equal: rows.Equal, width: int) -> str:
    counted = f.plural(len(equal.titles), "case")
    if equal.metrics == equal.of:
        return f"{'equal':<{_INDENT}}{counted} x {f.plural(equal.metrics, 'metric')}"
    named = ", ".join(f.clean(title) for title in equal.titles)
    line = f"{'equal':<{_INDENT}}{named}: {equal.metrics} of {f.plural(equal.of, 'metric')}"
    if cell_len(line) <= width:
        return line
    return f"{'equal':<{_INDENT}}{counted}: {equal.metrics} of {f.plural(equal.of, 'metric')} each"


def _alone(shown: Sequence[Row], width: int) -> Iterator[Text]:
    """Cases with nothing to compare: each one with its values below it."""
    for several in rows.by_case(row for row in shown if rows.alone(row)):
        mark = several[0].mark
        line = Text(f"{mark.value:<{_INDENT}}{f.clean(several[0].title)}")
        line.stylize(_MARKS[mark], 0, len(mark.value))
        yield line
        for part in _wrapped(rows.costs(several), width - _INDENT):
            yield Text(" " * _INDENT + part, "dim")


def _wrapped(parts: Sequence[str], width: int) -> Iterator[str]:
    line = ""
    for part in parts:
        joined = f"{line}, {part}" if line else part
        if line and cell_len(joined) > width - 1:
            yield line + ","
            joined = part
        line = joined
    if line:
        yield line


def _budgets(report: Report, width: int) -> Iterator[Text]:
    checks = rows.ordered_budgets(report.budgets)
    names = rows.titles(report)
    fine = [check for check in checks if rows.met(check)]
    listed = [check for check in checks if not rows.met(check)] + (fine if len(fine) <= _MET else [])
    if listed:
        header = ("budgets", "case", "metric", "value", "target", "standing")
        lines = [_budget(check, names[check.case]) for check in listed]
        yield from _table(header, lines, width=width, flexible=1)
    if len(fine) > _MET:
        yield Text(f"{'met':<{_INDENT}}{f.plural(len(fine), 'budget')}")


def _budget(check: BudgetCheck, title: str) -> _Line:
    shown, target = f.both(check.value, check.target, check.unit)
    reason = (f.flat(check.reason, 80),) if check.reason else ()
    word, style = budget_mark(check), ""
    if check.blocking or check.level is Level.WARN:
        style = _MARKS[Mark.BLOCKED if check.blocking else Mark.WARN]
    return _Line(
        cells=(word, f.clean(title), f.clean(check.metric, 24), shown, target, check.state.value),
        style=style,
        below=reason,
    )


def budget_mark(check: BudgetCheck) -> str:
    """The word in front of a budget."""
    if check.blocking:
        return Mark.BLOCKED.value
    if check.level is Level.WARN:
        return Mark.WARN.value
    if rows.met(check):
        return "met"
    return Mark.UNCLEAR.value if check.state is BudgetState.TOO_FEW else Mark.NOTE.value


_TIMES = 12  # a terminal's screen is for the verdict; the other formats have them all


def _timings(report: Report, width: int) -> Iterator[Text]:
    if not report.timings:
        return
    names = rows.titles(report)
    based = any(each.base_p50 is not None for each in report.timings)
    header = ("times", "case", "", *(("base p50",) if based else ()), "p50", "p95", "p99", "spread", "n")
    slowest = sorted(report.timings, key=lambda each: -each.p50)[:_TIMES]
    lines = [_Line(cells=("", f.clean(names[each.case]), "", *timing(each, based))) for each in slowest]
    yield from _table(header, lines, width=width, flexible=1)
    if len(report.timings) > _TIMES:
        more = f"the slowest; {len(report.timings) - _TIMES} more in the JSON and the Markdown report"
        yield from _footer("", more, width)


def timing(each: Timing, based: bool) -> tuple[str, ...]:
    """The cells of one case's times; base's median first where any case has one."""
    cells = (
        f.value(each.p50, "s"),
        f.value(each.p95, "s"),
        f.value(each.p99, "s"),
        f"+-{f.share(each.spread)}",
        f.count(each.n),
    )
    return (f.value(each.base_p50, "s"), *cells) if based else cells


def _findings(report: Report) -> list[str]:
    found = rows.ordered_findings(report.findings)
    return [f"{each.level.value}: {f.flat(each.text, says.REASON)}" for each in found]


def _list(name: str, sentences: Sequence[str], width: int) -> Iterator[Text]:
    for index, sentence in enumerate(sentences):
        yield from _footer(name if index == 0 else "", sentence, width)


def _footer(name: str, sentence: str, width: int) -> Iterator[Text]:
    for index, line in enumerate(_words(sentence, width - _INDENT)):
        shown = Text(f"{name if index == 0 else '':<{_INDENT}}{line}")
        shown.stylize("dim", 0, _INDENT)
        yield shown


def _words(sentence: str, width: int) -> Iterator[str]:
    line = ""
    for word in sentence.split(" "):
        joined = f"{line} {word}" if line else word
        if line and cell_len(joined) > width:
            yield line
            joined = word
        line = joined
    yield line


def _foot(report: Report, width: int) -> Iterator[Text]:
    yield from _footer("environment", says.environment(report), width)
    if report.timeline:
        yield from _footer("time", says.timeline(report), width)
    if report.verdict.state is not State.PASS:
        yield _command("reproduce", says.reproducing(report))
    for name, commands in (("accept", says.accepting(report)), ("adopt", says.adopting(report))):
        for index, command in enumerate(commands):
            yield _command(name if index == 0 else "", command)


def _command(name: str, command: str) -> Text:
    """Never broken: it is to be copied."""
    shown = Text(f"{name:<{_INDENT}}{command}")
    shown.stylize("dim", 0, _INDENT)
    return shown
