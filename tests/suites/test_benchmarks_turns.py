"""Two live pytests that take turns, run for real in a small project with a side of its own for each."""

from __future__ import annotations

import ast
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from gate.config import Benchmarks
from gate.errors import MeasurementError
from gate.model import Case, Side
from gate.suites import benchmarks
from gate.suites.benchmarks import BenchmarkWorker, Counted, Terms, open_benchmarks
from gate.suites.turns import LivePytest, Silent
from gate.suites.worker import Visit, WorkerDied

SIDES = ("base", "head")
NO_TIME = "it passed without calling benchmark()"

# For the projects: what happened in which side's tests, and when.
EVENTS = """
import contextlib, json, os, time

def note(what, start, end):
    with open(os.environ["EVENTS"], "a") as file:
        file.write(json.dumps([os.environ["SIDE"], what, start, end]) + "\\n")

@contextlib.contextmanager
def during(what, seconds=0.004):
    start = time.monotonic()
    time.sleep(seconds)
    yield
    note(what, start, time.monotonic())

def does(what, seconds=0.004):
    def work(*args):
        with during(what, seconds):
            pass
    return work

def happened(what):
    note(what, time.monotonic(), time.monotonic())
"""


class Event(NamedTuple):
    """start, end: of the one clock that all processes of a machine share."""

    side: str
    what: str
    start: float
    end: float


class Twins:
    """A project for each side, alike until one is written differently, and their two workers."""

    def __init__(self, root: Path, python: str = sys.executable) -> None:
        self.root = root
        self.python = python
        self.env: dict[str, str] = {}
        self.workers: dict[str, BenchmarkWorker] = {}
        self.ready: dict[str, tuple[Case, ...]] = {}
        self.terms: dict[Case, Terms] = {}
        self.visits: dict[str, dict[str, list[Visit]]] = {}
        self.ends: dict[str, dict[str, Visit]] = {}
        self.counted: dict[str, dict[str, Counted | None]] = {name: {} for name in SIDES}
        self.count = False
        self._held = ExitStack()
        self.write("pytest.ini", "[pytest]\n")
        self.write("events.py", EVENTS)

    def write(self, name: str, text: str, *sides: str) -> None:
        for side in sides or SIDES:
            path = self.root / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def side(self, name: str) -> Side:
        directory = str(self.root / name)
        env = {"PATH": os.environ["PATH"], "HOME": str(self.root), "PYTHONPATH": directory}
        own = {"EVENTS": str(self.root / "events"), "SIDE": name}
        return Side(
            name=name,
            ref="",
            worktree=directory,
            directory=directory,
            interpreter=self.python,
            env=env | own | self.env,
            postgres_url="",
            redis_url="",
        )

    def open(self, *args: str, sides: Iterable[str] = SIDES, timeout: float = 60, **how) -> None:
        config = Benchmarks(paths=("benchmarks",), args=args, timeout=timeout)
        how = {"cases": None, "seed": 1} | how
        for name in sides:
            log = self.root / f"{name}.log"
            worker = open_benchmarks(self.side(name), config, log=log, **how)
            self._held.callback(worker.close)
            self.workers[name] = worker
            self.visits[name], self.ends[name] = {}, {}
        self.ready = {name: self.workers[name].ready() for name in self.workers}

    def close(self) -> None:
        self._held.close()

    def measure(self, *args: str, cases: Sequence[Case] | None = None, count: bool = False, **how) -> None:
        """Everything, as the gate's driver does it: both sides at one case, visit by visit in turns.

        count: count each case, and nothing else.
        """
        self.open(*args, cases=cases, **how)
        self.count = count
        for case in cases or dict.fromkeys(itertools.chain(*self.ready.values())):
            self.visit(case)
        assert [worker.next() for worker in self.workers.values()] == [None] * len(self.workers)

    def visit(self, case: Case) -> None:
        names = [name for name in self.workers if case in self.ready[name]]
        for name in names:
            assert self.workers[name].next() == case
        for name in names if self.count else ():
            if self.workers[name].fence(only=True):
                self.counted[name][case.name] = self.workers[name].count()
        for name in () if self.count else names:
            terms = self.workers[name].prepare(self.terms.get(case))
            if terms.visits:
                self.terms.setdefault(case, terms)
        terms = self.terms.get(case, Terms())
        for number in range(terms.visits):
            for name in names if number % 2 else reversed(names):
                seen = self.visits[name].setdefault(case.name, [])
                seen.append(self.workers[name].visit(terms.rounds))
        for name in names:
            self.ends[name][case.name] = self.workers[name].finish()

    def values(self, side: str, name: str) -> tuple[float, ...]:
        return tuple(value for visit in self.visits[side].get(name, ()) for value in visit.values)

    @property
    def events(self) -> list[Event]:
        path = self.root / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Event(*json.loads(line)) for line in lines]

    def what(self, side: str) -> list[str]:
        return [event.what for event in self.events if event.side == side]

    @property
    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.root.glob("*.log")))


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[Twins]:
    twins = Twins(tmp_path)
    yield twins
    twins.close()


def case(name: str, parameters: str = "") -> Case:
    return Case(suite="benchmarks", name=name, parameters=parameters)


