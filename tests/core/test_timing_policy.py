"""What the policy makes of times: what blocks, what an edit of the baseline accepts, the verdict."""

from __future__ import annotations

import dataclasses

import pytest
from build import LIST, planned, side

from gate import baseline
from gate.config import Allowed, Policy
from gate.errors import BaselineError
from gate.model import (
    GATED,
    Accept,
    Caveat,
    Comparison,
    Interval,
    Kind,
    Level,
    Outcome,
    SideRun,
    State,
)
from gate.plan import make_plan, side_by_side, unmoved
from gate.policy import accept, apply_rules, decide

HEAD = side("head", {LIST: {"errors": [0.0], "sql.calls": [3.0]}})


def row(outcome: Outcome = Outcome.REGRESSED, ratio: float = 1.2) -> Comparison:
    return Comparison(
        case=LIST,
        label="GET /list",
        metric="latency",
        unit="s",
        kind=Kind.TIMING,
        base=0.010,
        head=0.010 * ratio,
        ratio=ratio,
        interval=Interval(low=ratio - 0.02, high=ratio + 0.02, confidence=0.98),
        outcome=outcome,
        allowed=0.05,
        detect=0.10,
        mde=0.08,
    )


def slower(ratio: float, *, name: str = "latency") -> SideRun:
    return dataclasses.replace(HEAD, worse=(Accept(case=LIST, metric=name, value=ratio),))


def test_a_time_that_the_rule_calls_regressed_blocks() -> None:
    """Allowed, margin and floor were weighed by the rule of timings already."""
    (ruled,) = apply_rules([row()], [planned(LIST)])
    assert ruled.blocking
    assert ruled.level is Level.BLOCK


@pytest.mark.parametrize("outcome", [Outcome.EQUIVALENT, Outcome.IMPROVED, Outcome.INCONCLUSIVE])
def test_no_other_time_blocks(outcome: Outcome) -> None:
    """Least of all one that could not be told."""
    (ruled,) = apply_rules([row(outcome)], [planned(LIST)])
    assert not ruled.blocking


def test_a_slowdown_named_in_the_edited_baseline_is_accepted() -> None:
    """Up to the ratio that stands there and what is allowed above it; the row stays in the report."""
    rows = apply_rules([row()], [planned(LIST)])
    (accepted,), accepts = accept(rows, HEAD, slower(1.18), HEAD)
    assert (accepted.outcome, accepted.blocking) == (Outcome.ACCEPTED, False)
    assert accepts == (Accept(case=LIST, metric="latency", value=1.2),)


def test_an_accepted_slowdown_is_held_against_what_is_proved_now() -> None:
    """A few pairs of times that spread give 2.2 once and 2.5 the next time; more than 1.6 is certain then."""
    wide = dataclasses.replace(row(ratio=2.5), interval=Interval(low=1.6, high=3.9, confidence=0.98))
    rows = apply_rules([wide], [planned(LIST)])
    assert accept(rows, HEAD, slower(2.2), HEAD)[0][0].outcome is Outcome.ACCEPTED
    assert accept(rows, HEAD, slower(1.5), HEAD)[0][0].blocking


def test_a_slowdown_beyond_the_accepted_one_blocks() -> None:
    """1.10 was reviewed, 1.2 was not."""
    rows = apply_rules([row()], [planned(LIST)])
    (still,), _ = accept(rows, HEAD, slower(1.10), HEAD)
    assert still.blocking


def test_what_base_has_accepted_already_accepts_nothing_more() -> None:
    """Or one accepted slowdown would let every later one through."""
    rows = apply_rules([row()], [planned(LIST)])
    (still,), _ = accept(rows, slower(1.3), slower(1.3), HEAD)
    assert still.blocking


def test_an_accepted_slowdown_survives_its_file() -> None:
    """It stands beside the counts of its case."""
    text = baseline.to_text(slower(1.25), LIST.suite)
    assert baseline.from_text(text, name="f").worse == (Accept(case=LIST, metric="latency", value=1.25),)


