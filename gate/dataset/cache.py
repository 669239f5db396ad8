"""Sealed data directories on disk, one for each template key.

`Running.save_data` writes whole directories or nothing (temporary name, then rename), so a directory
under its final name is complete. Who restores one holds a shared lock on it, which the kernel drops with
its process; who removes one needs it alone, so that neither waits for the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 5_000_000_000  # bytes; half of what GitHub keeps for a whole repository
_DOOMED = ".removed-"
_KEY = re.compile(r"[0-9a-f]{16,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """One data directory. size: bytes on disk. used: seconds since the epoch. busy: a run holds it now."""

    key: str
    path: Path
    size: int
    used: float
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Cache:
    """directory: made when first needed. What `find` gave stays whole as long as its process lives."""

    directory: Path
    _held: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def find(self, key: str) -> Path | None:
        """The saved data directory of a template, or None. Asking counts as use (see `prune`)."""
        path = self.place(key)
        if key not in self._held:
            descriptor = _locked(path, fcntl.LOCK_SH)
            if descriptor is None:
                return None
            self._held[key] = descriptor
        os.utime(path)
        return path

    def release(self) -> None:
        """Give back what `find` gave; the end of the process does the same."""
        while self._held:
            os.close(self._held.popitem()[1])

    def place(self, key: str) -> Path:
        """Where the data directory of a template belongs. ValueError where the key is not one of ours."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a template key: {key!r}")
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / key

    def saved(self) -> tuple[Saved, ...]:
        """Every data directory, the one used last first."""
        found = [_described(path) for path in self._paths()]
        return tuple(sorted(filter(None, found), key=lambda saved: (-saved.used, saved.key)))

    def prune(self, *, limit: int = LIMIT, keep: int | None = None) -> tuple[Saved, ...]:
        """Remove those unused for longest until at most `limit` bytes and `keep` directories are left.

        The one used last stays, however large it is, unless `limit` or `keep` is 0; so do those that a run
        holds. Gives those removed.
        """
        room, places, removed = limit, keep, []
        for number, saved in enumerate(self.saved()):
            newest = number == 0 and limit > 0 and keep != 0
            room -= saved.size
            places = None if places is None else places - 1
            if (newest or (room >= 0 and (places is None or places >= 0))) or not self.remove(saved.key):
                continue
            removed.append(saved)
            room += saved.size  # what is smaller and older may still fit
            places = None if places is None else places + 1
        return tuple(removed)

    def remove(self, key: str) -> bool:
        """Remove one data directory; False where a run holds it, or where it is not there any more.

        It is renamed before it is deleted, so that nobody finds half of it.
        """
        path = self.place(key)
        descriptor = _locked(path, fcntl.LOCK_EX)
        if descriptor is None:
            return False
        try:
            doomed = path.with_name(f"{_DOOMED}{path.name}-{os.getpid()}")
            path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
        finally:
            os.close(descriptor)
        return True

    def doomed(self) -> tuple[Path, ...]:
        """What `remove` did not get to delete before it was killed, or is deleting now."""
        return tuple(self.directory.glob(f"{_DOOMED}*"))

    def _paths(self) -> Iterator[Path]:
        if self.directory.is_dir():
            yield from (p for p in self.directory.iterdir() if _KEY.fullmatch(p.name) and p.is_dir())


def occupied(directory: Path) -> int:
    """Bytes that the files below take on disk; what vanishes meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


def _described(path: Path) -> Saved | None:
    try:
        used = path.stat().st_mtime
    except FileNotFoundError:  # another run removed it
        return None
    descriptor = _locked(path, fcntl.LOCK_EX)
    if descriptor is not None:
        os.close(descriptor)
    return Saved(key=path.name, path=path, size=occupied(path), used=used, busy=descriptor is None)


def _locked(path: Path, how: int) -> int | None:
    """The directory, open and locked; None where it is not there, or is held in a way that excludes this.

    A shared lock is waited for: what excludes it is a removal, or somebody's look, and both are short.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    try:
        fcntl.flock(descriptor, how if how == fcntl.LOCK_SH else how | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass  # a run holds it, or it was renamed between the two steps
    os.close(descriptor)
    return None
