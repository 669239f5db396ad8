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

# Requests of either kind, the same again and different ones. Of fewer, what is allocated once is too much.
REQUESTS, FEWEST = 50, 4
SECONDS = 3.0  # for them, where one takes long
MOST, WIDEST = 3, 200  # lines of code kept of a case and metric, and their characters


def held(
    cases: Sequence[Case], sides: Mapping[SideName, Prepared], terms: Terms, touched: frozenset[str]
) -> list[Explanation]:
    """Which lines allocate what head holds and base does not, with every allocation traced."""
    with ExitStack() as stack:
        watched = serving(sides, "heap", heap.injected, stack)
        asked = {
            name: _Asked(
                asking(one, cases, terms.rig, stack), heap.Heaps(one.directory, Path(one.side.worktree))
            )
            for name, one in watched.items()
        }
        terms.begun()
        found = []
        for case in cases:
            if time.monotonic() > terms.deadline:
                found.append(_unknown(case, "there was no time left for it"))
                continue
            try:
                kept = _both(asked, writes=case in terms.writes)
            except _Silent as silent:
                found.append(_unknown(case, str(silent)))
            else:
                found.append(Explanation(case=case, holdings=_more_held(kept["base"], kept["head"], touched)))
        return found


class _Silent(Exception):
    """Nothing can be said, and why."""


@dataclass(slots=True)
class _Asked:
    """One side."""

    worker: endpoints.EndpointWorker
    heaps: heap.Heaps
    slowest: float = 0.0  # seconds, of the last requests

    def each(self, requests: int, *, repeat: bool = False) -> heap.Answer:
        """What these requests left and took."""
        visit = self.worker.visit(requests, repeat=repeat)
        if visit.failures:
            raise _Silent(f"requests failed while memory was traced: {visit.failures[0]}")
        self.slowest = max(visit.values, default=0.0)
        return self.ask()

    def ask(self) -> heap.Answer:
        answer = self.heaps.ask()
        if answer is None:
            raise _Silent("no interpreter said what it holds: not CPython, or started with -I, -E or -S")
        return answer


@dataclass(frozen=True, slots=True)
class _Kept:
    """Bytes by line: at the peak of the first requests, and per request that stay, of requests that differ
    and of one that is made again and again; None where that was not asked."""

    peak: Mapping[heap.Line, float]
    differing: Mapping[heap.Line, float] | None
    repeated: Mapping[heap.Line, float] | None


def _both(asked: Mapping[SideName, _Asked], *, writes: bool) -> dict[SideName, _Kept]:
    """Both sides answer as many requests: what is allocated once counts alike. Raises _Silent."""
    peaks, slowest = {}, 0.0
    for one in asked.values():  # before anything can fail: both stay at the same case
        one.worker.next()
    for name, one in asked.items():
        one.ask()
        # The same thing can often not be written twice.
        peaks[name] = one.each(2, repeat=not writes).peak
        slowest = max(slowest, one.slowest)
    count = max(FEWEST, min(REQUESTS, int(SECONDS / slowest))) if slowest else FEWEST
    found = {}
    for name, one in asked.items():
        repeated = differing = None
        different = count
        one.each(count, repeat=not writes)  # what is made once is made now
        if not writes:
            repeated = _shared(one.each(count, repeat=True), count)
            one.worker.visit(1)
            different = one.worker.distinct(count) - 1
            one.ask()
        if different >= FEWEST:
            differing = _shared(one.each(different), different)
        found[name] = _Kept(peaks[name], differing, repeated)
    return found


def _shared(answer: heap.Answer, requests: int) -> dict[heap.Line, float]:
    return {line: size / requests for line, size in answer.kept.items()}


def _unknown(case: Case, why: str) -> Explanation:
    caveat = Caveat(code="not-explained", text=f"which lines hold more memory could not be seen: {why}")
    return Explanation(case=case, caveats=(caveat,))


def _more_held(base: _Kept, head: _Kept, touched: frozenset[str]) -> tuple[Holding, ...]:
    found = []
    differing, again = _gained(base.differing, head.differing), _gained(base.repeated, head.repeated)
    both = bool(differing) and base.repeated is not None
    for metric, more in ((MEMORY_GROWTH, differing or again), (MEMORY_PEAK, _gained(base.peak, head.peak))):
        # What is below a tenth of all explains nothing, and what is below a word per request is chance.
        least = max(8.0, sum(more.values()) / 10)
        largest = sorted(((size, line) for line, size in more.items() if size >= least), reverse=True)
        for size, line in largest[:MOST]:
            found.append(
                Holding(
                    metric=metric.name,
                    file=line.file,
                    function=line.function,
                    line=line.line,
                    text=line.text[:WIDEST],
                    size=size,
                    repeated=again.get(line, 0.0) if both and metric is MEMORY_GROWTH else None,
                    touched=line.file in touched,
                )
            )
    return tuple(found)


def _gained(
    base: Mapping[heap.Line, float] | None, head: Mapping[heap.Line, float] | None
) -> dict[heap.Line, float]:
    """What head holds more than base by line.

    A line is known by its text, for its number moves with others. One whose text is new may be one of base's
    that was reformatted or moved: what base's lost ones held in its function, or else in its file, is taken
    off the line that comes nearest to it.
    """
    if base is None or head is None:
        return {}
    texts: dict[tuple[str, str, str], float] = defaultdict(float)
    for line, size in base.items():
        texts[line.file, line.function, line.text] += size
    more, new = {}, []
    for line, size in head.items():
        key = (line.file, line.function, line.text)
        new += [] if key in texts else [line]
        more[line] = size - texts.pop(key, 0.0)
    for (file, function, _), lost in texts.items():
        near = [line for line in new if line.file == file and line.function == function]
        near = near or [line for line in new if line.file == file]
        if near:
            nearest = min(near, key=lambda line: abs(more[line] - lost))
            more[nearest] -= lost
    return {line: size for line, size in more.items() if size > 0}
