"""What fills a column: sources of numbers, of parents, of bytes, each a function of the row's number.

A `Source` gives the binary form of a column for a span of rows. Under it stand `Numbers` (plain
numbers, so that columns can be ordered among themselves) and `Places` (which parent a row belongs to).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gate.dataset.encode import Field, Part, constant, packed
from gate.dataset.streams import Floats, Integers, Stream, Zipf, below, exp, log, shuffled
from gate.dataset.texts import Piece, Span

DAY = 86_400_000_000  # microseconds
_SECOND = 1_000_000
_FINE = 2**40  # steps in which a range of fractions is divided
Values = NDArray[np.int64] | NDArray[np.float64]


class Source(Protocol):
    """The values of one column."""

    def field(self, span: Span) -> Field: ...


class Numbers(Protocol):
    """The values of one column as plain numbers (times: microseconds)."""

    def numbers(self, span: Span) -> Values: ...


class Places(Protocol):
    """For each row the place of its parent (or of its value in a list), from 0."""

    def places(self, span: Span) -> Integers: ...


class Keys(Protocol):
    """The key values of a parent table by place."""

    def take(self, places: Integers) -> Part: ...


# Numbers


@dataclass(frozen=True, slots=True)
class Sequence:
    """first, first + step, ..."""

    first: int = 1
    step: int = 1

    def numbers(self, span: Span) -> Integers:
        return span.numbers() * self.step + self.first


@dataclass(frozen=True, slots=True)
class Uniform:
    """Between low and high, both included where whole."""

    stream: Stream
    low: float
    high: float
    whole: bool = True

    def numbers(self, span: Span) -> Values:
        unit = self.stream.uniform(span.start, span.stop)
        if self.whole:
            return int(self.low) + below(unit, int(self.high) - int(self.low) + 1)
        between: Values = self.low + unit * (self.high - self.low)
        return between


@dataclass(frozen=True, slots=True)
class Skewed:
    """Mostly near low, few near high: a power law over the whole numbers of the range."""

    stream: Stream
    low: float
    high: float
    skew: float = 1.0
    whole: bool = True

    def numbers(self, span: Span) -> Values:
        unit = self.stream.uniform(span.start, span.stop)
        if self.whole:
            return int(self.low) + Zipf(int(self.high) - int(self.low) + 1, self.skew).ranks(unit)
        share: Floats = Zipf(_FINE, self.skew).ranks(unit).astype(np.float64) / _FINE
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Around the middle of the range on a logarithmic scale; low and high stand 2.5 deviations out."""

    stream: Stream
    low: float
    high: float
    whole: bool = True

    def numbers(self, span: Span) -> Values:
        low, high = max(self.low, 1e-3), max(self.high, 2e-3)
        middle = np.sqrt(np.array([low * high]))
        reach = log(middle) - log(np.array([low]))
        value = middle * exp(self.stream.normal(span.start, span.stop) / 2.5 * reach)
        inside: Floats = np.clip(value, self.low, self.high)
        return inside.astype(np.int64) if self.whole else inside


@dataclass(frozen=True, slots=True)
class Spaced:
    """One of `count` numbers from low to high, the same distance apart, for each place."""

    place: Places
    low: float
    high: float
    count: int
    whole: bool = True

    def numbers(self, span: Span) -> Values:
        step = (self.high - self.low) / max(self.count - 1, 1)
        value: Floats = self.low + self.place.places(span).astype(np.float64) * step
        return np.floor(value).astype(np.int64) if self.whole else value


@dataclass(frozen=True, slots=True)
class After:
    """At least `step` above another column of the row, from low to high, mostly near the lower end."""

    base: Numbers
    stream: Stream
    low: float
    high: float
    step: float = 0.0
    whole: bool = True

    def numbers(self, span: Span) -> Values:
        unit = self.stream.uniform(span.start, span.stop)
        least = np.maximum(self.base.numbers(span).astype(np.float64) + self.step, self.low)
        value = least + unit * unit * np.maximum(self.high - least, 0.0)
        return np.floor(value).astype(np.int64) if self.whole else value


# Times: microseconds after 2000-01-01 UTC


@dataclass(frozen=True, slots=True)
class Origin:
    """The moment dates are counted from. relative: the day of the run, left out of the digest."""

    moment: int
    relative: bool = False

    def at(self, span: Span) -> int:
        return 0 if self.relative and span.stable else self.moment


