"""The binary form and the limits of each type of Postgres that the engine fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gate.dataset.encode import Part, numeric, packed
from gate.dataset.schema import Column
from gate.dataset.sources import DAY, Values

INTEGERS = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**53}  # beyond 2**53 floats skip numbers
FLOATS = ("float4", "float8")
TEXTS = ("text", "varchar", "bpchar", "name", "citext", "xml")
TIMES = ("date", "timestamp", "timestamptz")
ADDRESSES = {"inet": 2**24, "cidr": 2**24, "macaddr": 2**32}
SHORTEST_NUMERIC = 12  # digits assumed of a numeric without precision
_LARGEST_SCALED = 10**15  # keeps numeric's scaled value and its padding within 64 bits
_HEADER = 4  # bytes that atttypmod counts beside the limit itself
_NAME = 63


@dataclass(frozen=True, slots=True)
class Pack:
    """Numbers -> the binary form of a type; `scale` and `precision` of numeric."""

    type: str
    scale: int = 0
    precision: int = 0

    def __call__(self, values: Values) -> Part:
        if self.type == "numeric":
            scaled = np.rint(values.astype(np.float64) * 10.0**self.scale).astype(np.int64)
            return numeric(scaled, self.scale, self.precision)
        return _PACK[self.type](values)


def pack(column: Column) -> Pack | None:
    """How numbers become this column's values; None where the type does not hold numbers or times."""
    if column.type == "numeric":
        precision, scale = digits(column)
        return Pack("numeric", scale, max(precision, 15))
    return Pack(column.type) if column.type in _PACK else None


def digits(column: Column) -> tuple[int, int]:
    """(precision, scale) of a numeric column; (12, 2) where it declares none."""
    if column.modifier < 0:
        return SHORTEST_NUMERIC, 2
    packed_modifier = column.modifier - _HEADER
    scale = packed_modifier & 0x7FF
    return packed_modifier >> 16 & 0xFFFF, 0 if scale >= 0x400 else scale


def characters(column: Column) -> int | None:
    """The most characters a text column takes; None without limit."""
    if column.type == "name":
        return _NAME
    return (
        column.modifier - _HEADER if column.modifier >= 0 and column.type in ("varchar", "bpchar") else None
    )


def limits(column: Column) -> tuple[float, float]:
    """The range that fits a numeric type; for numeric also what the encoder can write."""
    if column.type in INTEGERS:
        return -float(INTEGERS[column.type]) - 1, float(INTEGERS[column.type])
    if column.type == "numeric":
        precision, scale = digits(column)
        most = min(10.0**precision - 1, float(_LARGEST_SCALED)) / 10.0**scale
        return -most, most
    return -1e15, 1e15


def step(column: Column) -> float:
    """The smallest difference between two values that the column keeps apart."""
    if column.type in FLOATS:
        return 1e-3
    return 10.0 ** -digits(column)[1] if column.type == "numeric" else 1.0


def whole(column: Column) -> bool:
    """Whether the column holds whole numbers only."""
    return column.type in INTEGERS or (column.type == "numeric" and digits(column)[1] == 0)


def _interval(values: Values) -> Part:
    data = np.zeros((len(values), 16), dtype=np.uint8)
    data[:, :8] = packed(values.astype(np.int64), ">i8").data
    return Part(data)


def _time_with_zone(values: Values) -> Part:
    data = np.zeros((len(values), 12), dtype=np.uint8)
    data[:, :8] = packed(values.astype(np.int64) % DAY, ">i8").data
    return Part(data)


def _address(values: Values, *, network: bool) -> Part:
    """10.x.y.z with 32 bits: family, bits, is-network, length, four octets."""
    data = np.empty((len(values), 8), dtype=np.uint8)
    data[:, :4] = np.array([2, 32, network, 4], dtype=np.uint8)
    data[:, 4:] = packed((values.astype(np.int64) % 2**24) + (10 << 24), ">u4").data
    return Part(data)


def _hardware(values: Values) -> Part:
    """02:00:00:00:00:00 upwards: locally administered addresses."""
    return Part(packed(values.astype(np.int64) + (2 << 40), ">i8").data[:, 2:])


_PACK = {
    "int2": lambda values: packed(values, ">i2"),
    "int4": lambda values: packed(values, ">i4"),
    "int8": lambda values: packed(values, ">i8"),
    "oid": lambda values: packed(values, ">u4"),
    "money": lambda values: packed(values, ">i8"),
    "float4": lambda values: packed(values, ">f4"),
    "float8": lambda values: packed(values, ">f8"),
    "date": lambda values: packed(values // DAY, ">i4"),
    "timestamp": lambda values: packed(values, ">i8"),
    "timestamptz": lambda values: packed(values, ">i8"),
    "time": lambda values: packed(values % DAY, ">i8"),
    "timetz": _time_with_zone,
    "interval": _interval,
    "inet": lambda values: _address(values, network=False),
    "cidr": lambda values: _address(values, network=True),
    "macaddr": _hardware,
}
