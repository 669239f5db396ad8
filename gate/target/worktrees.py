"""Worktrees of ours: made, recorded while we live, removed, and removed later if we were killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from gate.errors import RepositoryError
from gate.target.git import Git


@contextlib.contextmanager
def worktree(git: Git, records: Path, ref: str, path: Path) -> Iterator[Path]:
    """A detached checkout of a commit at `path`, which must not exist; removed when the block ends.

    records: directory of the notes that `prune` reads.
    """
    path = path.absolute()  # git runs in another directory
    with _recorded(records, path) as record:
        try:
            git.run("worktree", "add", "--detach", str(path), ref)
            yield path
        finally:
            _discard(git, path)
            record.unlink()  # also where the block failed; the note of what could not be removed stays


def prune(git: Git, records: Path) -> None:
    """Remove the worktrees of runs that were killed; a living run holds a lock on the note of its own.

    Never `git worktree prune`, which would also forget a worktree of the user's on a disk not mounted.
    """
    for record in records.glob("*.path"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), record.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _discard(git, Path(file.read()))
            record.unlink()


def left_behind(records: Path) -> tuple[Path, ...]:
    """Worktrees whose run is gone."""
    found = []
    for record in sorted(records.glob("*.path")):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), record.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append(Path(file.read()))
    return tuple(found)


@contextlib.contextmanager
def _recorded(records: Path, path: Path) -> Iterator[Path]:
    """The note, locked while the block lasts."""
    if path.exists():
        raise RepositoryError(f"{path} exists already; a worktree needs a new directory")
    records.mkdir(parents=True, exist_ok=True)
    record = records / f"{secrets.token_hex(8)}.path"
    unlocked = record.with_suffix(".new")
    with unlocked.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(str(path))
        file.flush()
        unlocked.rename(record)  # a note that `prune` can see is already locked
        yield record


def _discard(git: Git, path: Path) -> None:
    """Remove a worktree, also one half made or half removed. Forced twice: it may be locked."""
    remove = ("worktree", "remove", "--force", "--force", str(path))
    if git.attempt(*remove).returncode == 0 and not path.exists():
        return
    if path.exists():
        _make_removable(path)
        shutil.rmtree(path)
    git.attempt(*remove)  # its entry in the repository, if there still is one


def _make_removable(root: Path) -> None:
    """Take back the write permission on directories, which module caches take away."""
    for directory, _, _ in os.walk(root):
        with contextlib.suppress(PermissionError):
            Path(directory).chmod(0o700)
