"""Exact counts of a real application on real servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from gate import services
from gate.config import Endpoints, Services
from gate.db import connect
from gate.model import Case, PostgresServer, RedisServer, Side
from gate.probes.counts import Counter, Work
from gate.suites.endpoints import Resolved, cases, open_endpoints
from gate.suites.worker import Visit

pytestmark = pytest.mark.services

APPLICATION = Path(__file__).with_name("catalogue.py")
SCHEMA = """
CREATE TABLE artists (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE songs (id serial PRIMARY KEY, artist_id int NOT NULL REFERENCES artists, title text);
INSERT INTO artists SELECT n, 'artist ' || n FROM generate_series(1, 500) n;
INSERT INTO songs (artist_id, title) SELECT 1 + n * 7 % 500, repeat('x', 80) FROM generate_series(1, 20000) n;
"""
SUITE = Endpoints.model_validate(
    {
        "requests": 5,
        "rounds": 0,
        "request": [
            {"name": "songs", "path": "/songs", "query": {"size": "{size}"}, "scale": {"size": [10, 40]}},
            {"name": "artist", "path": "/artist", "query": {"id": "{id}"}, "params": {"id": [1, 2, 3]}},
            {
                "name": "many",
                "path": "/many",
                "query": {"ids": "{ids}"},
                "params": {"ids": ["1", "1,2", "1,2,3", "70000,2,3,4", "5"]},
            },
            {"name": "late", "path": "/late"},
            {"name": "add", "method": "POST", "path": "/add", "writes": True},
        ],
    }
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Running]:
    config = Services.model_validate({"postgres": {"version": 18}})
    state = tmp_path_factory.mktemp("state")
    with services.start(config, provider="embedded", state=state, notify=lambda _: None) as started:
        server = started.postgres
        with closing(connect(server, "postgres")) as admin:
            admin.execute("CREATE DATABASE sealed")
        with closing(connect(server, "sealed")) as inside:
            inside.execute(SCHEMA)
            inside.execute("VACUUM (FREEZE, ANALYZE)")
        yield started


@contextmanager
def cloned(server: PostgresServer, name: str) -> Iterator[str]:
    with closing(connect(server, "postgres")) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE sealed STRATEGY FILE_COPY")
        yield name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def served(server: PostgresServer, database: str, redis: RedisServer) -> Iterator[str]:
    command = [sys.executable, str(APPLICATION), server.url(database), redis.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def counted(running: services.Running, name: str) -> dict[str, tuple[Work, Visit]]:
    """One count pass of every case, on a fresh clone, process and Redis."""
    redis = running.redis(name)
    server = running.postgres
    found = {}
    with (
        cloned(server, name) as database,
        served(server, database, redis) as url,
        closing(Counter(server, database, redis)) as counter,
    ):
        side = Side(
            name="head",
            ref="",
            worktree="",
            directory="",
            interpreter="",
            env={},
            postgres_url="",
            redis_url="",
            base_url=url,
        )
        order: list[Case] = [planned.case for planned in cases(SUITE)]
        with closing(open_endpoints(side, SUITE, cases=order, resolved=Resolved(), seed=1)) as worker:
            while (case := worker.next()) is not None:
                worker.visit(SUITE.warmup, warmup=True)
                before = counter.snapshot()
                visit = worker.visit(SUITE.requests)
                found[str(case)] = counter.work(before, counter.snapshot(), SUITE.requests), visit
    return found


@pytest.fixture(scope="module")
def passes(running: services.Running) -> list[dict[str, tuple[Work, Visit]]]:
    return [counted(running, f"clone_{number}") for number in range(3)]


@pytest.fixture(scope="module")
def once(passes) -> dict[str, tuple[Work, Visit]]:
    return passes[0]


def test_counts_are_the_same_in_every_pass(passes):
    """Three fresh clones, processes and Redis servers give bit for bit the same work."""
    for again in passes[1:]:
        for case, (work, visit) in passes[0].items():
            other, answers = again[case]
            assert work == other, case
            assert visit.sizes == answers.sizes, case


def test_no_request_failed(passes):
    """Counts of failing requests would be meaningless."""
    assert not [visit.failures for found in passes for _, visit in found.values() if visit.failures]


def test_an_n_plus_1_grows_with_the_page(once):
    """10 and 40 rows a page are 11 and 41 statements; the statement in the loop is named."""
    small, large = (once[f"endpoints/songs[size={size}]"][0] for size in (10, 40))
    assert (small.values["sql.calls"], large.values["sql.calls"]) == (11.0, 41.0)
    assert (small.values["sql.rows"], large.values["sql.rows"]) == (20.0, 80.0)
    loop = next(s for s in large.statements if s.text == "SELECT name FROM artists WHERE id = $1")
    assert loop.calls == 40.0
    assert large.values["redis.commands"] == 0.0


def test_a_warm_cache_is_redis_alone(once):
    """The cached page asks Redis once and Postgres nothing."""
    work, _ = once["endpoints/artist"]
    assert work.values["sql.calls"] == 0.0
    assert work.values["redis.commands"] == 1.0
    assert [(command.name, command.calls) for command in work.commands] == [("GET", 1.0)]
    assert (work.hits, work.misses) == (1.0, 0.0)


def test_lists_of_any_length_and_comments_are_one_statement(once):
    """Five IN lists of four lengths, each with its own comment, are the same statement."""
    work, _ = once["endpoints/many"]
    (statement,) = (s for s in work.statements if not s.transaction)
    assert statement.calls == 1.0
    assert statement.text == "SELECT count(*) FROM songs WHERE id IN ($1)"


def test_work_after_the_answer_is_counted(once):
    """A transaction that ends after its answer has left belongs to its request."""
    work, _ = once["endpoints/late"]
    assert work.values["sql.calls"] == 1.0
    assert work.values["sql.transactions"] == 1.0
    assert next(s.calls for s in work.statements if s.text == "COMMIT") == 1.0


def test_a_writer_leaves_wal_and_a_transaction(once):
    """An insert is one statement in one transaction, with WAL records and a cache invalidation."""
    work, _ = once["endpoints/add"]
    assert work.values["sql.calls"] == 1.0
    assert work.values["sql.transactions"] == 1.0
    assert work.values["sql.wal_records"] >= 2.0
    assert [command.name for command in work.commands] == ["DEL"]


def test_the_gate_does_not_count_itself(running):
    """Looking, and whatever happens in another database, changes nothing."""
    server, redis = running.postgres, running.redis("still")
    with cloned(server, "still") as database, closing(Counter(server, database, redis)) as counter:
        before = counter.snapshot()
        with psycopg.connect(server.url("postgres")) as elsewhere:
            elsewhere.execute("SELECT count(*) FROM pg_class")
        work = counter.work(before, counter.snapshot(), 1)
    assert work.statements == ()
    assert work.commands == ()


def test_closing_forgets_the_database(running):
    """The statements of a dropped clone do not stay in the server's view."""
    server, redis = running.postgres, running.redis("gone")
    with cloned(server, "gone") as database:
        with closing(Counter(server, database, redis)) as counter:
            with psycopg.connect(server.url(database)) as inside:
                inside.execute("SELECT count(*) FROM songs")
            assert counter.snapshot().statements
        with closing(Counter(server, database, redis)) as counter:
            assert counter.snapshot().statements == ()
