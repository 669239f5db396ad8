"""What cannot be honoured is one ConfigError before anything is written."""

from __future__ import annotations

import pytest

from gate import dataset, db
from gate.errors import ConfigError

pytestmark = pytest.mark.services


@pytest.fixture
def refused(server, migrated, spec):
    """refused(sql, **spec) -> the problems that describe raises."""

    def describe(sql, **settings):
        database = migrated("refused", sql)
        with pytest.raises(ConfigError) as caught:
            dataset.describe(server, database, spec(default_rows=100, **settings), scale=1.0)
        return caught.value.problems

    return describe


def only(problems):
    assert len(problems) == 1, problems
    return problems[0]


def test_a_check_nobody_can_guess_names_itself_and_the_override(refused):
    """Seen by the server on a sample, not by a load that fails half-way."""
    problem = only(
        refused("CREATE TABLE t (id int PRIMARY KEY, isin text NOT NULL CHECK (isin ~ '^[A-Z]{2}[0-9]{9}$'))")
    )
    assert "t_isin_check" in problem
    assert "dataset.tables.t.columns.isin.values" in problem


def test_the_override_it_names_solves_it(server, migrated, spec):
    """A list of values, or a pattern."""
    database = migrated(
        "solved", "CREATE TABLE t (id int PRIMARY KEY, isin text NOT NULL CHECK (isin ~ '^[A-Z]{2}[0-9]+$'))"
    )
    columns = {"isin": {"pattern": "DE{n}"}}
    plan = dataset.describe(server, database, spec(tables={"t": {"rows": 50, "columns": columns}}), scale=1.0)
    assert plan.rows == 50


def test_all_problems_come_at_once(refused):
    """Unknown names with the nearest valid one, impossible values, impossible NULLs."""
    tables = {
        "sogns": {"rows": 1},
        "songs": {
            "rows": 10,
            "columns": {
                "titel": {"length": 3},
                "title": {"nulls": "5%"},
                "status": {"values": ["gone"]},
                "duration_ms": {"low": -5},
            },
        },
    }
    problems = "\n".join(refused("music.sql", tables=tables, ignore=["playlist"]))
    assert "no table 'sogns'; did you mean 'songs'?" in problems
    assert "no column 'titel'; did you mean 'title'?" in problems
    assert "title: nulls: the column is NOT NULL" in problems
    assert "duration_ms.low = -5 is outside" in problems
    assert "no table 'playlist'; did you mean 'playlists'?" in problems


def test_values_that_break_a_check_are_refused(refused):
    """Found by the rehearsal."""
    tables = {"songs": {"rows": 10, "columns": {"status": {"values": ["gone"]}}}}
    assert "songs_status_check" in only(refused("music.sql", tables=tables))


def test_a_value_of_another_type_is_refused(refused):
    """In the server's words, at the place in the configuration."""
    tables = {"songs": {"rows": 10, "columns": {"duration_ms": {"constant": "long"}}}}
    problem = only(refused("music.sql", tables=tables))
    assert problem.startswith("dataset.tables.songs.columns.duration_ms.constant: invalid input syntax")


def test_more_rows_than_a_unique_key_allows_are_refused(refused):
    """One row for each parent; said with the largest number that fits."""
    tables = {"songs": {"rows": 40}, "analysis_results": {"rows": 41}}
    assert "set it to 40 at most" in only(refused("music.sql", tables=tables))


def test_rows_nobody_asked_for_are_fitted(server, migrated, spec):
    """Where the number comes from default_rows it is lowered without a word."""
    database = migrated("fitted", "music.sql")
    plan = dataset.describe(
        server, database, spec(default_rows=100, tables={"songs": {"rows": 40}}), scale=1.0
    )
    assert {table.name: table.rows for table in plan.tables}["analysis_results"] == 40


