"""Sources of values: their laws, and the same in every chunk."""

from __future__ import annotations

import numpy as np
import pytest

from gate.dataset.encode import Field, packed, pool
from gate.dataset.sources import (
    DAY,
    Among,
    Chosen,
    Delayed,
    Dependent,
    Even,
    Flagged,
    Flags,
    Given,
    Moments,
    Nullable,
    Origin,
    Packed,
    Present,
    Recent,
    Sequence,
    Spaced,
)
from gate.dataset.streams import Stream
from gate.dataset.texts import Span

ORIGIN = Origin(9_000 * DAY)
STREAM = Stream("t", "c")
STARTED = Moments(ORIGIN, Stream("t", "started"), -100 * DAY, 0)


def integers(source, rows=100):
    """A column of int8 as Python sees it, None for NULL."""
    field = source.field(Span(0, rows))
    values = field.joined(rows).data.copy().view(">i8")[:, 0].tolist()
    nulls = np.zeros(rows, dtype=bool) if field.nulls is None else field.nulls
    return [None if null else value for value, null in zip(values, nulls, strict=True)]


def int8(numbers):
    return Packed(numbers, lambda values: packed(values, ">i8"))


SOURCES = {
    "recent": int8(Recent(ORIGIN, STREAM, -700 * DAY, 0, 30 * DAY)),
    "delayed": int8(Delayed(STARTED, ORIGIN, STREAM, 60e6, 0.0)),
    "spaced": int8(Spaced(Even(STREAM, 10), 1, 100, 10)),
    "given": Given(packed(np.array([7, 8, 9]), ">i8"), np.array([False, True, False]), int8(Sequence(4))),
    "dependent": Dependent(int8(Sequence()), (Flagged(Flags(STREAM, 0.5), True),)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_values_are_the_same_in_every_chunk(name):
    """Cut anywhere."""
    source = SOURCES[name]
    whole = integers(source, 60)

    def cut(start, stop):
        field = source.field(Span(start, stop))
        nulls = np.zeros(stop - start, dtype=bool) if field.nulls is None else field.nulls
        data = Field(field.parts).joined(stop - start).data.copy().view(">i8")[:, 0].tolist()
        return [None if null else value for value, null in zip(data, nulls, strict=True)]

    for at in (1, 2, 3, 4, 31):
        assert cut(0, at) + cut(at, 60) == whole


def test_half_of_what_is_left_lies_within_each_half_life():
    """Recency; none before low or after the origin."""
    days = (ORIGIN.moment - SOURCES["recent"].numbers(Span(0, 40_000))) / DAY
    assert days.min() >= 0
    assert days.max() <= 700
    assert np.mean(days < 30) == pytest.approx(0.5, abs=0.01)
    assert np.mean(days < 60) == pytest.approx(0.75, abs=0.01)


def test_a_delay_has_its_mean_and_never_goes_backwards():
    """Nor beyond the end, unless the start itself is there."""
    span = Span(0, 40_000)
    wait = SOURCES["delayed"].numbers(span) - STARTED.numbers(span)
    assert wait.min() >= 1
    assert wait.mean() == pytest.approx(60e6, rel=0.03)
    assert (SOURCES["delayed"].numbers(span) <= ORIGIN.moment + 1_000_000).all()


def test_spaced_numbers_are_as_many_as_asked_for():
    """From low to high, both included."""
    found = sorted(set(integers(SOURCES["spaced"])))
    assert found == [1, 12, 23, 34, 45, 56, 67, 78, 89, 100]


def test_given_rows_come_first_and_generated_ones_after_them():
    """By the number of the row, as if all had been generated."""
    assert integers(SOURCES["given"], 5) == [7, None, 9, 7, 8]


def test_a_dependent_column_is_null_where_its_condition_fails():
    """A listed value of another column, and that the other one is not NULL."""
    status = Chosen(pool([b"new", b"done"]), Even(Stream("status"), 2))
    started = Nullable(int8(STARTED), Stream("nulls"), 0.3)
    column = Dependent(int8(Sequence()), (Among(status.place, (1,)), Present(started)))
    done = status.place.places(Span(0, 100)) == 1
    there = np.array([value is not None for value in integers(started)])
    assert [value is not None for value in integers(column)] == (done & there).tolist()
    assert 20 < sum(done & there) < 50
