"""Cores to measure on: which this process may use, one that no other run measures on, and keeping there.

Where a thing cannot be done here, a text says so and nothing is raised: times are then noisier, not wrong.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.model import Caveat

_DEVICES = Path("/sys/devices")
_GUARD_TIMEOUT = 2.0  # seconds; choosing takes a millisecond, unless its process was stopped meanwhile
_PAUSE = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """The cores this process may use, ascending, and the one to measure on.

    available: empty, and chosen None, where processes cannot be kept on a core. caveats: why not, or who
    else uses the chosen one.
    """

    available: tuple[int, ...]
    chosen: int | None
    caveats: tuple[Caveat, ...] = ()


@contextlib.contextmanager
def reserved(state: Path) -> Iterator[Cores]:
    """One core for this run until the context ends; the kernel gives it back whatever ends us.

    state: a directory, made where missing, that all runs share which must not meet on a core. Of the
    fastest kind the highest-numbered is preferred, since 0 serves interrupts, and one of whose
    hyper-threads nobody measures on another. Where all are taken one is shared, and a caveat says so.
    """
    if reason := _hindrance():
        text = f"processes cannot be kept on one core here: {reason}"
        yield Cores(available=(), chosen=None, caveats=(Caveat(code="no-affinity", text=text),))
        return
    available = tuple(sorted(os.sched_getaffinity(0)))
    alone: tuple[Caveat, ...] = ()
    if len(available) == 1:
        alone = (Caveat(code="one-core", text="one core only: the gate and the application share it"),)
    with contextlib.ExitStack() as held:
        chosen, doubts = _reserve(available, state, held)
        yield Cores(available=available, chosen=chosen, caveats=alone + doubts)


@contextlib.contextmanager
def pinned(pids: Iterable[int], cores: Iterable[int]) -> Iterator[tuple[str, ...]]:
    """Processes kept on cores with all their threads; on leaving, each thread gets back what it had.

    pids: 0 is the calling thread alone. A thread started meanwhile gets what its process's first thread
    had. A process started meanwhile inherits the cores and stays there: `move` it. Gives a text for each
    reason why some could not be kept; that a process has ended is none.
    """
    wanted = frozenset(cores)
    before = [(pid, _born(pid), dict[int, set[int]]()) for pid in pids]
    try:
        yield _told(wanted, {pid: _keep(pid, wanted, had) for pid, _, had in before})
    finally:
        for pid, born, had in before:
            if _born(pid) == born:  # else its number is another's by now
                _restore(pid, had)


def move(pids: Iterable[int], cores: Iterable[int]) -> tuple[str, ...]:
    """As `pinned`, for good; cheap enough to call for every case."""
    wanted = frozenset(cores)
    return _told(wanted, {pid: _keep(pid, wanted) for pid in pids})


def _hindrance() -> str:
    """Why processes cannot be kept on a core; empty where they can. Tried: a seccomp profile may refuse."""
    if not hasattr(os, "sched_setaffinity"):
        return f"{platform.system()} does not offer it"
    try:
        os.sched_setaffinity(0, os.sched_getaffinity(0))
    except OSError as error:
        return str(error.strerror)
    return ""


def _reserve(
    available: tuple[int, ...], state: Path, held: contextlib.ExitStack
) -> tuple[int, tuple[Caveat, ...]]:
    """The core to measure on, its lock left to `held`, and what there is to say against it."""
    slow = _slow(available)
    preferred = sorted(available, key=lambda core: (core not in slow, core), reverse=True)
    beside = {core: _siblings(core) for core in available}
    try:
        with _guard(state), contextlib.ExitStack() as tried:
            locks = {core: _lock(state, core, tried) for core in {*available}.union(*beside.values())}
            taken = {core for core, lock in locks.items() if lock is None}
            chosen = min(preferred, key=lambda core: (core in taken, not taken.isdisjoint(beside[core])))
            lock = locks[chosen]
            if lock is not None:
                held.callback(os.close, os.dup(lock))  # the lock is held as long as either is open
    except OSError as error:
        return preferred[0], _unreserved(error)
    return chosen, _shared(chosen, taken, beside[chosen])


def _shared(chosen: int, taken: set[int], beside: frozenset[int]) -> tuple[Caveat, ...]:
    if chosen in taken:
        text = f"core {chosen} is shared: other runs measure on every core that this one may use"
        return (Caveat(code="core-shared", text=text),)
    if not taken.isdisjoint(beside):
        text = f"another run measures on the other hyper-thread of core {chosen}"
        return (Caveat(code="sibling-shared", text=text),)
    return ()


def _unreserved(error: OSError) -> tuple[Caveat, ...]:
    text = f"no core can be reserved ({error.strerror}): another run may measure on the same one"
    return (Caveat(code="core-unreserved", text=text),)


@contextlib.contextmanager
def _guard(state: Path) -> Iterator[None]:
    """One run chooses at a time, so that a lock that is only tried is never taken for one that is held.

    A run that was stopped in the middle of it must not stop all others: after a while they go on.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state / "cores.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + _GUARD_TIMEOUT
        while not _flock(descriptor) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _lock(state: Path, core: int, until: contextlib.ExitStack) -> int | None:
    """A descriptor that holds the core's lock, closed by `until`; None where another run holds it."""
    descriptor = os.open(state / f"core-{core}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    until.callback(os.close, descriptor)
    return descriptor if _flock(descriptor) else None


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _siblings(core: int) -> frozenset[int]:
    """The other hyper-threads of a core; none where the topology cannot be read."""
    topology = _DEVICES / f"system/cpu/cpu{core}/topology"
    return _listed(topology / "thread_siblings_list") - {core}


def _slow(available: tuple[int, ...]) -> frozenset[int]:
    """Cores of a slower kind than the fastest there is: Intel's atoms, the little ones of ARM."""
    capacities = {core: _capacity(core) for core in available}
    little = {core for core, capacity in capacities.items() if capacity < max(capacities.values())}
    slow = little | _listed(_DEVICES / "cpu_atom/cpus")
    return frozenset(slow.intersection(available))


def _capacity(core: int) -> int:
    try:
        return int((_DEVICES / f"system/cpu/cpu{core}/cpu_capacity").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _listed(file: Path) -> frozenset[int]:
    """A kernel's list of cores, "0-3,8"; empty where there is no such file."""
    try:
        ranges = file.read_text(encoding="ascii").strip().split(",")
    except OSError:
        return frozenset()
    ends = (part.partition("-") for part in ranges if part)
    return frozenset(core for low, _, high in ends for core in range(int(low), int(high or low) + 1))


def _keep(pid: int, wanted: frozenset[int], had: dict[int, set[int]] | None = None) -> str:
    """Move every thread of a process; why one cannot be moved, or empty. had: filled with what they had."""
    if not hasattr(os, "sched_setaffinity"):
        return f"{platform.system()} does not offer it"
    for thread in _threads(pid):
        try:
            if had is not None:
                had[thread] = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, wanted)
        except ProcessLookupError:
            continue  # ended meanwhile
        except OSError as error:
            return str(error.strerror)
    return ""


def _restore(pid: int, had: Mapping[int, set[int]]) -> None:
    for thread in _threads(pid):
        if cores := had.get(thread) or had.get(pid):
            with contextlib.suppress(OSError):  # ended meanwhile, or the machine has fewer cores by now
                os.sched_setaffinity(thread, cores)


def _threads(pid: int) -> Iterator[int]:
    """Thread ids of a process, also of those that a thread not yet told of has started meanwhile."""
    if pid == 0:
        yield threading.get_native_id()
        return
    told: set[int] = set()
    while new := _tasks(pid) - told:
        yield from new
        told |= new


def _tasks(pid: int) -> set[int]:
    try:
        return {int(name) for name in os.listdir(f"/proc/{pid}/task")}
    except OSError:
        return set()  # ended, or hidden from us


def _born(pid: int) -> str:
    """When a process started, in ticks since boot; empty where it is gone. Numbers are used again."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]  # the name before may hold anything


def _told(wanted: frozenset[int], reasons: Mapping[int, str]) -> tuple[str, ...]:
    """One text for each reason, with the processes it befell."""
    befell: dict[str, list[str]] = {}
    for pid, reason in reasons.items():
        if reason:
            befell.setdefault(reason, []).append(str(pid) if pid else "the calling thread")
    where = f"core {', '.join(map(str, sorted(wanted)))}"
    return tuple(f"cannot keep on {where}: {reason} ({', '.join(who)})" for reason, who in befell.items())
