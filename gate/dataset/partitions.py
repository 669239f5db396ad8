"""Where the rows of partitioned tables may lie, and whether the generated ones do.

What the bounds of the partitions say of single columns becomes rules (lists, limits) and windows (the
default range of a number or a time). Everything else, such as bounds over several columns, expressions
or a user's own values, is judged by the server, on rows of the key's columns alone.
"""

# ruff: noqa: S608 - statements are made of the catalogue's own names, quoted

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gate import db
from gate.dataset import encode, forms, names
from gate.dataset.checks import Bound, Node, OneOf, Present, Rule, columns_in, conjuncts, parse, rule_of
from gate.dataset.rehearsal import Filled
from gate.dataset.schema import Column, Leaf, Partitioning, Table, quoted
from gate.dataset.sources import DAY
from gate.dataset.texts import Span

EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
Window = tuple[float, float]
_NUMBERS = (*forms.INTEGERS, *forms.FLOATS, "numeric")
_TRIED = 50_000  # rows of a table whose places are judged
_RUN = 100  # of them stand together
_NAMED = 3  # partitions that a message names


@dataclass(frozen=True, slots=True)
class _Range:
    """From `low` to below `high`; times in microseconds after 2000-01-01 UTC."""

    low: float = -math.inf
    high: float = math.inf


# What the bounds say


def rules(table: Table) -> tuple[Rule, ...]:
    """What the partitions ask of single columns, as checks would: presence, lists, limits of numbers."""
    parted = table.partitioning
    if parted is None:
        return ()
    found: list[Rule] = []
    for column in (table.column(name) for name in parted.columns):
        found.append(Present(column.name))
        values = tuple(dict.fromkeys(v for leaf in parted.leaves for v in _listed(leaf, column)))
        if values:
            found.append(OneOf(column.name, values))
        ranges = [_ranged(leaf, column) for leaf in parted.leaves]
        if column.type in _NUMBERS and ranges and None not in ranges:
            known = [each for each in ranges if each is not None]
            found += _limits(column, min(r.low for r in known), max(r.high for r in known))
    return tuple(found)


def _limits(column: Column, low: float, high: float) -> Iterator[Rule]:
    if math.isfinite(low):
        yield Bound(column.name, ">=", low)
    if math.isfinite(high):
        yield Bound(column.name, "<", high)


def windows(table: Table, origin: int) -> dict[str, Window]:
    """(low, high), both included, of the key columns that hold numbers or times, where partitions bound them.

    Where ranges leave a gap, the longest run without one. Of times (microseconds after 2000-01-01) the part
    before `origin`, or before what the column's name says; a run wholly after it stays whole. Numbers
    may be infinite on one side.
    """
    parted = table.partitioning
    found: dict[str, Window] = {}
    if parted is None:
        return found
    for column in (table.column(name) for name in parted.columns):
        ranges = [r for leaf in parted.leaves if (r := _ranged(leaf, column)) is not None]
        if not ranges:
            continue
        if column.type in forms.TIMES:
            found[column.name] = _past(_runs(ranges), names.time(column.name), origin)
        else:
            run = max(_runs(ranges), key=lambda each: each.high - each.low)
            found[column.name] = run.low, run.high - forms.step(column)
    return found


def _past(runs: list[_Range], said: names.Time, origin: int) -> Window:
    """The longest part of a run before the moment up to which a column's times are expected."""
    end = origin + max(said.high, 0.0) * DAY
    reach = max(said.high - said.low, 1.0) * DAY
    run = max(runs, key=lambda each: max(min(each.high, end) - each.low, 0.0))
    if run.low >= end:
        low, high = run.low, min(run.high, run.low + reach)
    else:
        high = min(run.high, end)
        low = max(run.low, high - reach) if math.isinf(run.low) else run.low
    return low, high - 1


def _runs(ranges: list[_Range]) -> list[_Range]:
    """Ranges that touch, as one; in order."""
    found: list[_Range] = []
    for each in sorted(ranges, key=lambda r: (r.low, r.high)):
        if found and each.low <= found[-1].high:
            found[-1] = _Range(found[-1].low, max(found[-1].high, each.high))
        else:
            found.append(each)
    return found


@functools.lru_cache(maxsize=10_000)
def _parts(condition: str) -> tuple[Node, ...]:
    """What must hold of the rows of a partition, as far as it is understood; asked for every column again."""
    tree = parse(condition)
    return () if tree is None else tuple(conjuncts(tree))


def _listed(leaf: Leaf, column: Column) -> Iterator[str]:
    """The values of a column that a partition takes, where it lists them."""
    for part in _parts(leaf.condition):
        rule = None if part.kind == "not" else rule_of(part)
        if isinstance(rule, OneOf) and rule.column == column.name:
            yield from rule.values


