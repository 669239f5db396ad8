"""Text columns: words, names, codes and running text, composed of parts without Python per row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal as OneOf
from typing import Protocol

import numpy as np

from gate.dataset.encode import Part, constant, decimal
from gate.dataset.streams import Floats, Integers, Stream, Zipf, below, exp
from gate.dataset.words import corpus, given, words, written

ALPHABET = b"0123456789abcdefghijklmnopqrstuvwxyz"
_GOLDEN = 0.6180339887498949
LONGEST_CODE = 6  # 36**6 is 2e9 rows; the product of two such numbers still fits 64 bits


@dataclass(frozen=True, slots=True)
class Span:
    """Rows start to stop of a table.

    stable: for the digest, where what depends on the day or on object numbers of this database is
    left out (`relative` dates count from 2000-01-01, element types of arrays are 0).
    """

    start: int
    stop: int
    stable: bool = False

    @property
    def count(self) -> int:
        return self.stop - self.start

    def numbers(self) -> Integers:
        return np.arange(self.start, self.stop, dtype=np.int64)


class Piece(Protocol):
    """Something that stands in a text."""

    def parts(self, span: Span) -> list[Part]: ...


@dataclass(frozen=True, slots=True)
class Literal:
    """The same text in every row."""

    text: bytes

    def parts(self, span: Span) -> list[Part]:
        return [constant(self.text, span.count)]


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a list; the earlier ones are more frequent."""

    stream: Stream
    pool: str
    skew: float = 0.6

    def parts(self, span: Span) -> list[Part]:
        source = words(self.pool)
        ranks = Zipf(len(source.data), self.skew).ranks(self.stream.uniform(span.start, span.stop))
        return [source.take(ranks)]


@dataclass(frozen=True, slots=True)
class OwnWord:
    """One of the words that the specification names; the earlier ones are more frequent."""

    stream: Stream
    words: tuple[str, ...]
    skew: float = 0.6

    def parts(self, span: Span) -> list[Part]:
        ranks = Zipf(len(self.words), self.skew).ranks(self.stream.uniform(span.start, span.stop))
        return [given(self.words).take(ranks)]


@dataclass(frozen=True, slots=True)
class Phrase:
    """`low` to `high` words with `gap` between them; short ones are more frequent."""

    stream: Stream
    pool: str = "titled"
    low: int = 1
    high: int = 5
    gap: bytes = b" "

    def parts(self, span: Span) -> list[Part]:
        unit = self.stream.sub("words").uniform(span.start, span.stop)
        count = self.low + below(unit * unit, self.high - self.low + 1)
        found = Word(self.stream.sub(0), self.pool).parts(span)
        for place in range(1, self.high):
            (word,) = Word(self.stream.sub(place), self.pool).parts(span)
            gap = np.broadcast_to(np.frombuffer(self.gap, np.uint8), (span.count, len(self.gap)))
            sizes = np.where(place < count, word.sizes() + len(self.gap), 0)
            found.append(Part(np.hstack([gap, word.data]), sizes))
        return found


@dataclass(frozen=True, slots=True)
class Code:
    """The row's number as `width` letters and digits that look random; no two rows share one.

    capacity 36**width: multiplication by a number without a common factor is one-to-one.
    """

    width: int
    upper: bool = False

    @staticmethod
    def width_for(rows: int) -> int:
        return next(width for width in range(1, 64) if 36**width >= rows)

    def parts(self, span: Span) -> list[Part]:
        size = 36**self.width
        factor = int(size * _GOLDEN) | 1
        while factor % 3 == 0:
            factor += 2
        value = span.numbers() * factor % size
        digits = np.empty((span.count, self.width), dtype=np.int64)
        for place in range(self.width - 1, -1, -1):
            value, digits[:, place] = np.divmod(value, 36)
        alphabet = ALPHABET.upper() if self.upper else ALPHABET
        return [Part(np.frombuffer(alphabet, dtype=np.uint8)[digits])]


@dataclass(frozen=True, slots=True)
class Hexadecimal:
    """`width` random digits of 0-9a-f."""

    stream: Stream
    width: int

    def parts(self, span: Span) -> list[Part]:
        found = []
        for place in range(0, self.width, 16):
            raw = self.stream.sub(place).raw(span.start, span.stop).astype("<u8")
            octets = raw.view(np.uint8).reshape(span.count, 8)
            both = np.stack([octets >> 4, octets & 15], axis=2).reshape(span.count, 16)
            digits = np.frombuffer(ALPHABET, dtype=np.uint8)[both[:, : self.width - place]]
            found.append(Part(digits))
        return found


@dataclass(frozen=True, slots=True)
class RowNumber:
    """1, 2, 3, ... in decimal digits."""

    first: int = 1

    def parts(self, span: Span) -> list[Part]:
        return [decimal(span.numbers() + self.first)]


@dataclass(frozen=True, slots=True)
class Padded:
    """1, 2, 3, ... with leading zeros; `width` digits must do for all rows."""

    width: int

    def parts(self, span: Span) -> list[Part]:
        powers = 10 ** np.arange(self.width - 1, -1, -1, dtype=np.int64)
        digits = (span.numbers() + 1)[:, None] // powers % 10
        return [Part((digits + ord("0")).astype(np.uint8))]


