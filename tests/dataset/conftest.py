"""A real Postgres for the data-set tests, and databases made from the schemas beside this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gate import config, dataset, db, services
from gate.model import PostgresServer

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    wanted = config.Services(postgres=config.Postgres(version=18))
    state = tmp_path_factory.mktemp("services")
    with services.start(wanted, provider="embedded", state=state, notify=lambda _: None) as running:
        yield running.postgres


@pytest.fixture
def migrated(server: PostgresServer) -> Iterator[Callable[[str, str], str]]:
    """migrated(name, sql) -> a database with that schema; sql may be the name of a file in schemas/."""
    made: list[str] = []

    def make(name: str, sql: str) -> str:
        dataset.create(server, name)
        made.append(name)
        text = (SCHEMAS / sql).read_text() if sql.endswith(".sql") else sql
        with db.connect(server, name) as conn:
            conn.execute(text.encode())
        return name

    yield make
    for name in made:
        dataset.drop(server, name)
    for template in dataset.templates(server):
        dataset.drop(server, template.database)


def spec(**settings: object) -> config.Dataset:
    """A specification, as the file would give it."""
    return config.Dataset.model_validate(settings)


@pytest.fixture(name="spec")
def spec_fixture() -> Callable[..., config.Dataset]:
    return spec


@pytest.fixture
def quiet() -> Callable[[str], None]:
    return lambda _: None
