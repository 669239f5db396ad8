"""Memory over the pairs of a screen, from values made by hand."""

from __future__ import annotations

import re

import pytest

from gate.config import Policy
from gate.explain.causes import held
from gate.gauge import judge_memory
from gate.model import (
    METRICS,
    Case,
    Comparison,
    Environment,
    Level,
    Outcome,
    Pair,
    Plan,
    Point,
    Run,
    Sample,
    SideInfo,
    SideName,
    TimedCase,
)
from gate.policy import apply_rules
from tests.core.build import planned

CASE = Case(suite="endpoints", name="page")
OTHER = Case(suite="endpoints", name="other")
NOISE = (0, 4096, -4096, 8192, 0, -8192, 4096, 0)  # pages
MEGABYTE = 2**20


def sample(case: Case, metric: str, side: SideName, values: list[float]) -> Sample:
    points = tuple(Point(pair, 1, 1, float(value)) for pair, value in enumerate(values, 1))
    return Sample(case=case, metric=METRICS[metric], side=side, points=points)


def judged(metric: str, base: list[float], head: list[float], *, cases: int = 1) -> tuple[Comparison, ...]:
    samples = [sample(CASE, metric, "base", base), sample(CASE, metric, "head", head)]
    if cases > 1:
        samples += [sample(OTHER, metric, side, base) for side in ("base", "head")]  # type: ignore[arg-type]
    return judge_memory(run(samples, cases=cases, pairs=len(base)))


def run(samples: list[Sample], *, cases: int = 1, pairs: int = 8) -> Run:
    names = (CASE, OTHER)[:cases]
    rule = Policy().rule("endpoints/page")
    return Run(
        tool="t",
        environment=Environment(),
        plan=Plan(
            against="auto",
            cases=tuple(planned(case) for case in names),
            timed=tuple(TimedCase(case=case, rule=rule) for case in names),
        ),
        sides=(SideInfo(name="base", ref="b"), SideInfo(name="head", ref="h")),
        samples=tuple(samples),
        pairs=tuple(Pair(number=n, stage="screen", cases=names, seconds=1.0) for n in range(1, pairs + 1)),
    )


def noisy(level: float, scale: float = 0.02) -> list[float]:
    return [level + scale * each for each in NOISE]


def test_a_request_that_leaves_ten_kilobytes_behind_regresses() -> None:
    (row,) = judged("memory.growth", noisy(0), noisy(10_000))
    assert (row.outcome, row.pairs) == (Outcome.REGRESSED, 8)
    assert row.delta == pytest.approx(10_000, rel=0.05)
    assert row.interval is not None
    assert row.interval.low <= row.delta <= row.interval.high


def test_more_memory_blocks_and_says_between_which_bounds() -> None:
    (row,) = apply_rules(judged("memory.growth", noisy(0), noisy(10_000, 0.1)), ())
    assert (row.level, row.blocking) == (Level.BLOCK, True)
    found = held(row)
    assert found is not None
    assert re.search(
        r"\d+,\d{3} more bytes per request stay in memory \((9,\d{3}) to (10,\d{3})\)", found.summary
    )


def test_growth_below_a_megabyte_in_a_thousand_requests_is_let_through() -> None:
    (row,) = judged("memory.growth", noisy(0), noisy(900))
    assert row.outcome is Outcome.EQUIVALENT


def test_growth_that_both_sides_have_is_no_regression() -> None:
    (row,) = judged("memory.growth", noisy(50_000), noisy(50_000))
    assert row.outcome is Outcome.EQUIVALENT


def test_one_pair_that_jumped_decides_nothing() -> None:
    """An allocator takes a megabyte at once: seen in one pair of eight, it is chance."""
    (row,) = judged("memory.growth", [0.0] * 8, [0.0] * 7 + [90_000.0])
    assert row.outcome is Outcome.EQUIVALENT


def test_a_peak_must_rise_by_a_megabyte_and_by_a_twentieth() -> None:
    base = noisy(100 * MEGABYTE)
    (little,) = judged("memory.peak", base, noisy(104 * MEGABYTE))
    (much,) = judged("memory.peak", base, noisy(106 * MEGABYTE))
    (small,) = judged("memory.peak", noisy(0.1 * MEGABYTE), noisy(0.9 * MEGABYTE))
    outcomes = [row.outcome for row in (little, much, small)]
    assert outcomes == [Outcome.EQUIVALENT, Outcome.REGRESSED, Outcome.EQUIVALENT]


def test_less_memory_is_an_improvement() -> None:
    (row,) = judged("memory.peak", noisy(40 * MEGABYTE), noisy(4 * MEGABYTE))
    assert row.outcome is Outcome.IMPROVED


def test_seven_pairs_are_too_few_for_a_row() -> None:
    assert judged("memory.growth", [0.0] * 7, [90_000.0] * 7) == ()


def test_a_case_that_stands_is_not_drawn_in_by_one_that_falls() -> None:
    worse, same = judged("memory.growth", noisy(0), noisy(10_000, 0.05), cases=2)
    assert (worse.outcome, same.outcome) == (Outcome.REGRESSED, Outcome.EQUIVALENT)


@pytest.mark.parametrize(("requests", "outcome"), [(50, "regressed"), (20, "equivalent"), (4, "equivalent")])
def test_over_few_requests_more_is_let_through(requests: int, outcome: str) -> None:
    """Two kilobytes each, over a hundred in a pair or less than the steps that memory is taken in."""
    sides: tuple[SideName, SideName] = ("base", "head")
    asked = [
        Sample(
            case=CASE,
            metric=METRICS["latency"],
            side=side,
            points=tuple(Point(pair, 1, n, 0.02) for pair in range(1, 9) for n in range(requests)),
        )
        for side in sides
    ]
    levels = {"base": 0.0, "head": 2_000.0}
    grown = [sample(CASE, "memory.growth", side, noisy(levels[side], 0.005)) for side in sides]
    (row,) = judge_memory(run(asked + grown))
    assert row.outcome == outcome