def group(pid: int, patience: float = 10.0) -> list[str]:
    """What of a process group runs on: names, without what only waits to be reaped by somebody else.

    What was killed has still to die, on a machine that may be busy.
    """
    until = time.monotonic() + patience
    while (found := running(pid)) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def running(pid: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, leader = rest.split()[:3]
        if int(leader) == pid and state != "Z":
            found.append(name)
    return found


def overlaps(events: Sequence[Event]) -> list[tuple[Event, Event]]:
    """Every pair of events of different sides that were under way at the same time."""
    return [
        (one, other)
        for one, other in itertools.combinations(events, 2)
        if one.side != other.side and one.start < other.end and other.start < one.end
    ]


FIXTURES = """
import pytest
from events import during, does

def fixture(scope):
    def made():
        with during("setup of " + scope):
            pass
        yield scope
        with during("teardown of " + scope):
            pass
    params = ["x", "y"] if scope == "class" else None
    return pytest.fixture(made, scope=scope, name="of_" + scope, params=params)

for_function, for_class, for_module, for_session = map(fixture, ["function", "class", "module", "session"])

class TestAll:
    def test_plain(self, benchmark, of_session, of_module, of_class, of_function):
        benchmark(does("call"))
        with during("check"):
            pass

def test_pedantic(benchmark, of_session, of_function):
    how = dict(setup=does("setup of round"), rounds=5, warmup_rounds=1)
    benchmark.pedantic(does("call"), **how)
"""


def test_what_one_side_does_never_overlaps_what_the_other_does(twins):
    """Fixtures of every scope, setup of rounds, calls and checks, each in its own side's turn."""
    twins.write("benchmarks/test_a.py", FIXTURES)
    twins.write("benchmarks/test_b.py", FIXTURES)
    twins.measure()
    events = twins.events
    assert overlaps(events) == []
    for side in SIDES:
        what = twins.what(side)
        for scope, times in (("function", 6), ("class", 4), ("module", 2), ("session", 2)):
            assert what.count(f"setup of {scope}") == what.count(f"teardown of {scope}") == times
        assert what.count("setup of round") == 2 * 6
    in_turns = [side for side, _ in itertools.groupby(event.side for event in events)]
    assert len(in_turns) > 4 * 2 * 8


def test_a_module_ends_with_its_last_case(twins):
    """What its fixtures tear down belongs to that case's turn, before any case of the next module."""
    text = (
        "import pytest\nfrom events import happened\n"
        "@pytest.fixture(scope='module')\ndef held():\n    yield\n    happened('torn down')\n"
        "def test_x(benchmark, held):\n    benchmark(int)\n    happened('checked')\n"
    )
    twins.write("benchmarks/test_a.py", text)
    twins.write("benchmarks/test_b.py", text)
    twins.measure()
    assert twins.what("head") == ["checked", "torn down"] * 2


def test_a_pedantic_benchmark_keeps_its_rounds(twins):
    """Warm-up rounds give no value, iterations give the time of one, and setup runs once a round."""
    twins.write(
        "benchmarks/test_a.py",
        "import itertools, time\nfrom events import happened\n"
        "def test_rounds(benchmark):\n"
        "    slow_first = itertools.chain([0.05] * 6, itertools.repeat(0.001))\n"
        "    def call():\n        time.sleep(next(slow_first))\n        happened('call')\n"
        "    benchmark.pedantic(call, rounds=5, iterations=3, warmup_rounds=2)\n"
        "def test_setup(benchmark):\n"
        "    def setup():\n        happened('setup')\n        return ([3, 1, 2],), {'reverse': True}\n"
        "    result = benchmark.pedantic(sorted, setup=setup, rounds=20)\n"
        "    assert result == [3, 2, 1]\n",
    )
    twins.measure()
    for side in SIDES:
        assert len(twins.values(side, "test_a.test_rounds")) == 5
        assert all(value < 0.05 for value in twins.values(side, "test_a.test_rounds"))
        assert len(twins.values(side, "test_a.test_setup")) == 20
        assert twins.what(side).count("call") == (2 + 5) * 3 + 1  # one more for the result
        assert twins.what(side).count("setup") == 20
    assert twins.terms[case("test_a.test_rounds")] == Terms(
        loops=3, visits=5, rounds=1, collects=True, fixed=True
    )
    assert twins.terms[case("test_a.test_setup")] == Terms(
        loops=1, visits=7, rounds=3, collects=True, fixed=True
    )


def test_rounds_that_nobody_visits_are_run_all_the_same(twins):
    """A pedantic test may count on its rounds; what is asked for beyond them gives nothing."""
    text = (
        "from events import happened\n"
        "def test_x(benchmark):\n"
        "    benchmark.pedantic(happened, args=('call',), rounds=6, warmup_rounds=1)\n"
    )
    twins.write("benchmarks/test_a.py", text)
    twins.open(sides=["head"])
    head = twins.workers["head"]
    head.next()
    head.prepare()
    assert len(head.visit(2).values) == 2
    assert head.finish() == Visit()
    assert twins.what("head").count("call") == 7
    twins.open(sides=["base"])
    base = twins.workers["base"]
    base.next()
    base.prepare()
    assert [len(base.visit(4).values) for _ in range(3)] == [4, 2, 0]
    assert base.finish() == Visit()


def test_a_test_that_is_not_measured_is_run_whole(twins):
    """next() and finish() alone: one call, or the rounds of its own, and its outcome."""
    twins.write(
        "benchmarks/test_a.py",
        "from events import happened\n"
        "def test_plain(benchmark):\n    benchmark(happened, 'plain')\n"
        "def test_pedantic(benchmark):\n"
        "    benchmark.pedantic(happened, args=('round',), rounds=3, warmup_rounds=2)\n"
        "def test_fails(benchmark):\n    benchmark(int)\n    assert 1 == 2\n",
    )
    twins.open(sides=["head"])
    head = twins.workers["head"]
    ends = []
    while head.next() is not None:
        ends.append(head.finish())
    assert ends[:2] == [Visit(), Visit()]
    assert "assert 1 == 2" in ends[2].failures[0]
    assert twins.what("head") == ["plain", *["round"] * 5]


def test_head_calls_as_often_as_base_found_out(twins):
    """A fast call is made many times in a round, a long one once; head does not calibrate."""
    text = "import time\ndef test_fast(benchmark):\n    benchmark(int)\ndef test_slow(benchmark):\n"
    twins.write("benchmarks/test_a.py", text + "    benchmark(time.sleep, 0.03)\n")
    twins.open()
    for name, expected in (("test_fast", range(1000, 10**9)), ("test_slow", [1])):
        answers = []
        for side in SIDES:
            assert twins.workers[side].next() == case(f"test_a.{name}")
            answers.append(twins.workers[side].prepare(answers[-1] if answers else None))
        assert answers[0].loops in expected
        assert answers[0] == answers[1]


def test_a_head_that_is_far_slower_shortens_its_rounds(twins):
    """Base's million calls of a call that now takes milliseconds would run into the timeout."""
    text = "import time\ndef test_x(benchmark):\n    benchmark({})\n"
    twins.write("benchmarks/test_a.py", text.format("int"), "base")
    twins.write("benchmarks/test_a.py", text.format("time.sleep, 0.002"), "head")
    twins.measure()
    base, head = twins.values("base", "test_a.test_x"), twins.values("head", "test_a.test_x")
    assert len(base) == len(head) == 8
    assert min(head) >= 0.002 > 1000 * min(base)


def test_a_long_benchmark_gets_fewer_visits(twins):
    """Its eight rounds would leave no time for others; two are the least."""
    twins.write(
        "benchmarks/test_a.py", "import time\ndef test_x(benchmark):\n    benchmark(time.sleep, 0.6)\n"
    )
    twins.measure(sides=["head"])
    assert twins.terms[case("test_a.test_x")].visits == 2
    assert all(0.6 <= value < 5 for value in twins.values("head", "test_a.test_x"))


@pytest.mark.parametrize("way", ["benchmark(note)", "benchmark.pedantic(note, rounds=8)"])
def test_garbage_is_collected_on_both_sides_or_on_neither(twins, way):
    """Base's option holds for head too, or an option would look like a slowdown."""
    twins.write(
        "benchmarks/test_a.py",
        "import gc\nfrom events import happened\n"
        f"def test_x(benchmark):\n    note = lambda: happened(str(gc.isenabled()))\n    {way}\n"
        "    assert gc.isenabled()\n",
    )
    twins.write("pytest.ini", "[pytest]\naddopts = --benchmark-disable-gc\n", "base")
    twins.measure()
    for side in SIDES:
        assert twins.ends[side]["test_a.test_x"] == Visit()
        in_rounds = [what for visit in range(8) for what in twins.what(side)[-10:-2]]
        assert set(in_rounds) == {"False"}
    assert not twins.terms[case("test_a.test_x")].collects


def test_a_visit_has_processor_time_beside_each_value(twins):
    """Of the process, per iteration: a sleep costs next to none, a loop about what it takes."""
    twins.write(
        "benchmarks/test_a.py",
        "import time\n"
        "def test_sleep(benchmark):\n    benchmark(time.sleep, 0.02)\n"
        "def test_loop(benchmark):\n    benchmark(lambda: sum(range(100_000)))\n"
        "def test_pedantic(benchmark):\n"
        "    benchmark.pedantic(time.sleep, args=(0.005,), rounds=4, iterations=4)\n",
    )
    twins.measure(sides=["head"])
    for name, visits in twins.visits["head"].items():
        for visit in visits:
            assert len(visit.cpu) == len(visit.values) == 1, name
            assert 0 < visit.cpu[0] < visit.values[0] * 1.05, name
    assert all(visit.cpu[0] < 0.005 for visit in twins.visits["head"]["test_a.test_sleep"])
    assert all(visit.cpu[0] < 0.0025 for visit in twins.visits["head"]["test_a.test_pedantic"])


def test_marks_and_statistics_of_pytest_benchmark_are_there(twins):
    """Groups, bounds and warm-up in marks are accepted, warm-up is done, and a test can read its times."""
    twins.write(
        "benchmarks/test_a.py",
        "import pytest, time\n"
        "@pytest.mark.benchmark(group='g', min_rounds=50, min_time=0.1, max_time=5, warmup=True,\n"
        "                       warmup_iterations=700, calibration_precision=3, timer=time.process_time)\n"
        "def test_warm(benchmark):\n"
        "    calls = []\n"
        "    benchmark(calls.append, 1)\n"
        "    rounds = benchmark.stats.stats.rounds\n"
        "    assert len(calls) - rounds >= 700\n"
        "@pytest.mark.benchmark(group='g')\n"
        "def test_stats(benchmark):\n"
        "    benchmark.extra_info['size'] = 3\n"
        "    assert benchmark(sum, [1, 2]) == 3\n"
        "    assert benchmark.stats.stats.rounds == 2 and benchmark.stats['max'] < 1\n"
        "def test_keywords(benchmark):\n"
        "    def call(*, fixture, function):\n        return fixture, function\n"
        "    assert benchmark(call, fixture=1, function=2) == (1, 2)\n",
    )
    twins.open(sides=["head"])
    head = twins.workers["head"]
    while head.next() is not None:
        assert head.prepare(Terms(loops=1, visits=2)).loops == 1
        assert len(head.visit(2).values) == 2
        assert head.finish() == Visit()


def test_a_coroutine_is_measured(twins):
    """asyncio.run inside of the call is a call like any other."""
    twins.write(
        "benchmarks/test_a.py",
        "import asyncio\n"
        "async def work():\n    await asyncio.sleep(0)\n    return 7\n"
        "def test_x(benchmark):\n    assert benchmark(lambda: asyncio.run(work())) == 7\n",
    )
    twins.measure()
    assert len(twins.values("base", "test_a.test_x")) == len(twins.values("head", "test_a.test_x")) == 8


def test_parametrised_benchmarks_are_cases_of_their_own(twins):
    """Each parameter set, also of a class, has its turn and its values."""
    twins.write(
        "benchmarks/test_a.py",
        "import pytest\n"
        "class TestK:\n"
        "    @pytest.mark.parametrize('size', [10, 100])\n"
        "    @pytest.mark.parametrize('kind', [list, set], ids=['list', 'set'])\n"
        "    def test_x(self, benchmark, kind, size):\n        benchmark(kind, range(size))\n",
    )
    twins.measure()
    cases = tuple(case("test_a.TestK.test_x", p) for p in ("list-10", "list-100", "set-10", "set-100"))
    assert twins.ready == {"base": cases, "head": cases}
    assert len(twins.values("head", "test_a.TestK.test_x")) == 4 * 8


ORDER = """
from events import happened
def test_one(benchmark):
    happened("one")
    benchmark(int)
def test_two(benchmark):
    happened("two")
    benchmark(int)
"""


def test_both_sides_walk_the_cases_in_the_order_given(twins):
    """Whatever order their files have, and only those wanted."""
    head = ORDER.replace("one", "x").replace("two", "one").replace("x", "two") + ORDER.replace("one", "zero")
    twins.write("benchmarks/test_a.py", ORDER, "base")
    twins.write("benchmarks/test_a.py", head.replace("test_two", "test_2", 1), "head")
    wanted = [case(f"test_a.{name}") for name in ("test_two", "test_none", "test_one")]
    twins.measure(cases=wanted)
    assert twins.ready == dict.fromkeys(SIDES, (wanted[0], wanted[2]))
    assert twins.what("base") == twins.what("head") == ["two", "one"]


def test_a_case_of_one_side_only_is_visited_there(twins):
    """The other side waits with the case that both have."""
    twins.write("benchmarks/test_a.py", ORDER)
    twins.write("benchmarks/test_a.py", ORDER + "def test_new(benchmark):\n    benchmark(int)\n", "head")
    twins.write("benchmarks/test_b.py", ORDER)
    wanted = [case(n) for n in ("test_a.test_one", "test_a.test_new", "test_a.test_two", "test_b.test_one")]
    twins.measure(cases=wanted)
    assert twins.ready["head"] == tuple(wanted)
    assert twins.ready["base"] == (wanted[0], wanted[2], wanted[3])
    assert len(twins.values("head", "test_a.test_new")) == 8
    assert len(twins.values("base", "test_b.test_one")) == 8


def test_none_of_the_wanted_cases(twins):
    """A side that has benchmarks, but other ones, is at its end at once."""
    twins.write("benchmarks/test_a.py", ORDER)
    twins.measure(sides=["head"], cases=[case("test_a.test_gone")])
    assert twins.ready["head"] == ()
    assert twins.events == []


FAILING = """
import pytest
from events import happened

@pytest.fixture
def held():
    yield
    happened("torn down")

def test_raises(benchmark, held):
    calls = iter([1] * 5)
    benchmark.pedantic(lambda: {call}, rounds=8)

def test_checks(benchmark, held):
    benchmark(int)
    assert 1 == {one}

@pytest.fixture
def broken():
    yield
    assert 2 == {two}

def test_teardown(benchmark, broken):
    benchmark(int)

def test_last(benchmark):
    benchmark(int)
"""


def test_a_failure_on_one_side_leaves_both_at_the_same_case(twins):
    """In a round, after it or in teardown: it has no end without a failure there, and the others go on."""
    twins.write("benchmarks/test_a.py", FAILING.format(call="next(calls, 0)", one=1, two=2), "base")
    twins.write("benchmarks/test_a.py", FAILING.format(call="next(calls)", one=3, two=4), "head")
    twins.measure()
    assert set(twins.ends["base"].values()) == {Visit()}
    ends = twins.ends["head"]
    assert "StopIteration" in ends["test_a.test_raises"].failures[0]
    assert "assert 1 == 3" in ends["test_a.test_checks"].failures[0]
    assert ends["test_a.test_teardown"].failures[0].startswith("error outside of the test: ")
    assert "assert 2 == 4" in ends["test_a.test_teardown"].failures[0]
    assert ends["test_a.test_last"] == Visit()
    visits = twins.visits["head"]["test_a.test_raises"]
    assert [len(visit.values) for visit in visits] == [1] * 5 + [0] * 3
    assert all(visit.failures == ends["test_a.test_raises"].failures for visit in visits[5:])
    assert twins.what("head").count("torn down") == twins.what("base").count("torn down") == 2
    assert len(twins.values("head", "test_a.test_last")) == 8


NEVER = """
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no fixture today")

@pytest.mark.skip(reason="not here")
def test_skipped(benchmark):
    benchmark(int)

def test_skips(benchmark):
    pytest.skip("not now")

@pytest.mark.xfail(reason="known")
def test_xfail(benchmark):
    benchmark(lambda: 1 / 0)

@pytest.mark.xfail(reason="known", run=False)
def test_not_run(benchmark):
    benchmark(int)

@pytest.mark.xfail(reason="known", strict=True)
def test_xpass(benchmark):
    benchmark(int)

def test_error(broken, benchmark):
    benchmark(int)

def test_unused(benchmark):
    pass

def test_disabled(benchmark):
    benchmark.disabled = True
    benchmark(int)

def test_twice(benchmark):
    benchmark(int)
    benchmark(int)
"""


def test_what_is_not_measured_says_why(twins):
    """Skipped, expected to fail, broken before it starts, without a call: no visits, and the reason."""
    twins.write("benchmarks/test_a.py", NEVER)
    twins.measure(sides=["head"])
    ends = {name.rpartition(".")[2]: end for name, end in twins.ends["head"].items()}
    assert ends["test_skipped"].skipped.endswith("not here")
    assert ends["test_skips"].skipped.endswith("not now")
    assert ends["test_xfail"].skipped == "xfail: known"
    assert "known" in ends["test_not_run"].skipped
    assert "XPASS(strict)" in ends["test_xpass"].failures[0]
    assert ends["test_error"].failures == ("error outside of the test: RuntimeError: no fixture today",)
    assert ends["test_unused"].skipped == ends["test_disabled"].skipped == NO_TIME
    assert "FixtureAlreadyUsed" in ends["test_twice"].failures[0]
    measured = {name.rpartition(".")[2] for name in twins.visits["head"] if twins.values("head", name)}
    assert measured == {"test_xpass", "test_twice"}


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("os._exit(3)", "it exited with status 3"),
        ("ctypes.string_at(0)", "it was killed by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "it was killed by SIGKILL"),
        ("pytest.exit('enough')", "pytest stopped early, with status 2"),
    ],
)
@pytest.mark.parametrize("place", ["call", "setup"])
def test_a_worker_that_dies_says_how_and_where(twins, way, reason, place):
    """The case, the signal or status and the log's tail; the other side still takes its turns."""
    twins.write(
        "benchmarks/test_a.py",
        "import ctypes, os, pytest, signal, sys\n"
        f"def dies():\n    print('last words', file=sys.__stderr__, flush=True)\n    {way}\n"
        "def test_fine(benchmark):\n    benchmark(int)\n"
        "def test_dies(benchmark):\n"
        + ("    benchmark(dies)\n" if place == "call" else "    dies()\n    benchmark(int)\n"),
        "head",
    )
    twins.write("benchmarks/test_a.py", "def test_fine(benchmark):\n    benchmark(int)\n", "base")
    twins.open("-s")
    base, head = (twins.workers[side] for side in SIDES)
    base.next()
    head.next()
    with pytest.raises(WorkerDied) as died:
        (head.next(), head.prepare())
    assert (died.value.case, died.value.reason) == (case("test_a.test_dies"), reason)
    words = "Fatal Python error: Segmentation fault" if "SIGSEGV" in reason else "last words"
    assert any(words in line for line in died.value.tail)
    base.prepare()
    assert len(base.visit(1).values) == 1


