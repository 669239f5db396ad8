"""Cores: which one a run measures on, and processes kept there."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gate.probes import cores
from gate.probes.cores import move, pinned, reserved

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
two_cores = pytest.mark.skipif(
    cores._hindrance() != "" or len(os.sched_getaffinity(0)) < 2, reason="one core"
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A machine's description in the kernel's form, to be filled; empty, it says nothing of its cores."""
    root = tmp_path / "devices"
    monkeypatch.setattr(cores, "_DEVICES", root)

    def describe(name: str, text: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")

    return describe


def runs(state: Path, count: int, available=(0, 1, 2, 3)) -> list[tuple[int, list[str]]]:
    """The core, and the codes of the caveats, of runs that measure at the same time."""
    with contextlib.ExitStack() as all_of_them:
        found = [cores._reserve(available, state, all_of_them) for _ in range(count)]
    return [(core, [caveat.code for caveat in caveats]) for core, caveats in found]


def test_each_run_has_a_core_of_its_own_and_0_comes_last(tmp_path, devices):
    """Core 0 serves interrupts. One run more than cores shares one, and says so."""
    assert runs(tmp_path / "state", 5) == [(3, []), (2, []), (1, []), (0, []), (3, ["core-shared"])]


def test_a_core_is_free_again_after_its_run(tmp_path, devices):
    """Also one that another run could not have meanwhile."""
    assert runs(tmp_path, 1) == runs(tmp_path, 1) == [(3, [])]


def test_the_other_thread_of_a_core_that_is_measured_on_comes_last(tmp_path, devices):
    """2 and 3 are one core, so the second run leaves 2 alone as long as it can."""
    for core, both in enumerate(("0-1", "0-1", "2,3", "2,3")):
        devices(f"system/cpu/cpu{core}/topology/thread_siblings_list", both)
    assert runs(tmp_path / "state", 3) == [(3, []), (1, []), (2, ["sibling-shared"])]


def test_a_sibling_counts_that_this_run_may_not_use_itself(tmp_path, devices):
    """A run confined to core 1 sees that core 3, the same core's other thread, is measured on."""
    devices("system/cpu/cpu1/topology/thread_siblings_list", "1,3")
    with contextlib.ExitStack() as held:
        assert cores._reserve((3,), tmp_path, held) == (3, ())
        assert [caveat.code for caveat in cores._reserve((1,), tmp_path, held)[1]] == ["sibling-shared"]


@pytest.mark.parametrize("kind", ["atoms of Intel", "little ones of ARM"])
def test_a_slower_kind_of_core_comes_last(tmp_path, devices, kind):
    """They have the highest numbers on some machines."""
    if kind == "atoms of Intel":
        devices("cpu_atom/cpus", "2-3")
    else:
        for core, capacity in enumerate((1024, 1024, 446, 446)):
            devices(f"system/cpu/cpu{core}/cpu_capacity", str(capacity))
    assert [core for core, _ in runs(tmp_path / "state", 3)] == [1, 0, 3]


def test_a_state_directory_that_cannot_be_used_costs_the_reservation_alone(tmp_path, devices):
    """A core is named all the same, with a caveat."""
    (tmp_path / "file").touch()
    assert runs(tmp_path / "file", 1) == [(3, ["core-unreserved"])]


def test_a_run_waits_while_another_chooses(tmp_path, devices, monkeypatch):
    """Else a lock that is only tried would be taken for one that is held."""
    waits = []
    with contextlib.ExitStack() as choosing:
        choosing.enter_context(cores._guard(tmp_path))
        monkeypatch.setattr(time, "sleep", lambda _: (waits.append(1), choosing.close()))
        assert runs(tmp_path, 1) == [(3, [])]
    assert waits


def test_a_run_that_was_stopped_while_it_chose_does_not_stop_others(tmp_path, devices, monkeypatch):
    """After a while they go on without its leave."""
    monkeypatch.setattr(cores, "_GUARD_TIMEOUT", 0.01)
    with cores._guard(tmp_path):
        assert runs(tmp_path, 1) == [(3, [])]


CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from gate.probes.cores import reserved
with reserved(Path(sys.argv[2])) as found:
    told = {"available": found.available, "chosen": found.chosen}
    print(json.dumps(told | {"caveats": [caveat.text for caveat in found.caveats]}), flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def other_run(state: Path, *before: str):
    """Another process that has reserved a core, and what it says of it."""
    command = [*before, sys.executable, "-c", CHILD, str(ROOT), str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def test_a_run_that_is_killed_gives_its_core_back(tmp_path):
    """By the kernel, so nothing needs to be cleaned up."""
    with other_run(tmp_path) as (process, told):
        with reserved(tmp_path) as meanwhile:
            others = set(meanwhile.available) - {told["chosen"]}
            assert meanwhile.chosen in (others or {told["chosen"]})
        process.kill()
        process.wait()
        with reserved(tmp_path) as after:
            assert after.chosen == told["chosen"]


def test_one_core_is_used_and_said(tmp_path):
    """As taskset leaves it."""
    only = min(os.sched_getaffinity(0))
    with other_run(tmp_path, "taskset", "-c", str(only)) as (_, told):
        assert (told["available"], told["chosen"]) == ([only], only)
        assert told["caveats"] == ["one core only: the gate and the application share it"]


def refused(*_):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("how", ["a platform without it", "a seccomp profile"])
def test_without_affinity_everything_goes_on_and_says_so(tmp_path, monkeypatch, how):
    """No core, a reason, and no exception."""
    if how == "a seccomp profile":
        monkeypatch.setattr(os, "sched_setaffinity", refused)
        reason = "Operation not permitted"
    else:
        monkeypatch.delattr(os, "sched_setaffinity")
        reason = "Linux does not offer it"
    with reserved(tmp_path / "state") as found:
        assert (found.available, found.chosen) == ((), None)
    (caveat,) = found.caveats
    assert caveat.text == f"processes cannot be kept on one core here: {reason}"
    with pinned([0, os.getpid()], [0]) as problems:
        assert problems == (f"cannot keep on core 0: {reason} (the calling thread, {os.getpid()})",)
    assert move([0], [0]) == (f"cannot keep on core 0: {reason} (the calling thread)",)


THREADS = """
import os, sys, threading
def idle(core):
    if core: os.sched_setaffinity(0, {int(core)})
    print(threading.get_native_id(), flush=True)
    threading.Event().wait()
for line in sys.stdin:
    threading.Thread(target=idle, args=(line.strip(),), daemon=True).start()
"""


class Threaded:
    """A process that starts a thread when told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def thread(self, core: str = "") -> int:
        """The id of a new thread, which keeps itself to a core."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{core}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@pytest.fixture
def threaded():
    with subprocess.Popen(
        [sys.executable, "-c", THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Threaded(process)
        process.kill()


@two_cores
def test_every_thread_is_kept_and_gets_back_what_it_had(threaded):
    """One had a core of its own; one is new, and gets what the first thread had."""
    every = os.sched_getaffinity(0)
    low, high = min(every), max(every)
    own, other = threaded.thread(str(low)), threaded.thread()
    with pinned([threaded.pid], [high]) as problems:
        new = threaded.thread()
        kept = {thread: os.sched_getaffinity(thread) for thread in (threaded.pid, own, other, new)}
    assert problems == ()
    assert set(map(frozenset, kept.values())) == {frozenset({high})}
    assert os.sched_getaffinity(own) == {low}
    assert [os.sched_getaffinity(thread) for thread in (threaded.pid, other, new)] == [every] * 3


@two_cores
def test_threads_get_back_what_they_had_after_an_exception_too(threaded):
    """Ctrl-C in the middle of a measurement leaves nobody on one core."""
    every = os.sched_getaffinity(0)
    with contextlib.suppress(KeyboardInterrupt), pinned([threaded.pid], [max(every)]):
        raise KeyboardInterrupt
    assert os.sched_getaffinity(threaded.pid) == every


@two_cores
def test_moving_takes_every_thread_and_stays(threaded):
    """There is no way back but another move."""
    core = max(os.sched_getaffinity(0))
    thread = threaded.thread()
    assert move([threaded.pid], [core]) == ()
    assert os.sched_getaffinity(threaded.pid) == os.sched_getaffinity(thread) == {core}


@two_cores
def test_of_our_own_process_only_the_calling_thread_is_kept():
    """Pid 0. Threads that serve the measurement may stay elsewhere."""
    every = os.sched_getaffinity(0)
    ready, done = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: (ready.set(), done.wait()))
    other.start()
    ready.wait()
    try:
        with pinned([0], [max(every)]):
            assert os.sched_getaffinity(0) == {max(every)}
            assert other.native_id is not None
            assert os.sched_getaffinity(other.native_id) == every
        assert os.sched_getaffinity(0) == every
    finally:
        done.set()
        other.join()


def ended() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_process_that_has_ended_is_no_problem():
    """Before we came."""
    pid = ended()
    with pinned([pid], os.sched_getaffinity(0)) as problems:
        assert problems == ()
    assert move([pid], os.sched_getaffinity(0)) == ()


@two_cores
def test_a_thread_that_starts_or_ends_while_the_threads_are_listed_is_no_problem(threaded, monkeypatch):
    """One comes after the list was made, one of the list has ended."""
    core = max(os.sched_getaffinity(0))
    thread, listed = threaded.thread(), os.listdir
    lists = [[str(threaded.pid), str(ended())]]
    monkeypatch.setattr(os, "listdir", lambda path: lists.pop() if lists else listed(path))
    assert move([threaded.pid], [core]) == ()
    assert os.sched_getaffinity(thread) == {core}


@two_cores
def test_a_process_that_has_the_number_of_another_is_left_alone(threaded, monkeypatch):
    """The one that was kept has ended meanwhile."""
    core = max(os.sched_getaffinity(0))
    with pinned([threaded.pid], [core]):
        monkeypatch.setattr(cores, "_born", lambda _: "another")
    assert os.sched_getaffinity(threaded.pid) == {core}


def test_a_process_may_end_while_it_is_kept(threaded):
    """Nothing is restored, and nothing is raised."""
    with pinned([threaded.pid], os.sched_getaffinity(0)):
        threaded._process.kill()
        threaded._process.wait()


def test_a_core_that_there_is_not_is_a_text():
    """As with a container that is confined to other cores."""
    (text,) = move([os.getpid()], [1023])
    assert text == f"cannot keep on core 1023: Invalid argument ({os.getpid()})"


STRANGER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from gate.probes.cores import move
if os.geteuid() == 0: os.setuid(65534)
print(*move([1], [0]))
"""


def test_another_users_processes_are_a_text():
    """Not an exception: the measurement goes on without them. Root tries it as nobody."""
    command = [sys.executable, "-c", STRANGER, str(ROOT)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "cannot keep on core 0: Operation not permitted (1)\n"
