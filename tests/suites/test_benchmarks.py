"""The project's own pytest-benchmark suite, run for real in small projects written here.

PERF_GATE_TEST_PYTHONS may name further interpreters (other pytest-benchmark, xdist, coverage ...),
separated as in PATH; every test then runs with each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gate.config import Benchmarks, Budgets
from gate.errors import ConfigError, EnvironmentFailure, GateError, MeasurementError
from gate.model import Case, Side
from gate.suites.benchmarks import (
    Benchmark,
    BenchmarkWorker,
    case_of,
    check_budgets,
    collect,
    home_of,
    open_benchmarks,
)
from gate.suites.worker import Visit

PYTHONS = [sys.executable, *filter(None, os.environ.get("PERF_GATE_TEST_PYTHONS", "").split(os.pathsep))]
QUICK = ("--benchmark-max-time=0.02", "--benchmark-min-rounds=3", "-p", "no:hypothesispytest")


class Project:
    """A project's directory and the side that is made of it."""

    def __init__(self, root: Path, python: str) -> None:
        self.root = root / "project"
        self.log = root / "pytest.log"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(root), "LANG": "C.UTF-8"}
        self.python = python
        self.write("pytest.ini", "[pytest]\n")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def side(self) -> Side:
        return Side(
            name="head",
            ref="",
            worktree=str(self.root),
            directory=str(self.root),
            interpreter=self.python,
            env=self.env,
            postgres_url="postgresql://app:pgsecret@127.0.0.1/app",
            redis_url="",
        )

    def config(self, *args: str, timeout: float = 60, paths: tuple[str, ...] = ("benchmarks",)) -> Benchmarks:
        return Benchmarks(paths=paths, args=(*QUICK, *args), timeout=timeout)

    def open(self, *args: str, cases=None, seed: int = 1, **config) -> BenchmarkWorker:
        config = self.config(*args, **config)
        return open_benchmarks(self.side, config, cases=cases, log=self.log, seed=seed)

    def run(self, *args: str, **how) -> dict[str, Visit]:
        """Every case's rounds, and its end."""
        found = {}
        with closing(self.open(*args, **how)) as worker:
            while (case := worker.next()) is not None:
                terms = worker.prepare()
                visits = [worker.visit(terms.rounds) for _ in range(terms.visits or 1)]
                ended = worker.finish()
                if not (ended.failures or ended.skipped):
                    ended = Visit(
                        values=tuple(v for visit in visits for v in visit.values),
                        cpu=tuple(v for visit in visits for v in visit.cpu),
                    )
                found[str(case)] = ended
        return found

    def collect(self, *args: str, **config) -> list[str]:
        planned = collect(self.side, self.config(*args, **config), log=self.log)
        return [str(one.case) for one in planned]

    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


@pytest.fixture(params=PYTHONS, ids=lambda path: "own" if path == sys.executable else Path(path).parts[-3])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    return Project(tmp_path, request.param)


ALL_KINDS = """
import pytest

def test_plain(benchmark):
    assert benchmark(sum, [1, 2]) == 3

@pytest.mark.parametrize("size", [10, 100], ids=["small", "large[1]"])
@pytest.mark.benchmark(group="sizes")
def test_grouped(benchmark, size):
    benchmark(list, range(size))

def test_pedantic(benchmark):
    benchmark.pedantic(sorted, setup=lambda: (([3, 1, 2],), {}), rounds=7)

def test_iterations(benchmark):
    benchmark.pedantic(sum, args=([1],), rounds=4, iterations=5)

class TestClass:
    def test_method(self, benchmark):
        benchmark(int)

def test_fails_after_timing(benchmark):
    benchmark(int)
    assert 1 + 1 == 3, "the sum is wrong"

def test_raises(benchmark):
    benchmark(lambda: 1 / 0)

@pytest.fixture
def broken():
    raise RuntimeError("no fixture today")

def test_error(broken, benchmark):
    benchmark(int)

@pytest.mark.skip(reason="not on this machine")
def test_skipped(benchmark):
    benchmark(int)

@pytest.mark.xfail(reason="known to be slow")
def test_xfail(benchmark):
    benchmark(lambda: 1 / 0)

def test_unused(benchmark):
    pass

def test_ordinary():
    raise AssertionError("never to be run")
"""


