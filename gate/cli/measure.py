"""One visit of one side: clone, start, count and time the cases, stop, drop.

Reading cases first, on rows nobody has changed, then the writing ones. Counting comes before timing
and is its warm-up; a writer is timed only after every writer was counted.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from gate import dataset
from gate.cli.clock import Clock
from gate.config import Config
from gate.errors import MeasurementError
from gate.experiment import Visits
from gate.model import (
    ERRORS,
    LATENCY,
    METRICS,
    RESPONSE_BYTES,
    SKIPPED,
    TIME,
    Case,
    Caveat,
    Evidence,
    Metric,
    Plan,
    PlannedCase,
    Point,
    PostgresServer,
    RedisServer,
    Sample,
    Side,
    SideName,
)
from gate.probes.counts import Counter
from gate.services import Running
from gate.suites import benchmarks, endpoints
from gate.suites.worker import Worker, WorkerDied
from gate.target.environment import Installed
from gate.target.process import prepare, serve, tail

VISIT = 10  # requests between two looks at the clock
CASE_SECONDS = 4.0  # of timing for one case in one pass: slow endpoints give fewer values, not longer runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A side that is installed and, once `template` is set, has its data. logs: where its logs go."""

    name: SideName
    ref: str
    worktree: Path
    config: Config
    installed: Installed
    logs: Path
    environ: Mapping[str, str] = field(repr=False)
    template: dataset.Template | None = None

    @property
    def sealed(self) -> dataset.Template:
        if self.template is None:
            raise RuntimeError("the side has no data yet")
        return self.template

    def side(self, server: PostgresServer, database: str, redis: RedisServer, *, seed: int = 0) -> Side:
        """The side on one database and one Redis, with its files and environment written anew."""
        return prepare(
            self.config.target,
            name=self.name,
            ref=self.ref,
            worktree=self.worktree,
            installed=self.installed,
            postgres_url=server.url(database),
            redis_url=redis.url,
            seed=seed,
            environ=self.environ,
        )


@dataclass(frozen=True, slots=True)
class Rig:
    """What every visit needs that is the same for all of them."""

    running: Running
    clock: Clock


class Seen:
    """Collects the points of one pass."""

    def __init__(self, side: SideName, pair: int) -> None:
        self.side = side
        self.pair = pair
        self._points: dict[tuple[Case, str], list[Point]] = {}
        self._caveats: dict[Case, tuple[Caveat, ...]] = {}
        self.evidence: list[Evidence] = []

    def add(self, case: Case, metric: Metric, values: Sequence[float], *, skipped: str = "") -> None:
        if skipped:
            self._caveats[case] = (Caveat(code=SKIPPED, text=skipped),)
        points = self._points.setdefault((case, metric.name), [])
        start = len(points)
        points += [
            Point(pair=self.pair, visit=1, position=start + i, value=value)
            for i, value in enumerate(values, 1)
        ]

    def fail(self, case: Case, share: float, failure: str) -> None:
        """Requests of a case that was counted without them have failed: the case fails in this pass."""
        points = self._points[case, ERRORS.name]
        points[-1] = points[-1]._replace(value=max(points[-1].value, share))
        self.evidence = [
            dataclasses.replace(one, failure=one.failure or failure) if one.case == case else one
            for one in self.evidence
        ]

    @property
    def samples(self) -> tuple[Sample, ...]:
        return tuple(
            Sample(
                case=case,
                metric=METRICS[name],
                side=self.side,
                points=tuple(points),
                caveats=self._caveats.get(case, ()),
            )
            for (case, name), points in self._points.items()
        )


def visit(
    step: Visits,
    cases: tuple[Case, ...],
    prepared: Prepared,
    plan: Plan,
    *,
    rig: Rig,
    resolved: endpoints.Resolved,
    deadline: float,
) -> tuple[tuple[Sample, ...], tuple[Evidence, ...]]:
    """Everything one side shows in one pass. deadline: of `time.monotonic`, after which nothing is timed."""
    seen = Seen(prepared.name, step.pair)
    wanted = [planned for planned in plan.cases if planned.case in cases]
    requests = [planned for planned in wanted if planned.case.suite == "endpoints"]
    tests = [planned for planned in wanted if planned.case.suite == "benchmarks"]
    if requests:
        _visit_endpoints(seen, requests, prepared, plan, step, rig, resolved, deadline)
    if tests:
        _visit_benchmarks(seen, tests, prepared, step, rig)
    return seen.samples, tuple(seen.evidence)


