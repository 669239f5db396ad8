"""Whether a database holds the data set that its specification describes.

Rows are counted and compared with those that the generator gives, by the server itself and in any order;
constraints are asked about, valid or not. The generated rows go into temporary tables, so nothing stays.
"""

# ruff: noqa: S608 - statements are made of the catalogue's own names, quoted

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gate import db
from gate.dataset import encode
from gate.dataset.load import digest_of, encoded
from gate.dataset.plan import DataPlan
from gate.dataset.rehearsal import Filled
from gate.dataset.schema import Schema, Table, quoted, reflect, said
from gate.dataset.streams import shuffled
from gate.model import PostgresServer

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One table. rows, wanted: there, and by the specification. same: every row is the generated one."""

    table: str
    rows: int
    wanted: int
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """digest: of what the generator gives now, as a template of it would have. left: (table, rows) of
    tables that are not the data set's. constraints: how many were asked about. problems: what is wrong."""

    tables: tuple[Counted, ...]
    left: tuple[tuple[str, int], ...]
    digest: str
    constraints: int
    problems: tuple[str, ...]


def verify(server: PostgresServer, database: str, plan: DataPlan, *, notify: Notify) -> Verified:
    """Compare a database with the plan. Nothing in it is changed. Raises db.Error where it may not be read.

    Takes about as long as seeding did: the rows are made and sent once more.
    """
    problems: list[str] = []
    counted: list[Counted] = []
    digests: list[tuple[str, int, str]] = []
    try:
        with db.connect(server, database) as conn, conn.transaction(force_rollback=True):
            schema = reflect(conn)
            for filled in plan.tables:
                notify(f"verifying {filled.name}")
                one, found = _compared(conn, schema.table(filled.name), filled)
                counted.append(one)
                if filled.rows:
                    digests.append((filled.name, filled.rows, found))
                problems += _differences(one)
            left = tuple((name, _count(conn, schema.table(name))) for name in plan.left)
            notify("verifying constraints")
            asked, broken = constraints(conn, schema, frozenset(t.name for t in plan.tables if t.rows))
    finally:
        shuffled.cache_clear()
    return Verified(
        tables=tuple(counted),
        left=left,
        digest=digest_of(digests),
        constraints=asked,
        problems=(*problems, *broken),
    )


def _differences(one: Counted) -> Iterator[str]:
    if one.rows != one.wanted:
        yield f"{one.table}: {one.rows:,} rows, the specification has {one.wanted:,}"
    elif not one.same:
        yield f"{one.table}: its rows are not those of the specification"


def _count(conn: db.Connection, table: Table) -> int:
    return int(conn.execute(f"SELECT count(*) FROM {table.quoted}".encode()).fetchall()[0][0])


def _compared(conn: db.Connection, table: Table, filled: Filled) -> tuple[Counted, str]:
    """One table against its generated rows, and the digest of these."""
    if not filled.rows:
        rows = _count(conn, table)
        return Counted(table=table.name, rows=rows, wanted=0, same=rows == 0), ""
    names = ", ".join(quoted(name) for name, _ in filled.columns)
    state = hashlib.blake2b(digest_size=20)
    conn.execute(f"CREATE TEMPORARY TABLE generated AS SELECT {names} FROM {table.quoted} LIMIT 0".encode())
    with conn.cursor().copy(f"COPY generated ({names}) FROM STDIN (FORMAT binary)".encode()) as copy:
        copy.write(encode.HEADER)
        for chunk, stable in encoded(filled):
            copy.write(chunk)
            state.update(stable)
        copy.write(encode.TRAILER)
    there, mine = _sum(conn, table.quoted, names), _sum(conn, "generated", names)
    conn.execute("DROP TABLE generated")
    one = Counted(table=table.name, rows=there[0], wanted=mine[0], same=there == mine)
    return one, state.hexdigest()


def _sum(conn: db.Connection, table: str, names: str) -> tuple[int, str]:
    """(rows, sum of their hashes): the same for the same rows in any order."""
    statement = (
        f"SELECT count(*), coalesce(sum(hashtextextended(ROW({names})::text, 0)::numeric), 0) FROM {table}"
    )
    count, total = conn.execute(statement.encode()).fetchall()[0]
    return int(count), str(total)


# Constraints


def constraints(conn: db.Connection, schema: Schema, filled: frozenset[str]) -> tuple[int, list[str]]:
    """How many constraints were asked about, and those that rows break or that were never checked.

    Those of the filled tables, and of tables that refer to them.
    """
    asked = 0
    concerned = [t for t in schema.tables if t.name in filled or {k.target for k in t.keys} & filled]
    invalid = conn.execute(_INVALID, {"tables": [table.oid for table in concerned]}).fetchall()
    problems = [f"{table}: {name} was never validated" for table, name in invalid]
    for table in concerned:
        for name, statement in _questions(schema, table):
            asked += 1
            try:
                with conn.transaction():
                    count = int(conn.execute(statement.encode()).fetchall()[0][0])
            except db.Error as error:
                problems.append(f"{table.name}: {name} could not be asked about: {said(error)}")
                continue
            if count:
                problems.append(f"{table.name}: {count:,} rows break {name}")
    return asked, problems


def _questions(schema: Schema, table: Table) -> Iterator[tuple[str, str]]:
    """(constraint, statement that counts the rows that break it)."""
    for key in table.keys:
        if not key.target:
            continue
        target = schema.table(key.target)
        pairs = list(zip(key.columns, key.target_columns, strict=True))
        joined = " AND ".join(f"p.{quoted(theirs)} = c.{quoted(mine)}" for mine, theirs in pairs)
        whole = " AND ".join(f"c.{quoted(mine)} IS NOT NULL" for mine, _ in pairs)
        yield (
            key.name,
            f"SELECT count(*) FROM {table.quoted} c WHERE {whole} "
            f"AND NOT EXISTS (SELECT FROM {target.quoted} p WHERE {joined})",
        )
    for check in table.checks:
        expression = (
            check.expression.removeprefix("CHECK ").removesuffix(" NO INHERIT").removesuffix(" NOT VALID")
        )
        yield check.name, f"SELECT count(*) FROM {table.quoted} WHERE NOT {expression}"
    for unique in table.uniques:
        if unique.expression:
            continue  # the index itself, which is valid, is asked about by its state alone
        columns = ", ".join(quoted(name) for name in unique.columns)
        present = (
            "" if unique.nulls_equal else " AND ".join(f"{quoted(n)} IS NOT NULL" for n in unique.columns)
        )
        where = " AND ".join(f"({part})" for part in (present, unique.predicate) if part) or "true"
        yield (
            unique.name,
            f"SELECT count(*) FROM (SELECT FROM {table.quoted} WHERE {where} "
            f"GROUP BY {columns} HAVING count(*) > 1) AS twice",
        )


_INVALID = """
SELECT k.conrelid::regclass::text, k.conname FROM pg_constraint k
WHERE NOT k.convalidated AND k.conrelid::bigint = ANY(%(tables)s)
UNION ALL
SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text FROM pg_index i
WHERE NOT i.indisvalid AND i.indrelid::bigint = ANY(%(tables)s)
ORDER BY 1, 2
"""
