"""The rule for times measured side by side: which cases are confirmed, and what came of each.

Pure, and in two layers: `screened` and `decided` take differences and are the rule; `family` and
`judge_times` read them from a Run, so that a saved one is judged again under other rules. What blocks
and what is accepted is `gate.policy`; that the rule keeps its promises is shown by bench/replay.py.

A screen of a few pairs looks at every case. It can prove a case fine, never slow: whatever is suspect or
could not be proved is measured again from nothing, and only those fresh pairs may block. The family of
tests is fixed when the screen ends, and the data it was chosen by are not used again, so that Holm's
procedure over the family keeps false blocks of a whole run below `LEVEL`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gate.model import (
    LATENCY,
    TIME,
    Case,
    Caveat,
    Comparison,
    Interval,
    Kind,
    Outcome,
    Run,
    Sample,
    SideName,
    Stage,
    Statistic,
    TimingRule,
)
from gate.stats import Centre, holm, log_ratios, mad, pair_values, serial, trimmed, visit_ratios

LEVEL = 0.01  # chance that a run of clean cases is blocked, over all of them
BOUND = 0.95  # of the bound that has to lie below `detect`
POWER = 0.95  # with which the confirm is to catch a slowdown of `detect`
FLAG = 0.7  # share of `allowed` from which a median in the screen is suspect
SCREEN_PAIRS = 5  # below this a screen proves nothing: a spike cannot be told from the rest
FEWEST, MOST = 12, 60  # pairs of a confirm
# On n: t and not normal quantiles, a trimmed mean, a spread known from eight pairs.
RESERVE = 1.8
TRIMMED = 1.07  # standard error of the trimmed mean over that of the mean, normal values
MEDIAN = 1.2533  # the same of the median
HOPELESS = 1000  # more pairs than anybody would measure
VOID = 0.001  # chance that a control or an A/A of a clean run voids
DRIFT = 0.05  # chance that some case of a clean run looks dependent in one stage
CONTROL = Case(suite="control", name="fixed-work")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A case of the confirm family. pairs: that its confirm wants, 12 to 60.

    flagged: suspect in the screen; otherwise the screen could not prove it fine.
    """

    case: Case
    pairs: int
    flagged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What the rule looks at: one case over the pairs of one stage, in the order measured.

    differences: log(head / base) of each pair. base, head: seconds, medians over the pairs.
    control: the same of fixed work in these pairs. halves: of base and of head, log(odd / even visits).
    timed: pairs that measured the case; those without a time above zero on both sides have no difference.
    coarse: the clock's step, a share of base's time, where values repeat; 0 where they do not.
    """

    differences: tuple[float, ...] = ()
    base: float = 0.0
    head: float = 0.0
    control: tuple[float, ...] = ()
    halves: tuple[tuple[float, ...], ...] = ()
    timed: int = 0
    coarse: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What came of one case, and the pairs it rests on.

    confidence: one-sided, of the test that decided. mde, needed: as in Comparison.
    """

    outcome: Outcome
    stage: Stage | None
    series: Series
    centre: Centre | None
    confidence: float = BOUND
    mde: float | None = None
    needed: int | None = None
    caveats: tuple[Caveat, ...] = ()


def family(run: Run, rules: Mapping[Case, TimingRule] | None = None) -> tuple[Member, ...]:
    """The confirm family, in the plan's order: fixed by the pairs of the screen alone.

    rules: in place of the plan's own.
    """
    held = _rules(run, rules)
    return screened(_series(run, "screen", held), held)


def judge_times(run: Run, rules: Mapping[Case, TimingRule]) -> tuple[Comparison, ...]:
    """One row for each case timed side by side, in the plan's order.

    rules: by case, which need not be those the run was measured under; a case without one keeps the plan's.
    """
    held = _rules(run, rules)
    wanted = {member.case for member in family(run)}
    decisions = decided(_series(run, "screen", held), _series(run, "confirm", held), held)
    labels = {planned.case: planned.label for planned in run.plan.cases}
    lost = sum(pair.stage == "confirm" and bool(pair.lost) for pair in run.pairs)
    rows = []
    for case, rule in held.items():
        decision = decisions[case]
        if any(caveat.code == "time-budget" for caveat in decision.caveats):
            decision = _short(decision, wanted=case in wanted, lost=lost)
        rows.append(_row(case, labels.get(case, str(case)), rule, decision))
    return tuple(rows)


