"""Statements as the endpoints send them. They need DATABASE_URL: a migrated database with data in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from library.config import Settings
from library.db import Database, make_engine
from library.models import AnalysisResult, Playlist, PlaylistSong, Song
from library.params import Page
from library.services import catalogue, playlists, progress, videos

pytestmark = pytest.mark.skipif("DATABASE_URL" not in os.environ, reason="DATABASE_URL is not set")

SIZES = [10, 50, 100]


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    engine = make_engine(Settings.from_env())
    yield Database(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def playlist(database: Database) -> Playlist:
    """A playlist late in the table, with songs: an early one would flatter a missing index."""
    with database.reading() as session:
        filled = select(PlaylistSong.id).where(PlaylistSong.playlist_id == Playlist.id).exists()
        found = session.scalar(select(Playlist).where(filled).order_by(Playlist.id.desc()).limit(1))
    if found is None:
        pytest.skip("the database has no playlist with songs")
    return found


def reading(database: Database, work: Callable[[Session], object]) -> Callable[[], object]:
    """The work in a session of its own, as a request does it."""

    def call() -> object:
        with database.reading() as session:
            return work(session)

    return call


@pytest.mark.parametrize("size", SIZES)
def test_playlist_page(
    benchmark: BenchmarkFixture, database: Database, playlist: Playlist, size: int
) -> None:
    page = Page(1, size)
    benchmark(reading(database, lambda session: playlists.playlist_page(session, playlist.id, page)))


def test_dashboard_page(benchmark: BenchmarkFixture, database: Database, playlist: Playlist) -> None:
    page = Page(1, 25)
    benchmark(reading(database, lambda session: playlists.dashboard_page(session, playlist.owner_id, page)))


def test_songs_by_status(benchmark: BenchmarkFixture, database: Database) -> None:
    page = Page(20, 25)
    benchmark(reading(database, lambda session: catalogue.songs_by_status(session, "analysed", page)))


def test_search(benchmark: BenchmarkFixture, database: Database) -> None:
    with database.reading() as session:
        title = session.scalar(select(Song.title).order_by(Song.id.desc()).limit(1)) or "love"
    benchmark(reading(database, lambda session: catalogue.search(session, title[:3], 20)))


def test_videos_by_artist(benchmark: BenchmarkFixture, database: Database) -> None:
    page = Page(10, 25)
    benchmark(reading(database, lambda session: videos.videos_page(session, "artist", page)))


def test_user_progress(benchmark: BenchmarkFixture, database: Database, playlist: Playlist) -> None:
    benchmark(reading(database, lambda session: progress.user_progress(session, playlist.owner_id)))


def test_daily_performance(benchmark: BenchmarkFixture, database: Database) -> None:
    with database.reading() as session:
        start = session.scalar(select(func.date_trunc("day", func.max(AnalysisResult.analysed_at), "UTC")))
    if start is None:
        pytest.skip("the database has no analysis results")
    benchmark(reading(database, lambda session: progress.daily_performance(session, start, 7)))


def test_sync(benchmark: BenchmarkFixture, database: Database, playlist: Playlist) -> None:
    """A hundred songs, always rolled back: every round finds the playlist as it was."""
    with database.reading() as session:
        song_ids = session.scalars(select(Song.id).order_by(Song.id.desc()).limit(100)).all()

    def sync() -> None:
        with database.reading() as session:
            playlists.sync(session, session.get_one(Playlist, playlist.id), song_ids)
            session.flush()
            session.rollback()

    benchmark.pedantic(sync, rounds=20, warmup_rounds=2)
