"""Differences of two snapshots, made by hand."""

from __future__ import annotations

import pytest

from gate.db import RedisCounts, StatementRow
from gate.errors import MeasurementError
from gate.probes.counts import Counter, Snapshot, Work


def row(text: str, queryid: int, calls: int, *, toplevel: bool = True, userid: int = 10, **more: int):
    numbers = {"rows": calls, "blocks": 3 * calls, "temp_blocks": 0, "wal_records": 0} | more
    return StatementRow(queryid=queryid, toplevel=toplevel, userid=userid, text=text, calls=calls, **numbers)


def snapshot(*rows: StatementRow, commands=(), hits=0, misses=0, lost=0) -> Snapshot:
    redis = RedisCounts(commands=tuple(commands), hits=hits, misses=misses, keys=0, evictions=0)
    return Snapshot(statements=rows, redis=redis, lost=lost)


def work(before: Snapshot, after: Snapshot, requests: int) -> Work:
    return Counter.work(object.__new__(Counter), before, after, requests)


def test_totals_are_per_request():
    """Every exact metric of both servers is there, divided by the number of requests."""
    before = snapshot(row("SELECT a FROM t", 1, 100), commands=[("get", 5)], hits=1, misses=1)
    after = snapshot(
        row("SELECT a FROM t", 1, 130),
        row("INSERT INTO t VALUES ($1)", 2, 10, wal_records=40, temp_blocks=5, rows=20),
        commands=[("get", 25), ("set", 10)],
        hits=16,
        misses=6,
    )
    found = work(before, after, 10)
    assert found.values == {
        "sql.calls": 4.0,
        "sql.rows": 5.0,
        "sql.blocks": 12.0,
        "sql.temp_blocks": 0.5,
        "sql.wal_records": 4.0,
        "sql.transactions": 0.0,
        "redis.commands": 3.0,
        "redis.keys": 0.0,
    }
    assert [(command.name, command.calls) for command in found.commands] == [("GET", 2.0), ("SET", 1.0)]
    assert (found.hits, found.misses) == (1.5, 0.5)


def test_rows_of_one_fingerprint_are_one_statement():
    """Spellings that the server keeps apart are summed, and the shortest is shown, whichever came first."""
    rows = [
        row("SELECT * FROM t WHERE id = $1::bigint", 1, 4),
        row("SELECT * FROM t WHERE id = $1", 2, 6),
        row("SELECT * FROM t WHERE id = $1", 2, 10, userid=11),
    ]
    for order in (rows, rows[::-1]):
        (statement,) = work(snapshot(), snapshot(*order), 10).statements
        assert (statement.calls, statement.rows, statement.blocks) == (2.0, 2.0, 6.0)
        assert statement.text == "SELECT * FROM t WHERE id = $1"


def test_transactions_are_counted_by_their_begin():
    """BEGIN counts once; COMMIT, ROLLBACK and SET are shown and are no calls."""
    after = snapshot(
        row("BEGIN", 1, 10),
        row("COMMIT", 2, 9),
        row("ROLLBACK", 3, 1),
        row("SET a = $1", 4, 10),
        row("SELECT 1", 5, 10),
    )
    found = work(snapshot(), after, 10)
    assert (found.values["sql.transactions"], found.values["sql.calls"]) == (1.0, 1.0)
    assert sorted(s.text for s in found.statements if s.transaction) == [
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SET a = $1",
    ]


def test_statements_inside_functions_are_part_of_their_caller():
    """Their blocks are in the caller's already."""
    after = snapshot(row("SELECT f($1)", 1, 10), row("SELECT a FROM t", 2, 1000, toplevel=False))
    found = work(snapshot(), after, 10)
    assert found.values["sql.calls"] == 1.0
    assert found.values["sql.blocks"] == 3.0


def test_statements_that_did_not_run_are_left_out():
    """What only ran before the first snapshot is not there; order is by fingerprint."""
    before = snapshot(row("SELECT a FROM t", 1, 5))
    found = work(
        before, snapshot(row("SELECT a FROM t", 1, 5), row("SELECT b", 2, 1), row("SELECT 1, 2", 3, 1)), 1
    )
    assert {s.text for s in found.statements} == {"SELECT b", "SELECT 1, 2"}
    assert list(found.statements) == sorted(found.statements, key=lambda s: s.fingerprint)


def test_handling_and_watching_connections_is_no_command():
    """What a pool does when it connects or checks a connection is chance."""
    noise = [
        "auth",
        "hello",
        "client",
        "client|setinfo",
        "select",
        "ping",
        "info",
        "config|get",
        "command|docs",
    ]
    after = snapshot(commands=[(name, 7) for name in noise] + [("xinfo|stream", 2)])
    found = work(snapshot(), after, 1)
    assert [command.name for command in found.commands] == ["XINFO STREAM"]
    assert found.values["redis.commands"] == 2.0


def test_lost_counters_void_the_pass():
    """Where the server threw statements away the difference would be too small."""
    with pytest.raises(MeasurementError) as error:
        work(snapshot(lost=1), snapshot(lost=2), 10)
    assert "pg_stat_statements.max" in error.value.hint
