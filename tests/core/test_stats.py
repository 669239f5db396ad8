"""Facts about samples."""

from __future__ import annotations

import pytest
from build import LIST, planned, sample

from gate.model import Outcome
from gate.stats import exact, mean_interval, quantile, quantile_interval, timing


@pytest.mark.parametrize(
    ("base", "head", "outcome"),
    [
        ((3, 3), (3, 3), Outcome.EQUIVALENT),
        ((3, 3), (4, 4), Outcome.REGRESSED),
        ((3, 3), (2, 2), Outcome.IMPROVED),
        ((3, 5), (4, 6), Outcome.EQUIVALENT),
        ((3, 5), (6, 7), Outcome.REGRESSED),
        ((3, 5), (1, 2), Outcome.IMPROVED),
        ((0, 0), (1, 1), Outcome.REGRESSED),
    ],
)
def test_only_passes_that_do_not_overlap_differ(
    base: tuple[float, ...], head: tuple[float, ...], outcome: Outcome
) -> None:
    """Worse is min of head above max of base; better is the other way round."""
    row = exact(planned(LIST), sample(LIST, "sql.calls", base), sample(LIST, "sql.calls", head))
    assert row.outcome is outcome
    assert (row.base == row.head) is (outcome is Outcome.EQUIVALENT)


def test_the_ratio_of_nothing_is_null_and_the_delta_is_given() -> None:
    """ratio is None where base is 0."""
    row = exact(planned(LIST), sample(LIST, "sql.calls", [0, 0]), sample(LIST, "sql.calls", [2, 2]))
    assert (row.ratio, row.delta) == (None, 2)


def test_a_quantile_is_a_value_of_the_sample() -> None:
    """Definition 1 of Hyndman and Fan: no interpolation."""
    values = [1.0, 2.0, 3.0, 4.0]
    assert [quantile(values, share) for share in (0, 0.25, 0.5, 0.51, 1)] == [1, 1, 2, 3, 4]


def test_the_interval_of_the_median_of_ten_matches_the_table() -> None:
    """n = 10: x(2) to x(9) at 97.9 % (Conover, table of binomial confidence limits)."""
    found = quantile_interval([float(i) for i in range(1, 11)], 0.5, confidence=0.95)
    assert found is not None
    assert (found.low, found.high) == (2, 9)
    assert found.confidence == pytest.approx(0.9785, abs=1e-4)


def test_too_few_values_have_no_interval() -> None:
    """n = 5 cannot bound a median at 95 %, and says so by None."""
    assert quantile_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.5, confidence=0.95) is None
    assert mean_interval([1.0], confidence=0.95) is None


def test_the_interval_of_a_mean_is_students() -> None:
    """n = 5, sd 1.5811: t(0.975, 4) = 2.776 (any table)."""
    found = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0], confidence=0.95)
    assert found is not None
    assert found.high - 3 == pytest.approx(2.776 * 1.58114 / 5**0.5, rel=1e-3)


def test_a_tail_is_not_named_from_too_few_values() -> None:
    """p95 needs 200 values, p99 needs 1,000."""
    few = timing(planned(LIST), sample(LIST, "latency", [0.001] * 199), None)
    many = timing(planned(LIST), sample(LIST, "latency", [0.001] * 200), None)
    assert (few.p95, many.p95, many.p99) == (None, 0.001, None)