def test_every_kind_of_benchmark(project):
    """Passing ones have their rounds, failing ones a failure and no time, skipped ones their reason."""
    project.write("benchmarks/test_kinds.py", ALL_KINDS)
    found = project.run()
    assert list(found) == [
        "benchmarks/test_kinds.test_plain",
        "benchmarks/test_kinds.test_grouped[small]",
        "benchmarks/test_kinds.test_grouped[large[1]]",
        "benchmarks/test_kinds.test_pedantic",
        "benchmarks/test_kinds.test_iterations",
        "benchmarks/test_kinds.TestClass.test_method",
        "benchmarks/test_kinds.test_fails_after_timing",
        "benchmarks/test_kinds.test_raises",
        "benchmarks/test_kinds.test_error",
        "benchmarks/test_kinds.test_skipped",
        "benchmarks/test_kinds.test_xfail",
        "benchmarks/test_kinds.test_unused",
    ]
    assert all(str(Case.parse(name)) == name for name in found)
    for name in ("test_plain", "test_grouped[small]", "test_grouped[large[1]]", "TestClass.test_method"):
        visit = found[f"benchmarks/test_kinds.{name}"]
        assert len(visit.values) >= 3
        assert all(0 < value < 0.01 for value in visit.values)
        assert visit.failures == ()
    assert len(found["benchmarks/test_kinds.test_pedantic"].values) == 7
    assert len(found["benchmarks/test_kinds.test_iterations"].values) == 4
    for name, text in (
        ("test_fails_after_timing", "the sum is wrong"),
        ("test_raises", "ZeroDivisionError"),
        ("test_error", "error outside of the test: RuntimeError: no fixture today"),
    ):
        visit = found[f"benchmarks/test_kinds.{name}"]
        assert visit.values == ()
        assert text in visit.failures[0]
    assert "not on this machine" in found["benchmarks/test_kinds.test_skipped"].skipped
    assert "known to be slow" in found["benchmarks/test_kinds.test_xfail"].skipped
    assert found["benchmarks/test_kinds.test_unused"].skipped == "it passed without calling benchmark()"


def test_values_are_seconds_of_one_iteration(project):
    """A round of several iterations gives the time of one."""
    project.write(
        "benchmarks/test_a.py",
        "import time\n"
        "def test_a(benchmark):\n"
        "    benchmark.pedantic(time.sleep, args=(0.01,), rounds=3, iterations=4)\n",
    )
    (visit,) = project.run().values()
    assert all(0.01 <= value < 0.02 for value in visit.values)


def test_collecting_runs_nothing(project):
    """The cases are known without a benchmark being called, in the order of the files."""
    project.write("benchmarks/test_kinds.py", ALL_KINDS + "\nopen('imported', 'a').write('x')\n")
    names = project.collect()
    assert len(names) == 12
    assert names == list(project.run())


def test_the_definition_is_the_test_and_nothing_else(project):
    """Stored values stay usable from run to run; a test in another file is another one."""
    text = "def test_a(benchmark):\n    benchmark(int)\n"
    project.write("benchmarks/test_a.py", text)
    first, again = (collect(project.side, project.config(), log=project.log) for _ in range(2))
    assert first == again
    (planned,) = first
    assert (planned.label, planned.writes) == ("test_a.test_a", False)
    project.write("benchmarks/test_a.py", "")
    project.write("benchmarks/test_b.py", text)
    (moved,) = collect(project.side, project.config(), log=project.log)
    assert str(moved.case) == "benchmarks/test_b.test_a"
    assert moved.definition != planned.definition


