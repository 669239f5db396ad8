"""The migrated database as values, read from its catalogues: any framework's schema looks the same here.

Constraints and indexes are kept as the server itself writes them, so that what is dropped for the
load is recreated word for word.
"""

# ruff: noqa: S608 - statements are made of constants and of the catalogue's own names, quoted

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from gate.db import Connection, Error

_SYSTEM = "NOT IN ('pg_catalog', 'information_schema') AND {0} NOT LIKE 'pg\\_%'"
_NAMESPACE = f"n.nspname {_SYSTEM.format('n.nspname')}"
_NOT_EXTENSION = "NOT EXISTS (SELECT FROM pg_depend x WHERE x.objid = {0} AND x.deptype = 'e')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    type: name of the base type, domains resolved ("int8", "varchar", "mood"); cast: the same as SQL
        writes it. modifier: atttypmod. declared: as a person writes it, with domain and limit.
    category: typcategory. labels: of an enum, also as elements. element: base type of an array.
    default: expression or empty. sequence: quoted name of the sequence behind it, or empty.
    generated: computed by the server. always: GENERATED ALWAYS AS IDENTITY.
    domain_checks: expressions over VALUE.
    """

    name: str
    type: str
    cast: str
    modifier: int
    declared: str
    category: str
    labels: tuple[str, ...] = ()
    element: str = ""
    element_oid: int = 0
    nullable: bool = True
    default: str = ""
    sequence: str = ""
    generated: bool = False
    domain_checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """columns refer to `target_columns` of the table named `target`, in this order."""

    name: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """A set of columns of which no two rows may share the values.

    predicate: of a partial index, else empty. expression: a key is an expression over the columns.
    nulls_equal: NULLS NOT DISTINCT. primary: the primary key.
    """

    name: str
    columns: tuple[str, ...]
    predicate: str = ""
    expression: bool = False
    nulls_equal: bool = False
    primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """expression: as pg_get_constraintdef writes it."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One partition that holds rows itself.

    bound: its place among its siblings, as the server writes it. condition: what every row in it meets, as
    an expression over the columns: its bounds, those of all partitions above it, and its own checks.
    foreign: a foreign table.
    """

    name: str
    bound: str
    condition: str
    foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioning:
    """How the rows of a table are parted. key: "RANGE (created_at)". columns: of this key, and of those of
    partitions that are parted in turn."""

    key: str
    columns: tuple[str, ...]
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One ordinary or partitioned table.

    name: plain in schema public, else "schema.table". rows: before anything is generated; counted
        up to 1. indexes: the columns of each index, for the estimate of its size.
    exclusions: names of exclusion constraints. partitioning: None of an ordinary table.
    """

    oid: int
    name: str
    quoted: str
    occupied: bool
    columns: tuple[Column, ...]
    keys: tuple[ForeignKey, ...]
    uniques: tuple[Unique, ...]
    checks: tuple[Check, ...]
    exclusions: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...]
    partitioning: Partitioning | None = None

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """All tables, sorted by name; text: everything the schema consists of, one object per line."""

    tables: tuple[Table, ...]
    text: str

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def said(error: Error) -> str:
    """The first line of what the server says; further lines repeat the statement."""
    return str(error).strip().partition("\n")[0]


