"""The rule for times measured side by side: which cases are confirmed, and what came of each.

Pure, and in two layers: `screened` and `decided` take differences and are the rule; `family` and
`judge_times` read them from a Run, so that a saved one is judged again under other rules. What blocks
and what is accepted is `gate.policy`; that the rule keeps its promises is shown by bench/replay.py.

A screen of a few pairs looks at every case. It can prove a case fine, never slow: whatever is suspect or
could not be proved is measured again from nothing, and only those fresh pairs may block. The family of
tests is fixed when the screen ends, and the pairs it was chosen by are not tested again (they may only
withhold a block), so that Holm's procedure over the family keeps false blocks of a whole run below `LEVEL`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

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
from gate.stats import Centre, freedom, holm, log_ratios, mad, pair_values, serial, trimmed, visit_ratios

LEVEL = 0.01  # chance that a run of clean cases is blocked, over all of them
BOUND = 0.95  # of the bound that has to lie below `detect`
POWER = 0.95  # with which the confirm is to catch a slowdown of `detect`
FLAG = 0.7  # share of `allowed` from which a median in the screen is suspect
SEEN = 0.5  # share of `allowed` that the screen must have seen too, for a block
SCREEN_PAIRS = 5  # below this a screen proves nothing: a spike cannot be told from the rest
FEWEST, MOST = 12, 60  # pairs that a confirm is planned with
# Pairs that decide where the time budget ended it sooner: when that is has nothing to do with the values.
ENOUGH = 8
# On n: t and not normal quantiles, a trimmed mean, a spread known from eight pairs.
RESERVE = 1.8
TRIMMED = 1.07  # standard error of the trimmed mean over that of the mean, normal values
MEDIAN = 1.2533  # the same of the median
HOPELESS = 1000  # more pairs than anybody would measure
STEADY = 0.95  # share of clean screens in which no case looks dependent; one that does is confirmed
GROSS = 4.0  # times `detect`, by which every pair is slower where drift is no excuse
_UNSTEADY, _DRIFT = "unsteady", "drift"
# Chances that a clean run is void: by its control, by an A/A of its cases, by dependence in its confirm.
VOID, DRIFT = 0.001, 0.005
CLOCK = 0.2  # of `detect`, the coarsest step of a clock
NOT_CONFIRMED = Caveat(
    code="not-confirmed",
    text="the rules it was measured under asked for no confirm, these do",
)
CONTROL = Case(suite="control", name="fixed-work")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A case of the confirm family. pairs: that its confirm wants, 12 to 60, by the spread, and by how much
    slower the screen found it.

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
    stage: Stage | Literal[""]
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
    decisions = decided(_series(run, "screen", held), _series(run, "confirm", held), held)
    if any(_short_of_pairs(decision) for decision in decisions.values()):
        asked = {member.case for member in family(run)}
        decisions = {
            case: decision
            if case in asked or not _short_of_pairs(decision)
            else dataclasses.replace(decision, caveats=(NOT_CONFIRMED,))
            for case, decision in decisions.items()
        }
    labels = {planned.case: planned.label for planned in run.plan.cases}
    return tuple(
        _row(run, case, labels.get(case, str(case)), rule, decisions[case]) for case, rule in held.items()
    )


def screened(screen: Mapping[Case, Series], rules: Mapping[Case, TimingRule]) -> tuple[Member, ...]:
    """Every case that the screen does not prove fine, and how many pairs will tell.

    Where more pairs would see as little, a confirm is spared.
    """
    cases = len(rules)
    chosen = {
        case: rule
        for case, rule in rules.items()
        if not (_unseen(screen[case], rule) or _proved(screen[case], rule, cases))
    }
    spreads = _spreads(screen)

    def pairs(case: Case, rule: TimingRule) -> int:
        spread = spreads.get(case, math.inf)
        return _pairs(spread, rule, len(chosen), _least(screen[case], rule, cases, spread))

    return tuple(
        Member(case=case, pairs=pairs(case, rule), flagged=_flagged(screen[case], rule))
        for case, rule in chosen.items()
    )


def decided(
    screen: Mapping[Case, Series], confirm: Mapping[Case, Series], rules: Mapping[Case, TimingRule]
) -> dict[Case, Decision]:
    """The outcome of every case of `rules`: what cannot be told is inconclusive, and says why.

    Where the screen's pairs cannot be trusted (`_doubts`) they prove nothing, and the case is confirmed;
    where those of the confirm cannot, the case is void, unless it is slower by more than what its visits
    differ by and what is allowed together; and, where they drift, unless every pair is far slower.
    """
    members = {member.case: member for member in screened(screen, rules)}
    tested = {
        case: trimmed(confirm[case].differences)
        for case in members
        if len(confirm[case].differences) >= ENOUGH
    }
    doubts = {
        case: _unseen(confirm[case], rules[case])
        + _control(confirm[case], rules[case])
        + _doubts(confirm[case], rules[case], len(rules), DRIFT / len(members))
        for case in tested
    }
    off = {case: _off(confirm[case], rules[case], len(rules)) for case in tested}
    # Without enough pairs, or with pairs that cannot be trusted, a member keeps its place and p = 1.
    ps = [
        tested[case].above(math.log1p(rules[case].margin) + off[case])
        if case in tested and _outweighed(doubts[case], screen[case], confirm[case], rules[case])
        else 1.0
        for case in members
    ]
    levels = dict(zip(members, holm(ps, LEVEL), strict=True))
    spreads = _spreads(screen)
    found = {}
    for case, rule in rules.items():
        if case not in members:
            spread = spreads.get(case, 0.0)
            found[case] = _by_screen(screen[case], rule, len(rules), len(members), spread)
        elif case not in tested:
            found[case] = _unconfirmed(screen[case], confirm[case], members[case])
        elif doubts[case]:
            least = tested[case].estimate - off[case]
            beyond = least >= math.log1p(rule.allowed) and confirm[case].base * _growth(least) > rule.floor
            far = levels[case] > 0 and beyond
            decision = Decision(
                outcome=Outcome.REGRESSED if far else Outcome.INCONCLUSIVE,
                stage="confirm",
                series=confirm[case],
                centre=tested[case],
                confidence=1 - levels[case] if far else BOUND,
                caveats=doubts[case],
            )
            found[case] = _agreed(decision, trimmed(screen[case].differences), rule) if far else decision
        else:
            decision = _by_confirm(confirm[case], tested[case], rule, levels[case], LEVEL / len(members))
            if decision.outcome is Outcome.REGRESSED:
                decision = _agreed(decision, trimmed(screen[case].differences), rule)
            found[case] = _better(decision, rule, len(rules))
    return found


def _flagged(series: Series, rule: TimingRule) -> bool:
    return statistics.median(series.differences) > FLAG * math.log1p(rule.allowed)


def _proved(series: Series, rule: TimingRule, cases: int) -> bool:
    if len(series.differences) < SCREEN_PAIRS or _doubts(series, rule, cases, (1 - STEADY) / cases):
        return False
    upper = trimmed(series.differences).upper(BOUND)
    if _negligible(series.base, upper, rule):
        return True
    return not _flagged(series, rule) and upper < math.log1p(rule.detect)


def _by_screen(series: Series, rule: TimingRule, cases: int, members: int, spread: float) -> Decision:
    """A case that no confirm looks at: fine, unless the screen could not see it or its control moved."""
    caveats = _unseen(series, rule) or _control(series, rule)
    decision = Decision(
        outcome=Outcome.INCONCLUSIVE if caveats else Outcome.EQUIVALENT,
        stage="screen" if series.differences else "",
        series=series,
        centre=trimmed(series.differences) if series.differences else None,
        caveats=caveats,
    )
    if caveats:
        return decision
    mde = _mde_of_screen(series, rule, LEVEL / (members + 1), spread, _pairs(spread, rule, members + 1))
    return _better(dataclasses.replace(decision, mde=mde), rule, cases)


def _by_confirm(series: Series, centre: Centre, rule: TimingRule, level: float, strictest: float) -> Decision:
    """Block, pass or neither. level: that Holm held the case to; strictest: that of the first step."""
    decision = Decision(
        outcome=_outcome(centre, rule, level, series.base),
        stage="confirm",
        series=series,
        centre=centre,
        mde=_mde(centre, rule, strictest, series.base),
    )
    if decision.outcome is Outcome.REGRESSED:
        return dataclasses.replace(decision, confidence=1 - level)
    if decision.outcome is Outcome.EQUIVALENT:
        return decision
    needed = _needed(centre, rule, strictest, series.base)
    settle = f"about {needed} would settle it" if needed else "more would hardly settle it"
    text = f"{centre.n} pairs show neither a slowdown beyond doubt nor that there is none; {settle}"
    return dataclasses.replace(decision, needed=needed, caveats=(Caveat(code="too-noisy", text=text),))


def _agreed(decision: Decision, screen: Centre, rule: TimingRule) -> Decision:
    """A block, unless the screen did not see the half of what is allowed, or is sure of much less.

    What only one of two environments shows, built alike from the same sources, is theirs and not the code's:
    where memory happened to lie, a page cache, a neighbour. Within one environment its pairs agree on it
    however many they are. This only ever withholds a block.
    """
    centre = decision.centre
    if centre is None:
        return decision
    seen = screen.estimate >= SEEN * math.log1p(rule.allowed)
    alike = centre.lower(decision.confidence) <= screen.upper(1 - LEVEL)
    if seen and (alike or screen.above(math.log1p(rule.margin)) <= LEVEL):
        return decision
    text = (
        f"the confirm saw {_signed(centre.estimate)}, the screen, in another environment, "
        f"{_signed(screen.estimate)}"
    )
    return dataclasses.replace(
        decision,
        outcome=Outcome.INCONCLUSIVE,
        confidence=BOUND,
        caveats=(Caveat(code="disagreement", text=text),),
    )


def _outcome(centre: Centre, rule: TimingRule, level: float, base: float) -> Outcome:
    """Block, pass, or neither, in this order. level: of the block's test, 0 where Holm lets it stand."""
    slower = base * _growth(centre.estimate) > rule.floor and centre.estimate >= math.log1p(rule.allowed)
    if slower and level > 0 and centre.above(math.log1p(rule.margin)) <= level:
        return Outcome.REGRESSED
    upper = centre.upper(BOUND)
    if upper < math.log1p(rule.detect) or _negligible(base, upper, rule):
        return Outcome.EQUIVALENT
    return Outcome.INCONCLUSIVE


