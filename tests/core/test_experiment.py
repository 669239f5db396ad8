"""next_step: what the experiment asks for."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest

from gate.experiment import Done, Smaller, Visits, next_step, spent, turns, within_budget
from gate.model import (
    ERRORS,
    LATENCY,
    Case,
    Environment,
    Evidence,
    Pair,
    Plan,
    PlannedCase,
    Point,
    Run,
    Sample,
    SideInfo,
    SideName,
    TimedCase,
    TimingRule,
)

ONE = Case(suite="endpoints", name="one")
TWO = Case(suite="endpoints", name="two")
RULE = TimingRule(allowed=0.05, detect=0.10, margin=0.01)


def plan(*, base: tuple[Case, ...] = (), passes: int = 2) -> Plan:
    cases = tuple(PlannedCase(case=case, label=str(case), definition="d") for case in (ONE, TWO))
    return Plan(against="auto", cases=cases, base=base, passes=passes)


def timed(*, budget: float = 360.0) -> Plan:
    """Both cases are on both sides and take turns."""
    each = tuple(TimedCase(case=case, rule=RULE) for case in (ONE, TWO))
    return dataclasses.replace(plan(base=(ONE, TWO)), timed=each, time_budget=budget)


def run(*seen: tuple[Case, str, int]) -> Run:
    """seen: (case, side, pair) of every visit so far."""
    empty = Run(tool="t", environment=Environment(), plan=plan(), sides=(SideInfo(name="head", ref="x"),))
    for case, side, pair in seen:
        point = Point(pair=pair, visit=1, position=1, value=0.0)
        empty = empty.extended((Sample(case=case, metric=ERRORS, side=side, points=(point,)),))
    return empty


def after(
    plan: Plan,
    ratios: dict[Case, float],
    *,
    pairs: int = 8,
    seconds: float = 10.0,
    noise: dict[Case, float] | None = None,
) -> Run:
    """A run of `pairs` pairs in which head is slower by the ratios, give or take twice the noise."""
    found = dataclasses.replace(run(), plan=plan)
    for number in range(1, pairs + 1):
        stage = "screen" if number <= plan.screen else "confirm"
        cases = tuple(ratios)
        samples = []
        for case, ratio in ratios.items():
            wobble = 1 + (noise or {}).get(case, 0.001) * (number * 7 % 5 - 2 + 0.01 * number)
            sides: tuple[tuple[SideName, float], ...] = (("base", 0.010), ("head", 0.010 * ratio * wobble))
            for side, value in sides:
                for metric, shown in ((LATENCY, value), (ERRORS, 0.0)):
                    points = tuple(Point(number, visit, 1, shown) for visit in range(1, 5))
                    samples.append(Sample(case=case, metric=metric, side=side, points=points))
        pair = Pair(number=number, stage=stage, cases=cases, seconds=seconds, start=2.0)
        found = found.extended(tuple(samples), (), (pair,))
    return found


def asked(step: Visits | Done) -> Visits:
    assert isinstance(step, Visits)
    return step


def test_the_first_step_counts_every_case_of_head_and_times_it_alone() -> None:
    """With stored counts for all cases only head is started."""
    step = next_step(plan(), run())
    assert step == Visits(pair=1, count=(("head", (ONE, TWO)),), alone=(ONE, TWO))
    assert asked(step).sides == ("head",)


def test_base_is_counted_in_the_same_pair_for_the_cases_that_need_it() -> None:
    """A case without stored counts brings base into both passes."""
    step = asked(next_step(plan(base=(TWO,)), run()))
    assert step.count == (("base", (TWO,)), ("head", (ONE, TWO)))


def test_head_is_counted_twice_in_processes_of_its_own() -> None:
    """After the first pass the second one is asked for, after the second nothing."""
    first = run((ONE, "head", 1), (TWO, "head", 1))
    second = run(*[(case, "head", pair) for case in (ONE, TWO) for pair in (1, 2)])
    assert asked(next_step(plan(), first)).pair == 2
    assert next_step(plan(), second) == Done()


def test_a_benchmark_without_base_is_timed_in_the_first_pass_only() -> None:
    """Endpoints are timed by their requests, a few in each pass; a benchmark calibrates first."""
    alone = dataclasses.replace(plan(), timing=True, rounds=10)
    bench = Case(suite="benchmarks", name="b")
    cases = (*alone.cases, PlannedCase(case=bench, label="b", definition="d"))
    alone = dataclasses.replace(alone, cases=cases)
    assert bench in asked(next_step(alone, run())).alone
    second = asked(next_step(alone, run(*((p.case, "head", 1) for p in cases))))
    assert (second.pair, bench in second.alone, ONE in second.alone) == (2, False, True)
    assert bench in second.count[0][1]


def test_a_pass_that_was_cut_short_is_asked_for_again() -> None:
    """Half a pass is none: what one side saw is not held against what the other sees later."""
    step = asked(next_step(plan(base=(ONE,)), run((ONE, "base", 1))))
    assert step.pair == 1


def test_the_first_pairs_of_the_screen_count_as_well() -> None:
    """Starts are shared: the passes are pairs 1 and 2, and the others only take turns."""
    step = asked(next_step(timed(), dataclasses.replace(run(), plan=timed())))
    assert step.timed == (ONE, TWO)
    assert [name for name, _ in step.count] == ["base", "head"]
    third = asked(next_step(timed(), after(timed(), {ONE: 1.0, TWO: 1.0}, pairs=2)))
    assert (third.pair, third.count, third.timed) == (3, (), (ONE, TWO))


def test_a_clean_run_ends_with_the_screen() -> None:
    """Eight pairs that prove every case fine are all there is."""
    assert next_step(timed(), after(timed(), {ONE: 1.0, TWO: 1.001})) == Done()


def test_only_the_suspect_is_confirmed() -> None:
    """The confirm measures the family, which the other case is not in."""
    step = asked(next_step(timed(), after(timed(), {ONE: 1.2, TWO: 1.0})))
    assert (step.stage, step.timed, step.pair) == ("confirm", (ONE,), 9)


def test_a_lost_pair_is_asked_for_again() -> None:
    """A death costs its pair, not the run."""
    before = after(timed(), {ONE: 1.0, TWO: 1.0}, pairs=3)
    lost = Pair(number=4, stage="screen", cases=(ONE, TWO), seconds=3.0, lost="the application died")
    assert asked(next_step(timed(), before.extended((), (), (lost,)))).pair == 4


def test_the_time_budget_ends_the_screen() -> None:
    """A pair that would not fit is not begun; the counts are taken whatever the budget is."""
    short = timed(budget=25.0)
    assert next_step(short, after(short, {ONE: 1.0, TWO: 1.0}, pairs=2)) == Done()
    assert asked(next_step(short, after(short, {ONE: 1.0, TWO: 1.0}, pairs=1))).pair == 2


def test_a_pair_that_only_takes_turns_needs_no_room_for_counting() -> None:
    """The first two took 30 s because they count too; what the third took is what the fourth will."""
    plan = timed(budget=85.0)
    before = after(plan, {ONE: 1.0, TWO: 1.0}, pairs=3)
    pairs = tuple(dataclasses.replace(p, seconds=30.0) if p.number < 3 else p for p in before.pairs)
    assert asked(next_step(plan, dataclasses.replace(before, pairs=pairs))).pair == 4


def test_a_suspect_that_blocks_ends_the_confirm() -> None:
    """The other one, which is no suspect and would want many pairs, could not change the verdict."""
    noise, whole = {TWO: 0.06}, timed(budget=2000.0)

    def after_pairs(number: int, ratio: float) -> Visits | Smaller | Done:
        return next_step(whole, after(whole, {ONE: ratio, TWO: 1.02}, noise=noise, pairs=number))

    assert asked(after_pairs(8, 1.1)).timed == (ONE, TWO)
    assert after_pairs(24, 1.1) == Done()
    assert asked(after_pairs(24, 1.04)).timed == (TWO,)
    whole = dataclasses.replace(whole, excused=(ONE,))
    assert asked(after_pairs(24, 1.1)).timed == (TWO,)


def test_the_confirm_is_cut_by_the_time_budget_and_suspects_come_first() -> None:
    """Room for one member: the one that looks slow, not the one that is merely unproved."""
    whole = after(timed(), {ONE: 1.2, TWO: 1.2})
    both = within_budget(timed(), whole)
    assert {member.case for member in both} == {ONE, TWO}
    none = timed(budget=spent(whole) + 1.0)
    assert within_budget(none, whole) == ()
    assert next_step(none, dataclasses.replace(whole, plan=none)) == Done()


@pytest.mark.parametrize("visits", [1, 2, 7, 10])
def test_turns_are_balanced(visits: int) -> None:
    """Each side as often, in rounds of one each; neither order more than once oftener than the other."""
    order = turns(("base", "head"), visits, random.Random(3))
    assert Counter(order) == {"base": visits, "head": visits}
    rounds = [order[i : i + 2] for i in range(0, len(order), 2)]
    assert all(set(one) == {"base", "head"} for one in rounds)
    first = Counter(one[0] for one in rounds)
    assert abs(first["base"] - first["head"]) <= visits % 2


def test_a_single_round_does_not_always_begin_with_the_same_side() -> None:
    """Or whoever is first in every pair would look slower."""
    assert {turns(("base", "head"), 1, random.Random(i))[0] for i in range(20)} == {"base", "head"}


def test_a_side_alone_has_every_turn() -> None:
    """Without a base there is nobody to alternate with."""
    assert turns(("head",), 3, random.Random(1)) == ("head",) * 3


def test_growth_is_counted_last_and_once() -> None:
    """On every live side, the readers among the endpoints alone."""
    grows = dataclasses.replace(plan(base=(ONE,)), growth=0.25)
    done = run((ONE, "base", 1), (ONE, "base", 2), *((c, "head", p) for c in (ONE, TWO) for p in (1, 2)))
    step = next_step(grows, done)
    assert step == Smaller(sides=(("base", (ONE,)), ("head", (ONE, TWO))), share=0.25)
    seen = dataclasses.replace(done, smaller=(Evidence(case=ONE, side="head"),))
    assert next_step(grows, seen) == Done()
