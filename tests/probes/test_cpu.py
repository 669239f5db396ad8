"""Processor time: of other processes, their threads and their children, whatever becomes of them.

A process that is watched reports its own time before and after we look, so that ours must lie between.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from gate.probes import cpu
from gate.probes.cpu import CpuClock, cpu_seconds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
TICKS = 0.02  # seconds: what /proc may leave out of user and of system time, a hundredth each

WORKER = """
import os, signal, sys, threading, time

def say(*things):
    os.write(1, (" ".join(map(str, things)) + "\\n").encode())  # whole, for several speak at once

def burn():
    until = time.thread_time() + 0.1
    while time.thread_time() < until: pass

def burn_in_a_thread():
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()

def burn_in_a_child():
    child = os.fork()
    if not child:
        burn()
        os._exit(0)
    os.waitpid(child, 0)

def start_a_child():
    global child
    child = os.fork()
    if not child:
        burn()
        say(os.getpid())
        signal.pause()

def start_a_grandchild():
    global child
    child = os.fork()
    if not child:
        if os.fork():
            say(os.getpid())
            os.wait()
            os._exit(0)
        burn()
        say(os.getpid())
        signal.pause()

def end_the_child():
    os.kill(child, signal.SIGKILL)
    wait_for_the_child()

def wait_for_the_child():
    try: os.waitpid(child, 0)
    except ChildProcessError: pass  # the kernel has waited for it

def ignore_children():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

def become_nobody():
    os.setuid(65534)

def tell():
    pass

for line in sys.stdin:
    globals()[line.strip()]()
    mine, children = time.process_time(), sum(os.times()[2:4])
    say(mine, children)
"""


class Worker:
    """A process that does one thing after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid

    def does(self, what: str) -> tuple[float, float]:
        """Its own time and its ended children's, in seconds, once it has done it."""
        self._ask(what)
        own, children = self._line().split()
        return float(own), float(children)

    def starts(self, *below: str) -> list[int]:
        """Pids of a new child, or of a child and its child; the last has used 0.1 s and waits for its end."""
        self._ask(f"start_a_{below[-1]}")
        lines = [self._line() for _ in (*below, "the answer")]
        return [int(line) for line in lines if " " not in line]

    def _ask(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def working() -> Iterator[Worker]:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Worker(process)
        process.kill()


@pytest.fixture
def worker():
    with working() as worker:
        yield worker


@pytest.mark.parametrize(
    "what",
    [
        "burn",
        "burn_in_a_thread",
        pytest.param(
            "become_nobody",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="root can become another user"),
        ),
    ],
)
def test_the_time_is_what_the_process_itself_says(worker, what):
    """Of another process, of its finished threads, of another user's; to the nanosecond."""
    before, _ = worker.does(what)
    ours = cpu_seconds([worker.pid])
    after, _ = worker.does("tell")
    assert ours is not None
    assert before <= ours <= after


def test_several_processes_are_added_up(worker):
    """As the clock of the whole family."""
    with working() as second:
        low = worker.does("burn")[0] + second.does("burn")[0]
        ours = cpu_seconds([worker.pid, second.pid])
        high = worker.does("tell")[0] + second.does("tell")[0]
    assert ours is not None
    assert low <= ours <= high


def test_children_that_were_waited_for_count(worker):
    """They used what their parent's own clock does not tell."""
    low, children = worker.does("burn_in_a_child")
    ours = cpu_seconds([worker.pid])
    high, _ = worker.does("tell")
    assert ours is not None
    assert children >= 0.1 - TICKS
    assert low + children <= ours + 1e-9
    assert ours <= high + children + 1e-9


def test_without_a_clock_of_its_own_the_time_comes_in_ticks(worker, monkeypatch):
    """As under a kernel that tells no process another's clock."""

    def refused(_):
        raise OSError(22, "Invalid argument")

    before, _ = worker.does("burn")
    monkeypatch.setattr(time, "clock_gettime", refused)
    ours = cpu_seconds([worker.pid])
    after, _ = worker.does("tell")
    assert ours is not None
    assert before - TICKS <= ours <= after