def _better(decision: Decision, rule: TimingRule, cases: int) -> Decision:
    """What is no slower is an improvement where the mirrored test says so at LEVEL over all cases.

    It needs no confirm, for nothing hangs on it; over all cases, for every one of them is looked at.
    """
    centre, base = decision.centre, decision.series.base
    if (
        decision.outcome is Outcome.EQUIVALENT
        and centre is not None
        and centre.estimate <= -math.log1p(rule.allowed)
        and -base * _growth(centre.estimate) > rule.floor
        and centre.below(-math.log1p(rule.margin)) <= LEVEL / cases
    ):
        return dataclasses.replace(decision, outcome=Outcome.IMPROVED, confidence=1 - LEVEL / cases)
    return decision


def _unconfirmed(screen: Series, confirm: Series, member: Member) -> Decision:
    """A member without enough fresh pairs: what the screen saw is shown, and decides nothing."""
    got = len(confirm.differences)
    if confirm.timed > got and confirm.timed >= ENOUGH:
        text = f"{confirm.timed - got} of {confirm.timed} confirm pairs gave no time above zero on both sides"
        caveat = Caveat(code="no-times", text=text)
    else:
        text = f"{got} of {member.pairs} confirm pairs fitted the time budget; at least {ENOUGH} are needed"
        caveat = Caveat(code="time-budget", text=text)
    return Decision(
        outcome=Outcome.INCONCLUSIVE,
        stage="screen",
        series=screen,
        centre=trimmed(screen.differences),
        needed=member.pairs,
        caveats=(caveat,),
    )


