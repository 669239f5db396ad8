"""Server programs on disk: which they are, of what version, and whether they may be run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from gate.services.account import Account
from gate.services.running import Unavailable

_SHARED_CACHE = Path("/var/cache")
_TIMEOUT = 30.0  # seconds to answer --version
_UNUSED = 30 * 86400.0  # seconds after which a copy of programs is removed
_OURS = re.compile("[0-9a-f]{16}")  # names of copies; somebody may keep the whole cache in that place
_LOADABLE = ("bin", "lib", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """postgres, initdb, redis: paths of the programs. major: of Postgres; redis_major: of Redis or Valkey."""

    postgres: Path
    initdb: Path
    redis: Path
    major: int
    redis_major: int


def ask_version(program: Path, account: Account) -> int:
    """The major version that the program names when run as `account`. Raises Unavailable."""
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
            cwd="/",
            env={"LC_ALL": "C"},
            **account.process,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"cannot run as {account.name}: {error}", where=str(program)) from error
    # "postgres (PostgreSQL) 18.6 (Debian ...)", "Valkey server v=9.1.2 sha=..."
    found = re.search(r"(?:\)\s+|v=)(\d+)", done.stdout)
    if done.returncode != 0 or found is None:
        lines = tuple((done.stdout + done.stderr).splitlines()[-5:])
        message = f"this server program does not run here (exit {done.returncode})"
        raise Unavailable(message, where=str(program), tail=lines)
    return int(found[1])


def within_reach(trees: tuple[Path, ...], key: str, account: Account) -> Path:
    """The directory that holds `trees` where `account` can enter it: theirs, or a cached copy.

    trees: of one directory; copied with the same layout, because the programs find their libraries by
    relative path. The directories above are never made more open instead.
    """
    home = trees[0].parent
    if all(account.can_reach(tree / "x") for tree in trees):
        return home
    digest = hashlib.blake2b(f"{key}\0{home}".encode(), digest_size=8).hexdigest()
    for place in _places():
        with contextlib.suppress(OSError):
            return _copied(trees, place, digest, account)
    raise Unavailable(
        f"{account.name} can reach neither the server programs nor a copy of them",
        where=str(home),
        hint="install perf-gate where every user may read it",
    )


def copies() -> tuple[Path, ...]:
    """The copies of programs that `within_reach` has made for this user, for runs to come."""
    return tuple(
        copy
        for place in _places()
        if place.is_dir() and place.lstat().st_uid == os.geteuid()
        for copy in sorted(place.iterdir())
        if _OURS.fullmatch(copy.name) and copy.is_dir()
    )


def running_from(directory: Path) -> bool:
    """Whether a process runs a program that lies in it."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or ended meanwhile
            if (process / "exe").readlink().is_relative_to(directory):
                return True
    return False


def _places() -> tuple[Path, Path]:
    return _SHARED_CACHE / "perf-gate", Path(tempfile.gettempdir()) / f"perf-gate-{os.geteuid()}"


def _copied(trees: tuple[Path, ...], place: Path, digest: str, account: Account) -> Path:
    """A copy in `place`, made whole or not at all. OSError where that place will not do."""
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    status = place.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022 or not account.can_reach(place / "x"):
        raise PermissionError(f"{place} is not ours alone")  # whoever made it could swap the programs
    target = place / digest
    if target.is_dir():
        os.utime(target)
        return target
    _forget_unused(place)
    temporary = Path(tempfile.mkdtemp(dir=place))
    try:
        for tree in trees:
            shutil.copytree(tree, temporary / tree.name, symlinks=True, ignore=_unneeded)
        _open_to_all(temporary)
        with contextlib.suppress(OSError):  # another run put its copy there first
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not target.is_dir():
        raise FileNotFoundError(target)
    return target


def _forget_unused(place: Path) -> None:
    """Every environment that perf-gate was ever installed in leaves a copy."""
    for copy in place.iterdir():
        with contextlib.suppress(OSError):  # another run removes it too
            old = time.time() - copy.stat().st_mtime > _UNUSED
            if _OURS.fullmatch(copy.name) and old and not running_from(copy):
                shutil.rmtree(copy, ignore_errors=True)


def _unneeded(directory: str, names: list[str]) -> set[str]:
    """Headers and the package's own Python, which no server reads."""
    if Path(directory).name == "pginstall":
        return {name for name in names if name not in _LOADABLE}
    return {name for name in names if name == "__pycache__" or name.endswith(".py")}


def _open_to_all(root: Path) -> None:
    for directory, _, files in os.walk(root):
        Path(directory).chmod(0o755)
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
