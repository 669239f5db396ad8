"""What a specification may say of rows and columns, seen in the database that comes of it."""

from __future__ import annotations

import pytest

from gate import config, dataset, db
from gate.errors import ConfigError

pytestmark = pytest.mark.services

JOBS = """
CREATE TABLE queues (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE jobs (
    id bigserial PRIMARY KEY,
    queue_id integer NOT NULL REFERENCES queues (id),
    status text NOT NULL,
    urgent boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    failed_reason text,
    low_mark integer NOT NULL,
    high_mark integer NOT NULL,
    plays integer NOT NULL,
    likes integer NOT NULL,
    CHECK ((status = 'done') = (finished_at IS NOT NULL))
);
CREATE TABLE genres (id serial PRIMARY KEY, code varchar(12) NOT NULL UNIQUE, label text, weight integer);
CREATE TABLE tagged (
    job_id bigint REFERENCES jobs (id),
    genre_id integer REFERENCES genres (id),
    PRIMARY KEY (job_id, genre_id)
);
"""
STATUS = {"values": {"waiting": 2, "running": 1, "done": 7}}
TIMES = {
    "created_at": {"distribution": "recent", "half_life": 10, "low": 200},
    "started_at": {"after": "created_at", "delay": "10m", "when": {"status": ["running", "done"]}},
    "finished_at": {"after": "started_at", "delay": "2m", "when": {"status": ["done"]}, "nulls": "0%"},
    "status": STATUS,
}


@pytest.fixture
def ask(server, migrated, spec, quiet):
    """ask(specification, *statements) -> the first row of each statement, of a database made by it."""

    def rows(wanted, *statements, sql=JOBS, scale=1.0, directory=None):
        database = migrated("specified", sql)
        plan = dataset.describe(server, database, spec(**wanted), scale=scale, directory=directory)
        template = dataset.build(server, database, plan, notify=quiet)
        with dataset.cloned(server, template, "asked") as name, db.connect(server, name) as conn:
            return [conn.execute(statement).fetchone() for statement in statements]

    return rows


@pytest.fixture
def refused(server, migrated, spec):
    """refused(tables) -> the problems of a specification of JOBS."""

    def problems(tables, **options):
        database = migrated("refused", JOBS)
        with pytest.raises(ConfigError) as caught:
            dataset.describe(server, database, spec(default_rows=20, tables=tables), scale=1.0, **options)
        return "\n".join(caught.value.problems)

    return problems


def per(**settings):
    return {"per": {"table": "queues", **settings}, "columns": dict(TIMES)}


# Rows by a parent


def test_rows_follow_from_the_parents(ask):
    """As many as the mean says, none of the parents above max, the first at it; scale changes the parents."""
    tables = {"queues": {"rows": 400}, "jobs": per(mean=20, max=300), "tagged": {"rows": 0}}
    counts = (
        "SELECT sum(n)::int, max(n), min(n) FROM (SELECT count(j.id) n "
        "FROM queues q LEFT JOIN jobs j ON j.queue_id = q.id GROUP BY q.id) t"
    )
    ((total, most, least),) = ask({"tables": tables}, counts)
    assert total == 8_000
    assert 250 <= most <= 300
    assert least < 15
    ((total, _, _),) = ask({"tables": tables}, counts, scale=0.5)
    assert total == 4_000


def test_a_small_scale_keeps_the_law(ask):
    """Among 20 queues of 400 the hottest is not expected to have as much as the hottest of all."""
    tables = {"queues": {"rows": 400}, "jobs": per(mean=20, max=2_000), "tagged": {"rows": 0}}
    statement = "SELECT max(n), count(*) FROM (SELECT count(*) n FROM jobs GROUP BY queue_id) t"
    ((whole, _),) = ask({"tables": tables}, statement)
    ((most, parents),) = ask({"tables": tables}, statement, scale=0.05)
    assert 1_900 <= whole <= 2_000
    assert most < 250
    assert parents >= 17


def test_rows_of_a_parent_lie_all_over_the_table(ask):
    """As they come in over time: the hottest parent has rows at the beginning and at the end."""
    tables = {"queues": {"rows": 50}, "jobs": per(mean=40, max=400), "tagged": {"rows": 0}}
    ((first, last),) = ask(
        {"tables": tables},
        "SELECT min(id), max(id) FROM jobs WHERE queue_id = "
        "(SELECT queue_id FROM jobs GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)",
    )
    assert first < 50
    assert last > 1_950


