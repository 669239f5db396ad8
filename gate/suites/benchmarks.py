"""The benchmarks suite: the project's own pytest-benchmark tests, in the project's own interpreter.

A worker is a live pytest, which takes turns with another side's: both are at the same case, and only one
of them runs. The project's pytest configuration stays in force but for what would write into its
worktree, spread tests over processes or stop early (`gate.suites.pytest_plugin`, which also measures).

A case is named by where its test stands and by nothing else, so that no other file can rename it: with
paths = ["benchmarks"], test_tokens of benchmarks/test_lyrics.py is "test_lyrics.test_tokens", and of
benchmarks/text/test_lyrics.py "text.test_lyrics.test_tokens".
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import math
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.config import Benchmarks
from gate.errors import ConfigError, EnvironmentFailure, GateError, MeasurementError
from gate.explain.called import Caller
from gate.model import Case, PlannedCase, Side
from gate.redact import redact
from gate.suites.turns import Gone, LivePytest, Message, Silent, ending
from gate.suites.worker import Visit, WorkerDied, hidden, shown

SUITE = "benchmarks"
_PLUGIN = "perf_gate_pytest"  # a name of its own: the directory is first on the project's path
_TAIL = 20  # lines of pytest's output in an error
_SHOWN = 300  # characters of what a test said
_RAN = frozenset({0, 1, 5})  # pytest's statuses of a session that came to its end: passed, failed, nothing
VISITS = 8  # turns that a side takes at a case in one pair (DESIGN.md section 5: 8 rounds of 10 ms)
_ROUNDS_SECONDS = 1.0  # for a side's rounds of one case in one pair: slow ones get fewer, at least 2

# What failed and the next step, by what the plugin found.
_INACTIVE = {
    "absent": ("pytest-benchmark is not installed", "add pytest-benchmark to target.install"),
    "off": (
        "pytest-benchmark is installed but not active",
        'load it: suites.benchmarks.args = ["-p", "pytest_benchmark.plugin"]',
    ),
    "codspeed": (
        "pytest-benchmark is not active: pytest-codspeed has taken its place",
        "take --codspeed out of pytest's options, or CODSPEED_ENV out of target.env",
    ),
}
_FOREIGN = (
    "no benchmark was found: the tests use pytest-codspeed's own fixture or mark",
    "let them call the `benchmark` fixture, which pytest-codspeed gives too; "
    "perf-gate times what pytest-benchmark's calls",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One collected benchmark.

    id: pytest's. file: from target.directory. names: classes and function. parameters: of the bracket.
    """

    id: str
    file: str
    names: tuple[str, ...]
    parameters: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Calls that were made between two looks at the services.

    values, cpu: seconds and processor seconds of one of them, where they are a round of the project's own
    (`benchmark.pedantic`). more: the test goes on with calls.
    """

    calls: int
    values: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    more: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a benchmark is measured. What base finds out holds for head and for every later pair.

    loops: calls in a round; 0 where the test ended before its first one. visits: turns that a side takes
    in a pair; rounds: in each. collects: whether garbage is collected in a round; None where unknown.
    fixed: loops and the number of rounds are the project's own (`benchmark.pedantic`) and are not changed.
    """

    loops: int = 0
    visits: int = 0
    rounds: int = 1
    collects: bool | None = None
    fixed: bool = False


def collect(side: Side, config: Benchmarks, *, log: Path) -> tuple[PlannedCase, ...]:
    """The project's benchmarks in its own order, without running them. log: where pytest's output goes.

    Raises EnvironmentFailure where pytest or pytest-benchmark is missing, MeasurementError where a file
    cannot be collected or there is no benchmark, ConfigError where a budget is of none of them.
    """
    with collecting(side, config, log=log) as collected:
        return collected()


@contextlib.contextmanager
def collecting(
    side: Side, config: Benchmarks, *, log: Path
) -> Iterator[Callable[[], tuple[PlannedCase, ...]]]:
    """As `collect`, which is what calling awaits: pytest imports the project meanwhile."""
    with contextlib.closing(
        _Suite(side, config, log=log, seed=0, arguments=("--collect-only", "-q"))
    ) as suite:
        yield lambda: _planned(config, suite.collected(only=True))