def test_nothing_is_written_into_the_worktree(project):
    """No bytecode, cache, storage, histogram or coverage, whatever the project's addopts ask for."""
    project.write(
        "pytest.ini",
        "[pytest]\ncache_dir = .cache\n"
        "addopts = --strict-config --ff --benchmark-autosave --benchmark-histogram\n",
    )
    project.write("benchmarks/helper.py", "VALUE = 1\n")
    project.write("benchmarks/test_a.py", "import helper\ndef test_a(benchmark):\n    benchmark(int)\n")
    before = project.files()
    assert project.run()["benchmarks/test_a.test_a"].values
    project.collect()
    assert project.files() == before


def test_the_projects_own_options_survive(project):
    """Marks, conftest, warnings and addopts of the project decide what is run and how."""
    project.write(
        "pytest.ini",
        "[pytest]\npython_files = bench_*.py\nmarkers = slow: takes long\n"
        "addopts = -m 'not slow' --greet=hello\n",
    )
    project.write(
        "conftest.py",
        "import pytest\n"
        "def pytest_addoption(parser):\n    parser.addoption('--greet')\n"
        "@pytest.fixture\ndef greeting(request):\n    return request.config.getoption('--greet')\n",
    )
    project.write(
        "benchmarks/bench_a.py",
        "import pytest\n"
        "def test_greets(benchmark, greeting):\n    benchmark(int)\n    assert greeting == 'hello'\n"
        "@pytest.mark.slow\ndef test_slow(benchmark):\n    benchmark(int)\n",
    )
    assert list(project.run()) == project.collect() == ["benchmarks/bench_a.test_greets"]
    assert project.run()["benchmarks/bench_a.test_greets"].values
    assert project.collect("-m", "slow") == ["benchmarks/bench_a.test_slow"]


@pytest.mark.parametrize("addopts", ["--benchmark-disable", "--benchmark-skip", "-x", "--maxfail=1"])
def test_options_that_would_hide_benchmarks_are_settled(project, addopts):
    """A project that switches benchmarks off in its ordinary runs, or stops at a failure, is measured."""
    project.write("pytest.ini", f"[pytest]\naddopts = {addopts}\n")
    project.write(
        "benchmarks/test_a.py",
        "def test_a(benchmark):\n    benchmark(lambda: 1 / 0)\ndef test_b(benchmark):\n    benchmark(int)\n",
    )
    found = project.run()
    assert found["benchmarks/test_a.test_a"].failures
    assert found["benchmarks/test_a.test_b"].values


def test_warnings_as_errors_are_no_trouble(project):
    """A project that makes every warning an error can be collected, and can fail and skip as a whole."""
    project.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    project.write(
        "benchmarks/test_a.py",
        "import pytest\n"
        "def test_a(benchmark):\n    benchmark(lambda: 1 / 0)\n"
        "@pytest.mark.skip\ndef test_b(benchmark):\n    benchmark(int)\n",
    )
    assert project.collect() == ["benchmarks/test_a.test_a", "benchmarks/test_a.test_b"]
    found = project.run()
    assert found["benchmarks/test_a.test_a"].failures
    assert found["benchmarks/test_a.test_b"].skipped


def test_the_tail_ends_with_what_ended_pytest(project):
    """An error of pytest itself stands last, after the list of what was collected."""
    project.write("conftest.py", "def pytest_sessionfinish():\n    raise RuntimeError('out of ink')\n")
    tests = "".join(f"def test_{n}(benchmark):\n    benchmark(int)\n" for n in range(30))
    project.write("benchmarks/test_a.py", tests)
    error = failure(project, project.collect)
    assert "pytest did not come to its end" in error.message
    assert any("out of ink" in line for line in error.tail[-3:])


def test_the_seed_is_the_hash_seed_and_the_environment_is_the_sides(project):
    """PYTHONHASHSEED is the pair's; the side's variables and its own PYTHONPATH are there."""
    project.write("lib/mine.py", "VALUE = 1\n")
    project.env |= {"PYTHONPATH": "lib", "MINE": "1"}
    project.write(
        "benchmarks/test_a.py",
        "import mine, os\n"
        "def test_a(benchmark):\n    benchmark(int)\n"
        "    assert (os.environ['PYTHONHASHSEED'], os.environ['MINE']) == ('7', '1')\n",
    )
    assert project.run(seed=7)["benchmarks/test_a.test_a"].values


