"""Runs inside the project's own pytest: measures its benchmarks in turns, as the gate asks.

A single file with nothing beyond the standard library and pytest, copied alone into a directory of
its own under another name, so that nothing of the gate can shadow a module of the project. It must
work with every Python and pytest-benchmark the project may use.

The gate is at the other end of a socket; both send one JSON object a line, and one of the two is
always waiting for the other. This process has the turn from what it is told until its next answer:

    told                    answered, `kind`
    (the start)             pytest: versions, and why nothing can be measured, if so; test: a collected
                            benchmark; codspeed: tests for pytest-codspeed alone; error: a file that
                            cannot be collected; collected: the collection is over
    order: ids              (of all tests, the ones wanted, in their order)
    next                    at: a test has come to its first call; or outcome, where it never does
    count: only             fenced: a call is next that is to be counted; only: nothing is timed afterwards
    go                      counted: so many calls were made, and nothing else
    trace                   traced: Python functions that one call has called
    prepare: loops, gc      prepared: calibrated and warm
    visit: rounds           rounds: seconds and processor seconds of one iteration, round by round
    finish                  outcome: the test is over, with its teardown
    next, after the last    end: pytest's exit status

An outcome instead of another answer says that the test ended early. `id` is pytest's node id. `text` is
whole: only the gate knows the secrets in it, and hides them before it cuts.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
import inspect
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

TARGET = 0.01  # seconds of a round: long against the hand-over of the turn, short against a slow spell
WARM = 2  # rounds before the measured ones
SLOW = 0.5  # seconds after which one warm round is enough
MOST_CALLERS = 20_000  # lines that are told of; of more none, for what is left out would look like a change
COUNT_WARM, COUNTED = 2, 2  # calls before those that are counted, and those; however long they take


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("perf-gate")
    group.addoption("--perf-gate-line", type=int, help="descriptor of the socket to the gate")
    group.addoption("--perf-gate-storage", help="directory for what pytest-benchmark would write")
    group.addoption("--perf-gate-seed", type=int, default=0, help="for what seeds itself")
    group.addoption("--perf-gate-lifeline", type=int, help="descriptor that closes when the gate is gone")
    _stand_in_for_the_cache(parser)


def _stand_in_for_the_cache(parser: pytest.Parser) -> None:
    """pytest's cache would write into the worktree, so it is off; its options in addopts still parse."""
    for option in ("--lf", "--last-failed", "--ff", "--failed-first", "--nf", "--new-first"):
        _accept(parser.addoption, option, action="store_true", help="ignored: no cache")
    _accept(parser.addini, "cache_dir", "ignored: no cache")


