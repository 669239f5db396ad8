"""Memory of base and head over the pairs of the screen: does head hold more, and does it go on growing?

Pure. Each pair gives one value a side, of processes that are new in each: the differences of the pairs are
independent, and tested as those of times are.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from gate.model import (
    LATENCY,
    MEMORY_GROWTH,
    MEMORY_PEAK,
    Case,
    Comparison,
    Interval,
    Kind,
    Metric,
    Outcome,
    Run,
    SideName,
)
from gate.stats import Centre, holm, trimmed

ENOUGH = 8  # pairs
# Chance that anything at all is called worse in a clean run, by the test alone: half of that of times,
# for no confirm looks again.
LEVEL = 0.005
CONFIDENCE = 0.95  # of either bound that is shown
MEGABYTE = 2.0**20
# Bytes a request that a process may grow by, and what a peak may rise by at least, whatever base's is.
ALLOWED = {MEMORY_GROWTH.name: MEGABYTE / 1000, MEMORY_PEAK.name: MEGABYTE}
# Bytes within a pair, below which growth may be one of the steps that memory is taken in: over few requests
# a step would look like a leak.
STEP = 50 * ALLOWED[MEMORY_GROWTH.name]
SHARE = 0.05  # of base's peak
MARGIN = 0.5  # of what is allowed; what the test has to reject


class _Found(NamedTuple):
    """A gauge of a case: its pairs' values by side, their differences' centre, bytes that are let through."""

    case: Case
    metric: Metric
    values: Mapping[SideName, list[float]]
    centre: Centre
    allowed: float


def judge_memory(run: Run) -> tuple[Comparison, ...]:
    """One row for each case and gauge that all pairs of the screen have seen on both sides."""
    pairs = [p.number for p in run.pairs if p.stage == "screen" and not p.lost and p.cases]
    labels = {planned.case: planned.label for planned in run.plan.cases}
    found: list[_Found] = []
    for timed in run.plan.timed:
        for metric in (MEMORY_GROWTH, MEMORY_PEAK):
            sides: dict[SideName, dict[int, float]] = {
                "base": _values(run, timed.case, metric, "base"),
                "head": _values(run, timed.case, metric, "head"),
            }
            both = [p for p in pairs if p in sides["base"] and p in sides["head"]]
            if len(both) >= ENOUGH:
                values = {name: [seen[p] for p in both] for name, seen in sides.items()}
                centre = trimmed([h - b for b, h in zip(values["base"], values["head"], strict=True)])
                allowed = _growth(run, timed.case) if metric == MEMORY_GROWTH else _rise(values["base"])
                found.append(_Found(timed.case, metric, values, centre, allowed))
    worse = holm([each.centre.above(MARGIN * each.allowed) for each in found], LEVEL)
    better = holm([each.centre.below(-MARGIN * each.allowed) for each in found], LEVEL)
    return tuple(
        _row(each, labels.get(each.case, str(each.case)), (more > 0, less > 0))
        for each, more, less in zip(found, worse, better, strict=True)
    )


def _values(run: Run, case: Case, metric: Metric, side: SideName) -> dict[int, float]:
    return {
        point.pair: point.value
        for sample in run.samples
        if sample.case == case and sample.metric.name == metric.name and sample.side == side
        for point in sample.points
    }


def _growth(run: Run, case: Case) -> float:
    """Bytes a request that a process may grow by, by how many of them a pair has a side."""
    timed: Counter[tuple[SideName, int]] = Counter()
    for sample in run.samples:
        if sample.case == case and sample.metric.name == LATENCY.name:
            timed.update((sample.side, point.pair) for point in sample.points)
    return max(ALLOWED[MEMORY_GROWTH.name], STEP / min(timed.values()) if timed else 0.0)


def _rise(base: list[float]) -> float:
    """Bytes that a peak may rise by."""
    return max(ALLOWED[MEMORY_PEAK.name], SHARE * statistics.median(base))


def _row(found: _Found, label: str, sure: tuple[bool, bool]) -> Comparison:
    case, metric, values, centre, allowed = found
    base, head = (float(round(statistics.median(values[name]))) for name in ("base", "head"))
    more, less = sure
    outcome = Outcome.EQUIVALENT
    if more and centre.estimate >= allowed and head > 0:
        outcome = Outcome.REGRESSED
    elif less and centre.estimate <= -allowed:
        outcome = Outcome.IMPROVED
    return Comparison(
        case=case,
        label=label,
        metric=metric.name,
        unit=metric.unit,
        kind=Kind.GAUGE,
        base=base,
        head=head,
        delta=centre.estimate,
        ratio=head / base if base > 0 and head > 0 else None,
        interval=Interval(
            low=-centre.mirrored().upper(CONFIDENCE), high=centre.upper(CONFIDENCE), confidence=CONFIDENCE
        ),
        outcome=outcome,
        pairs=centre.n,
        stage="screen",
    )
