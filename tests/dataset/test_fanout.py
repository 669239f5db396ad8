"""Rows dealt out to parents: sums, caps, positions and distinct partners."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gate.dataset.fanout import Fanout, FirstOnly, Partners, Position, dealt
from gate.dataset.streams import Stream
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