@pytest.mark.parametrize("held", ['"latency": 0.5', '"sql.calls": 2', '"latency": "much"'])
def test_a_slowdown_that_is_none_is_a_damaged_baseline(held: str) -> None:
    """Only ratios from 1 of times that are judged."""
    text = baseline.to_text(slower(1.25), LIST.suite).replace('"latency": 1.25', held)
    with pytest.raises(BaselineError, match="damaged"):
        baseline.from_text(text, name="f")


def verdict(*rows: Comparison, untimed: str = "") -> tuple[State, str]:
    found = decide(rows, budgets=(), findings=(), head=HEAD, against="auto", adoption=False, untimed=untimed)
    return found.state, found.reasons[0]


def test_a_time_that_could_not_be_told_makes_the_verdict_inconclusive() -> None:
    """Never a pass, and it says from which slowdown on it would have been caught."""
    unsure = dataclasses.replace(
        row(Outcome.INCONCLUSIVE, 1.04), caveats=(Caveat(code="too-noisy", text="12 pairs"),)
    )
    state, reason = verdict(unsure)
    assert state is State.INCONCLUSIVE
    assert "1 of 1 time could not be told" in reason
    assert "8" in reason


def test_base_that_could_not_be_timed_is_no_pass() -> None:
    """The counts were equal, but nobody has compared a time."""
    state, reason = verdict(row(Outcome.EQUIVALENT, 1.0), untimed="base does not start")
    assert state is State.INCONCLUSIVE
    assert "base does not start" in reason


def test_rules_are_by_suite_and_by_case() -> None:
    """A case takes from its suite what it does not set, the suite from the defaults."""
    policy = Policy(
        endpoints=Allowed.model_validate({"detect": "12%"}),
        cases={"endpoints/list": Allowed.model_validate({"allowed": "1%"})},
    )
    assert policy.rule("endpoints/other").detect == pytest.approx(0.12)
    assert policy.rule("endpoints/other").allowed == pytest.approx(0.05)
    own = policy.rule("endpoints/list")
    assert (own.allowed, own.detect) == (pytest.approx(0.01), pytest.approx(0.12))
    assert own.margin < own.allowed


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoints": {"allowed": "10%"}},
        {"benchmarks": {"allowed": "5%", "detect": "4%"}},
        {"cases": {"playlist": {"allowed": "1%"}}},
        {"cases": {"endpoints/playlist": {"detect": "5%"}}},
    ],
)
def test_rules_that_cannot_hold_are_refused(wrong: dict[str, object]) -> None:
    """detect above allowed, whichever of them was written; cases by suite and name."""
    with pytest.raises(ValueError, match=r"above allowed|suite/name"):
        Policy.model_validate(wrong)


def test_only_what_both_sides_have_is_timed_side_by_side() -> None:
    """A new case has nobody to take turns with."""
    from gate.config import Config

    config = Config.model_validate(
        {
            "target": {"start": ["x"]},
            "services": {"postgres": {"version": 18}},
            "suites": {"endpoints": {"request": [{"name": "list", "path": "/"}]}},
        }
    )
    fresh = dataclasses.replace(LIST, name="fresh")
    plan = make_plan(config, [planned(LIST), planned(fresh)], known=[LIST], against="auto", time_budget=60)
    found = side_by_side(plan, Policy(), theirs=[LIST])
    assert [each.case for each in found.timed] == [LIST]
    assert found.base == (LIST,)


@pytest.mark.parametrize("changed", [(), ("README.md", "docs/a/b.png"), ("baselines/endpoints.json",)])
def test_a_change_of_nothing_that_runs_is_not_timed(changed: tuple[str, ...]) -> None:
    """It says so, and names what did change."""
    why = unmoved(changed, Policy().inert, "baselines")
    assert why
    assert all(path in why for path in changed)


@pytest.mark.parametrize("path", ["app/views.py", "requirements.txt", "perf-gate.toml", "docs.py"])
def test_a_change_of_anything_else_is(path: str) -> None:
    """Sources, lock files, configuration."""
    assert unmoved(("README.md", path), Policy().inert, "baselines") == ""


def test_only_gated_metrics_can_be_slower() -> None:
    """The names in the file are those of the rows that block."""
    assert set(GATED) == {"latency", "time"}
