"""Comparisons x Policy -> Verdict: opinions, no statistics.

The table of DESIGN.md section 4 for exact metrics, acceptance, and the one word at the end. Changing
anything here never needs a new measurement.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gate.explain import failure_of, number
from gate.gauge import SHARE
from gate.model import (
    ERRORS,
    GATED,
    GAUGES,
    Accept,
    BudgetCheck,
    Case,
    Comparison,
    Finding,
    Kind,
    Level,
    Outcome,
    PlannedCase,
    Route,
    SideRun,
    State,
    Verdict,
)
from gate.timing import SCREEN_PAIRS


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """allowed: share above base that is let through. level: of a row beyond it."""

    allowed: float
    level: Level


_TOTALS = Rule(allowed=0.0, level=Level.BLOCK)
_SIZES = Rule(allowed=0.02, level=Level.BLOCK)
# Pages are extended and an index that helps readers costs writers, so sizes of writers only warn.
_WRITES = Rule(allowed=0.10, level=Level.WARN)
_SHOWN = Rule(allowed=0.0, level=Level.NOTE)
_CALLED = Rule(allowed=0.02, level=Level.NOTE)
_KEPT = Rule(allowed=0.05, level=Level.BLOCK)

READING: dict[str, Rule] = {
    "errors": _TOTALS,
    "sql.calls": _TOTALS,
    "redis.commands": _TOTALS,
    "sql.transactions": _TOTALS,
    "sql.blocks": _SIZES,
    "sql.temp_blocks": _SIZES,
    "sql.rows": _TOTALS,
    "response.bytes": _SIZES,
    "sql.wal_records": _SHOWN,
    "redis.keys": _KEPT,
    "python.calls": _CALLED,
}
WRITING: dict[str, Rule] = READING | dict.fromkeys(
    ("sql.blocks", "sql.temp_blocks", "response.bytes", "sql.wal_records"), _WRITES
)
# What a reader should hear first when several totals of one case rose together.
PRIORITY = ("case", *READING, *GATED, *GAUGES)

_NOUNS = {
    "sql.calls": "queries",
    "sql.rows": "rows",
    "sql.blocks": "blocks",
    "sql.temp_blocks": "temp blocks",
    "sql.wal_records": "WAL records",
    "sql.transactions": "transactions",
    "redis.commands": "Redis commands",
    "redis.keys": "Redis keys",
    "python.calls": "Python calls",
    "response.bytes": "response bytes",
    "errors": "failed requests",
    "memory.growth": "bytes of memory left by a request",
    "memory.peak": "bytes of memory at the peak",
}


def apply_rules(comparisons: Iterable[Comparison], cases: Sequence[PlannedCase]) -> tuple[Comparison, ...]:
    """Each row with what is allowed, its level, and whether it blocks.

    A regression within `allowed` becomes equivalent. Rows of the same case are looked at together
    where the table says so (a cache that takes work off the database may cost Redis commands).
    """
    rows = tuple(comparisons)
    writers = {planned.case for planned in cases if planned.writes} | {*_writing(rows)}
    timed = {row.case: row.outcome for row in rows if row.metric in GATED}
    improved = {(row.case, row.metric) for row in rows if _relieves(row)}
    reader_improved = any(case not in writers and metric == "sql.blocks" for case, metric in improved)
    return tuple(
        _ruled(
            row,
            writes=row.case in writers,
            improved=improved,
            reader_improved=reader_improved,
            time=timed.get(row.case),
        )
        for row in rows
    )


def _writing(rows: Iterable[Comparison]) -> Iterator[Case]:
    """Benchmarks that write, of which no table tells beforehand."""
    for row in rows:
        if row.case.suite == "benchmarks" and row.metric == "sql.wal_records" and (row.base or row.head):
            yield row.case


def _relieves(row: Comparison) -> bool:
    """Better by more than what would be let through as worse: a whole query, or 2 % of the blocks."""
    if row.outcome is not Outcome.IMPROVED or row.base is None or row.head is None:
        return False
    if row.kind is not Kind.EXACT:
        return False
    if row.metric == "sql.calls":
        return row.head <= row.base - 1
    return row.head < row.base * (1 - READING[row.metric].allowed)


def _ruled(
    row: Comparison,
    *,
    writes: bool,
    improved: set[tuple[Case, str]],
    reader_improved: bool,
    time: Outcome | None,
) -> Comparison:
    if row.outcome is Outcome.MISSING:
        return dataclasses.replace(row, level=Level.BLOCK, blocking=True)
    if row.kind is not Kind.EXACT:
        # The rules of times and of memory have weighed what is allowed: what they call regressed blocks.
        worse = row.outcome is Outcome.REGRESSED
        return dataclasses.replace(row, level=Level.BLOCK, blocking=True) if worse else row
    rule = (WRITING if writes else READING)[row.metric]
    row = dataclasses.replace(row, allowed=rule.allowed)
    if row.outcome is not Outcome.REGRESSED:
        return row
    # Compared as products: 102 against 100 at 2 % must not fail by a rounding of the ratio.
    if row.base and row.head is not None and row.head <= row.base * (1 + rule.allowed) + 1e-9:
        return dataclasses.replace(row, outcome=Outcome.EQUIVALENT)
    level = rule.level
    if row.metric == "python.calls" and time in (Outcome.REGRESSED, Outcome.INCONCLUSIVE):
        level = Level.WARN
    relieved = {(row.case, "sql.calls"), (row.case, "sql.blocks")} & improved
    if row.metric in ("redis.commands", "redis.keys") and relieved:
        level = Level.WARN
    if (
        level is Level.WARN
        and writes
        and reader_improved
        and row.metric not in ("redis.commands", "redis.keys")
    ):
        level = Level.NOTE
    return dataclasses.replace(row, level=level, blocking=level is Level.BLOCK)


def accept(
    comparisons: Iterable[Comparison], base: SideRun | None, edited: SideRun | None, head: SideRun
) -> tuple[tuple[Comparison, ...], tuple[Accept, ...]]:
    """Unblock what the pull request's own baseline edit accepts; the row stays red.

    edited: the baseline as head holds it. A value counts only where it equals what was measured and
    differs from base's file; a missing case where base's file has it and the edited one does not; a time
    where the edit names a ratio that base's file does not, up to what is allowed above it.
    Failures cannot be accepted.
    """
    rows: list[Comparison] = []
    accepts: list[Accept] = []
    for row in comparisons:
        if row.blocking and edited is not None and _accepted(row, base, edited, head):
            rows.append(dataclasses.replace(row, outcome=Outcome.ACCEPTED, blocking=False))
            value = row.ratio if row.kind is Kind.TIMING else row.head
            accepts.append(Accept(case=row.case, metric=row.metric, value=value))
        else:
            rows.append(row)
    return tuple(rows), tuple(accepts)


def _accepted(row: Comparison, base: SideRun | None, edited: SideRun, head: SideRun) -> bool:
    if row.outcome is Outcome.MISSING:
        return base is not None and base.has(row.case) and not edited.has(row.case)
    if row.kind is not Kind.EXACT:
        named = {each.value for each in edited.worse if (each.case, each.metric) == (row.case, row.metric)}
        same = (
            (each for each in base.worse if (each.case, each.metric) == (row.case, row.metric))
            if base
            else ()
        )
        named -= {each.value for each in same}
        found = (_proved(row) if row.kind is Kind.TIMING else row.head) or math.inf
        room = 1 + (SHARE if row.allowed is None else row.allowed)
        return any(each is not None and found <= each * room for each in named)
    if row.metric == "errors" or row.head is None:
        return False
    sample = edited.sample(row.case, row.metric)
    measured = head.sample(row.case, row.metric)
    before = base.sample(row.case, row.metric) if base else None
    if sample is None or measured is None or (before is not None and before.values == sample.values):
        return False
    return set(sample.values) == set(measured.values)


def _proved(row: Comparison) -> float | None:
    """How much slower a time is for certain: the estimate of a few pairs differs from run to run."""
    return row.interval.low if row.interval is not None else row.ratio


def nondeterministic(comparisons: Iterable[Comparison]) -> tuple[Finding, ...]:
    """A count that head repeats differently and base did not is worth a warning, whatever its size."""
    return tuple(
        Finding(
            name="became-nondeterministic",
            level=Level.WARN,
            case=row.case,
            text=f"{row.label}: {_NOUNS.get(row.metric, row.metric)} became nondeterministic: {caveat.text}",
        )
        for row in comparisons
        for caveat in row.caveats
        if caveat.code == "became-nondeterministic" and row.metric != "python.calls"  # by the hash seed
    )


def skipped(head: SideRun) -> tuple[Finding, ...]:
    """A case that chose not to run is said, so that nobody takes it for measured."""
    return tuple(
        Finding(name="skipped", level=Level.NOTE, case=sample.case, text=f"{sample.case}: {sample.skipped}")
        for sample in head.samples
        if sample.metric == ERRORS and sample.skipped
    )


def uncovered(routes: Sequence[Route], least: float | None) -> tuple[Finding, ...]:
    """Names the routes that nothing measures; fewer measured than `least`, a share, block."""
    missing = [str(route) for route in routes if not route.measured]
    if not missing:
        return ()
    share = 1 - len(missing) / len(routes)
    named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    text = f"{len(routes) - len(missing)} of {len(routes)} routes are measured ({share:.0%})"
    few = least is not None and share < least
    text += f", at least {least:.0%} are to be" if few else ""
    level = Level.BLOCK if few else Level.NOTE
    return (Finding(name="coverage", level=level, text=f"{text}; not measured: {named}"),)


def decide(
    comparisons: Sequence[Comparison],
    *,
    budgets: Sequence[BudgetCheck],
    findings: Sequence[Finding],
    head: SideRun,
    against: str,
    adoption: bool,
    untimed: str = "",
) -> Verdict:
    """The verdict and why, worst first; the first reason is the report's first line.

    adoption: base has neither configuration nor baseline, so that everything is new.
    untimed: why times that should have been compared could not be; empty otherwise.
    """
    broken = _broken(comparisons, head)
    if broken:
        return Verdict(state=State.ERROR, reasons=broken)
    reasons = _blocked(comparisons) + [
        f"{check.label}: {check.metric} is over budget ({check.reason})"
        for check in budgets
        if check.blocking
    ]
    reasons += [finding.text for finding in findings if finding.level is Level.BLOCK]
    if reasons:
        return Verdict(state=State.BLOCKED, reasons=tuple(reasons))
    unknown = _incomparable(comparisons) + _undecided(comparisons)
    unknown += (f"no time could be compared: {untimed}",) if untimed else ()
    if unknown:
        return Verdict(state=State.INCONCLUSIVE, reasons=unknown)
    accepted = [row for row in comparisons if row.outcome is Outcome.ACCEPTED]
    if accepted:
        text = (
            _count(len({row.case for row in accepted}), "case")
            + " got worse and the baseline's edit accepts it"
        )
        return Verdict(state=State.ACCEPTED, reasons=(text, *(_reason(row) for row in accepted)))
    return Verdict(state=State.PASS, reasons=(_passed(comparisons, against=against, adoption=adoption),))


def _broken(comparisons: Sequence[Comparison], head: SideRun) -> tuple[str, ...]:
    """Cases that fail with nothing to say that they once worked: a failure, not a regression."""
    found = []
    for row in comparisons:
        fails = row.metric == "errors" and (row.head or 0) > 0
        if fails and (row.base or row.outcome is not Outcome.REGRESSED):
            why = "on base and on head" if row.base else "and there is no base that did not"
            said = failure_of(head, row.case)
            found.append(f"{row.label}: fails {why}" + (f": {said}" if said else ""))
    return tuple(found)


def _blocked(comparisons: Sequence[Comparison]) -> list[str]:
    """One reason for each blocked case: its most telling row, and how many more there are."""
    rows: dict[Case, list[Comparison]] = {}
    for row in comparisons:
        if row.blocking:
            rows.setdefault(row.case, []).append(row)
    leading = []
    for several in rows.values():
        several.sort(key=lambda row: PRIORITY.index(row.metric))
        leading.append(several[0])
    leading.sort(key=lambda row: (PRIORITY.index(row.metric), -(row.ratio or float("inf")), str(row.case)))
    return [_reason(row) for row in leading]


def _reason(row: Comparison) -> str:
    if row.metric == "case":
        why = "".join(f" ({caveat.text})" for caveat in row.caveats)
        return f"{row.case}: was measured on base and is missing on head{why}"
    if row.kind is Kind.TIMING:
        return f"{row.label}: {slower(row)}" + (f"; {row.cause.summary}" if row.cause else "")
    change = f"{number(row.base or 0)} -> {number(row.head or 0)} {_NOUNS.get(row.metric, row.metric)}"
    if row.metric == "errors":
        change = "fails more often than on base" if row.base else "fails, and did not on base"
    cause = f"; {row.cause.summary}" if row.cause else ""
    return f"{row.label}: {change}{cause}"


def _incomparable(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    rows = [row for row in comparisons if row.outcome is Outcome.INCOMPARABLE]
    cases = sorted({str(row.case) for row in rows})
    if not cases:
        return ()
    why = sorted({caveat.text for row in rows for caveat in row.caveats if caveat.code == "no-base"})
    shown = ", ".join(cases[:4]) + (f" and {len(cases) - 4} more" if len(cases) > 4 else "")
    return (f"{_count(len(cases), 'case')} could not be compared ({shown}): {'; '.join(why)}",)


def _undecided(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """One reason for all times that these pairs could not tell: why, what would, and the slowest."""
    rows = [row for row in comparisons if row.outcome is Outcome.INCONCLUSIVE]
    if not rows:
        return ()
    rows.sort(key=lambda row: (-(row.ratio or 0.0), str(row.case)))
    judged = sum(row.kind is Kind.TIMING for row in comparisons)
    groups = unsettled(rows)
    if len(rows) == 1:
        why = f"{rows[0].label} {_unsure(rows[0])}; it {groups[0][1]}"
    else:
        why = f"they {groups[0][1]}" if len(groups) == 1 else "; ".join(f"{n} {text}" for n, text in groups)
        shown = ", ".join(f"{row.label} {_signed(row.ratio)}" for row in rows[: 3 if len(rows) <= 3 else 1])
        why += f"; {shown}" if len(rows) <= 3 else f"; the slowest is {shown}"
    return (f"{len(rows)} of {_count(judged, 'time')} could not be told: {why}",)


# By a caveat's code: what is the matter with the times that carry it, and what would tell.
_UNSETTLED = {
    "time-budget": ("needed a confirm that did not fit the time budget", "a larger --time-budget"),
    "too-noisy": ("varied too much for the pairs there were", "a quieter machine"),
    "control": ("cannot be trusted", "a quieter machine"),
    "unsteady": ("changed from visit to visit of one side", "a quieter machine"),
    "drift": ("drifted from pair to pair", "a quieter machine"),
    "clock": ("passed too fast for the clock", "more work in each round"),
    "no-times": ("could not be had on both sides", ""),
    "not-confirmed": ("were not confirmed under the rules that count now", "measuring again"),
}


def unsettled(rows: Sequence[Comparison]) -> tuple[tuple[int, str], ...]:
    """Why these inconclusive times could not be told and what would tell: how many, and a predicate.

    One for each code of a first caveat, the most frequent first: (3, "needed a confirm that did not fit the
    time budget (a larger --time-budget would tell)").
    """
    groups: dict[str, list[Comparison]] = {}
    for row in rows:
        groups.setdefault(row.caveats[0].code if row.caveats else "", []).append(row)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return tuple((len(several), _predicate(code, several)) for code, several in ordered)


def _predicate(code: str, rows: Sequence[Comparison]) -> str:
    first = next((caveat.text for caveat in rows[0].caveats), "no reason was recorded")
    why, remedy = _UNSETTLED.get(code, (f"could not be told: {first}", ""))
    if code == "control":
        why += f": {first}"
    most = max(row.pairs for row in rows)
    if code == "time-budget" and most < SCREEN_PAIRS:
        why = f"got only {_count(most, 'pair')} into the time budget, too few to decide"
    needed = [row.needed for row in rows if row.needed is not None]
    if code == "too-noisy" and len(needed) == len(rows):
        remedy = f"about {max(needed)} pairs or {remedy}"
    return f"{why} ({remedy} would tell)" if remedy else why


def _unsure(row: Comparison) -> str:
    """ "+3.1 % (-2.0 % to +8.4 %; from 9.6 % it would have been caught)"."""
    known = []
    if row.interval is not None:
        known.append(f"{_signed(row.interval.low)} to {_signed(row.interval.high)}")
    if row.mde is not None:
        known.append(f"from {row.mde * 100:,.1f} % it would have been caught")
    return _signed(row.ratio) + (f" ({'; '.join(known)})" if known else "")


def _signed(ratio: float | None) -> str:
    return f"{(ratio - 1) * 100:+,.1f} %" if ratio is not None else "unknown"


def slower(row: Comparison) -> str:
    """A time for a sentence: "12.3 % slower (4.1 -> 4.6 ms), at least 9.8 %"."""
    ratio = row.ratio or 1.0
    word = "slower" if ratio >= 1 else "faster"
    text = f"{abs(ratio - 1) * 100:,.1f} % {word} ({_times(row.base or 0.0, row.head or 0.0)})"
    if row.interval is None:
        return text
    least = row.interval.low - 1 if ratio >= 1 else 1 - row.interval.high
    return f"{text}, at least {least * 100:,.1f} %" if least > 0 else text


_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def _times(base: float, head: float) -> str:
    """Seconds with three digits, in the unit that the longer one wants: "4.1 -> 4.6 ms"."""
    size, unit = next((each for each in _UNITS if max(base, head) >= each[0]), (1e-9, "ns"))
    shown = (f"{each:,.0f}" if each >= 999.5 else f"{each:.3g}" for each in (base / size, head / size))
    return f"{' -> '.join(shown)} {unit}"


def _passed(comparisons: Sequence[Comparison], *, against: str, adoption: bool) -> str:
    cases = len({row.case for row in comparisons})
    if against == "none":
        return f"{_count(cases, 'case')} measured; no comparison was asked for"
    if adoption:
        fresh = "the only case is" if cases == 1 else f"all {cases} cases are"
        return f"first run: {fresh} new; commit what `perf-gate baseline update` writes"
    judged = [row for row in comparisons if row.base is not None]
    timed = sum(row.kind is Kind.TIMING for row in judged)
    better = len({row.case for row in judged if row.outcome is Outcome.IMPROVED})
    new = len({row.case for row in comparisons if row.outcome is Outcome.NEW})
    worse = len({row.case for row in judged if row.outcome is Outcome.REGRESSED})
    text = f"{_count(len({r.case for r in judged}), 'case')} compared"
    text += f", {timed} of them timed side by side, " if timed else ", "
    text += f"{worse} got worse in ways that only warn" if worse else "none got worse"
    text += f"; {better} improved" if better else ""
    return text + (f"; {new} new" if new else "")


def _count(n: int, word: str) -> str:
    return f"{n} {word}" + ("" if n == 1 else "s")