def reflect(conn: Connection, *, catalogue_only: bool = False) -> Schema:
    """Read the whole schema; about ten catalogue queries.

    catalogue_only: no table is touched, not even to see whether it holds rows; all then count as empty.
    """
    found = conn.execute(_TABLES).fetchall()
    names = {
        oid: relation if schema == "public" else f"{schema}.{relation}" for oid, schema, relation in found
    }
    parted = _partitioned(conn)
    columns = _columns(conn)
    constraints = conn.execute(_CONSTRAINTS).fetchall()
    indexes = conn.execute(_INDEXES).fetchall()
    tables = [
        Table(
            oid=oid,
            name=names[oid],
            quoted=f"{quoted(schema)}.{quoted(relation)}",
            occupied=not catalogue_only and _occupied(conn, f"{quoted(schema)}.{quoted(relation)}"),
            columns=columns.get(oid, ()),
            keys=tuple(
                ForeignKey(
                    name=name, columns=tuple(mine), target=names.get(target, ""), target_columns=tuple(theirs)
                )
                for owner, kind_, name, mine, target, theirs, _ in constraints
                if owner == oid and kind_ == "f"
            ),
            uniques=tuple(_unique(row, columns[oid]) for row in indexes if row[0] == oid and row[3]),
            checks=tuple(
                Check(name=name, expression=text)
                for owner, kind_, name, _, _, _, text in constraints
                if owner == oid and kind_ == "c"
            ),
            exclusions=tuple(row[2] for row in constraints if row[0] == oid and row[1] == "x"),
            indexes=tuple(tuple(row[2] or ()) for row in indexes if row[0] == oid),
            partitioning=parted.get(oid),
        )
        for oid, schema, relation in found
    ]
    text = "" if catalogue_only else _text(conn)
    return Schema(tables=tuple(sorted(tables, key=lambda table: table.name)), text=text)


def _occupied(conn: Connection, table: str) -> bool:
    return conn.execute(f"SELECT EXISTS (SELECT FROM {table})").fetchall()[0][0] is True


def _partitioned(conn: Connection) -> dict[int, Partitioning]:
    found: dict[int, tuple[str, tuple[str, ...], list[Leaf]]] = {}
    for oid, key, columns, name, bound, condition, foreign in conn.execute(_PARTITIONS).fetchall():
        leaves = found.setdefault(oid, (key, tuple(columns), []))[2]
        if name is not None:
            leaves.append(Leaf(name=name, bound=bound or "", condition=condition, foreign=foreign))
    return {
        oid: Partitioning(key=key, columns=columns, leaves=tuple(leaves))
        for oid, (key, columns, leaves) in found.items()
    }


def _columns(conn: Connection) -> dict[int, tuple[Column, ...]]:
    types = {row[0]: row for row in conn.execute(_TYPES).fetchall()}
    domain_checks: dict[int, list[str]] = {}
    for domain, text in conn.execute(_DOMAIN_CHECKS).fetchall():
        domain_checks.setdefault(domain, []).append(text)
    found: dict[int, list[Column]] = {}
    for row in conn.execute(_COLUMNS).fetchall():
        found.setdefault(row[0], []).append(_column(row, types, domain_checks))
    return {oid: tuple(columns) for oid, columns in found.items()}


def _column(row: tuple[Any, ...], types: dict[int, tuple[Any, ...]], checks: dict[int, list[str]]) -> Column:
    _, name, oid, modifier, declared, required, default, generated, identity, sequence = row
    found: list[str] = []
    while types[oid][2] == "d":  # a domain may stand over another domain
        found += checks.get(oid, [])
        required = required or types[oid][6]
        modifier = types[oid][5] if modifier < 0 else modifier
        default = default or types[oid][8] or ""
        oid = types[oid][4]
    _, base, _, element, _, _, _, labels, _, category, cast = types[oid]
    element_type = types.get(element) if category == "A" else None
    return Column(
        name=name,
        type=base,
        cast=cast,
        modifier=modifier,
        declared=declared,
        category=category,
        labels=tuple(labels or (types[element][7] if element_type else None) or ()),
        element=element_type[1] if element_type else "",
        element_oid=element if element_type else 0,
        nullable=not required,
        default="" if generated or identity else default or "",
        sequence=sequence or "",
        generated=bool(generated),
        domain_checks=tuple(found),
    )


def _unique(row: tuple[Any, ...], columns: tuple[Column, ...]) -> Unique:
    from gate.dataset.checks import columns_in

    _, name, plain, _, primary, predicate, nulls_equal, expressions = row
    known = frozenset(column.name for column in columns)
    mentioned = tuple(column for text in expressions or () for column in columns_in(text, known))
    return Unique(
        name=name,
        columns=tuple(dict.fromkeys((*(plain or ()), *mentioned))),
        predicate=predicate or "",
        expression=bool(expressions),
        nulls_equal=nulls_equal,
        primary=primary,
    )