def test_a_worker_that_is_killed_while_it_waits(twins):
    """As by a kernel without memory: the next question tells."""
    twins.write("benchmarks/test_a.py", ORDER)
    twins.open(sides=["head"])
    head = twins.workers["head"]
    head.next()
    head.prepare()
    os.kill(head.pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="SIGKILL"):
        head.visit(1)
    head.close()
    head.close()


def test_a_session_that_stops_early_is_not_a_finished_one(twins):
    """A plugin that ends pytest between two cases loses the rest, and that is said."""
    stop = "def pytest_runtest_logfinish():\n    stopped.session.shouldstop = 'enough'\n"
    keep = "class stopped: pass\ndef pytest_sessionstart(session):\n    stopped.session = session\n"
    twins.write("conftest.py", keep + stop)
    twins.write("benchmarks/test_a.py", ORDER)
    twins.open(sides=["head"])
    head = twins.workers["head"]
    head.next()
    head.finish()
    with pytest.raises(WorkerDied, match=r"test_a\.test_two: pytest stopped early"):
        head.next()


@pytest.mark.parametrize("place", ["call", "setup", "teardown"])
def test_a_benchmark_that_hangs_is_named(twins, place):
    """With the end of pytest's log, on whichever side and wherever it hangs; its group is gone."""
    hang = "    print('about to hang', flush=True)\n    time.sleep(60)\n"
    twins.write(
        "benchmarks/test_a.py",
        "import pytest, time\n"
        "def hang():\n" + hang + "@pytest.fixture\ndef held():\n"
        f"    {place == 'setup'} and hang()\n    yield\n    {place == 'teardown'} and hang()\n"
        f"def test_x(benchmark, held):\n    benchmark(hang if {place == 'call'} else int)\n",
    )
    twins.open("-s", sides=["head"], timeout=8)
    head = twins.workers["head"]
    with pytest.raises(MeasurementError, match=r"did not end within 8 s.*test_a\.test_x") as late:
        (head.next(), head.prepare(), head.finish())
    assert "about to hang" in "".join(late.value.tail)
    assert group(head.pid) == []


PARROT = """
import os, sys
line = int(sys.argv[1].partition("=")[2])
while said := os.read(line, 100):
    os.write(line, b'{"heard": 1}\\n')
"""


def test_the_turns_of_the_other_side_do_not_count(tmp_path):
    """Time runs from what is said until the answer; afterwards nothing is left of it."""
    live = LivePytest(
        [sys.executable, "-c", PARROT],
        directory=str(tmp_path),
        env={},
        log=tmp_path / "log",
        timeout=2,
    )
    live.say(do="something")
    assert live.hear() == {"heard": 1}
    live.rest()
    time.sleep(2.1)
    live.say(do="something")
    assert live.hear() == {"heard": 1}
    with pytest.raises(Silent):
        live.hear()
    live.close()


def test_both_sides_start_at_the_same_time(twins):
    """Opening waits for nothing: here each side's collection waits for the other's."""
    twins.write(
        "conftest.py",
        "import os, pathlib, time\n"
        "mine = os.environ['SIDE']\n"
        "here = pathlib.Path(os.environ['EVENTS']).parent\n"
        "(here / (mine + '-started')).touch()\n"
        "while len(list(here.glob('*-started'))) < 2:\n    time.sleep(0.01)\n",
    )
    twins.write("benchmarks/test_a.py", ORDER)
    twins.open(timeout=20)
    assert twins.ready["base"] == twins.ready["head"]