def _planned(config: Benchmarks, tests: Mapping[Case, Benchmark]) -> tuple[PlannedCase, ...]:
    if problems := check_budgets(config, tests):
        raise ConfigError(
            "there are budgets for benchmarks that do not exist",
            hint="a budget holds for every parameter of its benchmark; give the name without them",
            problems=problems,
        )
    return tuple(
        PlannedCase(case=case, label=str(case).partition("/")[2], definition=_definition(test))
        for case, test in tests.items()
    )


def check_budgets(config: Benchmarks, cases: Iterable[Case]) -> tuple[str, ...]:
    """A problem for each budget of none of the cases, with the nearest name; empty if all is well."""
    names = sorted({case.name for case in cases})
    return tuple(
        f"suites.benchmarks.budgets: no benchmark {name!r}" + _nearest(name, names)
        for name in config.budgets
        if name not in names
    )


def _nearest(name: str, names: Sequence[str]) -> str:
    """The end counts too: without its file a name is like no other, but it is the same test."""
    found = [known for known in names if known.endswith(f".{name.partition('[')[0]}")]
    found += difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f"; did you mean {found[0]!r}?" if found else ""


def open_benchmarks(
    side: Side,
    config: Benchmarks,
    *,
    cases: Sequence[Case] | None,
    log: Path,
    seed: int,
) -> BenchmarkWorker:
    """Starts the side's pytest and returns at once, so that two of them can collect side by side.

    cases: the wanted ones in the order to walk them; None for all, in the project's own. seed:
    PYTHONHASHSEED. Raises EnvironmentFailure where there is no Python to start.
    """
    return BenchmarkWorker(side, config, cases=cases, log=log, seed=seed)


