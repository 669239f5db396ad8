"""The benchmarks suite: the project's own pytest-benchmark tests, in the project's own interpreter.

The whole suite runs once, when the worker is opened; a visit hands out what pytest-benchmark measured
of one test. The project's pytest configuration stays in force but for what would write into its
worktree, spread tests over processes or stop early (`gate.suites.pytest_plugin`).

A case is named by where its test stands and by nothing else, so that no other file can rename it: with
paths = ["benchmarks"], test_tokens of benchmarks/test_lyrics.py is "test_lyrics.test_tokens", and of
benchmarks/text/test_lyrics.py "text.test_lyrics.test_tokens".
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gate.config import Benchmarks
from gate.errors import ConfigError, EnvironmentFailure, MeasurementError
from gate.model import Case, PlannedCase, Side
from gate.redact import redact
from gate.suites.worker import Mode, Visit, hidden, shown

SUITE = "benchmarks"
_PLUGIN = "perf_gate_pytest"  # a name of its own: the directory is first on the project's path
_TAIL = 20  # lines of pytest's output in an error
_SHOWN = 300  # characters of what a test said
_RAN = frozenset({0, 1, 5})  # pytest's statuses of a session that came to its end: passed, failed, nothing
_GRACE = 3.0  # seconds that pytest gets to stop what its fixtures started

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
class Session:
    """What one run of pytest told. outcomes: id -> (outcome, text); times: id -> seconds of each round."""

    tests: Mapping[Case, Benchmark]
    outcomes: Mapping[str, tuple[str, str]]
    times: Mapping[str, tuple[float, ...]]


def collect(side: Side, config: Benchmarks, *, log: Path) -> tuple[PlannedCase, ...]:
    """The project's benchmarks in its own order, without running them. log: where pytest's output goes.

    Raises EnvironmentFailure where pytest or pytest-benchmark is missing, MeasurementError where a file
    cannot be collected or there is no benchmark, ConfigError where a budget is of none of them.
    """
    session = _run(side, config, log=log, seed=0, times=False, arguments=("--collect-only", "-q"))
    if problems := check_budgets(config, session.tests):
        raise ConfigError(
            "there are budgets for benchmarks that do not exist",
            hint="a budget holds for every parameter of its benchmark; give the name without them",
            problems=problems,
        )
    return tuple(
        PlannedCase(case=case, label=str(case).partition("/")[2], definition=_definition(test), once=True)
        for case, test in session.tests.items()
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
    side: Side, config: Benchmarks, *, log: Path, seed: int, mode: Mode = "timing"
) -> BenchmarkWorker:
    """Runs the suite and gives a worker that walks what it measured, in the order collected.

    seed: PYTHONHASHSEED of the run. mode "count": every benchmark is called once and not timed, which
    tells only whether it works. Raises as `collect` does, and MeasurementError where pytest crashes or
    takes longer than `timeout`.
    """
    timed = mode == "timing"
    arguments = () if timed else ("--perf-gate-untimed",)
    session = _run(side, config, log=log, seed=seed, times=timed, arguments=arguments)
    return BenchmarkWorker(session, timed=timed)


class BenchmarkWorker:
    """Hands out one finished session, case by case."""

    def __init__(self, session: Session, *, timed: bool) -> None:
        self._session = session
        self._timed = timed
        self._todo = iter(session.tests.items())
        self._test: Benchmark | None = None

    def next(self) -> Case | None:
        case, self._test = next(self._todo, (None, None))
        return case

    def visit(self, rounds: int, *, warmup: bool = False) -> Visit:
        """Seconds per iteration of every round of the current test; pytest-benchmark chose their number.

        A failing test has a failure and no values, a skipped one its reason.
        """
        if self._test is None:
            message = "next() gives the case first"
            raise RuntimeError(message)
        outcome, text = self._session.outcomes.get(self._test.id, ("skipped", "it was not run"))
        if outcome == "skipped":
            return Visit(skipped=text)
        if outcome != "passed":
            return Visit(failures=(text if outcome == "failed" else f"error outside of the test: {text}",))
        times = self._session.times.get(self._test.id, ())
        if self._timed and not times:
            return Visit(skipped="it passed without calling benchmark()")
        return Visit(values=times)

    def close(self) -> None:
        """Nothing is held: pytest has ended."""


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
    return hashlib.sha256(test.id.encode()).hexdigest()[:16]


def _run(
    side: Side, config: Benchmarks, *, log: Path, seed: int, times: bool, arguments: tuple[str, ...]
) -> Session:
    """Runs pytest once over the configured paths and reads what it told. times: pytest-benchmark's too."""
    if not side.interpreter:
        raise EnvironmentFailure(
            f"{side.name} has no Python to run benchmarks with",
            where="suites.benchmarks",
            hint="set target.python",
        )
    with tempfile.TemporaryDirectory(prefix="perf-gate-pytest-") as directory:
        scratch = Scratch(Path(directory))
        command = [
            *(side.interpreter, "-m", "pytest", "-p", _PLUGIN, "-p", "no:cacheprovider"),
            *(f"--perf-gate-record={scratch.record}", f"--perf-gate-storage={scratch.storage}"),
            f"--perf-gate-seed={seed % 2**32}",
            *((f"--benchmark-json={scratch.times}",) if times else ()),
            # Where nothing ran, as in a collection, that file stays away; no reason to fail under -W error.
            *("-W", "ignore:Not saving anything"),
            *_without_coverage(side),
            *(*config.paths, *config.args, *arguments),
        ]
        try:
            environment = _environment(side, scratch, seed)
            status = _execute(command, side, environment, log=log, timeout=config.timeout)
            return _told(scratch, status, home_of(config.paths, side.directory), hidden(side))
        except _Trouble as trouble:
            raise trouble.error(side, config, log) from None