def test_a_worker_leads_its_group_and_stops_what_it_started(twins):
    """pid is the group's; a worker closed while it waits tears its fixtures down first."""
    twins.write(
        "benchmarks/test_a.py",
        "import os, pytest\nfrom events import happened\n"
        "@pytest.fixture(scope='session')\ndef held():\n    happened(str(os.getpid()))\n    yield\n"
        "    happened('torn down')\n"
        "def test_x(benchmark, held):\n    benchmark(int)\n",
    )
    twins.open(sides=["head"])
    head = twins.workers["head"]
    head.next()
    assert os.getpgid(head.pid) == head.pid
    head.prepare()
    head.visit(1)
    head.close()
    head.close()
    assert twins.what("head") == [str(head.pid), "torn down"]


@pytest.mark.parametrize("count", [False, True], ids=["timing", "count"])
@pytest.mark.parametrize(
    "addopts",
    [
        "-x",
        "--maxfail=1",
        "--benchmark-only",
        "--benchmark-skip",
        "--benchmark-disable",
        "--benchmark-enable",
        "--benchmark-autosave --benchmark-save=mine --benchmark-json=mine.json --benchmark-compare",
        "--benchmark-cprofile=tottime --benchmark-min-rounds=3 --benchmark-warmup=on",
        "-p no:randomly -p no:cacheprovider",
        "-s -v --durations=3",
        "--import-mode=importlib -W error",
    ],
)
def test_a_projects_own_options(twins, addopts, count):
    """None of them hides a case, ends the session or writes into the worktree."""
    twins.write("pytest.ini", f"[pytest]\naddopts = {addopts}\n")
    twins.write(
        "benchmarks/test_a.py",
        "def test_a(benchmark):\n    benchmark(lambda: 1 / 0)\n"
        "def test_b(benchmark):\n    assert benchmark(int) == 0\n"
        "def test_other():\n    raise AssertionError('never to be run')\n",
    )
    before = set((twins.root / "head").rglob("*"))
    twins.measure(sides=["head"], count=count)
    assert "ZeroDivisionError" in twins.ends["head"]["test_a.test_a"].failures[0]
    assert twins.ends["head"]["test_a.test_b"] == Visit()
    assert len(twins.values("head", "test_a.test_b")) == (0 if count else 8)
    assert list(twins.counted["head"]) == (["test_a.test_b"] if count else [])
    assert set((twins.root / "head").rglob("*")) == before


