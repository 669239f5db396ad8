"""Where a Python program spends its time, line by line, and where head spends more than base.

Evidence for a case that got slower, from a pass of its own that is not timed: `injected` puts the sampler
(`gate.probes.sampler`) into the program's interpreters, `read` counts its samples for the requests of one
case, `gained` compares two sides. What a third-party package does counts for the line of the project that
called it. Nothing here decides anything.

Not seen: a program started with -I, -E or -S; what awaits in asyncio or gevent (only their processor time
is); stretches of Python of less than about 50 us between two waits. Watching costs the program 5 to 15 %
of its speed, on both sides.
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import itertools
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gate.explain.profiles import Function, Profile, Spot
from gate.probes import sampler
from gate.probes.project import Project, clean

Window = tuple[float, float]  # CLOCK_MONOTONIC, in seconds, from and to

SETTLED = 0.25  # seconds: what the sampler may keep back before it writes; wait so long before `read`
IDLE = 0.2  # part of an idle window that a thread waits on one stack, which is then nobody's request
MISSED = 2.0  # times: so far apart may samples and clocks be without a caveat
MOST_BYTES = 64_000_000  # read of one process
_NS = 1_000_000_000

_SHIM = '''\
"""Starts perf-gate's sampler, then makes room for the sitecustomize that would have been found without it."""

import os
import sys


def _first():
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        from perf_gate_sampler import start

        start()
    except Exception:  # an interpreter too old for it
        pass
    sys.modules.pop("perf_gate_sampler", None)
    sys.modules.pop("sitecustomize", None)
    sys.path[:] = [path for path in sys.path if path != here]