def _short_of_pairs(decision: Decision) -> bool:
    return any(caveat.code == "time-budget" for caveat in decision.caveats)


def _unseen(series: Series, rule: TimingRule) -> tuple[Caveat, ...]:
    """Why no number of such pairs could tell anything; empty where they can."""
    if not series.differences:
        text = "no pair timed it side by side"
        if series.timed:
            text = f"none of {series.timed} pairs gave a time above zero on both sides"
        return (Caveat(code="no-times", text=text),)
    if series.coarse > CLOCK * rule.detect and series.coarse * series.base > rule.floor:
        text = f"the clock's step is {series.coarse:.1%} of the time measured"
        return (Caveat(code="clock", text=text),)
    return ()


def _control(series: Series, rule: TimingRule) -> tuple[Caveat, ...]:
    """Work that is the same on both sides took longer on one: so may anything else have."""
    if not _moved(series.control, rule, VOID):
        return ()
    off = _percent(trimmed(series.control).estimate)
    return (Caveat(code="control", text=f"fixed work differed by {off} between the sides"),)


def _doubts(series: Series, rule: TimingRule, cases: int, drift: float) -> tuple[Caveat, ...]:
    """Why the pairs of one case cannot be trusted, whatever they show; empty where they can."""
    found = [
        Caveat(code=_UNSTEADY, text=f"{side}'s odd visits differ from its even ones by {_percent(off)}")
        for side, off in _uneven(series, rule, cases)
    ]
    correlation, p = serial(series.differences)
    if p < drift:
        text = f"neighbouring pairs resemble each other (correlation {correlation:.2f})"
        found.append(Caveat(code=_DRIFT, text=text))
    return tuple(found)