@pytest.mark.parametrize(
    ("paths", "file", "name"),
    [
        (["benchmarks"], "benchmarks/test_a.py", "test_a.test_x"),
        (["benchmarks/"], "benchmarks/test_a.py", "test_a.test_x"),
        (["benchmarks"], "benchmarks/text/test_a.py", "text.test_a.test_x"),
        (["benchmarks/test_a.py"], "benchmarks/test_a.py", "test_a.test_x"),
        (
            ["benchmarks/test_a.py::test_x", "benchmarks/text"],
            "benchmarks/text/test_a.py",
            "text.test_a.test_x",
        ),
        (["."], "benchmarks/test_a.py", "benchmarks.test_a.test_x"),
        (["one", "two"], "two/test_a.py", "two.test_a.test_x"),
        (["src/one", "./src/two/../two"], "src/two/test_a.py", "two.test_a.test_x"),
        (["../shared"], "../shared/test_a.py", "test_a.test_x"),
        (["/shared"], "../shared/test_a.py", "test_a.test_x"),
        (["one", "/project/two"], "two/test_a.py", "two.test_a.test_x"),
        (["benchmarks"], "more/test_a.py", "more.test_a.test_x"),
    ],
)
def test_the_name_is_the_place_of_the_test(paths, file, name):
    """It follows from the configured paths and the test's own file alone; a class belongs to it."""

    def named(*names: str) -> str:
        test = Benchmark(id="", file=file, names=names, parameters="")
        return case_of(test, home_of(paths, "/project")).name

    assert named("test_x") == name
    assert named("TestK", "test_x") == name.replace("test_x", "TestK.test_x")


def test_another_file_renames_nothing(project):
    """A new benchmark of a name that is taken leaves the old one's alone, or the old one would be missing."""
    text = "def test_scan(benchmark):\n    benchmark(int)\n"
    project.write("benchmarks/test_a.py", text)
    before = project.collect()
    project.write("benchmarks/test_b.py", text)
    project.write("benchmarks/text/test_b.py", text.replace("(int)", "(str)"))
    project.write("benchmarks/__init__.py", "")
    project.write("benchmarks/text/__init__.py", "")
    assert project.collect() == [
        *before,
        "benchmarks/test_b.test_scan",
        "benchmarks/text.test_b.test_scan",
    ]


def test_the_name_does_not_depend_on_pytests_root(project):
    """A pytest.ini further up, whose directory node ids begin at, changes no name."""
    (project.root / "pytest.ini").rename(project.root.parent / "pytest.ini")
    project.write("benchmarks/test_a.py", "def test_a(benchmark):\n    benchmark(int)\n")
    assert project.collect() == ["benchmarks/test_a.test_a"]
    assert project.run()["benchmarks/test_a.test_a"].values


def test_two_benchmarks_of_one_name_are_an_error(project):
    """Where a class is called like a file neither of the two is left out unseen."""
    text = "def test_a(benchmark):\n    benchmark(int)\n"
    project.write("benchmarks/test_x/Test.py", text)
    project.write(
        "benchmarks/test_x.py", "class Test:\n    " + text.replace("(", "(self, ", 1).replace("\n", "\n    ")
    )
    error = failure(project, lambda: project.collect("-o", "python_files=*.py"))
    assert "benchmarks/test_x/Test.py::test_a" in error.message
    assert "benchmarks/test_x.py::Test::test_a" in error.message


