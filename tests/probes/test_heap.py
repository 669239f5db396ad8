"""What a program holds, by the line that allocated it: real interpreters that are told what to keep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from gate.probes import asked, heap

PROGRAM = """\
import json
import sys

kept = {}
lists = []


def remember(key):
    kept.setdefault(key, "x" * 5000 + str(key))


def gather(count):
    rows = ["y" * 1000 + str(number) for number in range(count)]
    return len(rows)


def parsed(count):
    lists.append(json.loads("[" + ",".join('"%d"' % number for number in range(count)) + "]"))


for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Program:
    def __init__(self, directory: Path, process: subprocess.Popen[str]) -> None:
        self.heaps = heap.Heaps(directory / "heap", directory / "project")
        self.process = process

    def do(self, line: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def ask(self) -> heap.Answer:
        answer = self.heaps.ask()
        assert answer is not None
        return answer


@contextmanager
def started(directory: Path, program: str = PROGRAM) -> Iterator[Program]:
    project = directory / "project"
    project.mkdir()
    (project / "program.py").write_text(program)
    process = subprocess.Popen(
        [sys.executable, "-u", str(project / "program.py")],
        env=heap.injected(dict(os.environ), directory / "heap"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Program(directory, process)
        assert process.stdin
        process.stdin.close()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with started(tmp_path) as program:
        program.do("remember(-1)")
        program.ask()
        yield program


def held(found: dict[heap.Line, int] | object) -> dict[str, int]:
    assert isinstance(found, dict)
    return {line.function: size for line, size in found.items() if line.file == "program.py"}


def test_what_stays_counts_for_its_line(program: Program) -> None:
    program.do("for key in range(40): remember(key)")
    answer = program.ask()
    [line] = [line for line in answer.kept if line.function == "remember"]
    assert line.file == "program.py"
    assert line.text == 'kept.setdefault(key, "x" * 5000 + str(key))'
    assert 40 * 5000 < answer.kept[line] < 40 * 5600


def test_what_is_kept_already_is_not_counted_again(program: Program) -> None:
    program.do("for key in range(40): remember(key)")
    program.ask()
    program.do("for key in range(40): remember(key)")
    assert held(program.ask().kept).get("remember", 0) < 1000


def test_what_is_given_back_is_not_kept(program: Program) -> None:
    program.do("gather(5000)")
    assert held(program.ask().kept).get("gather", 0) < 10_000


def test_the_peak_is_known_though_nothing_stays(program: Program) -> None:
    program.do("gather(200_000)")
    answer = program.ask()
    assert held(answer.peak)["gather"] > 50_000_000
    program.do("gather(10)")
    assert held(program.ask().peak) == {}


def test_a_library_counts_for_the_line_that_called_it(program: Program) -> None:
    program.do("parsed(2000)")
    assert held(program.ask().kept)["parsed"] > 50_000


def test_a_program_that_another_one_became_is_asked(tmp_path: Path) -> None:
    """A launcher that executes the program leaves a file under the same process number."""
    again = "os.execv(sys.executable, [sys.executable, __file__, 'again'])"
    launcher = f"import os, sys\nif len(sys.argv) < 2:\n    {again}\n"
    with started(tmp_path, launcher + PROGRAM) as program:
        program.do("remember(-1)")
        program.ask()
        program.do("for key in range(40): remember(key)")
        assert held(program.ask().kept)["remember"] > 40 * 5000


def test_of_a_template_only_the_file_is_told(program: Program, tmp_path: Path) -> None:
    """Its lines are those of what it was compiled to."""
    page = str(tmp_path / "project" / "page.html")
    (tmp_path / "project" / "page.html").write_text("{{ rows }}")
    program.do(
        f"exec(compile('lists.append([\"z\" * 1000 + str(n) for n in range(100)])', {page!r}, 'exec'))"
    )
    [line] = [line for line in program.ask().kept if line.file == "page.html"]
    assert (line.line, line.function, line.text) == (0, "", "")


def test_workers_that_are_forked_are_asked_too(tmp_path: Path) -> None:
    """Known before its first line runs: who asked too soon would take what it holds already as its start."""
    known = "known = glob.glob(os.environ['PERF_GATE_SAMPLES'] + '/%d-*' % os.getpid())"
    forking = PROGRAM.replace(
        "for line in",
        f"import glob, os\n\nif os.fork():\n    os.wait()\n    sys.exit()\n\n{known}\nfor line in",
    )
    with started(tmp_path, forking) as program:
        program.do("assert known")
        program.do("remember(-1)")
        program.ask()
        program.do("for key in range(40): remember(key)")
        assert held(program.ask().kept)["remember"] > 40 * 5000


def test_a_child_that_became_another_program_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was Python when it was forked, and has no answer to give."""
    monkeypatch.setattr(asked, "LATE", 0.2)
    child = "import os\n\nif not os.fork():\n    os.execvp('sleep', ['sleep', '60'])\n\nfor line in"
    with started(tmp_path, PROGRAM.replace("for line in", child)) as program:
        program.do("remember(-1)")
        program.ask()
        program.do("for key in range(40): remember(key)")
        assert held(program.ask().kept)["remember"] > 40 * 5000
        [child_pid] = [each.pid for each in psutil.Process(program.process.pid).children()]
        os.kill(child_pid, signal.SIGKILL)


def test_no_interpreter_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "heap").mkdir()
    assert heap.Heaps(tmp_path / "heap", tmp_path).ask() is None
