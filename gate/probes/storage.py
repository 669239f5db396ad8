"""What a side's database looks like once everything was measured: sizes, and which indexes were used."""

from __future__ import annotations

import time
from collections.abc import Iterable

from gate import db
from gate.model import Index, PostgresServer, SideName, Storage

_LEAVING = 5.0  # seconds that the sessions of an application that was stopped have to go
_POLL = 0.02
_OBSERVED_FROM = "postgres"

_SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = %s AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

# Tables of the application without partitions, whose indexes are as many. One of a constraint is unique.
_TABLES = """
SELECT c.oid::bigint, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname,
       pg_total_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_%%'
ORDER BY 2
"""

_INDEXES = """
SELECT i.indrelid::bigint, c.relname, regexp_replace(pg_get_indexdef(i.indexrelid), '^.*? USING ', 'USING '),
       pg_relation_size(i.indexrelid), coalesce(s.idx_scan, 0),
       i.indisunique OR i.indisprimary OR i.indisexclusion
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.indexrelid
ORDER BY c.relname
"""


def storage(server: PostgresServer, database: str, side: SideName) -> tuple[Storage, ...]:
    """The tables of a database by name, once the sessions in it are over: they report what they used then.

    A clone begins with no uses counted, so that these are of what was measured on it.
    """
    with db.connect(server, _OBSERVED_FROM) as connection:
        deadline = time.monotonic() + _LEAVING
        while _count(connection, database) and time.monotonic() < deadline:
            time.sleep(_POLL)
    with db.connect(server, database) as connection:
        indexes: dict[int, list[Index]] = {}
        for table, name, definition, size, scans, unique in connection.execute(_INDEXES):
            found = Index(name=name, definition=definition, bytes=size, scans=scans, unique=unique)
            indexes.setdefault(table, []).append(found)
        return tuple(
            Storage(side=side, table=name, bytes=size, indexes=tuple(indexes.get(oid, ())))
            for oid, name, size in connection.execute(_TABLES)
        )


def joined(parts: Iterable[tuple[Storage, ...]]) -> tuple[Storage, ...]:
    """The same tables on several clones: an index was used where it was used on any; the largest sizes."""
    tables: dict[tuple[str, str], Storage] = {}
    for one in (table for part in parts for table in part):
        known = tables.get((one.side, one.table))
        tables[one.side, one.table] = _both(known, one) if known else one
    return tuple(tables[key] for key in sorted(tables))


def _both(one: Storage, other: Storage) -> Storage:
    scans = {index.name: index.scans for index in one.indexes}
    return Storage(
        side=one.side,
        table=one.table,
        bytes=max(one.bytes, other.bytes),
        indexes=tuple(
            Index(
                name=index.name,
                definition=index.definition,
                bytes=index.bytes,
                scans=index.scans + scans.get(index.name, 0),
                unique=index.unique,
            )
            for index in other.indexes
        ),
    )


def _count(connection: db.Connection, database: str) -> int:
    row = connection.execute(_SESSIONS, (database,)).fetchone()
    return int(row[0]) if row else 0
