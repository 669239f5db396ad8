"""One fake GitHub a test, with the tokens of the real workflows."""

from __future__ import annotations

from collections.abc import Iterator

import fake_api
import pytest
import rights


@pytest.fixture
def github() -> Iterator[fake_api.FakeGitHub]:
    """Its tokens are those of our workflows' jobs; what the contract holds against a test fails it."""
    with fake_api.serving() as state:
        state.tokens = rights.tokens()
        yield state
    assert state.violations == []
