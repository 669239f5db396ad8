"""Facts about samples."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from build import LIST, planned, sample
from hypothesis import given
from hypothesis import strategies as st

from gate.model import METRICS, Outcome, Point, Sample, SideName
from gate.stats import (
    exact,
    holm,
    log_ratios,
    mad,
    mean_interval,
    quantile,
    quantile_interval,
    serial,
    timing,
    trimmed,
    visit_ratios,
)


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


def test_the_trimmed_mean_of_five_by_hand() -> None:
    """1 2 3 4 10: mean of 2 3 4; Winsorised 2 2 3 4 4 has SSD 4; sqrt(4 / (3 x 2)), 2 degrees of freedom."""
    found = trimmed([10.0, 3.0, 1.0, 4.0, 2.0])
    assert (found.n, found.estimate, found.freedom) == (5, 3.0, 2)
    assert found.error == pytest.approx((4 / 6) ** 0.5)


# Table 3.2 of Wilcox, Introduction to Robust Estimation: mean 282.7 without the fifth at each end. His
# standard error, 56.1, divides by 0.6 sqrt(n) where Yuen has sqrt(h (h - 1) n / (n - 1)) / sqrt(n).
AWARENESS = (77, 87, 88, 114, 151, 210, 219, 246, 253, 262, 296, 299, 306, 376, 428, 515, 666, 1310, 2611)


def test_the_trimmed_mean_matches_the_published_example() -> None:
    """n = 19: g = 3, h = 13, 12 degrees of freedom."""
    found = trimmed(AWARENESS)
    assert found.estimate == pytest.approx(282.7, abs=0.05)
    assert found.freedom == 12
    winsorised = found.error * (13 * 12 / 18) ** 0.5
    assert winsorised / (0.6 * 19**0.5) == pytest.approx(56.1, abs=0.05)


def test_bounds_and_p_are_those_of_the_t_table() -> None:
    """n = 8 has 5 degrees of freedom, t(0.95) = 2.015; n = 12 has 7, t(0.99) = 2.998."""
    eight = trimmed([float(i) for i in range(8)])
    assert eight.upper(0.95) == pytest.approx(eight.estimate + 2.015 * eight.error, rel=1e-3)
    assert eight.lower(0.95) == pytest.approx(eight.estimate - 2.015 * eight.error, rel=1e-3)
    twelve = trimmed([float(i) for i in range(12)])
    assert twelve.above(twelve.estimate - 2.998 * twelve.error) == pytest.approx(0.01, rel=1e-3)
    assert twelve.below(twelve.estimate + 2.998 * twelve.error) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("confidence", [0.95, 0.99, 0.9995])
def test_a_bound_is_the_inversion_of_its_test(confidence: float) -> None:
    """The margin that the test just rejects is the lower bound."""
    found = trimmed([0.01, 0.03, 0.02, 0.05, 0.01, 0.02, 0.02, 0.04, 0.03, 0.01, 0.02, 0.03])
    assert found.above(found.lower(confidence)) == pytest.approx(1 - confidence)


def test_equal_differences_are_no_more_certain_than_their_number() -> None:
    """The sign test: 12 of 12 have p = 2^-12, and four values bound nothing at 95 %."""
    assert trimmed([0.1] * 12).above(0) == 2.0**-12
    assert trimmed([0.1] * 12).above(0.1) == 1
    assert trimmed([0.1] * 5).upper(0.95) == 0.1
    assert trimmed([0.1] * 4).upper(0.95) == math.inf


def test_equal_up_to_rounding_is_equal() -> None:
    """Ratios of the same size differ in the last digit; that is no spread to divide by."""
    found = trimmed([math.log(1.2 * each) - math.log(each) for each in (1.1, 1.3, 1.7, 2.3, 3.1)])
    assert found.ordered[0] < found.ordered[-1]
    assert (found.error, found.above(math.log(1.2)), found.below(math.log(1.2))) == (0, 1, 1)


def test_where_only_the_kept_values_are_equal_the_others_count_as_signs() -> None:
    """0 0 0 0 0 0 0 1: one of eight above 0 shows nothing; the second from the top bounds the median."""
    found = trimmed([0.0] * 7 + [1.0])
    assert found.above(0) == pytest.approx(1 - 2.0**-8)
    assert found.upper(0.95) == 0


def test_one_value_alone_has_no_bound() -> None:
    """No degree of freedom: p is 1 and the bounds are infinite."""
    one = trimmed([0.5])
    assert (one.above(0), one.below(1), one.lower(0.95), one.upper(0.95)) == (1, 1, -math.inf, math.inf)


def test_holm_steps_down_and_stops() -> None:
    """The worked example everywhere: 0.005 and 0.01 fall, 0.03 > 0.05 / 2 ends it, so 0.04 <= 0.05 stands."""
    assert holm((0.01, 0.04, 0.03, 0.005), 0.05) == (0.05 / 3, 0, 0, 0.05 / 4)


def test_holm_is_no_step_up() -> None:
    """0.026 and 0.03 both stand at 5 %, though Hochberg rejects both; at 0.025 both fall."""
    assert holm((0.03, 0.026), 0.05) == (0, 0)
    assert holm((0.03, 0.025), 0.05) == (0.05, 0.025)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_holm_does_not_look_at_the_order(ps: list[float], rng: random.Random) -> None:
    """Ties too fall together, at one level."""
    order = list(range(len(ps)))
    rng.shuffle(order)
    found = holm(ps, 0.05)
    assert holm([ps[i] for i in order], 0.05) == tuple(found[i] for i in order)


def test_half_of_the_values_do_not_move_the_mad() -> None:
    """1 to 8: median deviation 2, times 1.4826 and the factor of n = 8."""
    assert mad([1, 2, 3, 4, 5, 6, 7, 8]) == pytest.approx(1.4826 * 1.129 * 2)
    assert mad([1, 2, 3, 4, 5, 6, 7, 1e9]) == pytest.approx(1.4826 * 1.129 * 2)


def test_the_mad_of_normal_values_is_sigma_on_average() -> None:
    """Each factor of Croux and Rousseeuw within 2 % of what 20,000 samples say."""
    rng = np.random.default_rng(1)
    for n in range(2, 13):
        x = rng.normal(size=(20_000, n))
        raw = np.median(np.abs(x - np.median(x, 1, keepdims=True)), 1).mean() * 1.4826
        assert mad(range(n)) / (1.4826 * np.median(np.abs(np.arange(n) - (n - 1) / 2))) == pytest.approx(
            1 / raw, rel=0.02
        )


def test_serial_keeps_its_level_over_all_orders_of_seven() -> None:
    """Of the 5,040 orders, those with p < 0.05 and p < 0.01 are about as many."""
    ps = [serial(order)[1] for order in itertools.permutations(range(7))]
    assert sum(p < 0.05 for p in ps) / 5040 == pytest.approx(0.05, abs=0.008)
    assert 0.005 < sum(p < 0.01 for p in ps) / 5040 <= 0.01


def test_serial_sees_a_trend_and_no_spike() -> None:
    """1 to 8: sum of squared steps 7 over 42. One huge value is one rank."""
    correlation, p = serial([1, 2, 3, 4, 5, 6, 7, 8])
    assert correlation == pytest.approx(1 - 7 / 42 / 2)
    assert p < 1e-3
    assert serial([1, 2, 3, 4, 5, 6, 7, 1e9]) == serial([1, 2, 3, 4, 5, 6, 7, 8])
    assert serial([1, 8, 2, 7, 3, 6, 4, 5])[1] > 0.9
    assert serial([3.0] * 8) == (0, 1)


def test_equal_values_share_their_ranks() -> None:
    """1 1 1 2 2 rank 1 1 1 3.5 3.5 from 0 on: one step of 2.5, sum of squares 7.5."""
    assert serial([1, 1, 1, 2, 2])[0] == pytest.approx(1 - 2.5**2 / 7.5 / 2)


def timed(side: SideName, values: Mapping[int, Sequence[float]]) -> Sample:
    """By pair: the values of its visits."""
    points = (Point(pair, visit, 1, v) for pair, each in values.items() for visit, v in enumerate(each, 1))
    return Sample(case=LIST, metric=METRICS["latency"], side=side, points=tuple(points))


def test_a_pair_gives_one_ratio_of_all_its_values() -> None:
    """The median or the minimum of every round of the pair, visits together, in the order of the pairs."""
    base = timed("base", {2: (1.0, 2.0, 6.0), 1: (3.0, 3.0, 3.0)})
    head = timed("head", {1: (6.0, 3.0, 9.0), 2: (4.0, 1.5, 8.0)})
    assert log_ratios(base, head, "median", (1, 2)) == pytest.approx((math.log(2), math.log(2)))
    assert log_ratios(base, head, "min", {2, 1}) == pytest.approx((0, math.log(1.5)))


def test_a_pair_without_two_times_above_zero_has_no_ratio() -> None:
    """One side only, zero, negative, infinite and not a number: none of them is a time."""
    base = timed("base", dict.fromkeys(range(1, 7), (1.0,)))
    head = timed("head", {1: (2.0,), 2: (0.0,), 3: (-1.0,), 4: (math.inf,), 5: (math.nan, 1.0)})
    assert log_ratios(base, head, "median", range(1, 7)) == (math.log(2),)
    assert log_ratios(base, None, "median", range(1, 7)) == ()
    assert log_ratios(base, head, "median", ()) == ()


def test_a_side_is_held_against_itself_by_visits() -> None:
    """Odd visits over even ones; a pair with a single visit has none to hold against."""
    base = timed("base", {1: (2.0, 1.0, 2.0, 1.0), 2: (1.0,)})
    assert visit_ratios(base, "median") == (math.log(2),)