_first()
import sitecustomize  # noqa: E402, F401
'''


def injected(
    env: Mapping[str, str], directory: Path, *, interval: float = 0.002, cores: Sequence[int] = ()
) -> dict[str, str]:
    """The environment in which every Python of a side leaves samples in `directory`, which is made.

    Children that inherit it are sampled too, so a server's workers are, forked or started anew.
    interval: seconds. cores: where the sampler may run, best not one of the measured ones; it needs no
    right to it, and does without. Raises ValueError where a path cannot stand in PYTHONPATH, OSError
    where it cannot be written.
    """
    hook = directory.absolute() / "hook"
    if os.pathsep in str(hook):
        message = f"not a directory for PYTHONPATH, it holds {os.pathsep!r}: {hook}"
        raise ValueError(message)
    hook.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sampler.__file__, hook / "perf_gate_sampler.py")
    (hook / "sitecustomize.py").write_text(_SHIM, encoding="ascii")
    own = env.get("PYTHONPATH")
    return {
        **env,
        "PYTHONPATH": f"{hook}{os.pathsep}{own}" if own else str(hook),
        sampler.DIRECTORY: str(directory.absolute()),
        sampler.INTERVAL: repr(interval),
        sampler.CORES: ",".join(map(str, cores)),
    }


def read(
    directory: Path, windows: Sequence[Window], worktree: Path, *, requests: int, idle: Sequence[Window]
) -> Profile:
    """What the samples say of one case on one side; an empty profile with a caveat where they say nothing.

    windows: while the case's requests were asked, best one for each visit and with as many requests in
    each. idle: while nothing was asked at all, after the first request, 0.2 s or longer: a stack on which a
    thread waits there is a server's or a pool's own, and what computes there is taken off. The last line
    is written SETTLED seconds after the last request.
    """
    busy, quiet = _merged(windows), _merged(idle)
    seconds = sum(end - start for start, end in busy)
    blank = Profile(requests=requests, seconds=seconds)
    if requests < 1 or not busy:
        return _with(blank, "no request was asked while stacks were sampled")
    processes = [p for p in map(_process, sorted(directory.glob("*-*.jsonl"))) if p is not None]
    if not processes:
        return _with(blank, "no interpreter left samples: not CPython, or started with -I, -E or -S")
    project = Project(worktree)
    counts = _Counts(len(busy))
    for process in processes:
        _count(process, project, busy, quiet, counts)
    notes = dict.fromkeys(p.note for p in processes if p.note)
    caveats = [f"samples of a process end early: {note}" for note in notes]
    if not counts.processes:
        caveats.append("no interpreter was sampled while the requests were asked")
    elif counts.unknown * 2 > counts.samples:
        caveats.append("processor time of threads is not known here: all of it counts as waiting")
    elif counts.clock > MISSED * counts.ran and counts.clock > 0.1:
        caveats.append(
            f"looks found threads computing for {counts.ran:.2f} s, the processor's clock says"
            f" {counts.clock:.2f} s: short stretches between waits, or threads that are not Python's"
        )
    elif counts.ran > MISSED * counts.clock and counts.ran > 0.1:
        caveats.append(
            "the machine was busy: threads that could compute had a core less than half of the time"
        )
    return _profile(blank, counts, tuple(caveats))


def _with(profile: Profile, caveat: str) -> Profile:
    return Profile(requests=profile.requests, seconds=profile.seconds, caveats=(caveat,))


# ---- the samples of one process


class _Code(NamedTuple):
    file: str
    name: str
    module: str
    first: int
    text: str


class _Node(NamedTuple):
    parent: int
    code: int
    line: int


class _Stack(NamedTuple):
    node: int
    span: tuple[int, int, int, int] | None


class _Seen(NamedTuple):
    """A thread on a stack from start to end, seconds.

    fresh: it had moved since the look before; otherwise it was waiting all the time. runs: None: unknown.
    """

    thread: int
    stack: int
    start: float
    end: float
    fresh: bool
    runs: bool | None


@dataclass(slots=True)
class _Process:
    directory: str
    python: tuple[int, ...]
    codes: dict[int, _Code] = field(default_factory=dict)
    nodes: dict[int, _Node] = field(default_factory=dict)
    stacks: dict[int, _Stack] = field(default_factory=dict)
    seen: list[_Seen] = field(default_factory=list)
    ticks: list[tuple[float, float]] = field(default_factory=list)  # time, processor seconds so far
    note: str = ""


def _process(path: Path) -> _Process | None:
    """The samples of a file; lines that are none, cut off or foreign, are left out. None without a head."""
    process: _Process | None = None
    at: dict[int, tuple[int, float]] = {}  # thread: its stack, and until when that is told
    last = 0.0
    for line in _lines(path):
        kind, *rest = line
        if kind == "process" and process is None and rest and isinstance(rest[0], dict):
            process = _Process(str(rest[0].get("directory", "/")), _version(rest[0].get("python")))
        elif process is None:
            continue
        elif kind == "tick":
            last = max(last, _tick(process, rest, at) or 0.0)
        else:
            _define(process, kind, rest)
    if process is None:
        return None
    for thread, (stack, since) in at.items():
        process.seen.append(_Seen(thread, stack, since, last, False, False))
    process.seen = [seen for seen in process.seen if seen.end > seen.start and seen.stack in process.stacks]
    return process


def _lines(path: Path) -> Iterator[list[Any]]:
    with contextlib.suppress(OSError), path.open("rb") as file:
        for line in file.read(MOST_BYTES).splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(line)
                if isinstance(value, list) and value:
                    yield value


def _version(text: object) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,3}", str(text)))[:2]


def _define(process: _Process, kind: object, rest: list[Any]) -> None:
    match kind, rest:
        case "code", [int(number), str(file), str(name), str(module), int(first), str(text)]:
            process.codes[number] = _Code(file, clean(name), clean(module), first, text)
        case "node", [int(number), int(parent), int(code), int(line)] if parent < number:
            process.nodes[number] = _Node(parent, code, line)
        case "stack", [int(number), int(node), None]:
            process.stacks[number] = _Stack(node, None)
        case "stack", [int(number), int(node), [int(a), int(b), int(c), int(d)]]:
            process.stacks[number] = _Stack(node, (a, b, c, d))
        case "note", [str(text)]:
            process.note = text[:200]


def _tick(process: _Process, rest: list[Any], at: dict[int, tuple[int, float]]) -> float | None:
    match rest:
        case [int(time), int(gap), int(used), *threads] if _small(time, gap, used):
            now, before = time / _NS, (time - gap) / _NS
        case _:
            return None
    process.ticks.append((now, used / _NS))
    for entry in threads:
        match entry:
            case [int(thread), int(stack), int(state)]:
                pass
            case _:
                continue
        if thread in at:
            earlier, since = at.pop(thread)
            process.seen.append(_Seen(thread, earlier, since, before, False, False))
        if stack >= 0:
            process.seen.append(_Seen(thread, stack, before, now, True, state > 0 if state >= 0 else None))
            at[thread] = (stack, now)
    return now


def _small(*values: int) -> bool:
    """Numbers that a clock can give; others would not fit a float."""
    return all(abs(value) < 2**63 for value in values)


# ---- whose line it is


class _Place(NamedTuple):
    """A spot before its seconds."""

    file: str
    function: str
    line: int
    text: str
    into: str
    caller: str


def _places(process: _Process, project: Project) -> Callable[[int], _Place | None]:
    """Finds the place of a stack; None for one of no sense. Each is looked for once."""
    known: dict[int, _Place | None] = {}

    def place(number: int) -> _Place | None:
        if number not in known:
            frames = _walk(process, process.stacks[number])
            known[number] = _place(frames, process, project, process.stacks[number].span) if frames else None
        return known[number]

    return place


def _walk(process: _Process, stack: _Stack) -> list[tuple[_Code, int]]:
    """The frames, the innermost first."""
    frames = []
    number = stack.node
    while (node := process.nodes.get(number)) and (code := process.codes.get(node.code)):
        frames.append((code, node.line))
        number = node.parent
    return frames


def _place(
    frames: list[tuple[_Code, int]],
    process: _Process,
    project: Project,
    span: tuple[int, int, int, int] | None,
) -> _Place:
    files = [project.file(code.file, process.directory) for code, _ in frames]
    mine = [index for index, file in enumerate(files) if file]
    if not mine:
        return _Place("", "", 0, "", frames[0][0].module.partition(".")[0], "")
    deepest = mine[0]
    code, line = frames[deepest]
    file = files[deepest]
    function = _function(code, file, process, project)
    source = project.source(file)
    into = _into([c for c, _ in frames[:deepest]]) if deepest else source.called(line, span)
    line = _template_line(code.text, line)
    caller = ""
    for index in mine[1:]:
        outer, at = frames[index]
        name = _function(outer, files[index], process, project)
        if (files[index], name) != (file, function):
            at = _template_line(outer.text, at)
            caller = f"{files[index]}:{at} {name}".rstrip()
            break
    return _Place(file, function, line, source.text(line), into, caller)


_COMPREHENSION = re.compile(r"\.<locals>\.<(?:listcomp|setcomp|dictcomp|genexpr)>(?:$|(?=\.))")


def _function(code: _Code, file: str, process: _Process, project: Project) -> str:
    """The qualified name. A comprehension counts as its function: from 3.12 on it has no frame of its own."""
    if not file.endswith(".py"):
        return ""
    name = code.name
    if process.python < (3, 11):
        name = project.source(file).qualified(code.first, name)
    return _COMPREHENSION.sub("", name)


def _template_line(table: str, line: int) -> int:
    """The line of a Jinja2 template; the code made of it has lines of its own. table: "31=12&35=17"."""
    pairs = re.findall(r"(\d{1,7})=(\d{1,7})", table[:200_000])
    if not pairs:
        return line
    before = [int(template) for template, code in pairs if int(code) <= line]
    return before[-1] if before else 1


def _into(frames: list[_Code]) -> str:
    """What was called, from its frames, the innermost first: "re.compile", "sqlalchemy/psycopg"."""
    outer = frames[-1]
    first = _top(outer)
    others = [top for top in map(_top, frames) if top not in sys.stdlib_module_names and top]
    last = others[0] if others else first
    if first != last:
        return f"{first}/{last}" if first and first not in sys.stdlib_module_names else last
    if first in sys.stdlib_module_names and outer.module == first and outer.name.isidentifier():
        return f"{first}.{outer.name}"
    return outer.module if first in sys.stdlib_module_names else first


def _top(code: _Code) -> str:
    return code.module.partition(".")[0]


# ---- counting


@dataclass(slots=True)
class _Sum:
    """Seconds in the windows: computing, waiting after it had moved, and waiting unmoved."""

    cpu: float = 0.0
    wait: float = 0.0
    still: float = 0.0
    samples: int = 0
    windows_cpu: dict[int, float] = field(default_factory=dict)
    windows_wait: dict[int, float] = field(default_factory=dict)


class _Counts:
    """Over all processes, seconds in the windows. clock: computed, by the processes' clocks; ran: by the
    samples; moved: waited by fresh samples.
    """

    def __init__(self, windows: int) -> None:
        self.windows = windows
        self.places: dict[_Place, _Sum] = collections.defaultdict(_Sum)
        self.clock = self.ran = self.moved = 0.0
        self.processes = self.samples = self.unknown = 0


def _count(
    process: _Process, project: Project, busy: list[Window], quiet: list[Window], counts: _Counts
) -> None:
    if not process.ticks or not _overlap(busy, process.ticks[0][0], process.ticks[-1][0]):
        return
    counts.processes += 1
    counts.clock += _used(process, busy)
    place = _places(process, project)
    resting, taken = _idle(process, quiet)
    ratio = sum(e - s for s, e in busy) / sum(e - s for s, e in quiet) if quiet else 0.0
    worked: dict[int, float] = collections.defaultdict(float)
    for seen in process.seen:
        parts = _overlap(busy, seen.start, seen.end)
        if not parts:
            continue
        spot = place(seen.stack)
        if spot is None:
            continue
        weight = sum(parts.values())
        if seen.fresh:
            counts.samples += 1
            counts.unknown += seen.runs is None
            if seen.runs:
                counts.ran += weight
            else:
                counts.moved += weight
        if not seen.runs and (not spot.file or seen.stack in resting):
            continue
        total = counts.places[spot]
        total.samples += 1
        if seen.runs:
            worked[seen.stack] += weight
            total.cpu += weight
        elif seen.fresh:
            total.wait += weight
        else:
            total.still += weight
        by_window = total.windows_cpu if seen.runs else total.windows_wait
        for window, part in parts.items():
            by_window[window] = by_window.get(window, 0.0) + part
    for stack, seconds in taken.items():
        spot = place(stack)
        if spot in counts.places:
            total = counts.places[spot]
            total.cpu = max(total.cpu - min(seconds * ratio, worked[stack]), 0.0)


def _used(process: _Process, busy: list[Window]) -> float:
    """Processor seconds in the windows; between two ticks as if spread evenly."""
    total = 0.0
    for (since, earlier), (now, later) in itertools.pairwise(process.ticks):
        if now > since and later > earlier:
            total += (later - earlier) * sum(_overlap(busy, since, now).values()) / (now - since)
    return total


def _idle(process: _Process, quiet: list[Window]) -> tuple[set[int], dict[int, float]]:
    """The stacks on which a thread waits while nothing is asked, and the seconds computed on others then."""
    waits: dict[tuple[int, int, int], float] = collections.defaultdict(float)
    works: dict[int, float] = collections.defaultdict(float)
    for seen in process.seen:
        for window, seconds in _overlap(quiet, seen.start, seen.end).items():
            if seen.runs:
                works[seen.stack] += seconds
            else:
                waits[seen.thread, seen.stack, window] += seconds
    resting = {
        stack
        for (_, stack, window), seconds in waits.items()
        if seconds >= IDLE * (quiet[window][1] - quiet[window][0])
    }
    return resting, works


def _merged(windows: Sequence[Window]) -> list[Window]:
    """Without the empty ones, by time, and no moment twice."""
    kept: list[Window] = []
    for start, end in sorted(w for w in windows if w[1] > w[0]):
        if kept and start < kept[-1][1]:
            kept[-1] = (kept[-1][0], max(end, kept[-1][1]))
        else:
            kept.append((start, end))
    return kept


def _overlap(windows: list[Window], start: float, end: float) -> dict[int, float]:
    """Seconds of the stretch in each window that it touches."""
    found = {}
    place = max(bisect.bisect_right(windows, start, key=lambda w: w[0]) - 1, 0)
    for number in range(place, len(windows)):
        low, high = windows[number]
        if low >= end:
            break
        if (part := min(end, high) - max(start, low)) > 0:
            found[number] = part
    return found


def _profile(blank: Profile, counts: _Counts, caveats: tuple[str, ...]) -> Profile:
    computed, waited = _scales(counts)
    step = (counts.ran + counts.moved) / counts.samples if counts.samples else 0.0
    requests = blank.requests
    functions: dict[tuple[str, str], list[_Sum]] = collections.defaultdict(list)
    lines: dict[tuple[str, str, int], list[tuple[_Place, _Sum]]] = collections.defaultdict(list)
    for place, total in counts.places.items():
        name = place.function if place.file else place.into  # by package, outside the project
        functions[place.file, name].append(total)
        lines[place.file, name, place.line].append((place, total))

    def cpu(total: _Sum) -> float:
        return total.cpu * computed

    def wall(total: _Sum) -> float:
        return total.cpu * computed + total.wait * waited + total.still

    def spot(found: list[tuple[_Place, _Sum]]) -> Spot:
        place = max(found, key=lambda pair: wall(pair[1]))[0]
        whole = sum(wall(total) for _, total in found)
        into = _most(((p.into, wall(t)) for p, t in found), whole)
        caller = _most(((p.caller, wall(t)) for p, t in found), 0.0)
        return Spot(
            file=place.file,
            function=place.function if place.file else place.into,
            line=place.line,
            text=place.text,
            into=into,
            caller=caller,
            wall=whole / requests,
            cpu=sum(cpu(total) for _, total in found) / requests,
            samples=sum(total.samples for _, total in found),
        )

    def function(key: tuple[str, str], found: list[_Sum]) -> Function:
        computing = [total.windows_cpu for total in found]
        waiting = [total.windows_wait for total in found]
        error = _Error(blank.seconds, step, counts.windows, requests)
        wait = sum(wall(total) - cpu(total) for total in found)
        worked = sum(map(cpu, found))
        return Function(
            file=key[0],
            function=key[1],
            wall=(worked + wait) / requests,
            cpu=worked / requests,
            wall_error=error(worked + wait, [*computing, *waiting], 1.0),
            cpu_error=error(worked, computing, computed),
            wait_error=error(wait, waiting, 1.0),
            samples=sum(total.samples for total in found),
        )

    spots = [spot(found) for found in lines.values()]
    found = [function(key, totals) for key, totals in functions.items()]
    return Profile(
        requests=requests,
        seconds=blank.seconds,
        cpu=counts.clock / requests,
        processes=counts.processes,
        samples=counts.samples,
        spots=tuple(sorted(spots, key=lambda s: (-s.wall, s.file, s.line))),
        functions=tuple(sorted(found, key=lambda f: (-f.wall, f.file, f.function))),
        caveats=caveats,
    )


def _scales(counts: _Counts) -> tuple[float, float]:
    """What to multiply sampled computing and sampled waiting with, so that they agree with the clocks.

    A look that had to wait for the computing thread finds it at its next wait: the clocks know better how
    much was computed, the samples only where. What they miss is taken from the waits, and no more than
    MISSED: a program may have threads that are not Python's. What they have too much, a thread waited for a
    core; that is left out. Below 20 ms there is too little to tell.
    """
    if counts.ran < 0.02 or counts.clock < 0.02:
        return 1.0, 1.0
    computed = min(counts.clock / counts.ran, MISSED)
    missed = counts.ran * (computed - 1.0)
    waited = 1.0 - missed / counts.moved if counts.moved else 1.0
    return computed, min(max(waited, 0.0), 1.0)


def _most(parts: Iterator[tuple[str, float]] | Any, whole: float) -> str:
    """The text with most seconds; empty where that has less than half of the whole."""
    sums: dict[str, float] = collections.defaultdict(float)
    for text, seconds in parts:
        sums[text] += seconds
    best = max(sums, key=lambda text: (sums[text], text))
    return best if sums[best] * 2 >= whole else ""


class _Error(NamedTuple):
    """Standard errors. seconds: of all windows; step: from tick to tick."""

    seconds: float
    step: float
    windows: int
    requests: int

    def __call__(self, total: float, parts: list[dict[int, float]], scale: float) -> float:
        """Of a sum of seconds, as seconds per request.

        A tick hits or does not: n p (1 - p). The time of a window is known, only the share is sampled, so
        a function that has it all has no error. From 8 windows on what differs from window to window tells
        of more than the sampling, if it is larger.
        """
        share = min(total / self.seconds, 1.0)
        sampled = max(total * (1.0 - share), self.step) * self.step * max(scale, 1.0)
        spread = 0.0
        if self.windows >= 8:
            sums = [sum(part.get(w, 0.0) for part in parts) * scale for w in range(self.windows)]
            mean = sum(sums) / self.windows
            spread = sum((s - mean) ** 2 for s in sums) * self.windows / (self.windows - 1)
        return math.sqrt(max(sampled, spread)) / self.requests