def _accept(add: Any, name: str, *args: str, **options: str) -> None:
    try:
        add(name, *args, **options)
    except ValueError:  # pytest keeps its own after all
        return


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before conftest files are imported and unknown options refused."""
    known = early_config.known_args_namespace
    line = Line(known.perf_gate_line, known.perf_gate_lifeline)
    turns = Turns(line)
    early_config.pluginmanager.register(turns, "perf-gate-turns")
    inactive = _inactive(known)
    unknown = "" if inactive else _unknown()
    line.say(kind="pytest", pytest=pytest.__version__, inactive=inactive, unknown=unknown)
    if inactive or unknown:
        raise pytest.UsageError("perf-gate: pytest-benchmark cannot be used here: " + (inactive or unknown))
    _take_over(turns)


def _inactive(known: Any) -> str:
    """Why pytest-benchmark will measure nothing: "absent", "off" or "codspeed"; empty where it will."""
    if importlib.util.find_spec("pytest_benchmark") is None:
        return "absent"
    if not hasattr(known, "benchmark_json"):
        return "off"
    enabled = getattr(known, "codspeed", None)  # with either it takes the fixture over
    return "codspeed" if enabled or (enabled is not None and "CODSPEED_ENV" in os.environ) else ""


def _unknown() -> str:
    """What this pytest-benchmark lacks of what is relied on here, with its version; empty if nothing."""
    import pytest_benchmark
    from pytest_benchmark.fixture import BenchmarkFixture as Fixture

    methods = ("_raw", "_raw_pedantic", "_make_stats", "enabled")
    lacking = [name for name in methods if not hasattr(Fixture, name)]
    stored = set(getattr(getattr(Fixture.__init__, "__code__", None), "co_names", ()))
    lacking += [name for name in ("_timer", "_disable_gc", "_warmup", "_max_time") if name not in stored]
    if not lacking:
        pedantic = inspect.signature(Fixture._raw_pedantic).parameters
        lacking = [
            name for name in ("target", "rounds", "warmup_rounds", "iterations") if name not in pedantic
        ]
    return f"{pytest_benchmark.__version__} (no {', '.join(lacking)})" if lacking else ""


def _take_over(turns: Turns) -> None:
    """Every benchmark fixture of this process, however it is made, measures in turns from now on."""
    import pytest_benchmark.fixture

    kind: Any = pytest_benchmark.fixture.BenchmarkFixture
    own_raw, own_pedantic = kind._raw, kind._raw_pedantic
    signature = inspect.signature(own_pedantic)

    def raw(fixture: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not fixture.enabled:
            return own_raw(fixture, function, *args, **kwargs)
        return turns.measure(fixture, functools.partial(function, *args, **kwargs))

    def pedantic(fixture: Any, /, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(fixture, *args, **kwargs)
        given.apply_defaults()
        fixed = {name: given.arguments[name] for name in ("rounds", "warmup_rounds", "iterations")}
        whole = all(isinstance(number, int) for number in fixed.values())  # else it is refused by its own
        if fixture.enabled and whole and Rounds(turns, fixture, **fixed).only:
            given.arguments["rounds"] = 1
        return own_pedantic(*given.args, **given.kwargs)

    kind._raw, kind._raw_pedantic = raw, pedantic


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Settles what would write into the worktree, spread the tests over processes or end the run early.

    Everything else that the project configures stays. Runs before pytest-benchmark reads its options.
    """
    option = config.option
    settled = {
        "benchmark_autosave": False,
        "benchmark_save": None,
        "benchmark_json": None,
        "benchmark_compare": [],
        "benchmark_compare_fail": [],
        "benchmark_histogram": [],
        "benchmark_csv": [],
        "benchmark_cprofile": None,
        "benchmark_cprofile_dump": [],
        "benchmark_skip": False,
        "benchmark_only": False,  # other tests are left out anyway, and with benchmark_disable it is refused
        "benchmark_disable": False,
        "benchmark_enable": True,
        "benchmark_storage": "file://" + option.perf_gate_storage,
        "dist": "no",  # xdist: timing needs the machine to itself
        "tx": [],
        "numprocesses": None,
        "forked": False,  # pytest-forked: a test apart would have no line to the gate
        "reruns": 0,  # pytest-rerunfailures: a test is measured once
        "maxfail": 0,  # one failing benchmark must not hide the others
        "randomly_seed": option.perf_gate_seed,  # pytest-randomly: chance is the pair's, order the files'
        "randomly_reorganize": False,
    }
    for name, value in settled.items():
        if hasattr(option, name):
            setattr(option, name, value)
    if config.pluginmanager.hasplugin("timeout"):
        option.timeout = 0  # pytest-timeout: to wait for one's turn is not to hang; the gate has its own
    # Where every benchmark fails or is skipped; a project that makes warnings errors would end here.
    config.addinivalue_line("filterwarnings", "ignore:Not saving anything, no benchmarks")


