"""Where the gate keeps its files on a machine whose home cannot be written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from gate.cli import options


def test_a_fallback_that_others_may_write_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A directory of the expected name that is open to others is left alone for one of our own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = options._fallback()
    assert options._fallback() == own
    own.chmod(0o777)
    other = options._fallback()
    assert other != own
    assert other.stat().st_mode & 0o077 == 0
