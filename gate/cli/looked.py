"""A look into the cases that got worse: changed plans, and the code that takes longer.

On processes of its own, after everything is measured: sampling and logging plans slow what they watch.
What cannot be looked into is a caveat; it changes no verdict.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gate import dataset
from gate.cli.prepared import Prepared, Rig
from gate.errors import GateError
from gate.model import Case, Caveat, Explanation, Plan, Side, SideName
from gate.probes import stacks
from gate.probes.plans import QueryPlan, changed, explaining, unstable
from gate.suites import benchmarks, endpoints
from gate.suites.worker import WorkerDied
from gate.target.process import launch

CASES = 6  # looked into, those that block first
# Seconds of requests or rounds that a side is sampled at one case: a line that sends a statement shows soon,
# a few per cent of processor time in one function among many do not.
COUNTED, SLOWER = 1.0, 3.0
VISITS = 10  # a side at an endpoint, in turns with the other one
MOST = 1000  # of them at a benchmark, whose rounds are short
REQUESTS = 3  # of which the plans are read
_IDLE = 0.3  # seconds in which nothing is asked, to know a server's own stacks by
_SEED = 1

Window = tuple[float, float]


@dataclass(slots=True)
class _Seen:
    """What one side showed of one case."""

    windows: list[Window] = field(default_factory=list)
    requests: int = 0
    plans: tuple[QueryPlan, ...] = ()


@dataclass(slots=True)
class _Watched:
    """A side that runs with the sampler in it. idle: while nothing was asked of it."""

    prepared: Prepared
    side: Side
    database: str
    samples: Path
    idle: list[Window] = field(default_factory=list)
    seen: dict[Case, _Seen] = field(default_factory=dict)

    @contextmanager
    def window(self, case: Case, requests: int) -> Iterator[None]:
        started = time.monotonic()
        yield
        seen = self.seen.setdefault(case, _Seen())
        seen.windows.append((started, time.monotonic()))
        seen.requests += requests

    def rest(self) -> None:
        started = time.monotonic()
        time.sleep(_IDLE)
        self.idle.append((started, time.monotonic()))

    def profile(self, case: Case) -> stacks.Profile:
        seen = self.seen.get(case, _Seen())
        worktree = Path(self.side.worktree)
        return stacks.read(self.samples, seen.windows, worktree, requests=seen.requests, idle=self.idle)


def look_into(
    cases: Sequence[Case],
    sides: Mapping[SideName, Prepared],
    plan: Plan,
    *,
    rig: Rig,
    slower: frozenset[Case],
    touched: frozenset[str],
) -> tuple[Explanation, ...]:
    """What has changed in the work of these cases.

    sides: both. slower: cases of which it is the time. touched: files that the change edits.
    """
    found: list[Explanation] = []
    todo = {case: SLOWER if case in slower else COUNTED for case in cases}
    for suite, look in (("endpoints", _served), ("benchmarks", _benched)):
        mine = {case: seconds for case, seconds in todo.items() if case.suite == suite}
        if not mine:
            continue
        try:
            with ExitStack() as stack:
                watched = look(mine, sides, plan, rig, stack)
                time.sleep(stacks.SETTLED)
                found += [_explained(case, watched, touched) for case in mine]
        except (GateError, WorkerDied, OSError, ValueError) as error:
            caveat = Caveat(code="not-explained", text=f"the cause could not be looked into: {error}")
            found += [Explanation(case=case, caveats=(caveat,)) for case in mine]
    return tuple(found)


def _explained(case: Case, watched: Mapping[SideName, _Watched], touched: frozenset[str]) -> Explanation:
    base, head = (watched[name].profile(case) for name in ("base", "head"))
    before, after = (watched[name].seen.get(case, _Seen()).plans for name in ("base", "head"))
    shaky = frozenset(unstable(before)) | frozenset(unstable(after))
    notes = dict.fromkeys((*base.caveats, *head.caveats))
    return Explanation(
        case=case,
        plans=tuple(change for change in changed(before, after) if change.fingerprint not in shaky),
        gains=tuple(
            dataclasses.replace(each, touched=each.file in touched) for each in stacks.gained(base, head)
        ),
        caveats=tuple(Caveat(code="stacks", text=note) for note in notes),
    )


def _watching(prepared: Prepared, name: str, rig: Rig, stack: ExitStack) -> _Watched:
    """A side's environment with the sampler, on a clone of its own."""
    server = prepared.running.postgres
    database = stack.enter_context(dataset.cloned(server, prepared.sealed, f"{prepared.name}_{name}"))
    side = prepared.side(server, database, prepared.running.redis(prepared.name), seed=_SEED)
    directory = prepared.logs / f"{prepared.name}-{name}-stacks"
    env = stacks.injected(side.env, directory, cores=rig.cores.available)
    return _Watched(prepared, dataclasses.replace(side, env=env), database, directory)


