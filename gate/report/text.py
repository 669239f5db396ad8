"""Report -> text for a terminal or a log: the verdict's reason first, then rows, worst first.

Colour repeats what a word already says, so nothing is lost without it.
"""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.text import Text

from gate.model import BudgetCheck, BudgetState, Kind, Level, Report, State, Timing
from gate.report import format as f
from gate.report import interval, rows, says
from gate.report.rows import Mark, Row, Time

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
    Mark.INCONCLUSIVE: "yellow",
    Mark.INCOMPARABLE: "yellow",
    Mark.ACCEPTED: "red",
    Mark.IMPROVED: "green",
    Mark.NEW: "cyan",
}
_INDENT = 14  # of what stands below a row, and of what follows a footer's name
_MET = 20  # budgets that are met and still listed
_REASONS = 5
_NARROWEST = 60
_ROOMY = 90


def text(report: Report, *, width: int = 100, color: bool = False) -> str:
    """The whole report, ending in a newline. Lines keep to `width` (at least 60) cells, but for the
    first, which is never broken, and commands and reasons, which are to be copied whole."""
    width = max(width, _NARROWEST)
    shown = rows.ordered(report)
    counts = [_comparisons(shown, says.untold(report), width), _alone(shown, width)]
    times = _times(report, shown, width)
    blocks = (
        _head(report, shown),
        *((times, *counts) if rows.times_first(shown) else counts),
        _budgets(report, width),
        *(() if rows.times_first(shown) else (times,)),
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


def _table(
    header: Sequence[str], lines: Sequence[_Line], *, width: int, flexible: int = 1, left: int = 3
) -> Iterator[Text]:
    """Columns as wide as their cells, of which `flexible` gives way; from column `left` on, numbers."""
    every = [tuple(header), *(line.cells for line in lines)]
    widths = [max(cell_len(cells[i]) for cells in every) for i in range(len(header))]
    widths[0] = max(widths[0], _INDENT - 2)
    spare = width - sum(widths) - 2 * (len(header) - 1)
    widths[flexible] = max(widths[flexible] + min(spare, 0), 12)
    yield Text(_joined(header, widths, left), "dim")
    for line in lines:
        shown = Text(_joined(line.cells, widths, left))
        shown.stylize(line.style, 0, len(line.cells[0]))
        yield shown
        for note in line.below:
            for part in _words(note, width - _INDENT):
                yield Text(" " * _INDENT + part, "dim")


def _joined(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    parts = [
        _fitted(cell, size) if index < left else " " * (size - cell_len(cell)) + cell
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


def _comparisons(shown: Sequence[Row], said: Sequence[str], width: int) -> Iterator[Text]:
    """The counts: what changed, a row each, and how much is equal."""
    judged = [row for row in rows.changed(shown) if not row.timed]
    if judged:
        header: tuple[str, ...] = ("", "case", "metric", "base", "head", "change", "allowed")
        below = says.below(judged, shown, said=said, limit=width - _INDENT)
        lines = [_count(row, notes) for row, notes in zip(judged, below, strict=True)]
        if width < _ROOMY:
            # The names of the cases need the room more than what was allowed.
            header = header[:-1]
            lines = [dataclasses.replace(line, cells=line.cells[:-1]) for line in lines]
        yield from _table(header, lines, width=width)
    for equal in rows.equals([row for row in shown if not row.timed]):
        yield Text(_equal(equal, width))


def _count(row: Row, below: tuple[str, ...]) -> _Line:
    comparison = row.comparison
    base, head = f.both(comparison.base, comparison.head, comparison.unit)
    allowed = f.UNKNOWN if comparison.allowed is None else f.share(comparison.allowed)
    return _Line(
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
        below=below,
    )


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
    fine, few = [check for check in checks if rows.met(check)], rows.too_few(checks)
    listed = [check for check in checks if not rows.met(check) and check not in few]
    listed += fine if len(fine) <= _MET else []
    if listed:
        header = ("budgets", "case", "metric", "value", "target", "standing")
        lines = [_budget(check, names[check.case]) for check in listed]
        yield from _table(header, lines, width=width)
    if few:
        said = f"{f.plural(len(few), 'budget')}: n too small"
        said += f"; {f.clean(names[few[0].case])} {f.clean(few[0].metric, 24)}: {few[0].reason}"
        yield from _footer(Mark.INCONCLUSIVE.value, f.flat(said, says.SENTENCE), width)
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
    return Mark.INCONCLUSIVE.value if check.state is BudgetState.TOO_FEW else Mark.NOTE.value


_TIMES = 12  # a terminal's screen is for the verdict; the other formats have them all
_NAME = 24  # cells that a case's name keeps before another column is shown
_WHOLE = 40  # the same before a column that says nothing of the verdict


def _times(report: Report, shown: Sequence[Row], width: int) -> Iterator[Text]:
    """The times of both sides: those that are not equal, then the slowest, their intervals on one scale."""
    every = rows.times(report, shown)
    if not every:
        return
    end = interval.scale(report.comparisons)
    listed = _listed(every)
    judged = [time.row for time in listed if time.row is not None and time.row.mark is not Mark.EQUAL]
    notes = says.below(judged, shown, said=says.untold(report), limit=says.SENTENCE)
    below = {row.comparison.case: lines for row, lines in zip(judged, notes, strict=True)}
    drawn = [
        _Line(
            cells=(time.row.mark.value if time.row else "", *times_cells(time, end)),
            style=_MARKS.get(time.row.mark, "") if time.row else "",
            below=below.get(time.row.comparison.case, ()) if time.row else (),
        )
        for time in listed
    ]
    header = ("times", *times_header(end))
    kept = _fitting(header, drawn, width)
    lines = [dataclasses.replace(line, cells=tuple(line.cells[index] for index in kept)) for line in drawn]
    yield from _table([header[index] for index in kept], lines, width=width, left=2)
    if len(every) > len(listed):
        more = f"{len(every) - len(listed)} more in the JSON and the Markdown report"
        yield from _footer("", more, width)
    yield from _footer("", legend(report) if _PICTURE in kept else f"{says.allowed(report)} allowed", width)
    if needing := says.needing(shown):
        yield from _footer("", needing, width)


_PICTURE = 5


def legend(report: Report) -> str:
    allowed = says.allowed(report)
    return f"# change (middle of the pairs), = interval, : allowed ({allowed}), < > beyond the scale"


def times_header(end: float) -> tuple[str, ...]:
    return ("case", "base", "head", "change", interval.ruler(end), "pairs", "p95", "cpu", "services")


def times_cells(time: Time, end: float) -> tuple[str, ...]:
    """The cells of one case under `times_header`; p95 and processor time are head's."""
    row, timing = time.row.comparison if time.row else None, time.timing
    own = (timing.p95, timing.cpu, timing.services_cpu) if timing else (None, None, None)
    return (
        f.clean(time.title),
        f.value(row.base if row else None, "s"),
        f.value(row.head if row else timing.p50 if timing else None, "s"),
        f.change(row) if row else f.UNKNOWN,
        interval.picture(row, end) if row else "",
        f.count(row.pairs) if row else f.UNKNOWN,
        *(f.value(each, "s") for each in own),
    )


def _listed(every: Sequence[Time]) -> tuple[Time, ...]:
    """What changed, all of it; what could not be told and what is equal, as far as there is room."""
    told = [time.row is not None and time.row.mark not in (Mark.INCONCLUSIVE, Mark.EQUAL) for time in every]
    room = _TIMES - sum(told)
    found = []
    for time, certain in zip(every, told, strict=True):
        room -= not certain
        if certain or room >= 0:
            found.append(time)
    return tuple(found)


def _fitting(header: Sequence[str], lines: Sequence[_Line], width: int) -> list[int]:
    """The columns there is room for. The picture goes first, then what says nothing of the verdict."""
    every = [header, *(line.cells for line in lines)]
    widths = [max(cell_len(cells[i]) for cells in every) for i in range(len(header))]
    kept = [0, 1, 2, 3, 4]
    room = width - _INDENT - sum(widths[index] + 2 for index in kept[2:])
    for index in range(_PICTURE, len(header)):
        least = min(widths[1], _NAME if index == _PICTURE else _WHOLE)
        if any(line.cells[index].strip(f.UNKNOWN) for line in lines) and room - widths[index] - 2 >= least:
            kept.append(index)
            room -= widths[index] + 2
    return kept


def _timings(report: Report, width: int) -> Iterator[Text]:
    """Head's own times, where nothing was timed side by side."""
    if not report.timings or any(row.kind is Kind.TIMING for row in report.comparisons):
        return
    names = rows.titles(report)
    header = ("times", "case", "", "p50", "p95", "p99", "spread", "n")
    slowest = sorted(report.timings, key=lambda each: -each.p50)[:_TIMES]
    lines = [_Line(cells=("", f.clean(names[each.case]), "", *timing(each))) for each in slowest]
    yield from _table(header, lines, width=width)
    if len(report.timings) > _TIMES:
        more = f"the slowest; {len(report.timings) - _TIMES} more in the JSON and the Markdown report"
        yield from _footer("", more, width)


def timing(each: Timing) -> tuple[str, ...]:
    """The cells of head's times of one case."""
    return (
        f.value(each.p50, "s"),
        f.value(each.p95, "s"),
        f.value(each.p99, "s"),
        f"+-{f.share(each.spread)}",
        f.count(each.n),
    )


def _findings(report: Report) -> list[str]:
    found = rows.ordered_findings(report.findings)
    return [f"{each.level.value}: {f.flat(each.text, says.SENTENCE)}" for each in found]


def _list(name: str, sentences: Sequence[str], width: int) -> Iterator[Text]:
    for index, sentence in enumerate(sentences):
        yield from _footer(name if index == 0 else "", sentence, width)


def _footer(name: str, sentence: str, width: int) -> Iterator[Text]:
    for index, line in enumerate(_words(sentence, width - _INDENT)):
        shown = Text(f"{name if index == 0 else '':<{_INDENT}}{line}")
        shown.stylize("dim", 0, _INDENT)
        yield shown


_BREAKS = re.compile(r" (?!(?:%|min|s|ms|us|ns)(?!\w))")  # a number keeps its unit


def _words(sentence: str, width: int) -> Iterator[str]:
    """Lines of at most `width` cells; a longer word is broken."""
    line = ""
    for word in _BREAKS.split(sentence):
        *full, rest = chop_cells(word, width) or [""]
        joined = f"{line} {rest}" if line else rest
        if line and (full or cell_len(joined) > width):
            yield line
            joined = rest
        yield from full
        line = joined
    yield line


def _foot(report: Report, width: int) -> Iterator[Text]:
    yield from _footer("environment", says.environment(report), width)
    if report.timeline:
        yield from _footer("time", says.timeline(report), width)
    spent = (*says.measuring(report), *filter(None, (says.untimed(report),)))
    yield from _list("timing", spent, width)
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
