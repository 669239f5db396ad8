"""Sealed data directories on disk, one for each template key.

`Running.save_data` writes whole directories or nothing (temporary name, then rename), so a directory
under its final name is complete. Who restores one holds a shared lock on it, which the kernel drops with
its process; who removes one needs it alone, so that neither waits for the other.

What happens to the files afterwards (a disk that fails, a transfer cut short) is seen by `find`: beside each
directory stand the sizes and checksums that its files had.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 5_000_000_000  # bytes; half of what GitHub keeps for a whole repository
_DOOMED = ".removed-"
_SUMS = ".sums"  # (size, CRC-32) by path; in a file beside the directory
_BLOCK = 1 << 20
_THREADS = 4
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
        """The saved data directory of a template, or None. Asking counts as use (see `prune`).

        Every file is read and compared with what `seal` noted, 0.5 s for 600 MB where they are in memory;
        a directory that differs is removed.
        """
        path = self.place(key)
        if key not in self._held:
            descriptor = _locked(path, fcntl.LOCK_SH)
            if descriptor is None:
                return None
            if not self._sound(path):
                os.close(descriptor)
                self.remove(key)
                return None
            self._held[key] = descriptor
        os.utime(path)
        return path

    def seal(self, key: str) -> None:
        """Note what the files of a directory that was just saved hold; once noted it stays.

        A directory whose run was killed before has no notes, and is taken for what it is: whole, as it
        got its name when it was.
        """
        path = self.place(key)
        notes = _notes(path)
        if notes.exists() or not path.is_dir():
            return
        unfinished = notes.with_name(f"{notes.name}-{os.getpid()}")
        unfinished.write_text(json.dumps(_sums(path), sort_keys=True), encoding="utf-8")
        unfinished.replace(notes)

    def _sound(self, path: Path) -> bool:
        """Whether the files are those that were noted; true where nothing was."""
        try:
            noted = json.loads(_notes(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return True
        except ValueError:
            return False
        try:
            return bool(_sums(path) == noted)
        except OSError:  # what cannot be read cannot be restored
            return False

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
            _notes(path).unlink(missing_ok=True)
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


def _notes(path: Path) -> Path:
    return path.with_name(path.name + _SUMS)


def _sums(path: Path) -> dict[str, list[int]]:
    """[size, checksum] of every file below, by its path from there; links are what they point to."""
    names = sorted(os.path.join(parent, name) for parent, _, files in os.walk(path) for name in files)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(_sum, names)
        return {os.path.relpath(name, path): sum_ for name, sum_ in zip(names, found, strict=True)}


def _sum(name: str) -> list[int]:
    size, checksum = 0, 0
    with open(name, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return [size, checksum]


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
