"""Sealed data directories on disk, one for each template key.

`Running.save_data` writes whole directories or nothing (temporary name, then rename), so a directory
under its final name is complete.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_DOOMED = ".removed-"
_KEY = re.compile(r"[0-9a-f]{16,128}")


@dataclass(frozen=True, slots=True)
class Cache:
    """directory: made when first needed."""

    directory: Path

    def find(self, key: str) -> Path | None:
        """The saved data directory of a template, or None. Asking counts as use (see `prune`)."""
        path = self.place(key)
        if not path.is_dir():
            return None
        os.utime(path)
        return path

    def place(self, key: str) -> Path:
        """Where the data directory of a template belongs. ValueError where the key is not one of ours."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a template key: {key!r}")
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / key

    def prune(self, keep: int = 5) -> tuple[Path, ...]:
        """Remove all but the `keep` data directories used last; gives those removed.

        A directory is renamed before it is deleted, so that nobody finds half of it.
        """
        if not self.directory.is_dir():
            return ()
        saved = [path for path in self.directory.iterdir() if path.is_dir() and _KEY.fullmatch(path.name)]
        oldest = sorted(saved, key=lambda path: path.stat().st_mtime, reverse=True)[keep:]
        for path in oldest:
            doomed = path.with_name(f"{_DOOMED}{path.name}-{os.getpid()}")
            try:
                path.rename(doomed)
            except FileNotFoundError:
                continue  # another run was quicker
            shutil.rmtree(doomed, ignore_errors=True)
        return tuple(oldest)

    def doomed(self) -> tuple[Path, ...]:
        """What `prune` did not get to delete before it was killed, or is deleting now."""
        return tuple(self.directory.glob(f"{_DOOMED}*"))
