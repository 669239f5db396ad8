"""A look into the cases that got worse: changed plans, and the code that takes longer.

On processes of its own, after everything is measured: sampling and logging plans slow what they watch.
What cannot be looked into is a caveat; it changes no verdict.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from gate import dataset
from gate.cli.prepared import Prepared, Rig
from gate.errors import GateError
from gate.explain.bodies import parts
from gate.explain.plans import QueryPlan, changed, unstable
from gate.explain.profiles import Profile, gained
from gate.model import Case, Caveat, Explanation, Plan, Side, SideName
from gate.probes import stacks
from gate.probes.plans import Explained, explaining
from gate.suites import benchmarks, endpoints
from gate.suites.worker import Visit, WorkerDied
from gate.target.process import launch

CASES = 6  # looked into, those that block first
# Seconds of requests or rounds that a side is sampled at one case: a line that sends a statement shows soon,
# a few per cent of processor time in one function among many do not.
COUNTED, SLOWER = 1.0, 3.0
VISITS = 10  # a side at an endpoint, in turns with the other one
TURNS = 1000  # of them at a benchmark, whose rounds are short
BUDGET = 60.0  # seconds after which no further case of a suite is begun
# Plans and functions kept of a case, and lines and characters of each: a comment has no room for more.
MOST, LONGEST, WIDEST = 3, 60, 200
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
    body: bytes = b""
    missing: str = ""


@dataclass(slots=True)
class _Terms:
    """What every look of a suite shares. deadline: by the monotonic clock, set once everything has started:
    a slow start takes nothing from it."""

    plan: Plan
    rig: Rig
    writes: Collection[Case]
    deadline: float = math.inf

    def begun(self) -> None:
        self.deadline = time.monotonic() + BUDGET


@dataclass(slots=True)
class _Watched:
    """A side that runs with the sampler in it. idle: while nothing was asked of it."""

    prepared: Prepared
    side: Side
    database: str
    samples: Path
    idle: list[Window] = field(default_factory=list)
    seen: dict[Case, _Seen] = field(default_factory=dict)

    def visit(self, case: Case, requests: int, ask: Callable[[], Visit]) -> bool:
        """Ask, and keep when that was. Failing requests do other work, and none at all are no window."""
        started = time.monotonic()
        answer = ask()
        if answer.failures or not answer.values:
            return False
        seen = self.seen.setdefault(case, _Seen())
        seen.windows.append((started, time.monotonic()))
        seen.requests += requests
        return True

    def explained(self, case: Case, found: Explained, body: bytes, missing: str) -> None:
        seen = self.seen.setdefault(case, _Seen())
        seen.plans, seen.body, seen.missing = found.plans, body, missing

    def rest(self) -> None:
        started = time.monotonic()
        time.sleep(_IDLE)
        self.idle.append((started, time.monotonic()))

    def profile(self, case: Case) -> Profile:
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
    writes = {planned.case for planned in plan.cases if planned.writes}
    readers_first = sorted(cases, key=lambda case: case in writes)
    todo = {case: SLOWER if case in slower else COUNTED for case in readers_first}
    for suite, look in (("endpoints", _served), ("benchmarks", _benched)):
        mine = {case: seconds for case, seconds in todo.items() if case.suite == suite}
        if not mine:
            continue
        try:
            with ExitStack() as stack:
                watched = look(mine, sides, _Terms(plan, rig, writes), stack)
                time.sleep(stacks.SETTLED)
                found += [_explained(case, watched, touched) for case in mine]
        except (GateError, WorkerDied, OSError) as error:
            # Not the text of an OSError, which names paths of this machine.
            told = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
            caveat = Caveat(code="not-explained", text=f"the cause could not be looked into: {told}")
            found += [Explanation(case=case, caveats=(caveat,)) for case in mine]
    return tuple(found)


def _explained(case: Case, watched: Mapping[SideName, _Watched], touched: frozenset[str]) -> Explanation:
    base, head = (watched[name].profile(case) for name in ("base", "head"))
    was, now = (watched[name].seen.get(case, _Seen()) for name in ("base", "head"))
    before, after = was.plans, now.plans
    shaky = frozenset(unstable(before)) | frozenset(unstable(after))
    notes = dict.fromkeys(filter(None, (*base.caveats, *head.caveats, was.missing, now.missing)))
    plans = [change for change in changed(before, after) if change.fingerprint not in shaky]
    # After as many requests both are at the same one.
    grown = parts(was.body, now.body) if was.requests == now.requests else ()
    return Explanation(
        case=case,
        plans=tuple(
            dataclasses.replace(change, lines=tuple(line[:WIDEST] for line in change.lines[:LONGEST]))
            for change in plans[:MOST]
        ),
        gains=tuple(
            dataclasses.replace(
                gain, text=gain.text[:WIDEST], caller=gain.caller[:WIDEST], touched=gain.file in touched
            )
            for gain in gained(base, head)[:MOST]
        ),
        parts=tuple(dataclasses.replace(part, text=part.text[:WIDEST]) for part in grown[:MOST]),
        caveats=tuple(Caveat(code="not-explained", text=note) for note in notes),
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
    cases: Mapping[Case, float], sides: Mapping[SideName, Prepared], terms: _Terms, stack: ExitStack
) -> Mapping[SideName, _Watched]:
    plan, rig = terms.plan, terms.rig
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
    terms.begun()
    for case, seconds in cases.items():
        if time.monotonic() > terms.deadline:
            break
        values: list[float] = []
        for worker in workers.values():
            worker.next()
            values += worker.visit(2).values
            if sum(values) * plan.warmup < seconds:  # a slow case is not asked for minutes to be warm
                values += worker.visit(plan.warmup, warmup=True).values
        middle = sorted(values)[len(values) // 2] if values else 0.0
        size = max(1, int(seconds / VISITS / middle)) if middle else 1
        if case in terms.writes:  # a value may be good for one write only
            size = min(size, max(1, plan.rounds // VISITS))
        for one in watched.values():
            one.rest()
        for name in _turns(watched, VISITS):
            if time.monotonic() < terms.deadline:
                watched[name].visit(case, size, functools.partial(workers[name].visit, size))
        for name, one in watched.items():
            with explaining(one.prepared.running, one.database) as explainer:
                mark = explainer.mark()
                workers[name].visit(REQUESTS)
                one.explained(case, explainer.since(mark), workers[name].body, explainer.missing)
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
    cases: Mapping[Case, float], sides: Mapping[SideName, Prepared], terms: _Terms, stack: ExitStack
) -> Mapping[SideName, _Watched]:
    rig = terms.rig
    watched = {name: _watching(prepared, "look_benchmarks", rig, stack) for name, prepared in sides.items()}
    workers = {}
    for name, one in watched.items():
        config = one.prepared.config.suites.benchmarks
        if config is None:
            raise RuntimeError("cases of a suite that is not configured")
        log = one.prepared.logs / f"{name}-look-benchmarks.log"
        workers[name] = benchmarks.open_benchmarks(one.side, config, cases=tuple(cases), log=log, seed=_SEED)
        stack.callback(workers[name].close)
    terms.begun()
    for case, seconds in cases.items():
        if time.monotonic() > terms.deadline:
            break
        called = rig.learned.terms.get(case)
        for name in sorted(workers):
            workers[name].next()
            called = workers[name].prepare(called) or called
        for one in watched.values():
            one.rest()
        if called is None or not called.visits:
            continue
        ended = min(time.monotonic() + 2 * seconds, terms.deadline)
        for name in _turns(watched, TURNS):
            ask = functools.partial(workers[name].visit, called.rounds)
            if not watched[name].visit(case, called.rounds * called.loops, ask) or time.monotonic() > ended:
                break
        for worker in workers.values():
            worker.finish()
    return watched