class BenchmarkWorker:
    """One live pytest, which runs only inside of these calls and waits for the next one between them.

    What its methods measure, set up and tear down therefore never overlaps with another worker's. Each
    raises MeasurementError where pytest has had its turn for more than `timeout` seconds in all, and
    WorkerDied where it ends in the middle of a case; after either it is closed.
    """

    def __init__(
        self,
        side: Side,
        config: Benchmarks,
        *,
        cases: Sequence[Case] | None,
        log: Path,
        seed: int,
    ) -> None:
        self._cases = cases
        self._suite = _Suite(side, config, log=log, seed=seed, arguments=())
        self._ready: tuple[Case, ...] | None = None
        self._at = 0
        self._case: Case | None = None
        self._called = False  # the current test has come to its first call
        self._more = False  # it has rounds left
        self._prepared = False
        self._ended: Visit | None = None

    @property
    def pid(self) -> int:
        """Of pytest, which leads a process group of its own."""
        return self._suite.live.pid

    def ready(self) -> tuple[Case, ...]:
        """Waits until pytest has collected: the wanted cases that this side has, in the order wanted.

        Raises as `collect` does.
        """
        if self._ready is None:
            tests = self._suite.collected(only=False)
            wanted = tests if self._cases is None else self._cases
            self._ready = tuple(case for case in wanted if case in tests)
            self._suite.say(do="order", ids=[tests[case].id for case in self._ready])
            self._suite.live.rest()
        return self._ready

    def next(self) -> Case | None:
        """Ends the current test, then sets the next one up until its first call, or runs it to its end.

        None after the last one, when pytest has come to its own end.
        """
        cases = self.ready()
        if self._case is not None:
            self.finish()
        self._case = None
        self._suite.say(do="next")
        if self._at == len(cases):
            self._suite.end()
            return None
        self._case = cases[self._at]
        self._at += 1
        self._called, self._more, self._prepared, self._ended = False, False, False, None
        message = self._hear()
        if message["kind"] == "at":
            self._called = True
            self._more = True
        return self._case

    def fence(self, *, only: bool) -> bool:
        """Makes the current case warm for a count, and stops before the calls that are counted.

        Comes before `prepare`. only: nothing is timed afterwards. False where the test has ended.
        """
        if not self._more:
            return False
        self._suite.say(do="count", only=only)
        return bool(self._hear()["kind"] == "fenced")

    def count(self) -> Counted | None:
        """The calls behind the fence, and nothing else; None where one of them fails."""
        self._suite.say(do="go")
        answer = self._hear()
        if answer["kind"] != "counted":
            return None
        self._more = answer["more"]
        values, cpu = tuple(answer["values"]), tuple(answer["cpu"])
        return Counted(calls=answer["calls"], values=values, cpu=cpu, more=answer["more"])

    def trace(self) -> int | None:
        """Python functions that one call calls, on its own thread; None where the test has ended."""
        self._suite.say(do="trace")
        answer = self._hear()
        return int(answer["calls"]) if answer["kind"] == "traced" else None

    def callers(self) -> tuple[Caller, ...]:
        """The lines that call Python functions in one call of the benchmark.

        None are known where the test has ended, or where they are too many to be told. Not for
        `benchmark.pedantic`, whose rounds are its own.
        """
        if not self._more:
            return ()
        self._suite.say(do="trace", callers=True)
        answer = self._hear()
        return tuple(Caller(*each) for each in answer["callers"]) if answer["kind"] == "traced" else ()

    def prepare(self, terms: Terms | None = None) -> Terms:
        """Makes the current case warm, and calibrates it unless the terms say how it is called.

        terms: the other side's or an earlier pair's. Gives those that hold: the same ones, or the
        project's own for `benchmark.pedantic`; none where the test has ended or is not timed.
        """
        if not self._more:
            return Terms()
        known = terms if terms is not None and not terms.fixed else None
        self._suite.say(
            do="prepare",
            loops=known.loops if known is not None else 0,
            gc=terms.collects if terms is not None else None,
        )
        message = self._hear()
        if message["kind"] != "prepared":
            return Terms()
        self._prepared = True
        rounds = 1
        if message["fixed"]:
            rounds = math.ceil(message["rounds"] / VISITS)
            visits = math.ceil(message["rounds"] / rounds)
        elif known is not None and known.visits:
            visits = known.visits
        else:
            visits = max(2, min(VISITS, int(_ROUNDS_SECONDS / message["seconds"])))
        return Terms(
            loops=message["loops"],
            visits=visits,
            rounds=rounds,
            collects=message["gc"],
            fixed=message["fixed"],
        )

    def visit(self, rounds: int, *, warmup: bool = False) -> Visit:
        """So many rounds: seconds and processor seconds of one iteration of each, in the order measured.

        Fewer or none where the test has no more; its failure or the reason of its skip where it has
        ended. warmup: the values are no measurement. `prepare` comes first.
        """
        if self._case is None:
            message = "next() gives the case first"
            raise RuntimeError(message)
        if not self._more:
            return self._ended or Visit()
        if not self._prepared:
            message = "prepare() comes before the first visit"
            raise RuntimeError(message)
        self._suite.say(do="visit", rounds=rounds)
        answer = self._hear()
        if answer["kind"] != "rounds":
            return self._ended or Visit()
        self._more = answer["more"]
        return Visit(values=tuple(answer["values"]), cpu=tuple(answer["cpu"]))

    def finish(self) -> Visit:
        """Runs the current test to its end, with its teardown: its failure, or why it was not measured."""
        if self._case is None:
            message = "next() gives the case first"
            raise RuntimeError(message)
        if self._ended is None:
            self._suite.say(do="finish")
            self._hear()
        return self._ended or Visit()

    def close(self) -> None:
        """Ends pytest and all it started; one that waits may tear its fixtures down first."""
        self._suite.close()

    def _hear(self) -> Message:
        """What pytest answers; the turn is over. An outcome is kept."""
        if self._case is None:
            raise RuntimeError("no case is being measured")
        try:
            message = self._suite.live.hear()
        except Gone as gone:
            self.close()
            raise WorkerDied(self._case, str(gone), tail=self._suite.tail()) from None
        except Silent:
            raise self._suite.late(self._case) from None
        if message["kind"] == "end":
            self.close()
            reason = f"pytest stopped early, with status {message['status']}"
            raise WorkerDied(self._case, reason, tail=self._suite.tail())
        self._suite.live.rest()
        if message["kind"] == "outcome":
            self._more = False
            self._ended = self._judged(message["outcome"], message["text"])
        return message

    def _judged(self, outcome: str, text: str) -> Visit:
        said = self._suite.shown(text)
        if outcome == "skipped":
            return Visit(skipped=said)
        if outcome != "passed":
            return Visit(failures=(said if outcome == "failed" else f"error outside of the test: {said}",))
        return Visit() if self._called else Visit(skipped="it passed without calling benchmark()")