@pytest.mark.parametrize("capture", ["-s", "--capture=fd", "--capture=sys"])
def test_noise_of_the_tests_disturbs_nothing(twins, capture):
    """What they print, wherever, is not taken for an answer."""
    twins.write(
        "benchmarks/test_a.py",
        "import os, sys\n"
        "def noise():\n"
        '    print(\'{"kind": "outcome"}\', flush=True)\n'
        "    sys.__stderr__.write('x' * 1000)\n"
        "    os.write(1, b'\\xff\\n' * 100)\n    os.write(2, b'\\0')\n"
        "def test_x(benchmark):\n    noise()\n    benchmark(noise)\n    noise()\n",
    )
    twins.measure(capture)
    assert len(twins.values("base", "test_a.test_x")) == len(twins.values("head", "test_a.test_x")) == 8


def test_a_benchmark_may_fork(twins):
    """A child that leaves, one that lives on, one that comes back as if it were pytest, and a pool."""
    twins.write(
        "benchmarks/test_a.py",
        "import multiprocessing, os, time\nfrom events import happened\n"
        "def leaves():\n"
        "    pid = os.fork()\n"
        "    if not pid:\n        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "def test_leaves(benchmark):\n    benchmark(leaves)\n"
        "def test_lives_on(benchmark):\n"
        "    if not os.fork():\n        time.sleep(60)\n"
        "    benchmark(int)\n"
        "def test_comes_back(benchmark):\n"
        "    benchmark(int)\n    os.fork()\n"
        "def test_pool(benchmark):\n"
        "    with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "        assert benchmark.pedantic(pool.map, args=(abs, [-1]), rounds=3) == [1]\n"
        "def test_last(benchmark):\n    happened('last')\n    benchmark(int)\n",
    )
    twins.measure()
    for side in SIDES:
        assert set(twins.ends[side].values()) == {Visit()}
        counts = [len(twins.values(side, name)) for name in twins.ends[side]]
        assert counts == [8, 8, 8, 3, 8]
        assert twins.what(side) == ["last"]
    pids = [worker.pid for worker in twins.workers.values()]
    twins.close()
    assert [group(pid) for pid in pids] == [[], []]


def test_a_child_that_lives_on_does_not_hide_a_crash(twins):
    """It has the line no longer, and dies with the group."""
    twins.write(
        "benchmarks/test_a.py",
        "import os, time\n"
        "def test_x(benchmark):\n"
        "    if not os.fork():\n        time.sleep(60)\n"
        "    benchmark(os._exit, 7)\n",
    )
    twins.open(sides=["head"], timeout=20)
    head = twins.workers["head"]
    head.next()
    with pytest.raises(WorkerDied, match="status 7"):
        head.prepare()
    assert group(head.pid) == []


def test_only_calls_are_behind_the_fence(twins):
    """Fixtures, setup, warm-up and checks are outside of it, so that what the calls do can be counted."""
    twins.write(
        "benchmarks/test_a.py",
        "import pytest\nfrom events import happened\n"
        "@pytest.fixture\ndef held():\n    happened('set up')\n    yield\n    happened('torn down')\n"
        "def test_a(benchmark, held):\n    benchmark(happened, 'call')\n    happened('check')\n"
        "def test_b(benchmark, held):\n"
        "    setup = lambda: happened('setup of round')\n"
        "    benchmark.pedantic(happened, args=('call',), setup=setup, rounds=3, warmup_rounds=2)\n"
        "    happened('check')\n"
        "def test_c(benchmark):\n    benchmark(lambda: 1 / 0)\n"
        "def test_d(benchmark):\n    pass\n",
    )
    twins.open(sides=["head"])
    head = twins.workers["head"]

    def since(count: int = 0, seen: list[int] = [0]) -> list[str]:  # noqa: B006 - remembers on purpose
        what = twins.what("head")[seen[0] :]
        seen[0] += len(what)
        return what

    head.next()
    assert head.fence(only=True)
    assert since() == ["set up", "call", "call"]
    counted = head.count()
    assert (counted.calls, counted.values, since()) == (2, (), ["call"] * 2)
    assert head.finish() == Visit()
    assert since() == ["call", "check", "torn down"]
    head.next()
    assert head.fence(only=True)
    assert since() == ["set up", *["setup of round", "call"] * 2, "setup of round"]
    counted = head.count()
    assert (counted.calls, len(counted.values), counted.more, since()) == (1, 1, False, ["call"])
    assert head.finish() == Visit()
    assert since() == ["check", "torn down"]
    head.next()
    assert not head.fence(only=True)
    assert "ZeroDivisionError" in head.finish().failures[0]
    head.next()
    assert not head.fence(only=True)
    assert head.finish().skipped == NO_TIME
    assert head.next() is None


