"""Samples x Samples -> Comparison: facts, no opinions.

What is allowed, what blocks and what is accepted is `gate.policy`. A difference is reported here
however small it is; "regressed" means no more than "worse than base in a way these samples show".
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np

# scipy.special has the same distribution functions as scipy.stats and loads in a tenth of the second.
from scipy.special import bdtr, stdtrit

from gate.model import (
    ERRORS,
    METRICS,
    Case,
    Caveat,
    Comparison,
    Interval,
    Kind,
    Outcome,
    PlannedCase,
    Sample,
    SideRun,
    Timing,
)

P95_VALUES = 200  # below this the 95th percentile rests on fewer than ten values
P99_VALUES = 1000


def compare(
    base: SideRun | None,
    head: SideRun,
    *,
    known: Sequence[Case],
    unusable: dict[Case, str],
) -> tuple[Comparison, ...]:
    """Every exact metric of every case, and one row for each case that is gone.

    known: the cases base has. unusable: why base has no counts for a case, where it has none.
    The order is the plan's, then the metrics' own; permuting the samples changes nothing.
    """
    rows: list[Comparison] = []
    for planned in head.cases:
        rows += _rows(planned, base, head, known=planned.case in known, reason=unusable.get(planned.case, ""))
    present = {planned.case for planned in head.cases}
    rows += [_missing(case, base) for case in known if case not in present]
    return tuple(rows)


def _rows(
    planned: PlannedCase, base: SideRun | None, head: SideRun, *, known: bool, reason: str
) -> list[Comparison]:
    rows: list[Comparison] = []
    errors = head.sample(planned.case, ERRORS.name)
    before = base.sample(planned.case, ERRORS.name) if base else None
    if errors is not None and errors.skipped:
        # What base ran and head skips is as little measured as what head has deleted.
        ran = known and not (before is not None and before.skipped)
        return [_missing(planned.case, base, errors.caveats)] if ran else []
    failing = before is not None and max(before.values) > 0  # then base has no counts, and head is a first
    for name, metric in METRICS.items():
        mine = head.sample(planned.case, name)
        if metric.kind is not Kind.EXACT or mine is None:
            continue
        theirs = base.sample(planned.case, name) if base and known else None
        if theirs is None:
            rows.append(_alone(planned, mine, known=known and not failing, reason=reason))
        else:
            rows.append(exact(planned, theirs, mine))
    return rows


def exact(planned: PlannedCase, base: Sample, head: Sample) -> Comparison:
    """Counts of one case. A count that differs between passes is worse only where all of head's
    passes exceed all of base's (min of head above max of base), better only the other way round."""
    if head.metric == ERRORS:
        # Any failure counts, also one that another pass did not repeat.
        base, head = _worst(base), _worst(head)
    worse = min(head.values) > max(base.values)
    better = max(head.values) < min(base.values)
    before = max(base.values) if worse else min(base.values)
    after = max(head.values) if better else min(head.values)
    outcome = Outcome.REGRESSED if worse else Outcome.IMPROVED if better else Outcome.EQUIVALENT
    if not (worse or better):
        # Overlapping passes show no difference, and a row that says so must not print one.
        after = before = min(max(before, after), max(base.values))
    return Comparison(
        case=planned.case,
        label=planned.label,
        metric=head.metric.name,
        unit=head.metric.unit,
        kind=Kind.EXACT,
        base=before,
        head=after,
        delta=after - before,
        ratio=after / before if before else None,
        outcome=outcome,
        pairs=len(head.points),
        caveats=head.caveats + _wavering(base, head),
    )


def _worst(sample: Sample) -> Sample:
    return dataclasses.replace(sample, points=(max(sample.points, key=lambda point: point.value),))


def _wavering(base: Sample, head: Sample) -> tuple[Caveat, ...]:
    if len(set(head.values)) < 2:
        return ()
    counted = " and ".join(f"{value:g}" for value in sorted(set(head.values)))
    if len(set(base.values)) < 2:
        return (Caveat(code="became-nondeterministic", text=f"counted {counted}; base always the same"),)
    return (Caveat(code="nondeterministic", text=f"counted {counted} in separate passes"),)


def _alone(planned: PlannedCase, mine: Sample, *, known: bool, reason: str) -> Comparison:
    caveats = (Caveat(code="no-base", text=reason or "base has no counts"),) if known else ()
    return Comparison(
        case=planned.case,
        label=planned.label,
        metric=mine.metric.name,
        unit=mine.metric.unit,
        kind=Kind.EXACT,
        base=None,
        head=max(mine.values) if mine.metric == ERRORS else min(mine.values),
        outcome=Outcome.INCOMPARABLE if known else Outcome.NEW,
        pairs=len(mine.points),
        caveats=mine.caveats + caveats,
    )


def _missing(case: Case, base: SideRun | None, caveats: tuple[Caveat, ...] = ()) -> Comparison:
    labels = {planned.case: planned.label for planned in base.cases} if base else {}
    return Comparison(
        case=case,
        label=labels.get(case, str(case)),
        metric="case",
        unit="",
        kind=Kind.EXACT,
        base=None,
        head=None,
        outcome=Outcome.MISSING,
        caveats=caveats,
    )


def timing(planned: PlannedCase, head: Sample, base: Sample | None) -> Timing:
    """Times of one case in seconds, over all its values."""
    values = sorted(head.values)
    p50 = quantile(values, 0.5)
    spread = (quantile(values, 0.75) - quantile(values, 0.25)) / 2
    return Timing(
        case=planned.case,
        label=planned.label,
        n=len(values),
        p50=p50,
        p95=quantile(values, 0.95) if len(values) >= P95_VALUES else None,
        p99=quantile(values, 0.99) if len(values) >= P99_VALUES else None,
        mean=statistics.fmean(values),
        spread=spread / p50 if p50 else 0.0,
        base_p50=quantile(sorted(base.values), 0.5) if base and base.points else None,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value with at least `share` of the sample at or below it (no interpolation).

    ordered: ascending, at least one. Source: Hyndman and Fan (1996), definition 1.
    """
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def quantile_interval(ordered: Sequence[float], share: float, *, confidence: float) -> Interval | None:
    """Distribution-free interval of a quantile from order statistics, at least at `confidence`.

    None where n is too small for bounds at this confidence.
    Source: binomial method, Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2.
    """
    n = len(ordered)
    tail = (1 - confidence) / 2
    below = bdtr(np.arange(n), n, share)  # below[k]: chance that at most k values lie below the quantile
    low = int(np.searchsorted(below, tail)) - 1
    high = int(np.searchsorted(below, 1 - tail))
    if low < 0 or high >= n:
        return None
    reached = float(below[high] - below[low])
    return Interval(low=ordered[low], high=ordered[high], confidence=reached)


def mean_interval(values: Sequence[float], *, confidence: float) -> Interval | None:
    """Student's interval of the mean; None below two values."""
    n = len(values)
    if n < 2:
        return None
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * statistics.stdev(values) / math.sqrt(n)
    mean = statistics.fmean(values)
    return Interval(low=mean - half, high=mean + half, confidence=confidence)
