"""A directory for one run: worktrees, environments and logs, gone afterwards, also after SIGKILL."""

from __future__ import annotations

import fcntl
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "lock"


@contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """A new directory under `parent`, removed on the way out.

    It holds a lock as long as its run lives. The kernel drops the lock of a run that was killed, so
    that what it left is recognised by the next one, whatever its process id is now used for.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    path = parent / secrets.token_hex(4)
    path.mkdir(mode=0o755)
    with (path / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for left in parent.iterdir():
        # A directory without a lock file is one that is being made or removed at this moment.
        with suppress(OSError), (left / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
