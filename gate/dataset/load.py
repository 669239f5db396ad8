"""Fill the migrated database and seal it, or fill a database of the user's.

Constraints and indexes are dropped, the rows are streamed by COPY BINARY while a second thread
generates the next ones, then everything is recreated in its original order: six times faster than
loading into indexed tables, and the order decides between plans of equal cost.
"""

# ruff: noqa: S608 - statements are made of the catalogue's own names, quoted

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from gate import db
from gate.dataset import encode
from gate.dataset.plan import DataPlan
from gate.dataset.rehearsal import Filled
from gate.dataset.schema import digest, quoted, said
from gate.dataset.statistics import collect
from gate.dataset.streams import shuffled
from gate.dataset.templates import PREFIX, Template, seal
from gate.dataset.texts import Span
from gate.errors import EnvironmentFailure
from gate.model import PostgresServer

Notify = Callable[[str], None]
_AHEAD = 3  # encoded chunks waiting for the server
_MEMORY = "256MB"  # for building indexes; more changed nothing measurable at 6 M rows
_HELPERS = 1  # processes that sort beside the one that builds: two cores or more


@dataclass(frozen=True, slots=True)
class _Object:
    """An index or constraint that is dropped and recreated.

    sorted: its bytes are those of sorted rows, however many processes sort them.
    """

    drop: str
    create: str
    what: str
    sorted: bool


def build(
    server: PostgresServer,
    database: str,
    plan: DataPlan,
    *,
    over: frozenset[str] = frozenset(),
    notify: Notify,
) -> Template:
    """Generate and load every row, then seal the database as the template of `plan.key`.

    The database loses its name. over: tables that may hold rows, which are removed. Raises EnvironmentFailure
    naming the table or constraint and the server's message; what is half filled then keeps its name and is
    no template.
    """
    loaded = _concerned(plan, over)
    try:
        with db.connect(server, database) as conn:
            digests = _loaded(conn, loaded, notify)
        started = time.monotonic()
        sampled = collect(server, database)
        notify(f"vacuum and statistics: {time.monotonic() - started:.1f} s")
    except db.Error as error:
        raise EnvironmentFailure(f"seeding failed: {said(error)}", where=f"database {database}") from error
    finally:
        shuffled.cache_clear()
    template = Template(
        key=plan.key,
        database=PREFIX + plan.key[:20],
        digest=digest_of(digests),
        rows=plan.rows,
        tables=tuple(digests),
        statistics=f"sampled: {', '.join(sampled)}" if sampled else "full",
    )
    seal(server, database, template)
    return template


def digest_of(tables: Iterable[tuple[str, int, str]]) -> str:
    """One digest of (name, rows, digest) of every filled table: what a data set is known by."""
    return digest(*(f"{name}\t{rows}\t{found}" for name, rows, found in tables))


def fill(
    server: PostgresServer,
    database: str,
    plan: DataPlan,
    *,
    over: frozenset[str] = frozenset(),
    notify: Notify,
) -> tuple[tuple[str, int, str], ...]:
    """Generate and load every row of the plan into a database that is not ours; gives (name, rows, digest).

    All in one transaction, so that it is done whole or not at all, and with the tables locked. over: tables
    that may hold rows, which are removed. Other tables lose at most, until the end, foreign keys that refer
    to the filled ones. Raises EnvironmentFailure, with everything as it was, where a table holds rows after
    all, or the server refuses.
    """
    loaded = _concerned(plan, over)
    try:
        with db.connect(server, database) as conn, conn.transaction():
            _locked(conn, loaded, over)
            digests = _loaded(conn, loaded, notify, ours=False)
        with db.connect(server, database) as conn:
            for table in loaded:
                conn.execute(f"ANALYZE {table.quoted}".encode())
    except db.Error as error:
        raise EnvironmentFailure(f"seeding failed: {said(error)}", where=f"database {database}") from error
    finally:
        shuffled.cache_clear()
    return tuple(digests)


def _concerned(plan: DataPlan, over: frozenset[str]) -> list[Filled]:
    """What gets rows, and what loses those it has."""
    return [table for table in plan.tables if table.rows or table.name in over]


def _locked(conn: db.Connection, tables: list[Filled], over: frozenset[str]) -> None:
    """Lock the tables, then look once more: what came in since the plan was made must not be removed."""
    if tables:
        conn.execute(f"LOCK TABLE {', '.join(table.quoted for table in tables)}".encode())
    for table in tables:
        found = conn.execute(f"SELECT EXISTS (SELECT FROM {table.quoted})".encode()).fetchall()[0][0]
        if found and table.name not in over:
            raise EnvironmentFailure(
                f"{table.name} holds rows by now; nothing was changed",
                where=f"table {table.name}",
                hint="stop what writes into the database, and seed again",
            )


