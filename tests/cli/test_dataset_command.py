"""`perf-gate dataset` as a user meets it: a project, its migrations, real servers."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from gate import config, dataset, db, services
from gate.cli import entry
from gate.model import PostgresServer

pytestmark = pytest.mark.services

MIGRATION = """\
CREATE TABLE lists (id serial PRIMARY KEY, title text NOT NULL);
CREATE TABLE items (
    id serial PRIMARY KEY,
    list_id integer NOT NULL REFERENCES lists (id),
    state text NOT NULL,
    body text
);
CREATE TABLE colors (name text PRIMARY KEY);
INSERT INTO colors VALUES ('red');
CREATE TABLE alembic_version (version_num text);
INSERT INTO alembic_version VALUES ('1');
"""
CONFIGURATION = f"""\
[services.postgres]
version = 18

[target]
migrate = [["{sys.executable}", "migrate.py", "{{postgres.url}}"]]
start = ["true"]

[dataset.tables]
lists.rows = 40
items.per = {{ table = "lists", mean = 30, max = 200 }}
items.columns.state = {{ values = {{ open = 3, done = 1 }} }}

[[suites.endpoints.request]]
name = "home"
path = "/"
"""
MIGRATE = f"""\
import sys

import psycopg

with psycopg.connect(sys.argv[1]) as connection:
    connection.execute({MIGRATION!r})
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a configuration, called from its root, with a cache of its own."""
    home = tmp_path / "project"
    home.mkdir()
    (home / "perf-gate.toml").write_text(CONFIGURATION)
    (home / "migrate.py").write_text(MIGRATE)
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", *command], cwd=home, check=True)
    monkeypatch.chdir(home)
    monkeypatch.setenv("PERF_GATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PERF_GATE_SERVICES", "embedded")
    return home


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    wanted = config.Services(postgres=config.Postgres(version=18))
    state = tmp_path_factory.mktemp("services")
    with services.start(wanted, provider="embedded", state=state, notify=lambda _: None) as running:
        yield running.postgres


@pytest.fixture
def mine(server: PostgresServer) -> str:
    """The URL of a migrated database of the user's."""
    dataset.create(server, "mine")
    with db.connect(server, "mine") as connection:
        connection.execute(MIGRATION.encode())
    return server.url("mine")


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = entry(["dataset", *arguments])
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def count(url: str, table: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # type: ignore[index]


def test_preview_shows_rows_and_distributions(project, called):
    """Of the tables that are named; nothing is kept."""
    code, out, err = called("preview", "items")
    assert code == 0, err
    assert out.startswith("items: 1,200 rows\n")
    assert "open 7" in out
    assert "rows of each of 40 lists: mean 30, median" in out
    assert "lists: 40 rows" not in out
    assert any("▁" <= letter <= "█" for letter in out)
    assert "left as the migrations leave them: alembic_version, colors" in err
    code, _, err = called("preview", "itmes")
    assert code == 2
    assert "no rows are generated for 'itmes'" in err


def test_verify_checks_the_data_set_that_runs_use(project, called):
    """Built the first time, restored from the cache the second; the same digest."""
    code, out, err = called("verify")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["items", "1,200", "rows", "as", "generated"]
    assert "colors" in out
    digest = lines[-1].removeprefix("data set ")
    assert len(digest) == 40
    code, out, err = called("verify")
    assert code == 0, err
    assert "restoring the seeded data set from the cache" in err
    assert out.splitlines()[-1] == f"data set {digest}"


def test_seed_fills_a_database_once(project, called, mine):
    """Then it refuses it, names what holds rows, and changes nothing; `verify --url` finds it as it is."""
    code, _, err = called("seed", "--url", mine)
    assert code == 2
    assert "database mine: colors" in err
    assert count(mine, "items") == 0
    code, out, err = called("seed", "--url", mine, "--keep-rows")
    assert code == 0, err
    assert "items: 1,200 rows" in out
    assert (count(mine, "items"), count(mine, "lists"), count(mine, "colors")) == (1_200, 40, 1)
    code, checked, err = called("verify", "--url", mine)
    assert code == 0, err
    assert checked.splitlines()[-1] == out.splitlines()[-1]
    code, _, err = called("seed", "--url", mine)
    assert code == 2
    assert "the database holds rows" in err
    assert "items" in err


def test_replace_takes_the_name_of_the_database(project, called, mine):
    """So that no copied command empties another one."""
    assert called("seed", "--url", mine, "--keep-rows")[0] == 0
    with psycopg.connect(mine) as connection:
        connection.execute("INSERT INTO lists (title) VALUES ('one more')")
        connection.execute("DELETE FROM items WHERE id = 1")
    code, _, err = called("seed", "--url", mine, "--replace", "other")
    assert code == 2
    assert "--replace names 'other', and the database is 'mine'" in err
    assert count(mine, "lists") == 41
    code, _, err = called("verify", "--url", mine)
    assert code == 3
    assert "lists: 41 rows, the specification has 40" in err
    code, _, err = called("seed", "--url", mine, "--replace", "mine")
    assert code == 0, err
    assert (count(mine, "lists"), count(mine, "items"), count(mine, "colors")) == (40, 1_200, 1)


def test_shape_writes_a_specification(project, called, mine, tmp_path):
    """To stdout, which is a configuration's [dataset]; what was read is said on stderr."""
    assert called("seed", "--url", mine, "--keep-rows")[0] == 0
    with psycopg.connect(mine, autocommit=True) as connection:
        connection.execute("ANALYZE")
    code, out, err = called("shape", "--from", mine, "--scale", "0.5")
    assert code == 0, err
    found = tomllib.loads(out)["dataset"]
    assert found["scale"] == 0.5
    assert found["production"] == {"colors": 1, "items": 1_200, "lists": 40}
    assert found["tables"]["items"]["columns"]["state"] == {"distinct": 2}
    assert "pg_class.reltuples" in err
    assert called("shape", "--from", mine, "--output", str(tmp_path / "shape.toml"))[1] == ""
    assert tomllib.loads((tmp_path / "shape.toml").read_text())["dataset"]["production"]["items"] == 1_200


def test_what_a_url_demands_of_the_connection_is_honoured(project, called, mine, monkeypatch):
    """The server here has no certificate: whoever asks for one to be verified gets no connection."""
    monkeypatch.setenv("PGSSLMODE", "prefer")  # put back at the end
    code, _, err = called("verify", "--url", f"{mine}?sslmode=verify-full")
    assert code == 3
    assert "SSL" in err
    assert called("seed", "--url", f"{mine}?sslmode=disable", "--keep-rows")[0] == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://a@b/c", "not a URL of the form"),
        ("postgresql://a:secret@localhost", "not a URL of the form"),
        ("postgresql://a:secret@localhost:port/x", "not a URL of the form"),
        ("postgresql://a:secret@localhost/x?sslmod=require", "'sslmod' is not known"),
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(project, called, url, said):
    """Before anything is opened."""
    code, out, err = called("seed", "--url", url)
    assert code == 2
    assert said in err
    assert "secret" not in out + err