@pytest.mark.parametrize(
    ("budget", "nearest"),
    [
        ("test_lyrics.test_tokns", "test_lyrics.test_tokens"),
        ("test_tokens", "test_lyrics.test_tokens"),
        ("test_lyrics.test_tokens[100]", "test_lyrics.test_tokens"),
        ("test_web.test_tokens", "test_lyrics.test_tokens"),
        ("test_page", "test_web.test_page"),
    ],
)
def test_a_budget_of_no_benchmark_names_the_nearest(budget, nearest):
    """A budget that nothing is measured against would hold forever; one that fits is no problem."""
    cases = [
        Case(suite="benchmarks", name="test_lyrics.test_tokens", parameters="100"),
        Case(suite="benchmarks", name="test_lyrics.test_tokens_of_all"),
        Case(suite="benchmarks", name="test_web.test_page"),
    ]
    config = Benchmarks(paths=("benchmarks",), budgets={budget: Budgets(), "test_web.test_page": Budgets()})
    problem = f"suites.benchmarks.budgets: no benchmark {budget!r}; did you mean {nearest!r}?"
    assert check_budgets(config, cases) == (problem,)


def test_collecting_refuses_a_budget_of_no_benchmark(project):
    """The author learns of it before anything is measured."""
    project.write("benchmarks/test_a.py", "def test_scan(benchmark):\n    benchmark(int)\n")
    config = project.config().model_copy(update={"budgets": {"test_a.test_scam": Budgets()}})
    with pytest.raises(ConfigError) as caught:
        collect(project.side, config, log=project.log)
    (problem,) = caught.value.problems
    assert "'test_a.test_scam'; did you mean 'test_a.test_scan'?" in problem


def failure(project: Project, call: Callable[[], object]) -> GateError:
    with pytest.raises(GateError) as error:
        call()
    assert error.value.hint
    assert error.value.where == "pytest benchmarks"
    return error.value


def test_a_file_that_cannot_be_collected_is_named(project):
    """A broken import is a measurement error with the file, the reason and pytest's output."""
    project.write("benchmarks/test_a.py", "def test_a(benchmark):\n    benchmark(int)\n")
    project.write("benchmarks/test_b.py", "import no_such_module\n")
    for call in (project.collect, project.run):
        error = failure(project, call)
        assert isinstance(error, MeasurementError)
        assert "benchmarks/test_b.py cannot be collected" in error.message
        assert "no_such_module" in error.message
        assert error.tail


def test_a_suite_without_benchmarks_is_an_error(project):
    """Nothing to measure is never a pass, whether there are other tests or none or no directory."""
    project.write("benchmarks/test_a.py", "def test_a():\n    pass\n")
    assert "no benchmark was found" in failure(project, project.collect).message
    project.write("benchmarks/test_a.py", "")
    assert "no benchmark was found" in failure(project, project.run).message
    (project.root / "benchmarks/test_a.py").unlink()
    (project.root / "benchmarks").rmdir()
    assert any("benchmarks" in line for line in failure(project, project.run).tail)


def test_a_crash_of_the_interpreter_is_an_error(project):
    """A segmentation fault before the first benchmark ends with its name, in both ways of starting."""
    project.write("benchmarks/test_a.py", "import os\nos.kill(os.getpid(), 11)\n")
    for call in (project.collect, project.run):
        error = failure(project, call)
        assert isinstance(error, MeasurementError)
        assert "killed by SIGSEGV" in error.message


def test_secrets_stay_out_of_the_error(project):
    """What pytest prints of a connection is shown without its password."""
    project.write(
        "benchmarks/test_a.py", "raise RuntimeError('postgresql://app:pgsecret@127.0.0.1/app pgsecret')\n"
    )
    error = failure(project, project.run)
    assert "pgsecret" not in error.message + "".join(error.tail)
    assert "***" in error.message


