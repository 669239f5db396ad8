"""Sampled stacks of base and head beside each other: the functions that take longer, and where.

Pure; `gate.probes.stacks` makes profiles of samples.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping
from dataclasses import dataclass

from gate.model import Gain

SURE = 3.0  # standard errors
RELEVANT = 0.05  # of all gains together
FEWEST = 8  # samples in which a function must have been seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A line of the project, and what was done there.

    file: relative to the worktree, with slashes; empty for code outside the project, which has no line.
    function: qualified name; "" where a template's line says enough. text: the line, stripped.
    into: what the line was waiting for or computing, as called: "re.compile", "time.sleep",
    "sqlalchemy/psycopg"; empty where the line itself computes. caller: the project's line that called the
    function, "library/api/playlists.py:41 show", empty for none.
    wall, cpu: thread seconds per request, and those of them in which the processor worked; the others are
    waits, but none for a core.
    samples: looks that found a thread here.
    """

    file: str
    function: str
    line: int
    text: str = ""
    into: str = ""
    caller: str = ""
    wall: float = 0.0
    cpu: float = 0.0
    samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function of the project, with what it called outside the project. Seconds per request.

    wall_error, cpu_error, wait_error: one standard error of each, from the number of samples, or from the
    differences between windows where those are larger.
    """

    file: str
    function: str
    wall: float
    cpu: float
    wall_error: float
    cpu_error: float
    wait_error: float
    samples: int

    @property
    def wait(self) -> float:
        return self.wall - self.cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where the time of one case went on one side. Spots and functions: most time first.

    requests: how many the windows held. seconds: the windows together. cpu: processor seconds a request of
    the processes that were seen, by their clocks, so without sampling error. processes: that left samples in
    the windows. caveats: why something, or everything, is missing.
    """

    requests: int
    seconds: float
    cpu: float = 0.0
    processes: int = 0
    samples: int = 0
    spots: tuple[Spot, ...] = ()
    functions: tuple[Function, ...] = ()
    caveats: tuple[str, ...] = ()


def gained(base: Profile, head: Profile) -> tuple[Gain, ...]:
    """The functions that take more time a request on head, the largest gain first.

    Compared by file and qualified name; a function that is gone and one that is new with the same name
    elsewhere are taken for one. Left out: what lies within SURE standard errors of nothing, was seen
    in fewer than FEWEST samples, or is below RELEVANT of all gains together.
    """
    if not (base.functions or base.samples) or not head.functions:
        return ()
    before = {(f.file, f.function): f for f in base.functions}
    after = {(f.file, f.function): f for f in head.functions}
    moved = _moved(before, after)
    found = []
    for key, new in after.items():
        old = before.get(moved.get(key, key))
        gain = _gain(old, new, base, head)
        if gain:
            found.append(gain)
    whole = sum(max(g.cpu, g.wait, g.wall) for g in found)
    kept = [g for g in found if max(g.cpu, g.wait) >= RELEVANT * whole]
    return tuple(sorted(kept, key=lambda g: (-max(g.cpu, g.wait), g.file, g.function)))


def _moved(
    before: Mapping[tuple[str, str], Function], after: Mapping[tuple[str, str], Function]
) -> dict[tuple[str, str], tuple[str, str]]:
    """New functions with the gone one of the same last name, where there is only one of each."""

    def by_name(keys: set[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
        named: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)
        for key in keys:
            if key[0]:
                named[key[1].rpartition(".")[2]].append(key)
        return named

    gone = by_name(before.keys() - after.keys())
    new = by_name(after.keys() - before.keys())
    return {
        keys[0]: gone[name][0]
        for name, keys in new.items()
        if name and len(keys) == 1 and len(gone.get(name, ())) == 1
    }


def _gain(old: Function | None, new: Function, base: Profile, head: Profile) -> Gain | None:
    if new.samples < FEWEST:
        return None
    cpu = new.cpu - (old.cpu if old else 0.0)
    wait = new.wait - (old.wait if old else 0.0)
    errors = (
        math.hypot(new.cpu_error, old.cpu_error if old else 0.0),
        math.hypot(new.wait_error, old.wait_error if old else 0.0),
    )
    parts = [(part, error) for part, error in zip((cpu, wait), errors, strict=True) if part > SURE * error]
    if not parts or cpu + wait <= 0:
        return None
    part, error = max(parts)
    spot = _hottest(old, new, base, head, computing=part == cpu)
    return Gain(
        file=new.file,
        function=new.function,
        line=spot.line,
        text=spot.text,
        into=spot.into,
        caller=spot.caller,
        wall=cpu + wait,
        cpu=cpu,
        error=error,
        new=old is None and bool(new.file),
    )


def _hottest(old: Function | None, new: Function, base: Profile, head: Profile, *, computing: bool) -> Spot:
    """Head's line that gained most. Lines are told apart by their text, for their numbers change."""

    def seconds(spot: Spot) -> float:
        return spot.cpu if computing else spot.wall - spot.cpu

    before: dict[str, float] = collections.defaultdict(float)
    if old is not None:
        for spot in base.spots:
            if (spot.file, spot.function) == (old.file, old.function):
                before[spot.text] += seconds(spot)
    mine = [s for s in head.spots if (s.file, s.function) == (new.file, new.function)]
    return max(mine, key=lambda spot: (seconds(spot) - before[spot.text], seconds(spot)))
