"""A specification from a production database's catalogue: how many, how often, how wide; never what.

Read are the schema, `pg_class.reltuples` and, of `pg_stats`, null_frac, avg_width, n_distinct and the first
number of most_common_freqs (the share of the hottest parent of a foreign key). No table is read, and of the
statistics neither most_common_vals nor histogram_bounds, which hold values of the table's rows.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gate import db
from gate.dataset import names
from gate.dataset.checks import Bound, Present, columns_in, rules
from gate.dataset.fanout import skew_for
from gate.dataset.forms import INTEGERS, TEXTS
from gate.dataset.plan import bookkeeping
from gate.dataset.schema import Column, ForeignKey, Schema, Table, reflect
from gate.dataset.streams import Stream
from gate.dataset.texts import Phrase, Running
from gate.model import PostgresServer

READ = (
    "the schema: tables, columns, types, defaults, keys, constraints and indexes",
    "pg_class.reltuples: rows of each table",
    "pg_stats: null_frac, avg_width and n_distinct of each column, and the first of most_common_freqs of "
    "columns that refer to another table",
)
_LOOKUP = 1_000  # rows up to which a table without foreign keys is taken for a list that `scale` leaves
_REPEATED = 10_000  # different values up to which a column is said to repeat them
_SHORT = 16  # bytes; what is narrower is a name or a code, of which the name of the column says more
_TIMEOUT = "60s"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the statistics say of one column. top: share of the most frequent value, None where none is."""

    nulls: float
    width: int
    distinct: float
    top: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """text: of the [dataset] table of a perf-gate.toml. rows: by table. unknown: tables never analysed."""

    text: str
    rows: Mapping[str, int]
    unknown: tuple[str, ...]


def shape(server: PostgresServer, database: str, *, scale: float = 1.0) -> Shape:
    """The shape of a database's contents; nothing is written to it, and no row is read.

    scale: of the specification, by which the rows found are multiplied when it is used. Raises db.Error
    where the catalogue may not be read.
    """
    with db.connect(server, database) as conn, conn.transaction(force_rollback=True):
        conn.execute("SET TRANSACTION READ ONLY")
        conn.execute(f"SET LOCAL statement_timeout = '{_TIMEOUT}'".encode())
        schema = reflect(conn, catalogue_only=True)
        rows = {int(oid): float(count or 0) for oid, count in conn.execute(_ROWS).fetchall()}
        referring = [(t.name, key.columns[0]) for t in schema.tables for key in t.keys]
        found = conn.execute(_STATISTICS, ([f"{t}\t{c}" for t, c in referring],)).fetchall()
    facts = {(str(t), str(c)): Facts(float(n), int(w), float(d), top) for t, c, n, w, d, top in found}
    known = {t.name: round(rows[t.oid]) for t in schema.tables if rows.get(t.oid, -1) >= 0}
    unknown = tuple(t.name for t in schema.tables if t.name not in known and not bookkeeping(t.name))
    lines = _Lines(schema, known, facts, scale).lines()
    return Shape(text="\n".join(lines) + "\n", rows=known, unknown=unknown)


