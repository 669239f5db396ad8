"""Which line of a Python program holds memory: by what it allocated and has not given back.

Evidence for a case whose memory grows or rises, from a pass of its own: `injected` puts the tracer
(`gate.probes.sampler.Heap`) into the program's interpreters, `Heaps.ask` says what was added since the
question before. An allocation counts for the innermost line of the project that led to it: that line made
what stays, though another may hold it. Bytes are Python's own count, exact but for small steps of its pools.
Not seen: memory that C code takes for itself; a program started with -I, -E or -S. Tracing slows a program
two to five times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gate.probes import sampler, stacks
from gate.probes.asked import Answers
from gate.probes.project import Project


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
    return stacks.injected(env, directory) | {sampler.KIND: "heap"}


class Heaps:
    """The interpreters of one side. directory: that of `injected`."""

    def __init__(self, directory: Path, worktree: Path) -> None:
        self._answers = Answers(directory, "heap")
        self._project = Project(worktree)

    def ask(self) -> Answer | None:
        """What stays since the last question, all processes together; None where none of them answers.

        The first question begins the tracing, and its answer is empty.
        """
        found = self._answers.ask()
        if found is None:
            return None
        return Answer(kept=self._summed(found, "heap"), peak=self._summed(found, "peak"))

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
