"""What a job keeps for the next one: the key of it, and what is not worth keeping."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gate.cli import jobcache
from gate.errors import ConfigError

NOW = time.time()


def entry(home: Path, kind: str, name: str, *, used: float = 0.0) -> Path:
    """A directory of the cache, last used so many seconds from now."""
    path = home / kind / name
    path.mkdir(parents=True)
    (path / "file").write_text("x")
    os.utime(path, (NOW + used, NOW + used))
    return path


def test_same_contents_have_the_same_key(tmp_path: Path) -> None:
    """The key is of what is there, in whatever order it was made, and of the configuration's path."""
    one, other = tmp_path / "one", tmp_path / "other"
    for home, order in ((one, (0, 1)), (other, (1, 0))):
        for number in order:
            entry(home, "datasets", f"{number}" * 32)
        entry(home, "environments", "e" * 32)
    assert jobcache.key(one, "a.toml") == jobcache.key(other, "a.toml")
    assert jobcache.key(one, "a.toml") != jobcache.key(one, "b.toml")
    assert jobcache.key(one, "a.toml").startswith(jobcache.prefix("a.toml"))
    entry(other, "datasets", "2" * 32)
    assert jobcache.key(one, "a.toml") != jobcache.key(other, "a.toml")


def test_nothing_has_no_key(tmp_path: Path) -> None:
    """An empty cache would be the newest one, and what others made would not be found any more."""
    assert jobcache.key(tmp_path, "a.toml") == ""


def test_half_made_things_are_no_part_of_the_key(tmp_path: Path) -> None:
    """What is being made, being removed, or a lock does not change it."""
    entry(tmp_path, "environments", "e" * 32)
    before = jobcache.key(tmp_path, "a.toml")
    entry(tmp_path, "environments", f"{'f' * 32}.partial")
    entry(tmp_path, "datasets", f".removed-{'0' * 32}-1")
    (tmp_path / "environments" / f"{'e' * 32}.lock").write_text("")
    assert jobcache.key(tmp_path, "a.toml") == before


def test_what_nobody_used_goes(tmp_path: Path) -> None:
    """A data set and an environment of an older run are not kept again; those of this run are."""
    for kind in ("datasets", "environments"):
        entry(tmp_path, kind, "0" * 32, used=-3600)
        entry(tmp_path, kind, "1" * 32, used=5)
    jobcache.trim(tmp_path, since=NOW)
    for kind in ("datasets", "environments"):
        assert [path.name for path in (tmp_path / kind).iterdir() if path.is_dir()] == ["1" * 32]


def test_a_job_without_a_directory_of_its_own_says_so() -> None:
    """Outside of a runner there is no directory to keep, but for one that is named."""
    with pytest.raises(ConfigError, match="RUNNER_TEMP"):
        jobcache.directory({}, caching=True)
    assert jobcache.directory({}, caching=False) == ""