def test_every_parent_has_its_least(ask):
    """And a lognormal law is one too."""
    tables = {
        "queues": {"rows": 100},
        "jobs": per(mean=10, min=3, max=60, distribution="lognormal"),
        "tagged": {"rows": 0},
    }
    ((least, most),) = ask(
        {"tables": tables}, "SELECT min(n), max(n) FROM (SELECT count(*) n FROM jobs GROUP BY queue_id) t"
    )
    assert least >= 3
    assert 20 < most <= 60


def test_a_unique_set_counts_within_the_parent_that_is_named(ask):
    """(job, genre) is unique: rows per job, and another genre each time."""
    tables = {
        "queues": {"rows": 5},
        "jobs": {"rows": 300, "columns": TIMES},
        "genres": {"rows": 40},
        "tagged": {"per": {"table": "jobs", "mean": 4, "max": 25}},
    }
    total, (most,) = ask(
        {"tables": tables},
        "SELECT count(*), count(DISTINCT (job_id, genre_id)) FROM tagged",
        "SELECT max(n) FROM (SELECT count(*) n FROM tagged GROUP BY job_id) t",
    )
    assert total == (1_200, 1_200)
    assert 15 < most <= 25


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"jobs": {"per": {"table": "genres", "mean": 3}}}, "jobs.per: genres: has no foreign key to it"),
        ({"jobs": {"per": {"table": "queues", "mean": 3, "column": "status"}}}, "column is one of queue_id"),
        (
            {"tagged": {"per": {"table": "genres", "mean": 50}}, "jobs": {"rows": 9, "columns": TIMES}},
            "tagged.per: ",
        ),
    ],
)
def test_rows_by_a_parent_that_cannot_be_are_refused(refused, tables, said):
    """No such key; or more rows than another key allows."""
    assert said in refused(tables)


def test_rows_that_follow_from_themselves_are_refused():
    """While the file is read."""
    tables = {
        "a": {"per": {"table": "b", "mean": 2}},
        "b": {"per": {"table": "a", "mean": 2}},
    }
    with pytest.raises(ValueError, match="a <- b <- a"):
        config.Dataset.model_validate({"tables": tables})


def test_disk_space_is_judged_by_the_rows_that_follow():
    """`rows` of the configuration is what the file alone comes to."""
    tables = {
        "a": {"rows": 50},
        "b": {"per": {"table": "a", "mean": 4}},
        "c": {"per": {"table": "b", "mean": 2.5}},
    }
    found = config.Dataset.model_validate({"tables": tables}).tables
    assert [found[name].rows for name in "abc"] == [50, 200, 500]


# Columns that depend on each other


def test_a_life_goes_in_order(ask):
    """Created, started, finished; each only in the states that have it; a check that no parser understands
    holds because of it."""
    tables = {"queues": {"rows": 5}, "jobs": {"rows": 4_000, "columns": TIMES}, "tagged": {"rows": 0}}
    counts, delays, recent = ask(
        {"tables": tables},
        "SELECT count(*) FILTER (WHERE started_at < created_at OR finished_at < started_at), "
        "count(*) FILTER (WHERE status = 'waiting' AND started_at IS NOT NULL), "
        "count(*) FILTER (WHERE status <> 'waiting' AND started_at IS NULL), "
        "count(*) FILTER (WHERE finished_at IS NOT NULL) - count(*) FILTER (WHERE status = 'done') FROM jobs",
        "SELECT extract(epoch FROM avg(started_at - created_at))::float8, "
        "extract(epoch FROM avg(finished_at - started_at))::float8 FROM jobs",
        "SELECT avg((created_at > '2025-12-22')::int)::float8, max(finished_at) < '2026-01-02' FROM jobs",
    )
    assert counts == (0, 0, 0, 0)
    assert delays == pytest.approx((600, 120), rel=0.1)
    assert recent[0] == pytest.approx(0.5, abs=0.04)
    assert recent[1]


def test_a_number_is_above_another_of_its_row(ask):
    """`after` is of numbers too; where one is NULL so is the other."""
    columns = {**TIMES, "high_mark": {"after": "low_mark", "high": 50}, "low_mark": {"low": 1, "high": 20}}
    tables = {"jobs": {"rows": 2_000, "columns": columns}}
    ((least, most),) = ask({"tables": tables}, "SELECT min(high_mark - low_mark), max(high_mark) FROM jobs")
    assert least >= 1
    assert 20 < most <= 50


