"""Which lines of an application call functions more often on head, counted while both answer the same."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack

from gate.cli.prepared import Prepared
from gate.cli.watched import Seen, Terms, Watched, asking, serving
from gate.errors import GateError
from gate.explain.called import Caller, more_called
from gate.model import Case, Difference, Explanation, SideName
from gate.probes import calls
from gate.suites.endpoints import EndpointWorker
from gate.suites.worker import WorkerDied

SECONDS = 5.0  # for the requests that make it warm, and for those that are counted
MOST, WIDEST = 10, 200  # lines kept of a case, and their characters


def called(
    cases: Collection[Case],
    sides: Mapping[SideName, Prepared],
    terms: Terms,
    touched: frozenset[str],
) -> list[Explanation]:
    """The lines that call more often, a case; nothing where no interpreter tells, or where an application
    does not bear being slowed down: statements and samples have told already what they could."""
    found: list[Explanation] = []
    with contextlib.suppress(GateError, WorkerDied), ExitStack() as stack:
        watched = serving(sides, "calls", calls.injected, stack)
        asked = {name: calls.Calls(one.directory) for name, one in watched.items()}
        # The requests of the count pass: a call that sends a statement rises by as much as that did.
        workers = {
            name: asking(one, tuple(cases), terms.rig, stack, "count") for name, one in watched.items()
        }
        terms.begun()
        for case in cases:
            if time.monotonic() > terms.deadline:
                break
            for worker in workers.values():  # before anything can fail: both stay at the same case
                worker.next()
            # The first time it begins to count, and so to be slow.
            if any(each.ask() is None for each in asked.values()):
                break
            first = [worker.visit(1, repeat=case not in terms.writes) for worker in workers.values()]
            slowest = max((value for visit in first for value in visit.values), default=0.0)
            warmup, requests = terms.plan.warmup, terms.plan.requests
            warming = max(worker.distinct(max(requests, terms.plan.rounds)) for worker in workers.values())
            if any(visit.failures for visit in first) or slowest * max(warmup, warming) > SECONDS:
                continue
            for name, one in watched.items():
                workers[name].visit(warmup, warmup=True)
                _count(case, one, workers[name], asked[name], requests)
            more = more_called(watched["base"].calls(case), watched["head"].calls(case), touched)
            found.append(Explanation(case=case, calls=tuple(map(_short, more[:MOST]))))
    return found


def _count(case: Case, watched: Watched, worker: EndpointWorker, asked: calls.Calls, requests: int) -> None:
    """What fails does other work: then nothing is kept."""
    asked.ask()
    answer = worker.visit(requests)
    callers = asked.ask()
    if callers is not None and not answer.failures:
        watched.seen[case] = Seen(callers=tuple(_by_requests(callers, requests)))


def _by_requests(callers: Sequence[Caller], requests: int) -> Iterator[Caller]:
    """For one request, without what runs all the time, as a thread that polls does: that is not called while
    calls are counted, and does more the longer it takes."""
    entered = {(each.into, each.name) for each in callers}
    for each in callers:
        if (each.file, each.function) in entered:
            yield each._replace(calls=each.calls / requests)


def _short(call: Difference) -> Difference:
    return dataclasses.replace(call, text=call.text[:WIDEST])
