"""The endpoints of one pair: served on new clones, counted by a fixed list, timed in turns.

Reading cases first, on rows nobody has changed, then the writing ones; each group is counted before it
is timed, and the count is its warm-up. Nothing is swapped under a live server.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from gate import dataset
from gate.cli.caches import caching, warmth
from gate.cli.prepared import Prepared, Rig
from gate.cli.seen import Account
from gate.config import Pin
from gate.errors import GateError
from gate.experiment import Visits
from gate.explain.headers import kept_by
from gate.model import (
    CPU,
    ERRORS,
    LATENCY,
    MEMORY_GROWTH,
    MEMORY_PEAK,
    METRICS,
    RESPONSE_BYTES,
    SERVICES_CPU,
    Case,
    Evidence,
    Plan,
    PlannedCase,
    RedisServer,
    Route,
    Side,
    SideName,
)
from gate.probes import memory
from gate.probes.cores import move, pinned
from gate.probes.counts import Counter
from gate.probes.cpu import cpu_seconds
from gate.services.process import with_descendants
from gate.suites import endpoints, routes
from gate.suites.endpoints import EndpointWorker
from gate.suites.worker import Mode, WorkerDied
from gate.target.process import Launched, launch, printed, tail

VISITS = 10  # turns a side has at one case in a pair
# Seconds of timed requests a side is to have at one case in a pair; between them and the patience a slow
# endpoint has FEW requests, for a median of fewer is worth little.
SECONDS, PATIENCE, FEW = 0.3, 2.0, 25
FELT = 3  # requests of a warm case that tell how long one takes
PARALLEL = 1.1  # processor seconds per second above which a request keeps more than one core busy

T = TypeVar("T")


class Lost(Exception):
    """A process of a side died: the pair has no base to head any more. tail: the end of its log."""

    def __init__(self, side: SideName, reason: str, tail: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.side = side
        self.reason = reason
        self.tail = tail


class BaseFailed(Exception):
    """Base does not start, or refuses the login. error: as it would be of head, whose end it would be."""

    def __init__(self, error: GateError) -> None:
        super().__init__(error.message)
        self.error = error


@contextmanager
def starting(name: SideName) -> Iterator[None]:
    """Base may be broken in ways that head mends, so that its failures are told apart."""
    try:
        yield
    except GateError as error:
        if name == "base":
            raise BaseFailed(error) from error
        raise


class Data(NamedTuple):
    """What a side may read and write in a pair: a clone and an empty Redis server."""

    database: str
    redis: RedisServer


def fresh_data(
    step: Visits,
    sides: Mapping[SideName, Prepared],
    kind: str,
    *,
    rig: Rig,
    account: Account,
    stack: ExitStack,
) -> dict[SideName, Data]:
    """Every side's own; the stack drops the clones. The first pair's are looked at before.

    All are made at the same time, for each is copied by one core. Raises as `starting`.
    """
    databases: dict[SideName, str] = {name: f"{name}_{step.pair}{kind}" for name in sides}
    servers: dict[SideName, RedisServer] = {}

    def make(name: SideName) -> None:
        running = sides[name].running
        with starting(name):
            dataset.clone(running.postgres, sides[name].sealed, databases[name])
            servers[name] = running.redis(name)

    def drop(name: SideName) -> None:
        dataset.drop(sides[name].running.postgres, databases[name])

    stack.callback(at_once, drop, sides)
    # Left, and so awaited, before anything is dropped: an interrupt may come while a server still copies.
    pool = stack.enter_context(ThreadPoolExecutor())
    _first_failure([pool.submit(make, name) for name in sides])
    if rig.whole and step.pair == 1:
        for name, database in databases.items():
            stack.push(account.stocktaking(sides[name].running.postgres, database, name))
    return {name: Data(databases[name], servers[name]) for name in sides}


def at_once(work: Callable[[SideName], None], names: Iterable[SideName]) -> None:
    """Does it for all names, each in a thread of its own. Raises as `_first_failure`, once all have ended."""
    with ThreadPoolExecutor() as pool:
        doing = [pool.submit(work, name) for name in names]
    _first_failure(doing)


def _first_failure(doing: Iterable[Future[None]]) -> None:
    """Of what fails on both sides the fault is not base's: a full disk is raised as it is of head."""
    failures = [failure for one in doing if (failure := one.exception())]
    if failures:
        raise next((each for each in failures if not isinstance(each, BaseFailed)), failures[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A side while its application answers."""

    prepared: Prepared
    side: Side
    counter: Counter
    log: Path

    @property
    def pids(self) -> tuple[int, ...]:
        """Those there once it was ready, and what they have started since: a server may fork when asked."""
        return tuple(dict.fromkeys(pid for first in self.side.pids for pid in with_descendants(first)))

    @contextmanager
    def blamed(self) -> Iterator[None]:
        try:
            yield
        except WorkerDied as died:
            what = f"the application of {self.side.name} stopped answering while {died.case} was measured"
            raise Lost(self.side.name, what, tail(self.log, self.side)) from died

    def ask(self, visit: Callable[[], T]) -> T:
        with self.blamed():
            return visit()


class _Started(NamedTuple):
    """A side whose application is starting on its own clone."""

    launched: Launched
    data: Data
    log: Path


class EndpointPair:
    """All endpoints of one pair. sides: in the order in which they are started."""

    def __init__(
        self,
        step: Visits,
        sides: Mapping[SideName, Prepared],
        plan: Plan,
        planned: Sequence[PlannedCase],
        *,
        rig: Rig,
        account: Account,
        padding: int,
    ) -> None:
        self.step = step
        self.sides = sides
        self.plan = plan
        self.planned = planned
        self.rig = rig
        self.account = account
        self.padding = padding
        self.peaked: set[tuple[Case, SideName]] = set()
        self.warm: set[tuple[Case, SideName]] = set()

    def measure(self) -> None:
        """Raises Lost where an application stops answering, GateError where it does not start."""
        with ExitStack() as stack:
            with self.rig.clock.phase("start"):
                data = fresh_data(self.step, self.sides, "", rig=self.rig, account=self.account, stack=stack)
                # Both start and end at once, on all cores; nothing is measured then.
                own = {name: ExitStack() for name in self.sides}
                stack.callback(at_once, lambda name: own[name].close(), own)
                started = {name: self._started(name, data[name], own[name]) for name in self.sides}
                served = {name: self._ready(name, each, own[name]) for name, each in started.items()}
                stack.callback(self._release, served)
            with self.account.working():
                for writes in (False, True):
                    group = [p.case for p in self.planned if p.writes is writes]
                    if group:
                        self._group(group, served, writes=writes)
            if self.step.pair == 1 and "head" in served:
                self.account.routes = _routes(served["head"])
            if self.step.pair == 1 and self.step.count:
                with self.rig.clock.phase("count"):
                    for one in served.values():
                        self._warmth(one)

    def _started(self, name: SideName, data: Data, stack: ExitStack) -> _Started:
        prepared = self.sides[name]
        log = prepared.logs / f"{name}-{self.step.pair}.log"
        with starting(name):
            side = prepared.side(prepared.running.postgres, *data, seed=self.step.pair, padding=self.padding)
            launched = stack.enter_context(launch(prepared.config.target, side, log=log))
        return _Started(launched, data, log)

    def _ready(self, name: SideName, started: _Started, stack: ExitStack) -> Served:
        prepared = self.sides[name]
        with starting(name):
            side = started.launched.ready()
            counter = Counter(prepared.running.postgres, *started.data)
            stack.callback(counter.close)
        return Served(prepared=prepared, side=side, counter=counter, log=started.log)

    def _release(self, served: Mapping[SideName, Served]) -> None:
        """To all cores again: on one, two applications would end one after the other."""
        move((pid for one in served.values() for pid in one.pids), self.rig.cores.available)

    def _group(self, group: Sequence[Case], served: Mapping[SideName, Served], *, writes: bool) -> None:
        """Counts the readers or the writers of every side, then times them.

        A writer is timed by the worker that counted it: a value may be good for one write only.
        """
        timed = [case for case in group if case in self.step.timed or case in self.step.alone]
        with ExitStack() as stack:
            workers: dict[SideName, EndpointWorker] = {}
            for name, one in served.items():
                due = [case for case in group if case in self._counted(name)]
                mine = [case for case in timed if case in self.step.cases(name)]
                if due:
                    # Whether a request keeps several cores busy shows only where it may use them.
                    move(one.pids, self.rig.cores.available)
                    workers[name] = self._open(one, due + mine if writes else due, "count", stack)
                    with self.rig.clock.phase("count"):
                        for _ in due:
                            self._count(one, workers[name])
                if mine and not (writes and due):
                    workers[name] = self._open(one, mine, "timing", stack)
            if timed:
                with self.rig.clock.phase("time"):
                    self._time(timed, served, workers)

    def _counted(self, name: SideName) -> tuple[Case, ...]:
        return next((cases for side, cases in self.step.count if side == name), ())

    def _open(self, one: Served, cases: Sequence[Case], mode: Mode, stack: ExitStack) -> EndpointWorker:
        config = one.prepared.config.suites.endpoints
        if config is None:
            raise RuntimeError("cases of a suite that is not configured")
        with one.blamed(), starting(one.side.name):
            worker = endpoints.open_endpoints(
                one.side, config, cases=cases, resolved=self.rig.resolved, seed=self.step.pair, mode=mode
            )
        stack.callback(worker.close)
        return worker

    def _count(self, one: Served, worker: EndpointWorker) -> None:
        """Warm up, look, send the fixed list, look again: the difference is the work of the case."""
        case = _next(worker)
        plan, seen = self.plan, self.account.seen[one.side.name]
        with self.account.warming(), self._peaking(case, one):
            warm = one.ask(lambda: worker.visit(plan.warmup, warmup=True))
        self.warm.add((case, one.side.name))
        before = one.counter.snapshot()
        pids = one.pids + one.prepared.services
        used, started = cpu_seconds(pids), time.monotonic()
        answer = one.ask(lambda: worker.visit(plan.requests))
        seconds, after = time.monotonic() - started, cpu_seconds(pids)
        self.account.measured += sum(answer.values)
        work = one.counter.work(before, one.counter.snapshot(), plan.requests)
        failures = warm.failures + answer.failures
        seen.add(case, ERRORS, [min(1.0, len(failures) / plan.requests)])
        failure = failures[0] if failures else ""
        seen.evidence.append(
            Evidence(
                case=case,
                side=seen.side,
                statements=work.statements,
                commands=work.commands,
                hits=work.hits,
                misses=work.misses,
                evictions=work.evictions,
                caching=None if self._writes(case) else tuple(kept_by(worker.headers).items()),
                failure=failure,
            )
        )
        if answer.failures:
            return  # a failing request does less work; its counts would look like an improvement
        for name, value in work.values.items():
            seen.add(case, METRICS[name], [value])
        seen.add(case, RESPONSE_BYTES, [sum(answer.sizes) / plan.requests])
        parallel = used is not None and after is not None and after - used > PARALLEL * seconds
        self.rig.learned.pins.setdefault(case, "none" if parallel else "one")

    def _writes(self, case: Case) -> bool:
        return any(planned.writes for planned in self.planned if planned.case == case)

    def _warmth(self, one: Served) -> None:
        """What the caches of this side do for its reading cases; its Redis is empty afterwards."""
        config, seen = one.prepared.config.suites.endpoints, self.account.seen[one.side.name]
        readers = {planned.case for planned in self.planned if not planned.writes}
        if config is None or not (cases := caching(seen.evidence, readers)):
            return
        move(one.pids, self.rig.cores.available)
        try:
            found = warmth(cases, one.side, config, counter=one.counter, resolved=self.rig.resolved)
        except (
            WorkerDied
        ) as died:  # of ten requests at once; everything is measured, and nothing hangs on this
            self.rig.clock.notify(f"the application of {one.side.name} did not survive a crowd: {died}")
            return
        seen.evidence = [dataclasses.replace(each, warmth=found.get(each.case)) for each in seen.evidence]

    def _time(
        self,
        timed: Sequence[Case],
        served: Mapping[SideName, Served],
        workers: Mapping[SideName, EndpointWorker],
    ) -> None:
        services = tuple({pid for one in served.values() for pid in one.prepared.services})
        with pinned((0, *services), self.rig.cores.available):
            placed: Pin | None = None
            for case in timed:
                pin = self._pin(case)
                if pin != placed:
                    self._place(pin, served, services)
                    placed = pin
                self.account.look()
                names = tuple(name for name in workers if case in self.step.cases(name))
                self._time_case(case, {name: served[name] for name in names}, workers)

    def _time_case(
        self, case: Case, served: Mapping[SideName, Served], workers: Mapping[SideName, EndpointWorker]
    ) -> None:
        for name in served:
            if _next(workers[name]) != case:
                raise RuntimeError(f"{name} is not at {case}")
        size, visits = self._turns(case, served, workers)
        pids = {name: (one.pids, one.prepared.services) for name, one in served.items()}
        turn = dict.fromkeys(served, 0)
        held = {name: memory.resident(pids[name][0]) for name in served}
        for name in self.account.order(tuple(served), visits):
            seen, worker = self.account.seen[name], workers[name]
            turn[name] += 1
            before = [cpu_seconds(group) for group in pids[name]]
            answer = served[name].ask(lambda worker=worker: worker.visit(size))  # type: ignore[misc]
            after = [cpu_seconds(group) for group in pids[name]]
            seen.add(case, LATENCY, answer.values, visit=turn[name])
            self.account.measured += sum(answer.values)
            for metric, used, then in zip((CPU, SERVICES_CPU), before, after, strict=True):
                if used is not None and then is not None:
                    seen.add(case, metric, [(then - used) / size], visit=turn[name])
            if answer.failures:
                seen.fail(case, len(answer.failures) / size, answer.failures[0])
                return
        for name in served:
            more = memory.grown(held[name], memory.resident(pids[name][0]))
            if more is not None:
                self.account.seen[name].add(case, MEMORY_GROWTH, [more / (size * turn[name])])

    @contextmanager
    def _peaking(self, case: Case, one: Served) -> Iterator[None]:
        """What the first requests of a case take at most; later ones find their memory there already."""
        if (case, one.side.name) in self.peaked:
            yield
            return
        self.peaked.add((case, one.side.name))
        before = memory.resident(one.pids)
        memory.forget_peaks(one.pids)
        yield
        more = memory.grown(before, memory.peak(before))
        if more is not None:
            self.account.seen[one.side.name].add(case, MEMORY_PEAK, [max(0, more)])

    def _turns(
        self, case: Case, served: Mapping[SideName, Served], workers: Mapping[SideName, EndpointWorker]
    ) -> tuple[int, int]:
        """Requests in a visit and visits a side. Warms both sides up, and learns from it how many there are
        time for; every later pair has as many."""
        slowest = 0.0
        # What a process was counted by was its warm-up. Where base's counts are stored, head alone was:
        # readers are then warmed alike, by what they will be timed with.
        warm = {name for name in served if (case, name) in self.warm}
        if len(warm) < len(served) and not self._writes(case):
            warm = set()
        with self.account.warming():
            for name, one in served.items():
                visit = workers[name].visit
                ask = functools.partial(visit, FELT)
                if name not in warm:
                    ask = functools.partial(visit, self.plan.warmup, warmup=True)
                with self._peaking(case, one):
                    answer = one.ask(ask)
                values = sorted(answer.values)
                slowest = max(slowest, values[len(values) // 2] if values else 0.0)
        wanted = self.rig.learned.requests.setdefault(case, requests(slowest, self.plan.rounds))
        size = max(1, wanted // VISITS)
        return size, math.ceil(wanted / size)

    def _pin(self, case: Case) -> Pin:
        config = next(iter(self.sides.values())).config.suites.endpoints
        asked: Pin = (
            next((r.pin for r in config.request if r.name == case.name), "auto") if config else "auto"
        )
        return self.rig.learned.pins.get(case, "one") if asked == "auto" else asked

    def _place(self, pin: Pin, served: Mapping[SideName, Served], services: Sequence[int]) -> None:
        cores = self.rig.cores
        if cores.chosen is None:
            return
        others = tuple(core for core in cores.available if core != cores.chosen) or (cores.chosen,)
        application, rest = {
            "one": ((cores.chosen,), (cores.chosen,)),
            "split": ((cores.chosen,), others),
        }.get(pin, (cores.available, cores.available))
        move((pid for one in served.values() for pid in one.pids), application)
        move((0, *services), rest)


def _routes(head: Served) -> tuple[Route, ...]:
    """What the application has, asked once everything of the pair is measured."""
    config = head.prepared.config.suites.endpoints
    if config is None or config.routes is None:
        return ()
    if config.routes.openapi is not None:
        found = routes.described(head.side, config.routes.openapi, config)
    else:
        what = "suites.endpoints.routes.command"
        log = head.prepared.logs / "routes.log"
        target = head.prepared.config.target
        found = routes.printed(printed(target, head.side, config.routes.command or (), what=what, log=log))
    return routes.measured(found, config)


def requests(seconds: float, most: int) -> int:
    """How many requests of `seconds` each are timed per side and pair; at most `most`, at least 3."""
    if seconds <= 0:
        return most
    few = min(FEW, max(3, int(PATIENCE / seconds)))
    return max(1, min(most, max(few, int(SECONDS / seconds))))


def _next(worker: EndpointWorker) -> Case:
    case = worker.next()
    if case is None:
        raise RuntimeError("the worker ended before its cases did")
    return case
