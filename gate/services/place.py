"""The one directory of a run, and what becomes of it: chosen, recorded, watched, removed.

Data, sockets, logs and passwords of a run all lie in it. A record in the `state` directory says whose it
is, so that the next run removes what neither we nor our watchdog could.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.errors import EnvironmentFailure
from gate.services import watchdog
from gate.services.account import Account

PREFIX = "perf-gate-"
LEAST_FREE = 256_000_000  # an empty Postgres takes 40 MB and as much again for its first WAL segments
_MEMORY = Path("/dev/shm")  # noqa: S108 - a tmpfs by definition; our directory in it is private
_MEMORY_FREE = 2_000_000_000  # below this a tmpfs is left alone: what lies there is memory
_MEMORY_SPARE = 1_000_000_000  # for the servers and the application themselves
_SOCKET_PATH = 107  # bytes a Unix socket's path may have
_NAME = re.compile(PREFIX + r"[0-9a-f]{16}")
_WATCHDOG_PATIENCE = 30.0
_WRITING = 60.0  # seconds after which nobody is still writing a record


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the record of a run says. docker: socket of its daemon, empty where its servers are processes.

    since: of its start, in seconds since the epoch. alive: false where the run is gone.
    """

    record: Path
    directory: Path
    provider: str
    docker: str
    owner: dict[str, Any]
    since: float
    alive: bool


@contextlib.contextmanager
def run_directory(
    state: Path,
    account: Account,
    *,
    needed: int,
    notify: Callable[[str], None],
    place: Path | None = None,
    docker: str = "",
    provider: str = "",
) -> Iterator[Path]:
    """A new private directory of `account`, removed with every server in it at the end, come what may.

    state: where records of runs lie; created where missing. needed: bytes that the data will take.
    place: the directory to make it in, None where any that has room will do.
    docker: socket of the daemon that will run the servers, empty where they are our children.
    provider: for whoever reads the record.
    Raises EnvironmentFailure where `state` cannot be written or there is no room.
    """
    reap(state, notify)
    directory = choose(account, needed, place) / f"{PREFIX}{secrets.token_hex(8)}"
    record = _write_record(state, directory, docker, provider)
    with _watched(directory, record, docker):
        try:
            _make(directory, account)
            yield directory
        finally:
            watchdog.sweep(str(directory), str(record), docker)


def _make(directory: Path, account: Account) -> None:
    try:
        directory.mkdir(mode=0o700)
        account.own(directory)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot make a directory for {account.name}: {error.strerror}",
            where=str(directory),
            hint="run perf-gate as an ordinary user" if account.other else "set TMPDIR",
        ) from error


@contextlib.contextmanager
def _watched(directory: Path, record: Path, docker: str) -> Iterator[None]:
    """A watchdog in a session of its own, so that neither Ctrl-C nor our end ends it first."""
    command = [sys.executable, "-I", "-S", watchdog.__file__, str(directory), str(record), docker]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it goes on without us
            process.wait(_WATCHDOG_PATIENCE)


def choose(account: Account, needed: int, place: Path | None = None) -> Path:
    """The directory to make ours in: memory where there is plenty, else the roomiest temporary directory.

    place: the only one that will do. EnvironmentFailure where there is no room.
    """
    chosen = place or likely(account, needed)
    if place or chosen != _MEMORY:
        check_room(chosen, max(needed, LEAST_FREE))
    return chosen


def likely(account: Account, needed: int) -> Path:
    """What `choose` will give, whether or not there is room. EnvironmentFailure where nothing is usable."""
    if _memory_suffices(max(needed, _MEMORY_FREE)) and _usable(_MEMORY, account):
        return _MEMORY
    places = [place for place in _temporary() if _usable(place, account)]
    if not places:
        raise EnvironmentFailure(
            f"no temporary directory can be used by {account.name}",
            where=", ".join(str(place) for place in _temporary()),
            hint="set TMPDIR to a directory that this user may enter, with a short path",
        )
    return max(places, key=lambda place: shutil.disk_usage(place).free)


def check_room(place: Path, needed: int) -> None:
    """Raises EnvironmentFailure with the place and both figures where less than `needed` bytes are free."""
    if room(place)[0] < needed:
        raise no_room(place, needed)


def no_room(place: Path, needed: int) -> EnvironmentFailure:
    """The error for a full disk, or for a tmpfs that must leave some memory to others."""
    free, _ = room(place)
    return EnvironmentFailure(
        f"no free space for the database: {free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} MB needed",
        where=str(place),
        hint="free some space, set TMPDIR to a larger file system, or seed fewer rows (--scale)",
    )


