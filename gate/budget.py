"""Absolute ceilings: head's values against what the team declared (DESIGN.md sections 3 and 4).

Ideal and target are notes, 1.5 x target warns, 2 x target is critical. Bytes are exact and need no
bounds; times depend on the machine, so a critical time blocks only where the configuration declares
the class of machine, the lower 95 % bound exceeds the ceiling, and base's does not.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter

from gate.config import Budget, Budgets, Config
from gate.model import BudgetCheck, BudgetState, Case, Interval, Level, PlannedCase, Sample, SideRun
from gate.stats import P95_VALUES, P99_VALUES, mean_interval, quantile, quantile_interval

WARN_FACTOR, CRITICAL_FACTOR = 1.5, 2.0
_QUANTILES = {"p50": (0.5, 1), "p95": (0.95, P95_VALUES), "p99": (0.99, P99_VALUES)}
_UNDECLARED = "; this class of machine is not declared, so it warns"
_UNTIMED = "; base was not timed in this run, so it warns"
PAIRS = 8  # of a screen that the time budget did not end
_ONE_SIDED = 0.90  # two-sided bounds at 90 % are one-sided ones at 95 %


def check_budgets(
    config: Config, head: SideRun, base: SideRun | None, *, runner_class: str, own: Config | None = None
) -> tuple[BudgetCheck, ...]:
    """Every declared ceiling against head's values.

    runner_class: this machine's, empty if undeclared. own: head's configuration, whose ceilings hold
    for the cases that `config` does not know.
    """
    declared = runner_class in config.policy.runner_classes
    checks: list[BudgetCheck] = []
    for planned in head.cases:
        source = config if own is None or _knows(config, planned.case) else own
        for name, budget in _declared(source, planned.case):
            metric = _sampled(planned.case, name)
            sample = head.sample(planned.case, metric)
            if sample is None or not sample.points:
                continue
            before = base.sample(planned.case, metric) if base else None
            untimed = before is None and base is not None and base.has(planned.case)
            blank = _blank(planned, name, budget)
            if name == "response.bytes":
                checks.append(_size(blank, sample, before))
            else:
                doubt = _UNDECLARED if not declared else _UNTIMED if untimed else ""
                rounds = source.suites.endpoints.rounds if source.suites.endpoints else 0
                checks.append(_time(blank, name, sample, before, doubt, rounds))
    return tuple(checks)


def _knows(config: Config, case: Case) -> bool:
    if case.suite == "endpoints":
        suite = config.suites.endpoints
        return suite is not None and any(request.name == case.name for request in suite.request)
    return config.suites.benchmarks is not None and case.name in config.suites.benchmarks.budgets


def _declared(config: Config, case: Case) -> list[tuple[str, Budget]]:
    found: Budgets | None = None
    if case.suite == "endpoints" and config.suites.endpoints is not None:
        found = next((r.budgets for r in config.suites.endpoints.request if r.name == case.name), None)
    elif case.suite == "benchmarks" and config.suites.benchmarks is not None:
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


def _sampled(case: Case, name: str) -> str:
    if name == "response.bytes":
        return name
    return "time" if case.suite == "benchmarks" else "latency"


def _blank(planned: PlannedCase, name: str, budget: Budget) -> BudgetCheck:
    sized = name == "response.bytes"
    return BudgetCheck(
        case=planned.case,
        label=planned.label,
        metric=name if sized else f"{_sampled(planned.case, name)}.{name}",
        unit="bytes" if sized else "s",
        target=budget.target,
        ideal=budget.ideal,
        state=BudgetState.TARGET,
        level=Level.NOTE,
    )


def _state(value: float, check: BudgetCheck) -> BudgetState:
    if value > check.target * CRITICAL_FACTOR:
        return BudgetState.CRITICAL
    if value > check.target * WARN_FACTOR:
        return BudgetState.WARN
    if value > check.target:
        return BudgetState.OVER
    return BudgetState.TARGET if check.ideal is None or value > check.ideal else BudgetState.IDEAL


def _size(blank: BudgetCheck, head: Sample, base: Sample | None) -> BudgetCheck:
    value = max(head.values)
    check = dataclasses.replace(blank, value=value, state=_state(value, blank))
    if check.state is BudgetState.WARN:
        return dataclasses.replace(check, level=Level.WARN, reason="above 1.5 x target")
    if check.state is not BudgetState.CRITICAL:
        return check
    if base is not None and max(base.values) > check.target * CRITICAL_FACTOR:
        return dataclasses.replace(check, level=Level.WARN, reason="above 2 x target, and so is base")
    return dataclasses.replace(check, level=Level.BLOCK, blocking=True, reason="above 2 x target")


def _time(
    blank: BudgetCheck, name: str, head: Sample, base: Sample | None, doubt: str, rounds: int
) -> BudgetCheck:
    """doubt: what speaks against blocking before a value is looked at; empty where nothing does.
    rounds: as configured for endpoints.
    """
    value, interval = _estimate(name, head.values)
    if value is None:
        needed = _QUANTILES[name][1]
        text = f"{len(head.points):,} values, {name} needs {needed:,}: {_remedy(needed, head, base, rounds)}"
        return dataclasses.replace(blank, state=BudgetState.TOO_FEW, reason=text)
    check = dataclasses.replace(blank, value=value, interval=interval, state=_state(value, blank))
    if check.state is BudgetState.WARN:
        return dataclasses.replace(check, level=Level.WARN, reason="above 1.5 x target")
    if check.state is not BudgetState.CRITICAL:
        return check
    doubt = doubt or _doubt(check, name, base)
    if doubt:
        return dataclasses.replace(check, level=Level.WARN, reason=f"above 2 x target{doubt}")
    return dataclasses.replace(check, level=Level.BLOCK, blocking=True, reason="above 2 x target")


def _remedy(needed: int, head: Sample, base: Sample | None, rounds: int) -> str:
    """What gives a quantile the values it needs; where nothing does, one that needs fewer."""
    by_pair = Counter(point.pair for point in head.points)
    if len(by_pair) < PAIRS:
        if base is None or not base.points:
            return "only what is timed side by side with base has more pairs"
        return "a larger --time-budget has more pairs"
    if head.case.suite == "endpoints" and max(by_pair.values()) >= rounds:
        # Of a screen alone, for the next run may need no confirm.
        return f"raise suites.endpoints.rounds, {rounds} now, to {math.ceil(needed / PAIRS)}"
    other = "p95" if len(head.points) >= P95_VALUES else "p50"
    return f"a pair has no time for more; declare {other} instead"


def _doubt(check: BudgetCheck, name: str, base: Sample | None) -> str:
    """Why a critical time only warns; empty where nothing speaks against blocking."""
    ceiling = check.target * CRITICAL_FACTOR
    if check.interval is None or check.interval.low <= ceiling:
        return ", but its lower bound is not"
    _, bounds = _estimate(name, base.values) if base is not None and base.points else (None, None)
    return ", and so is base" if bounds is not None and bounds.low > ceiling else ""


def _estimate(name: str, values: tuple[float, ...]) -> tuple[float | None, Interval | None]:
    if name == "mean":
        return statistics.fmean(values), mean_interval(values, confidence=_ONE_SIDED)
    share, needed = _QUANTILES[name]
    if len(values) < needed:
        return None, None
    ordered = sorted(values)
    return quantile(ordered, share), quantile_interval(ordered, share, confidence=_ONE_SIDED)
