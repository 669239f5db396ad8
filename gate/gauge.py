"""Memory of base and head over the pairs of the screen: does head hold more, and does it go on growing?

Pure. Each pair gives one value a side, of processes that are new in each: the differences of the pairs are
independent, and tested as those of times are.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from gate.model import (
    MEMORY_GROWTH,
    MEMORY_PEAK,
    Case,
    Comparison,
    Finding,
    Interval,
    Kind,
    Level,
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
SHARE = 0.05  # of base's peak
_NAMED = 5  # cases, in a sentence
MARGIN = 0.5  # of what is allowed; what the test has to reject


def judge_memory(run: Run) -> tuple[Comparison, ...]:
    """One row for each case and gauge that all pairs of the screen have seen on both sides."""
    pairs = [p.number for p in run.pairs if p.stage == "screen" and not p.lost and p.cases]
    labels = {planned.case: planned.label for planned in run.plan.cases}
    found: list[tuple[Case, Metric, Mapping[SideName, list[float]], Centre]] = []
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
                found.append((timed.case, metric, values, centre))
    worse = holm([c.above(MARGIN * _allowed(m, v)) for _, m, v, c in found], LEVEL)
    better = holm([c.below(-MARGIN * _allowed(m, v)) for _, m, v, c in found], LEVEL)
    return tuple(
        _row(case, labels.get(case, str(case)), metric, values, centre, (more > 0, less > 0))
        for (case, metric, values, centre), more, less in zip(found, worse, better, strict=True)
    )


def unwatched(run: Run) -> tuple[Finding, ...]:
    """Names the cases of which too few pairs know what a request leaves behind, though memory is known."""
    pairs = {p.number for p in run.pairs if p.stage == "screen" and not p.lost and p.cases}
    few = []
    for case in (timed.case for timed in run.plan.timed):
        peaks, growth = (
            [_values(run, case, metric, side).keys() & pairs for side in ("base", "head")]
            for metric in (MEMORY_PEAK, MEMORY_GROWTH)
        )
        if len(peaks[0] & peaks[1]) >= ENOUGH > len(growth[0] & growth[1]):
            few.append(str(case))
    if not few:
        return ()
    named = ", ".join(few[:_NAMED]) + (f" and {len(few) - _NAMED} more" if len(few) > _NAMED else "")
    text = f"what a request leaves in memory is not known, for too few fit into a pair: {named}"
    return (Finding(name="memory", level=Level.NOTE, text=text),)


def _values(run: Run, case: Case, metric: Metric, side: SideName) -> dict[int, float]:
    return {
        point.pair: point.value
        for sample in run.samples
        if sample.case == case and sample.metric.name == metric.name and sample.side == side
        for point in sample.points
    }


def _allowed(metric: Metric, values: Mapping[SideName, list[float]]) -> float:
    """Bytes."""
    least = ALLOWED[metric.name]
    return least if metric == MEMORY_GROWTH else max(least, SHARE * statistics.median(values["base"]))


def _row(
    case: Case,
    label: str,
    metric: Metric,
    values: Mapping[SideName, list[float]],
    centre: Centre,
    sure: tuple[bool, bool],
) -> Comparison:
    base, head = (float(round(statistics.median(values[name]))) for name in ("base", "head"))
    allowed, (more, less) = _allowed(metric, values), sure
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
