"""Processor time that processes have used, theirs and that of the children they waited for.

A process's own time is read from its CPU clock: to the nanosecond, for any user's process, in a container
or not, finished threads included. Time of ended children is known in hundredths of a second only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")  # of /proc, in a second


@dataclass(slots=True)
class _Look:
    """One process, looked at once. Seconds. born: ticks since boot; a number is used again.

    first: the children's time when the process was seen first. heard: what its children that ended
    before our eyes had used when they were seen last.
    """

    born: int
    parent: int
    own: float
    children: float
    first: float = 0.0
    heard: float = 0.0

    @property
    def total(self) -> float:
        """A child that ended counts by its parent's word, or by ours where the parent did not wait for it."""
        return self.own + max(self.children, self.first + self.heard)


class CpuClock:
    """Processor seconds of a family of processes that come and go; it never runs backwards.

    What ended between two looks keeps what it had used, also what was too short-lived to be seen, if its
    parent is of the family and waits for it; by the last look else. So differences are right for a
    Postgres whose backends end and for a server that forks, to 20 ms where children ended between.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Look] = {}
        self._orphaned = 0.0
        self._told = 0.0

    def seconds(self, pids: Iterable[int]) -> float | None:
        """User and system time of the whole family, given anew at each look; only differences mean much.

        None where the system tells of none of them, now or before.
        """
        now = {pid: look for pid in pids if (look := _look(pid))}
        if not now and not self._seen and not self._told:
            return None
        gone = {pid: look for pid, look in self._seen.items() if not _same(now.get(pid), look)}
        for pid, look in now.items():
            earlier = self._seen.get(pid) if pid not in gone else None
            look.first = earlier.first if earlier else look.children
            look.heard = earlier.heard if earlier else 0.0
        for look in gone.values():
            heir = now.get(_ancestor(look.parent, gone))
            if heir:
                heir.heard += look.total
            else:
                self._orphaned += look.total
        self._seen = now
        self._told = max(self._told, self._orphaned + sum(look.total for look in now.values()))
        return self._told


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """User and system time that these processes have used so far, and the children they waited for.

    Processes that have ended count nothing: see `CpuClock`. None where the system tells of none of them.
    """
    looks = [look for pid in pids if (look := _look(pid))]
    return sum(look.own + look.children for look in looks) if looks else None


def _same(now: _Look | None, before: _Look) -> bool:
    return now is not None and now.born == before.born


def _ancestor(pid: int, gone: Mapping[int, _Look]) -> int:
    """The nearest that is not gone as well: it is the one that inherits the time of all below."""
    while pid in gone:
        pid = gone[pid].parent
    return pid


def _look(pid: int) -> _Look | None:
    """None where the process is gone, or the system tells nothing of it."""
    fields = _stat(pid)
    try:
        own = time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of a process: linux/posix-timers.h
    except OSError:
        if not fields:
            return None
        own = (int(fields[11]) + int(fields[12])) / _TICKS
    if not fields:
        return _Look(born=0, parent=-1, own=own, children=0.0)
    children = (int(fields[13]) + int(fields[14])) / _TICKS
    return _Look(born=int(fields[19]), parent=int(fields[1]), own=own, children=children)


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat behind the name, which may hold anything; none where it cannot be read.

    Without a file object, which would take half as long again.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return []
    try:
        return os.read(descriptor, 4096).rpartition(b")")[2].split()
    except OSError:
        return []  # ended meanwhile
    finally:
        os.close(descriptor)
