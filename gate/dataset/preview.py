"""What a data set will look like, from a sample of its rows and without loading it.

A sample goes into temporary tables, so that the server itself says how every value reads. How many rows
each parent has is counted over all rows, for a sample would show every parent as nearly empty.
"""

# ruff: noqa: S608 - statements are made of the catalogue's own names, quoted

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gate import db
from gate.dataset import encode
from gate.dataset.forms import FLOATS, INTEGERS, TEXTS, TIMES
from gate.dataset.plan import DataPlan
from gate.dataset.rehearsal import Filled
from gate.dataset.schema import Column, Schema, Table, quoted, reflect
from gate.dataset.sources import Dependent, Given, Nullable, Reference, Source
from gate.dataset.texts import Span
from gate.model import PostgresServer

SAMPLE = 10_000  # rows of a table that are looked at
_RUNS = 200  # places of the table that they come from; fewer leave holes in histograms of growing times
_COUNTED = 20_000_000  # rows over which parents are counted
_BINS = 16
_FEW = 12  # different values that are listed one by one
_FREQUENT, _SHOWN = (
    0.05,
    4,
)  # a text that often is one of the first of a longer list, of which so many are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """Rows of each parent. bins: how many parents have 0, 1, 2 to 3, 4 to 7, ... rows."""

    parent: str
    parents: int
    mean: float
    median: int
    most: int
    without: float
    bins: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One column of the sample.

    what: "numbers", "times", "characters" (of texts), or empty where nothing is measured. low, high: the
    ends of the range, as the server writes them. bins: from low to high, of equal width, sixteen at most.
    values: all of a short list, or the most frequent ones, with their shares. nulls: share of NULL.
    distinct: in the sample.
    """

    name: str
    type: str
    nulls: float
    distinct: int
    what: str = ""
    low: str = ""
    high: str = ""
    bins: tuple[int, ...] = ()
    values: tuple[tuple[str, float], ...] = ()
    fan: Fan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One table. sample: rows looked at. rows_: some of them, a text or None for each column."""

    table: str
    rows: int
    sample: int
    looks: tuple[Look, ...]
    shown: tuple[tuple[str | None, ...], ...] = field(default=())


def preview(
    server: PostgresServer, database: str, plan: DataPlan, *, shown: int = 3, only: Sequence[str] = ()
) -> tuple[Preview, ...]:
    """A look at each table of the plan that gets rows, or at those named; nothing stays in the database.

    shown: sample rows of each table. Raises db.Error where the server refuses a row, which `describe`
    has tried before.
    """
    with db.connect(server, database) as conn:
        schema = reflect(conn)
        filled = {table.name: table for table in plan.tables}
        with conn.transaction(force_rollback=True):
            return tuple(
                _looked(conn, schema, filled, table, shown)
                for table in plan.tables
                if table.rows and (not only or table.name in only)
            )


