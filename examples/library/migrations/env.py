"""Run the migrations on DATABASE_URL."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool

from library.config import Settings
from library.models import Base


def compared(item: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
    """False for the prefix indexes: reflection drops their collation, so they always look changed."""
    return not (kind == "index" and name is not None and name.endswith("_prefix"))


def main() -> None:
    url = Settings.from_env().database_url
    if context.is_offline_mode():
        context.configure(url=url, target_metadata=Base.metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        # One transaction each: an index that is built concurrently has to leave its own.
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_object=compared,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


main()