@pytest.mark.parametrize("correlation", [0.8, -0.6])
def test_numbers_follow_each_other(ask, correlation):
    """By the correlation of their ranks, whatever their own distributions are."""
    columns = {
        **TIMES,
        "plays": {"low": 0, "high": 100_000, "distribution": "zipf"},
        "likes": {
            "low": 0,
            "high": 1_000,
            "distribution": "uniform",
            "follows": "plays",
            "correlation": correlation,
        },
    }
    ranks = (
        "SELECT corr(p, l) FROM (SELECT rank() OVER (ORDER BY plays) p, "
        "rank() OVER (ORDER BY likes) l FROM jobs) t"
    )
    ((found,),) = ask({"tables": {"jobs": {"rows": 5_000, "columns": columns}}}, ranks)
    assert found == pytest.approx(correlation, abs=0.06)


@pytest.mark.parametrize(
    ("column", "override", "said"),
    [
        ("finished_at", {"after": "finished_at"}, "after = finished_at cannot be honoured: that is itself"),
        ("finished_at", {"after": "nothing"}, "that is no column"),
        ("finished_at", {"after": "plays"}, "both must be times, or numbers"),
        ("status", {"when": {"urgent": [True]}}, "the column is NOT NULL"),
        ("failed_reason", {"when": {"plays": [3]}}, "plays is no list; give it values"),
        ("likes", {"follows": "status"}, "both must be numbers or times drawn by chance"),
        ("plays", {"vocabulary": ["a"]}, "only text columns have one"),
        ("failed_reason", {"vocabulary": "nonsense"}, "there is no list 'nonsense'; there are"),
        ("failed_reason", {"distinct": 3, "values": ["a"]}, "values and distinct exclude each other"),
        ("plays", {"distribution": "recent"}, "only dates and timestamps have it"),
        ("urgent", {"distinct": 2}, "numbers, texts and uuids have it"),
    ],
)
def test_what_cannot_depend_is_refused(refused, column, override, said):
    """With the column, and why."""
    columns = {"finished_at": {"nulls": "0%"}, **TIMES, column: override}
    assert said in refused({"jobs": {"rows": 10, "columns": columns}})


def test_columns_that_depend_in_a_circle_are_refused(refused):
    """Instead of never coming to an end."""
    columns = {
        **TIMES,
        "started_at": {"after": "finished_at"},
        "finished_at": {"after": "started_at"},
    }
    assert "circle" in refused({"jobs": {"rows": 10, "columns": columns}})


# Contents


def test_values_repeat_as_often_as_asked(ask):
    """Numbers, texts and names of a known list; the frequent ones first unless uniform."""
    columns = {
        **TIMES,
        "plays": {"distinct": 30, "distribution": "uniform"},
        "failed_reason": {"distinct": 7, "nulls": "0%"},
    }
    ((plays, reasons, top),) = ask(
        {"tables": {"jobs": {"rows": 3_000, "columns": columns}}},
        "SELECT count(DISTINCT plays), count(DISTINCT failed_reason), "
        "(SELECT max(n) FROM (SELECT count(*) n FROM jobs GROUP BY failed_reason) t)::int FROM jobs",
    )
    assert (plays, reasons) == (30, 7)
    assert top > 600


def test_texts_have_the_lengths_and_words_that_are_asked_for(ask):
    """A length with a law, words of the team's own, patterns."""
    jobs = {
        **TIMES,
        "failed_reason": {
            "nulls": "0%",
            "vocabulary": ["timeout", "refused"],
            "length": {"mean": 60, "high": 400},
        },
    }
    genres = {
        "label": {"vocabulary": ["loud", "quiet"], "nulls": "0%"},
        "code": {"pattern": "G-{n:4}-{upper:2}"},
    }
    tables = {"jobs": {"rows": 2_000, "columns": jobs}, "genres": {"rows": 60, "columns": genres}}
    reasons, labels, codes = ask(
        {"tables": tables},
        "SELECT avg(length(failed_reason))::float8, max(length(failed_reason)), "
        "bool_and(lower(failed_reason) ~ '^[timeoutrfsd. ]+$') FROM jobs",
        "SELECT array_agg(DISTINCT label ORDER BY label) FROM genres",
        "SELECT bool_and(code ~ '^G-[0-9]{4}-[A-Z]{2}$') FROM genres",
    )
    assert reasons[0] == pytest.approx(60, abs=8)
    assert 200 < reasons[1] <= 400
    assert (reasons[2], labels, codes) == (True, (["loud", "quiet"],), (True,))


def test_the_first_rows_come_from_a_file(ask, tmp_path):
    """In their order, with generated columns and rows beside them; ids go on after the file's."""
    (tmp_path / "genres.csv").write_text("id,code,label\n5,rock,Rock\n7,pop,\n")
    tables = {"genres": {"rows": 10, "csv": "genres.csv"}, "jobs": {"rows": 50, "columns": TIMES}}
    first, second, rest, used = ask(
        {"tables": tables, "default_rows": 20},
        "SELECT id, code, label, weight IS NULL FROM genres ORDER BY ctid LIMIT 1",
        "SELECT id, code, label FROM genres ORDER BY ctid OFFSET 1 LIMIT 1",
        "SELECT count(*), min(id), max(id), (SELECT nextval('genres_id_seq')) FROM genres WHERE id > 7",
        "SELECT count(*) FROM tagged WHERE genre_id NOT IN (SELECT id FROM genres)",
        directory=tmp_path,
    )
    assert first[:3] == (5, "rock", "Rock")
    assert second == (7, "pop", None)
    assert rest == (8, 8, 15, 16)
    assert used == (0,)


def test_a_file_may_hold_all_rows(server, migrated, spec, ask, tmp_path):
    """Without `rows`; scale leaves them, and another file is another data set."""
    (tmp_path / "genres.csv").write_text("code,label,weight\na,A,1\nb,B,2\nc,,3\n")
    tables = {"genres": {"csv": "genres.csv", "csv_ignore": ["weight"]}, "jobs": {"rows": 0}}
    ((count, ids, labels),) = ask(
        {"tables": tables},
        "SELECT count(*), array_agg(id ORDER BY id), count(label) FROM genres",
        scale=5.0,
        directory=tmp_path,
    )
    assert (count, ids, labels) == (3, [1, 2, 3], 2)

    def key():
        database = migrated("keyed", JOBS)
        return dataset.describe(server, database, spec(tables=tables), scale=1.0, directory=tmp_path).key

    before = key()
    (tmp_path / "genres.csv").write_text("code,label,weight\na,A,1\nb,B,2\nc,,4\n")
    assert key() != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cod,label\na,b\n", "no column 'cod'; did you mean 'code'?; mend its header"),
        ("code,weight\na,heavy\n", "genres.csv: weight: invalid input syntax for type integer"),
        ("code\nmuch-too-long-for-it\n", "genres: generated rows break"),
        ("code\na\na\n", "genres: generated rows break"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(refused, tmp_path, text, said):
    """Before anything is written."""
    if text is not None:
        (tmp_path / "genres.csv").write_text(text)
    tables = {"genres": {"csv": "genres.csv"}, "jobs": {"rows": 9, "columns": TIMES}}
    assert said in refused(tables, directory=tmp_path)


def test_base_lacks_what_head_depends_on(server, migrated, spec, tmp_path, monkeypatch):
    """Head's specification fits base's older schema: conditions, parents and columns of the file go."""
    older = """
    CREATE TABLE queues (id serial PRIMARY KEY);
    CREATE TABLE jobs (id serial PRIMARY KEY, queue_id int, finished_at timestamptz);
    CREATE TABLE genres (id serial PRIMARY KEY, code text)
    """
    (tmp_path / "genres.csv").write_text("code,label\na,A\n")
    monkeypatch.chdir(tmp_path)
    tables = {
        "queues": {"rows": 10},
        "jobs": per(mean=7),
        "genres": {"csv": "genres.csv"},
        "tagged": {"rows": 5},
    }
    database = migrated("older", older)
    fitted = dataset.fitting(server, database, spec(tables=tables))
    plan = dataset.describe(server, database, fitted, scale=1.0)
    assert {table.name: table.rows for table in plan.tables} == {"queues": 10, "jobs": 70, "genres": 1}


# What stood before stays


OLD = {
    "music": ("music.sql", {"default_rows": 300}, "f1ed8b805da2e494ea4b2dce70d9eaee06ede467"),
    "tenants": (
        "tenants.sql",
        {"default_rows": 150, "tables": {"tenants": {"rows": 20}}},
        "3d416f98a580c3f0137ab7de1df2547c8c4a0d85",
    ),
}


@pytest.mark.parametrize("name", OLD)
def test_specifications_of_before_give_the_bytes_of_before(server, migrated, spec, quiet, name):
    """Digests stand in teams' baselines; these were written down before there were the keys above."""
    sql, wanted, expected = OLD[name]
    database = migrated(name, sql)
    plan = dataset.describe(server, database, spec(**wanted), scale=1.0)
    assert dataset.build(server, database, plan, notify=quiet).digest == expected
