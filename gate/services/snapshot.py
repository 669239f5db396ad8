"""Copies of a sealed data directory: made whole or not at all, checked before they are used."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gate.errors import EnvironmentFailure
from gate.services.place import no_room

# What belongs to one start of the server, not to the data.
_OF_ONE_START = shutil.ignore_patterns("postmaster.pid", "postmaster.opts", "pg_stat_tmp", "*.log")


def save(data: Path, into: Path) -> None:
    """Copy the data directory of a stopped server to `into`, which then exists complete or not at all.

    An `into` that exists is kept. Raises EnvironmentFailure where there is no room or no right to write.
    """
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        sweep(into.parent)
        with _unfinished(into) as temporary:
            copy(data, temporary)
            _put(temporary, into)
    except OSError as error:
        raise _failure(error, into.parent, data) from error


def sweep(directory: Path) -> None:
    """Remove copies that a killed run left unfinished."""
    for path in unfinished(directory):
        shutil.rmtree(path, ignore_errors=True)


def unfinished(directory: Path) -> Iterator[Path]:
    """Copies that a killed run left unfinished, each locked until the next is asked for.

    Those being made are locked by their makers and are not among them.
    """
    for path in directory.glob(".*.new"):
        with contextlib.suppress(OSError), _locked(path):
            yield path


def _put(temporary: Path, into: Path) -> None:
    try:
        temporary.rename(into)
    except OSError:
        if not into.exists():  # else another run was quicker
            raise


@contextlib.contextmanager
def _unfinished(into: Path) -> Iterator[Path]:
    """A place beside `into`, locked while we live, and removed with what is still in it at the end."""
    directory = Path(tempfile.mkdtemp(prefix=f".{into.name}.", suffix=".new", dir=into.parent))
    try:
        with _locked(directory):
            yield directory / "data"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Raises BlockingIOError where another process holds it. The lock goes with its holder."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def check(source: Path, major: int) -> None:
    """Raises EnvironmentFailure unless `source` is a data directory of Postgres `major`."""
    try:
        found = (source / "PG_VERSION").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFailure("not a Postgres data directory", where=str(source)) from error
    if found != str(major):
        raise EnvironmentFailure(
            f"this data directory is of Postgres {found}, the server is {major}", where=str(source)
        )


def copy(source: Path, target: Path) -> None:
    """Copy a data directory to a path that does not exist; on failure nothing of it is left."""
    try:
        shutil.copytree(source, target, symlinks=True, ignore=_OF_ONE_START)
        (target / "pg_stat_tmp").mkdir(mode=0o700)
        target.chmod(0o700)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise _failure(error, target.parent, source) from error


def size(directory: Path) -> int:
    """Bytes that the files below take on disk."""
    return sum(
        Path(parent, name).lstat().st_blocks * 512
        for parent, _, names in os.walk(directory)
        for name in names
    )


def _failure(error: Exception, place: Path, data: Path) -> EnvironmentFailure:
    """copytree joins the errors of all files into one text; a full disk is told by its words."""
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error)
    if full:
        return no_room(place, size(data))
    reason = getattr(error, "strerror", None) or "some files could not be copied"
    return EnvironmentFailure(f"cannot copy the data directory: {reason}", where=str(place))
