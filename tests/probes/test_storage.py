"""Sizes and uses of indexes on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from gate import services
from gate.config import Services
from gate.db import connect
from gate.model import PostgresServer
from gate.probes.storage import joined, storage

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    config = Services.model_validate({"postgres": {"version": 18}})
    state = tmp_path_factory.mktemp("state")
    with services.start(config, provider="embedded", state=state, notify=lambda _: None) as started:
        with closing(connect(started.postgres, "postgres")) as admin:
            admin.execute("CREATE DATABASE app")
        with closing(connect(started.postgres, "app")) as inside:
            inside.execute("CREATE TABLE songs (id int PRIMARY KEY, title text, year int)")
            inside.execute(
                "INSERT INTO songs SELECT n, 'title ' || n, n % 50 FROM generate_series(1, 9999) n"
            )
            inside.execute("CREATE INDEX by_title ON songs (title)")
            inside.execute("CREATE INDEX by_year ON songs (year)")
            inside.execute("ANALYZE songs")
        yield started.postgres


def test_uses_of_sessions_that_have_just_ended_are_there(server: PostgresServer) -> None:
    """Of two indexes one was asked; the table's size holds both."""
    with closing(connect(server, "app")) as session:
        session.execute("SELECT id FROM songs WHERE title = 'title 7'").fetchall()
    (table,) = storage(server, "app", "head")
    uses = {index.name: index.scans > 0 for index in table.indexes}
    assert uses == {"by_title": True, "by_year": False, "songs_pkey": False}
    assert {index.name for index in table.indexes if index.unique} == {"songs_pkey"}
    assert next(i.definition for i in table.indexes if i.name == "by_year") == "USING btree (year)"
    assert table.bytes > sum(index.bytes for index in table.indexes) > 0


def test_clones_are_one_table_of_a_side(server: PostgresServer) -> None:
    """An index that any of them used is used."""
    once = storage(server, "app", "head")
    (both,) = joined((once, once))
    before = {index.name: index.scans for index in once[0].indexes}
    assert {index.name: index.scans for index in both.indexes} == {
        n: 2 * scans for n, scans in before.items()
    }