def test_what_was_counted_is_timed_afterwards(twins):
    """A pedantic test gives the counted round too, so that one of a single round has a time as well."""
    twins.write(
        "benchmarks/test_a.py",
        "from events import happened\n"
        "def test_a(benchmark):\n    benchmark(happened, 'call')\n"
        "def test_b(benchmark):\n    benchmark.pedantic(happened, args=('call',), rounds=3, iterations=2)\n"
        "def test_c(benchmark):\n    benchmark.pedantic(happened, args=('call',), rounds=1)\n",
    )
    twins.open(sides=["head"])
    head = twins.workers["head"]
    head.next()
    assert head.fence(only=False)
    assert head.count().calls == 2
    terms = head.prepare()
    assert (terms.fixed, len(head.visit(2).values)) == (False, 2)
    head.next()
    assert head.fence(only=False)
    counted = head.count()
    assert (counted.calls, len(counted.values), counted.more) == (2, 1, True)
    terms = head.prepare()
    assert (terms.fixed, terms.loops) == (True, 2)
    assert len(head.visit(2).values) == 2
    head.next()
    assert head.fence(only=False)
    counted = head.count()
    assert (len(counted.values), counted.more) == (1, False)
    assert head.prepare() == Terms()
    assert head.finish() == Visit()
    assert head.next() is None


def test_python_calls_are_those_of_one_call(twins):
    """Functions of the benchmarked code, not those of C; the number is the same each time."""
    twins.write(
        "benchmarks/test_a.py",
        "def leaf():\n    return len('x')\n"
        "def work():\n    return [leaf() for _ in range(10)]\n"
        "def test_a(benchmark):\n    benchmark(work)\n",
    )
    twins.open(sides=["head"])
    head = twins.workers["head"]
    head.next()
    assert head.fence(only=False)
    head.count()
    calls = head.trace()
    assert calls in range(11, 14)  # how a comprehension and a partial are called differs between versions
    assert head.trace() == calls
    head.prepare()
    head.visit(1)
    told = {(each.function, each.line, each.name): each for each in head.callers()}
    leaves = [each for (_, line, name), each in told.items() if (line, name) == (4, "leaf")]
    assert [(each.calls, each.module) for each in leaves] == [(10, "test_a")]
    assert {Path(file).name for each in leaves for file in (each.file, each.into)} == {"test_a.py"}


def test_a_pytest_benchmark_of_another_make_is_named(twins):
    """What the turns rely on is missing: its version is said before anything is measured."""
    twins.write("benchmarks/test_a.py", ORDER)
    twins.write(
        "sitecustomize.py", "import pytest_benchmark.fixture as f\ndel f.BenchmarkFixture._raw_pedantic\n"
    )
    with pytest.raises(MeasurementError) as error:
        twins.open("-W", "ignore", sides=["head"])
    assert "works in another way than perf-gate knows" in error.value.message
    assert "(no _raw_pedantic)" in error.value.message
    assert "pytest-benchmark 4 or 5" in error.value.hint


def test_measuring_comes_after_preparing(twins):
    """A round that nobody calibrated would be a value like any other."""
    twins.write("benchmarks/test_a.py", ORDER)
    twins.open(sides=["head"])
    head = twins.workers["head"]
    with pytest.raises(RuntimeError, match=r"next\(\)"):
        head.visit(1)
    with pytest.raises(RuntimeError, match=r"next\(\)"):
        head.finish()
    head.next()
    with pytest.raises(RuntimeError, match=r"prepare\(\)"):
        head.visit(1)


def test_secrets_stay_out_of_a_dead_workers_tail(twins):
    """What it printed before it died is shown without them."""
    twins.env["APP_SECRET"] = "a-secret-that-is-rather-long"
    twins.write(
        "benchmarks/test_a.py",
        "import os\n"
        "def test_x(benchmark):\n    print(os.environ['APP_SECRET'], flush=True)\n    os._exit(1)\n",
    )
    twins.open("-s", sides=["head"])
    with pytest.raises(WorkerDied) as died:
        twins.workers["head"].next()
    tail = "".join(died.value.tail)
    assert "***" in tail
    assert "rather-long" not in tail


def test_the_plugin_is_written_for_old_interpreters():
    """A project's Python may be older than the gate's."""
    source = Path(benchmarks.__file__).with_name("pytest_plugin.py").read_text()
    ast.parse(source, feature_version=(3, 8))


def interpreter(version: str) -> str | None:
    """A Python of that version on this machine, on PATH or pyenv's."""
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = sorted(versions.glob(f"{version}.*/bin/python"))
    return str(found[-1]) if found else shutil.which(f"python{version}")


class Environments:
    """Environments with other versions and plugins, each made once in a session, where it is first used."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: dict[tuple[str, ...], str] = {}

    def python(self, version: str, *packages: str) -> str:
        """Skips the test where the version is not on this machine, or where there is no package index."""
        key = (version, *packages)
        if key not in self._made:
            home = self._root / str(len(self._made))
            base = interpreter(version)
            if base is None:
                pytest.skip(f"needs Python {version}")
            subprocess.run([base, "-m", "venv", "--without-pip", str(home)], check=True)
            python = str(home / "bin" / "python")
            install = ["-m", "pip", "--python", python, "install", "--quiet", *packages]
            done = subprocess.run([sys.executable, *install], check=False, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"pip cannot install {' '.join(packages)}: {done.stderr.strip()[-200:]}")
            self._made[key] = python
        return self._made[key]


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    return Environments(tmp_path_factory.mktemp("environments"))


OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
SEVERAL = """
import asyncio, gc, pytest, time
from events import happened

