"""Report -> Markdown for a pull request's comment or a job's summary.

Every string a template prints becomes an inert code span unless it was made here (`Inert`), so that
forgetting to quote a name shows it in code instead of letting it act: a name may hold a table's bar,
a mention, an image or HTML. Numbers are formatted from floats.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from jinja2 import PackageLoader, StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment

from gate.explain import holds, longer
from gate.model import BudgetCheck, Difference, Gain, Holding, PlanChange, Report, State
from gate.report import format as f
from gate.report import interval, rows, says
from gate.report.rows import Mark, Row, Time
from gate.report.text import budget_mark, legend, timing

_CAUSE = 240  # characters of a cause under its row
_SQL = 2000  # characters of a statement in the evidence
_PLAN_LINES, _PLAN_LINE = 60, 200  # lines, and characters of each
_GAINS = 5
_INCONCLUSIVE = 8  # times that could not be told, of those outside of the fold
_NUMEROUS = 1_000_000
_ICONS = {
    "BLOCKED": "🔴 blocked",
    "FAILED": "🔴 failed",
    "warn": "🟡 warn",
    "note": "⚪ note",
    "inconclusive": "🟡 inconclusive",
    "incomparable": "🟡 incomparable",
    "accepted": "🔴 accepted",  # the merge is allowed, the row is no better for it
    "improved": "🟢 improved",
    "new": "⚪ new",
    "equal": "equal",
    "met": "🟢 met",
}
_MEASURES = frozenset({"calls", "rows", "blocks", "temp blocks", "WAL records"})
_MAIN = (Mark.BLOCKED, Mark.FAILED, Mark.WARN, Mark.NOTE, Mark.INCONCLUSIVE, Mark.ACCEPTED)


# GitHub's parser takes no fence of more than 80 backticks for code, and counts a block's to 255 only.
_RUN = "`" * 40
_LONG_RUN = re.compile("`{41,}")


class Inert(str):
    """Markdown made here, of constants, numbers and quoted text: printed as it is."""

    __slots__ = ()


def whole(text: str) -> Inert:
    """A number and its unit, or a mark and its word, that a narrow column must not break."""
    return Inert(text.replace(" ", "\u00a0"))


def code(text: str) -> Inert:
    """A code span outside of tables: fenced by more backticks than it holds, "-" where it is blank."""
    text = _LONG_RUN.sub(_RUN, text) if text.strip() else "-"
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return Inert(f"{fence}{pad}{text}{pad}{fence}")


def cell(text: str) -> Inert:
    r"""A code span that may also stand in a table, where a bar ends the cell even inside of code.

    Before the bar stands an odd number of backslashes, since parsers differ in whether `\\|` escapes
    the bar; where the text holds an odd number already, it shows one more.
    """

    def escaped(found: re.Match[str]) -> str:
        slashes = found[1]
        return slashes + "\\" * (len(slashes) % 2) + "\\|"

    return Inert(re.sub(r"(\\*)\|", escaped, code(text)))


def fenced(text: str, language: str) -> Inert:
    """A code block, fenced by more backticks than any run in it."""
    text = _LONG_RUN.sub(_RUN, text)
    fence = "`" * max(3, _longest_run(text) + 1)
    return Inert(f"{fence}{language}\n{text}\n{fence}")


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _finalized(value: object) -> object:
    return value if isinstance(value, Inert | int) else cell(f.clean(str(value), says.REASON))


@cache
def _template() -> Template:
    environment = SandboxedEnvironment(
        loader=PackageLoader("gate.report"),
        undefined=StrictUndefined,
        autoescape=False,  # the output is Markdown; _finalized quotes whatever is not Inert
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    return environment.get_template("comment.md.j2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many of each are shown. In the order of these fields the report is cut to its size.

    compact: blocked rows as one line per case, without causes.
    """

    every: int = _NUMEROUS
    times: int = _NUMEROUS
    statements: int = _NUMEROUS
    new: int = _NUMEROUS
    improved: int = _NUMEROUS
    met: int = _NUMEROUS
    doubts: int = _NUMEROUS
    others: int = _NUMEROUS
    budgets: int = _NUMEROUS
    compact: bool = False
    blocked: int = _NUMEROUS