def case_of(test: Benchmark, home: Path) -> Case:
    """Its file below `home`, its classes and its function, joined by dots."""
    file = Path(test.file)
    if file.is_relative_to(home):  # else args brought it, and it keeps its whole path
        file = file.relative_to(home)
    name = ".".join((*file.with_suffix("").parts, *test.names))
    return Case(suite=SUITE, name=name, parameters=test.parameters)


def home_of(paths: Sequence[str], directory: str) -> Path:
    """The directory, from `directory`, that holds all paths; of a path to one file or test, its file's."""
    named = [Path(directory, path.partition("::")[0]) for path in paths]
    places = [path.parent if path.suffix == ".py" else path for path in named]
    return Path(os.path.relpath(os.path.commonpath([os.path.normpath(p) for p in places]), directory))


def _definition(test: Benchmark) -> str:
    """Changes with how a benchmark is measured too: what it was counted by before says nothing now."""
    return hashlib.sha256(f"counted twice {test.id}".encode()).hexdigest()[:16]


class _Suite:
    """The pytest of one side, over the configured paths, and what can be wrong with it in plain words."""

    def __init__(
        self, side: Side, config: Benchmarks, *, log: Path, seed: int, arguments: tuple[str, ...]
    ) -> None:
        if not side.interpreter:
            raise EnvironmentFailure(
                f"{side.name} has no Python to run benchmarks with",
                where="suites.benchmarks",
                hint="set target.python",
            )
        self._side = side
        self._config = config
        self._log = log
        self._secrets = hidden(side)
        self._held = contextlib.ExitStack()
        directory = self._held.enter_context(tempfile.TemporaryDirectory(prefix="perf-gate-pytest-"))
        scratch = Scratch(Path(directory))
        command = [
            *(side.interpreter, "-m", "pytest", "-p", _PLUGIN, "-p", "no:cacheprovider"),
            *(f"--perf-gate-storage={scratch.storage}", f"--perf-gate-seed={seed % 2**32}"),
            *_without_coverage(side),
            *(*config.paths, *config.args, *arguments),
        ]
        try:
            self.live = LivePytest(
                command,
                directory=side.directory,
                env=_environment(side, scratch, seed),
                log=log,
                timeout=config.timeout,
            )
        except OSError as error:
            message, hint = f"pytest cannot be started: {error}", "check target.python and target.install"
            raise self._trouble(message, hint, infrastructure=True) from error
        self._held.callback(self.live.close)

    def say(self, **message: Any) -> None:
        self.live.say(**message)

    def collected(self, *, only: bool) -> dict[Case, Benchmark]:
        """The benchmarks in the project's own order. only: pytest ends after them, and well."""
        lines: list[Message] = []
        try:
            while not lines or lines[-1]["kind"] not in ("end" if only else "collected", "end"):
                lines.append(self.live.hear())
        except Gone:
            pass  # what it said before tells why
        except Silent:
            raise self.late() from None
        kinds = Counter(line["kind"] for line in lines)
        waits = bool(kinds["collected"]) and not only
        if waits:
            self.live.rest()
        status = 0 if waits else self._status()  # where it ends, its log is whole before anything is told
        if not kinds["pytest"]:
            message = f"pytest did not start ({ending(status)})"
            hint = "add pytest and pytest-benchmark to target.install"
            raise self._trouble(message, hint, infrastructure=True)
        if inactive := lines[0]["inactive"]:
            raise self._trouble(*_INACTIVE[inactive], infrastructure=True)
        if unknown := lines[0]["unknown"]:
            message = f"pytest-benchmark {unknown} works in another way than perf-gate knows"
            raise self._trouble(message, "install pytest-benchmark 4 or 5 with target.install")
        for line in lines:
            if line["kind"] == "error":
                message = f"{line['id'] or 'a file'} cannot be collected: {self.shown(line['text'])}"
                raise self._trouble(message, "run the same pytest command in the project")
        if not waits:
            self._check(kinds, status)
        if not kinds["test"] and kinds["codspeed"]:
            raise self._trouble(*_FOREIGN)
        if not kinds["test"]:
            raise self._trouble("no benchmark was found", "check suites.benchmarks.paths and args")
        return self._named([line for line in lines if line["kind"] == "test"])

    def end(self) -> None:
        """Waits for pytest's own end after its last test. Raises MeasurementError where that goes wrong."""
        kinds: Counter[str] = Counter()
        try:
            while True:
                kinds[self.live.hear()["kind"]] += 1
        except Gone:
            self._check(kinds, self._status())
        except Silent:
            raise self.late() from None

    def shown(self, text: str) -> str:
        """What a test said, short and without secrets."""
        return shown(text, self._secrets, limit=_SHOWN)

    def tail(self) -> tuple[str, ...]:
        """The end of pytest's log, without secrets; whole once pytest is closed.

        Of a crash the place and what is called there: that is where Python's own dump of it begins.
        """
        lines = redact("\n".join(_lines(self._log)), self._secrets).splitlines()
        crashes = [at for at, line in enumerate(lines) if line.startswith("Fatal Python error")]
        start = min(crashes[-1] if crashes else len(lines), max(0, len(lines) - _TAIL))
        return tuple(lines[start : start + _TAIL])

    def late(self, case: Case | None = None) -> GateError:
        """Closes, and says so."""
        where = f", which was at {case}" if case is not None else ""
        hint = "raise suites.benchmarks.timeout, or measure fewer benchmarks with paths and args"
        return self._trouble(f"the benchmarks did not end within {self._config.timeout:g} s{where}", hint)

    def close(self) -> None:
        self._held.close()

    def _check(self, kinds: Mapping[str, int], status: int) -> None:
        if not kinds.get("end") or status not in _RAN:
            raise self._trouble(f"pytest did not come to its end: {ending(status)}", "its log ends above")

    def _status(self) -> int:
        try:
            return self.live.wait()
        except Silent:
            raise self.late() from None

    def _named(self, lines: Sequence[Message]) -> dict[Case, Benchmark]:
        home = home_of(self._config.paths, self._side.directory)
        found: dict[Case, Benchmark] = {}
        for line in lines:
            test = Benchmark(
                id=line["id"], file=line["file"], names=tuple(line["names"]), parameters=line["parameters"]
            )
            other = found.setdefault(case_of(test, home), test)
            if other.id != test.id:
                message = f"{other.id} and {test.id} would have the same name"
                raise self._trouble(message, "rename one of them")
        return found

    def _trouble(self, message: str, hint: str, *, infrastructure: bool = False) -> GateError:
        """Closes; the environment's fault, or the benchmarks'."""
        self.close()
        kind = EnvironmentFailure if infrastructure else MeasurementError
        return kind(
            f"{redact(message, self._secrets)} ({self._side.name})",
            where=f"pytest {' '.join(self._config.paths)}",
            hint=hint,
            tail=self.tail(),
        )


