"""Planner statistics: every row read, the usual number of entries, the same in two builds."""

from __future__ import annotations

import pytest

from gate import dataset, db

pytestmark = pytest.mark.services

STATISTICS = """
SELECT tablename, attname, inherited, null_frac, avg_width, n_distinct, most_common_vals::text,
       most_common_freqs::text, histogram_bounds::text, correlation, most_common_elems::text,
       most_common_elem_freqs::text
FROM pg_stats WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2
"""

SIZES = """
SELECT relname, reltuples, relpages, relallvisible FROM pg_class
WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace ORDER BY 1
"""


@pytest.fixture
def analysed(server, migrated, spec, quiet):
    """analysed(name) -> a seeded clone large enough for ANALYZE to sample by default."""
    opened = []

    def build(name):
        tables = {
            "songs": {"rows": 60_000},
            "playlist_songs": {"rows": 90_000},
            "analysis_results": {"rows": 40_000},
        }
        plan = dataset.describe(
            server, migrated(name, "music.sql"), spec(default_rows=3_000, tables=tables), scale=1.0
        )
        template = dataset.build(server, name, plan, notify=quiet)
        assert template.statistics == "full"
        dataset.clone(server, template, f"{name}_clone")
        opened.append(f"{name}_clone")
        return db.connect(server, f"{name}_clone")

    yield build
    for name in opened:
        dataset.drop(server, name)


def test_two_builds_have_the_same_statistics_with_the_usual_number_of_entries(analysed):
    """Of columns and of expression indexes; no target or statistics object is left behind."""
    with analysed("first") as one, analysed("second") as two:
        found = one.execute(STATISTICS).fetchall()
        assert found == two.execute(STATISTICS).fetchall()
        assert {"songs_title", "users_username"} <= {row[0] for row in found}
        largest = one.execute(
            "SELECT max(array_length(most_common_freqs, 1)), "
            "max(array_length(histogram_bounds::text::text[], 1)) FROM pg_stats "
            "WHERE schemaname = 'public' AND attname NOT IN ('details', 'search')"
        ).fetchall()[0]
        assert largest == (100, 101)
        assert one.execute(SIZES).fetchall() == two.execute(SIZES).fetchall()
        assert one.execute("SELECT count(*) FROM pg_statistic_ext").fetchall() == [(0,)]
        targets = "SELECT count(*) FROM pg_attribute WHERE attstattarget >= 0 AND attnum > 0"
        assert one.execute(targets).fetchall() == [(0,)]


def test_estimates_are_exact_and_planning_is_quick(analysed):
    """The number of distinct parents is known, and a self join plans in about a millisecond at most."""
    with analysed("planned") as conn:
        stated = conn.execute(
            "SELECT CASE WHEN n_distinct < 0 THEN -n_distinct * 90000 ELSE n_distinct END FROM pg_stats "
            "WHERE tablename = 'playlist_songs' AND attname = 'song_id'"
        ).fetchall()[0][0]
        real = conn.execute("SELECT count(DISTINCT song_id) FROM playlist_songs").fetchall()[0][0]
        assert stated == pytest.approx(real, rel=0.001)
        join = (
            "EXPLAIN (SUMMARY, FORMAT json) "
            "SELECT 1 FROM playlist_songs a JOIN playlist_songs b USING (song_id)"
        )
        times = [conn.execute(join).fetchall()[0][0][0]["Planning Time"] for _ in range(20)]
        assert min(times) < 1.5


def test_a_lookup_by_key_uses_its_index(analysed):
    """Plans are sensible, and nothing is left to prune: reading writes no WAL."""
    position = "SELECT pg_current_wal_insert_lsn()"
    with analysed("sensible") as conn:
        lookup = "EXPLAIN SELECT * FROM playlist_songs WHERE playlist_id = 5 ORDER BY position"
        assert "playlist_songs_pkey" in str(conn.execute(lookup).fetchall())
        before = conn.execute(position).fetchall()
        conn.execute("SELECT count(*), max(title) FROM songs")
        assert conn.execute(position).fetchall() == before


@pytest.fixture
def lazy(server):
    """What is committed reaches the disk long after, where nobody asks for more."""
    with db.connect(server, "postgres") as conn:
        conn.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        conn.execute("SELECT pg_reload_conf()")
        yield
        conn.execute("ALTER SYSTEM RESET wal_writer_delay")
        conn.execute("SELECT pg_reload_conf()")


@pytest.mark.usefixtures("lazy")
def test_every_page_is_marked_as_visible_however_late_commits_reach_the_disk(server, migrated, spec, quiet):
    """Rows that migrations left, and those of a partition, which are not frozen as they come."""
    schema = """
        CREATE TABLE kinds (id int PRIMARY KEY);
        CREATE TABLE visits (id bigserial PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE visits_first PARTITION OF visits FOR VALUES FROM (1) TO (1000);
        SET synchronous_commit = off;
        INSERT INTO kinds VALUES (1), (2)
    """
    dataset.create(server, "seen")
    with db.connect(server, "seen") as conn:
        for statement in schema.split(";"):
            conn.execute(statement)
    settings = spec(tables={"visits": {"rows": 100}}, ignore=["kinds"])
    plan = dataset.describe(server, "seen", settings, scale=1.0)
    template = dataset.build(server, "seen", plan, notify=quiet)
    with dataset.cloned(server, template, "seen") as name, db.connect(server, name) as conn:
        pages = conn.execute(
            "SELECT relname, relpages - relallvisible FROM pg_class "
            "WHERE relname IN ('kinds', 'visits_first') ORDER BY 1"
        ).fetchall()
    dataset.drop(server, template.database)
    assert pages == [("kinds", 0), ("visits_first", 0)]