def _loaded(
    conn: db.Connection, tables: list[Filled], notify: Notify, *, ours: bool = True
) -> list[tuple[str, int, str]]:
    """Rows, then constraints and indexes, then sequences; gives (name, rows, digest) of each table.

    ours: the database, and whoever connects, may do anything.
    """
    conn.execute(f"SET maintenance_work_mem = '{_MEMORY}'".encode())
    triggers = _quieted(conn, tables, ours=ours)
    names = [table.quoted for table in tables]
    objects = _objects(conn, names)
    attached = [] if ours else [row[0] for row in conn.execute(_ATTACHED, (names,) * 5).fetchall()]
    for item in reversed(objects):
        _run(conn, item.drop, item.what)
    digests = []
    for table in tables:
        if table.rows:
            digests.append((table.name, table.rows, _fill(conn, table, notify)))
        else:
            conn.execute(f"TRUNCATE {table.quoted} RESTART IDENTITY".encode())
    # Constraints are checked under the rules the application lives with.
    for statement in triggers:
        conn.execute(statement.encode())
    _recreate(conn, objects, notify)
    for statement in attached:
        conn.execute(statement.encode())
    _finish(conn, tables, views=ours)
    return digests


def _quieted(conn: db.Connection, tables: list[Filled], *, ours: bool) -> list[str]:
    """Silence the application's triggers; gives the statements that undo it.

    Only a superuser may silence all at once; an owner silences those of the tables one by one.
    """
    if ours:
        conn.execute("SET session_replication_role = replica")
        return ["SET session_replication_role = origin"]
    undo = []
    for table, name, enabled in conn.execute(_TRIGGERS, ([table.quoted for table in tables],)).fetchall():
        conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}".encode())
        undo.append(f"ALTER TABLE {table} ENABLE {_ENABLED[enabled]}TRIGGER {name}")
    return undo


def _run(conn: db.Connection, statement: str, what: str) -> None:
    try:
        conn.execute(statement.encode())
    except db.Error as error:
        raise EnvironmentFailure(
            f"seeding failed: {said(error)}",
            where=what,
            hint="see the constraint, or name its table in dataset.ignore",
        ) from error


# Constraints and indexes


def _objects(conn: db.Connection, tables: list[str]) -> list[_Object]:
    """What hinders the load, in the order of creation: foreign keys after the keys they refer to.

    Keys on which a view depends (GROUP BY a primary key) cannot be dropped and stay. So do indexes of
    partitioned tables, for each consists of one for every partition, with names and settings of their own.
    """
    found = (
        conn.execute(_INDEXES, (tables,)).fetchall()
        + conn.execute(_FOREIGN_KEYS, (tables, tables)).fetchall()
    )
    return [_object(*row[1:]) for row in sorted(found, key=lambda row: row[0])]


def _object(table: str, name: str, constraint: bool, definition: str, method: str) -> _Object:
    if not constraint:
        drop, create, what = f"DROP INDEX {name}", definition, f"index {name} of {table}"
    else:
        drop = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
        create = f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
        what = f"constraint {name} of {table}"
    return _Object(drop=drop, create=create, what=what, sorted=method == "btree")


def _recreate(conn: db.Connection, objects: list[_Object], notify: Notify) -> None:
    """One after the other, for their order stays in the catalogue; large ones with a second process each."""
    started = time.monotonic()
    for item in objects:
        helpers = _HELPERS if item.sorted else 0
        conn.execute(f"SET max_parallel_maintenance_workers = {helpers}".encode())
        _run(conn, item.create, item.what)
    notify(f"{len(objects)} constraints and indexes: {time.monotonic() - started:.1f} s")


# Rows


def _fill(conn: db.Connection, table: Filled, notify: Notify) -> str:
    """Load one table; gives the digest of its rows.

    TRUNCATE and COPY in one transaction: with wal_level minimal nothing is logged, and FREEZE may be
    used, which spares VACUUM from writing every page again. The server refuses it of partitioned tables.
    """
    names = ", ".join(quoted(name) for name, _ in table.columns)
    state = hashlib.blake2b(digest_size=20)
    started = time.monotonic()
    try:
        with conn.transaction():
            conn.execute(f"TRUNCATE {table.quoted} RESTART IDENTITY".encode())
            freeze = "" if table.partitioned else ", FREEZE"
            statement = f"COPY {table.quoted} ({names}) FROM STDIN (FORMAT binary{freeze})"
            with conn.cursor().copy(statement.encode()) as copy:
                copy.write(encode.HEADER)
                with contextlib.closing(_ahead(table)) as chunks:
                    for rows, stable in chunks:
                        copy.write(rows)
                        state.update(stable)
                copy.write(encode.TRAILER)
    except db.Error as error:
        message = f"loading {table.name} failed: {said(error)}"
        raise EnvironmentFailure(message, where=f"table {table.name}", hint=_HINT) from error
    seconds = max(time.monotonic() - started, 1e-9)
    notify(f"{table.name}: {table.rows:,} rows in {seconds:.1f} s ({table.rows / seconds / 1000:,.0f} k/s)")
    return state.hexdigest()


