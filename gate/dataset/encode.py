"""Columns of NumPy arrays -> the bytes of COPY BINARY.

A value is one or more parts side by side (words of a title, a version byte before jsonb); a part is a
matrix of bytes, one row per value, of which the first `lengths` bytes count. All parts of all columns
are laid into one padded matrix, and a mask keeps what counts: no Python per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Lengths = NDArray[np.int64]
Flags = NDArray[np.bool_]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_NULL = 0xFFFFFFFF
_NBASE = 10_000  # numeric is sent in digits of base 10,000


@dataclass(frozen=True, slots=True)
class Part:
    """data: (rows, width) bytes. lengths: how many of each row count; None where all do."""

    data: Bytes
    lengths: Lengths | None = None

    @property
    def width(self) -> int:
        return int(self.data.shape[1])

    def sizes(self) -> Lengths | int:
        return self.width if self.lengths is None else self.lengths

    def take(self, index: NDArray[np.integer]) -> Part:
        """The values at these places, in this order."""
        return Part(self.data[index], None if self.lengths is None else self.lengths[index])

    def keep(self) -> Flags:
        """Which bytes of `data` count."""
        if self.lengths is None:
            return np.ones(self.data.shape, dtype=np.bool_)
        places = np.arange(self.width, dtype=np.int32)  # half the width of int64, twice as fast
        flags: Flags = places < self.lengths.astype(np.int32)[:, None]
        return flags


@dataclass(frozen=True, slots=True)
class Field:
    """The values of one column for a run of rows, in the binary form of its type."""

    parts: tuple[Part, ...]
    nulls: Flags | None = None

    @property
    def width(self) -> int:
        return sum(part.width for part in self.parts)

    def sizes(self, rows: int) -> Lengths:
        total = np.zeros(rows, dtype=np.int64)
        for part in self.parts:
            total += part.sizes()
        return total

    def joined(self, rows: int) -> Part:
        """The same values as one part without gaps, for keys that other tables refer to."""
        if len(self.parts) == 1:
            return self.parts[0]
        sizes = self.sizes(rows)
        keep = np.hstack([part.keep() for part in self.parts])
        flat = np.hstack([part.data for part in self.parts])[keep]
        width = int(sizes.max(initial=0))
        data = np.zeros((rows, width), dtype=np.uint8)
        data[np.arange(width) < sizes[:, None]] = flat
        return Part(data, sizes)


def rows(fields: Sequence[Field], count: int) -> NDArray[np.uint8]:
    """The COPY BINARY bytes of `count` rows, without header and trailer."""
    width = 2 + sum(4 + field.width for field in fields)
    matrix = np.empty((count, width), dtype=np.uint8)
    ragged = any(f.nulls is not None or any(p.lengths is not None for p in f.parts) for f in fields)
    keep = np.ones((count, width), dtype=np.bool_) if ragged else None
    matrix[:, :2] = np.frombuffer(len(fields).to_bytes(2, "big"), dtype=np.uint8)
    at = 2
    for field in fields:
        at = _lay(field, matrix, keep, at)
    return matrix.reshape(-1) if keep is None else matrix[keep]


def _lay(field: Field, matrix: Bytes, keep: Flags | None, at: int) -> int:
    """Write one column into the padded matrix from byte `at`; gives where the next one starts."""
    sizes = field.sizes(len(matrix)).astype(np.uint32)
    if field.nulls is not None:
        sizes[field.nulls] = _NULL
    matrix[:, at : at + 4] = packed(sizes, ">u4").data
    start = at = at + 4
    for part in field.parts:
        matrix[:, at : at + part.width] = part.data
        if keep is not None and part.lengths is not None:
            keep[:, at : at + part.width] = part.keep()
        at += part.width
    if keep is not None and field.nulls is not None:
        keep[field.nulls, start:at] = False
    return at


def packed(values: NDArray[np.generic], form: str) -> Part:
    """Numbers in a fixed binary form, such as ">i4"."""
    fixed = np.ascontiguousarray(values.astype(form))
    return Part(fixed.view(np.uint8).reshape(len(values), fixed.dtype.itemsize))


def constant(value: bytes, count: int) -> Part:
    """The same bytes in every row, without a copy for each."""
    one = np.frombuffer(value, dtype=np.uint8)
    return Part(np.broadcast_to(one, (count, len(value))))


def pool(values: Sequence[bytes]) -> Part:
    """Given values as one part to take from."""
    sizes = np.array([len(value) for value in values], dtype=np.int64)
    width = int(sizes.max(initial=0))
    data = np.zeros((len(values), width), dtype=np.uint8)
    for row, value in enumerate(values):
        data[row, : len(value)] = np.frombuffer(value, dtype=np.uint8)
    return Part(data, sizes)


def numeric(scaled: NDArray[np.int64], scale: int, precision: int) -> Part:
    """scaled / 10**scale as numeric. The server drops leading zero digits, so the width is fixed."""
    before = -(-max(precision - scale, 1) // 4)
    after = -(-scale // 4)
    size = np.abs(scaled) * 10 ** (after * 4 - scale)
    words = np.empty((len(scaled), 4 + before + after), dtype=">i2")
    words[:, 0] = before + after
    words[:, 1] = before - 1
    words[:, 2] = np.where(scaled < 0, 0x4000, 0)
    words[:, 3] = scale
    for place in range(before + after - 1, -1, -1):
        size, digit = np.divmod(size, _NBASE)
        words[:, 4 + place] = digit
    return Part(words.view(np.uint8).reshape(len(scaled), words.shape[1] * 2))


def decimal(values: NDArray[np.int64]) -> Part:
    """Whole numbers >= 0 as decimal digits without leading zeros."""
    width = len(str(int(values.max(initial=0))))
    lengths = np.ones(len(values), dtype=np.int64)
    for power in range(1, width):
        lengths += values >= 10**power
    places = np.clip(lengths[:, None] - 1 - np.arange(width), 0, None)
    digits = values[:, None] // 10**places % 10
    return Part((digits + ord("0")).astype(np.uint8), lengths)