def _looked(
    conn: db.Connection, schema: Schema, filled: dict[str, Filled], table: Filled, shown: int
) -> Preview:
    reflected = schema.table(table.name)
    sample(conn, "looked_at", reflected, table, _spans(table.rows))
    columns = [column for column in reflected.columns if column.name in dict(table.columns)]
    wanted = ", ".join(f"{quoted(c.name)}::text, {_measure(c)}" for c in columns)
    found = conn.execute(f"SELECT {wanted} FROM looked_at".encode()).fetchall()
    conn.execute("DROP TABLE looked_at")
    looks = []
    for place, column in enumerate(columns):
        texts = [row[2 * place] for row in found]
        measures = [row[2 * place + 1] for row in found]
        fan = _fan(conn, schema, filled, table, column)
        looks.append(_look(column, texts, measures, fan))
    spread = [
        found[k * max(len(found) - 1, 0) // max(shown - 1, 1)][::2] for k in range(min(shown, len(found)))
    ]
    return Preview(
        table=table.name, rows=table.rows, sample=len(found), looks=tuple(looks), shown=tuple(spread)
    )


def sample(conn: db.Connection, name: str, table: Table, filled: Filled, spans: Sequence[Span]) -> None:
    """A temporary table of these generated rows, with the columns that COPY fills and no constraint."""
    names = ", ".join(quoted(column) for column, _ in filled.columns)
    conn.execute(
        f"CREATE TEMPORARY TABLE {quoted(name)} AS SELECT {names} FROM {table.quoted} LIMIT 0".encode()
    )
    with conn.cursor().copy(f"COPY {quoted(name)} ({names}) FROM STDIN (FORMAT binary)".encode()) as copy:
        copy.write(encode.HEADER)
        for span in spans:
            copy.write(filled.encoded(span).tobytes())
        copy.write(encode.TRAILER)


def _spans(rows: int) -> list[Span]:
    """All rows of a small table, else runs of them spread over it."""
    if rows <= SAMPLE:
        return [Span(0, rows)]
    run = SAMPLE // _RUNS
    starts = [k * (rows - run) // (_RUNS - 1) for k in range(_RUNS)]
    return [Span(start, start + run) for start in starts]


def _measure(column: Column) -> str:
    """The number that a column's histogram is over, as SQL."""
    name = quoted(column.name)
    if column.type in (*INTEGERS, *FLOATS, "numeric"):
        return f"{name}::float8"
    if column.type in TIMES:
        return f"extract(epoch FROM {name})::float8"
    return f"length({name}::text)::float8" if column.type in (*TEXTS, "json", "jsonb") else "NULL::float8"


def _look(column: Column, texts: list[str | None], measures: list[float | None], fan: Fan | None) -> Look:
    present = [text for text in texts if text is not None]
    counts = Counter(present)
    values = [(text, count / len(present)) for text, count in counts.most_common(_FEW)]
    if fan is not None or len(present) == len(counts):
        values = []
    elif len(counts) > _FEW:
        values = values[:_SHOWN] if column.type in TEXTS and values[0][1] >= _FREQUENT else []
    known = np.array([m for m in measures if m is not None], dtype=np.float64)
    look = Look(
        name=column.name,
        type=column.declared,
        nulls=1.0 - len(present) / max(len(texts), 1),
        distinct=len(counts),
        values=tuple(values),
        fan=fan,
    )
    if not len(known) or values or fan is not None:
        return look
    return _measured(look, column, texts, measures, known)


def _measured(
    look: Look, column: Column, texts: list[str | None], measures: list[float | None], known: np.ndarray
) -> Look:
    low, high = float(known.min()), float(known.max())
    characters = column.type not in (*INTEGERS, *FLOATS, "numeric", *TIMES)
    count, ends = _BINS, (low, high if high > low else low + 1)
    if (characters or column.type in INTEGERS) and high - low < _BINS:
        count, ends = int(high - low) + 1, (low - 0.5, high + 0.5)  # one for each whole number
    bins, _ = np.histogram(known, bins=count, range=ends)
    said = {m: text for m, text in zip(measures, texts, strict=True) if m in (low, high)}
    return Look(
        name=look.name,
        type=look.type,
        nulls=look.nulls,
        distinct=look.distinct,
        what="characters" if characters else "times" if column.type in TIMES else "numbers",
        low=f"{low:.0f}" if characters else str(said[low]),
        high=f"{high:.0f}" if characters else str(said[high]),
        bins=tuple(bins.tolist()),
    )


# Parents


def _fan(
    conn: db.Connection, schema: Schema, filled: dict[str, Filled], table: Filled, column: Column
) -> Fan | None:
    """How many rows the parents have that a column refers to; None where it refers to none."""
    source = dict(table.columns)[column.name]
    key = next((k for k in schema.table(table.name).keys if k.columns[0] == column.name), None)
    inner = _inner(source)
    if key is None or not key.target or inner is None:
        return None
    target = schema.table(key.target)
    if key.target in filled:
        parents = filled[key.target].rows
    else:
        parents = int(conn.execute(f"SELECT count(*) FROM {target.quoted}".encode()).fetchall()[0][0])
    counts = np.zeros(parents, dtype=np.int64)
    for start in range(0, min(table.rows, _COUNTED), 1_000_000):
        span = Span(start, min(start + 1_000_000, table.rows, _COUNTED))
        places = inner.place.places(span)
        nulls = _nulls(source, span)
        counts += np.bincount(places if nulls is None else places[~nulls], minlength=parents)
    widest = int(counts.max(initial=0)).bit_length()
    sizes = np.ceil(np.log2(counts + 1.0)).astype(np.int64)  # 0, 1, 2-3, 4-7, ...
    return Fan(
        parent=key.target,
        parents=parents,
        mean=float(counts.mean()) if parents else 0.0,
        median=int(np.median(counts)) if parents else 0,
        most=int(counts.max(initial=0)),
        without=float((counts == 0).mean()) if parents else 0.0,
        bins=tuple(np.bincount(sizes, minlength=widest + 1).tolist()),
    )


def _inner(source: Source) -> Reference | None:
    while isinstance(source, Nullable | Dependent):
        source = source.source
    return source if isinstance(source, Reference) else None


def _nulls(source: Source, span: Span) -> np.ndarray | None:
    """Which rows are NULL."""
    return source.field(span).nulls if isinstance(source, Nullable | Dependent | Given) else None
