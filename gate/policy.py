"""Comparisons x Policy -> Verdict: opinions, no statistics.

The table of DESIGN.md section 4 for exact metrics, budgets as levels, acceptance, and the one word
at the end. Changing anything here never needs a new measurement.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gate.config import Benchmarks, Budget, Budgets, Config, Endpoints
from gate.explain import failure_of, number
from gate.model import (
    Accept,
    BudgetCheck,
    BudgetState,
    Case,
    Comparison,
    Finding,
    Interval,
    Level,
    Outcome,
    PlannedCase,
    SideRun,
    State,
    Verdict,
)
from gate.stats import P95_VALUES, P99_VALUES, mean_interval, quantile, quantile_interval

WARN_FACTOR, CRITICAL_FACTOR = 1.5, 2.0


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
}
WRITING: dict[str, Rule] = READING | dict.fromkeys(
    ("sql.blocks", "sql.temp_blocks", "response.bytes", "sql.wal_records"), _WRITES
)
# What a reader should hear first when several totals of one case rose together.
PRIORITY = ("case", *READING)

_NOUNS = {
    "sql.calls": "queries",
    "sql.rows": "rows",
    "sql.blocks": "blocks",
    "sql.temp_blocks": "temp blocks",
    "sql.wal_records": "WAL records",
    "sql.transactions": "transactions",
    "redis.commands": "Redis commands",
    "response.bytes": "response bytes",
    "errors": "failed requests",
}


def apply_rules(comparisons: Iterable[Comparison], cases: Sequence[PlannedCase]) -> tuple[Comparison, ...]:
    """Each row with what is allowed, its level, and whether it blocks.

    A regression within `allowed` becomes equivalent. Rows of the same case are looked at together
    where the table says so (a cache that takes work off the database may cost Redis commands).
    """
    writers = {planned.case for planned in cases if planned.writes}
    rows = tuple(comparisons)
    improved = {(row.case, row.metric) for row in rows if row.outcome is Outcome.IMPROVED}
    reader_improved = any(case not in writers and metric == "sql.blocks" for case, metric in improved)
    return tuple(
        _ruled(row, writes=row.case in writers, improved=improved, reader_improved=reader_improved)
        for row in rows
    )


def _ruled(
    row: Comparison, *, writes: bool, improved: set[tuple[Case, str]], reader_improved: bool
) -> Comparison:
    if row.outcome is Outcome.MISSING:
        return dataclasses.replace(row, level=Level.BLOCK, blocking=True)
    rule = (WRITING if writes else READING)[row.metric]
    row = dataclasses.replace(row, allowed=rule.allowed)
    if row.outcome is not Outcome.REGRESSED:
        return row
    if row.base is not None and row.head is not None and row.base > 0:
        # Compared as products: 102 against 100 at 2 % must not fail by a rounding of the ratio.
        if row.head <= row.base * (1 + rule.allowed) + 1e-9:
            return dataclasses.replace(row, outcome=Outcome.EQUIVALENT)
    level = rule.level
    relieved = {(row.case, "sql.calls"), (row.case, "sql.blocks")} & improved
    if row.metric == "redis.commands" and relieved:
        level = Level.WARN
    if level is Level.WARN and writes and reader_improved and row.metric != "redis.commands":
        level = Level.NOTE
    return dataclasses.replace(row, level=level, blocking=level is Level.BLOCK)


def accept(
    comparisons: Iterable[Comparison], base: SideRun | None, edited: SideRun | None
) -> tuple[tuple[Comparison, ...], tuple[Accept, ...]]:
    """Unblock what the pull request's own baseline edit accepts; the row stays red.

    edited: the baseline as head holds it. A value counts only where it equals what was measured and
    differs from base's file; a missing case where base's file has it and the edited one does not.
    Failures cannot be accepted.
    """
    rows: list[Comparison] = []
    accepts: list[Accept] = []
    for row in comparisons:
        if row.blocking and edited is not None and _accepted(row, base, edited):
            rows.append(dataclasses.replace(row, outcome=Outcome.ACCEPTED, blocking=False))
            accepts.append(Accept(case=row.case, metric=row.metric, value=row.head))
        else:
            rows.append(row)
    return tuple(rows), tuple(accepts)


def _accepted(row: Comparison, base: SideRun | None, edited: SideRun) -> bool:
    def has(side: SideRun | None) -> bool:
        return side is not None and any(planned.case == row.case for planned in side.cases)

    if row.outcome is Outcome.MISSING:
        return has(base) and not has(edited)
    if row.metric == "errors" or row.head is None:
        return False
    sample = edited.sample(row.case, row.metric)
    before = base.sample(row.case, row.metric) if base else None
    if sample is None or (before is not None and before.values == sample.values):
        return False
    return min(sample.values) <= row.head <= max(sample.values)


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
        if caveat.code == "became-nondeterministic"
    )


def check_budgets(
    config: Config, head: SideRun, base: SideRun | None, *, runner_class: str
) -> tuple[BudgetCheck, ...]:
    """Every declared ceiling against head's values.

    runner_class: of this machine; a critical time budget blocks only where the configuration
    declares the class, the lower 95 % bound exceeds the ceiling, and base's does not.
    """
    declared = runner_class in config.policy.runner_classes
    checks: list[BudgetCheck] = []
    for planned in head.cases:
        for name, budget in _budgets_of(config, planned.case):
            if name == "response.bytes":
                checks += _size_check(planned, budget, head, base)
            else:
                checks += _time_check(planned, name, budget, head, base, declared=declared)
    return tuple(checks)


def _budgets_of(config: Config, case: Case) -> list[tuple[str, Budget]]:
    found: Budgets | None = None
    if case.suite == "endpoints" and isinstance(config.suites.endpoints, Endpoints):
        found = next((r.budgets for r in config.suites.endpoints.request if r.name == case.name), None)
    elif case.suite == "benchmarks" and isinstance(config.suites.benchmarks, Benchmarks):
        found = config.suites.benchmarks.budgets.get(case.name)
    if found is None:
        return []
    named = (
        ("p50", found.p50),
        ("p95", found.p95),
        ("p99", found.p99),
        ("mean", found.mean),
        ("response.bytes", found.response_bytes),
    )
    return [(name, budget) for name, budget in named if budget is not None]


def _level(value: float, budget: Budget) -> BudgetState:
    if value > budget.target * CRITICAL_FACTOR:
        return BudgetState.CRITICAL
    if value > budget.target * WARN_FACTOR:
        return BudgetState.WARN
    if value > budget.target:
        return BudgetState.OVER
    if budget.ideal is None or value > budget.ideal:
        return BudgetState.TARGET
    return BudgetState.IDEAL


def _time_check(
    planned: PlannedCase, name: str, budget: Budget, head: SideRun, base: SideRun | None, *, declared: bool
) -> list[BudgetCheck]:
    metric = "time" if planned.case.suite == "benchmarks" else "latency"
    sample = head.sample(planned.case, metric)
    if sample is None or not sample.points:
        return []
    value, interval = _estimate(name, sample.values)
    common = {
        "case": planned.case,
        "label": planned.label,
        "metric": f"{metric}.{name}",
        "unit": "s",
        "target": budget.target,
        "ideal": budget.ideal,
    }
    if value is None:
        text = f"{len(sample.points)} values, needs {P95_VALUES if name == 'p95' else P99_VALUES}"
        return [BudgetCheck(**common, state=BudgetState.TOO_FEW, level=Level.NOTE, reason=text)]
    state = _level(value, budget)
    level, blocking, reason = _time_level(state, name, budget, interval, base, planned, metric, declared)
    return [
        BudgetCheck(
            **common,
            value=value,
            interval=interval,
            state=state,
            level=level,
            blocking=blocking,
            reason=reason,
        )
    ]


def _time_level(
    state: BudgetState,
    name: str,
    budget: Budget,
    interval: Interval | None,
    base: SideRun | None,
    planned: PlannedCase,
    metric: str,
    declared: bool,
) -> tuple[Level, bool, str]:
    if state is BudgetState.WARN:
        return Level.WARN, False, "above 1.5 x target"
    if state is not BudgetState.CRITICAL:
        return Level.NOTE, False, ""
    ceiling = budget.target * CRITICAL_FACTOR
    if not declared:
        return Level.WARN, False, "above 2 x target; this class of machine is not declared, so it warns"
    if interval is None or interval.low <= ceiling:
        return Level.WARN, False, "above 2 x target, but its lower bound is not"
    before = base.sample(planned.case, metric) if base else None
    if before is not None and before.points:
        _, bounds = _estimate(name, before.values)
        if bounds is not None and bounds.low > ceiling:
            return Level.WARN, False, "above 2 x target, and so is base"
    return Level.BLOCK, True, "above 2 x target"


def _estimate(name: str, values: tuple[float, ...]) -> tuple[float | None, Interval | None]:
    """One-sided 95 % bounds are the two-sided ones at 90 %."""
    if name == "mean":
        return sum(values) / len(values), mean_interval(values, confidence=0.90)
    share, needed = {"p50": (0.5, 1), "p95": (0.95, P95_VALUES), "p99": (0.99, P99_VALUES)}[name]
    if len(values) < needed:
        return None, None
    ordered = sorted(values)
    return quantile(ordered, share), quantile_interval(ordered, share, confidence=0.90)


def _size_check(
    planned: PlannedCase, budget: Budget, head: SideRun, base: SideRun | None
) -> list[BudgetCheck]:
    """Bytes are exact: no bounds and no class of machine are needed."""
    sample = head.sample(planned.case, "response.bytes")
    if sample is None:
        return []
    value = max(sample.values)
    state = _level(value, budget)
    before = base.sample(planned.case, "response.bytes") if base else None
    already = before is not None and max(before.values) > budget.target * CRITICAL_FACTOR
    level, reason = Level.NOTE, ""
    if state is BudgetState.WARN:
        level, reason = Level.WARN, "above 1.5 x target"
    elif state is BudgetState.CRITICAL:
        level, reason = (
            (Level.WARN, "above 2 x target, and so is base") if already else (Level.BLOCK, "above 2 x target")
        )
    return [
        BudgetCheck(
            case=planned.case,
            label=planned.label,
            metric="response.bytes",
            unit="bytes",
            target=budget.target,
            ideal=budget.ideal,
            value=value,
            state=state,
            level=level,
            blocking=level is Level.BLOCK,
            reason=reason,
        )
    ]


def decide(
    comparisons: Sequence[Comparison],
    *,
    budgets: Sequence[BudgetCheck],
    findings: Sequence[Finding],
    head: SideRun,
    against: str,
    adoption: bool,
) -> Verdict:
    """The verdict and why, worst first; the first reason is the report's first line.

    adoption: base has neither configuration nor baseline, so that everything is new.
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
    unknown = _incomparable(comparisons)
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
        if fails and row.outcome is not Outcome.REGRESSED:
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
        return f"{row.case}: was measured on base and is missing on head"
    change = f"{number(row.base or 0)} -> {number(row.head or 0)} {_NOUNS.get(row.metric, row.metric)}"
    if row.metric == "errors":
        change = "fails, and did not on base"
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


def _passed(comparisons: Sequence[Comparison], *, against: str, adoption: bool) -> str:
    cases = len({row.case for row in comparisons})
    if against == "none":
        return f"{_count(cases, 'case')} measured; no comparison was asked for"
    if adoption:
        return (
            f"first run: all {_count(cases, 'case')} are new; commit what `perf-gate baseline update` writes"
        )
    judged = [row for row in comparisons if row.base is not None]
    better = len({row.case for row in judged if row.outcome is Outcome.IMPROVED})
    new = len({row.case for row in comparisons if row.outcome is Outcome.NEW})
    text = f"{_count(len({r.case for r in judged}), 'case')} compared, none got worse"
    text += f"; {better} improved" if better else ""
    return text + (f"; {new} new" if new else "")


def _count(n: int, word: str) -> str:
    return f"{n} {word}" + ("" if n == 1 else "s")