class Scratch:
    """A directory outside the worktree for what goes into pytest and what comes out of it."""

    def __init__(self, root: Path) -> None:
        self.plugins = root / "plugins"
        self.storage = root / "storage"
        self.plugins.mkdir()
        self.storage.mkdir()
        shutil.copy(Path(__file__).with_name("pytest_plugin.py"), self.plugins / f"{_PLUGIN}.py")


def _environment(side: Side, scratch: Scratch, seed: int) -> dict[str, str]:
    own = side.env.get("PYTHONPATH")
    return side.env | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(scratch.plugins), own))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": str(seed % 2**32),
    }


def _without_coverage(side: Side) -> tuple[str, ...]:
    """pytest-cov starts before any plugin can stop it, slows what is timed and writes into the worktree."""
    if side.env.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        return ()
    kept = ("PYTHONPATH", "LD_LIBRARY_PATH")
    env = tuple((name, side.env[name]) for name in kept if name in side.env)
    return ("--no-cov",) if _has_coverage(side.interpreter, env) else ()


@functools.cache  # every pair starts the same two interpreters again
def _has_coverage(interpreter: str, env: tuple[tuple[str, str], ...]) -> bool:
    probe = "import importlib.util as u, sys; sys.exit(u.find_spec('pytest_cov') is None)"
    try:
        found = subprocess.run([interpreter, "-c", probe], env=dict(env), timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False  # the run itself will say what is wrong with this interpreter
    return found.returncode == 0


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []
