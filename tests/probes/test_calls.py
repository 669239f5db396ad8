"""Which lines call what, and how often: real interpreters that are told what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gate.probes import calls
from gate.probes.calls import Calls

PROGRAM = """\
import asyncio
import sys
import threading


def leaf():
    return 1


def loop(count):
    return sum(leaf() for _ in range(count))


def apart(count):
    for _ in range(count):
        leaf()


def threaded(count):
    threads = [threading.Thread(target=apart, args=(count,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def step(waits):
    for _ in range(waits):
        await asyncio.sleep(0)
    leaf()


async def steps(count, waits):
    for _ in range(count):
        await step(waits)


for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""
PYTHONS = [
    sys.executable,
    *(
        str(python)
        for minor in ("9", "10", "12", "13", "14")
        for python in sorted((Path.home() / ".pyenv/versions").glob(f"3.{minor}.*/bin/python3"))[:1]
    ),
]


class Program:
    def __init__(self, directory: Path, process: subprocess.Popen[str]) -> None:
        self.calls = Calls(directory / "calls")
        self.process = process
        assert self.calls.ask() == ()

    def do(self, line: str) -> dict[tuple[str, str], float]:
        """What the line has called: functions of the program by who called them."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"
        found: dict[tuple[str, str], float] = {}
        for each in self.calls.ask() or ():
            if each.into.endswith("program.py"):
                key = each.function.rpartition(".")[2], each.name
                found[key] = found.get(key, 0) + each.calls
        return found


@contextmanager
def started(directory: Path, program: str = PROGRAM, python: str = sys.executable) -> Iterator[Program]:
    (directory / "program.py").write_text(program)
    process = subprocess.Popen(
        [python, "-u", str(directory / "program.py")],
        env=calls.injected(dict(os.environ), directory / "calls"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin
        process.stdin.write("pass\n")
        process.stdin.flush()
        assert process.stdout
        process.stdout.readline()
        yield Program(directory, process)
        process.stdin.close()


@pytest.fixture(params=PYTHONS)
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    with started(tmp_path, python=request.param) as program:
        yield program


def test_a_line_is_told_with_what_it_calls_and_how_often(program: Program) -> None:
    assert program.do("apart(7)") == {("<module>", "apart"): 1, ("apart", "leaf"): 7}
    assert program.do("apart(2)") == {("<module>", "apart"): 1, ("apart", "leaf"): 2}


def test_the_line_and_the_module_are_known(tmp_path: Path) -> None:
    with started(tmp_path) as program:
        assert program.process.stdin
        program.process.stdin.write("apart(3)\n")
        program.process.stdin.flush()
        assert program.process.stdout
        program.process.stdout.readline()
        [line] = [each for each in program.calls.ask() or () if each.function == "apart"]
        number = PROGRAM[: PROGRAM.index("        leaf()\n")].count("\n") + 1
        assert (line.line, line.module, line.name, line.calls) == (number, "__main__", "leaf", 3)


def test_threads_that_begin_later_are_counted(program: Program) -> None:
    assert program.do("threaded(5)")["apart", "leaf"] == 15


def test_a_generator_counts_once_and_not_at_each_of_its_steps(program: Program) -> None:
    found = program.do("loop(9)")
    assert sum(count for (_, name), count in found.items() if name.endswith("<genexpr>")) == 1
    assert sum(count for (_, name), count in found.items() if name == "leaf") == 9


def test_a_coroutine_counts_as_often_as_it_begins_however_long_it_waits(program: Program) -> None:
    program.do("asyncio.run(steps(1, 3))")
    assert program.do("asyncio.run(steps(4, 2))")["steps", "step"] == 4
    assert program.do("asyncio.run(steps(4, 11))")["steps", "step"] == 4


def test_workers_that_are_forked_are_counted_too(tmp_path: Path) -> None:
    forking = PROGRAM.replace(
        "for line in", "import os\n\nif os.fork():\n    os.wait()\n    sys.exit()\n\nfor line in"
    )
    with started(tmp_path, forking) as program:
        assert program.do("apart(6)")["apart", "leaf"] == 6


def test_no_interpreter_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    assert Calls(tmp_path / "calls").ask() is None
