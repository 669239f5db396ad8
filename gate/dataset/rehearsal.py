"""Tables that are ready to be filled, and their rehearsal: a few hundred rows judged by the server.

Samples go into temporary copies of the tables, so that what the server would refuse half-way through a
load is a problem of the configuration before it, named with the override that solves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gate import db
from gate.dataset import encode
from gate.dataset.checks import columns_in
from gate.dataset.schema import Check, Schema, Table, quoted, said
from gate.dataset.sources import Source
from gate.dataset.texts import Span

CHUNK = 20_000  # rows encoded at once; more no longer fit the processor's caches
_SAMPLE = 400  # rows rehearsed at the beginning, in the middle and at the end of each table


@dataclass(frozen=True, kw_only=True)
class Filled:
    """One table that gets rows.

    columns: what COPY fills, in the table's order. sequences: (name, last value given out).
    restated: its digest is over other bytes than the server gets (see `Span.stable`).
    chunk: rows encoded at once. partitioned: into several relations.
    """

    name: str
    quoted: str
    rows: int
    columns: tuple[tuple[str, Source], ...]
    sequences: tuple[tuple[str, int], ...] = ()
    restated: bool = False
    chunk: int = CHUNK
    partitioned: bool = False

    def encoded(self, span: Span) -> encode.Bytes:
        """The COPY BINARY bytes of these rows."""
        return encode.rows([source.field(span) for _, source in self.columns], span.count)

    def chunks(self) -> Iterator[Span]:
        for start in range(0, self.rows, self.chunk):
            yield Span(start, min(start + self.chunk, self.rows))


def rehearse(
    conn: db.Connection, schema: Schema, tables: list[Filled], problems: list[str]
) -> dict[str, dict[str, float]]:
    """Load samples into temporary copies of the tables; nothing stays. Gives mean bytes by column."""
    widths: dict[str, dict[str, float]] = {}
    with conn.transaction(force_rollback=True):
        for filled in tables:
            if filled.rows:
                widths[filled.name] = _widths(filled)
                problem = _rehearsed(conn, schema.table(filled.name), filled)
                if problem:
                    problems.append(problem)
    return widths


def _samples(rows: int) -> list[Span]:
    """The first rows, some from the middle and the last ones, without overlap."""
    if rows <= 3 * _SAMPLE:
        return [Span(0, rows)]
    middle = rows // 2 - _SAMPLE // 2
    return [Span(0, _SAMPLE), Span(middle, middle + _SAMPLE), Span(rows - _SAMPLE, rows)]


def _widths(filled: Filled) -> dict[str, float]:
    span = _samples(filled.rows)[0]
    return {name: float(source.field(span).sizes(span.count).mean()) for name, source in filled.columns}


def _rehearsed(conn: db.Connection, table: Table, filled: Filled) -> str | None:
    """What the server says against a sample of the table's rows; None where it takes them."""
    names = ", ".join(quoted(name) for name, _ in filled.columns)
    try:
        with conn.transaction():
            conn.execute(
                f"CREATE TEMPORARY TABLE rehearsal (LIKE {table.quoted} INCLUDING CONSTRAINTS "
                "INCLUDING INDEXES INCLUDING GENERATED INCLUDING DEFAULTS)".encode()
            )
            with conn.cursor().copy(f"COPY rehearsal ({names}) FROM STDIN (FORMAT binary)".encode()) as copy:
                copy.write(encode.HEADER)
                for span in _samples(filled.rows):
                    copy.write(filled.encoded(span).tobytes())
                copy.write(encode.TRAILER)
            conn.execute("DROP TABLE rehearsal")
    except db.Error as error:
        return _refused(table, error)
    return None


def _refused(table: Table, error: db.Error) -> str:
    """The server's refusal as a problem with the override that solves it."""
    constraint = error.diag.constraint_name or ""
    check = next((check for check in table.checks if check.name == constraint), None)
    columns = _about(table, check, error)
    rule = f"{constraint} {check.expression}" if check else error.diag.message_detail or said(error)
    if len(columns) == 1:
        place = f"dataset.tables.{table.name}.columns.{columns[0]}"
        solution = f"set {place}.values, .pattern, .constant or .low and .high"
    else:
        among = f" (one of {', '.join(columns)})" if columns else ""
        solution = f"set dataset.tables.{table.name}.columns.NAME.values, .constant or .nulls{among}"
    return f"{table.name}: generated rows break {rule}; {solution}, or dataset.tables.{table.name}.rows = 0"


def _about(table: Table, check: Check | None, error: db.Error) -> tuple[str, ...]:
    known = frozenset(column.name for column in table.columns)
    if check is not None:
        return columns_in(check.expression, known)
    if error.diag.column_name:
        return (error.diag.column_name,)
    return columns_in((error.diag.context or "").partition("column ")[2], known)[:1]