def markdown(report: Report, *, limit: int = 60_000, commit: str = "") -> str:
    """The whole report in at most `limit` bytes of UTF-8 (GitHub counts a comment's characters and a
    summary's bytes; bytes are never fewer). commit: one that `origin` hands out; where it is what was
    measured, the commands begin with fetching it.

    What does not fit is left out from the least to the most important, and a closing line says so:
    equal rows go first, blocking rows never while one line per case fits.
    """
    view = _view(report, commit)
    room = Room()
    made = _rendered(view, room)
    for name in (field.name for field in dataclasses.fields(Room)):
        while len(made.encode()) > limit and (smaller := _smaller(room, name, view)) is not None:
            room = smaller
            made = _rendered(view, room)
    return made


def _smaller(room: Room, name: str, view: View) -> Room | None:
    """Half of this field, or None where nothing of it is left to take away."""
    if name == "compact":
        return None if room.compact else dataclasses.replace(room, compact=True)
    kept = min(getattr(room, name), view.sizes(room)[name])
    return dataclasses.replace(room, **{name: kept // 2}) if kept else None


def _rendered(view: View, room: Room) -> str:
    shown = {
        "every": view.every[: room.every],
        "times": view.times[: room.times],
        "statements": view.statements[: room.statements],
        "new": view.new[: room.new],
        "improved": view.improved[: room.improved],
        "met": view.met[: room.met],
        "doubts": view.doubts[: room.doubts],
        "others": view.others[: room.others],
        "budgets": view.budgets[: room.budgets],
        "blocked": () if room.compact else view.blocked[: room.blocked],
        "compact": view.compact[: room.blocked] if room.compact else (),
    }
    return _template().render(view=view, left_out=_left_out(view, room), **shown)


def _left_out(view: View, room: Room) -> tuple[str, ...]:
    """What the cut took, in words: ("12 of 72 rows", ...)."""
    sizes = view.sizes(room)
    words = {
        "every": ("row of the table of counts", "rows of the table of counts"),
        "times": ("time", "times"),
        "statements": ("case's statements", "cases' statements"),
        "new": ("new case", "new cases"),
        "improved": ("improved row", "improved rows"),
        "met": ("folded budget", "folded budgets"),
        "doubts": ("finding or caveat", "findings and caveats"),
        "others": ("row that does not block", "rows that do not block"),
        "budgets": ("budget not met", "budgets not met"),
        "blocked": ("case that blocks", "cases that block")
        if room.compact
        else ("row that blocks", "rows that block"),
    }
    return tuple(
        Inert(f"{sizes[name] - getattr(room, name):,} of {sizes[name]:,} {words[name][sizes[name] != 1]}")
        for name in words
        if getattr(room, name) < sizes[name]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of a table: cells in order; foreign text as plain str, what was made here as Inert.

    timed: of the table of times, whose columns are others.
    """

    cells: tuple[str, ...]
    below: tuple[str, ...] = ()
    timed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What stands behind one changed case: (what it is, SQL, command, plan or code in a fence)."""

    title: str
    parts: tuple[tuple[Inert, Inert], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that the template may print, in the order of its sections."""

    icon: Inert
    state: Inert
    reason: str
    also: tuple[str, ...]
    tally: Inert
    sides: Inert
    blocked: tuple[Line, ...]
    compact: tuple[Line, ...]
    others: tuple[Line, ...]
    improved: tuple[Line, ...]
    new: tuple[Line, ...]
    every: tuple[Line, ...]
    budgets: tuple[Line, ...]
    met: tuple[Line, ...]
    few: bool
    times: tuple[Line, ...]
    times_first: bool
    ruler: Inert
    legend: Inert
    needing: Inert
    compared: bool
    doubts: tuple[tuple[Inert, str], ...]
    statements: tuple[Proof, ...]
    environment: str
    timeline: str
    measuring: tuple[str, ...]
    tool: str
    adopt: Inert | None
    accept: Inert | None
    repeats: Inert
    reproduce: Inert

    def sizes(self, room: Room) -> dict[str, int]:
        """How many there are of what `Room` bounds."""
        names = (field.name for field in dataclasses.fields(Room) if field.name not in ("compact", "blocked"))
        found = {name: len(getattr(self, name)) for name in names}
        return found | {"blocked": len(self.compact if room.compact else self.blocked)}


_STATES = {
    State.PASS: "🟢",
    State.BLOCKED: "🔴",
    State.ERROR: "🔴",
    State.ACCEPTED: "🟡",
    State.INCONCLUSIVE: "🟡",
}


def _view(report: Report, commit: str) -> View:
    shown = rows.ordered(report)
    reasons = says.reasons(report)
    changed = rows.changed(shown)
    blocked = [row for row in changed if row.mark is Mark.BLOCKED]
    others = _visible([row for row in changed if row.mark in _MAIN[1:]])
    improved = [row for row in changed if row.mark is Mark.IMPROVED]
    end = interval.scale(report.comparisons)
    every = rows.times(report, shown)
    # Rows say again what further reasons say, except where there is no row to say it.
    spoken = report.verdict.state in (State.BLOCKED, State.ACCEPTED)
    accept, adopt = says.accepting(report), says.adopting(report)
    fetch = says.fetching(report, commit)

    def lines(judged: Sequence[Row]) -> tuple[Line, ...]:
        below = says.below(judged, shown, said=says.untold(report), limit=_CAUSE)
        made = [
            (row, dataclasses.replace(_line(row, end), below=notes))
            for row, notes in zip(judged, below, strict=True)
        ]
        several = groupby(made, lambda each: (each[0].comparison.case, each[0].mark, each[0].timed))
        return tuple(_together([line for _, line in group]) for _, group in several)

    return View(
        icon=Inert(_STATES[report.verdict.state]),
        state=Inert(report.verdict.state.value),
        reason=reasons[0],
        also=() if spoken else reasons[1:6],
        tally=Inert(says.tally(shown)),
        sides=_sides(report),
        blocked=lines(blocked),
        compact=_compact(blocked),
        others=lines(others),
        improved=lines(improved),
        new=_new([row for row in shown if rows.alone(row)]),
        every=tuple(_line(row, end) for row in shown if not row.timed),
        budgets=_budgets(report, folded=False),
        met=_budgets(report, folded=True),
        few=bool(rows.too_few(report.budgets)),
        times=tuple(_time(time, end) for time in every) or _own_times(report),
        times_first=rows.times_first(shown),
        ruler=_drawn(interval.ruler(end)),
        legend=Inert(_MARKS.sub(r"`\1`", legend(report))),
        needing=Inert(says.needing(shown)),
        compared=bool(every),
        doubts=_doubts(report, shown),
        statements=tuple(_statements(shown)),
        environment=says.environment(report),
        timeline=says.timeline(report),
        measuring=says.measuring(report),
        tool=f.clean(report.tool),
        adopt=fenced("\n".join(adopt), "sh") if adopt else None,
        accept=fenced("\n".join((says.measuring_anew(report), *accept)), "sh") if accept else None,
        repeats=_repeats(report, fetched=bool(fetch)),
        reproduce=fenced("\n".join(filter(None, (fetch, says.reproducing(report)))), "sh"),
    )


def _visible(judged: Sequence[Row]) -> list[Row]:
    """Without most of the times that could not be told, where they are many: the fold has them all."""
    untold = [row for row in judged if row.timed and row.mark is Mark.INCONCLUSIVE]
    hidden = {row.comparison.case for row in untold[_INCONCLUSIVE:]}
    return [row for row in judged if not (row.timed and row.comparison.case in hidden)]


def _repeats(report: Report, *, fetched: bool) -> Inert:
    """What the command below it does."""
    what = "measures the blocked case again" if says.only_blocked(report) else "repeats the run"
    if says.of_saved(report):
        return Inert("This compares the two saved runs again:")
    if fetched:
        return Inert(f"This fetches what was measured and {what}:")
    where = "In the same working tree" if report.sides.head.dirty else "On a checkout of head"
    return Inert(f"{where}, this {what}:")


def _sides(report: Report) -> Inert:
    """Base and head with their commits in code: a bare commit id would become a link."""
    return Inert(f"{says.base(report.sides.base, report, quote=code)}, {says.head(report, quote=code)}")


_MARKS = re.compile(r"(?<!\S)([#=:<>])(?!\S)")  # of the legend, which must not act as Markdown


def _drawn(picture: str) -> Inert:
    """A drawing in code whose columns stay where they are: spaces of code may fold, these do not."""
    return code(picture.replace(" ", "\u00a0")) if picture else Inert(f.UNKNOWN)


def _line(row: Row, end: float) -> Line:
    comparison = row.comparison
    base, head = f.both(comparison.base, comparison.head, comparison.unit)
    allowed = f.UNKNOWN if comparison.allowed is None else f.share(comparison.allowed)
    change = whole(f.change(comparison))
    mark, title = whole(_ICONS[row.mark.value]), f.clean(row.title)
    sides = whole(base), whole(head), change
    if row.timed:
        drawn = _drawn(interval.picture(comparison, end))
        return Line(cells=(mark, title, *sides, drawn, whole(allowed)), timed=True)
    return Line(cells=(mark, title, f.clean(comparison.metric, 40), *sides, whole(allowed)))


_APART = re.compile(r"(?<!\w)'[^']*'|; ")  # a literal of SQL, or the end of one of several things said


def _note(text: str) -> Inert:
    """What stands below a row: one line for each thing that a sentence says."""
    said = _APART.sub(lambda found: "\n" if found[0] == "; " else found[0], text).split("\n")
    parts = (f.clean(part, says.SENTENCE).replace(" -> ", " → ") for part in said)
    return Inert("<br>".join(map(cell, parts)))


def _joined(notes: Sequence[str]) -> list[str]:
    """With what several say of the same statement as one: "the same statement: 603 blocks (was 3), ..."."""
    found: list[str] = []
    for note in notes:
        more = note.startswith(f.SAME) and bool(found) and found[-1].startswith(f.SAME)
        if more and ";" not in found[-1]:
            found[-1] += f", {note.removeprefix(f.SAME)}"
        else:
            found.append(note)
    return found


def _together(lines: Sequence[Line]) -> Line:
    """The rows of one case as one, a line for each metric: its name and its cause stand there once."""
    columns = zip(*(line.cells[2:] for line in lines), strict=True)
    cells = (Inert("<br>".join(str(_finalized(each)) for each in column)) for column in columns)
    return Line(
        cells=(*lines[0].cells[:2], *cells),
        below=tuple(map(_note, _joined([note for line in lines for note in line.below]))),
        timed=lines[0].timed,
    )


def _compact(blocked: Sequence[Row]) -> tuple[Line, ...]:
    """One line per case: its title and each metric's change."""
    cases: dict[str, list[Row]] = {}
    for row in blocked:
        cases.setdefault(row.title, []).append(row)
    return tuple(
        Line(
            cells=(f.clean(title),),
            below=tuple(
                f"{f.clean(row.comparison.metric, 40)} {f.change(row.comparison)}" for row in several
            ),
        )
        for title, several in cases.items()
    )


def _new(alone: Sequence[Row]) -> tuple[Line, ...]:
    """Cases without a base: mark, title, and what each costs."""
    return tuple(
        Line(
            cells=(whole(_ICONS[several[0].mark.value]), f.clean(several[0].title)), below=rows.costs(several)
        )
        for several in rows.by_case(alone)
    )


def _budgets(report: Report, *, folded: bool) -> tuple[Line, ...]:
    """folded: those that are met, and those that many have too few values for."""
    names = rows.titles(report)
    checks = rows.ordered_budgets(report.budgets)
    few = rows.too_few(checks)
    return tuple(
        _budget(check, names[check.case]) for check in checks if (rows.met(check) or check in few) is folded
    )


def _budget(check: BudgetCheck, title: str) -> Line:
    shown, target = f.both(check.value, check.target, check.unit)
    return Line(
        cells=(
            whole(_ICONS[budget_mark(check)]),
            f.clean(title),
            f.clean(check.metric, 40),
            whole(shown),
            whole(target),
            whole(check.state.value),
        ),
        below=(f.flat(check.reason, _CAUSE),) if check.reason else (),
    )


def _time(time: Time, end: float) -> Line:
    """All that is known of one case's times."""
    row, timing = time.row.comparison if time.row else None, time.timing
    mark = time.row.mark if time.row else None
    pairs = f"{row.pairs:,} {row.stage}".strip() if row and row.pairs else f.UNKNOWN
    own = (timing.p95, timing.p99, timing.cpu, timing.services_cpu) if timing else (None,) * 4
    numbers = (
        f.value(row.base if row else None, "s"),
        f.value(row.head if row else timing.p50 if timing else None, "s"),
        f.change(row) if row else f.UNKNOWN,
    )
    return Line(
        cells=(
            whole(_ICONS[mark.value] if mark else f.UNKNOWN),
            f.clean(time.title),
            *map(whole, numbers),
            _drawn(interval.picture(row, end) if row else ""),
            *(whole(f.value(each, "s")) for each in own),
            whole(f.clean(pairs)),
        )
    )


def _own_times(report: Report) -> tuple[Line, ...]:
    names = rows.titles(report)
    return tuple(
        Line(cells=(f.clean(names[each.case]), *map(whole, timing(each)))) for each in report.timings
    )


def _doubts(report: Report, shown: Sequence[Row]) -> tuple[tuple[Inert, str], ...]:
    findings = rows.ordered_findings(report.findings)
    found = [(Inert(each.level.value), f.flat(each.text, says.SENTENCE)) for each in findings]
    if untimed := says.untimed(report):
        found.append((Inert("note"), untimed))
    return (*found, *((Inert("caveat"), doubt) for doubt in says.doubts(report, shown)))


def _statements(shown: Sequence[Row]) -> Iterator[Proof]:
    """What differs behind each changed case, one part per statement with all its measures."""
    changed = [row for row in shown if row.comparison.cause is not None]
    for several in rows.by_case(changed):
        parts: dict[tuple[str, str], list[Difference]] = {}
        each_time = "per iteration" if several[0].comparison.case.suite == "benchmarks" else "per request"
        for row in several:
            for each in row.comparison.cause.differences if row.comparison.cause else ():
                parts.setdefault((each.what, each.text), []).append(each)
        causes = [row.comparison.cause for row in several if row.comparison.cause]
        blocks = (
            *(
                (
                    _costs(differences, each_time),
                    fenced(f.lines(text, _SQL), "sql" if what == "statement" else "text"),
                )
                for (what, text), differences in parts.items()
            ),
            *(_plan(change) for change in dict.fromkeys(p for cause in causes for p in cause.plans)),
            *_code(tuple(dict.fromkeys(gain for cause in causes for gain in cause.gains)), each_time),
            *_heap(tuple(dict.fromkeys(held for cause in causes for held in cause.holdings))),
        )
        if blocks:
            yield Proof(title=f.clean(several[0].title), parts=blocks)


def _costs(differences: Sequence[Difference], each_time: str) -> Inert:
    """ "calls 1 -> 200, blocks 3 -> 603, per request"."""
    parts = {each.measure: f"{f.count(each.before)} -> {f.count(each.after)}" for each in differences}
    costs = ", ".join(
        f"{measure if measure in _MEASURES else code(f.clean(measure, 20))} {change}"
        for measure, change in parts.items()
    )
    return Inert(f"{costs}, {each_time}")


def _plan(change: PlanChange) -> tuple[Inert, Inert]:
    lines = "\n".join(f.clean(line, _PLAN_LINE) for line in change.lines[:_PLAN_LINES])
    return Inert(f"plan of {code(f.shortened(change.text, _CAUSE))}"), fenced(lines, "diff")


def _code(gains: Sequence[Gain], each_time: str) -> Iterator[tuple[Inert, Inert]]:
    """Where the time went, with the line as it stands there."""
    return _listed(f"code that takes longer, {each_time}", [(longer(gain), gain.text) for gain in gains])


def _heap(holdings: Sequence[Holding]) -> Iterator[tuple[Inert, Inert]]:
    """What made the memory that is held, with the line as it stands there."""
    return _listed("code whose memory is held", [(holds(held), held.text) for held in holdings])


def _listed(title: str, lines: Sequence[tuple[str, str]]) -> Iterator[tuple[Inert, Inert]]:
    told = []
    for said, text in lines[:_GAINS]:
        told.append(f.clean(said, says.SENTENCE))
        told += [f"    {f.clean(text, _PLAN_LINE)}"] if text else []
    if told:
        yield Inert(title), fenced("\n".join(told), "text")