def _text(conn: Connection) -> str:
    """Every object that a template carries, in words that do not hold object numbers of one database."""
    return "\n".join(
        "\t".join("" if part is None else str(part) for part in row) for row in conn.execute(_EVERYTHING)
    )


def contents(conn: Connection, table: Table) -> str:
    """A digest of the rows a migration has put into a table, without its times of day."""
    kept = [c for c in table.columns if c.category not in ("D", "T") and not c.generated]
    row = "ROW(" + ", ".join(quoted(column.name) for column in kept) + ")::text"
    statement = (
        "SELECT count(*), md5(coalesce(string_agg(r, E'\\n' ORDER BY r), '')) "
        f"FROM (SELECT {row} FROM {table.quoted}) AS t(r)"
    )
    count, found = conn.execute(statement).fetchall()[0]
    return f"{table.name}\t{count}\t{found}"


def digest(*parts: str, size: int = 20) -> str:
    """One name for several texts: hexadecimal, `size` bytes."""
    state = hashlib.blake2b(digest_size=size)
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()


_TABLES = f"""
SELECT c.oid::bigint, n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND {_NAMESPACE} AND {_NOT_EXTENSION.format("c.oid")}
ORDER BY c.oid
"""

_COLUMNS = f"""
SELECT a.attrelid::bigint, a.attname, a.atttypid::bigint, a.atttypmod,
       format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
       a.attgenerated::text <> '', a.attidentity::text <> '',
       (SELECT quote_ident(sn.nspname) || '.' || quote_ident(s.relname)
        FROM pg_depend p JOIN pg_class s ON s.oid = p.objid JOIN pg_namespace sn ON sn.oid = s.relnamespace
        WHERE p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum
          AND p.classid = 'pg_class'::regclass AND s.relkind = 'S' AND p.deptype IN ('a', 'i')
        UNION
        SELECT quote_ident(sn.nspname) || '.' || quote_ident(s.relname)
        FROM pg_depend p JOIN pg_class s ON s.oid = p.refobjid JOIN pg_namespace sn ON sn.oid = s.relnamespace
        WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
          AND p.refclassid = 'pg_class'::regclass AND s.relkind = 'S'
        LIMIT 1)
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND {_NAMESPACE}
ORDER BY a.attrelid, a.attnum
"""

_PARTITIONS = f"""
SELECT c.oid::bigint, pg_get_partkeydef(c.oid),
       ARRAY(SELECT DISTINCT a.attname::text
             FROM pg_partition_tree(c.oid) t JOIN pg_partitioned_table k ON k.partrelid = t.relid
             CROSS JOIN LATERAL unnest(k.partattrs::int2[]) u(num)
             JOIN pg_attribute a ON a.attrelid = t.relid AND a.attnum = u.num ORDER BY 1),
       l.oid::regclass::text, pg_get_expr(l.relpartbound, l.oid),
       concat_ws(' AND ', coalesce(pg_get_partition_constraintdef(l.oid), 'true'),
                 (SELECT string_agg('(' || pg_get_expr(k.conbin, k.conrelid) || ')', ' AND ' ORDER BY k.oid)
                  FROM pg_constraint k WHERE k.conrelid = l.oid AND k.contype = 'c' AND k.coninhcount = 0)),
       l.relkind = 'f'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (SELECT m.* FROM pg_partition_tree(c.oid) t JOIN pg_class m ON m.oid = t.relid
                   WHERE t.isleaf) l ON true
WHERE c.relkind = 'p' AND NOT c.relispartition AND {_NAMESPACE}
ORDER BY c.oid, l.oid
"""

_TYPES = """
SELECT t.oid::bigint, t.typname, t.typtype::text, t.typelem::bigint, t.typbasetype::bigint, t.typtypmod,
       t.typnotnull,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_enum e WHERE e.enumtypid = t.oid),
       t.typdefault, t.typcategory::text, format_type(t.oid, -1)
FROM pg_type t
"""