_HINT = "set the column's values in dataset.tables, or name the table in dataset.ignore"


def encoded(table: Filled) -> Iterator[tuple[memoryview, memoryview]]:
    """(bytes for the server, bytes for the digest) of each chunk of the table."""
    for span in table.chunks():
        rows = table.encoded(span).data
        stable = table.encoded(Span(span.start, span.stop, stable=True)).data if table.restated else rows
        yield rows, stable


def _ahead(table: Filled) -> Generator[tuple[memoryview, memoryview]]:
    """`encoded`, made in a thread of its own while the server takes what is ready."""
    ready: queue.Queue[tuple[memoryview, memoryview] | BaseException | None] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def produce() -> None:
        try:
            for chunk in encoded(table):
                ready.put(chunk)
                if stopped.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits for the rows
            ready.put(error)

    producer = threading.Thread(target=produce, name=f"rows of {table.name}", daemon=True)
    producer.start()
    try:
        while (chunk := ready.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
    finally:
        stopped.set()
        while producer.is_alive():
            _drain(ready)
            producer.join(0.01)


def _drain(ready: queue.Queue[tuple[memoryview, memoryview] | BaseException | None]) -> None:
    while not ready.empty():
        ready.get_nowait()


def _finish(conn: db.Connection, tables: list[Filled], *, views: bool) -> None:
    """Sequences go on after the last row; materialised views see the rows."""
    for table in tables:
        for sequence, last in table.sequences:
            conn.execute("SELECT setval(%s::regclass, %s)", (sequence, last))
    for (name,) in conn.execute(_VIEWS).fetchall() if views else ():
        _run(conn, f"REFRESH MATERIALIZED VIEW {name}", f"materialised view {name}")


_TABLES = "(SELECT unnest(%s::text[])::regclass)"
# The same, and all their partitions.
_PARTS = """(SELECT coalesce(p.relid, r.t::regclass) FROM unnest(%s::text[]) r(t)
LEFT JOIN LATERAL pg_partition_tree(r.t::regclass) p ON true)"""


_INDEXES = f"""
SELECT i.indexrelid::bigint, i.indrelid::regclass::text,
       CASE WHEN k.oid IS NULL THEN i.indexrelid::regclass::text ELSE quote_ident(k.conname) END,
       k.oid IS NOT NULL, coalesce(pg_get_constraintdef(k.oid), pg_get_indexdef(i.indexrelid)), m.amname
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
WHERE i.indrelid IN {_TABLES} AND (SELECT relkind FROM pg_class WHERE oid = i.indrelid) <> 'p'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_constraint'::regclass
                  AND d.refobjid = k.oid AND d.classid = 'pg_rewrite'::regclass)
"""

_FOREIGN_KEYS = f"""
SELECT k.oid::bigint, k.conrelid::regclass::text, quote_ident(k.conname), true, pg_get_constraintdef(k.oid),
       '' AS method
FROM pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid IN {_PARTS} OR k.confrelid IN {_PARTS})
"""

# What hangs on an index or constraint and is not in its definition; of somebody's database it must stay.
_ATTACHED = f"""
SELECT format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', k.conname, k.conrelid::regclass,
              obj_description(k.oid, 'pg_constraint'))
FROM pg_constraint k
WHERE (k.conrelid IN {_TABLES} OR k.confrelid IN {_TABLES}) AND k.contype IN ('p', 'u', 'x', 'f')
  AND obj_description(k.oid, 'pg_constraint') IS NOT NULL
UNION ALL
SELECT format('COMMENT ON INDEX %%s IS %%L', i.indexrelid::regclass,
              obj_description(i.indexrelid, 'pg_class'))
FROM pg_index i WHERE i.indrelid IN {_TABLES} AND obj_description(i.indexrelid, 'pg_class') IS NOT NULL
UNION ALL
SELECT format('ALTER TABLE %%s REPLICA IDENTITY USING INDEX %%I', i.indrelid::regclass, x.relname)
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid IN {_TABLES} AND i.indisreplident
UNION ALL
SELECT format('ALTER TABLE %%s CLUSTER ON %%I', i.indrelid::regclass, x.relname)
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid IN {_TABLES} AND i.indisclustered
"""

_TRIGGERS = f"""
SELECT t.tgrelid::regclass::text, quote_ident(t.tgname), t.tgenabled::text
FROM pg_trigger t
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgparentid = 0 AND t.tgrelid IN {_PARTS}
ORDER BY t.oid
"""
_ENABLED = {"O": "", "A": "ALWAYS ", "R": "REPLICA "}

_VIEWS = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'm' ORDER BY c.oid
"""
