"""One fake GitHub a test, with a token that may write and one that may only read."""

from __future__ import annotations

from collections.abc import Iterator

import fake_api
import pytest
from made import READ_ONLY


@pytest.fixture
def github() -> Iterator[fake_api.FakeGitHub]:
    with fake_api.serving() as state:
        state.tokens = {"writer": dict(fake_api.WRITER), "reader": dict(READ_ONLY)}
        yield state
