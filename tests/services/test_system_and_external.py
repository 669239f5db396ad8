from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gate import db, services
from gate.config import Services
from gate.errors import ConfigError, EnvironmentFailure
from gate.services.account import choose_account
from gate.services.running import Given, Unavailable
from gate.services.system import find_programs

pytestmark = pytest.mark.services


def configured(version=18) -> Services:
    return Services.model_validate({"postgres": {"version": version}})


def installed() -> int:
    """A major version that this machine has installed; skips where it has none."""
    for major in range(30, 13, -1):
        try:
            find_programs(major, choose_account())
        except Unavailable:
            continue
        return major
    pytest.skip("no Postgres and Redis server programs are installed")


def ask(server, query, database="postgres"):
    with db.connect(server, database) as connection:
        return connection.execute(query).fetchall()


def counted(running) -> list[tuple[str, int, int, int]]:
    import psycopg

    server = running.postgres
    with db.connect(server, "postgres") as connection:
        connection.execute("CREATE DATABASE work")
        with db.connect(server, "work") as own:
            own.execute("CREATE TABLE t AS SELECT x FROM generate_series(1, 5000) x")
            own.execute("VACUUM (FREEZE, ANALYZE) t")
        with psycopg.connect(server.url("work"), autocommit=True) as application:
            application.execute("SELECT count(*) FROM t WHERE x > 7")
        return [(r.text, r.calls, r.rows, r.blocks) for r in db.statement_counts(connection, "work")]


def test_the_systems_own_servers_are_pinned_like_ours_and_repeat_themselves(tmp_path):
    """The installed major, with our initialisation and settings; twice the same counts."""
    major = installed()
    seen = []
    for _ in range(2):
        with services.start(
            configured(major), provider="system", state=tmp_path, notify=lambda _: None
        ) as running:
            server = running.postgres
            assert (server.provider, server.major) == ("system", major)
            assert ask(server, "SHOW data_checksums") == [("off",)]
            assert ask(server, "SHOW autovacuum") == [("off",)]
            with db.redis_client(running.redis("head")) as client:
                assert client.config_get("save") == {"save": ""}
            assert running.pids("postgres")[0] == server.pid
            seen.append(counted(running))
    assert seen[0] == seen[1]
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_not_installed_is_refused(tmp_path):
    """With the one there is."""
    major = installed()
    with pytest.raises(Unavailable, match=f"Postgres {major}, not 29"):
        services.start(configured(29), provider="system", state=tmp_path, notify=print).__enter__()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Servers that a user runs: here, ones that the embedded provider started."""
    with services.start(
        configured(), provider="embedded", state=tmp_path_factory.mktemp("state"), notify=lambda _: None
    ) as running:
        yield running


def given(theirs, *names: str) -> Given:
    return Given(
        postgres=theirs.postgres.url("postgres"), redis=tuple(theirs.redis(name).url for name in names)
    )


def external(tmp_path, servers: Given, version=18, said=None):
    return services.start(
        configured(version),
        provider="external",
        state=tmp_path,
        notify=(said if said is not None else []).append,
        given=servers,
    )


def test_given_servers_are_used_and_not_stopped(theirs, tmp_path):
    """They are described as ours are, and one Redis is handed out per name."""
    said: list[str] = []
    with external(tmp_path, given(theirs, "one", "two"), said=said) as running:
        assert running.postgres.initdb == theirs.postgres.initdb
        assert running.postgres.major == 18
        assert running.redis("head").port != running.redis("base").port
        assert not running.keeps_data
        assert running.log_end() is None
        assert Path(running.data_place).is_dir()
    assert ask(theirs.postgres, "SELECT 1") == [(1,)]
    assert said == []


def test_processes_that_are_not_ours_are_not_looked_for(theirs, tmp_path):
    """A given server may run on any machine."""
    with external(tmp_path, given(theirs, "one")) as running:
        running.redis("head")
        assert running.pids("postgres") == running.pids("head") == ()


def test_what_is_not_pinned_is_said(theirs, tmp_path):
    """Counts are then comparable with this server's alone."""
    with db.connect(theirs.postgres, "postgres") as connection:
        connection.execute("ALTER DATABASE postgres SET work_mem = '9MB'")
        connection.execute("ALTER DATABASE postgres SET jit = on")
    said: list[str] = []
    try:
        with external(tmp_path, given(theirs, "one"), said=said):
            pass
    finally:
        with db.connect(theirs.postgres, "postgres") as connection:
            connection.execute("ALTER DATABASE postgres RESET ALL")
    assert said == ["the given Postgres has settings of its own: jit"]


def test_a_given_redis_is_empty_for_each_use(theirs, tmp_path):
    """Asked for again under its name, it has been emptied."""
    with external(tmp_path, given(theirs, "one")) as running:
        for _ in range(2):
            with db.redis_client(running.redis("head")) as client:
                assert client.dbsize() == 0
                client.set("key", "value")
        with pytest.raises(ConfigError, match="no Redis server is left for 'base'"):
            running.redis("base")


def test_a_given_redis_with_data_is_not_touched(theirs, tmp_path):
    """It may be somebody's."""
    server = theirs.redis("one")
    servers = Given(postgres=theirs.postgres.url("postgres"), redis=(server.url,))
    with db.redis_client(server) as client:
        client.set("precious", "value")
        with pytest.raises(EnvironmentFailure, match="not empty"):
            external(tmp_path, servers).__enter__()
        assert client.get("precious") == b"value"


def test_a_given_postgres_of_another_major_is_refused(theirs, tmp_path):
    """services.postgres.version holds for every provider."""
    with pytest.raises(EnvironmentFailure, match="given Postgres is 18"):
        external(tmp_path, given(theirs, "one"), version=17).__enter__()


def test_a_given_server_that_does_not_answer_is_said_without_its_password(theirs, tmp_path):
    """Neither Postgres nor Redis."""
    servers = given(theirs, "one")
    for broken in (
        dataclasses.replace(servers, postgres="postgresql://u:s3cret@127.0.0.1:1/x"),
        dataclasses.replace(servers, redis=("redis://:s3cret@127.0.0.1:1",)),
    ):
        with pytest.raises(EnvironmentFailure, match="cannot connect") as caught:
            external(tmp_path, broken).__enter__()
        assert "s3cret" not in caught.value.message + caught.value.where + caught.value.hint
