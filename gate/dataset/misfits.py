"""What the configuration asks of a column that the column cannot be, whatever its values are."""

from __future__ import annotations

from collections.abc import Iterator

from gate import config
from gate.dataset import forms
from gate.dataset.schema import Column
from gate.dataset.words import lists


def misfits(column: Column, given: config.Column) -> Iterator[str]:
    """What an override asks that its column cannot be."""
    if column.generated:
        yield "the server computes this column; remove the override"
    if given.nulls and not column.nullable:
        yield "nulls: the column is NOT NULL"
    if given.pattern is not None and column.type not in forms.TEXTS:
        yield f"pattern: only text columns have one, this is {column.declared}"
    if given.relative and column.type not in forms.TIMES:
        yield f"relative: only dates and timestamps have it, this is {column.declared}"
    yield from _of_kind(column, given)
    dated = column.type in forms.TIMES
    if given.low is not None and given.high is not None and (given.low < given.high) is dated:
        order = "low is the furthest back, so it must not be below high" if dated else "low is above high"
        if given.low != given.high:
            yield f"low = {given.low:g}, high = {given.high:g}: {order}"
    if isinstance(given.values, dict) and sum(given.values.values()) <= 0:
        yield "values: the weights must sum to more than 0"
    if given.values is not None and not len(given.values):
        yield "values: name at least one"


def _of_kind(column: Column, given: config.Column) -> Iterator[str]:
    """What is asked of a column of another type, or twice over."""
    is_text, is_time = column.type in forms.TEXTS, column.type in forms.TIMES
    is_number = column.type in (*forms.INTEGERS, *forms.FLOATS, "numeric")
    if given.vocabulary is not None and not is_text:
        yield f"vocabulary: only text columns have one, this is {column.declared}"
    if isinstance(given.vocabulary, str) and given.vocabulary not in lists():
        yield f"vocabulary: there is no list {given.vocabulary!r}; there are {', '.join(sorted(lists()))}"
    if isinstance(given.vocabulary, tuple) and given.length and not "".join(given.vocabulary).isascii():
        yield "vocabulary: words of running text must be ASCII"
    if given.distribution == "recent" and not is_time:
        yield f'distribution = "recent": only dates and timestamps have it, this is {column.declared}'
    if given.follows is not None and not (is_time or is_number):
        yield f"follows: only numbers and times can, this is {column.declared}"
    if given.follows is not None and given.distribution == "sequence":
        yield "follows: a sequence follows nothing"
    if given.after is not None and is_time and given.low is not None:
        yield f"low: {given.after} is what this column comes after"
    ways = [
        name
        for name in ("constant", "values", "after", "distinct", "follows")
        if getattr(given, name) is not None
    ]
    if len(ways) > 1:
        yield f"{' and '.join(ways)} exclude each other"
