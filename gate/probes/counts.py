"""The work of a count pass: what Postgres and Redis did between two looks, per request.

The servers count; nothing of the application is touched, so its language does not matter. Exact only
while nobody else uses the database and the Redis server: each side has its own.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from gate import db
from gate.errors import MeasurementError
from gate.model import (
    REDIS_COMMANDS,
    REDIS_KEYS,
    SQL_BLOCKS,
    SQL_CALLS,
    SQL_ROWS,
    SQL_TEMP_BLOCKS,
    SQL_TRANSACTIONS,
    SQL_WAL_RECORDS,
    Command,
    PostgresServer,
    RedisServer,
    Statement,
)
from gate.probes.fingerprint import Identity, Sort, identify

_OBSERVED_FROM = "postgres"  # never the counted database: a session there would be a guest in the house
_IN_FLIGHT = 30.0  # seconds that a statement may outlast the last answer
_QUIET = 0.02  # seconds without any change after which an application is taken to be done
_RESTLESS = 2.0  # seconds after which one that never rests is counted as it is

# Setting up, keeping alive and watching a connection; when a pool does it is chance.
_CONNECTION = frozenset({"auth", "hello", "select", "ping", "quit", "reset", "info"})
_CONNECTION_GROUPS = frozenset({"client", "config", "command"})

_Key = tuple[int, bool, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The counters at one moment. lost: how often Postgres has thrown statements away."""

    statements: tuple[db.StatementRow, ...]
    redis: db.RedisCounts
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was done between two snapshots, per request.

    values: metric name -> number, for every exact metric of the two servers:
        sql.calls: statements but for transaction control and session set-up (BEGIN, COMMIT, SET, ...).
        sql.rows: rows returned or changed. sql.blocks: shared, hit + read. sql.temp_blocks: read +
        written. sql.wal_records.
        sql.transactions: BEGIN and START TRANSACTION. A statement outside of them is a transaction of
        its own and counts in sql.calls alone; COMMIT and ROLLBACK say nothing that BEGIN did not, and
        may come after the answer. A commit storm shows as BEGIN x n.
        redis.commands: all but those that handle or watch connections. redis.keys: more than before, 0
        where there are fewer.
    statements: sorted by fingerprint; commands: sorted by name, upper case.
    """

    values: dict[str, float]
    statements: tuple[Statement, ...]
    commands: tuple[Command, ...]
    hits: float
    misses: float
    evictions: float


class Counter:
    """Looks at one side's database and Redis server from outside; close it before either is dropped."""

    def __init__(self, pg: PostgresServer, database: str, redis: RedisServer) -> None:
        self._database = database
        self._connection = db.connect(pg, _OBSERVED_FROM)
        try:
            self._redis = db.open_redis(redis)
        except BaseException:
            self._connection.close()
            raise

    def snapshot(self) -> Snapshot:
        """The counters once the application rests: no statement in flight and nothing new for 20 ms.

        An answer may leave before its transaction is ended, or with a task still to do. One that
        never rests is taken as it is after 2 s. Raises MeasurementError where a statement still runs
        after 30 s.
        """
        deadline = time.monotonic() + _RESTLESS
        seen = self._look()
        while time.monotonic() < deadline:
            time.sleep(_QUIET)
            again = self._look()
            if again == seen:
                break
            seen = again
        return seen

    def look(self) -> Snapshot:
        """The counters now, where whoever uses the services stands still."""
        return self._look()

    def since(self, before: Snapshot) -> Snapshot:
        """As `snapshot`; at once where nothing has changed, as after a benchmark that only computes."""
        seen = self._look()
        return seen if seen == before else self.snapshot()

    def work(self, before: Snapshot, after: Snapshot, requests: int) -> Work:
        """The difference, divided by the number of requests sent between the two.

        Raises MeasurementError where the servers lost counters in between.
        """
        if after.lost != before.lost:
            raise MeasurementError(
                "Postgres ran out of room for statements and threw counters away",
                where="pg_stat_statements",
                hint="raise pg_stat_statements.max under [services.postgres.settings]",
            )
        statements = _statements(before.statements, after.statements)
        commands = _commands(before.redis.commands, after.redis.commands, requests)
        return Work(
            values=_totals(statements, requests)
            | {
                REDIS_COMMANDS.name: sum(commands.values()) / requests,
                REDIS_KEYS.name: max(0, after.redis.keys - before.redis.keys) / requests,
            },
            statements=tuple(_statement(seen, requests) for seen in statements),
            commands=tuple(
                Command(name=name, calls=calls / requests) for name, calls in sorted(commands.items())
            ),
            hits=(after.redis.hits - before.redis.hits) / requests,
            misses=(after.redis.misses - before.redis.misses) / requests,
            evictions=(after.redis.evictions - before.redis.evictions) / requests,
        )

    def empty_redis(self) -> None:
        """Takes every key from the side's Redis server, so that the next request finds its cache empty."""
        try:
            db.empty_redis(self._redis)
        except db.RedisError as error:
            raise MeasurementError(f"Redis could not be emptied: {error}") from error

    def close(self) -> None:
        """Forgets the database's statements too, so that those of many clones never fill the view."""
        with contextlib.suppress(db.Error):  # of a server that ended meanwhile, which took them along
            db.forget_statements(self._connection, self._database)
        self._connection.close()
        self._redis.close()

    def _look(self) -> Snapshot:
        try:
            return self._counters()
        except (db.Error, db.RedisError) as error:
            reason = str(error).partition("\n")[0]
            message = f"the counters of database {self._database} cannot be read: {reason}"
            raise MeasurementError(message, hint="run again; the server still runs") from error

    def _counters(self) -> Snapshot:
        db.settle(self._connection, self._database, _IN_FLIGHT)
        return Snapshot(
            statements=db.statement_counts(self._connection, self._database),
            redis=db.redis_counts(self._redis),
            lost=db.statements_lost(self._connection),
        )


