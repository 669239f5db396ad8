"""Tests of endpoints need services: LIBRARY_TEST_DATABASE_URL and LIBRARY_TEST_REDIS_URL name them.

A database of their own is created beside the one named and dropped at the end; the Redis database named is
emptied. Without these variables such tests are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.config import Config
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import create_engine, insert, make_url, text
from werkzeug.security import generate_password_hash

from library import create_app
from library.config import Settings
from library.db import Database
from library.models import (
    Album,
    AnalysisResult,
    Artist,
    Base,
    Download,
    Playlist,
    PlaylistSong,
    Song,
    User,
    Video,
)

ADMIN = {"Authorization": "Bearer the-service-token"}
PASSWORD = "correct horse"
PASSWORD_HASH = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1000")
START = datetime(2024, 3, 1, tzinfo=UTC)
LYRICS = "I love the night\nand the moon so bright\n"


@pytest.fixture(scope="session")
def alembic_config() -> Config:
    return Config(Path(__file__).parent.parent / "alembic.ini")


@pytest.fixture(scope="session")
def database_url(alembic_config: Config) -> Iterator[str]:
    """An empty database of this test run; DATABASE_URL names it meanwhile, for the migrations and jobs."""
    server = make_url(_required("LIBRARY_TEST_DATABASE_URL"))
    name = f"library_test_{os.getpid()}"
    url = server.set(database=name).render_as_string(hide_password=False)
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATABASE_URL", url)
            yield url
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="session")
def redis_url() -> str:
    return _required("LIBRARY_TEST_REDIS_URL")


@pytest.fixture(scope="session")
def migrated_app(database_url: str, redis_url: str, alembic_config: Config) -> Iterator[Flask]:
    from alembic import command

    command.upgrade(alembic_config, "head")
    app = create_app(
        Settings(
            database_url=database_url, redis_url=redis_url, secret="a secret", admin_token="the-service-token"
        )
    )
    yield app
    app.extensions["library.database"].engine.dispose()
    app.extensions["library.redis"].close()


@pytest.fixture
def app(migrated_app: Flask) -> Flask:
    """The application as every test finds it: the rows of `_seed`, and nothing in Redis."""
    migrated_app.extensions["library.redis"].flushdb()
    _seed(migrated_app.extensions["library.database"])
    return migrated_app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def redis(app: Flask) -> Redis:
    return app.extensions["library.redis"]


def _required(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    return value


def _seed(database: Database) -> None:
    """3 users, 5 artists, 40 songs, playlists of 30, 3 and 0 songs; every fourth song is pending."""
    tables: list[tuple[type, list[dict[str, object]]]] = [
        (
            User,
            [
                {
                    "email": f"user{n}@example.org",
                    "display_name": f"User {n}",
                    "password_hash": PASSWORD_HASH,
                    "role": "listener",
                }
                for n in (1, 2, 3)
            ],
        ),
        (Artist, [{"name": f"The Band {n}", "sort_name": f"Band {n}, The"} for n in range(1, 6)]),
        (Album, [{"artist_id": n, "title": f"Album {n}", "list_price": "9.90"} for n in range(1, 6)]),
        (
            Song,
            [
                {
                    "artist_id": 1 + n % 5,
                    "album_id": 1 + n % 5,
                    "title": f"Song {n:02}",
                    "track_number": n,
                    "duration_ms": 180_000 + n,
                    "status": "analysed" if n % 4 else "pending",
                    "analysed_at": START + timedelta(hours=n) if n % 4 else None,
                    "lyrics": LYRICS * n,
                }
                for n in range(1, 41)
            ],
        ),
        (Playlist, [{"owner_id": owner, "name": f"List {n}"} for n, owner in ((1, 1), (2, 1), (3, 2))]),
        (
            PlaylistSong,
            [{"playlist_id": 1, "song_id": n, "position": n, "added_at": START} for n in range(1, 31)]
            + [{"playlist_id": 2, "song_id": n, "position": n, "added_at": START} for n in range(1, 4)],
        ),
        (
            AnalysisResult,
            [
                {
                    "song_id": n,
                    "score": 50 + n,
                    "sentiment": 0.5,
                    "explicit_level": "clean",
                    "word_count": 10,
                    "processing_ms": n,
                    "details": {"themes": {"love": 1} if n % 2 else {}},
                    "analysed_at": START + timedelta(hours=12 * n),
                }
                for n in range(1, 11)
            ],
        ),
        (
            Download,
            [
                {
                    "user_id": 1,
                    "song_id": n,
                    "status": "running" if n < 3 else "done",
                    "requested_at": START + timedelta(days=n),
                }
                for n in range(1, 5)
            ],
        ),
        (
            Video,
            [
                {
                    "artist_id": 1 + (n * 2) % 5,
                    "title": f"Video {9 - n}",
                    "duration_ms": 1,
                    "published_at": START + timedelta(days=(n * 3) % 7),
                }
                for n in range(1, 7)
            ],
        ),
    ]
    names = ", ".join(Base.metadata.tables)
    with database.writing() as session:
        session.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
        for model, rows in tables:
            session.execute(insert(model), rows)