class _Lines:
    """The lines of a specification."""

    def __init__(
        self,
        schema: Schema,
        rows: Mapping[str, int],
        facts: Mapping[tuple[str, str], Facts],
        scale: float,
    ) -> None:
        self._schema = schema
        self._rows = rows
        self._facts = facts
        self._scale = scale

    def lines(self) -> Iterator[str]:
        tables = [t for t in self._schema.tables if t.name in self._rows and not bookkeeping(t.name)]
        yield "[dataset]"
        yield f"scale = {self._scale:g}"
        yield ""
        yield "[dataset.production]"
        yield from (f"{_key(t.name)} = {self._rows[t.name]}" for t in tables if self._rows[t.name])
        for table in tables:
            yield ""
            yield from self._table(table)

    def _table(self, table: Table) -> Iterator[str]:
        rows = self._rows[table.name]
        lead = self._lead(table)
        yield f"[dataset.tables.{_key(table.name)}]"
        if lead is not None:
            yield f"per = {{ {self._per(table, lead)} }}"
        else:
            yield f"rows = {rows}"
        if rows and rows <= _LOOKUP and not table.keys and lead is None:
            yield "fixed = true"
        for column in table.columns if rows else ():
            settings = dict(self._column(table, column, lead))
            if settings:
                inner = ", ".join(f"{name} = {value}" for name, value in settings.items())
                yield f"columns.{_key(column.name)} = {{ {inner} }}"

    # Parents

    def _lead(self, table: Table) -> ForeignKey | None:
        """The parent within which the rows are told apart, as the playlist of its songs."""
        for unique in table.uniques:
            if len(unique.columns) < 2 or unique.predicate:
                continue
            for key in table.keys:
                parents = self._rows.get(key.target, 0)
                same = [k for k in table.keys if k.target == key.target]
                first = key.columns == unique.columns[: len(key.columns)] and key.columns != unique.columns
                if (
                    first
                    and parents
                    and len(same) == 1
                    and key.target != table.name
                    and self._rows[table.name]
                ):
                    return key
        return None

    def _per(self, table: Table, key: ForeignKey) -> str:
        rows, parents = self._rows[table.name], self._rows[key.target]
        facts = self._facts.get((table.name, key.columns[0]))
        mean = rows / parents
        said = [f"table = {json.dumps(key.target)}", f"mean = {_number(mean)}"]
        if facts is not None and facts.top is not None:
            said.append(f"max = {math.ceil(max(facts.top * rows, float(_number(mean))))}")
        elif facts is not None:
            said.append('distribution = "uniform"')
        return ", ".join(said)

    # Columns

    def _column(self, table: Table, column: Column, lead: ForeignKey | None) -> Iterator[tuple[str, str]]:
        facts = self._facts.get((table.name, column.name))
        if facts is None or column.generated:
            return
        key = next((k for k in table.keys if column.name in k.columns), None)
        if self._may_be_null(table, column) and (key is None or len(key.columns) == 1):
            yield "nulls", json.dumps(f"{_number(100 * facts.nulls)}%")
        apart = any(column.name in unique.columns for unique in table.uniques)
        if key is not None:
            if key != lead and not apart and len(key.columns) == 1 and key.target != table.name:
                yield from self._parents(key, facts)
        elif not apart and not column.sequence and not _parted_by(table, column):
            yield from self._contents(table, column, facts)

    def _may_be_null(self, table: Table, column: Column) -> bool:
        """Whether a share of NULL may be asked for."""
        if not column.nullable or any(u.nulls_equal and column.name in u.columns for u in table.uniques):
            return False
        referred = any(
            column.name in k.target_columns and k.target == table.name
            for t in self._schema.tables
            for k in t.keys
        )
        present = any(isinstance(rule, Present) and rule.column == column.name for rule in self._rules(table))
        return not referred and not present

    def _rules(self, table: Table) -> list[object]:
        return [rule for check in table.checks for rule in rules(check.expression) or ()]

    def _ruled(self, table: Table, column: Column) -> bool:
        """Whether a check says more of the column than a range: it must not be generated another way."""
        mine = frozenset((column.name,))
        for check in table.checks:
            found = rules(check.expression)
            plain = found is not None and all(isinstance(rule, Bound | Present) for rule in found)
            if columns_in(check.expression, mine) and not plain:
                return True
        return False

    def _parents(self, key: ForeignKey, facts: Facts) -> Iterator[tuple[str, str]]:
        parents = self._rows.get(key.target, 0)
        if parents < 2:
            return
        present = 1.0 - facts.nulls
        if facts.top is None or facts.top <= 1.5 * present / parents:
            yield "distribution", '"uniform"'
        else:
            yield "skew", _number(max(skew_for(parents, min(facts.top / max(present, 1e-9), 1.0)), 0.05))

    def _contents(self, table: Table, column: Column, facts: Facts) -> Iterator[tuple[str, str]]:
        """How many different values, and how long texts are."""
        if column.labels or column.domain_checks or self._ruled(table, column):
            return
        rows = self._rows[table.name]
        distinct = facts.distinct if facts.distinct >= 0 else -facts.distinct * rows
        texts = column.type in ("text", "varchar", "citext", "bpchar")
        numbers = column.type in INTEGERS
        if (texts or numbers) and 0 < distinct <= min(_REPEATED, rows / 2):
            yield "distinct", str(max(round(distinct), 1))
        elif column.type in TEXTS and texts and facts.width > _SHORT and _prose(table, column):
            yield "length", str(facts.width - 1)  # short texts have one byte of header


def _parted_by(table: Table, column: Column) -> bool:
    """Whether the partitions say what the column holds."""
    return table.partitioning is not None and column.name in table.partitioning.columns


def _prose(table: Table, column: Column) -> bool:
    """Whether the generator would write words there, and no mail address, code or path."""
    stem, suffix = names.text(column.name, table.name, Stream(), rows=1, most=None)
    return not suffix and all(isinstance(piece, Running | Phrase) for piece in stem)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _number(value: float) -> str:
    """Three digits, without an exponent, and never less than a thousandth but 0 itself."""
    short = max(float(f"{value:.3g}"), 0.001 if value else 0.0)
    return f"{short:.6f}".rstrip("0").rstrip(".")


_ROWS = """
SELECT c.oid::bigint,
       CASE WHEN c.relkind = 'r' THEN c.reltuples
            ELSE (SELECT CASE WHEN max(l.reltuples) < 0 THEN -1 ELSE sum(greatest(l.reltuples, 0)) END
                  FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid WHERE t.isleaf) END
FROM pg_class c
WHERE c.relkind IN ('r', 'p')
"""

# The frequency is asked for where it says how many rows the hottest parent has, and nowhere else.
_STATISTICS = """
SELECT n.name, s.attname, s.null_frac, s.avg_width, s.n_distinct,
       CASE WHEN n.name || E'\\t' || s.attname = ANY(%s) THEN s.most_common_freqs[1] END
FROM pg_stats s,
     LATERAL (SELECT CASE WHEN s.schemaname = 'public' THEN s.tablename::text
                          ELSE s.schemaname || '.' || s.tablename END) AS n(name)
WHERE s.schemaname NOT IN ('pg_catalog', 'information_schema') AND s.schemaname NOT LIKE 'pg\\_%%'
ORDER BY s.inherited, n.name, s.attname
"""
