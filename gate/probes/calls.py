"""Which line of a Python program calls which function, counted.

Evidence for a case whose work grew, from a pass of its own: `injected` puts the counter
(`gate.probes.sampler.Calls`) into the program's interpreters, `Calls.ask` says what was called since the
question before. Not seen: functions written in C; a program started with -I, -E or -S. Counting
slows a program two to four times.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gate.explain.called import Caller
from gate.probes import sampler, stacks
from gate.probes.asked import Answers


def injected(env: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The environment in which every Python of a side can be asked. Raises as `stacks.injected` does."""
    return stacks.injected(env, directory) | {sampler.KIND: "calls"}


class Calls:
    """The interpreters of one side. directory: that of `injected`."""

    def __init__(self, directory: Path) -> None:
        self._answers = Answers(directory, "calls")

    def ask(self) -> tuple[Caller, ...] | None:
        """What was called since the last question, in all processes and threads; None where none answers.

        The first question begins the counting. Empty where it was too much to be told.
        """
        found = self._answers.ask()
        if found is None:
            return None
        return tuple(Caller(*each) for line in found if line[0] == "calls" for each in line[2:])