def screened(screen: Mapping[Case, Series], rules: Mapping[Case, TimingRule]) -> tuple[Member, ...]:
    """Every case that the screen does not prove fine, and how many pairs will tell.

    A case without a single pair is not among them: nothing says that it can be timed.
    """
    cases = len(rules)
    chosen = {
        case: rule
        for case, rule in rules.items()
        if screen[case].differences and not _proved(screen[case], rule, cases)
    }
    spreads = _spreads(screen)
    return tuple(
        Member(
            case=case,
            pairs=_pairs(spreads.get(case, math.inf), rule, len(chosen)),
            flagged=_flagged(screen[case], rule),
        )
        for case, rule in chosen.items()
    )


def decided(
    screen: Mapping[Case, Series], confirm: Mapping[Case, Series], rules: Mapping[Case, TimingRule]
) -> dict[Case, Decision]:
    """The outcome of every case of `rules`: what cannot be told is inconclusive, and says why."""
    members = {member.case: member for member in screened(screen, rules)}
    tested = {
        case: (trimmed(confirm[case].differences), _doubts(confirm[case], rules[case], len(rules)))
        for case in members
        if len(confirm[case].differences) >= FEWEST
    }
    # Without enough pairs, or with pairs that cannot be trusted, a member keeps its place and p = 1.
    ps = [
        tested[case][0].above(math.log1p(rules[case].margin))
        if case in tested and not tested[case][1]
        else 1.0
        for case in members
    ]
    levels = dict(zip(members, holm(ps, LEVEL), strict=True))
    spreads = _spreads(screen)
    found = {}
    for case, rule in rules.items():
        member = members.get(case)
        if member is None:
            found[case] = _by_screen(screen[case], rule, len(rules), len(members), spreads.get(case))
        elif case not in tested:
            found[case] = _unconfirmed(screen[case], confirm[case], member)
        else:
            centre, doubts = tested[case]
            found[case] = _by_confirm(
                confirm[case], centre, rule, levels[case], doubts, family=len(members), cases=len(rules)
            )
    return found


def _flagged(series: Series, rule: TimingRule) -> bool:
    return statistics.median(series.differences) > FLAG * math.log1p(rule.allowed)


def _proved(series: Series, rule: TimingRule, cases: int) -> bool:
    """The screen's verdict. Pairs that cannot be trusted prove nothing; the control voids in `_by_screen`."""
    if len(series.differences) < SCREEN_PAIRS or _doubts(series, rule, cases, control=False):
        return False
    upper = trimmed(series.differences).upper(BOUND)
    if _negligible(series.base, upper, rule):
        return True
    return not _flagged(series, rule) and upper < math.log1p(rule.detect)


def _by_screen(series: Series, rule: TimingRule, cases: int, members: int, spread: float | None) -> Decision:
    if not series.differences:
        text = "no pair timed it side by side"
        if series.timed:
            text = f"none of {series.timed} pairs gave a time above zero on both sides"
        return Decision(
            outcome=Outcome.INCONCLUSIVE,
            stage=None,
            series=series,
            centre=None,
            caveats=(Caveat(code="no-times", text=text),),
        )
    centre = trimmed(series.differences)
    doubts = _doubts(series, rule, cases)
    if doubts:
        return Decision(
            outcome=Outcome.INCONCLUSIVE, stage="screen", series=series, centre=centre, caveats=doubts
        )
    mde = _mde_of_screen(series, rule, members + 1, spread or 0.0)
    return _fine(
        Decision(outcome=Outcome.EQUIVALENT, stage="screen", series=series, centre=centre, mde=mde),
        rule,
        cases,
    )


