"""Runs inside the project's own pytest: records what became of each benchmark, one JSON object a line.

A single file with nothing beyond the standard library and pytest, copied alone into a directory of
its own under another name, so that nothing of the gate can shadow a module of the project. It must
work with every Python and pytest-benchmark the project may use.

Lines: {"kind": "pytest", ...} versions, and why pytest-benchmark will measure nothing, if so; "test": a
collected benchmark; "codspeed": tests written for pytest-codspeed alone; "error": a file that cannot be
collected; "outcome": of one test; "end": pytest's exit status. `id` is pytest's node id. `text` is
whole: only the gate knows the secrets in it, and hides them before it cuts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("perf-gate")
    group.addoption("--perf-gate-record", help="file to which outcomes are written")
    group.addoption("--perf-gate-storage", help="directory for what pytest-benchmark would write")
    group.addoption("--perf-gate-seed", type=int, default=0, help="for what seeds itself")
    group.addoption("--perf-gate-untimed", action="store_true", help="call each benchmark once")
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
    record = Record(known.perf_gate_record)
    early_config.pluginmanager.register(record, "perf-gate-record")
    if known.perf_gate_lifeline is not None:
        _end_with(known.perf_gate_lifeline)
    inactive = _inactive(known)
    record.write(kind="pytest", pytest=pytest.__version__, inactive=inactive, python=sys.version_info[:2])
    if inactive:
        raise pytest.UsageError("perf-gate: pytest-benchmark is not active here: " + inactive)


def _inactive(known: Any) -> str:
    """Why pytest-benchmark will measure nothing: "absent", "off" or "codspeed"; empty where it will."""
    if importlib.util.find_spec("pytest_benchmark") is None:
        return "absent"
    if not hasattr(known, "benchmark_json"):
        return "off"
    enabled = getattr(known, "codspeed", None)  # with either it takes the fixture over
    return "codspeed" if enabled or (enabled is not None and "CODSPEED_ENV" in os.environ) else ""


def _end_with(descriptor: int) -> None:
    """Kills the whole process group when the gate's end of the pipe closes, however the gate ended."""
    os.set_inheritable(descriptor, False)

    def wait() -> None:
        os.read(descriptor, 1)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=wait, name="perf-gate-lifeline", daemon=True).start()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Settles what would write into the worktree, spread the tests over processes or end the run early.

    Everything else that the project configures stays. Runs before pytest-benchmark reads its options.
    """
    option = config.option
    settled = {
        "benchmark_compare": [],
        "benchmark_compare_fail": [],
        "benchmark_histogram": [],
        "benchmark_csv": [],
        "benchmark_cprofile": None,
        "benchmark_cprofile_dump": [],
        "benchmark_skip": False,
        "benchmark_disable": option.perf_gate_untimed,
        "benchmark_enable": not option.perf_gate_untimed,
        "benchmark_storage": "file://" + option.perf_gate_storage,
        "dist": "no",  # xdist: timing needs the machine to itself
        "tx": [],
        "numprocesses": None,
        "maxfail": 0,  # one failing benchmark must not hide the others
        "randomly_seed": option.perf_gate_seed,  # pytest-randomly: chance is the pair's, order the files'
        "randomly_reorganize": False,
    }
    for name, value in settled.items():
        if hasattr(option, name):
            setattr(option, name, value)
    # Where every benchmark fails or is skipped; a project that makes warnings errors would end here.
    config.addinivalue_line("filterwarnings", "ignore:Not saving anything, no benchmarks")


class Record:
    """Writes the lines; registered under a name, so that there is one of it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._reports: dict[str, list[pytest.TestReport]] = {}

    def write(self, **line: Any) -> None:
        # Opened each time: a crash loses nothing, and a test that forks holds no buffer of ours.
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leaves the benchmarks: other tests have their own run."""
        others = [item for item in items if not _is_benchmark(item)]
        if others:
            if foreign := sum(map(_is_codspeeds, others)):
                self.write(kind="codspeed", tests=foreign)
            config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if _is_benchmark(item)]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """After marks, -k and -m have chosen."""
        for item in session.items:
            names = item.nodeid.partition("::")[2].split("[")[0].split("::")
            callspec = getattr(item, "callspec", None)
            parameters = callspec.id if callspec is not None else ""
            self.write(kind="test", id=item.nodeid, file=_file(item), names=names, parameters=parameters)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.write(kind="error", id=report.nodeid, text=_said(report))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The worst of setup, call and teardown is the outcome; it is known when teardown is over."""
        self._reports.setdefault(report.nodeid, []).append(report)
        if report.when == "teardown":
            outcome, text = _outcome(self._reports.pop(report.nodeid))
            self.write(kind="outcome", id=report.nodeid, outcome=outcome, text=text)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.write(kind="end", status=int(exitstatus))


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
