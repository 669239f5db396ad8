"""What a cache does for a request: the first one after it was emptied, the same again, and ten at once.

Looked at once a run, after everything else of the first pair: it empties the side's Redis.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from gate.config import Endpoints
from gate.errors import MeasurementError
from gate.model import SQL_CALLS, Case, Evidence, Side, Warmth
from gate.probes.counts import Counter
from gate.suites import endpoints
from gate.suites.endpoints import Resolved

CROWD = 10  # requests at once


def caching(evidence: Sequence[Evidence], readers: Collection[Case]) -> tuple[Case, ...]:
    """The reading cases that look into Redis."""
    looking = [seen for seen in evidence if (seen.hits or seen.misses) and not seen.failure]
    return tuple(seen.case for seen in looking if seen.case in readers)


def warmth(
    cases: Sequence[Case], side: Side, config: Endpoints, *, counter: Counter, resolved: Resolved
) -> dict[Case, Warmth]:
    """SQL statements of the first request of each case in each state of the cache.

    What fails without its keys (a session, a queue) is left out. Raises WorkerDied.
    """
    found = {}
    for case in cases:
        try:
            seen = _seen(case, side, config, counter=counter, resolved=resolved)
        except MeasurementError:  # the login, or a counter that was lost: nothing is known
            continue
        if seen is not None:
            found[case] = seen
    return found


def _seen(
    case: Case, side: Side, config: Endpoints, *, counter: Counter, resolved: Resolved
) -> Warmth | None:
    with ExitStack() as stack:

        def opened() -> endpoints.EndpointWorker:
            worker = endpoints.open_endpoints(
                side, config, cases=[case, case], resolved=resolved, seed=0, mode="count"
            )
            stack.callback(worker.close)
            worker.next()
            return worker

        counter.empty_redis()
        worker = opened()
        calls, hits = [], []
        for _ in ("cold", "warm"):  # the same request: a reader's list begins anew at each `next`
            before = counter.snapshot()
            if worker.visit(1).failures:
                return None
            work = counter.work(before, counter.snapshot(), 1)
            calls.append(work.values[SQL_CALLS.name])
            hits.append(work.hits)
            worker.next()
        counter.empty_redis()
        crowd = [opened() for _ in range(CROWD)]
        before = counter.snapshot()
        with ThreadPoolExecutor(CROWD) as pool:
            answers = list(pool.map(lambda one: one.visit(1), crowd))
        if any(answer.failures for answer in answers):
            return None
        cold, warm = calls
        together = counter.work(before, counter.snapshot(), 1).values[SQL_CALLS.name]
        found = max(0.0, hits[1] - hits[0])
        return Warmth(cold=cold, warm=warm, crowd=together, size=CROWD, found=found)