def _visit_endpoints(
    seen: Seen,
    planned: list[PlannedCase],
    prepared: Prepared,
    plan: Plan,
    step: Visits,
    rig: Rig,
    resolved: endpoints.Resolved,
    deadline: float,
) -> None:
    config = prepared.config.suites.endpoints
    if config is None:
        return
    server = rig.running.postgres
    readers = tuple(p.case for p in planned if not p.writes)
    writers = tuple(p.case for p in planned if p.writes)
    name = prepared.name
    with dataset.cloned(server, prepared.sealed, f"{name}_{step.pair}") as database:
        redis = rig.running.redis(name)
        side = prepared.side(server, database, redis, seed=step.pair)
        log = prepared.logs / f"{name}-{step.pair}.log"
        with ExitStack() as stack:
            with rig.clock.phase("start"):
                live = stack.enter_context(serve(prepared.config.target, side, log=log))
            counter = stack.enter_context(closing(Counter(server, database, redis)))
            order = readers + readers + writers + writers
            try:
                worker = endpoints.open_endpoints(
                    live, config, cases=order, resolved=resolved, seed=step.pair
                )
                stack.callback(worker.close)
                for group in (readers, writers):
                    with rig.clock.phase("count"):
                        for _ in group:
                            _count(seen, worker, counter, plan)
                    with rig.clock.phase("time"):
                        for _ in group:
                            _time(seen, worker, step.rounds, deadline)
            except WorkerDied as died:
                raise MeasurementError(
                    f"the application stopped answering while {died.case} was measured on {name}",
                    where=f"pass {step.pair}",
                    tail=tail(log, side),
                    hint="its log ends above; run it by hand with the same request",
                ) from died


def _count(seen: Seen, worker: Worker, counter: Counter, plan: Plan) -> None:
    """Warm up, look, send the fixed list, look again: the difference is the work of the case."""
    case = _next(worker)
    warm = worker.visit(plan.warmup, warmup=True)
    before = counter.snapshot()
    answer = worker.visit(plan.requests)
    work = counter.work(before, counter.snapshot(), plan.requests)
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
            failure=failure,
        )
    )
    if answer.failures:
        return  # a failing request does less work; its counts would look like an improvement
    for name, value in work.values.items():
        seen.add(case, METRICS[name], [value])
    seen.add(case, RESPONSE_BYTES, [sum(answer.sizes) / plan.requests])


def _time(seen: Seen, worker: Worker, rounds: int, deadline: float) -> None:
    case = _next(worker)
    until = min(deadline, time.monotonic() + CASE_SECONDS)
    done = 0
    while done < rounds and time.monotonic() < until:
        answer = worker.visit(min(VISIT, rounds - done))
        seen.add(case, LATENCY, answer.values)
        if answer.failures:
            seen.fail(case, len(answer.failures) / rounds, answer.failures[0])
            return
        done += VISIT


def _next(worker: Worker) -> Case:
    case = worker.next()
    if case is None:
        raise RuntimeError("the worker ended before its cases did")
    return case


def _visit_benchmarks(
    seen: Seen, planned: list[PlannedCase], prepared: Prepared, step: Visits, rig: Rig
) -> None:
    config = prepared.config.suites.benchmarks
    if config is None:
        return
    server = rig.running.postgres
    name = prepared.name
    wanted = {p.case for p in planned}
    with (
        rig.clock.phase("benchmarks"),
        dataset.cloned(server, prepared.sealed, f"{name}_{step.pair}_benchmarks") as database,
    ):
        redis = rig.running.redis(name)
        side = prepared.side(server, database, redis, seed=step.pair)
        log = prepared.logs / f"{name}-{step.pair}-benchmarks.log"
        worker = benchmarks.open_benchmarks(side, config, log=log, seed=step.pair, mode="timing")
        try:
            while (case := worker.next()) is not None:
                if case in wanted:
                    answer = worker.visit(0)
                    seen.add(case, ERRORS, [float(bool(answer.failures))], skipped=answer.skipped)
                    if answer.values:
                        seen.add(case, TIME, answer.values)
                    if answer.failures:
                        seen.evidence.append(Evidence(case=case, side=seen.side, failure=answer.failures[0]))
        finally:
            worker.close()


def collect_benchmarks(prepared: Prepared, *, rig: Rig) -> tuple[PlannedCase, ...]:
    """The benchmarks of a side, by its own pytest; its code may want a database to be imported."""
    config = prepared.config.suites.benchmarks
    if config is None:
        return ()
    server = rig.running.postgres
    name = prepared.name
    with (
        rig.clock.phase("collect"),
        dataset.cloned(server, prepared.sealed, f"{name}_collect") as database,
    ):
        redis = rig.running.redis(name)
        side = prepared.side(server, database, redis)
        return benchmarks.collect(side, config, log=prepared.logs / f"{name}-collect.log")