def _ranged(leaf: Leaf, column: Column) -> _Range | None:
    """The range of a column that a partition takes; None where it does not bound it so."""
    low, high, bounded = -math.inf, math.inf, False
    for part in _parts(leaf.condition):
        if part.kind not in (">=", "<") or (part.inner[0].kind, part.inner[1].kind) != ("column", "literal"):
            continue
        value = _number(column, part.inner[1].value) if part.inner[0].value == column.name else None
        if value is None:
            continue
        bounded = True
        low, high = (max(low, value), high) if part.kind == ">=" else (low, min(high, value))
    return _Range(low, high) if bounded and low < high else None


def _number(column: Column, text: str) -> float | None:
    """A bound as a number; None where the column holds none, or the text is not understood."""
    try:
        if column.type in forms.TIMES:
            if text in ("infinity", "-infinity"):
                return float(text)
            moment = datetime.datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
            return float((moment - EPOCH) // datetime.timedelta(microseconds=1))
        return float(text) if column.type in _NUMBERS else None
    except ValueError:
        return None


# What cannot be filled


def impossible(table: Table, parted: Partitioning) -> str | None:
    """Why no row can be loaded into a partitioned table; None where some can."""
    if not parted.leaves:
        return f"{table.name} is partitioned by {parted.key} and has no partition: create one in a migration"
    foreign = [leaf.name for leaf in parted.leaves if leaf.foreign]
    return f"{table.name}: its partition {foreign[0]} is a foreign table" if foreign else None


def misplaced(
    conn: db.Connection, table: Table, filled: Filled, *, windows: Mapping[str, Window], origin: int
) -> str | None:
    """The problem, where generated rows have no partition: bounds, one such row, and what solves it.

    Up to 50,000 rows, spread over the table, are judged by the server, with the columns alone that the
    bounds are about; all within a transaction that is rolled back.
    """
    parted = table.partitioning
    if parted is None or not filled.rows:
        return None
    condition = " OR ".join(f"({leaf.condition})" for leaf in parted.leaves)
    about = columns_in(condition, frozenset(column.name for column in table.columns))
    sources = [(name, source) for name, source in filled.columns if name in about]
    if not about or {name for name, _ in sources} != set(about):
        return None  # anything goes; or a column takes its default, and the load itself judges
    spans = _spans(filled.rows)
    with conn.transaction(force_rollback=True):
        columns = ", ".join(quoted(name) for name, _ in sources)
        conn.execute(
            f"CREATE TEMPORARY TABLE placed AS SELECT {columns} FROM {table.quoted} LIMIT 0".encode()
        )
        with conn.cursor().copy(f"COPY placed ({columns}) FROM STDIN (FORMAT binary)".encode()) as copy:
            copy.write(encode.HEADER)
            for span in spans:
                copy.write(encode.rows([source.field(span) for _, source in sources], span.count).tobytes())
            copy.write(encode.TRAILER)
        statement = f"SELECT count(*), min(ROW({columns})::text) FROM placed WHERE ({condition}) IS FALSE"
        count, example = conn.execute(statement.encode()).fetchall()[0]
    if not count:
        return None
    tried = sum(span.count for span in spans)
    bounds = ", ".join(f"{leaf.name} {leaf.bound}" for leaf in parted.leaves[:_NAMED])
    more = len(parted.leaves) - _NAMED
    return (
        f"{table.name}: {count:,} of {tried:,} generated rows have no partition, such as "
        f"({', '.join(name for name, _ in sources)}) = {example}; it is partitioned by {parted.key}: {bounds}"
        + (f" and {more} more" if more > 0 else "")
        + f"; {_solution(table, parted, windows, origin)}, add a partition, "
        f"or set dataset.tables.{table.name}.rows = 0"
    )


def _spans(rows: int) -> list[Span]:
    if rows <= _TRIED:
        return [Span(0, rows)]
    runs = _TRIED // _RUN
    starts = [k * (rows - _RUN) // (runs - 1) for k in range(runs)]
    return [Span(start, start + _RUN) for start in starts]


def _solution(table: Table, parted: Partitioning, windows: Mapping[str, Window], origin: int) -> str:
    """The overrides that bring the rows into the partitions."""
    found = []
    for column in (table.column(name) for name in parted.columns):
        place = f"dataset.tables.{table.name}.columns.{column.name}"
        key = next((key for key in table.keys if column.name in key.columns), None)
        values = tuple(dict.fromkeys(v for leaf in parted.leaves for v in _listed(leaf, column)))
        if key is not None:
            found.append(
                f"give {key.target} rows whose {', '.join(key.target_columns)} lie in them "
                f"(dataset.tables.{key.target})"
            )
        elif values:
            found.append(f"set {place}.values to some of {', '.join(values)}")
        elif column.name in windows:
            found.append(f"set {place}.{_ends(column, windows[column.name], origin)}")
        else:
            found.append(f"set {place}.values, .constant or .pattern")
    return " and ".join(found) or "set values for what the key is computed from"


def _ends(column: Column, window: Window, origin: int) -> str:
    """low and high of a column that lie within its window."""
    low, high = window
    if column.type in forms.TIMES:
        days = math.floor((origin - low) / DAY), math.ceil((origin - high) / DAY)
        return f"low = {days[0]} and .high = {days[1]} (days before as_of)"
    return f"low = {low:.15g} and .high = {high:.15g}"