_DOMAIN_CHECKS = """
SELECT contypid::bigint, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contypid <> 0 AND contype = 'c' ORDER BY oid
"""

_CONSTRAINTS = f"""
SELECT k.conrelid::bigint, k.contype::text, k.conname,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(num, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place),
       k.confrelid::bigint,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(num, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.place),
       pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_NAMESPACE} AND k.contype IN ('f', 'c', 'x')
  AND k.conparentid = 0  -- one more for each partition that a key leads to
ORDER BY k.oid
"""

_INDEXES = f"""
SELECT i.indrelid::bigint, x.relname,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY u(num, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.num
             WHERE u.place <= i.indnkeyatts ORDER BY u.place),
       i.indisunique, i.indisprimary, pg_get_expr(i.indpred, i.indrelid),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       (SELECT array_agg(pg_get_indexdef(i.indexrelid, u.place::int, true) ORDER BY u.place)
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY u(num, place)
        WHERE u.num = 0 AND u.place <= i.indnkeyatts)
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_NAMESPACE} AND c.relkind IN ('r', 'p')
ORDER BY i.indexrelid
"""

# Constraints and indexes in the order of their creation, which decides between plans of equal cost;
# the rest sorted by name. All of it is in the template, so all of it is in the template's key.
_EVERYTHING = f"""
SELECT kind, place, name, text FROM (
  SELECT 1 AS kind, 0::bigint AS place,
         format('%s.%s.%s', n.nspname, c.relname, lpad(a.attnum::text, 5, '0')) AS name,
         concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                   pg_get_expr(d.adbin, d.adrelid), a.attgenerated, a.attidentity, a.attstorage,
                   to_jsonb(a) ->> 'attstattarget') AS text
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND {_NAMESPACE}
  UNION ALL
  SELECT 2, row_number() OVER (ORDER BY i.indexrelid), x.relname::text, pg_get_indexdef(i.indexrelid)
  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
  WHERE {_NAMESPACE}
  UNION ALL
  SELECT 3, row_number() OVER (ORDER BY k.oid), format('%s %s', k.conrelid::regclass, k.conname),
         pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE {_NAMESPACE}
  UNION ALL
  SELECT 4, 0, c.oid::regclass::text,
         concat_ws(' ', c.relkind, c.relpersistence, c.reloptions::text, pg_get_partkeydef(c.oid),
                   (SELECT h.inhparent::regclass FROM pg_inherits h
                    WHERE h.inhrelid = c.oid AND c.relispartition),
                   pg_get_expr(c.relpartbound, c.oid),
                   CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm') AND {_NAMESPACE} AND {_NOT_EXTENSION.format("c.oid")}
  UNION ALL
  SELECT 6, 0, p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE p.prokind IN ('f', 'p') AND {_NAMESPACE} AND {_NOT_EXTENSION.format("p.oid")}
  UNION ALL
  SELECT 7, 0, format('%s %s', t.tgrelid::regclass, t.tgname),
         concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid))
  FROM pg_trigger t WHERE NOT t.tgisinternal
  UNION ALL
  SELECT 8, 0, e.extname::text, e.extversion FROM pg_extension e
  UNION ALL
  SELECT 9, 0, t.oid::regtype::text,
         concat_ws(' ', t.typtype, format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault,
                   (SELECT string_agg(l.enumlabel, ',' ORDER BY l.enumsortorder)
                    FROM pg_enum l WHERE l.enumtypid = t.oid))
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE t.typtype IN ('e', 'd') AND {_NAMESPACE}
  UNION ALL
  SELECT 10, 0, q.seqrelid::regclass::text,
         concat_ws(' ', q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcache, q.seqcycle,
                   format_type(q.seqtypid, -1))
  FROM pg_sequence q
  UNION ALL
  SELECT 11, 0, s.stxname::text, pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s
  UNION ALL
  SELECT 12, 0, format('%s %s', p.polrelid::regclass, p.polname),
         concat_ws(' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
                   pg_get_expr(p.polwithcheck, p.polrelid))
  FROM pg_policy p
) objects
ORDER BY kind, place, name, text
"""