def _by_confirm(
    series: Series,
    centre: Centre,
    rule: TimingRule,
    level: float,
    doubts: tuple[Caveat, ...],
    *,
    family: int,
    cases: int,
) -> Decision:
    strictest = LEVEL / family
    decision = Decision(
        outcome=Outcome.INCONCLUSIVE,
        stage="confirm",
        series=series,
        centre=centre,
        mde=None if doubts else _mde(centre, rule, strictest, series.base),
        caveats=doubts,
    )
    if doubts:
        return decision
    outcome = _outcome(centre, rule, level, series.base)
    if outcome is Outcome.REGRESSED:
        return dataclasses.replace(decision, outcome=outcome, confidence=1 - level)
    if outcome is Outcome.EQUIVALENT:
        return _fine(dataclasses.replace(decision, outcome=outcome), rule, cases)
    needed = _needed(centre, rule, strictest, series.base)
    settle = f"{needed} pairs would settle it" if needed else "no number of pairs in reach would settle it"
    text = f"{centre.n} pairs show neither a slowdown beyond doubt nor its absence; {settle}"
    caveat = Caveat(code="too-noisy", text=text)
    return dataclasses.replace(decision, needed=needed, caveats=(caveat,))


def _outcome(centre: Centre, rule: TimingRule, level: float, base: float) -> Outcome:
    """Block, pass, or neither, in this order. level: of the block's test, 0 where Holm lets it stand."""
    slower = base * _growth(centre.estimate) > rule.floor and centre.estimate >= math.log1p(rule.allowed)
    if slower and level > 0 and centre.above(math.log1p(rule.margin)) <= level:
        return Outcome.REGRESSED
    upper = centre.upper(BOUND)
    if upper < math.log1p(rule.detect) or _negligible(base, upper, rule):
        return Outcome.EQUIVALENT
    return Outcome.INCONCLUSIVE


def _fine(decision: Decision, rule: TimingRule, cases: int) -> Decision:
    """Better, where the mirrored test says so at LEVEL over all cases, else the same.

    Without a confirm, for nothing hangs on it; over all cases, for every one of them is looked at.
    """
    centre, base = decision.centre, decision.series.base
    if centre is None or centre.estimate > -math.log1p(rule.allowed):
        return decision
    if -base * _growth(centre.estimate) <= rule.floor:
        return decision
    if centre.below(-math.log1p(rule.margin)) > LEVEL / cases:
        return decision
    return dataclasses.replace(decision, outcome=Outcome.IMPROVED, confidence=1 - LEVEL / cases)


def _unconfirmed(screen: Series, confirm: Series, member: Member) -> Decision:
    """A member without enough fresh pairs: what the screen saw is shown, and decides nothing."""
    got = len(confirm.differences)
    if confirm.timed > got and confirm.timed >= FEWEST:
        text = f"{confirm.timed - got} of {confirm.timed} confirm pairs gave no time above zero on both sides"
        caveat = Caveat(code="no-times", text=text)
    else:
        text = f"{got} of {member.pairs} confirm pairs fitted the time budget; at least {FEWEST} are needed"
        caveat = Caveat(code="time-budget", text=text)
    return Decision(
        outcome=Outcome.INCONCLUSIVE,
        stage="screen",
        series=screen,
        centre=trimmed(screen.differences),
        needed=member.pairs,
        caveats=(caveat,),
    )


def _short(decision: Decision, *, wanted: bool, lost: int) -> Decision:
    """Why there are not enough fresh pairs, where it was not the time budget."""
    if not wanted:
        text = "the rules it was measured under did not ask for a confirm, these do"
        return dataclasses.replace(decision, caveats=(Caveat(code="not-confirmed", text=text),))
    if lost:
        text = f"{decision.caveats[0].text}; {lost} confirm pairs were lost"
        return dataclasses.replace(decision, caveats=(Caveat(code="time-budget", text=text),))
    return decision