class Line:
    """The socket to the gate, and the pipe that closes when the gate is gone, however it ended."""

    def __init__(self, descriptor: int, lifeline: int) -> None:
        self._descriptor: int | None = descriptor
        self._lifeline = lifeline
        self._heard = b""
        for one in (descriptor, lifeline):
            os.set_inheritable(one, False)
        os.register_at_fork(after_in_child=self._let_go)
        threading.Thread(target=self._watch, name="perf-gate-lifeline", daemon=True).start()

    def _watch(self) -> None:
        os.read(self._lifeline, 1)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    def _let_go(self) -> None:
        """A forked child has no turn to take, and must not keep the line open when this process dies."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            os.close(self._lifeline)
            self._descriptor = None

    def say(self, **message: Any) -> None:
        rest = json.dumps(message).encode() + b"\n"
        while rest:
            rest = rest[os.write(self._open(), rest) :]

    def hear(self, *, last: bool = False) -> dict[str, Any]:
        """What the gate says next, however long that takes. last: pytest is at its end in any case."""
        while b"\n" not in self._heard:
            found = os.read(self._open(), 65536)
            if not found:
                pytest.exit("perf-gate has hung up")
            self._heard += found
        line, _, self._heard = self._heard.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if message["do"] == "stop" and not last:
            pytest.exit("perf-gate needs no more of this")
        return message

    def _open(self) -> int:
        if self._descriptor is None:  # a test forked, and its child goes on as if it were pytest
            os._exit(1)
        return self._descriptor


class Turns:
    """Lets pytest run only while this side has the turn; registered under a name, so that there is one."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.say = line.say
        self._reports: list[pytest.TestReport] = []
        self._over = False  # the gate wants no more of the current test than its end

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leaves the benchmarks: other tests have their own run."""
        others = [item for item in items if not _is_benchmark(item)]
        if others:
            if foreign := sum(map(_is_codspeeds, others)):
                self.say(kind="codspeed", tests=foreign)
            config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if _is_benchmark(item)]

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, Any, None]:
        """After marks, -k and -m have chosen: what is there, and of it what the gate wants."""
        ended = yield
        if ended.excinfo is not None:
            return
        for item in session.items:
            names = item.nodeid.partition("::")[2].split("[")[0].split("::")
            callspec = getattr(item, "callspec", None)
            parameters = callspec.id if callspec is not None else ""
            self.say(kind="test", id=item.nodeid, file=_file(item), names=names, parameters=parameters)
        self.say(kind="collected")
        if not session.config.option.collectonly:
            known = {item.nodeid: item for item in session.items}
            session.items[:] = [known[wanted] for wanted in self._line.hear()["ids"]]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.say(kind="error", id=report.nodeid, text=_said(report))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, None]:
        """A test begins when it is asked for; it is over, and the turn with it, after its teardown."""
        self._line.hear()
        self._over = False
        self._reports = []
        ended = yield
        if ended.excinfo is None:  # else pytest itself is coming to its end
            outcome, text = _outcome(self._reports)
            self.say(kind="outcome", id=item.nodeid, outcome=outcome, text=text)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.append(report)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, None]:
        """After the last test pytest waits once more: its own end is work too."""
        ended = yield
        if not session.config.option.collectonly and ended.excinfo is None:
            self._line.hear(last=True)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.say(kind="end", status=int(exitstatus))

    def measure(self, fixture: Any, call: Callable[[], Any]) -> Any:
        """benchmark(function): as many rounds as the gate asks for. Gives the function's result."""
        message = self.arrive()
        loops, collects = 1, not fixture._disable_gc  # `prepare` comes before a visit, and decides
        stats: Any = None
        while message is not None:
            with _uninstrumented():
                if message["do"] == "count":
                    self.count(call)
                elif message["do"] == "trace":
                    calls, callers = _python_calls(call, callers=message.get("callers", False))
                    self.say(kind="traced", calls=calls, callers=callers)
                elif message["do"] == "prepare":
                    collects = collects if message["gc"] is None else message["gc"]
                    loops, seconds = _warmed(call, message["loops"], collects, fixture)
                    stats = fixture._make_stats(loops)
                    self.say(
                        kind="prepared", loops=loops, gc=collects, seconds=seconds, rounds=0, fixed=False
                    )
                else:
                    taken = [_round(call, loops, collects) for _ in range(message["rounds"])]
                    for seconds, _ in taken:
                        stats.update(seconds)
                    self.took(taken, loops, more=True)
            message = self.told()
        return call()

    def count(self, call: Callable[[], Any]) -> None:
        """So many calls between two looks of the gate, after some that leave caches and connections warm."""
        _round(call, COUNT_WARM, True)
        self.say(kind="fenced")
        if self.told() is not None:
            _round(call, COUNTED, True)
            self.say(kind="counted", calls=COUNTED, values=[], cpu=[], more=True)

    def arrive(self) -> dict[str, Any] | None:
        """A test has come to its first call; `told` what to do there."""
        if self._over:
            return None
        self.say(kind="at")
        return self.told()

    def told(self) -> dict[str, Any] | None:
        """What to do with the turn; None where the test is to run to its end."""
        if self._over:
            return None
        message = self._line.hear()
        self._over = message["do"] == "finish"
        return None if self._over else message

    def took(self, taken: list[Any], loops: int, more: bool) -> None:
        values, cpu = [one[0] / loops for one in taken], [one[1] / loops for one in taken]
        self.say(kind="rounds", values=values, cpu=cpu, more=more)


