"""The watchdog: ends what a side has started once the gate that started it is gone, even after SIGKILL.

Run as a file by `python -I -S watch.py MARKER`, so it imports little and nothing of ours. Its standard
input is a pipe whose other end only the gate holds; end of file is the signal. What belongs together is
told by /proc: the session, an environment marker that children inherit, and parenthood, so a process
that left its group is found too. Without /proc (macOS) the process group is all that is known.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

MARKER = "PERF_GATE_SIDE"
_ATTEMPTS = 200  # x 10 ms; a process in uninterruptible sleep cannot be ended by anybody


def family(marker: str, session: int) -> tuple[int, ...]:
    """Living processes (zombies are not) that carry the marker, are of the session, or descend from such.

    session: pid of the leader, 0 while unknown. The leader comes first, if alive. Without /proc: the
    group as one negative number, the way kill(2) takes it.
    """
    if not os.path.isdir("/proc/self"):
        return _group(session)
    wanted = f"{MARKER}={marker}".encode()
    parents: dict[int, int] = {}
    members: set[int] = set()
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            state, parent, its_session = _stat(pid)
        except OSError:
            continue  # ended meanwhile
        if state in "ZX":
            continue
        parents[pid] = parent
        if (session and its_session == session) or wanted in _environment(pid):
            members.add(pid)
    while children := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= children
    return tuple(sorted(members, key=lambda pid: (pid != session, pid)))


def signal_all(pids: tuple[int, ...], number: int) -> None:
    """Send a signal to each; one that ended meanwhile, or is no longer ours to signal, is left."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end(marker: str, session: int) -> None:
    """Kill the family until nothing is left of it; it may be forking meanwhile."""
    for _ in range(_ATTEMPTS):
        left = family(marker, session)
        if not left:
            return
        signal_all(left, signal.SIGKILL)
        time.sleep(0.01)


def _group(session: int) -> tuple[int, ...]:
    if not session:
        return ()
    try:
        os.killpg(session, 0)
    except (ProcessLookupError, PermissionError):  # the latter where only a zombie is left
        return ()
    return (-session,)


def _stat(pid: int) -> tuple[str, int, int]:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()  # the name before may hold anything
    return fields[0].decode(), int(fields[1]), int(fields[3])


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []  # another user's process


def _watch() -> None:
    told = sys.stdin.buffer.read().split()
    end(sys.argv[1], int(told[-1]) if told else 0)


if __name__ == "__main__":
    _watch()
