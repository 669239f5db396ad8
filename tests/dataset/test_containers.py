"""A container's server is given the same data set as the embedded one, byte for byte."""

from __future__ import annotations

import contextlib

import pytest
from docker.errors import ImageNotFound

from gate import config, dataset, db, services
from gate.services import containers
from gate.services.running import Unavailable
from tests.dataset.conftest import SCHEMAS

REGISTRY = "perf-gate-stand-in"
TABLES = {
    "artists": {"rows": 300},
    "songs": {"rows": 4_000},
    "users": {"rows": 500},
    "playlists": {"rows": 400},
    "playlist_songs": {"rows": 9_000},
    "analysis_results": {"rows": 3_000},
}

pytestmark = [pytest.mark.docker, pytest.mark.services]


@pytest.fixture
def contained(tmp_path, quiet):
    """A server in a container; skipped where there is no daemon with the stand-in images."""
    wanted = config.Services.model_validate({"postgres": {"version": 18}, "docker": {"registry": REGISTRY}})
    with contextlib.ExitStack() as stack:
        try:
            client, _ = stack.enter_context(containers.daemon())
            client.images.get(f"{REGISTRY}/postgres:18")
        except Unavailable as error:
            pytest.skip(error.message)
        except ImageNotFound:
            pytest.skip("no stand-in images: python tools/stand_in_images.py")
        running = stack.enter_context(services.start(wanted, provider="docker", state=tmp_path, notify=quiet))
        yield running.postgres


def seeded(server, spec, quiet):
    """The template, and by table a digest of the rows as the server shows them, in the order they lie in."""
    dataset.create(server, "contained")
    with db.connect(server, "contained") as conn:
        conn.execute((SCHEMAS / "music.sql").read_bytes())
    plan = dataset.describe(server, "contained", spec(default_rows=200, tables=TABLES), scale=1.0)
    template = dataset.build(server, "contained", plan, notify=quiet)
    with dataset.cloned(server, template, "looked_at") as name, db.connect(server, name) as conn:
        rows = {
            table: conn.execute(f"SELECT md5(string_agg(t::text, ' ')) FROM {table} t".encode()).fetchall()
            for table, _, _ in template.tables
        }
    dataset.drop(server, template.database)
    return template, rows


def test_a_data_set_is_the_same_in_a_container(server, contained, spec, quiet):
    """Key, digests and statistics, and what the rows have become in the database."""
    assert server.provider != contained.provider
    assert seeded(contained, spec, quiet) == seeded(server, spec, quiet)
