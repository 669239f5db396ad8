"""Tables whose unique sets hold a parent: how many rows each parent has, and what tells them apart.

`playlist_songs` with (playlist_id, position) and (playlist_id, song_id) unique: the rows are dealt out
to the playlists by a power law, stand together in the table as they were inserted, are numbered within
each playlist, and each row of a playlist gets another song.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gate.dataset.encode import Field, packed
from gate.dataset.streams import Floats, Integers, Stream, Zipf, exp, shuffled
from gate.dataset.texts import Span

_GOLDEN = 0.6180339887498949
_ROUNDS = 40  # redistributions of what a full parent cannot take; each at least halves the rest


def capacity(parents: int, most: int | None, rows: int) -> int:
    """How many of `rows` fit where no parent may have more than `most`."""
    return rows if most is None else min(rows, parents * most)


def dealt(rows: int, parents: int, skew: float, most: int | None) -> Integers:
    """Rows of each rank of parent, by a power law, none above `most`; sums to `rows`.

    `rows` must be within `capacity`.
    """
    counts = Zipf(parents, skew).counts(rows)
    if most is None:
        return counts
    for _ in range(_ROUNDS):
        left = int(np.maximum(counts - most, 0).sum())
        counts = np.minimum(counts, most)
        open_ranks = np.flatnonzero(counts < most)
        if not left or not len(open_ranks):
            return counts
        counts[open_ranks] += Zipf(len(open_ranks), skew).counts(left)
    return _poured(counts, most)


def _poured(counts: Integers, most: int) -> Integers:
    """What is above `most` goes to the first parents that have room."""
    left = int(np.maximum(counts - most, 0).sum())
    counts = np.minimum(counts, most)
    room = np.cumsum(most - counts)
    added = np.minimum(room, left)
    return counts + np.diff(added, prepend=0)


def shared(rows: int, weights: Floats, most: int | None) -> Integers:
    """Rows by weights of the parents, none above `most` while they fit; sums to `rows`."""
    counts = _by_weight(rows, weights)
    if most is None:
        return counts
    for _ in range(_ROUNDS):
        left = int(np.maximum(counts - most, 0).sum())
        counts = np.minimum(counts, most)
        room = np.flatnonzero(counts < most)
        if not left or not len(room):
            return counts
        counts[room] += _by_weight(left, weights[room])
    return _poured(counts, most)


def _by_weight(rows: int, weights: Floats) -> Integers:
    edges = np.cumsum(weights)
    upto = np.floor(edges / edges[-1] * rows + 0.5).astype(np.int64)
    upto[-1] = rows
    counts: Integers = np.diff(upto, prepend=0)
    return counts


def skew_for(parents: int, share: float) -> float:
    """The skew at which the first of `parents` has this share of the rows, from 0.01 to 3."""
    low, high = 0.01, 3.0
    for _ in range(50):
        middle = (low + high) / 2
        if Zipf(parents, middle).first_share < share:
            low = middle
        else:
            high = middle
    return low


Law = Literal["zipf", "lognormal"]


@dataclass(frozen=True)
class Fanout:
    """The rows of a table dealt out to the parents of one foreign key.

    most: rows a parent can have at most, None without limit. least: rows that every parent has.
    law: of the number of rows of a parent; skew: of lognormal the deviation of the logarithm.
    """

    stream: Stream
    rows: int
    parents: int
    skew: float
    most: int | None = None
    least: int = 0
    law: Law = "zipf"

    @functools.cached_property
    def ends(self) -> Integers:
        """Number of the row after the last one of each parent, parents in the order of their keys."""
        counts = np.empty(self.parents, dtype=np.int64)
        order = shuffled(self.stream.sub("order"), self.parents)
        rows = max(self.rows - self.least * self.parents, 0)
        most = None if self.most is None else self.most - self.least
        if self.law == "lognormal":
            weights = exp(self.skew * self.stream.sub("weights").normal(0, self.parents))
            counts[order] = shared(rows, weights, most)
        else:
            counts[order] = dealt(rows, self.parents, self.skew, most)
        return np.cumsum(counts + self.least)

    def places(self, span: Span) -> Integers:
        return np.searchsorted(self.ends, span.numbers(), side="right").astype(np.int64)

    def starts(self, places: Integers) -> Integers:
        """Number of the first row of each of these parents."""
        return np.where(places > 0, self.ends[np.maximum(places - 1, 0)], 0)


@dataclass(frozen=True)
class Mingled:
    """The rows of a fan-out in an order in which those of one parent lie all over the table.

    As rows come in over time; multiplication by a number without a common factor is one-to-one, so that
    no order has to be kept.
    """

    fanout: Fanout

    @functools.cached_property
    def _factor(self) -> int:
        rows = self.fanout.rows
        factor = max(int(rows * _GOLDEN), 1)
        while math.gcd(factor, rows) != 1:
            factor += 1
        return factor

    def places(self, span: Span) -> Integers:
        rows = self.fanout.rows
        begin = int(self.fanout.stream.sub("begin").raw(0, 1)[0] % np.uint64(rows))
        turned = (span.numbers() * self._factor + begin) % rows
        return np.searchsorted(self.fanout.ends, turned, side="right").astype(np.int64)


@dataclass(frozen=True, slots=True)
class Position:
    """first, first + 1, ... within each parent."""

    fanout: Fanout
    first: int = 0

    def numbers(self, span: Span) -> Integers:
        return span.numbers() - self.fanout.starts(self.fanout.places(span)) + self.first


@dataclass(frozen=True, slots=True)
class FirstOnly:
    """A boolean that holds (or, inverted, fails) for the first row of each parent alone."""

    fanout: Fanout
    inverted: bool = False

    def field(self, span: Span) -> Field:
        first = Position(self.fanout).numbers(span) == 0
        return Field((packed(first ^ self.inverted, "u1"),))


class Partners:
    """Distinct partners for the rows of each parent, popular ones more often.

    One draw in each of n equal strata of the distribution gives increasing ranks; where two fall on
    one rank they are moved apart. Then the order within the parent is shuffled. A parent's rows are
    made together, so the block made last is kept for the next chunk.
    """

    def __init__(self, fanout: Fanout, stream: Stream, partners: int, skew: float) -> None:
        self.fanout = fanout
        self.stream = stream
        self.partners = partners
        self.skew = skew
        self._start, self._block = 0, np.empty(0, dtype=np.int64)

    def places(self, span: Span) -> Integers:
        if not (self._start <= span.start and span.stop <= self._start + len(self._block)):
            self._start, self._block = self._made(span)
        return self._block[span.start - self._start : span.stop - self._start]

    def _made(self, span: Span) -> tuple[int, Integers]:
        """All rows of the parents that the span touches, and the number of the first of them."""
        first = self.fanout.places(Span(span.start, span.start + 1))[0]
        last = self.fanout.places(Span(span.stop - 1, span.stop))[0]
        start = int(self.fanout.starts(np.array([first]))[0])
        stop = int(self.fanout.ends[last])
        whole = Span(start, stop)
        parent = self.fanout.places(whole)
        begins = self.fanout.starts(parent)
        count = self.fanout.ends[parent] - begins
        index = whole.numbers() - begins
        unit = (index + self.stream.uniform(start, stop)) / count
        ranks = _apart(
            Zipf(self.partners, self.skew).ranks(unit), index, count, parent - first, self.partners
        )
        order = np.lexsort((self.stream.sub("within").raw(start, stop), parent))
        popular = shuffled(self.stream.sub("order"), self.partners)
        return start, popular[ranks[order]].astype(np.int64)


def _apart(ranks: Integers, index: Integers, count: Integers, group: Integers, n: int) -> Integers:
    """Increasing ranks of each group made strictly increasing, within 0 to n - 1.

    Subtracting the index turns "strictly increasing" into "not decreasing", which a running maximum
    gives; groups are kept apart by an offset larger than any rank.
    """
    wide = np.int64(2 * n + int(count.max(initial=0)) + 1)
    level = np.maximum.accumulate(ranks - index + group * wide) - group * wide
    highest: NDArray[np.int64] = n - count
    distinct: Integers = np.minimum(level, highest) + index
    return distinct
