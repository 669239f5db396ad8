"""Calls of functions, counted in one iteration of base and of head: which line of the project calls more.

Pure; `gate.suites.benchmarks` has them counted, without error and without a sampler.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gate.model import Difference


class Function(NamedTuple):
    """file: from the root of the worktree, empty outside of it. name: qualified; outside with its module."""

    file: str
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """How often a line calls a function, per iteration. text: the line, stripped."""

    caller: Function
    line: int
    text: str
    callee: Function
    calls: int


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
        if calls <= was * times:
            continue
        line = max(after.lines[caller, callee], key=lambda each: (_added(each, before), -each.line))
        place = f"{caller.file}:{line.line} {caller.name}"
        changed = " (changed here)" if caller.file in touched else ""
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
        self.entered: collections.Counter[Function] = collections.Counter()
        self.between: collections.Counter[tuple[Function, Function]] = collections.Counter()
        self.texts: collections.Counter[tuple[Function, Function, str]] = collections.Counter()
        self.lines: dict[tuple[Function, Function], list[Call]] = collections.defaultdict(list)
        for each in calls:
            self.entered[each.callee] += each.calls
            self.between[each.caller, each.callee] += each.calls
            self.texts[each.caller, each.callee, each.text] += each.calls
            self.lines[each.caller, each.callee].append(each)


def _added(line: Call, before: _Counted) -> int:
    """Base is looked at by the line's text: its number moves with what is written above."""
    return line.calls - before.texts[line.caller, line.callee, line.text]
