"""One fake GitHub a test, its API and its git server, with the tokens of the real workflows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fake_api
import git_server
import pytest
import rights
import shop as shops


@pytest.fixture(scope="session")
def hosts() -> Iterator[Callable[[], fake_api.FakeGitHub]]:
    """The two servers, the same for every test."""
    with fake_api.serving() as anew:
        yield anew


@pytest.fixture
def github(hosts: Callable[[], fake_api.FakeGitHub]) -> Iterator[fake_api.FakeGitHub]:
    """Its tokens are those of our workflows' jobs; what the contract holds against a test fails it."""
    state = hosts()
    state.tokens = rights.tokens()
    yield state
    assert state.violations == []


@pytest.fixture
def hub(tmp_path: Path, github: fake_api.FakeGitHub) -> Iterator[git_server.GitServer]:
    """The same GitHub's git, for the same tokens."""
    with git_server.serving(tmp_path / "hub", lambda: github.tokens) as server:
        yield server


@pytest.fixture
def shop(github: fake_api.FakeGitHub, tmp_path: Path, shop_cache: Path) -> shops.Shop:
    """An application to measure for real, in a repository of its own."""
    return shops.open_shop(github, tmp_path, shop_cache)


@pytest.fixture(scope="session")
def shop_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every shop has the same data."""
    return tmp_path_factory.mktemp("shop-cache")