@dataclass(frozen=True, slots=True)
class Letters:
    """`width` characters of an alphabet, each drawn by itself."""

    stream: Stream
    alphabet: bytes
    width: int

    def parts(self, span: Span) -> list[Part]:
        letters = np.frombuffer(self.alphabet, dtype=np.uint8)
        drawn = [
            letters[below(self.stream.sub(place).uniform(span.start, span.stop), len(letters))]
            for place in range(self.width)
        ]
        return [Part(np.stack(drawn, axis=1))]


@dataclass(frozen=True, slots=True)
class Digits:
    """A whole number from low to high in decimal digits."""

    stream: Stream
    low: int
    high: int

    def parts(self, span: Span) -> list[Part]:
        unit = self.stream.uniform(span.start, span.stop)
        return [decimal(self.low + below(unit, self.high - self.low + 1))]


@dataclass(frozen=True, slots=True)
class Running:
    """Running text of `mean` characters, never below `least` or above `most`.

    law: bell, half to twice the mean for most rows; lognormal, with `skew` as the deviation of the
    logarithm; uniform, from least to most. words: what it is made of, else the packaged vocabulary.
    """

    stream: Stream
    mean: int
    most: int | None = None
    least: int = 1
    law: OneOf["bell", "lognormal", "uniform"] = "bell"
    skew: float = 0.0
    words: tuple[str, ...] = ()

    @property
    def widest(self) -> int:
        reach = self.mean * (8 if self.law == "lognormal" else 4)
        if self.law == "uniform" and self.most is not None:
            reach = self.most
        return max(self.least, min(reach, self.most or reach))

    def _wanted(self, span: Span) -> Floats:
        stream = self.stream.sub("length")
        if self.law == "uniform":
            return self.least + stream.uniform(span.start, span.stop) * (self.widest - self.least + 1)
        spread = stream.normal(span.start, span.stop)
        if self.law == "lognormal":
            return self.mean * exp(self.skew * spread - self.skew * self.skew / 2)
        # Squaring gives a long tail to the right like a lognormal law, without its cost.
        return self.mean * np.square(1.0 + 0.25 * spread) / 1.0625

    def parts(self, span: Span) -> list[Part]:
        source = written(self.words) if self.words else corpus()
        sizes = np.clip(self._wanted(span).astype(np.int64), self.least, self.widest)
        repeated = np.resize(source.text, max(len(source.text), len(source.text) + self.widest))
        place = source.starts[below(self.stream.uniform(span.start, span.stop), len(source.starts))]
        cut = source.ends[(place + sizes) % len(source.text)] - place
        sizes = np.where((cut >= self.least) & (cut > 0), cut, sizes)
        width = max(int(sizes.max(initial=0)), 1)
        return [Part(np.lib.stride_tricks.sliding_window_view(repeated, width)[place], sizes)]


@dataclass(frozen=True, slots=True)
class Text:
    """Pieces one after the other; of `stem` only what fits `most` beside `suffix` is kept."""

    stem: Sequence[Piece]
    suffix: Sequence[Piece] = field(default=())
    most: int | None = None

    def parts(self, span: Span) -> list[Part]:
        stem = [part for piece in self.stem for part in piece.parts(span)]
        suffix = [part for piece in self.suffix for part in piece.parts(span)]
        if self.most is not None:
            room = np.full(span.count, self.most, dtype=np.int64)
            for part in suffix:
                room -= part.sizes()
            stem = _limited(stem, room)
        return stem + suffix


def _limited(parts: list[Part], room: Integers) -> list[Part]:
    """The first `room` bytes of each row."""
    if len(room) and sum(part.width for part in parts) <= int(room.min()):
        return parts
    left = np.maximum(room, 0)
    kept = []
    for part in parts:
        sizes = np.minimum(part.sizes(), left)
        left = left - sizes
        kept.append(Part(part.data[:, : int(sizes.max(initial=0))], sizes))
    return kept


_DRAWN = re.compile(r"\{(?:(n)(?::(\d+))?|(digits|hex|upper|lower|code):(\d+)|(word|first|last))\}")
_LETTERS = {
    "digits": ALPHABET[:10],
    "hex": ALPHABET[:16],
    "upper": ALPHABET[10:].upper(),
    "lower": ALPHABET[10:],
}
_POOLS = {"word": "lower", "first": "first", "last": "last"}


def pattern(text: str, stream: Stream, rows: int) -> tuple[Piece, ...]:
    """ "INV-{n:6}-{upper:2}" as pieces, see `config.Column`; other braces stay as they are.

    rows: of the table, for whose numbers the digits must do.
    """
    pieces: list[Piece] = []
    at = 0
    for place, found in enumerate(_DRAWN.finditer(text)):
        if plain := text[at : found.start()]:
            pieces.append(Literal(plain.encode()))
        at = found.end()
        number, width, kind, size, pool = found.groups()
        own = stream.sub("pattern", place)
        if number:
            pieces.append(Padded(max(int(width), len(str(rows)))) if width else RowNumber())
        elif pool:
            pieces.append(Word(own, _POOLS[pool]))
        elif kind == "code":
            pieces.append(Code(int(size)))
        else:
            pieces.append(Letters(own, _LETTERS[kind], int(size)))
    if text[at:]:
        pieces.append(Literal(text[at:].encode()))
    return tuple(pieces)