@dataclass(frozen=True, slots=True)
class Growing:
    """Increasing with the row's number, as rows are inserted in time; ever denser towards the end."""

    origin: Origin
    stream: Stream
    rows: int
    low: float
    high: float

    def numbers(self, span: Span) -> Integers:
        jitter = self.stream.uniform(span.start, span.stop)
        share = np.sqrt((span.numbers() + jitter) / max(self.rows, 1))
        return self.origin.at(span) + (self.low + share * (self.high - self.low)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Moments:
    """Anywhere from low to high (microseconds from the origin); `recent`: denser towards the end."""

    origin: Origin
    stream: Stream
    low: float
    high: float
    recent: bool = True

    def numbers(self, span: Span) -> Integers:
        unit = self.stream.uniform(span.start, span.stop)
        share = 1.0 - unit * unit if self.recent else unit
        return self.origin.at(span) + (self.low + share * (self.high - self.low)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Recent:
    """From low to high, dense at the end: half of the rows within `half_life` of it, and so on backwards.

    In microseconds; the law is cut off at low.
    """

    origin: Origin
    stream: Stream
    low: float
    high: float
    half_life: float

    def numbers(self, span: Span) -> Integers:
        reach = exp(log(np.array([0.5])) * min((self.high - self.low) / self.half_life, 900.0))
        left = 1.0 - self.stream.uniform(span.start, span.stop) * (1.0 - float(reach[0]))
        back = np.minimum(-log(left) / float(log(np.array([2.0]))[0]) * self.half_life, self.high - self.low)
        return self.origin.at(span) + (self.high - back).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Ticks:
    """One moment for each row, `step` microseconds apart: unique times and dates."""

    origin: Origin
    rows: int
    step: int

    def numbers(self, span: Span) -> Integers:
        return self.origin.at(span) - (self.rows - span.numbers()) * self.step


@dataclass(frozen=True, slots=True)
class Later:
    """Between another time of the row and `high` after the origin, mostly soon after the first."""

    base: Numbers
    origin: Origin
    stream: Stream
    high: float

    def numbers(self, span: Span) -> Integers:
        base = self.base.numbers(span)
        unit = self.stream.uniform(span.start, span.stop)
        room = np.maximum(self.origin.at(span) + self.high - base, _SECOND)
        return base.astype(np.int64) + 1 + (unit * unit * unit * room).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Delayed:
    """After another time of the row by `mean` microseconds on average, as waits are: most of them shorter.

    high: microseconds from the origin that none goes beyond, unless the other time does.
    """

    base: Numbers
    origin: Origin
    stream: Stream
    mean: float
    high: float

    def numbers(self, span: Span) -> Integers:
        base = self.base.numbers(span).astype(np.int64)
        wait = -log(1.0 - self.stream.uniform(span.start, span.stop)) * self.mean
        room = np.maximum(self.origin.at(span) + self.high - base, _SECOND)
        later: Integers = base + 1 + np.minimum(wait, room - 1).astype(np.int64)
        return later


# Places


@dataclass(frozen=True, slots=True)
class Popular:
    """A parent by a power law over shuffled places, so that hot parents are not the oldest ones."""

    stream: Stream
    parents: int
    skew: float

    def places(self, span: Span) -> Integers:
        ranks = Zipf(self.parents, self.skew).ranks(self.stream.uniform(span.start, span.stop))
        return shuffled(self.stream.sub("order"), self.parents)[ranks].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Even:
    """Every place equally likely."""

    stream: Stream
    parents: int

    def places(self, span: Span) -> Integers:
        return below(self.stream.uniform(span.start, span.stop), self.parents)


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Each place at most once, in random order: one-to-one."""

    stream: Stream
    parents: int

    def places(self, span: Span) -> Integers:
        return shuffled(self.stream, self.parents)[span.start : span.stop].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """Other places, those beyond the last parent from the first again: where they are NULL anyway."""

    place: Places
    parents: int

    def places(self, span: Span) -> Integers:
        return self.place.places(span) % self.parents


@dataclass(frozen=True, slots=True)
class Skipping:
    """Places drawn from one fewer than there are, so that none is the row's `other` one."""

    place: Places
    other: Places

    def places(self, span: Span) -> Integers:
        drawn = self.place.places(span)
        return drawn + (drawn >= self.other.places(span))


@dataclass(frozen=True, slots=True)
class InOrder:
    """Row by row from place `first`, `each` rows in a place, starting over after `size` places."""

    size: int
    each: int = 1
    first: int = 0

    def places(self, span: Span) -> Integers:
        return (span.numbers() // self.each + self.first) % self.size


@dataclass(frozen=True, slots=True)
class Earlier:
    """A row of the same table that comes before; the first row is its own parent (NULL if it may be)."""

    stream: Stream

    def places(self, span: Span) -> Integers:
        return below(self.stream.uniform(span.start, span.stop), span.numbers())


@dataclass(frozen=True, slots=True)
class Stepped:
    """A number for each place: first, first + step, ..."""

    place: Places
    first: int
    step: int = 1

    def numbers(self, span: Span) -> Integers:
        return self.place.places(span) * self.step + self.first


@dataclass(frozen=True, slots=True)
class Dated:
    """A day for each place, counted back from the origin."""

    place: Places
    origin: Origin

    def numbers(self, span: Span) -> Integers:
        return self.origin.at(span) - self.place.places(span) * DAY


@dataclass(frozen=True, slots=True)
class Weighted:
    """Places by given weights."""

    stream: Stream
    weights: tuple[float, ...]

    def places(self, span: Span) -> Integers:
        edges = np.cumsum(np.array(self.weights, dtype=np.float64))
        unit = self.stream.uniform(span.start, span.stop) * edges[-1]
        found: Integers = np.searchsorted(edges, unit, side="right").astype(np.int64)
        return np.minimum(found, len(self.weights) - 1)


# Columns


@dataclass(frozen=True, slots=True)
class Packed:
    """Numbers in the binary form of a type."""

    source: Numbers
    pack: Callable[[Values], Part]

    def numbers(self, span: Span) -> Values:
        return self.source.numbers(span)

    def field(self, span: Span) -> Field:
        return Field((self.pack(self.source.numbers(span)),))


@dataclass(frozen=True, slots=True)
class Composed:
    """Text made of pieces; `prefix` stands before it (the version of jsonb)."""

    text: Piece
    prefix: bytes = b""

    def field(self, span: Span) -> Field:
        head = (constant(self.prefix, span.count),) if self.prefix else ()
        return Field((*head, *self.text.parts(span)))


@dataclass(frozen=True, slots=True)
class Chosen:
    """One of given values, already in binary form."""

    values: Part
    place: Places

    def field(self, span: Span) -> Field:
        return Field((self.values.take(self.place.places(span)),))


@dataclass(frozen=True, slots=True)
class Reference:
    """The key of the parent at the row's place."""

    place: Places
    keys: Keys

    def field(self, span: Span) -> Field:
        return Field((self.keys.take(self.place.places(span)),))


@dataclass(frozen=True, slots=True)
class RandomBytes:
    """`width` random bytes; version 4 marks them as a random uuid."""

    stream: Stream
    width: int
    uuid: bool = False

    def field(self, span: Span) -> Field:
        words = [self.stream.sub(k).raw(span.start, span.stop) for k in range(-(-self.width // 8))]
        octets = np.stack(words, axis=1).astype("<u8").view(np.uint8).reshape(span.count, -1)
        data = octets[:, : self.width].copy()
        if self.uuid:
            data[:, 6] = data[:, 6] & 0x0F | 0x40
            data[:, 8] = data[:, 8] & 0x3F | 0x80
        return Field((Part(data),))


@dataclass(frozen=True, slots=True)
class Flags:
    """True for a share of the rows."""

    stream: Stream
    share: float

    def field(self, span: Span) -> Field:
        return Field((packed(self.stream.uniform(span.start, span.stop) < self.share, "u1"),))


@dataclass(frozen=True, slots=True)
class Listed:
    """An array of 0 to `most` elements, each from its own source; oid: type of the elements."""

    stream: Stream
    elements: tuple[Source, ...]
    oid: int
    builtin: bool

    def field(self, span: Span) -> Field:
        count = below(self.stream.uniform(span.start, span.stop), len(self.elements) + 1)
        oid = 0 if span.stable and not self.builtin else self.oid
        header = np.zeros((span.count, 5), dtype=np.int64)
        header[:, 0], header[:, 2], header[:, 3], header[:, 4] = 1, oid, count, 1
        parts = [packed(header.reshape(-1), ">u4")]
        parts = [Part(parts[0].data.reshape(span.count, 20))]
        for place, element in enumerate(self.elements):
            field, there = element.field(span), place < count
            parts.append(Part(packed(field.sizes(span.count), ">u4").data, np.where(there, 4, 0)))
            parts += [Part(part.data, np.where(there, part.sizes(), 0)) for part in field.parts]
        return Field(tuple(parts))


@dataclass(frozen=True, slots=True)
class Nullable:
    """Another source with a share of NULLs. first: the first row is NULL whatever the share."""

    source: Source
    stream: Stream
    share: float
    first: bool = False

    def field(self, span: Span) -> Field:
        nulls = self.stream.uniform(span.start, span.stop) < self.share
        if self.first and span.start == 0:
            nulls[:1] = True
        return Field(self.source.field(span).parts, nulls)


class Condition(Protocol):
    """Where a column may have a value."""

    def holds(self, span: Span) -> NDArray[np.bool_]: ...


@dataclass(frozen=True, slots=True)
class Among:
    """Where another column, not NULL itself, has one of these places of its list."""

    place: Places
    allowed: tuple[int, ...]

    def holds(self, span: Span) -> NDArray[np.bool_]:
        return np.isin(self.place.places(span), np.array(self.allowed, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Below:
    """Where a place is one of the first `count`."""

    place: Places
    count: int

    def holds(self, span: Span) -> NDArray[np.bool_]:
        below: NDArray[np.bool_] = self.place.places(span) < self.count
        return below


@dataclass(frozen=True, slots=True)
class Flagged:
    """Where a boolean column is true, or false."""

    flags: Flags
    wanted: bool

    def holds(self, span: Span) -> NDArray[np.bool_]:
        flags = self.flags.stream.uniform(span.start, span.stop) < self.flags.share
        return flags if self.wanted else ~flags


@dataclass(frozen=True, slots=True)
class Present:
    """Where another column is not NULL."""

    source: Source

    def holds(self, span: Span) -> NDArray[np.bool_]:
        nulls = self.source.field(span).nulls
        return np.ones(span.count, dtype=np.bool_) if nulls is None else ~nulls


@dataclass(frozen=True, slots=True)
class Dependent:
    """Another source, NULL wherever one of the conditions does not hold."""

    source: Source
    conditions: tuple[Condition, ...]

    def field(self, span: Span) -> Field:
        field = self.source.field(span)
        nulls = np.zeros(span.count, dtype=np.bool_) if field.nulls is None else field.nulls.copy()
        for condition in self.conditions:
            nulls |= ~condition.holds(span)
        return Field(field.parts, nulls)


@dataclass(frozen=True, slots=True)
class Given:
    """The first rows as they are given, then another source.

    values: of the first rows, in binary form. nulls: which of them are NULL. whole: the same as whole
    numbers where the column holds such, for columns of another width that refer to it.
    """

    values: Part
    nulls: NDArray[np.bool_]
    rest: Source
    whole: Integers | None = None

    def field(self, span: Span) -> Field:
        count = len(self.nulls)
        if span.start >= count:
            return self.rest.field(span)
        stop = min(span.stop, count)
        here = self.values.take(np.arange(span.start, stop))
        nulls = self.nulls[span.start : stop]
        if span.stop <= count:
            return Field((here,), nulls)
        later = Span(stop, span.stop, span.stable)
        field = self.rest.field(later)
        rest = Field(field.parts).joined(later.count)
        others = np.zeros(later.count, dtype=np.bool_) if field.nulls is None else field.nulls
        return Field((_stacked(here, rest),), np.concatenate((nulls, others)))


def _stacked(first: Part, second: Part) -> Part:
    """The values of two parts one after the other."""
    counts = (len(first.data), len(second.data))
    data = np.zeros((sum(counts), max(first.width, second.width)), dtype=np.uint8)
    data[: counts[0], : first.width] = first.data
    data[counts[0] :, : second.width] = second.data
    sizes = [
        np.broadcast_to(np.asarray(part.sizes(), dtype=np.int64), (count,))
        for part, count in zip((first, second), counts, strict=True)
    ]
    return Part(data, np.concatenate(sizes))


@dataclass(frozen=True, slots=True)
class AllNull:
    """NULL in every row."""

    def field(self, span: Span) -> Field:
        return Field((Part(np.zeros((span.count, 0), dtype=np.uint8)),), np.ones(span.count, dtype=np.bool_))
