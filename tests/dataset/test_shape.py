"""A specification from a catalogue: shapes of the data, none of its values."""

from __future__ import annotations

import dataclasses
import json
import tomllib

import pytest

from gate import config, dataset, db
from gate.dataset import shape as module
from gate.dataset.shape import shape

pytestmark = pytest.mark.services

SECRET = "secret-of-a-person"
SCHEMA = """
CREATE TABLE countries (code varchar(8) PRIMARY KEY, title text NOT NULL);
CREATE TABLE people (
    id serial PRIMARY KEY,
    country varchar(8) NOT NULL REFERENCES countries (code),
    email text NOT NULL UNIQUE,
    biography text,
    team text NOT NULL,
    state text NOT NULL CHECK (state IN ('on', 'off')),
    logins integer NOT NULL
);
CREATE TABLE boards (
    id serial PRIMARY KEY, owner_id integer NOT NULL REFERENCES people (id), name text NOT NULL
);
CREATE TABLE cards (
    board_id integer NOT NULL REFERENCES boards (id),
    position integer NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (board_id, position)
);
CREATE TABLE empty (id serial PRIMARY KEY, note text);
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
"""
ROWS = f"""
INSERT INTO countries SELECT 'c' || i, '{SECRET}' FROM generate_series(1, 20) i;
INSERT INTO people (country, email, biography, team, state, logins)
SELECT 'c' || 1 + (i % 20), '{SECRET}' || i, CASE WHEN i % 4 = 0 THEN repeat('{SECRET} ', 20) END,
       '{SECRET}' || i % 7, 'on', i % 50 FROM generate_series(1, 2000) i;
INSERT INTO boards (owner_id, name)
SELECT CASE WHEN i <= 300 THEN 17 ELSE 1 + i % 2000 END, '{SECRET}' FROM generate_series(1, 1500) i;
INSERT INTO cards SELECT b, p, '{SECRET} ' || b || '-' || p || repeat('x', 55)
FROM generate_series(1, 1500) b, generate_series(1, CASE WHEN b = 5 THEN 400 ELSE 4 END) p;
INSERT INTO alembic_version VALUES ('{SECRET}');
ANALYZE;
"""


@pytest.fixture
def production(server, migrated):
    database = migrated("production", SCHEMA)
    with db.connect(server, database) as conn:
        conn.execute(ROWS.encode())
    return database


@pytest.fixture
def tables(server, production):
    return tomllib.loads(shape(server, production, scale=0.1).text)["dataset"]


def test_rows_are_the_catalogues(tables):
    """Bookkeeping is left out; lookup tables are fixed; production's rows are there to predict by."""
    assert tables["scale"] == 0.1
    assert tables["production"] == {"countries": 20, "people": 2_000, "boards": 1_500, "cards": 6_396}
    assert tables["tables"]["countries"]["rows"] == 20
    assert tables["tables"]["countries"]["fixed"]
    assert tables["tables"]["people"]["rows"] == 2_000
    assert "fixed" not in tables["tables"]["people"]
    assert "alembic_version" not in tables["tables"]


def test_rows_within_a_parent_are_relative_to_it(tables):
    """(board, position) is the key: the mean and the hottest board's rows."""
    assert tables["tables"]["cards"]["per"] == {
        "table": "boards",
        "mean": pytest.approx(4.26, abs=0.05),
        "max": pytest.approx(400, abs=40),
    }
    assert "rows" not in tables["tables"]["cards"]


def test_columns_are_described_by_shares_counts_and_widths(tables):
    """NULL, different values, lengths; what names and checks say better is left to them."""
    people = tables["tables"]["people"]["columns"]
    assert people["biography"]["nulls"] == "75%"
    assert people["team"] == {"distinct": 7}
    assert people["logins"] == {"distinct": 50}
    assert people["country"] == {"distribution": "uniform"}
    assert "email" not in people
    assert "state" not in people
    assert tables["tables"]["boards"]["columns"]["owner_id"]["skew"] > 0.5
    assert tables["tables"]["cards"]["columns"]["body"]["length"] == pytest.approx(80, abs=5)


def test_the_specification_is_one(server, production, tables, quiet):
    """It seeds the same schema, and what is seeded has the shapes again."""
    spec = config.Dataset.model_validate_json(json.dumps(tables), strict=True)
    dataset.create(server, "seeded_by_it")
    with db.connect(server, "seeded_by_it") as conn:
        conn.execute(SCHEMA.encode())
    plan = dataset.describe(server, "seeded_by_it", spec, scale=1.0)
    template = dataset.build(server, "seeded_by_it", plan, notify=quiet)
    with dataset.cloned(server, template, "like_production") as name:
        again = tomllib.loads(shape(server, name, scale=0.1).text)["dataset"]
    assert again["production"] == pytest.approx(tables["production"], rel=0.02)
    assert again["tables"]["people"]["columns"]["team"] == {"distinct": 7}
    assert again["tables"]["cards"]["per"]["max"] == pytest.approx(400, rel=0.3)
    boards = [each["tables"]["boards"]["columns"]["owner_id"]["skew"] for each in (tables, again)]
    assert boards[0] == pytest.approx(boards[1], rel=0.2)


def test_no_value_is_in_it(server, production):
    """Neither of a table nor of the statistics, which hold them."""
    with db.connect(server, production) as conn:
        found = conn.execute(
            "SELECT count(*) FROM pg_stats WHERE most_common_vals::text LIKE '%secret%'"
        ).fetchone()
    assert found is not None
    assert found[0] > 0
    assert "secret" not in shape(server, production).text


def test_no_statement_names_what_holds_values(server, production, monkeypatch):
    """Every statement that is sent, as the server gets it, and no table of the database is touched."""
    sent = []
    connect = db.connect

    def listening(*args):
        connection = connect(*args)
        execute = connection.execute
        connection.execute = lambda query, *rest, **more: (
            sent.append(query.decode() if isinstance(query, bytes) else str(query)),
            execute(query, *rest, **more),
        )[1]
        return connection

    monkeypatch.setattr(module.db, "connect", listening)
    scans = "SELECT sum(seq_scan + coalesce(idx_scan, 0))::int FROM pg_stat_user_tables"
    with connect(server, production) as conn:
        before = conn.execute(scans).fetchone()
    shape(server, production)
    with connect(server, production) as conn:
        assert conn.execute(scans).fetchone() == before
    text = "\n".join(sent)
    assert "pg_stats" in text
    for forbidden in ("most_common_vals", "histogram_bounds", "most_common_elems", "FROM people", '"people"'):
        assert forbidden not in text


def test_a_role_that_may_read_no_table_gets_the_rows(server, production):
    """Row counts and schema; statistics are shown by the server to those who may read the column."""
    with db.connect(server, production) as conn:
        conn.execute("CREATE ROLE onlooker LOGIN PASSWORD 'onlooker'")
    try:
        role = dataclasses.replace(server, user="onlooker", password="onlooker", pid=0, data_directory="")
        found = shape(role, production)
        assert found.rows["people"] == 2_000
        assert "nulls" not in found.text
    finally:
        with db.connect(server, production) as conn:
            conn.execute("DROP ROLE onlooker")


def test_a_table_never_analysed_is_named(server, production):
    """Its rows are unknown, and 0 would be wrong."""
    with db.connect(server, production) as conn:
        conn.execute("CREATE TABLE fresh (id serial PRIMARY KEY)")
    found = shape(server, production)
    assert found.unknown == ("fresh",)
    assert "fresh" not in found.text
