from __future__ import annotations

import dataclasses
import threading

import pytest

from gate import db, services
from gate.config import Services
from gate.errors import EnvironmentFailure, MeasurementError

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    config = Services.model_validate({"postgres": {"version": 18}})
    state = tmp_path_factory.mktemp("state")
    with services.start(config, provider="embedded", state=state, notify=lambda _: None) as running:
        yield running


@pytest.fixture
def postgres(running, request):
    """The server, with a database of the test's own."""
    server = running.postgres
    name = "own"
    with db.connect(server, "postgres") as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield server, name, connection
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def application(server, database, statements):
    """What an application does: a client of another name, whose statements are counted."""
    import psycopg

    with psycopg.connect(server.url(database), autocommit=True) as connection:
        for statement, parameters in statements:
            connection.execute(statement, parameters)


@pytest.mark.parametrize("change", [{"pid": 1}, {"data_directory": "/elsewhere"}])
def test_a_server_that_is_not_the_one_meant_is_refused(running, change):
    """A port alone proves nothing; nothing has been written to the stranger."""
    other = dataclasses.replace(running.postgres, **change)
    with pytest.raises(EnvironmentFailure, match="another Postgres answered"):
        db.connect(other, "postgres")


def test_a_redis_that_is_not_the_one_meant_is_refused(running):
    """By its process id."""
    server = running.redis("identity")
    with pytest.raises(EnvironmentFailure, match="another Redis answered"):
        db.open_redis(dataclasses.replace(server, pid=1))


def test_no_error_holds_a_password(running):
    """Neither of Postgres nor of Redis."""
    postgres = dataclasses.replace(running.postgres, port=1)
    redis = dataclasses.replace(running.redis("errors"), port=1)
    for server, open_it in ((postgres, lambda s: db.connect(s, "x")), (redis, db.open_redis)):
        with pytest.raises(EnvironmentFailure) as caught:
            open_it(server)
        assert server.password not in str(caught.value.message) + caught.value.where + caught.value.hint


def test_statements_are_counted_exactly_and_by_text(postgres):
    """Calls and rows of what the application sent, and nothing of what the gate asked."""
    server, name, connection = postgres
    with db.connect(server, name) as own:
        own.execute("CREATE TABLE t AS SELECT generate_series(1, 10) AS x")
    application(
        server, name, [("SELECT x FROM t WHERE x <= %s", (3,)), ("SELECT x FROM t WHERE x <= %s", (4,))]
    )
    (row,) = db.statement_counts(connection, name)
    assert (row.text, row.calls, row.rows, row.blocks) == ("SELECT x FROM t WHERE x <= $1", 2, 7, 2)
    assert row.toplevel


def test_statements_inside_functions_are_told_apart(postgres):
    """Their work is in their caller's already."""
    server, name, connection = postgres
    body = "BEGIN PERFORM count(*) FROM pg_class; END"
    with db.connect(server, name) as own:
        own.execute(f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS '{body}'")
    application(server, name, [("SELECT f()", None)])
    rows = db.statement_counts(connection, name)
    assert {row.text: row.toplevel for row in rows} == {
        "SELECT f()": True,
        "SELECT count(*) FROM pg_class": False,
    }


def test_transactions_are_counted(postgres):
    """BEGIN and COMMIT are statements of their own."""
    server, name, connection = postgres
    application(server, name, [("BEGIN", None), ("SELECT 1", None), ("COMMIT", None)])
    assert {row.text: row.calls for row in db.statement_counts(connection, name)} == {
        "BEGIN": 1,
        "SELECT $1": 1,
        "COMMIT": 1,
    }


def test_counts_of_one_database_can_be_forgotten(postgres):
    """Others keep theirs; nothing was lost for want of room."""
    server, name, connection = postgres
    application(server, name, [("SELECT 1", None)])
    application(server, "postgres", [("SELECT 2, 2", None)])
    db.forget_statements(connection, name)
    assert db.statement_counts(connection, name) == ()
    assert "SELECT $1, $2" in {row.text for row in db.statement_counts(connection, "postgres")}
    assert db.statements_lost(connection) == 0


def test_settling_waits_for_a_running_statement(postgres):
    """It returns only after the statement has ended, and then its count is there."""
    server, name, connection = postgres
    with db.connect(server, name) as lock:
        lock.execute("SELECT pg_advisory_lock(1)")
        thread = threading.Thread(
            target=application, args=(server, name, [("SELECT pg_advisory_lock(1)", None)])
        )
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while connection.execute(waiting).fetchone() == (0,):
            pass
        with pytest.raises(MeasurementError, match="still runs") as caught:
            db.settle(connection, name, 0.05)
        assert "SELECT pg_advisory_lock(1)" in caught.value.where
        lock.execute("SELECT pg_advisory_unlock(1)")
        db.settle(connection, name, 10)
        assert [row.calls for row in db.statement_counts(connection, name)] == [1]
        thread.join()


def test_an_open_transaction_without_a_statement_is_settled(postgres):
    """A pool may keep one for hours."""
    server, name, connection = postgres
    with db.connect(server, name) as idle:
        idle.execute("BEGIN")
        idle.execute("SELECT 1")
        db.settle(connection, name, 0)


def test_redis_commands_hits_and_misses_are_counted(running):
    """By command, without the INFO that asks."""
    server = running.redis("counts")
    with db.redis_client(server) as client:
        before = db.redis_counts(client)
        client.set("a", "1")
        client.get("a")
        client.get("b")
        client.execute_command("SELECT", 3)
        client.set("c", "1")
        after = db.redis_counts(client)
    calls = {name: n - dict(before.commands).get(name, 0) for name, n in after.commands}
    assert {name: n for name, n in calls.items() if n} == {"set": 2, "get": 2, "select": 1}
    assert (after.hits - before.hits, after.misses - before.misses, after.keys) == (1, 1, 2)
    assert after.evictions == 0


def test_a_new_password_never_reaches_the_server_in_the_clear(running):
    """Only its verifier is sent, and the new one works."""
    import psycopg

    with db.connect(running.postgres, "postgres") as connection:
        connection.execute("CREATE ROLE somebody LOGIN")
        db.set_password(connection, "somebody", "s3cret'\"")
        (stored,) = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'somebody'"
        ).fetchone()
        assert stored.startswith("SCRAM-SHA-256$")
    server = dataclasses.replace(running.postgres, user="somebody", password="s3cret'\"")
    with psycopg.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, dbname="postgres"
    ) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("somebody",)
