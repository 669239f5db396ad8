"""One fake GitHub a test, its API and its git server, with the tokens of the real workflows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fake_api
import git_server
import pytest
import rights


@pytest.fixture
def github() -> Iterator[fake_api.FakeGitHub]:
    """Its tokens are those of our workflows' jobs; what the contract holds against a test fails it."""
    with fake_api.serving() as state:
        state.tokens = rights.tokens()
        yield state
    assert state.violations == []


@pytest.fixture
def hub(tmp_path: Path, github: fake_api.FakeGitHub) -> Iterator[git_server.GitServer]:
    """The same GitHub's git, for the same tokens."""
    with git_server.serving(tmp_path / "hub", lambda: github.tokens) as server:
        yield server
