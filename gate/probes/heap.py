"""Which line of a Python program holds memory: by what it allocated and has not given back.

Evidence for a case whose memory grows or rises, from a pass of its own: `injected` puts the tracer
(`gate.probes.sampler.Heap`) into the program's interpreters, `Heaps.ask` says what was added since the
question before. An allocation counts for the innermost line of the project that led to it: that line made
what stays, though another may hold it. Bytes are Python's own count, exact but for small steps of its pools.
Not seen: memory that C code takes for itself; a program started with -I, -E or -S. Tracing slows a program
two to five times.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from gate.probes import sampler, stacks
from gate.probes.project import Project

PATIENCE = 30.0  # seconds for all processes to answer; to list a large heap takes one or two
_LOOK = 0.01


class Line(NamedTuple):
    """A line of the project; of a template the file alone; nothing for what no line of it led to."""

    file: str
    function: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Bytes by line. kept: held more than at the question before. peak: the same when most was held."""

    kept: Mapping[Line, int]
    peak: Mapping[Line, int]


def injected(env: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The environment in which every Python of a side can be asked. Raises as `stacks.injected` does."""
    return stacks.injected(env, directory) | {sampler.HEAP: "1"}


class Heaps:
    """The interpreters of one side. directory: that of `injected`."""

    def __init__(self, directory: Path, worktree: Path) -> None:
        self._directory = directory
        self._project = Project(worktree)
        self._number = 0

    def ask(self) -> Answer | None:
        """What stays since the last question, all processes together; None where none of them answers.

        The first question begins the tracing, and its answer is empty.
        """
        number = self._number
        self._number += 1
        (self._directory / f"ask-{number}").touch()
        asked = time.monotonic()
        while not (found := self._answers(number)):
            # A process that has just begun writes its first line soon, or never.
            if time.monotonic() - asked > (stacks.SETTLED if found is not None else PATIENCE):
                return None
            time.sleep(_LOOK)
        return Answer(kept=self._summed(found, "heap"), peak=self._summed(found, "peak"))

    def _answers(self, number: int) -> list[list[Any]] | None:
        """The answers of all processes that live; None while one is missing.

        A program that was started by another one in the same process, by exec, has the later file.
        """
        newest: dict[int, Path] = {}
        for path in sorted(self._directory.glob("*-*.jsonl"), key=lambda path: int(path.stem.split("-")[1])):
            newest[int(path.name.partition("-")[0])] = path
        found = []
        for pid, path in newest.items():
            lines = [line for line in _lines(path, number) if line[0] == "note" or line[1:2] == [number]]
            if lines:
                found += lines
            elif psutil.pid_exists(pid):
                return None
        return [line for line in found if line[0] in ("heap", "peak")]

    def _summed(self, answers: Sequence[list[Any]], kind: str) -> dict[Line, int]:
        sums: dict[Line, int] = defaultdict(int)
        for line in answers:
            if line[0] == kind:
                for size, *frames in line[2:]:
                    sums[self._line(frames)] += size
        return dict(sums)

    def _line(self, frames: Sequence[Any]) -> Line:
        for name, line in zip(frames[::2], frames[1::2], strict=True):
            if file := self._project.file(str(name), "/"):
                if not file.endswith(".py"):  # the line is that of what a template was compiled to
                    return Line(file, "", 0, "")
                source = self._project.source(file)
                return Line(file, source.enclosing(line), line, source.text(line))
        return Line("", "", 0, "")


def _lines(path: Path, number: int) -> Iterator[list[Any]]:
    """What a process has written, once it has answered or ended; a line may be half there yet."""
    try:
        data = path.read_bytes()
    except OSError:
        return
    if b'["note",' not in data and b'["heap",%d' % number not in data:
        return
    for text in data.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, list) and line:
            yield line
