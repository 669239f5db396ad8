"""Absolute ceilings and when they block."""

from __future__ import annotations

import dataclasses

import pytest
from build import LIST, SAVE, sample, side

from gate.budget import check_budgets
from gate.config import Config
from gate.model import BudgetState, Level, Point, SideRun


def config(*, classes: tuple[str, ...] = ("big",), name: str = "list", **budgets: str) -> Config:
    request = {"name": name, "path": "/", "budgets": budgets}
    return Config.model_validate(
        {
            "target": {"start": ["x"]},
            "services": {"postgres": {"version": 18}},
            "suites": {"endpoints": {"request": [request]}},
            "policy": {"runner_classes": classes},
        }
    )


def timed(seconds: float, *, n: int = 300, name: str = "head") -> SideRun:
    found = side(name, {LIST: {"errors": [0, 0]}})  # type: ignore[arg-type]
    return dataclasses.replace(
        found,
        samples=(
            *found.samples,
            sample(LIST, "latency", [seconds] * n),
            sample(LIST, "response.bytes", [900]),
        ),
    )


@pytest.mark.parametrize(
    ("seconds", "state", "level"),
    [
        (0.04, BudgetState.IDEAL, Level.NOTE),
        (0.09, BudgetState.TARGET, Level.NOTE),
        (0.12, BudgetState.OVER, Level.NOTE),
        (0.16, BudgetState.WARN, Level.WARN),
        (0.21, BudgetState.CRITICAL, Level.BLOCK),
    ],
)
def test_the_levels_of_a_budget(seconds: float, state: BudgetState, level: Level) -> None:
    """Ideal and target are notes, 1.5 x target warns, 2 x target blocks on a declared machine."""
    request = {"name": "list", "path": "/", "budgets": {"p95": {"ideal": "50ms", "target": "100ms"}}}
    made = config().model_copy(
        update={
            "suites": Config.model_validate(
                {
                    "target": {"start": ["x"]},
                    "services": {"postgres": {"version": 18}},
                    "suites": {"endpoints": {"request": [request]}},
                }
            ).suites
        }
    )
    (check,) = check_budgets(made, timed(seconds), None, runner_class="big")
    assert (check.state, check.level) == (state, level)


def test_a_critical_time_only_warns_where_it_may_be_the_machine_or_base() -> None:
    """An undeclared machine, base that was not timed, and base that is as slow: none of them blocks."""
    made = config(p50="10ms")
    slow = timed(1.0)
    assert check_budgets(made, slow, None, runner_class="")[0].level is Level.WARN
    untimed = side("base", {LIST: {"errors": [0, 0]}}, stored=True)
    assert check_budgets(made, slow, untimed, runner_class="big")[0].level is Level.WARN
    assert check_budgets(made, slow, timed(1.0), runner_class="big")[0].level is Level.WARN
    assert check_budgets(made, slow, timed(0.001), runner_class="big")[0].level is Level.BLOCK


def test_a_tail_of_too_few_values_says_so() -> None:
    """p95 needs 200 values; there is no number before."""
    (check,) = check_budgets(config(p95="1ms"), timed(1.0, n=199), None, runner_class="big")
    assert (check.state, check.value, check.blocking) == (BudgetState.TOO_FEW, None, False)


@pytest.mark.parametrize(
    ("pairs", "each", "both", "needed"),
    [
        # The time budget ended the screen.
        (2, 90, True, "180 values, p95 needs 200: a larger --time-budget has more pairs"),
        # No budget has more pairs of head alone.
        (2, 90, False, "180 values, p95 needs 200: only what is timed side by side with base has more pairs"),
        # The configuration allows no more in a pair.
        (8, 20, True, "160 values, p95 needs 200: raise suites.endpoints.rounds, 20 now, to 25"),
        # Nothing that could be configured has more.
        (8, 15, True, "120 values, p95 needs 200: a pair has no time for more; declare p50 instead"),
    ],
)
def test_a_tail_of_too_few_values_says_what_gives_more(
    pairs: int, each: int, both: bool, needed: str
) -> None:
    points = tuple(
        Point(pair=pair, visit=1, position=n, value=1.0) for pair in range(pairs) for n in range(each)
    )
    head = timed(1.0)
    few = dataclasses.replace(sample(LIST, "latency", [1.0]), points=points)
    made = config(p95="1ms")
    suite = made.suites.endpoints.model_copy(update={"rounds": 20})  # type: ignore[union-attr]
    made = made.model_copy(update={"suites": made.suites.model_copy(update={"endpoints": suite})})
    base = timed(1.0) if both else None
    (check,) = check_budgets(made, dataclasses.replace(head, samples=(few,)), base, runner_class="big")
    assert check.reason == needed


def test_bytes_block_on_any_machine() -> None:
    """They are exact: twice the target blocks unless base is there already."""
    made = config(response_bytes="400B")
    assert check_budgets(made, timed(0.1), None, runner_class="")[0].level is Level.BLOCK
    assert check_budgets(made, timed(0.1), timed(0.1), runner_class="")[0].level is Level.WARN


def test_a_new_case_is_held_to_the_budget_that_head_declares() -> None:
    """In CI the ceilings are base's; a case base does not know has only head's."""
    base = config(name=SAVE.name, p50="1ms")
    (check,) = check_budgets(base, timed(1.0), None, runner_class="big", own=config(p50="10ms"))
    assert check.blocking
