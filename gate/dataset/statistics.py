"""Planner statistics that are the same on every machine and cost the planner nothing.

ANALYZE reads 300 rows for each entry of the largest statistics target on the table, and keeps for each
column as many entries as that column's own target says. So a target of 10,000 on one throw-away
expression makes it read every row of up to 3 million, without chance, while every column keeps the
server's usual 100 entries: exact, and planned with as quickly as ever. (Raising the default target
instead gives 10,000 entries a column, and a self join then takes 13 ms to plan.)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from gate import db
from gate.dataset.schema import quoted
from gate.model import PostgresServer

_TARGET = 10_000
READ_WHOLE = 300 * _TARGET  # rows; larger tables are sampled at random

# Partitioned tables first, from the root down: ANALYZE goes on to the partitions of what it is asked for, and
# what it finds there by chance is replaced by what they are asked for themselves.
_TABLES = """
SELECT c.relkind = 'p', c.oid::regclass::text, quote_ident(n.nspname) || '.perf_gate_every_row_' || c.oid,
       (SELECT a.attname FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
        ORDER BY a.attnum LIMIT 1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY c.relkind <> 'p',
         CASE WHEN c.relkind = 'p' THEN (SELECT count(*) FROM pg_partition_ancestors(c.oid)) END,
         c.relpages DESC, c.oid
"""
# ANALYZE leaves what it once found in a table, partition or statistics object whose rows are gone.
_FORGET = """
DELETE FROM pg_statistic WHERE starelid IN (
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm', 'p', 'i')
    AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%')
"""
# The row itself stays: before 15 ANALYZE fails without it.
_FORGET_EXTENDED = """
UPDATE pg_statistic_ext_data
SET stxdndistinct = NULL, stxddependencies = NULL, stxdmcv = NULL, stxdexpr = NULL
"""
# A page whose rows were committed without waiting, as our servers do, is not marked as visible to all before
# the commit's record is on disk; a scan of an index alone then reads the page.
_WRITE_DOWN = ("SET synchronous_commit = on", "SELECT pg_logical_emit_message(true, 'perf-gate', '')")
_ONLY = 18  # the first major that can leave the partitions of a partitioned table out
_AT_ONCE = 2  # tables; a sealed template is built on machines with two cores or more


def collect(server: PostgresServer, database: str) -> tuple[str, ...]:
    """VACUUM (FREEZE) and ANALYZE the whole database; gives the tables too large to be read whole.

    Nothing is left of what was known before, of tables that lost all their rows either.
    """
    with db.connect(server, database) as conn:
        conn.execute(_FORGET)
        conn.execute(_FORGET_EXTENDED)
        for statement in _WRITE_DOWN:
            conn.execute(statement)
        conn.execute("VACUUM (FREEZE)")
        tables = [row for row in conn.execute(_TABLES).fetchall() if row[3] is not None]

    def one(row: tuple[bool, str, str, str]) -> tuple[str, bool]:
        with db.connect(server, database) as own:
            _analyze(own, *row[1:], only=row[0] and server.major >= _ONLY)
            return row[1], _rows(own, row[1]) > READ_WHOLE

    analysed = [one(row) for row in tables if row[0]]
    # The order in which other tables are analysed leaves no trace in what is found.
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        analysed += pool.map(one, (row for row in tables if not row[0]))
    return tuple(sorted(table for table, large in analysed if large))


def _analyze(conn: db.Connection, table: str, name: str, column: str, *, only: bool) -> None:
    """One table, every row. The expression is the cheapest there is: false in all rows of a key."""
    conn.execute(f"CREATE STATISTICS {name} ON ({quoted(column)} IS NULL) FROM {table}".encode())
    try:
        conn.execute(f"ALTER STATISTICS {name} SET STATISTICS {_TARGET}".encode())
        conn.execute(f"ANALYZE {'ONLY ' if only else ''}{table}".encode())
    finally:
        conn.execute(f"DROP STATISTICS {name}".encode())


def _rows(conn: db.Connection, table: str) -> float:
    return float(
        conn.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", (table,)).fetchall()[0][0]
    )
