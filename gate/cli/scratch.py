"""A directory for one run: worktrees, environments and logs, gone afterwards, also after SIGKILL."""

from __future__ import annotations

import fcntl
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "lock"
_MAKING = 60.0  # seconds after which nobody is still making a directory


@contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """A new directory under `parent`, removed on the way out.

    It holds a lock as long as its run lives. The kernel drops the lock of a run that was killed, so
    that what it left is recognised by the next one, whatever its process id is now used for.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for path in left_behind(parent):
        shutil.rmtree(path, ignore_errors=True)
    path = parent / secrets.token_hex(4)
    path.mkdir(mode=0o755)
    with (path / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # waits for whoever is just looking at it
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def left_behind(parent: Path) -> Iterator[Path]:
    """Directories of runs that were killed, each locked until the next is asked for.

    One without a lock file is being made or removed at this moment, unless it has been so for long.
    """
    for path in parent.iterdir() if parent.is_dir() else ():
        try:
            lock = (path / LOCK).open("r+")
        except OSError:
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _MAKING:
                    yield path
            continue
        with lock, suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path
