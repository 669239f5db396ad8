"""A directory of things that are expensive to make: whole or absent, and safe for several runs at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Store:
    """Directories by key, under `home`. kept: how many of them `prune` leaves."""

    home: Path
    kept: int

    @contextlib.contextmanager
    def alone_with(self, key: str, notify: Callable[[str], None]) -> Iterator[Path]:
        """The entry's path (which may not exist yet), while no other run uses it.

        The kernel gives the lock back even if we are killed.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        with self._lock_file(key) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                notify("waiting for another run that installs the same dependencies")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.home / key

    @contextlib.contextmanager
    def building(self, entry: Path) -> Iterator[Path]:
        """A new directory that becomes the entry if the block succeeds, and is removed if it fails.

        One left by a killed run is removed first. Only inside `alone_with`.
        """
        partial = entry.with_name(f"{entry.name}{_PARTIAL}")
        _remove(partial)
        partial.mkdir()
        try:
            yield partial
            _remove(entry)
            partial.rename(entry)
        finally:
            _remove(partial)

    def prune(self) -> None:
        """Remove the entries unused for longest (by modification time), but none that a run is using."""
        entries = [path for path in self.home.iterdir() if path.is_dir() and path.suffix != _PARTIAL]
        for entry in sorted(entries, key=_used, reverse=True)[self.kept :]:
            with contextlib.suppress(BlockingIOError), self._lock_file(entry.name) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(entry)

    def unfinished(self) -> Iterator[Path]:
        """What killed runs left half made, each alone with the caller until the next is asked for."""
        for partial in self.home.glob(f"*{_PARTIAL}"):
            with contextlib.suppress(BlockingIOError), self._lock_file(partial.stem) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield partial

    @contextlib.contextmanager
    def _lock_file(self, key: str) -> Iterator[int]:
        handle = os.open(self.home / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            yield handle
        finally:
            os.close(handle)


def _used(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:  # another run pruned it
        return 0.0


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
