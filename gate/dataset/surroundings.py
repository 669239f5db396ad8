"""What the columns of one table need of the rest of the data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gate import config
from gate.dataset.encode import Part
from gate.dataset.given import NO_ROWS, Rows
from gate.dataset.schema import Column, ForeignKey
from gate.dataset.sources import Keys


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What one table's columns need of the rest.

    keys: key values of a parent's column, in the form of one's own. binary: literals in the binary
    form of a column's type, None with a problem noted. referenced: columns that other tables refer to.
    first: the rows that a file gives. per: how the rows follow from those of a parent (`Facts.per`), of
    which there are `parents` at scale 1.
    """

    seed: int
    origin: int
    today: int
    keys: Callable[[ForeignKey, Column], Keys]
    binary: Callable[[Column, tuple[str | None, ...], str], Part | None]
    referenced: frozenset[str]
    first: Rows = NO_ROWS
    per: config.Per | None = None
    parents: int = 0


def beyond(given: config.Column, honoured: frozenset[str]) -> list[str]:
    """The keys of an override that are set and not among these."""
    return sorted(given.model_fields_set - honoured)
