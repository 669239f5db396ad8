"""A look at what will be generated, without generating it all."""

from __future__ import annotations

import pytest

from gate import dataset, db
from gate.dataset.preview import preview

pytestmark = pytest.mark.services

TABLES = {
    "artists": {"rows": 100},
    "songs": {"rows": 30_000, "columns": {"lyrics": {"length": 100, "nulls": "25%"}}},
    "users": {"rows": 50},
    "playlists": {"rows": 40},
    "playlist_songs": {"per": {"table": "playlists", "mean": 20, "max": 90}},
    "analysis_results": {"rows": 0},
}


@pytest.fixture
def seen(server, migrated, spec):
    """The previews by table, and the database."""
    database = migrated("previewed", "music.sql")
    plan = dataset.describe(server, database, spec(tables=TABLES), scale=1.0)
    return {table.table: table for table in preview(server, database, plan, shown=3)}, database


def look(seen, table, column):
    return next(each for each in seen[0][table].looks if each.name == column)


def test_every_table_that_gets_rows_is_shown(seen):
    """With the rows it will have, and a sample of at most 10,000 that is spread over it."""
    assert {name: (table.rows, table.sample) for name, table in seen[0].items()} == {
        "artists": (100, 100),
        "songs": (30_000, 10_000),
        "users": (50, 50),
        "playlists": (40, 40),
        "playlist_songs": (800, 800),
    }
    assert [row[0] for row in seen[0]["songs"].shown] == ["1", "15000", "30000"] or len(
        seen[0]["songs"].shown
    ) == 3
    assert seen[0]["songs"].shown[-1][0] == "30000"


def test_columns_say_what_they_hold(seen):
    """Shares of a list, NULLs, lengths of texts, ranges of numbers and times."""
    status = look(seen, "songs", "status")
    assert [value for value, _ in status.values] == ["pending", "analysed", "failed"]
    assert sum(share for _, share in status.values) == pytest.approx(1)
    lyrics = look(seen, "songs", "lyrics")
    assert lyrics.nulls == pytest.approx(0.25, abs=0.02)
    assert (lyrics.what, sum(lyrics.bins)) == ("characters", round(10_000 * (1 - lyrics.nulls)))
    created = look(seen, "songs", "created_at")
    assert created.what == "times"
    assert created.low < created.high < "2026-01-01"
    assert created.bins[0] < created.bins[-1]
    assert look(seen, "songs", "duration_ms").what == "numbers"


def test_parents_are_counted_over_all_rows(seen):
    """The mean of the whole table, not of the sample; how many have none."""
    fan = look(seen, "songs", "artist_id").fan
    assert (fan.parent, fan.parents, fan.mean) == ("artists", 100, 300)
    assert fan.most > 5 * fan.median
    songs = look(seen, "playlist_songs", "song_id").fan
    assert songs.without > 0.9
    assert sum(songs.bins) == 30_000
    assert look(seen, "playlist_songs", "playlist_id").fan.most <= 90


def test_nothing_stays_in_the_database(server, seen):
    """No row and no table."""
    with db.connect(server, seen[1]) as conn:
        assert conn.execute("SELECT count(*) FROM songs").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM pg_class WHERE relpersistence = 't'").fetchone() == (0,)
