"""Samples x Samples -> Comparison: facts, no opinions.

What is allowed, what blocks and what is accepted is `gate.policy`. A difference is reported here
however small it is; "regressed" means no more than "worse than base in a way these samples show".
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # scipy.special loads on use: a fifth of a second that no run waits for before it measures

from gate.model import (
    ERRORS,
    METRICS,
    PYTHON_CALLS,
    REDIS_KEYS,
    Case,
    Caveat,
    Comparison,
    Interval,
    Kind,
    Outcome,
    PlannedCase,
    Sample,
    SideRun,
    Statistic,
    Timing,
)

P95_VALUES = 200  # below this the 95th percentile rests on fewer than ten values
P99_VALUES = 1000

TRIM = 0.2  # of the differences at each end; spikes of a tenth of the pairs then move nothing
ROUNDING = 1e-12  # differences of logarithms closer than this differ by arithmetic alone


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
    there = frozenset(known)
    for planned in head.cases:
        rows += _rows(planned, base, head, known=planned.case in there, reason=unusable.get(planned.case, ""))
    present = {planned.case for planned in head.cases}
    rows += [_missing(case, base) for case in known if case not in present]
    return tuple(rows)


def _rows(
    planned: PlannedCase, base: SideRun | None, head: SideRun, *, known: bool, reason: str
) -> list[Comparison]:
    rows: list[Comparison] = []
    errors = head.sample(planned.case, ERRORS.name)
    before = base.sample(planned.case, ERRORS.name) if base else None
    if errors is None and known and not any(sample.case == planned.case for sample in head.samples):
        return [_missing(planned.case, base)]  # planned, and then nothing of it was measured
    if errors is not None and errors.skipped:
        # What base ran and head skips is as little measured as what head has deleted.
        ran = known and not (before is not None and before.skipped)
        return [_missing(planned.case, base, errors.caveats)] if ran else []
    failing = before is not None and max(before.values) > 0  # then base has no counts, and head is a first
    for name, metric in METRICS.items():
        if metric.kind is not Kind.EXACT:
            continue
        mine = head.sample(planned.case, name)
        theirs = base.sample(planned.case, name) if base and known else None
        counted = (head.seen(planned.case), base.seen(planned.case) if base and known else None)
        mine, theirs = (
            _idle(errors if counted[0] else None, mine, theirs),
            _idle(before if counted[1] else None, theirs, mine),
        )
        if mine is None:
            continue
        if theirs is not None:
            rows.append(exact(planned, theirs, mine))
        elif metric == PYTHON_CALLS or (metric == REDIS_KEYS and before is not None):
            continue  # no file holds the one, and those of an earlier version not the other
        else:
            rows.append(_alone(planned, mine, known=known and not failing, reason=reason))
    return rows


def _idle(errors: Sample | None, own: Sample | None, others: Sample | None) -> Sample | None:
    """A benchmark that leaves the services alone has no counts of them, and still has them: 0.

    errors: of the side that `own` is of. It says whether the side was counted, and did not fail.
    """
    some = own or others
    if some is None or errors is None or errors.case.suite != "benchmarks" or some.metric == PYTHON_CALLS:
        return own
    if errors.skipped or max(errors.values) > 0:
        return own
    # Also a pass in which the services were left alone is one in which they did nothing.
    missing = len(errors.points) - len(own.points if own else ())
    idle = tuple(point._replace(value=0.0) for point in errors.points[: max(0, missing)])
    points = (own.points if own else ()) + idle
    return dataclasses.replace(some, side=errors.side, points=points, caveats=own.caveats if own else ())


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
    below = scipy.special.bdtr(
        np.arange(n), n, share
    )  # below[k]: chance that at most k values lie below the quantile
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
    half = float(scipy.special.stdtrit(n - 1, (1 + confidence) / 2)) * statistics.stdev(values) / math.sqrt(n)
    mean = statistics.fmean(values)
    return Interval(low=mean - half, high=mean + half, confidence=confidence)


def log_ratios(
    base: Sample | None, head: Sample | None, statistic: Statistic, pairs: Collection[int]
) -> tuple[float, ...]:
    """log(head / base) of each pair, in the order measured; above 0 is slower.

    A pair in which a side has no value, or one that is not above zero and finite, is left out.
    """
    before, after = pair_values(base, statistic), pair_values(head, statistic)
    return tuple(
        math.log(after[pair]) - math.log(before[pair])
        for pair in sorted(set(pairs))
        if pair in before and pair in after
    )


def pair_values(sample: Sample | None, statistic: Statistic, visits: int | None = None) -> dict[int, float]:
    """By pair: the median or the smallest of all its values; only those above zero and finite.

    visits: 1 for the odd visits of each pair only, 0 for the even ones.
    """
    found: dict[int, list[float]] = {}
    for point in sample.points if sample else ():
        if visits is None or point.visit % 2 == visits:
            found.setdefault(point.pair, []).append(point.value)
    of = min if statistic == "min" else statistics.median
    values = {pair: of(each) for pair, each in found.items() if all(map(math.isfinite, each))}
    return {pair: value for pair, value in values.items() if value > 0}


def visit_ratios(sample: Sample | None, statistic: Statistic) -> tuple[float, ...]:
    """A/A of one side: log(odd visits / even visits) of each pair, in the order measured."""
    odd, even = pair_values(sample, statistic, 1), pair_values(sample, statistic, 0)
    return tuple(math.log(odd[pair]) - math.log(even[pair]) for pair in sorted(odd.keys() & even.keys()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Centre:
    """The 20 % trimmed mean of n differences, and what is known of where it truly lies.

    ordered: the differences, ascending. error: its standard error, 0 where all that is left after trimming
    is one value. freedom: of its t distribution, 0 where n = 1.
    Where error is 0 there is no t: the sign test and the order statistics of the median take its place, so
    that equal values make nothing more certain than their number allows.
    Source: Yuen (1974), Biometrika 61, 165-170.
    """

    ordered: tuple[float, ...]
    estimate: float
    error: float
    freedom: int

    @property
    def n(self) -> int:
        return len(self.ordered)

    def above(self, margin: float) -> float:
        """p of "the true difference is at most margin" against "it is above"; 1 where n cannot tell."""
        if self.freedom < 1:
            return 1.0
        if self.error == 0:
            return _sign(sum(each > margin + ROUNDING for each in self.ordered), self.n)
        return float(scipy.special.stdtr(self.freedom, (margin - self.estimate) / self.error))

    def below(self, margin: float) -> float:
        """p of "the true difference is at least margin" against "it is below"."""
        return self.mirrored().above(-margin)

    def upper(self, confidence: float) -> float:
        """What the true difference stays below with this confidence; infinite where n is too small."""
        if self.freedom < 1:
            return math.inf
        if self.error == 0:
            # P(at most k of n lie above the median) <= 1 - confidence: the k-th from the top bounds it.
            tails = scipy.special.bdtr(np.arange(self.n), self.n, 0.5)
            spare = int(np.searchsorted(tails, 1 - confidence, side="right"))
            return self.ordered[-spare] if spare else math.inf
        return self.estimate + self.reach(confidence)

    def reach(self, confidence: float) -> float:
        """How far a one-sided bound lies from the estimate: t times the error."""
        return float(scipy.special.stdtrit(self.freedom, confidence)) * self.error

    def lower(self, confidence: float) -> float:
        return -self.mirrored().upper(confidence)

    def mirrored(self) -> Centre:
        """The same with base and head exchanged."""
        return dataclasses.replace(
            self, ordered=tuple(-each for each in reversed(self.ordered)), estimate=-self.estimate
        )


def trimmed(differences: Sequence[float]) -> Centre:
    """The trimmed mean, its standard error sqrt(SSD / (h (h - 1))), and h - 1 degrees of freedom.

    differences: at least one, finite, any order. SSD: of the Winsorised values; h = n - 2g are kept, g the
    whole part of 0.2 n: 1 of 8, 2 of 12. Against s_w sqrt(n) / h it holds the level better where n is small:
    at 1 % and n = 12 it errs in 1.17 % of normal samples, not in 1.28 %.
    """
    ordered = tuple(sorted(differences))
    n = len(ordered)
    cut = (n - freedom(n) - 1) // 2
    kept = ordered[cut : n - cut]
    estimate = math.fsum(kept) / len(kept)
    if kept[-1] - kept[0] <= ROUNDING:
        return Centre(ordered=ordered, estimate=estimate, error=0.0, freedom=freedom(n))
    pulled = (kept[0],) * cut + kept + (kept[-1],) * cut
    mean = math.fsum(pulled) / n
    squares = math.fsum((each - mean) ** 2 for each in pulled)
    error = math.sqrt(squares / (len(kept) * (len(kept) - 1)))
    return Centre(ordered=ordered, estimate=estimate, error=error, freedom=freedom(n))


def freedom(n: int) -> int:
    """Degrees of freedom of the trimmed mean of n values."""
    return n - 2 * int(TRIM * n) - 1


def _sign(above: int, n: int) -> float:
    """One-sided p of the sign test: chance of at least `above` heads in n throws."""
    return float(scipy.special.bdtr(n - above, n, 0.5))


# n = 2 to 9, so that the mean over normal samples is sigma; beyond: n / (n - 0.8).
MAD_FACTORS = (1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107)


def mad(values: Sequence[float]) -> float:
    """Standard deviation by the median absolute deviation; half of the values may be outliers.

    values: at least two. Source: Croux and Rousseeuw (1992), Computational Statistics 1, 411-428.
    """
    n = len(values)
    middle = statistics.median(values)
    factor = MAD_FACTORS[n - 2] if n < 10 else n / (n - 0.8)
    return 1.4826 * factor * statistics.median(abs(each - middle) for each in values)


def holm(ps: Sequence[float], level: float) -> tuple[float, ...]:
    """Which hypotheses fall at `level` over all of them: the level each one was held to, 0 where it stands.

    Source: Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    held = [level / sum(other >= p for other in ps) for p in ps]
    steps = tuple(zip(ps, held, strict=True))
    return tuple(own if all(q <= at for q, at in steps if q <= p) else 0.0 for p, own in steps)


def serial(values: Sequence[float]) -> tuple[float, float]:
    """Lag-1 autocorrelation of the ranks and its one-sided p against "independent": is it positive?

    values: in the order measured. (0, 1) below five values, and where all are equal.
    Ranks, because one spike hides or feigns a correlation of the values. The beta approximation is within a
    tenth of the exact size from n = 5 on down to p = 0.01 (enumerated), and conservative beyond.
    Source: Bartels (1982), Journal of the American Statistical Association 77, 40-46.
    """
    n = len(values)
    if n < 5 or max(values) == min(values):
        return 0.0, 1.0
    ordered = sorted(values)
    ranks = [statistics.fmean((bisect_left(ordered, v), bisect_right(ordered, v) - 1)) for v in values]
    steps = math.fsum((b - a) ** 2 for a, b in itertools.pairwise(ranks))
    ratio = steps / math.fsum((rank - (n - 1) / 2) ** 2 for rank in ranks)
    shape = 5 * n * (n + 1) * (n - 1) ** 2 / (2 * (n - 2) * (5 * n * n - 2 * n - 9)) - 0.5
    return 1 - ratio / 2, float(scipy.special.betainc(shape, shape, min(1.0, ratio / 4)))