class Rounds:
    """The timer of one benchmark.pedantic(...), read at the start and at the end of each of its rounds.

    The project's setup and teardown of a round run in the turn that takes the round. The first round that is
    not a warm-up is counted, where that is asked for; its time counts too. only: nothing else is asked for.
    """

    def __init__(
        self, turns: Turns, fixture: Any, *, rounds: int, warmup_rounds: int, iterations: int
    ) -> None:
        self._turns = turns
        self._left = rounds
        self._warm = warmup_rounds
        self._iterations = iterations
        self._owed = 0  # rounds that the visit has still to give
        self._asked = False  # the gate waits for it to be warm
        self._taken: list[Any] = []
        self._start: float | None = None
        self._cpu = 0.0
        self._fixture = fixture
        fixture._timer = self
        message = turns.arrive()
        self._counts = message is not None and message["do"] == "count"
        self.only: bool = message is not None and self._counts and message["only"]
        if message is not None and not self._counts:
            self._prepare(message)

    def __call__(self) -> float:
        if self._start is None:
            if self._counts and not self._warm:
                self._turns.say(kind="fenced")
                self._counts = self._turns.told() is not None
            self._cpu = time.process_time()
            self._start = time.perf_counter()
            return self._start
        end = time.perf_counter()
        seconds, cpu = end - self._start, time.process_time() - self._cpu
        self._start = None
        if self._warm:
            self._warm -= 1
            if self._asked and not self._warm:
                self._wait()
            return end
        self._left -= 1
        if self._counts:
            self._counts = False
            told = {"values": [seconds / self._iterations], "cpu": [cpu / self._iterations]}
            more = self._left > 0 and not self.only
            self._turns.say(kind="counted", calls=self._iterations, more=more, **told)
            if (message := self._turns.told()) is not None:
                self._prepare(message)
        elif self._owed:
            self._owed -= 1
            self._taken.append((seconds, cpu))
            if not (self._owed and self._left):
                self._turns.took(self._taken, self._iterations, more=self._left > 0)
                self._taken = []
                self._next()
        return end

    def _prepare(self, message: dict[str, Any]) -> None:
        self._asked = True
        if message["gc"] is not None:
            self._fixture._disable_gc = not message["gc"]
        if not self._warm:
            self._wait()

    def _wait(self) -> None:
        """Warm, and before the setup of the first round that is timed."""
        told = {"loops": self._iterations, "rounds": self._left, "gc": not self._fixture._disable_gc}
        self._turns.say(kind="prepared", fixed=True, seconds=0.0, **told)
        self._next()

    def _next(self) -> None:
        message = self._turns.told()
        self._owed = message["rounds"] if message is not None else 0


def _round(call: Callable[[], Any], loops: int, collects: bool) -> tuple[float, float]:
    """Seconds and processor seconds of so many calls. collects: whether garbage is collected meanwhile."""
    collected = gc.isenabled()
    if not collects:
        gc.disable()
    try:
        calls = itertools.repeat(None, loops)
        cpu = time.process_time()
        start = time.perf_counter()
        for _ in calls:
            call()
        end = time.perf_counter()
        return end - start, time.process_time() - cpu
    finally:
        if collected:
            gc.enable()


