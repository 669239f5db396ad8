"""The bytes of COPY BINARY against a plain encoder of one row at a time."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gate.dataset import encode
from gate.dataset.encode import Field, Part, constant, decimal, packed, pool, rows

values = st.one_of(st.none(), st.binary(max_size=9))


def plainly(table: list[list[bytes | None]]) -> bytes:
    out = b""
    for row in table:
        out += struct.pack(">h", len(row))
        for value in row:
            out += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return out


def column(given_values: list[bytes | None]) -> Field:
    part = pool([value or b"" for value in given_values])
    nulls = np.array([value is None for value in given_values])
    return Field((part,), nulls if nulls.any() else None)


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(values, min_size=n, max_size=n), min_size=1, max_size=4)
    )
)
def test_rows_are_what_a_plain_encoder_writes(columns):
    """Ragged values and NULLs in any place."""
    count = len(columns[0])
    assert rows([column(c) for c in columns], count).tobytes() == plainly(
        [list(row) for row in zip(*columns, strict=True)]
    )


def test_fixed_columns_need_no_mask():
    """Numbers alone are written as they lie."""
    numbers = Field((packed(np.array([1, -2]), ">i4"),))
    assert rows([numbers], 2).tobytes() == plainly([[struct.pack(">i", 1)], [struct.pack(">i", -2)]])


def test_parts_stand_side_by_side():
    """A version byte before a ragged text is one value."""
    field = Field((constant(b"\x01", 2), pool([b"{}", b"[1]"])))
    assert rows([field], 2).tobytes() == plainly([[b"\x01{}"], [b"\x01[1]"]])
    assert field.joined(2).take(np.array([1, 0])).data[0, :4].tobytes() == b"\x01[1]"


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_decimal_writes_digits(numbers):
    """As str does."""
    part = decimal(np.array(numbers))
    assert [bytes(row[:n]).decode() for row, n in zip(part.data, part.sizes(), strict=True)] == [
        str(n) for n in numbers
    ]


@given(st.integers(-(10**11), 10**11), st.integers(0, 6))
def test_numeric_holds_the_number(scaled, scale):
    """Digits of base 10,000 with their weight give the number back."""
    part = encode.numeric(np.array([scaled]), scale, 15)
    words = struct.unpack(f">{part.width // 2}h", part.data.tobytes())
    count, weight, sign, shown = words[:4]
    total = sum(digit * 10_000 ** (weight - place) * 10**8 for place, digit in enumerate(words[4:]))
    assert (count, shown) == (len(words) - 4, scale)
    assert round(total * 10 ** (scale - 8)) == abs(scaled)
    assert (sign == 0x4000) is (scaled < 0)


def test_taking_keeps_lengths():
    """Values taken from a pool keep their own sizes."""
    taken = Part(*_parts(pool([b"a", b"bcd"]))).take(np.array([1, 1, 0]))
    assert taken.sizes().tolist() == [3, 3, 1]


def _parts(part: Part):
    return part.data, part.lengths