def _doubts(series: Series, rule: TimingRule, cases: int, *, control: bool = True) -> tuple[Caveat, ...]:
    """Why these pairs cannot be trusted, whatever they show; empty where they can."""
    found = []
    limit = math.log1p(rule.allowed / 2)
    if control and _moved(series.control, limit, VOID):
        off = _percent(trimmed(series.control).estimate)
        found.append(
            Caveat(code="control", text=f"fixed work of the gate's own differed by {off} between the sides")
        )
    for side, half in zip(("base", "head"), series.halves, strict=False):
        if _moved(half, limit, VOID / cases / 2):
            off = _percent(trimmed(half).estimate)
            text = f"{side}'s odd visits differ from its even ones by {off}"
            found.append(Caveat(code="unsteady", text=text))
    correlation, p = serial(series.differences)
    if p < DRIFT / cases:
        text = f"neighbouring pairs resemble each other (correlation {correlation:.2f})"
        found.append(Caveat(code="drift", text=text))
    if series.coarse > rule.allowed / 2:
        text = f"the clock's step is {series.coarse:.1%} of the time measured"
        found.append(Caveat(code="clock", text=text))
    return tuple(found)


def _moved(differences: tuple[float, ...], limit: float, level: float) -> bool:
    if not differences:
        return False
    centre = trimmed(differences)
    return abs(centre.estimate) > limit and 2 * min(centre.above(0), centre.below(0)) < level


def _negligible(base: float, upper: float, rule: TimingRule) -> bool:
    """Even at its upper bound shorter than anybody would notice."""
    return rule.floor > 0 and base * _growth(upper) < rule.floor


def _spreads(screen: Mapping[Case, Series]) -> dict[Case, float]:
    """Of one pair: a case's own, at least the middle one of its suite: eight pairs may agree by luck."""
    own = {case: mad(each.differences) for case, each in screen.items() if len(each.differences) > 3}
    pooled = {
        suite: statistics.median(own[case] for case in own if case.suite == suite)
        for suite in {case.suite for case in own}
    }
    return {case: max(own.get(case, 0.0), pooled[case.suite]) for case in screen if case.suite in pooled}


def _pairs(spread: float, rule: TimingRule, family: int) -> int:
    """Pairs that catch a slowdown of `detect` with POWER: by the test, by an estimate above `allowed`."""
    normal = statistics.NormalDist().inv_cdf
    power = normal(POWER)
    detect = math.log1p(rule.detect)
    wanted = max(
        (normal(1 - LEVEL / family) + power) / max(detect - math.log1p(rule.margin), 1e-6),
        power / max(detect - math.log1p(rule.allowed), 1e-6),
    )
    if not math.isfinite(spread):
        return MOST
    return min(MOST, max(FEWEST, math.ceil(RESERVE * (wanted * spread) ** 2) + 3))


def _mde(centre: Centre, rule: TimingRule, level: float, base: float) -> float | None:
    """Smallest slowdown that a confirm like this one blocks with POWER; None where none is blocked."""
    if centre.error == 0 and 0.5**centre.n > level:
        return None
    miss = centre.reach(POWER)
    floor = math.log1p(rule.floor / base) if base else 0.0
    needs = math.log1p(rule.margin) + centre.reach(1 - level), math.log1p(rule.allowed), floor
    return _growth(max(needs) + miss)


