"""Schemas that nobody here wrote: what migrations of published packages make (bench/schemas.py)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gate import config, dataset
from gate.dataset.verify import verify

pytestmark = pytest.mark.services

SCHEMAS = Path(__file__).parent / "schemas"
PUBLISHED = sorted(path.stem for path in SCHEMAS.glob("*.toml"))


def test_there_are_several():
    """None was lost."""
    assert len(PUBLISHED) >= 3


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_schema_is_filled_and_verified(server, migrated, quiet, name):
    """By a specification as its users would write it, at a fiftieth; every constraint holds."""
    spec = config.Dataset.model_validate(tomllib.loads((SCHEMAS / f"{name}.toml").read_text())["dataset"])
    database = migrated(f"published_{name}", f"{name}.sql")
    plan = dataset.describe(server, database, spec, scale=0.02)
    template = dataset.build(server, database, plan, notify=quiet)
    with dataset.cloned(server, template, "published_copy") as copy:
        found = verify(server, copy, plan, notify=quiet)
    assert found.problems == ()
    assert found.digest == template.digest
    assert found.constraints > 40
    assert plan.rows > 1_000
