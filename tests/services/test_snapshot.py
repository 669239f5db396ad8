from __future__ import annotations

import subprocess
import sys

import pytest

from gate.errors import EnvironmentFailure
from gate.services import snapshot

HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print(flush=True)
input()
"""


@pytest.fixture
def data(tmp_path):
    """A stopped server's data directory, as far as copying it goes."""
    path = tmp_path / "data"
    (path / "base" / "1").mkdir(parents=True)
    (path / "PG_VERSION").write_text("18\n")
    (path / "base" / "1" / "112").write_bytes(b"rows")
    for name in ("postmaster.pid", "postmaster.opts"):
        (path / name).touch()
    return path


def test_what_belongs_to_one_start_is_not_saved(data, tmp_path):
    """A copied postmaster.pid would name a stranger."""
    snapshot.save(data, tmp_path / "cache" / "key")
    saved = tmp_path / "cache" / "key"
    assert sorted(path.name for path in saved.iterdir()) == ["PG_VERSION", "base", "pg_stat_tmp"]
    assert (saved / "base" / "1" / "112").read_bytes() == b"rows"
    assert saved.stat().st_mode & 0o777 == 0o700


def test_a_failed_copy_leaves_nothing(data, tmp_path, monkeypatch):
    """The disk fills up after the first file: the error has both figures, the cache is as it was."""

    def full(source, target):
        raise OSError(28, "No space left on device", target)

    monkeypatch.setattr("shutil.copytree", lambda source, target, **_: full(source, target))
    with pytest.raises(EnvironmentFailure, match="no free space"):
        snapshot.save(data, tmp_path / "cache" / "key")
    assert list((tmp_path / "cache").iterdir()) == []


def test_unfinished_copies_of_killed_runs_are_removed_and_those_being_made_are_not(data, tmp_path):
    """A copy is locked by the process that makes it, as long as that lives."""
    cache = tmp_path / "cache"
    living, dead = cache / ".living.x.new", cache / ".dead.x.new"
    living.mkdir(parents=True)
    dead.mkdir()
    command = [sys.executable, "-I", "-S", "-c", HOLD, str(living)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        snapshot.save(data, cache / "key")
        assert sorted(path.name for path in cache.iterdir()) == [living.name, "key"]
        holder.communicate(b"\n")
    snapshot.sweep(cache)
    assert [path.name for path in cache.iterdir()] == ["key"]


def test_a_directory_of_another_major_version_is_refused(data):
    """The server would refuse it too, after the old data had gone."""
    with pytest.raises(EnvironmentFailure, match="of Postgres 18, the server is 17"):
        snapshot.check(data, 17)
