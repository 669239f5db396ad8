"""Calls of functions, counted in one iteration of base and of head: which line of the project calls more.

Pure; `gate.suites.benchmarks` and `gate.probes.calls` have them counted, without error and without a sampler.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gate.model import Difference

CHANGED = " (changed here)"


class Function(NamedTuple):
    """file: from the root of the worktree, empty outside of it. name: qualified; outside with its module."""

    file: str
    name: str


class Caller(NamedTuple):
    """A line of `file` and what it calls, as the interpreter names them.

    name, module, into: of the function that is called, and its file. calls: in one call of a benchmark, or
    as long as they were counted.
    """

    file: str
    function: str
    line: int
    into: str
    module: str
    name: str
    calls: float


@dataclass(frozen=True, slots=True)
class Call:
    """How often a line calls a function, per iteration or request. text: the line, stripped."""

    caller: Function
    line: int
    text: str
    callee: Function
    calls: float


def more_called(
    base: Iterable[Call], head: Iterable[Call], touched: Collection[str]
) -> tuple[Difference, ...]:
    """The lines of the project that call a function more often, each time that they are come to.

    So a loop around a function is named, and not all that the function itself goes on to call. Functions of
    the project first, then by calls that were added. None where one side is not known. touched: files that
    the change edits.
    """
    before, after = _Counted(base), _Counted(head)
    if not before.between:
        return ()
    found = []
    for (caller, callee), calls in after.between.items():
        if not caller.file or (caller in after.entered and caller not in before.entered):
            continue  # a new function is told of by the line that calls it
        was = before.between[caller, callee]
        times = after.entered.get(caller, 1) / before.entered.get(caller, 1)
        if calls <= was * times * (1 + 1e-9):
            continue
        line = max(after.lines[caller, callee], key=lambda each: (_added(each, before), -each.line))
        place = f"{caller.file}:{line.line} {caller.name}"
        changed = CHANGED if caller.file in touched else ""
        found.append(
            (
                (not callee.file, was * times - calls, place, callee.name),
                Difference(
                    what="function",
                    text=f"{callee.name}, called at {place}{changed},",
                    measure="calls",
                    before=was,
                    after=calls,
                ),
            )
        )
    return tuple(difference for _, difference in sorted(found, key=lambda pair: pair[0]))


class _Counted:
    """entered: calls of each function. between: of one by another. lines: where those are."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.entered: dict[Function, float] = collections.defaultdict(float)
        self.between: dict[tuple[Function, Function], float] = collections.defaultdict(float)
        self.texts: dict[tuple[Function, Function, str], float] = collections.defaultdict(float)
        self.lines: dict[tuple[Function, Function], list[Call]] = collections.defaultdict(list)
        for each in calls:
            self.entered[each.callee] += each.calls
            self.between[each.caller, each.callee] += each.calls
            self.texts[each.caller, each.callee, each.text] += each.calls
            self.lines[each.caller, each.callee].append(each)


def _added(line: Call, before: _Counted) -> float:
    """Base is looked at by the line's text: its number moves with what is written above."""
    return line.calls - before.texts[line.caller, line.callee, line.text]
