"""The one door to the clients of Postgres and Redis.

Opens connections, proving first that the server at the other end is the one we started: a port alone
has once led to a stranger's database. Reads the servers' own counters. What the counts mean is decided
elsewhere.

The gate's own connections are left out of pg_stat_statements, so that asking changes no answer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import redis
from psycopg import sql
from psycopg.rows import TupleRow
from redis.backoff import NoBackoff
from redis.retry import Retry

from gate.errors import EnvironmentFailure, MeasurementError
from gate.model import PostgresServer, RedisServer

APPLICATION = "perf-gate"
Connection = psycopg.Connection[TupleRow]
Error = psycopg.Error  # what a statement raises, for rooms that say what it meant
RedisError = redis.RedisError

_CONNECT_TIMEOUT = 10  # seconds; the servers are on this machine
_REDIS_TIMEOUT = 30.0
_PROBE_TIMEOUT = 0.5
_POLL = 0.002

_IDENTITY = """
SELECT current_setting('data_directory'), split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int
"""

_STATEMENTS = """
SELECT s.queryid, s.toplevel, s.userid::bigint, s.query, s.calls, s.rows,
       s.shared_blks_hit + s.shared_blks_read, s.temp_blks_read + s.temp_blks_written, s.wal_records,
       s.total_exec_time / 1000
FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid
WHERE d.datname = %s
ORDER BY s.queryid, s.toplevel, s.userid
"""

_IN_FLIGHT = """
SELECT left(query, 200) FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND state IN ('active', 'fastpath function call')
LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRow:
    """The counters of one statement since they were last forgotten; (queryid, toplevel, userid) is unique.

    toplevel: sent by a client. Others ran inside a function or trigger; their blocks, WAL and temporary
        blocks are in their caller's too, so totals take the toplevel rows alone.
    text: normalised by the server; of the first caller. blocks: shared, hit + read.
    temp_blocks: read + written. seconds: executing.
    """

    queryid: int
    toplevel: bool
    userid: int
    text: str
    calls: int
    rows: int
    blocks: int
    temp_blocks: int
    wal_records: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisCounts:
    """A Redis server's counters since its start. INFO is left out: it is the gate's own question.

    commands: (name, calls), sorted by name; subcommands as "client|setinfo".
    keys: in all databases, now.
    """

    commands: tuple[tuple[str, int], ...]
    hits: int
    misses: int
    keys: int
    evictions: int


def connect(server: PostgresServer, database: str) -> Connection:
    """An autocommit connection to a database of a server that has proved to be the one meant.

    Raises EnvironmentFailure where it does not answer, or where another server does. For a server the
    user gave (`server.pid` 0) there is nothing to compare with.
    """
    where = f"postgres on {server.host}:{server.port}, database {database}"
    try:
        connection = psycopg.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            dbname=database,
            autocommit=True,
            application_name=APPLICATION,
            connect_timeout=_CONNECT_TIMEOUT,
            **_ours_only(server),
        )
    except psycopg.OperationalError as error:
        message = f"cannot connect to Postgres: {_first_line(error)}"
        raise EnvironmentFailure(message, where=where) from error
    try:
        _identify(connection, server, where)
    except BaseException:
        connection.close()
        raise
    return connection


def _ours_only(server: PostgresServer) -> dict[str, Any]:
    """What must not be taken from the user's PG* variables, for a server of ours."""
    if not server.pid:
        return {}
    return {
        "sslmode": "disable",
        "gssencmode": "disable",
        "target_session_attrs": "any",
        "options": "-c pg_stat_statements.track=none",
    }


def _identify(connection: Connection, server: PostgresServer, where: str) -> None:
    if not server.pid:
        return
    try:
        row = connection.execute(_IDENTITY).fetchone()
    except psycopg.Error as error:
        message = f"the Postgres that answered cannot be identified: {_first_line(error)}"
        raise EnvironmentFailure(message, where=where) from error
    expected = (server.data_directory, server.pid)
    if row != expected:
        raise EnvironmentFailure(
            f"another Postgres answered: expected {expected[0]} (pid {expected[1]}), found {row}",
            where=where,
            hint="something else took the port; run again",
        )


def server_version(connection: Connection) -> tuple[str, int]:
    """("18.6", 18): what the server says of itself, without a distributor's suffix."""
    number = connection.info.server_version
    return f"{number // 10000}.{number % 10000}", number // 10000


def settings(connection: Connection) -> dict[str, str]:
    """Every setting of the server as SHOW gives it, by name."""
    return {name: value for name, value, *_ in connection.execute("SHOW ALL")}


def collation(connection: Connection) -> str:
    """The collation of the template that new databases are made from."""
    row = connection.execute("SELECT datcollate FROM pg_database WHERE datname = 'template1'").fetchone()
    return str(row[0]) if row else ""


def set_password(connection: Connection, user: str, password: str) -> None:
    """Give the role a new password; only its SCRAM verifier is sent, so no log can hold the password."""
    verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
        sql.Identifier(user), sql.Literal(verifier.decode())
    )
    connection.execute(statement)