@dataclass(slots=True)
class _Sum:
    """All rows of one fingerprint, summed: the totals of a pass, not yet per request."""

    identity: Identity
    calls: int = 0
    rows: int = 0
    blocks: int = 0
    temp_blocks: int = 0
    wal_records: int = 0
    seconds: float = 0.0

    def add(self, identity: Identity, row: db.StatementRow, earlier: db.StatementRow | None) -> None:
        # Which of several spellings is shown must not depend on which came first.
        self.identity = min(self.identity, identity, key=lambda one: (len(one.text), one.text))
        self.calls += row.calls - (earlier.calls if earlier else 0)
        self.rows += row.rows - (earlier.rows if earlier else 0)
        self.blocks += row.blocks - (earlier.blocks if earlier else 0)
        self.temp_blocks += row.temp_blocks - (earlier.temp_blocks if earlier else 0)
        self.wal_records += row.wal_records - (earlier.wal_records if earlier else 0)
        self.seconds += row.seconds - (earlier.seconds if earlier else 0)


def _statements(before: Iterable[db.StatementRow], after: Iterable[db.StatementRow]) -> list[_Sum]:
    """What ran in between, by fingerprint. Statements inside functions are part of those that called them."""
    known: dict[_Key, db.StatementRow] = {_key(row): row for row in before}
    sums: dict[str, _Sum] = {}
    for row in after:
        earlier = known.get(_key(row))
        if not row.toplevel or (earlier and earlier.calls == row.calls):
            continue
        identity = identify(row.text)
        sums.setdefault(identity.fingerprint, _Sum(identity)).add(identity, row, earlier)
    return sorted(sums.values(), key=lambda seen: seen.identity.fingerprint)


def _key(row: db.StatementRow) -> _Key:
    return row.queryid, row.toplevel, row.userid


def _totals(statements: Iterable[_Sum], requests: int) -> dict[str, float]:
    totals: dict[str, int] = defaultdict(int)
    for seen in statements:
        totals[SQL_CALLS.name] += seen.calls if seen.identity.sort is Sort.WORK else 0
        totals[SQL_TRANSACTIONS.name] += seen.calls if seen.identity.sort is Sort.BEGIN else 0
        totals[SQL_ROWS.name] += seen.rows
        totals[SQL_BLOCKS.name] += seen.blocks
        totals[SQL_TEMP_BLOCKS.name] += seen.temp_blocks
        totals[SQL_WAL_RECORDS.name] += seen.wal_records
    metrics = (SQL_CALLS, SQL_ROWS, SQL_BLOCKS, SQL_TEMP_BLOCKS, SQL_WAL_RECORDS, SQL_TRANSACTIONS)
    return {metric.name: totals[metric.name] / requests for metric in metrics}


def _statement(seen: _Sum, requests: int) -> Statement:
    return Statement(
        fingerprint=seen.identity.fingerprint,
        text=seen.identity.text,
        calls=seen.calls / requests,
        rows=seen.rows / requests,
        blocks=seen.blocks / requests,
        temp_blocks=seen.temp_blocks / requests,
        wal_records=seen.wal_records / requests,
        transaction=seen.identity.sort is not Sort.WORK,
        seconds=seen.seconds / seen.calls,
    )


def _commands(
    before: Iterable[tuple[str, int]], after: Iterable[tuple[str, int]], requests: int
) -> dict[str, int]:
    """Calls in between by name, "GET" or "XINFO STREAM"."""
    known = dict(before)
    found = {name: calls - known.get(name, 0) for name, calls in after}
    return {
        name.replace("|", " ").upper(): calls
        for name, calls in found.items()
        if calls and name not in _CONNECTION and name.split("|")[0] not in _CONNECTION_GROUPS
    }
