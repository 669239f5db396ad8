"""The sentences of a report that every renderer says alike: the headline, the sides, the advice.

Each function gives plain text of which every foreign part is cleaned; Markdown quotes it again.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Sequence

from gate.model import Case, Caveat, Report, SideInfo, State
from gate.report import format as f
from gate.report.rows import Mark, Row, alone, first_adoption, mark

REASON = 400  # characters of a reason; it quotes a statement
_HEX = frozenset("0123456789abcdef")
_COUNTED = {Mark.WARN: "warning", Mark.NOTE: "note"}  # the other marks are adjectives


def reasons(report: Report) -> tuple[str, ...]:
    """Why the verdict is what it is, worst first; at least one."""
    found = tuple(f.flat(reason, REASON) for reason in report.verdict.reasons)
    return found or ("no reason was recorded",)


def headline(report: Report) -> str:
    return f"{report.verdict.state.value}: {reasons(report)[0]}"


def tally(rows: Sequence[Row]) -> str:
    """ "72 rows of 8 cases: 3 blocked, 1 warning, 68 equal"."""
    counts = Counter(row.mark for row in rows)
    parts = [
        f.plural(counts[each], _COUNTED[each])
        if each in _COUNTED
        else f"{counts[each]:,} {each.value.lower()}"
        for each in Mark
        if counts[each]
    ]
    cases = len({row.comparison.case for row in rows})
    return (
        f"{f.plural(len(rows), 'row')} of {f.plural(cases, 'case')}: {', '.join(parts)}"
        if parts
        else "no rows"
    )


def commit(ref: str) -> str:
    """A commit as people name it; anything else as it is."""
    return ref[:10] if len(ref) >= 10 and set(ref) <= _HEX else f.clean(ref)


def sides(report: Report) -> str:
    """ "base 3f9ac21d04 (stored counts), head 91d2e4f1aa with uncommitted edits"."""
    head = report.sides.head
    edited = " with uncommitted edits" if head.dirty else ""
    return f"{base(report.sides.base, report)}, head {ref(head)}{edited}"


def base(side: SideInfo | None, report: Report, quote: Callable[[str], str] = str) -> str:
    """What base is and where its numbers come from. quote: for its commit."""
    if side is None:
        return "no base asked for" if report.run.plan.against == "none" else "no base"
    return f"base {quote(ref(side))}" + (" (stored counts)" if side.stored else " (measured in this run)")


def ref(side: SideInfo) -> str:
    return commit(side.ref) or "of no commit"


def environment(report: Report) -> str:
    """The machine and the services on one line."""
    here = report.environment
    services = " and ".join(
        f"{name} {f.clean(version, 40)}"
        for name, version in (("Postgres", here.postgres), ("Redis", here.redis))
        if version
    )
    parts = (
        " ".join(f.clean(part, 60) for part in (here.os, here.arch) if part),
        f.clean(here.cpu, 60),
        f.plural(here.cores, "core") if here.cores else "",
        f"Python {f.clean(here.python, 20)}" if here.python else "",
        services + (f" ({f.clean(here.provider, 20)})" if here.provider else ""),
        f"{f.count(here.rows)} rows" if here.rows else "",
        f"runner class {f.clean(here.runner_class, 40)}" if here.runner_class else "",
    )
    return ", ".join(part for part in parts if part)


def timeline(report: Report) -> str:
    """ "64 s: seed 31 s, count 20 s": where the time went, in the order it went."""
    if not report.timeline:
        return ""
    total = sum(phase.seconds for phase in report.timeline)
    parts = ", ".join(f"{f.clean(phase.name, 40)} {f.seconds(phase.seconds)}" for phase in report.timeline)
    return f"{f.seconds(total)}: {parts}"


def baselines(report: Report) -> str:
    """The directory of the baselines, as configured."""
    named = next((s.value for s in report.config if s.name == "baselines"), "baselines")
    return f.clean(named)


def accepting(report: Report) -> tuple[str, ...]:
    """The commands that accept what blocks, in order; none where nothing blocks that can be accepted."""
    cases = _blocked(report)
    if not cases:
        return ()
    names = [f.quoted(str(case)) for case in cases]
    named = [name for name in names if name is not None]
    arguments = " ".join(named) if len(named) == len(cases) <= 10 else "--all"
    return (f"perf-gate accept {arguments}", f"git add {f.quoted(baselines(report))} && git commit")


def adopting(report: Report) -> tuple[str, ...]:
    """The commands of a first adoption; none where something was compared."""
    if not first_adoption(report) or report.verdict.state is State.ERROR:
        return ()
    return ("perf-gate baseline update", f"git add {f.quoted(baselines(report))} && git commit")


def reproducing(report: Report) -> str:
    """The command that repeats this comparison on a checkout of head."""
    against, side = report.run.plan.against, report.sides.base
    if against not in ("stored", "none") and side is not None and side.ref:
        against = commit(side.ref)
    command = (
        "perf-gate run" if against == "auto" else f"perf-gate run --against {f.quoted(against) or 'auto'}"
    )
    cases = _blocked(report)
    only = f.quoted(glob.escape(str(cases[0]))) if len(cases) == 1 and _measured(report, cases[0]) else None
    return f"{command} --only {only}" if only else command


def _blocked(report: Report) -> list[Case]:
    """Cases that block, each once, in the order of the report; failures cannot be accepted."""
    rows = (row for row in report.comparisons if mark(row) is Mark.BLOCKED and row.metric != "errors")
    return list(dict.fromkeys(row.case for row in rows))


def _measured(report: Report, case: Case) -> bool:
    return any(planned.case == case for planned in report.run.plan.cases)


def notes(row: Row, *, limit: int, repeated: str = "") -> tuple[str, ...]:
    """What stands below a row: its cause unless it is `repeated`, what it could have told, its doubts."""
    comparison = row.comparison
    found = []
    if comparison.cause and comparison.cause.summary != repeated:
        found.append(f.shortened(comparison.cause.summary, limit))
    if comparison.interval is not None:
        bounds = comparison.interval
        low, high = f.percent(bounds.low), f.percent(bounds.high)
        found.append(f"interval {low} to {high} at {f.share(bounds.confidence)}")
    if row.mark is Mark.UNCLEAR and comparison.mde is not None:
        found.append(f"could have told a change of {f.share(comparison.mde)}")
    found += [f.cut(f"caveat: {f.flat(caveat.text, limit)}", limit) for caveat in comparison.caveats]
    return tuple(found)


def doubts(report: Report, rows: Sequence[Row]) -> tuple[str, ...]:
    """Caveats of the whole report, then of rows that are only counted, each once with its rows."""
    where: dict[Caveat, list[Row]] = {}
    for row in rows:
        if row.mark is Mark.EQUAL or alone(row):
            for caveat in row.comparison.caveats:
                if not _found(caveat, row, report):
                    where.setdefault(caveat, []).append(row)
    found = [f.flat(caveat.text, REASON) for caveat in report.caveats]
    for caveat, several in where.items():
        found.append(f"{_whose(several)}: {f.flat(caveat.text, REASON)}")
    return tuple(dict.fromkeys(found))


def _found(caveat: Caveat, row: Row, report: Report) -> bool:
    """Whether a finding says it already."""
    case = row.comparison.case
    return any(finding.case == case and caveat.text in finding.text for finding in report.findings)


def _whose(several: Sequence[Row]) -> str:
    title = f.clean(several[0].title)
    cases = len({row.comparison.case for row in several})
    if len(several) == 1:
        return f"{title} {f.clean(several[0].comparison.metric, 40)}"
    return f"{title}, {len(several)} rows" if cases == 1 else f"{len(several)} rows of {cases} cases"