def _served(
    cases: Mapping[Case, float], sides: Mapping[SideName, Prepared], plan: Plan, rig: Rig, stack: ExitStack
) -> Mapping[SideName, _Watched]:
    watched = {name: _watching(prepared, "look", rig, stack) for name, prepared in sides.items()}
    started = {
        name: stack.enter_context(
            launch(one.prepared.config.target, one.side, log=one.prepared.logs / f"{name}-look.log")
        )
        for name, one in watched.items()
    }
    for name, one in watched.items():
        one.side = started[name].ready()
    workers = {name: _asking(one, tuple(cases), rig, stack) for name, one in watched.items()}
    for case, seconds in cases.items():
        values: list[float] = []
        for worker in workers.values():
            worker.next()
            values += worker.visit(plan.warmup, warmup=True).values
        middle = sorted(values)[len(values) // 2] if values else 0.0
        size = max(1, int(seconds / VISITS / middle)) if middle else 1
        for one in watched.values():
            one.rest()
        for name in _turns(watched, VISITS):
            with watched[name].window(case, size):
                workers[name].visit(size)
    for one in watched.values():
        with explaining(one.prepared.running, one.database) as explainer:
            worker = _asking(one, tuple(cases), rig, stack)
            for case in cases:
                worker.next()
                mark = explainer.mark()
                worker.visit(REQUESTS)
                one.seen.setdefault(case, _Seen()).plans = explainer.since(mark).plans
    return watched


def _asking(one: _Watched, cases: Sequence[Case], rig: Rig, stack: ExitStack) -> endpoints.EndpointWorker:
    config = one.prepared.config.suites.endpoints
    if config is None:
        raise RuntimeError("cases of a suite that is not configured")
    worker = endpoints.open_endpoints(
        one.side, config, cases=cases, resolved=rig.resolved, seed=_SEED, mode="timing"
    )
    stack.callback(worker.close)
    return worker


def _turns(names: Iterable[SideName], visits: int) -> Iterator[SideName]:
    """Base and head as often, each first in half of the turns."""
    for turn in range(visits):
        yield from sorted(names, reverse=bool(turn % 2))


def _benched(
    cases: Mapping[Case, float], sides: Mapping[SideName, Prepared], _: Plan, rig: Rig, stack: ExitStack
) -> Mapping[SideName, _Watched]:
    watched = {name: _watching(prepared, "look_benchmarks", rig, stack) for name, prepared in sides.items()}
    workers = {}
    for name, one in watched.items():
        config = one.prepared.config.suites.benchmarks
        if config is None:
            raise RuntimeError("cases of a suite that is not configured")
        log = one.prepared.logs / f"{name}-look-benchmarks.log"
        workers[name] = benchmarks.open_benchmarks(
            one.side, config, cases=tuple(cases), log=log, seed=_SEED, mode="timing"
        )
        stack.callback(workers[name].close)
    for case, seconds in cases.items():
        terms = rig.learned.terms.get(case)
        for name in sorted(workers):
            workers[name].next()
            terms = workers[name].prepare(terms) or terms
        for one in watched.values():
            one.rest()
        if terms is None or not terms.visits:
            continue
        ended = time.monotonic() + 2 * seconds
        for name in _turns(watched, MOST):
            with watched[name].window(case, terms.rounds * terms.loops):
                workers[name].visit(terms.rounds)
            if name == "head" and time.monotonic() > ended:
                break
        for worker in workers.values():
            worker.finish()
    return watched