def test_secrets_stay_out_of_what_a_test_says(project):
    """Failures, errors and reasons of skips reach the report; a secret in them does not, nor its half."""
    project.env["APP_SECRET"] = "envsecret-that-is-rather-long"
    project.write(
        "benchmarks/test_a.py",
        "import os, pytest\n"
        "SAID = 'x' * 260 + ' postgresql://app:pgsecret@127.0.0.1/app ' + os.environ['APP_SECRET']\n"
        "@pytest.fixture\ndef broken():\n    raise RuntimeError(SAID)\n"
        "def test_fails(benchmark):\n    raise RuntimeError(SAID)\n"
        "def test_cut(benchmark):\n    raise RuntimeError('x' * 275 + os.environ['APP_SECRET'])\n"
        "def test_error(broken, benchmark):\n    benchmark(int)\n"
        "def test_skips(benchmark):\n    pytest.skip('no ' + SAID[260:])\n"
        "@pytest.mark.xfail(reason='no ' + SAID[260:])\n"
        "def test_xfails(benchmark):\n    raise RuntimeError(SAID)\n",
    )
    for name, visit in project.run().items():
        (said,) = [*visit.failures, *filter(None, [visit.skipped])]
        assert "env" not in said, name
        assert "pgsec" not in said, name
        assert "***" in said, name


def test_a_timeout_ends_the_whole_group(project):
    """Too long is an error, and what the benchmark started is gone too."""
    project.write(
        "benchmarks/test_a.py",
        "import subprocess\n"
        "def test_a(benchmark):\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    open('pid', 'w').write(str(child.pid))\n"
        "    benchmark(child.wait)\n",
    )
    error = failure(project, lambda: project.run(timeout=3))
    assert "did not end within 3 s" in error.message
    assert ended(int((project.root / "pid").read_text()))


def test_an_interrupt_ends_the_whole_group(project):
    """Ctrl-C gets through while pytest runs, and leaves nothing behind."""
    project.write(
        "benchmarks/test_a.py",
        "import os, time\n"
        "def test_a(benchmark):\n"
        "    open('pid', 'w').write(str(os.getpid()))\n"
        "    benchmark(time.sleep, 60)\n",
    )
    pid = project.root / "pid"

    def interrupt() -> None:
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        project.run()
    assert ended(int(pid.read_text()))


GATE = """
import sys
from pathlib import Path
from gate.config import Benchmarks
from gate.model import Side
from gate.suites.benchmarks import open_benchmarks
root, python = sys.argv[1:]
where = dict(worktree=root, directory=root, interpreter=python)
side = Side(name="head", ref="", env={}, postgres_url="", redis_url="", **where)
log = Path(root + "/../log")
worker = open_benchmarks(side, Benchmarks(paths=("benchmarks",)), cases=None, log=log, seed=1)
worker.next()
worker.prepare()
"""


def test_nothing_outlives_a_gate_that_is_killed(project):
    """SIGKILL of the gate ends pytest and what it started."""
    project.write(
        "benchmarks/test_a.py",
        "import subprocess\n"
        "def test_a(benchmark):\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    open('pid', 'w').write(str(child.pid))\n"
        "    benchmark(child.wait)\n",
    )
    pid = project.root / "pid"
    with subprocess.Popen([sys.executable, "-c", GATE, str(project.root), project.python]) as gate:
        while not (pid.exists() and pid.read_text()):
            assert gate.poll() is None
            time.sleep(0.02)
        gate.kill()
    assert ended(int(pid.read_text()))


def ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie of somebody else, within five seconds."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_missing_pytest_is_the_environments_fault(tmp_path):
    """An interpreter without pytest says what to install; so does none at all."""
    project = Project(tmp_path, "")
    project.write("benchmarks/test_a.py", "def test_a(benchmark):\n    benchmark(int)\n")
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    project.python = str(bare / "bin" / "python")
    error = failure(project, project.run)
    assert isinstance(error, EnvironmentFailure)
    assert "pytest did not start" in error.message
    assert any("No module named pytest" in line for line in error.tail)
    project.python = str(tmp_path / "nothing")
    assert isinstance(failure(project, project.run), EnvironmentFailure)


def test_a_missing_pytest_benchmark_is_the_environments_fault(tmp_path):
    """pytest alone is not enough, and the message says what to install before anything is collected."""
    project = Project(tmp_path, sys.executable)
    project.write("benchmarks/test_a.py", "def test_a(benchmark):\n    benchmark(int)\n")
    # As in an environment without it: neither its entry point nor its module is found.
    project.env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(tmp_path / "first")}
    hiding = "import sys\nsys.modules['pytest_benchmark'] = None\n"
    project.write("../first/sitecustomize.py", hiding)
    error = failure(project, project.collect)
    assert isinstance(error, EnvironmentFailure)
    assert error.message.startswith("pytest-benchmark is not installed")
    assert error.hint == "add pytest-benchmark to target.install"