def create_extension(connection: Connection, name: str) -> None:
    """CREATE EXTENSION IF NOT EXISTS. Raises EnvironmentFailure where the server lacks it."""
    try:
        connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        message = f"Postgres lacks the extension {name}: {_first_line(error)}"
        hint = "install the contrib modules of this server, or use --services docker or embedded"
        raise EnvironmentFailure(message, hint=hint) from error


def statement_counts(connection: Connection, database: str) -> tuple[StatementRow, ...]:
    """pg_stat_statements of one database. `connection` is to database postgres, where the view lives.

    An unknown database has no rows, as has one that nobody has asked anything.
    """
    return tuple(
        StatementRow(
            queryid=queryid,
            toplevel=toplevel,
            userid=userid,
            text=text,
            calls=calls,
            rows=rows,
            blocks=int(blocks),
            temp_blocks=int(temp),
            wal_records=int(wal),
            seconds=float(spent),
        )
        for queryid, toplevel, userid, text, calls, rows, blocks, temp, wal, spent in connection.execute(
            _STATEMENTS, (database,)
        )
    )


def forget_statements(connection: Connection, database: str) -> None:
    """Drop the counters of one database, so that those of many short-lived clones never push others out."""
    connection.execute(
        "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = %s", (database,)
    )


def statements_lost(connection: Connection) -> int:
    """How often the server has thrown counters away for want of room; a change voids a count pass."""
    row = connection.execute("SELECT dealloc FROM pg_stat_statements_info").fetchone()
    return int(row[0]) if row else 0


def settle(connection: Connection, database: str, timeout: float) -> None:
    """Return once no client's statement is running in the database; at once where none is.

    timeout: seconds; then MeasurementError names the statement. A transaction that merely stays open
    counts as settled: connection pools keep such for hours.
    """
    deadline = time.monotonic() + timeout
    while row := connection.execute(_IN_FLIGHT, (database,)).fetchone():
        if time.monotonic() > deadline:
            raise MeasurementError(
                f"a statement still runs {timeout:g} s after the last request",
                where=f"database {database}: {' '.join(str(row[0]).split())}",
                hint="let the application finish its work before it answers, or wait for it",
            )
        time.sleep(_POLL)


def open_redis(server: RedisServer, *, timeout: float = _REDIS_TIMEOUT) -> redis.Redis:
    """A client of a Redis server that has proved to be the one meant; EnvironmentFailure otherwise.

    timeout: seconds that any one answer may take.
    """
    where = f"redis on {server.host}:{server.port}"
    client = redis.Redis(
        host=server.host,
        port=server.port,
        password=server.password or None,
        socket_connect_timeout=_CONNECT_TIMEOUT,
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 0),  # who waits for a server decides how long; the default adds seconds
    )
    try:
        pid = int(client.info("server")["process_id"])
    except redis.RedisError as error:
        client.close()
        message = f"cannot connect to Redis: {_first_line(error)}"
        raise EnvironmentFailure(message, where=where) from error
    if server.pid and pid != server.pid:
        client.close()
        raise EnvironmentFailure(
            f"another Redis answered: expected pid {server.pid}, found {pid}",
            where=where,
            hint="something else took the port; run again",
        )
    return client


def redis_answers(server: RedisServer) -> bool:
    """Whether the server can be asked yet; false soon where something silent has taken its port."""
    try:
        open_redis(server, timeout=_PROBE_TIMEOUT).close()
    except EnvironmentFailure:
        return False
    return True


@contextlib.contextmanager
def redis_client(server: RedisServer) -> Iterator[redis.Redis]:
    """`open_redis`, closed at the end."""
    client = open_redis(server)
    try:
        yield client
    finally:
        client.close()


def redis_version(client: redis.Redis) -> str:
    """The program and its own version, not the one it is compatible with: "valkey 9.1.2", "redis 7.4.1"."""
    info = client.info("server")
    name = str(info.get("server_name", "redis"))
    return f"{name} {info.get(f'{name}_version', info['redis_version'])}"


def redis_counts(client: redis.Redis) -> RedisCounts:
    """The counters of the whole server. Costs one INFO, which is not counted."""
    info = client.info("all")
    commands = {
        name.removeprefix("cmdstat_"): int(values["calls"])
        for name, values in info.items()
        if name.startswith("cmdstat_")
    }
    commands.pop("info", None)
    return RedisCounts(
        commands=tuple(sorted(commands.items())),
        hits=int(info["keyspace_hits"]),
        misses=int(info["keyspace_misses"]),
        keys=sum(int(values["keys"]) for name, values in info.items() if _is_database(name)),
        evictions=int(info["evicted_keys"]),
    )


def empty_redis(client: redis.Redis) -> None:
    """Removes every key of every database of the server."""
    client.flushall()


def _is_database(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()


def _first_line(error: Exception) -> str:
    """libpq and Redis name host, port and reason, never the password; further lines repeat attempts."""
    return str(error).strip().partition("\n")[0]