def ended() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_what_cannot_be_read_is_unknown_and_not_nought():
    """No processes, as with servers elsewhere, or none that lives."""
    pid = ended()
    assert cpu_seconds([]) is None
    assert cpu_seconds([pid]) is None
    assert CpuClock().seconds([]) is None
    assert CpuClock().seconds([pid]) is None


def test_a_process_that_has_ended_does_not_hide_the_others(worker):
    """It counts nothing."""
    before, _ = worker.does("burn")
    ours = cpu_seconds([ended(), worker.pid])
    assert ours is not None
    assert ours >= before


def seconds(clock: CpuClock, *pids: int) -> float:
    found = clock.seconds(pids)
    assert found is not None
    return found


@pytest.mark.parametrize("parent", ["waits", "ignores"])
def test_a_child_that_ends_keeps_what_it_used_and_counts_once(worker, parent):
    """A Postgres backend between two looks: by its parent's word, or where it has none by ours."""
    if parent == "ignores":
        worker.does("ignore_children")
    clock = CpuClock()
    start = seconds(clock, worker.pid)
    (child,) = worker.starts("child")
    lived = seconds(clock, worker.pid, child)
    own_before, _ = worker.does("tell")
    worker.does("end_the_child")
    after = seconds(clock, worker.pid)
    own_after, _ = worker.does("burn")
    later = seconds(clock, worker.pid)
    assert lived - start >= 0.1
    assert lived <= after <= lived + (own_after - own_before) + 2 * TICKS
    assert later - after >= 0.1 - TICKS


def test_a_child_that_ends_with_its_own_child_counts_once(worker):
    """The one that is left has waited for both."""
    clock = CpuClock()
    child, grandchild = worker.starts("child", "grandchild")
    lived = seconds(clock, worker.pid, child, grandchild)
    os.kill(grandchild, 9)
    worker.does("wait_for_the_child")
    assert lived <= seconds(clock, worker.pid) <= lived + 0.1 - TICKS


def test_a_child_that_lived_between_two_looks_counts(worker):
    """A server that forks for every request."""
    clock = CpuClock()
    start = seconds(clock, worker.pid)
    worker.does("burn_in_a_child")
    assert seconds(clock, worker.pid) - start >= 0.1 - TICKS


def test_a_process_without_a_parent_in_the_family_keeps_what_it_used():
    """By our last look; also when nobody is left."""
    clock = CpuClock()
    with working() as worker:
        worker.does("burn")
        lived = seconds(clock, worker.pid)
    assert seconds(clock) == seconds(clock, worker.pid) == lived


def test_a_family_that_ends_as_a_whole_counts_once(worker):
    """The child's time is not added to its parent's a second time."""
    clock = CpuClock()
    (child,) = worker.starts("child")
    lived = seconds(clock, worker.pid, child)
    os.kill(child, 9)
    worker.process.kill()
    worker.process.wait()
    assert seconds(clock) == lived


def test_it_never_runs_backwards(worker, monkeypatch):
    """Not even where the kernel's own account of the children does, by its rounding."""
    clock, read = CpuClock(), cpu._stat
    seconds(clock, worker.pid)
    worker.does("burn_in_a_child")
    before = seconds(clock, worker.pid)
    monkeypatch.setattr(cpu, "_stat", lambda pid: [*(fields := read(pid))[:13], b"0", b"0", *fields[15:]])
    assert seconds(clock, worker.pid) >= before


def test_a_number_that_is_used_again_is_another_process(worker, monkeypatch):
    """What the first had used is kept, and all that the second has used is added."""
    clock, read = CpuClock(), cpu._stat
    worker.does("burn")
    first = seconds(clock, worker.pid)
    monkeypatch.setattr(cpu, "_stat", lambda pid: [*(fields := read(pid))[:19], b"1", *fields[20:]])
    assert seconds(clock, worker.pid) >= 2 * first