@pytest.mark.parametrize("way", ["addopts", "autoload"])
def test_an_inactive_pytest_benchmark_is_told_how_to_load(project, way):
    """Where it is installed, installing it is no next step; what the hint says works."""
    project.write("benchmarks/test_a.py", "def test_a(benchmark):\n    benchmark(int)\n")
    if way == "addopts":
        project.write("pytest.ini", "[pytest]\naddopts = -p no:benchmark\n")
    else:
        project.env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    error = failure(project, project.collect)
    assert isinstance(error, EnvironmentFailure)
    assert error.message.startswith("pytest-benchmark is installed but not active")
    assert error.hint.endswith('["-p", "pytest_benchmark.plugin"]')
    assert project.collect("-p", "pytest_benchmark.plugin") == ["benchmarks/test_a.test_a"]


# What pytest-codspeed gives, as far as pytest sees it.
CODSPEED = """
import pytest
def pytest_addoption(parser):
    parser.addoption("--codspeed", action="store_true", default=False)
def pytest_configure(config):
    config.addinivalue_line("markers", "codspeed_benchmark: an entire test")
@pytest.fixture
def codspeed_benchmark():
    return lambda call: call()
"""


def test_a_suite_for_codspeed_alone_is_told_which_fixture_to_use(project):
    """Its own fixture and its marks are not what is timed; beside one benchmark they are other tests."""
    project.write("conftest.py", CODSPEED)
    project.write(
        "benchmarks/test_a.py",
        "import pytest\n"
        "def test_a(codspeed_benchmark):\n    codspeed_benchmark(int)\n"
        "@pytest.mark.codspeed_benchmark\ndef test_b():\n    int()\n",
    )
    error = failure(project, project.collect)
    assert isinstance(error, MeasurementError)
    assert "no benchmark was found: the tests use pytest-codspeed's own fixture" in error.message
    assert "`benchmark` fixture" in error.hint
    project.write("benchmarks/test_c.py", "def test_c(benchmark):\n    benchmark(int)\n")
    assert project.collect() == ["benchmarks/test_c.test_c"]


def test_an_active_codspeed_is_told_how_to_switch_off(project):
    """It would take the fixture over: every benchmark would pass without a time."""
    project.write("plugins/codspeed.py", CODSPEED)
    project.write("benchmarks/test_a.py", "def test_a(benchmark):\n    benchmark(int)\n")
    project.env["PYTHONPATH"] = "plugins"
    assert project.collect("-p", "codspeed") == ["benchmarks/test_a.test_a"]
    error = failure(project, lambda: project.collect("-p", "codspeed", "--codspeed"))
    assert isinstance(error, EnvironmentFailure)
    assert "pytest-codspeed has taken its place" in error.message
    assert "--codspeed" in error.hint
    project.env["CODSPEED_ENV"] = "1"
    assert "its place" in failure(project, lambda: project.collect("-p", "codspeed")).message


def test_a_target_in_another_language_has_no_benchmarks(tmp_path):
    """Without an interpreter the configuration's author is told which key is missing."""
    with pytest.raises(EnvironmentFailure, match="no Python to run benchmarks with"):
        Project(tmp_path, "").run()


def test_what_is_put_on_the_projects_path_shadows_nothing(project):
    """It is one file, whose name no project has."""
    project.write(
        "benchmarks/test_a.py",
        "import pathlib, perf_gate_pytest\n"
        "def test_a(benchmark):\n    benchmark(int)\n"
        "    assert len(list(pathlib.Path(perf_gate_pytest.__file__).parent.iterdir())) == 1\n",
    )
    assert project.run()["benchmarks/test_a.test_a"].failures == ()
