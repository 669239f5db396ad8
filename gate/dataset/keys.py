"""Values that other rows refer to, and values that only the server can write, in its binary form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gate import db
from gate.dataset import forms
from gate.dataset.encode import Part
from gate.dataset.rehearsal import Filled
from gate.dataset.sources import Given, Packed, Sequence, Source
from gate.dataset.streams import Integers
from gate.dataset.texts import Span


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """Keys of rows that were there before."""

    stored: Part

    def take(self, places: Integers) -> Part:
        return self.stored.take(places)


class GeneratedKeys:
    """Keys of a generated table. Numbered ones are computed; others are made once and kept."""

    def __init__(self, table: Callable[[], Filled], column: str, pack: forms.Pack | None) -> None:
        self._table = table
        self._column = column
        self._pack = pack
        self._kept: Part | None = None

    def take(self, places: Integers) -> Part:
        source = dict(self._table().columns)[self._column]
        if isinstance(source, Packed) and self._pack is not None and isinstance(source.source, Sequence):
            return self._pack(places * source.source.step + source.source.first)
        if self._kept is None:
            self._kept = self._made(source)
        return self._kept.take(places)

    def _made(self, source: Source) -> Part:
        span = Span(0, self._table().rows)
        if isinstance(source, Packed) and self._pack is not None:
            return self._pack(source.numbers(span))
        if isinstance(source, Given) and self._pack is not None and source.whole is not None:
            later = Span(min(len(source.whole), span.stop), span.stop)
            if not later.count:
                return self._pack(source.whole[: span.stop])
            if isinstance(source.rest, Packed):
                numbers = source.rest.numbers(later).astype(np.int64)
                return self._pack(np.concatenate((source.whole, numbers)))
        return source.field(span).joined(span.count)


def sent(conn: db.Connection, statement: str, parameters: list[list[str | None]] | None) -> list[bytes]:
    """The first column of a result in binary form, as the server sends it."""
    with conn.cursor(binary=True) as cursor:
        cursor.execute(statement.encode(), parameters)
        result = cursor.pgresult
        assert result is not None  # noqa: S101 - psycopg has one after every execute
        return [result.get_value(row, 0) or b"" for row in range(result.ntuples)]
