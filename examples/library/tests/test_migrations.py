from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config
from flask import Flask
from sqlalchemy import create_engine, inspect, make_url, text

from library.models import Base


def test_models_and_migrations_agree(migrated_app: Flask, alembic_config: Config) -> None:
    """There is nothing left that a new revision would have to do."""
    command.check(alembic_config)


def test_down_and_up_again(
    database_url: str, alembic_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every revision can be taken back, down to an empty database."""
    url = make_url(database_url)
    other = url.set(database=f"{url.database}_down")
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {other.database}"))
        monkeypatch.setenv("DATABASE_URL", other.render_as_string(hide_password=False))
        engine = create_engine(other)
        command.upgrade(alembic_config, "head")
        command.downgrade(alembic_config, "base")
        assert inspect(engine).get_table_names() == ["alembic_version"]
        command.upgrade(alembic_config, "head")
        assert set(inspect(engine).get_table_names()) == {"alembic_version", *Base.metadata.tables}
        engine.dispose()
        connection.execute(text(f"DROP DATABASE {other.database} WITH (FORCE)"))
    server.dispose()
