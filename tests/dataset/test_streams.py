"""Random numbers by row: the same in any chunk, on any machine."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.dataset.streams import Coupled, Stream, Zipf, below, exp, log, power, shuffled


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_rows_are_the_same_in_every_chunk(a, b, c):
    """The words of a run of rows do not depend on where the run was cut."""
    start, middle, stop = sorted((a, b, c))
    stream = Stream(1, "songs", "title")
    whole = stream.raw(start, stop)
    assert np.array_equal(whole, np.concatenate((stream.raw(start, middle), stream.raw(middle, stop))))


def test_the_words_are_those_of_every_machine():
    """Written down once; another processor or NumPy must give the same."""
    assert Stream(1, "songs", "title").raw(0, 3).tolist() == WORDS
    assert Zipf(300_000, 0.8).ranks(Stream(1, "a").uniform(0, 4)).tolist() == RANKS


WORDS = [7518618762999311587, 16115521864852211682, 14664102343873332073]
RANKS = [34, 247690, 1529, 12389]


def test_streams_of_other_names_differ():
    """Names are kept apart even where their texts join to the same."""
    assert Stream("ab", "c") != Stream("a", "bc")
    assert not np.array_equal(Stream("ab", "c").raw(0, 8), Stream("a", "bc").raw(0, 8))
    assert Stream("a").sub("b") == Stream("a", "b")


@given(st.floats(1e-12, 1e12))
def test_log_is_the_logarithm(x):
    """Within a few units of the last place of the library's own."""
    assert math.isclose(float(log(np.array([x]))[0]), math.log(x), rel_tol=1e-14, abs_tol=1e-14)


@given(st.floats(-600, 600))
def test_exp_is_the_exponential(x):
    """Within a few units of the last place of the library's own, times the size of the argument."""
    assert math.isclose(float(exp(np.array([x]))[0]), math.exp(x), rel_tol=1e-12)


def test_power_is_the_power():
    """2**10, and a root."""
    assert power(np.array([2.0, 9.0]), 10.0)[0] == pytest.approx(1024, rel=1e-13)
    assert power(np.array([9.0]), 0.5)[0] == pytest.approx(3, rel=1e-13)


@given(st.integers(1, 5_000), st.floats(0.0, 3.0), st.integers(0, 100_000))
def test_shares_sum_to_the_total(n, skew, total):
    """Dealing things out to ranks loses and invents none."""
    counts = Zipf(n, skew).counts(total)
    assert len(counts) == n
    assert counts.sum() == total
    assert counts.min() >= 0


@given(st.integers(1, 10_000), st.floats(0.0, 3.0))
def test_ranks_stay_within_bounds(n, skew):
    """Both ends of the unit interval are ranks."""
    ranks = Zipf(n, skew).ranks(np.array([0.0, 0.5, 1.0 - 2**-53]))
    assert ranks.min() >= 0
    assert ranks.max() < n
    assert ranks.tolist() == sorted(ranks.tolist())


def test_the_first_rank_has_the_share_of_a_power_law():
    """At skew 0.8 the first of 300,000 has about 1.7 percent, at skew 1 about 5.5."""
    unit = Stream("share").uniform(0, 200_000)
    assert np.mean(Zipf(300_000, 0.8).ranks(unit) == 0) == pytest.approx(0.013, abs=0.004)
    assert np.mean(Zipf(300_000, 1.0).ranks(unit) == 0) == pytest.approx(0.055, abs=0.003)


def test_shuffled_is_a_permutation():
    """Every number below n, once, and not in order."""
    order = shuffled(Stream("order"), 1_000)
    assert sorted(order.tolist()) == list(range(1_000))
    assert order.tolist() != list(range(1_000))


def test_normal_has_mean_zero_and_deviation_one():
    """Over many draws."""
    values = Stream("normal").normal(0, 100_000)
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(1, abs=0.02)


def test_below_stays_below():
    """The largest unit number gives n - 1."""
    assert below(np.array([0.0, 1.0 - 2**-53]), 7).tolist() == [0, 6]


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_coupled_ranks_correlate_by_the_share(share):
    """Also negatively, and for the bell law; each column on its own looks as it did."""
    own, other = Stream("own"), Stream("other")
    theirs = other.uniform(0, 50_000)
    for opposed, sign in ((False, 1), (True, -1)):
        mine = Coupled(own, other, share, opposed=opposed).uniform(0, 50_000)
        assert np.corrcoef(mine, theirs)[0, 1] == pytest.approx(sign * share, abs=0.02)
        assert np.quantile(mine, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.02)
    normal = Coupled(own, other, share).normal(0, 50_000)
    assert np.corrcoef(normal, other.normal(0, 50_000))[0, 1] == pytest.approx(share, abs=0.02)


def test_coupled_draws_are_the_same_in_every_chunk():
    """Which rows follow is a matter of the row."""
    coupled = Coupled(Stream("own"), Stream("other"), 0.5)
    whole = coupled.uniform(0, 100)
    assert np.array_equal(whole, np.concatenate((coupled.uniform(0, 33), coupled.uniform(33, 100))))