@pytest.fixture(scope="module")
def held():
    happened("set up")
    yield
    happened("torn down")

@pytest.mark.benchmark(group="g", min_rounds=3, warmup=True, warmup_iterations=5, disable_gc=True)
@pytest.mark.parametrize("size", [10, 100])
def test_plain(benchmark, held, size):
    assert len(benchmark(list, range(size))) == size
    assert benchmark.stats.stats.rounds == 8

def test_pedantic(benchmark, held):
    how = dict(setup=lambda: (([3, 1, 2],), {}), rounds=4, warmup_rounds=1)
    assert benchmark.pedantic(sorted, **how) == [1, 2, 3]
    assert benchmark.stats.stats.rounds == 4

def test_async(benchmark):
    async def work():
        await asyncio.sleep(0)
    benchmark(lambda: asyncio.run(work()))

def test_fails(benchmark):
    benchmark(lambda: 1 / 0)

def test_unused(benchmark):
    pass
"""


@pytest.mark.parametrize("count", [False, True], ids=["timing", "count"])
@pytest.mark.parametrize(
    ("version", "packages"),
    [
        (OWN, ("pytest-benchmark==4.0.0", "pytest<8")),
        (OWN, ("pytest-benchmark==5.0.1", "pytest<9")),
        ("3.12", ("pytest-benchmark",)),
        ("3.13", ("pytest-benchmark",)),
    ],
    ids=["4.0.0", "5.0.1", "python-3.12", "python-3.13"],
)
def test_other_versions(twins, environments, version, packages, count):
    """Both major versions of pytest-benchmark, and later Pythons, take turns alike."""
    twins.python = environments.python(version, *packages)
    text = SEVERAL.replace("    assert benchmark.stats", "    # ") if count else SEVERAL
    twins.write("benchmarks/test_a.py", text)
    twins.measure(count=count)
    for side in SIDES:
        measured = ("test_plain", "test_pedantic", "test_async")
        counts = [len(twins.values(side, f"test_a.{name}")) for name in measured]
        assert counts == ([0, 0, 0] if count else [16, 4, 8])
        ends = {name.rpartition(".")[2]: end for name, end in twins.ends[side].items()}
        assert "ZeroDivisionError" in ends.pop("test_fails").failures[0]
        assert ends.pop("test_unused").skipped == NO_TIME
        assert set(ends.values()) == {Visit()}
        assert twins.what(side) == ["set up", "torn down"]


PLUGINS = ("pytest-benchmark[aspect]", "pytest-xdist", "pytest-cov", "pytest-randomly", "pytest-timeout")
PLUGINS += ("pytest-rerunfailures", "pytest-forked")


@pytest.fixture
def with_plugins(twins: Twins, environments: Environments) -> Twins:
    twins.python = environments.python(OWN, *PLUGINS)
    return twins


@pytest.mark.parametrize(
    "addopts",
    [
        "-n 2 --dist loadscope --cov=. --cov-report=html",
        "-n 2 -p no:randomly --benchmark-only",
        "-x -n auto --benchmark-autosave --forked",
        "--reruns 2 --timeout 100",
    ],
)
def test_plugins_that_would_disturb_timing_are_kept_out(with_plugins, addopts):
    """Spreading over processes, coverage, shuffling and repeating do not reach the benchmarks."""
    twins = with_plugins
    twins.write("pytest.ini", f"[pytest]\naddopts = {addopts}\n")
    names = [f"test_{letter}" for letter in "abcdefgh"]
    text = "".join(f"def {name}(benchmark):\n    benchmark(int)\n" for name in names)
    text += "def test_z(benchmark):\n    happened('failed')\n    assert 1 == 2\n"
    twins.write("benchmarks/test_a.py", "from events import happened\n" + text)
    before = set((twins.root / "head").rglob("*"))
    twins.measure()
    assert [case.name for case in twins.ready["head"]] == [f"test_a.{name}" for name in (*names, "test_z")]
    for side in SIDES:
        assert all(len(twins.values(side, f"test_a.{name}")) == 8 for name in names)
        assert "assert 1 == 2" in twins.ends[side]["test_a.test_z"].failures[0]
        assert twins.what(side) == ["failed"]
    assert set((twins.root / "head").rglob("*")) == before


def test_to_wait_for_a_turn_is_not_to_hang(with_plugins):
    """pytest-timeout would end a test that stands still while the other side is measured."""
    twins = with_plugins
    twins.write("pytest.ini", "[pytest]\ntimeout = 0.5\n")
    twins.write("benchmarks/test_a.py", ORDER)
    twins.open(sides=["head"])
    head = twins.workers["head"]
    head.next()
    head.prepare()
    time.sleep(0.7)
    assert len(head.visit(1).values) == 1
    assert head.finish() == Visit()


def test_a_woven_function_is_measured(with_plugins):
    """benchmark.weave: the project's own call of the function is the benchmark."""
    twins = with_plugins
    twins.write("work.py", "def work():\n    return 7\ndef use():\n    return work()\n")
    twins.write(
        "benchmarks/test_a.py",
        "import work\n"
        "def test_x(benchmark):\n    benchmark.weave('work.work')\n    assert work.use() == 7\n"
        "def test_y(benchmark_weave):\n    benchmark_weave('work.work')\n    assert work.use() == 7\n",
    )
    twins.measure()
    for side in SIDES:
        assert set(twins.ends[side].values()) == {Visit()}
        assert len(twins.values(side, "test_a.test_x")) == len(twins.values(side, "test_a.test_y")) == 8