def reap(state: Path, notify: Callable[[str], None]) -> None:
    """Remove what runs left behind that ended without a chance to clean up; others' is left alone."""
    for found in recorded(state):
        if not found.alive:
            notify(f"removing what a run that was killed left behind: {found.directory}")
            watchdog.sweep(str(found.directory), str(found.record), found.docker)


def recorded(state: Path) -> tuple[Recorded, ...]:
    """The runs with a record in `state`, which is made where missing. Raises EnvironmentFailure."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        records = sorted(state.glob(f"{PREFIX}*.json"))
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot keep records of running services: {error.strerror}",
            where=str(state),
            hint="name a writable directory for the gate's cache",
        ) from error
    return tuple(found for record in records if (found := _read_record(record)))


def unfinished_records(state: Path) -> Iterator[Path]:
    """Records whose writer was killed before they had their name; writing one takes milliseconds."""
    for path in state.glob("*.new"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _WRITING:
                yield path


def _read_record(record: Path) -> Recorded | None:
    """None where the record is not of ours, or gone meanwhile."""
    try:
        told = json.loads(record.read_text(encoding="utf-8"))
        found = Recorded(
            record=record,
            directory=Path(told["directory"]),
            provider=str(told.get("provider", "")),
            docker=str(told["docker"]),
            owner=told["owner"],
            since=record.stat().st_mtime,
            alive=lives(told["owner"]),
        )
    except FileNotFoundError:
        return None  # another run was quicker
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # another user's, or not written by us
    # The name is checked because what it names will be removed with all it holds.
    ours = _NAME.fullmatch(found.directory.name) and record.stem == found.directory.name
    return found if ours else None


def _write_record(state: Path, directory: Path, docker: str, provider: str) -> Path:
    """Written whole before the directory exists, so that there is no moment in which it is unknown."""
    record = state / f"{directory.name}.json"
    told = {
        "directory": str(directory),
        "provider": provider,
        "docker": docker,
        "owner": identity(os.getpid()),
    }
    text = json.dumps(told, indent=1)
    temporary = record.with_suffix(".new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(record)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot record the run: {error.strerror}",
            where=str(state),
            hint="name a writable directory for the gate's cache",
        ) from error
    return record


def identity(pid: int) -> dict[str, Any]:
    """A process as it can be recognised later: its number alone is used again after it has ended.

    start: in ticks since boot. boot: of this boot of the machine. namespace: of process numbers; those
    of another container mean nothing here.
    """
    return {
        "pid": pid,
        "start": int(_stat(pid)[19]),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        "namespace": os.readlink("/proc/self/ns/pid"),
    }


def lives(owner: dict[str, Any]) -> bool:
    """Whether the recorded process runs, or may run where we cannot see it."""
    here = identity(os.getpid())
    if owner.get("boot") != here["boot"]:
        return False
    if owner.get("namespace") != here["namespace"]:
        return True
    try:
        return identity(int(owner["pid"])) == owner and _stat(int(owner["pid"]))[0] not in "ZX"
    except (OSError, KeyError, ValueError):
        return False


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: the state first (Z has ended), the start twentieth."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def _temporary() -> list[Path]:
    return list(dict.fromkeys(Path(name).resolve() for name in (tempfile.gettempdir(), "/var/tmp", "/tmp")))  # noqa: S108


def _usable(place: Path, account: Account) -> bool:
    longest = place / f"{PREFIX}{'0' * 16}" / ".s.PGSQL.65535"
    return (
        place.is_dir()
        and os.access(place, os.W_OK | os.X_OK)
        and len(os.fsencode(longest)) <= _SOCKET_PATH
        and account.can_reach(longest.parent)
    )


def _memory_suffices(wanted: int) -> bool:
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < wanted:
        return False
    return _available_memory() >= wanted + _MEMORY_SPARE


def room(place: Path) -> tuple[int, str]:
    """Bytes that may be filled at a place, and what runs out first there: "disk" or "memory".

    On a tmpfs every byte is memory, of which the servers and the application keep a share.
    """
    free = shutil.disk_usage(place).free
    if not _in_memory(place):
        return free, "disk"
    return min(free, max(0, _available_memory() - _MEMORY_SPARE)), "memory"


def _in_memory(place: Path) -> bool:
    """Whether the file system of a directory is a tmpfs: the mount whose point is the longest prefix."""
    here, best, kind = str(place.resolve()), "", ""
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, found, *_ = line.split(" ")
        within = here == point or here.startswith(point.rstrip("/") + "/")
        if within and len(point) >= len(best):  # a later mount hides an earlier one
            best, kind = point, found
    return kind in ("tmpfs", "ramfs")


def _available_memory() -> int:
    """Bytes; 0 where the kernel does not say."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
