"""Which lines of code allocate what head holds in memory and base does not."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gate.cli.prepared import Prepared
from gate.cli.watched import Terms, asking, serving
from gate.model import MEMORY_GROWTH, MEMORY_PEAK, Case, Caveat, Explanation, Holding, SideName
from gate.probes import heap
from gate.suites import endpoints
from gate.suites.worker import Visit

REQUESTS = 50  # of either kind, the same again and different ones
SECONDS = 3.0  # for them, where one takes long
MOST, WIDEST = 3, 200  # lines of code kept of a case and metric, and their characters


def held(
    cases: Sequence[Case], sides: Mapping[SideName, Prepared], terms: Terms, touched: frozenset[str]
) -> list[Explanation]:
    """Which lines allocate what head holds and base does not, with every allocation traced."""
    with ExitStack() as stack:
        watched = serving(sides, "heap", heap.injected, stack)
        workers = {name: asking(one, cases, terms.rig, stack) for name, one in watched.items()}
        heaps = {name: heap.Heaps(one.directory, Path(one.side.worktree)) for name, one in watched.items()}
        terms.begun()
        found = []
        for case in cases:
            if time.monotonic() > terms.deadline:
                break
            seen = {}
            for name, worker in workers.items():
                worker.next()
                seen[name] = _holdings(case, worker, heaps[name], writes=case in terms.writes)
            found.append(_more_held(case, seen["base"], seen["head"], touched))
        return found


@dataclass(frozen=True, slots=True)
class _Kept:
    """Bytes by line: at the peak of the first requests, and per request that stay, of requests that differ
    and of one that is made again and again; None where there is one alone."""

    peak: Mapping[heap.Line, float]
    differing: Mapping[heap.Line, float] | None
    repeated: Mapping[heap.Line, float] | None


def _holdings(
    case: Case, worker: endpoints.EndpointWorker, heaps: heap.Heaps, *, writes: bool
) -> _Kept | None:
    """None where no interpreter answers, or requests fail."""
    heaps.ask()
    first = worker.visit(2, repeat=not writes)
    answer = heaps.ask()
    slowest = max(first.values, default=0.0)
    if answer is None or first.failures or not slowest:
        return None
    peak = answer.peak
    count = max(5, min(REQUESTS, int(SECONDS / slowest)))
    repeated = differing = None
    if not writes:  # the same thing can often not be written twice
        worker.visit(count, repeat=True)  # what is made once is made now
        heaps.ask()
        repeated = _each(worker.visit(count, repeat=True), heaps)
        worker.visit(1)
    if writes or (count := worker.distinct(count) - 1):
        differing = _each(worker.visit(count), heaps)
    return _Kept(peak, differing, repeated)


def _each(visit: Visit, heaps: heap.Heaps) -> dict[heap.Line, float] | None:
    """Bytes per request by line; None where one failed: it does other work."""
    answer = heaps.ask()
    if answer is None or visit.failures or not visit.values:
        return None
    return {line: size / len(visit.values) for line, size in answer.kept.items()}


def _more_held(case: Case, base: _Kept | None, head: _Kept | None, touched: frozenset[str]) -> Explanation:
    if base is None or head is None:
        text = "no interpreter said what it holds: not CPython, or started with -I, -E or -S"
        return Explanation(case=case, caveats=(Caveat(code="not-explained", text=text),))
    found = []
    grown = _gained(base.differing, head.differing)
    again = _gained(base.repeated, head.repeated)
    for metric, more in ((MEMORY_GROWTH, grown or again), (MEMORY_PEAK, _gained(base.peak, head.peak))):
        # What is below a tenth of all explains nothing, and what is below a word per request is chance.
        least = max(8.0, sum(more.values()) / 10)
        largest = sorted(((size, line) for line, size in more.items() if size >= least), reverse=True)
        for size, line in largest[:MOST]:
            both = metric is MEMORY_GROWTH and bool(grown) and head.repeated is not None
            found.append(
                Holding(
                    metric=metric.name,
                    file=line.file,
                    function=line.function,
                    line=line.line,
                    text=line.text[:WIDEST],
                    size=size,
                    repeated=again.get(line, 0.0) if both else None,
                    touched=line.file in touched,
                )
            )
    return Explanation(case=case, holdings=tuple(found))


def _gained(
    base: Mapping[heap.Line, float] | None, head: Mapping[heap.Line, float] | None
) -> dict[heap.Line, float]:
    """What head holds more than base by line. A line is known by its text: its number moves with others."""
    if base is None or head is None:
        return {}
    known: dict[tuple[str, str, str], float] = defaultdict(float)
    for line, size in base.items():
        known[line.file, line.function, line.text] += size
    more = {line: size - known.get((line.file, line.function, line.text), 0.0) for line, size in head.items()}
    return {line: size for line, size in more.items() if size > 0}