def _python_calls(call: Callable[[], Any], *, callers: bool) -> tuple[int, list[tuple[Any, ...]]]:
    """Python functions that one call has called, on its own thread, generators at each of their steps.

    callers: also the lines that called them: file, function, line, and the called one's file, module and
    function, with the number of its calls.
    """
    calls = 0
    seen: dict[tuple[int, int, int], list[Any]] = {}

    def see(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event == "call"

    def look(frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        if event != "call":
            return
        calls += 1
        back = frame.f_back
        # By identity: code objects compare all that they hold. `found` keeps them alive.
        key = (id(back.f_code), back.f_lineno, id(frame.f_code))
        found = seen.get(key)
        if found is None:
            seen[key] = found = [0, back.f_code, frame.f_code, frame.f_globals.get("__name__")]
        found[0] += 1

    collected = gc.isenabled()
    gc.disable()  # when garbage is collected, and what that calls, is chance
    sys.setprofile(look if callers else see)
    try:
        call()
    finally:
        sys.setprofile(None)
        if collected:
            gc.enable()
    told = [
        (outer.co_filename, _name(outer), line, inner.co_filename, str(module), _name(inner), count)
        for (_, line, _), (count, outer, inner, module) in seen.items()
    ]
    return calls, told if len(told) <= MOST_CALLERS else []


def _name(code: Any) -> str:
    return str(getattr(code, "co_qualname", code.co_name))  # the whole name since 3.11


def _calibrated(call: Callable[[], Any], collects: bool) -> tuple[int, float]:
    """Calls that take about TARGET seconds, at least one, and the seconds of one."""
    loops = 1
    while True:
        seconds, _ = _round(call, loops, collects)
        if TARGET / 2 <= seconds <= SLOW:  # again: a spell in which the machine was busy looks like this
            seconds = min(seconds, _round(call, loops, collects)[0])
        if seconds >= TARGET / 2:
            return max(1, round(loops * TARGET / seconds)), seconds / loops
        loops = max(loops + 1, min(10 * loops, int(loops * TARGET / max(seconds, 1e-9))))


def _warmed(call: Callable[[], Any], loops: int, collects: bool, fixture: Any) -> tuple[int, float]:
    """After rounds that do not count, more where the project asks for them: calls and seconds of a round.

    loops: the calls that were found on the other side or in an earlier pair, 0 where they are not known.
    They are kept unless a round would take longer than SLOW: per call it can be compared all the same.
    """
    once, _ = _round(call, 1, collects)  # the first call pays for imports, caches and connections
    if not loops:
        loops, once = _calibrated(call, collects)
    elif once * loops > SLOW:
        once, _ = _round(call, 1, collects)
        loops = max(1, min(loops, int(SLOW / once)))
    shortest, done = once * loops, 0
    until = time.perf_counter() + fixture._max_time
    while True:
        enough = done >= WARM or once > SLOW
        if enough and not (done * loops < (fixture._warmup or 0) and time.perf_counter() < until):
            return loops, shortest
        shortest = min(shortest, _round(call, loops, collects)[0])
        done += 1


@contextlib.contextmanager
def _uninstrumented() -> Iterator[None]:
    """No debugger, coverage or profiler, as pytest-benchmark itself has it."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
        sys.setprofile(profiler)


def _file(item: pytest.Item) -> str:
    """Its file from where pytest was started; node ids begin at pytest's root, wherever that is."""
    path = getattr(item, "path", None) or item.fspath  # pytest 6 has no `path`
    return os.path.relpath(str(path), str(item.config.invocation_params.dir))


def _is_benchmark(item: pytest.Item) -> bool:
    return "benchmark" in getattr(item, "fixturenames", ())


def _is_codspeeds(item: pytest.Item) -> bool:
    """A benchmark to pytest-codspeed only: by its own fixture, or by a mark on a test without one."""
    marked = any(item.get_closest_marker(name) for name in ("benchmark", "codspeed_benchmark"))
    return marked or "codspeed_benchmark" in getattr(item, "fixturenames", ())


def _outcome(reports: list[pytest.TestReport]) -> tuple[str, str]:
    for report in reports:
        if report.failed:
            return ("failed" if report.when == "call" else "error"), _said(report)
    for report in reports:
        if report.skipped:
            return "skipped", _said(report)
    return "passed", ""


def _said(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What happened: the error's own message, or the reason of a skip."""
    if hasattr(report, "wasxfail"):
        return f"xfail: {report.wasxfail}"
    found: Any = report.longrepr
    if isinstance(found, tuple):  # (file, line, "Skipped: reason")
        return str(found[2])
    crash = getattr(found, "reprcrash", None)
    if crash is not None:
        return str(crash.message)
    lines = [line for line in str(found).splitlines() if line.strip()]
    return "\n".join(lines[-3:])