class Scratch:
    """A directory outside the worktree for what goes into pytest and what comes out of it."""

    def __init__(self, root: Path) -> None:
        self.plugins = root / "plugins"
        self.storage = root / "storage"
        self.record = root / "record.jsonl"
        self.times = root / "times.json"
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
    probe = "import importlib.util as u, sys; sys.exit(u.find_spec('pytest_cov') is None)"
    if side.env.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        return ()
    try:
        found = subprocess.run([side.interpreter, "-c", probe], env=side.env, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()  # the run itself will say what is wrong with this interpreter
    return ("--no-cov",) if found.returncode == 0 else ()


class _Trouble(Exception):
    """Why there is no session to read. infrastructure: the environment's fault, not the benchmarks'."""

    def __init__(self, message: str, hint: str, *, infrastructure: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.infrastructure = infrastructure

    def error(self, side: Side, config: Benchmarks, log: Path) -> EnvironmentFailure | MeasurementError:
        kind = EnvironmentFailure if self.infrastructure else MeasurementError
        secrets = hidden(side)
        return kind(
            f"{redact(self.message, secrets)} ({side.name})",
            where=f"pytest {' '.join(config.paths)}",
            hint=self.hint,
            tail=tuple(redact("\n".join(_lines(log)), secrets).splitlines()[-_TAIL:]),
        )


def _execute(command: Sequence[str], side: Side, env: Mapping[str, str], *, log: Path, timeout: float) -> int:
    """Pytest's exit status. Its process group ends with it, with the timeout, and with this process."""
    lifeline, gate = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, gate)
        stack.callback(os.close, lifeline)
        output = stack.enter_context(log.open("ab"))
        # Apart, and joined at the end: what kills pytest stands there, and stdout is flushed after it.
        errors = stack.enter_context(tempfile.TemporaryFile())
        stack.callback(_append, errors, output)
        try:
            process = subprocess.Popen(
                [*command, f"--perf-gate-lifeline={lifeline}"],
                cwd=side.directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                pass_fds=(lifeline,),
            )
        except OSError as error:
            message = f"pytest cannot be started: {error}"
            raise _Trouble(message, "check target.python and target.install", infrastructure=True) from error
        stack.callback(_end, process)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            hint = "raise suites.benchmarks.timeout, or measure fewer benchmarks with paths and args"
            raise _Trouble(f"the benchmarks did not end within {timeout:g} s", hint) from None


def _append(errors: IO[bytes], output: IO[bytes]) -> None:
    errors.seek(0)
    output.seek(0, os.SEEK_END)
    shutil.copyfileobj(errors, output)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole group, also what a test left running."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _told(scratch: Scratch, status: int, home: Path, secrets: Sequence[str]) -> Session:
    """The session as the plugin and pytest-benchmark wrote it down; _Trouble where there is none.

    home: where names begin. secrets: kept out of what the tests say.
    """
    lines = [json.loads(line) for line in _lines(scratch.record)]
    kinds = Counter(line["kind"] for line in lines)
    first = next((line for line in lines if line["kind"] == "pytest"), None)
    if first is None:
        hint = "add pytest and pytest-benchmark to target.install"
        raise _Trouble(f"pytest did not start (status {status})", hint, infrastructure=True)
    if first["inactive"]:
        raise _Trouble(*_INACTIVE[first["inactive"]], infrastructure=True)
    for line in lines:
        if line["kind"] == "error":
            hint = "run the same pytest command in the project"
            said = shown(line["text"], secrets, limit=_SHOWN)
            raise _Trouble(f"{line['id'] or 'a file'} cannot be collected: {said}", hint)
    if not kinds["end"] or status not in _RAN:
        raise _Trouble(f"pytest did not come to its end: {_ending(status)}", "its log ends above")
    if not kinds["test"] and kinds["codspeed"]:
        raise _Trouble(*_FOREIGN)
    if not kinds["test"]:
        raise _Trouble("no benchmark was found", "check suites.benchmarks.paths and args")
    return Session(
        tests=_tests([line for line in lines if line["kind"] == "test"], home),
        outcomes={
            t["id"]: (t["outcome"], shown(t["text"], secrets, limit=_SHOWN))
            for t in lines
            if t["kind"] == "outcome"
        },
        times=dict(_times(scratch.times)),
    )


def _tests(lines: Sequence[Mapping[str, Any]], home: Path) -> dict[Case, Benchmark]:
    found: dict[Case, Benchmark] = {}
    for line in lines:
        test = Benchmark(
            id=line["id"], file=line["file"], names=tuple(line["names"]), parameters=line["parameters"]
        )
        other = found.setdefault(case_of(test, home), test)
        if other.id != test.id:
            raise _Trouble(f"{other.id} and {test.id} would have the same name", "rename one of them")
    return found


def _ending(status: int) -> str:
    if status < 0:
        return f"it was killed by {signal.Signals(-status).name}"
    return f"status {status}"


def _times(path: Path) -> Iterator[tuple[str, tuple[float, ...]]]:
    """(id, seconds per iteration of each round) from pytest-benchmark's own file, if it wrote one."""
    text = path.read_text() if path.exists() else ""
    found: dict[str, Any] = json.loads(text) if text else {}
    for benchmark in found.get("benchmarks", ()):
        yield benchmark["fullname"], tuple(benchmark["stats"]["data"])


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []
