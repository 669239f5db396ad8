"""Whole schemas through describe, build and clone on a real server.

`build` recreates every constraint as it was, so a template that exists has rows that keep them all.
"""

from __future__ import annotations

import dataclasses
import datetime
import threading

import pytest

from gate import dataset, db
from gate.dataset import load
from gate.dataset.texts import Span
from gate.errors import EnvironmentFailure

pytestmark = pytest.mark.services

MUSIC = {
    "artists": {"rows": 300},
    "songs": {"rows": 4_000},
    "users": {"rows": 500},
    "playlists": {"rows": 400},
    "playlist_songs": {"rows": 9_000},
    "analysis_results": {"rows": 3_000},
}
TENANTS = {
    "tenants": {"rows": 40},
    "user": {"rows": 3_000},
    "addresses": {"rows": 5_000},
    "audit.events": {"rows": 2_000},
    "things": {"rows": 1_500},
}


def rows(conn, statement):
    return conn.execute(statement).fetchall()


@pytest.fixture
def seed(server, quiet):
    """seed(database, spec) -> the template."""

    def build(database, spec, **options):
        plan = dataset.describe(server, database, spec, scale=1.0, **options)
        return dataset.build(server, database, plan, notify=quiet)

    return build


@pytest.fixture
def look(server):
    """look(template, *statements) -> the rows of each statement in a clone."""

    def ask(template, *statements):
        with dataset.cloned(server, template, "looked_at") as name, db.connect(server, name) as conn:
            found = [rows(conn, statement) for statement in statements]
        return found[0] if len(found) == 1 else found

    return ask


def definitions(conn):
    return rows(
        conn,
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace <> 'pg_catalog'::regnamespace AND contype <> 'n' ORDER BY 1, 2",
    ), rows(conn, "SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'audit') ORDER BY 1")


@pytest.mark.parametrize(("file", "tables"), [("music.sql", MUSIC), ("tenants.sql", TENANTS)])
def test_a_seeded_schema_has_its_rows_and_every_constraint_and_index(
    server, migrated, seed, spec, file, tables
):
    """Dropped for the load, recreated word for word, in the order they were made in."""
    database = migrated("schema", file)
    created = (
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid::bigint > 16384 ORDER BY indexrelid"
    )
    with db.connect(server, database) as conn:
        before, order = definitions(conn), rows(conn, created)
    template = seed(database, spec(default_rows=500, tables=tables))
    assert template.rows == sum(count for _, count, _ in template.tables)
    with dataset.cloned(server, template, "copy") as name, db.connect(server, name) as conn:
        assert definitions(conn) == before
        kept = {("tenants_pkey",)} if file == "tenants.sql" else set()  # a view groups by this key
        assert [row for row in rows(conn, created) if row not in kept] == [
            row for row in order if row not in kept
        ]
        for table, count, _ in template.tables:
            assert rows(conn, f"SELECT count(*) FROM {quoted(table)}") == [(count,)]
        assert not rows(conn, "SELECT 1 FROM pg_constraint WHERE NOT convalidated")


def quoted(table):
    return ".".join(f'"{part}"' for part in table.split("."))


def test_parents_are_skewed_and_not_the_oldest_ones(migrated, seed, spec, look):
    """Some songs stand in very many playlists, most in few, and the hot ones anywhere."""
    template = seed(migrated("music", "music.sql"), spec(tables=MUSIC))
    songs, lists = look(
        template,
        "SELECT song_id, count(*) FROM playlist_songs GROUP BY 1 ORDER BY 2 DESC",
        "SELECT count(*), min(position), max(position) FROM playlist_songs "
        "GROUP BY playlist_id ORDER BY 1 DESC",
    )
    assert songs[0][1] > 10 * songs[len(songs) // 2][1]
    assert sum(song for song, _ in songs[:10]) / 10 > 400
    assert lists[0][0] > 10 * lists[len(lists) // 2][0]
    assert all(first == 0 and last == count - 1 for count, first, last in lists)


def test_columns_get_what_their_names_and_checks_say(migrated, seed, spec, look):
    """Times in order, mails that look like mails, scores within bounds, some NULLs."""
    template = seed(migrated("music", "music.sql"), spec(tables=MUSIC))
    people, scores, songs, artists = look(
        template,
        "SELECT bool_and(email LIKE '%@example.com'), bool_and(length(username) <= 20) FROM users",
        "SELECT max(score) > 80, min(score) < 20, min(sentiment) < -0.5 FROM analysis_results",
        "SELECT max(created_at) < '2026-01-01', bool_and(created_at <= updated_at), "
        "corr(id, extract(epoch FROM created_at)) > 0.9, count(DISTINCT status) = 3 FROM songs",
        "SELECT count(*) FILTER (WHERE country IS NULL) BETWEEN 10 AND 60 FROM artists",
    )
    assert {value for found in (people, scores, songs, artists) for row in found for value in row} == {True}


def test_new_rows_can_be_inserted(server, migrated, seed, spec):
    """Sequences go on after the last row, and the application's triggers are back."""
    template = seed(migrated("tenants", "tenants.sql"), spec(default_rows=200, tables=TENANTS))
    with dataset.cloned(server, template, "written") as name, db.connect(server, name) as conn:
        added = rows(conn, "INSERT INTO audit.events (occurred_at) VALUES (now()) RETURNING id")
        assert added == [(2_001,)]
        with pytest.raises(db.Error, match="no triggers while seeding"):
            conn.execute("INSERT INTO things (id, kind_code, weight) VALUES (9999, 'a', 1)")


def test_lookup_tables_are_left_and_used(migrated, seed, spec, look):
    """Rows of the migrations stay; foreign keys spread over them; materialised views see the rows."""
    template = seed(migrated("tenants", "tenants.sql"), spec(default_rows=200, tables=TENANTS))
    kinds, used, counted = look(
        template,
        "SELECT count(*) FROM kinds",
        "SELECT count(DISTINCT kind_code) FROM things",
        "SELECT sum(n)::int FROM counts",
    )
    assert (kinds, used, counted) == ([(3,)], [(3,)], [(1_500,)])
    assert "kinds" not in {name for name, _, _ in template.tables}


def test_the_digest_is_the_same_in_every_build_and_chunk(server, migrated, seed, spec):
    """Two databases, and chunks of 1, 7 and 1,000 rows of a table with every kind of column."""
    wanted = spec(default_rows=150, tables={"tenants": {"rows": 20}, "user": {"rows": 300}})
    first = seed(migrated("one", "tenants.sql"), wanted)
    plan = dataset.describe(server, migrated("two", "tenants.sql"), wanted, scale=1.0)
    for chunk in (7, 1_000):
        for table in plan.tables:
            whole = b"".join(part for _, part in load.encoded(table))
            cut = b"".join(part for _, part in load.encoded(dataclasses.replace(table, chunk=chunk)))
            assert cut == whole, table.name
    small = dataclasses.replace(plan, tables=tuple(dataclasses.replace(t, chunk=7) for t in plan.tables))
    again = dataset.build(server, "two", small, notify=lambda _: None)
    assert again.tables == first.tables
    assert again.digest == first.digest


SHARED = """
CREATE TABLE people (id serial PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE letters (id bigserial PRIMARY KEY, sender integer NOT NULL REFERENCES people (id), body text);
CREATE INDEX letters_sender ON letters (sender);
CREATE TABLE officers (id serial PRIMARY KEY, person_id integer NOT NULL REFERENCES people (id));
CREATE TABLE kinds (code text PRIMARY KEY);
INSERT INTO kinds VALUES ('a'), ('b');
"""


def test_a_share_is_made_of_a_clone_of_the_whole_as_of_an_empty_database(server, migrated, seed, spec, quiet):
    """Nothing needs to be migrated twice: digests, rows and constraints are those of a fresh database.

    Of officers the whole has one and the share none.
    """
    officers = {"per": {"table": "people", "mean": 0.03}}
    wanted = spec(tables={"people": {"rows": 40}, "letters": {"rows": 2_000}, "officers": officers})
    whole = seed(migrated("whole", SHARED), wanted)
    over = frozenset(name for name, _, _ in whole.tables)
    assert over == {"people", "letters", "officers"}
    migrated("fresh", SHARED)
    dataset.clone(server, whole, "share")
    found = []
    for name, emptied in (("fresh", frozenset()), ("share", over)):
        plan = dataset.describe(server, name, wanted, scale=0.25, over=emptied)
        template = dataset.build(server, name, plan, over=emptied, notify=quiet)
        with dataset.cloned(server, template, "copy") as copy, db.connect(server, copy) as conn:
            counts = [rows(conn, f"SELECT count(*) FROM {table}") for table in (*sorted(over), "kinds")]
            found.append((template.tables, counts, definitions(conn)))
        dataset.drop(server, template.database)
    assert found[0] == found[1]
    assert found[0][1] == [[(500,)], [(0,)], [(10,)], [(2,)]]


def test_a_new_column_or_table_elsewhere_changes_no_other_column(server, migrated, spec):
    """Streams belong to (seed, table, column): values of what was there before stay."""
    wanted = spec(default_rows=300)
    plain = dataset.describe(server, migrated("plain", "music.sql"), wanted, scale=1.0)
    more = "ALTER TABLE songs ADD COLUMN mood text; CREATE TABLE aaa (id int PRIMARY KEY, x text)"
    grown_database = migrated("grown", "music.sql")
    with db.connect(server, grown_database) as conn:
        conn.execute(more.encode())
    grown = dataset.describe(server, grown_database, wanted, scale=1.0)
    before = {(t.name, name): source for t in plain.tables for name, source in t.columns}
    after = {(t.name, name): source for t in grown.tables for name, source in t.columns}
    assert set(before) < set(after)
    span = Span(0, 300)
    for place, source in before.items():
        mine, theirs = source.field(span).joined(300), after[place].field(span).joined(300)
        assert mine.data.tobytes() == theirs.data.tobytes(), place
    assert plain.key != grown.key


def test_another_seed_gives_other_rows(server, migrated, spec):
    """And so another key and digest."""
    database = migrated("seeds", "music.sql")
    one, two = (dataset.describe(server, database, spec(default_rows=50, seed=s), scale=1.0) for s in (1, 2))
    assert one.key != two.key
    songs = [
        next(t for t in plan.tables if t.name == "songs").encoded(Span(0, 50)).tobytes()
        for plan in (one, two)
    ]
    assert songs[0] != songs[1]


def test_anchors_do_not_change_the_key(server, migrated, spec):
    """They choose among rows; scale, rows and schema do change it."""
    database = migrated("keys", "music.sql")

    def key(scale=1.0, **settings):
        return dataset.describe(server, database, spec(default_rows=50, **settings), scale=scale).key

    plain = key()
    assert key(anchors={"hot": {"table": "songs"}}) == plain
    assert key(scale=2.0) != plain
    assert key(tables={"songs": {"rows": 51}}) != plain
    with db.connect(server, database) as conn:
        conn.execute("CREATE INDEX one_more ON songs (duration_ms)")
    assert key() != plain


def test_relative_dates_follow_the_day_and_leave_the_digest(server, migrated, spec, look, quiet):
    """The key holds the day; the digest is over offsets from it."""
    columns = {"created_at": {"relative": True, "low": 10, "high": 0}}
    wanted = spec(default_rows=100, tables={"artists": {"rows": 100, "columns": columns}})
    found = []
    for name, day in (("monday", datetime.date(2026, 3, 2)), ("sunday", datetime.date(2026, 3, 8))):
        plan = dataset.describe(server, migrated(name, "music.sql"), wanted, scale=1.0, today=day)
        template = dataset.build(server, name, plan, notify=quiet)
        ((low, high),) = look(template, "SELECT min(created_at)::date, max(created_at)::date FROM artists")
        assert datetime.timedelta(8) <= day - low <= datetime.timedelta(10)
        assert day - high <= datetime.timedelta(1)
        found.append(template)
    assert found[0].digest == found[1].digest
    assert found[0].key != found[1].key


def test_overrides_are_honoured(migrated, seed, spec, look):
    """Weighted values, constants, patterns, NULLs, ranges, lengths and even fan-out."""
    songs = {
        "status": {"values": {"analysed": 9, "failed": 1}},
        "title": {"pattern": "Song {n}"},
        "duration_ms": {"low": 100, "high": 200, "distribution": "lognormal"},
        "lyrics": {"length": 300, "nulls": "50%"},
        "artist_id": {"distribution": "uniform"},
    }
    users = {"email": {"pattern": "u{n}@example.org"}, "age": {"constant": 40}}
    tables = {**MUSIC, "songs": {"rows": 4_000, "columns": songs}, "users": {"rows": 500, "columns": users}}
    template = seed(migrated("overrides", "music.sql"), spec(tables=tables))
    ((failed, titles, low, high, length, absent),), ((hottest,),), people = look(
        template,
        "SELECT avg((status = 'failed')::int)::float, count(DISTINCT title), min(duration_ms), "
        "max(duration_ms), avg(length(lyrics))::float, avg((lyrics IS NULL)::int)::float FROM songs",
        "SELECT max(n) FROM (SELECT count(*) AS n FROM songs GROUP BY artist_id) AS t",
        "SELECT email, age FROM users WHERE id = 7",
    )
    assert 0.07 < failed < 0.13
    assert titles == 4_000
    assert 100 <= low < high <= 200
    assert 270 < length < 330
    assert 0.45 < absent < 0.55
    assert hottest < 40
    assert people == [("u7@example.org", 40)]


PAIRS = """
CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE follows (
    follower int NOT NULL REFERENCES people (id),
    followed int NOT NULL REFERENCES people (id),
    PRIMARY KEY (follower, followed),
    CHECK (follower <> followed)
);
CREATE TABLE transfers (
    id int PRIMARY KEY,
    giver int NOT NULL REFERENCES people (id),
    taker int NOT NULL REFERENCES people (id),
    CHECK (giver <> taker)
);
"""


def test_two_keys_that_must_differ_do(migrated, seed, spec, look):
    """Also where each pair may be there once, and a person follows nearly all others."""
    tables = {"people": {"rows": 40}, "follows": {"rows": 1_200}, "transfers": {"rows": 3_000}}
    template = seed(migrated("pairs", PAIRS), spec(tables=tables))
    ((most, pairs),), ((transfers,),) = look(
        template,
        "SELECT max(n), sum(n)::int FROM (SELECT count(*) AS n FROM follows GROUP BY follower) AS t",
        "SELECT count(*) FROM transfers WHERE giver <> taker",
    )
    assert (most <= 39, pairs, transfers) == (True, 1_200, 3_000)


def test_more_rows_than_parents_of_a_one_to_one_key_refer_to_nothing(migrated, seed, spec, look):
    """Where that may be; each parent has one row."""
    sql = """
        CREATE TABLE tokens (id int PRIMARY KEY, code text NOT NULL);
        CREATE TABLE grants (id int PRIMARY KEY, token_id int UNIQUE REFERENCES tokens (id));
        CREATE TABLE uses (id int PRIMARY KEY, token_id int UNIQUE REFERENCES tokens (id), n int);
    """
    tables = {"tokens": {"rows": 30}, "grants": {"rows": 100}, "uses": {"rows": 20}}
    template = seed(migrated("tokens", sql), spec(tables=tables))
    ((grants,),), ((uses,),) = look(
        template, "SELECT count(token_id) FROM grants", "SELECT count(token_id) FROM uses"
    )
    assert (grants, uses) == (30, 20)


def test_a_one_to_one_key_without_parents_is_null(migrated, seed, spec, look):
    """Rows are not refused for want of what they need not have."""
    sql = """
        CREATE TABLE tokens (id int PRIMARY KEY, code text NOT NULL);
        CREATE TABLE grants (id int PRIMARY KEY, token_id int UNIQUE REFERENCES tokens (id));
    """
    template = seed(migrated("orphans", sql), spec(tables={"tokens": {"rows": 0}, "grants": {"rows": 100}}))
    assert look(template, "SELECT count(*), count(token_id) FROM grants") == [(100, 0)]


def test_search_vectors_find_frequent_and_rare_words(migrated, seed, spec, look):
    """Where an application or a trigger writes them; words are packaged ones."""
    sql = """
        CREATE TABLE documents (id int PRIMARY KEY, words tsvector NOT NULL);
        CREATE INDEX documents_words ON documents USING gin (words);
    """
    template = seed(migrated("searched", sql), spec(tables={"documents": {"rows": 3_000}}))
    found = look(template, "SELECT ndoc FROM ts_stat('SELECT words FROM documents') ORDER BY 1 DESC")
    assert found[0][0] > 300
    assert found[len(found) // 2][0] < 100
    assert len(found) > 200


WIDE = """
CREATE TABLE pages (id int PRIMARY KEY, title text, words tsvector, body text);
CREATE INDEX pages_title ON pages (title, body);
CREATE INDEX pages_words ON pages USING gin (words);
INSERT INTO pages SELECT n, 'title ' || n % 700, to_tsvector('simple', 'w' || n % 900), repeat('x', 100)
FROM generate_series(1, 90000) n;
CREATE EXTENSION pageinspect;
"""
# Without the first eight bytes of each page, which say where in the log it was written last.
PAGES = """
SELECT md5(string_agg(substring(get_raw_page(%(name)s::text, n::int4) FROM 9), ''::bytea ORDER BY n))
FROM generate_series(0, pg_relation_size(%(name)s::text) / 8192 - 1) n
"""


def test_two_processes_sort_an_index_and_its_bytes_are_those_of_one(server, migrated, monkeypatch):
    """B-trees alone: what others hold may depend on who came first."""
    built, said = [], []
    with db.connect(server, migrated("wide", WIDE)) as conn:
        conn.execute("SET client_min_messages = debug1")
        conn.add_notice_handler(lambda notice: said.append(notice.message_primary))
        for helpers in (0, 1):
            monkeypatch.setattr(load, "_HELPERS", helpers)
            objects = load._objects(conn, ["pages"])
            for item in objects:
                conn.execute(item.drop.encode())
            said.clear()
            load._recreate(conn, objects, lambda _: None)
            built.append([rows_of(conn, PAGES, name) for name in ("pages_pkey", "pages_title")])
    helped = {text.split('"')[1] for text in said if "with request for 1 parallel worker" in text}
    assert helped == {"pages_pkey", "pages_title"}
    assert built[0] == built[1]


def rows_of(conn, statement, name):
    return conn.execute(statement.encode(), {"name": name}).fetchall()


def test_a_template_is_sealed_and_its_clones_are_not(server, migrated, seed, spec):
    """Nobody connects to it; a clone is an ordinary database that is no template."""
    template = seed(migrated("sealed", "music.sql"), spec(default_rows=50))
    assert dataset.find(server, template.key) == template
    assert dataset.find(server, "0" * 40) is None
    with pytest.raises(EnvironmentFailure):
        db.connect(server, template.database)
    with dataset.cloned(server, template, "free") as name, db.connect(server, name) as conn:
        conn.execute("DELETE FROM analysis_results")
        assert dataset.templates(server) == (template,)


def test_a_database_half_filled_is_no_template(server, migrated, spec):
    """A load that stops keeps the database's own name, and nothing else goes on running."""
    database = migrated("stopped", "music.sql")
    plan = dataset.describe(server, database, spec(tables=MUSIC), scale=1.0)

    def stop(message):
        if message.startswith("songs"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.build(server, database, plan, notify=stop)
    assert dataset.find(server, plan.key) is None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rows of")]


def test_a_failed_copy_names_the_table(server, migrated, spec):
    """Whatever the rehearsal has not seen: table and the server's message, and no thread left."""
    database = migrated("failed", "music.sql")
    plan = dataset.describe(server, database, spec(tables=MUSIC), scale=1.0)
    with db.connect(server, database) as conn:
        conn.execute("ALTER TABLE songs ADD CONSTRAINT late CHECK (id <> 3000)")
    with pytest.raises(EnvironmentFailure, match=r"loading songs failed.*late"):
        dataset.build(server, database, plan, notify=lambda _: None)
    assert dataset.find(server, plan.key) is None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rows of")]


def test_sessions_of_a_migration_do_not_hinder_the_seal(server, migrated, spec, quiet):
    """A pool that a migration tool left open is closed."""
    database = migrated("pooled", "music.sql")
    plan = dataset.describe(server, database, spec(default_rows=20), scale=1.0)
    with db.connect(server, database) as left_open:
        assert dataset.build(server, database, plan, notify=quiet).key == plan.key
        with pytest.raises(db.Error):
            left_open.execute("SELECT 1")


def test_the_estimate_is_near_the_size(server, migrated, spec, quiet):
    """Good enough to refuse a full disk before it is full."""
    database = migrated("sized", "music.sql")
    plan = dataset.describe(server, database, spec(tables=MUSIC), scale=10.0)
    template = dataset.build(server, database, plan, notify=quiet)
    with db.connect(server, "postgres") as conn:
        size = conn.execute("SELECT pg_database_size(%s)", (template.database,)).fetchall()[0][0]
    assert 0.7 * size < plan.estimated_bytes < 2.0 * size