def _mde_of_screen(series: Series, rule: TimingRule, family: int, spread: float) -> float | None:
    """The same for a case that the screen proved: it had to be noticed there, and then confirmed."""
    n = _pairs(spread, rule, family)
    freedom = n - 2 * (n // 5) - 1
    error = TRIMMED * spread / math.sqrt(n)
    expected = Centre(ordered=(0.0,) * n, estimate=0.0, error=error, freedom=freedom)
    confirmed = _mde(expected, rule, LEVEL / family, series.base)
    if confirmed is None:
        return None
    miss = statistics.NormalDist().inv_cdf(POWER) * MEDIAN * spread / math.sqrt(len(series.differences))
    noticed = min(FLAG * math.log1p(rule.allowed) + miss, math.log1p(rule.detect))
    return max(confirmed, _growth(noticed))


def _needed(centre: Centre, rule: TimingRule, level: float, base: float) -> int | None:
    """Pairs at which this estimate with this spread would block or pass; None where none in reach."""
    if centre.error == 0:
        return None
    for n in range(FEWEST, HOPELESS):
        longer = dataclasses.replace(
            centre, error=centre.error * math.sqrt(centre.n / n), freedom=n - 2 * (n // 5) - 1
        )
        if n > centre.n and _outcome(longer, rule, level, base) is not Outcome.INCONCLUSIVE:
            return n
    return None


def _growth(difference: float) -> float:
    """A difference of logarithms as a share, 0.05 is 5 % slower; finite, for JSON knows no infinity."""
    return math.expm1(min(difference, 700.0))


def _percent(difference: float) -> str:
    return f"{abs(_growth(difference)):.1%}"


def _row(case: Case, label: str, rule: TimingRule, decision: Decision) -> Comparison:
    centre, series = decision.centre, decision.series
    known = centre is not None and series.base > 0
    ratio = 1 + _growth(centre.estimate) if centre and known else None
    interval = None
    if centre is not None:
        low, high = centre.lower(decision.confidence), centre.upper(decision.confidence)
        if math.isfinite(low) and math.isfinite(high):
            interval = Interval(
                low=1 + _growth(low), high=1 + _growth(high), confidence=2 * decision.confidence - 1
            )
    return Comparison(
        case=case,
        label=label,
        metric=_metric(case),
        unit="s",
        kind=Kind.TIMING,
        base=series.base if known else None,
        head=series.head if known else None,
        delta=series.base * (ratio - 1) if ratio is not None else None,
        ratio=ratio,
        interval=interval,
        outcome=decision.outcome,
        allowed=rule.allowed,
        detect=rule.detect,
        mde=decision.mde,
        pairs=len(series.differences),
        stage=decision.stage or "",
        needed=decision.needed,
        caveats=decision.caveats,
    )


def _metric(case: Case) -> str:
    return LATENCY.name if case.suite == "endpoints" else TIME.name


def _rules(run: Run, rules: Mapping[Case, TimingRule] | None) -> dict[Case, TimingRule]:
    return {timed.case: (rules or {}).get(timed.case, timed.rule) for timed in run.plan.timed}


def _series(run: Run, stage: Stage, rules: Mapping[Case, TimingRule]) -> dict[Case, Series]:
    """By case: what the pairs of this stage say. A pair counts for the cases that it timed whole."""
    pairs = {
        case: tuple(p.number for p in run.pairs if p.stage == stage and not p.lost and case in p.cases)
        for case in rules
    }
    return {case: _one(run, case, rule.statistic, pairs[case]) for case, rule in rules.items()}


def _one(run: Run, case: Case, statistic: Statistic, pairs: Collection[int]) -> Series:
    base, head = (_sample(run, case, _metric(case), side, pairs) for side in ("base", "head"))
    before, after = pair_values(base, statistic), pair_values(head, statistic)
    both = before.keys() & after.keys()
    fixed = tuple(_sample(run, CONTROL, TIME.name, side, pairs) for side in ("base", "head"))
    return Series(
        differences=log_ratios(base, head, statistic, pairs),
        base=statistics.median(before[pair] for pair in both) if both else 0.0,
        head=statistics.median(after[pair] for pair in both) if both else 0.0,
        control=log_ratios(fixed[0], fixed[1], statistic, pairs),
        halves=tuple(visit_ratios(sample, statistic) for sample in (base, head)),
        timed=len(pairs),
        coarse=max(_step(base), _step(head)),
    )


def _sample(run: Run, case: Case, metric: str, side: SideName, pairs: Collection[int]) -> Sample | None:
    """The points of these pairs."""
    for sample in run.samples:
        if sample.case == case and sample.metric.name == metric and sample.side == side:
            wanted = frozenset(pairs)
            return dataclasses.replace(
                sample, points=tuple(point for point in sample.points if point.pair in wanted)
            )
    return None


def _step(sample: Sample | None) -> float:
    """The clock's step as a share of the usual value, seen where values repeat; 0 where it cannot be seen.

    One value alone says nothing of a step: work that is counted, not timed, may well be the same each time.
    """
    values = sample.values if sample else ()
    distinct = sorted(set(values))
    usual = statistics.median(values) if values else 0.0
    if not 2 <= len(distinct) <= len(values) / 2 or usual <= 0:
        return 0.0
    return min(b - a for a, b in itertools.pairwise(distinct)) / usual
