"""next_step: what the experiment asks for."""

from __future__ import annotations

import dataclasses

from gate.experiment import Done, Visits, next_step
from gate.model import ERRORS, Case, Environment, Plan, PlannedCase, Point, Run, Sample, SideInfo

ONE = Case(suite="endpoints", name="one")
TWO = Case(suite="endpoints", name="two")


def plan(*, base: tuple[Case, ...] = (), passes: int = 2) -> Plan:
    cases = tuple(PlannedCase(case=case, label=str(case), definition="d") for case in (ONE, TWO))
    return Plan(against="auto", cases=cases, base=base, passes=passes)


def run(*seen: tuple[Case, str, int]) -> Run:
    """seen: (case, side, pair) of every visit so far."""
    empty = Run(tool="t", environment=Environment(), plan=plan(), sides=(SideInfo(name="head", ref="x"),))
    for case, side, pair in seen:
        point = Point(pair=pair, visit=1, position=1, value=0.0)
        empty = empty.extended((Sample(case=case, metric=ERRORS, side=side, points=(point,)),))
    return empty


def test_the_first_step_visits_every_case_of_head() -> None:
    """With stored counts for all cases only head is started."""
    step = next_step(plan(), run())
    assert step == Visits(pair=1, cases=(("head", (ONE, TWO)),), rounds=100)


def test_base_is_visited_in_the_same_pair_for_the_cases_that_need_it() -> None:
    """A case without stored counts brings base into both passes."""
    step = next_step(plan(base=(TWO,)), run())
    assert isinstance(step, Visits)
    assert step.cases == (("base", (TWO,)), ("head", (ONE, TWO)))


def test_head_is_counted_twice_in_processes_of_its_own() -> None:
    """After the first pass the second one is asked for, after the second nothing."""
    first = run((ONE, "head", 1), (TWO, "head", 1))
    second = run(*[(case, "head", pair) for case in (ONE, TWO) for pair in (1, 2)])
    step = next_step(plan(), first)
    assert isinstance(step, Visits)
    assert step.pair == 2
    assert next_step(plan(), second) == Done()


def test_a_case_that_is_not_counted_is_visited_once() -> None:
    """Benchmarks are run in the first pass only, and not on base where nothing of base is needed."""
    first = plan()
    cases = (first.cases[0], dataclasses.replace(first.cases[1], once=True))
    step = next_step(dataclasses.replace(first, cases=cases), run((ONE, "head", 1), (TWO, "head", 1)))
    assert isinstance(step, Visits)
    assert step.cases == (("head", (ONE,)),)


def test_a_run_that_was_cut_short_goes_on_where_it_stopped() -> None:
    """Only the side that was not visited is asked for again."""
    step = next_step(plan(base=(ONE,)), run((ONE, "base", 1)))
    assert isinstance(step, Visits)
    assert step.cases == (("head", (ONE, TWO)),)
