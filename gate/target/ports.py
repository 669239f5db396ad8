"""Loopback ports: a free one, and whose a listening one is (Linux; elsewhere nothing is known)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LISTENING = "0A"


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on, of five digits, so that URLs of two sides are as long."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        if port >= 10_000:
            return port


def taken(port: int) -> bool:
    """Whether somebody listens on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def listening(pids: Iterable[int]) -> tuple[int, ...]:
    """The ports that these processes listen on, in ascending order."""
    sockets = _listeners()
    return tuple(sorted({sockets[inode] for pid in pids for inode in _sockets(pid) if inode in sockets}))


def stranger(port: int, ours: Iterable[int]) -> int | None:
    """The pid of a process that holds the listening port, is none of ours and is older than all of ours.

    None where that cannot be told. Younger ones are left: a container's proxy listens for our application.
    """
    known = set(ours)
    born = min((started for pid in known if (started := _started(pid)) is not None), default=None)
    inodes = {inode for inode, where in _listeners().items() if where == port}
    holders = {pid for pid in _processes() if inodes & set(_sockets(pid))}
    if born is None or holders & known:
        return None
    return next((pid for pid in sorted(holders) if (_started(pid) or born) < born), None)


def _listeners() -> dict[str, int]:
    """Inode -> port of every listening TCP socket of this network namespace."""
    found: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue  # no /proc, or no IPv6
        for fields in (line.split() for line in lines):
            if fields[3] == _LISTENING:
                found[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    return found


def _sockets(pid: int) -> Iterator[str]:
    """Inodes of a process's sockets; none for a process that ended or belongs to somebody else."""
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        try:
            link = os.readlink(f"{directory}/{name}")
        except OSError:
            continue
        if link.startswith("socket:["):
            yield link[8:-1]


def _processes() -> Iterator[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    yield from (int(name) for name in names if name.isdigit())


def _started(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return None