def _uneven(series: Series, rule: TimingRule, cases: int) -> list[tuple[str, float]]:
    """The sides whose odd visits differ from their even ones, and by how much, as logarithms."""
    return [
        (side, trimmed(half).estimate)
        for side, half in zip(("base", "head"), series.halves, strict=False)
        if _moved(half, rule, VOID / cases / 2)
    ]


def _off(series: Series, rule: TimingRule, cases: int) -> float:
    """By how much visits of one side can have made the sides differ at most."""
    return sum(abs(off) for _, off in _uneven(series, rule, cases))


def _outweighed(doubts: tuple[Caveat, ...], screen: Series, confirm: Series, rule: TimingRule) -> bool:
    """Whether a slowdown may be told in spite of them.

    Pairs that resemble each other are fewer than they look, and may all be off by as much; by GROSS times
    what must be caught, in every one of two environments, they are not.
    """
    codes = {doubt.code for doubt in doubts} - {_UNSTEADY}
    if codes <= {_DRIFT}:
        least = min(screen.differences + confirm.differences, default=0.0)
        return not codes or least > GROSS * math.log1p(rule.detect)
    return False


def _moved(differences: tuple[float, ...], rule: TimingRule, level: float) -> bool:
    """By more than half of what the rule allows, and not by chance: two-sided, against none."""
    if not differences:
        return False
    centre = trimmed(differences)
    far = abs(centre.estimate) > math.log1p(rule.allowed / 2)
    return far and 2 * min(centre.above(0), centre.below(0)) < level


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


def _least(screen: Series, rule: TimingRule, cases: int, spread: float) -> float:
    """The lower 95 % bound of the screen's slowdown, as a logarithm; 0 where its pairs cannot be trusted.

    It may plan the confirm, whose pairs are fresh, without any part in what those decide: ten times as slow
    is proved by fewer of them than `detect` would be. spread: of a pair; eight may agree by luck.
    """
    n = len(screen.differences)
    if n < SCREEN_PAIRS or _control(screen, rule) or _doubts(screen, rule, cases, (1 - STEADY) / cases):
        return 0.0
    centre = trimmed(screen.differences)
    centre = dataclasses.replace(centre, error=max(centre.error, TRIMMED * spread / math.sqrt(n)))
    return max(0.0, centre.lower(BOUND))


def _pairs(spread: float, rule: TimingRule, family: int, least: float = 0.0) -> int:
    """Pairs that catch a slowdown of `detect`, or of `least` where that is more, with POWER: by the test, by
    an estimate above `allowed`."""
    normal = statistics.NormalDist().inv_cdf
    power = normal(POWER)
    detect = max(math.log1p(rule.detect), least)
    wanted = max(
        (normal(1 - LEVEL / family) + power) / max(detect - math.log1p(rule.margin), 1e-6),
        power / max(detect - math.log1p(rule.allowed), 1e-6),
    )
    if not math.isfinite(spread):
        return MOST
    return min(MOST, max(FEWEST, math.ceil(RESERVE * (wanted * spread) ** 2) + 3))


def _mde(centre: Centre, rule: TimingRule, level: float, base: float, power: float = POWER) -> float | None:
    """Smallest slowdown that a confirm like this one blocks with this power; None where none is blocked."""
    if centre.error == 0 and 0.5**centre.n > level:
        return None
    needs = (
        math.log1p(rule.margin) + centre.reach(1 - level),
        math.log1p(rule.allowed),
        math.log1p(rule.floor / base),
    )
    return _growth(max(needs) + centre.reach(power))


