"""The engine and its sessions. One of each per process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from library.config import Settings


def make_engine(settings: Settings) -> Engine:
    return create_engine(
        settings.database_url,
        pool_size=settings.pool_size,
        max_overflow=settings.pool_size,
        pool_timeout=5,
        # The most recently used connection first, so that a quiet service lets the others idle.
        pool_use_lifo=True,
        use_native_hstore=False,
        connect_args={
            "application_name": "library",
            # No server-side prepared statements: their generic plans cannot use the prefix index of the
            # search, nor tell a rare song status from a common one.
            "prepare_threshold": None,
        },
    )


class Database:
    """Sessions for reading and for writing."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._sessions = sessionmaker(engine, expire_on_commit=False)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self._sessions() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any exception."""
        with self._sessions.begin() as session:
            yield session


def database() -> Database:
    """The database of the application that handles the current request."""
    found: Database = current_app.extensions["library.database"]
    return found
