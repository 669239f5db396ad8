"""Rows dealt out to parents: sums, caps, positions and distinct partners."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.dataset.fanout import Fanout, FirstOnly, Mingled, Partners, Position, dealt, shared, skew_for
from gate.dataset.streams import Stream, Zipf
from gate.dataset.texts import Span

sizes = st.tuples(st.integers(1, 60), st.integers(1, 40), st.floats(0.0, 2.0), st.floats(0.0, 1.0))


@given(sizes)
def test_everything_is_dealt_and_no_parent_has_too_much(sizes):
    """Also where the cap leaves no room to spare."""
    parents, most, skew, filled = sizes
    rows = round(parents * most * filled)
    counts = dealt(rows, parents, skew, most)
    assert counts.sum() == rows
    assert counts.max(initial=0) <= most
    assert counts.min() >= 0


@given(sizes, st.integers(1, 30))
def test_partners_of_a_parent_differ_in_every_chunk(sizes, chunk):
    """(parent, partner) and (parent, position) are unique however the rows are cut."""
    parents, most, skew, filled = sizes
    rows = round(parents * most * filled)
    if not rows:
        return
    fanout = Fanout(Stream("lead"), rows, parents, skew, most)
    partners = Partners(fanout, Stream("partner"), most, skew)
    position = Position(fanout, 1)
    cuts = [Span(start, min(start + chunk, rows)) for start in range(0, rows, chunk)]
    lead = np.concatenate([fanout.places(span) for span in cuts])
    partner = np.concatenate([partners.places(span) for span in cuts])
    places = np.concatenate([position.numbers(span) for span in cuts])
    assert np.array_equal(partner, Partners(fanout, Stream("partner"), most, skew).places(Span(0, rows)))
    assert partner.min() >= 0
    assert partner.max() < most
    assert len(set(zip(lead.tolist(), partner.tolist(), strict=True))) == rows
    assert len(set(zip(lead.tolist(), places.tolist(), strict=True))) == rows
    assert places.min() == 1


def test_one_row_of_each_parent_is_first():
    """A partial unique index over the parent holds."""
    fanout = Fanout(Stream("lead"), 500, 40, 0.8)
    span = Span(0, 500)
    first = FirstOnly(fanout).field(span).parts[0].data[:, 0].astype(bool)
    assert max(Counter(fanout.places(span)[first].tolist()).values()) == 1
    assert first.sum() == len(set(fanout.places(span).tolist()))
    assert np.array_equal(
        first, ~FirstOnly(fanout, inverted=True).field(span).parts[0].data[:, 0].astype(bool)
    )


def test_popular_partners_and_parents_are_not_the_oldest():
    """Hot keys stand anywhere in the table."""
    fanout = Fanout(Stream("lead"), 20_000, 2_000, 0.8)
    hottest = Counter(fanout.places(Span(0, 20_000)).tolist()).most_common(20)
    assert np.mean([place for place, _ in hottest]) > 300
    assert hottest[0][1] > 20 * 10


@given(sizes)
def test_shares_by_weight_sum_and_keep_the_cap(sizes):
    """As by rank; weights of any kind."""
    parents, most, skew, filled = sizes
    rows = round(parents * most * filled)
    counts = shared(rows, np.arange(1, parents + 1) ** (1.0 + skew), most)
    assert counts.sum() == rows
    assert counts.max(initial=0) <= most
    assert counts.min() >= 0


@pytest.mark.parametrize("law", ["zipf", "lognormal"])
def test_every_parent_has_at_least_and_at_most(law):
    """`per` with min, mean and max."""
    fanout = Fanout(Stream("lead"), 4_000, 100, 1.0, most=300, least=5, law=law)
    counts = np.diff(fanout.ends, prepend=0)
    assert counts.sum() == 4_000
    assert counts.min() >= 5
    assert counts.max() <= 300
    assert counts.max() > 3 * np.median(counts)


@pytest.mark.parametrize("rows", [1, 2, 7, 1_000, 4_096])
def test_mingled_rows_are_the_same_rows_in_another_order(rows):
    """Every parent has as many, in any chunk, and they stand all over the table."""
    fanout = Fanout(Stream("lead"), rows, 37, 0.8)
    mingled = Mingled(fanout)
    whole = mingled.places(Span(0, rows))
    assert sorted(whole.tolist()) == fanout.places(Span(0, rows)).tolist()
    cut = [mingled.places(Span(at, min(at + 300, rows))) for at in range(0, rows, 300)]
    assert np.array_equal(np.concatenate(cut), whole)
    if rows == 4_096:
        hottest = Counter(whole.tolist()).most_common(1)[0][0]
        (found,) = np.nonzero(whole == hottest)
        assert found[0] < 100
        assert found[-1] > 3_996


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3])
def test_the_skew_gives_the_first_parent_its_share(share):
    """The inverse of what the power law says of the first rank."""
    counts = Zipf(5_000, skew_for(5_000, share)).counts(1_000_000)
    assert counts[0] == pytest.approx(share * 1_000_000, rel=0.01)