def _mde_of_screen(series: Series, rule: TimingRule, level: float, spread: float, n: int) -> float | None:
    """The same for a case proved fine: the screen had to notice it, and a confirm of n pairs to block."""
    power = (1 + POWER) / 2  # each of two steps, for both
    confirm = Centre(
        ordered=(0.0,) * n, estimate=0.0, error=TRIMMED * spread / math.sqrt(n), freedom=freedom(n)
    )
    blocked = _mde(confirm, rule, level, series.base, power)
    if blocked is None:
        return None
    error = MEDIAN * spread / math.sqrt(len(series.differences))
    noticed = FLAG * math.log1p(rule.allowed) + statistics.NormalDist().inv_cdf(power) * error
    return max(blocked, _growth(min(noticed, math.log1p(rule.detect))))


def _needed(centre: Centre, rule: TimingRule, level: float, base: float) -> int | None:
    """Pairs at which this estimate with this spread would block or pass; None where none in reach."""
    if centre.error == 0:
        return None
    for n in range(centre.n + 1, HOPELESS):
        error = centre.error * math.sqrt(centre.n / n)
        longer = dataclasses.replace(centre, error=error, freedom=freedom(n))
        if _outcome(longer, rule, level, base) is not Outcome.INCONCLUSIVE:
            return n
    return None


def _growth(difference: float) -> float:
    """A difference of logarithms as a share, 0.05 is 5 % slower; finite, for JSON knows no infinity."""
    return math.expm1(min(difference, 200.0))


def _finite(value: float) -> float:
    """The value, or the largest number there is: a saved run may hold any, and JSON knows no infinity."""
    return math.copysign(min(abs(value), sys.float_info.max), value)


def _percent(difference: float) -> str:
    return _signed(abs(difference)).removeprefix("+")


def _signed(difference: float) -> str:
    return f"{_growth(difference):+.1%}"


def _row(run: Run, case: Case, label: str, rule: TimingRule, decision: Decision) -> Comparison:
    centre, series = decision.centre, decision.series
    ratio = 1 + _growth(centre.estimate) if centre else None
    interval = None
    if centre is not None:
        low, high = centre.lower(decision.confidence), centre.upper(decision.confidence)
        if math.isfinite(low) and math.isfinite(high):
            interval = Interval(
                low=1 + _growth(low), high=1 + _growth(high), confidence=round(2 * decision.confidence - 1, 9)
            )
    return Comparison(
        case=case,
        label=label,
        metric=_metric(case),
        unit="s",
        kind=Kind.TIMING,
        base=series.base if centre else None,
        head=series.head if centre else None,
        delta=_finite(series.base * _growth(centre.estimate)) if centre else None,
        ratio=ratio,
        interval=interval,
        outcome=decision.outcome,
        allowed=rule.allowed,
        detect=rule.detect,
        mde=decision.mde,
        pairs=len(series.differences),
        stage=decision.stage,
        needed=decision.needed,
        caveats=decision.caveats + _noted(run, case),
    )


def _noted(run: Run, case: Case) -> tuple[Caveat, ...]:
    """What was noted while measuring, base first, once."""
    notes = [
        caveat
        for side in ("base", "head")
        for sample in run.samples
        if sample.case == case and sample.metric.name == _metric(case) and sample.side == side
        for caveat in sample.caveats
    ]
    return tuple(dict.fromkeys(notes))


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
    wanted = frozenset(pairs)
    found = [s for s in run.samples if s.case == case and s.metric.name == metric and s.side == side]
    points = tuple(point for sample in found for point in sample.points if point.pair in wanted)
    return dataclasses.replace(found[0], points=points) if found else None


def _step(sample: Sample | None) -> float:
    """The clock's step as a share of the usual value, seen where values repeat; 0 where it cannot be seen.

    One value alone says nothing of a step: work that is counted, not timed, may well be the same each time.
    """
    values = tuple(filter(math.isfinite, sample.values)) if sample else ()
    distinct = sorted(set(values))
    usual = statistics.median(values) if values else 0.0
    if not 2 <= len(distinct) <= len(values) / 2 or usual <= 0:
        return 0.0
    return min(b - a for a, b in itertools.pairwise(distinct)) / usual