def test_scale_leaves_fixed_tables(server, migrated, spec):
    """And never takes the last row of another."""
    database = migrated("scaled", "music.sql")
    tables = {"artists": {"rows": 7, "fixed": True}, "users": {"rows": 30}, "songs": {"rows": 0}}
    plan = dataset.describe(
        server,
        database,
        spec(
            default_rows=10, tables={**tables, "playlist_songs": {"rows": 0}, "analysis_results": {"rows": 0}}
        ),
        scale=0.01,
    )
    found = {table.name: table.rows for table in plan.tables}
    assert (found["artists"], found["users"], found["songs"]) == (7, 1, 0)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE TABLE p (id int, d date) PARTITION BY RANGE (d)", "p is partitioned by RANGE (d)"),
        ("CREATE TABLE e (r int4range, EXCLUDE USING gist (r WITH &&))", "exclusion constraint e_r_excl"),
        ("CREATE TABLE v (id int PRIMARY KEY, place point NOT NULL)", "no generator for type point"),
        ("CREATE TABLE b (flag boolean UNIQUE)", "b_flag_key"),
        (
            "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE c (a_id int NOT NULL REFERENCES a)",
            "c.a_id must refer to a, which has no rows",
        ),
    ],
)
def test_what_no_rows_can_satisfy_is_said(refused, sql, said):
    """With the way out."""
    tables = {"a": {"rows": 0}, "c": {"rows": 5}} if "TABLE c" in sql else {}
    tables |= {"b": {"rows": 100}} if "TABLE b" in sql else {}
    assert said in only(refused(sql, tables=tables))


@pytest.mark.parametrize(
    ("column", "override", "said"),
    [
        ("artist_id", {"values": [1, 2]}, "values cannot be honoured: it refers to artists"),
        ("artist_id", {"distribution": "lognormal"}, "zipf, uniform and sequence choose parents"),
        ("id", {"distribution": "zipf"}, "keeps the rows of a unique key apart"),
        ("title", {"relative": True}, "only dates and timestamps have it"),
        ("search", {"length": 5}, "the server computes this column"),
        ("created_at", {"low": 1, "high": 9}, "low is the furthest back"),
    ],
)
def test_an_override_without_effect_is_refused(refused, column, override, said):
    """Never ignored."""
    tables = {"songs": {"rows": 10, "columns": {column: override}}}
    assert said in only(refused("music.sql", tables=tables))


def test_tables_without_parents_stay_empty_unless_asked_for(server, migrated, spec):
    """No artists, so no songs, and nothing that needs songs."""
    database = migrated("orphans", "music.sql")
    plan = dataset.describe(
        server, database, spec(default_rows=9, tables={"artists": {"rows": 0}}), scale=1.0
    )
    found = {table.name: table.rows for table in plan.tables}
    assert (found["songs"], found["playlist_songs"], found["playlists"]) == (0, 0, 9)


def test_describing_leaves_no_trace(server, migrated, spec):
    """The rehearsal happens in a transaction that is rolled back."""
    database = migrated("untouched", "music.sql")
    with db.connect(server, database) as conn:
        before = conn.execute("SELECT count(*) FROM pg_class").fetchall()
        dataset.describe(server, database, spec(default_rows=20), scale=1.0)
        assert conn.execute("SELECT count(*) FROM pg_class").fetchall() == before
        assert conn.execute("SELECT count(*) FROM songs").fetchall() == [(0,)]


def test_what_refers_to_a_table_with_a_wrong_per_is_not_blamed(refused):
    """The one problem is said once, without those that follow from it."""
    per = {"table": "users", "mean": 3}
    tables = {"users": {"rows": 9}, "songs": {"per": per}, "analysis_results": {"rows": 50}}
    assert "has no foreign key to it" in only(refused("music.sql", tables=tables))


def test_the_column_that_tells_rows_apart_is_the_one_that_groups_none(server, migrated, spec):
    """(dag, run) and (dag, day): the dag comes again; so it does where the user says how many there are."""
    sql = """
        CREATE TABLE runs (dag text NOT NULL, run text NOT NULL, day timestamptz NOT NULL,
                           UNIQUE (dag, run), UNIQUE (dag, day))
    """
    columns = {"dag": {"distinct": 7}}
    plan = dataset.describe(
        server,
        migrated("grouped", sql),
        spec(tables={"runs": {"rows": 500, "columns": columns}}),
        scale=1.0,
    )
    assert plan.rows == 500
