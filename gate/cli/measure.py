"""One pair: fresh sides on new clones, counted and timed in turns, then stopped and dropped."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from gate.cli.benched import BenchmarkPair
from gate.cli.clock import Clock
from gate.cli.prepared import Prepared, Rig
from gate.cli.seen import Account, Seen
from gate.cli.served import EndpointPair, Lost
from gate.experiment import Visits
from gate.model import Case, Evidence, Pair, Plan, PlannedCase, Route, Sample, SideName, Storage
from gate.probes.storage import joined
from gate.suites import benchmarks

_PADDING = 4096  # bytes

Collected = tuple[PlannedCase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one pair gave. A lost pair gave nothing but the reason, the side and the end of its log."""

    pair: Pair
    samples: tuple[Sample, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    storage: tuple[Storage, ...] = ()
    routes: tuple[Route, ...] = ()
    died: SideName | None = None
    tail: tuple[str, ...] = ()


def measure_pair(step: Visits, sides: Mapping[SideName, Prepared], plan: Plan, *, rig: Rig) -> Result:
    """Everything that the sides show in one pair.

    Raises GateError where head does not start, BaseFailed where base does not.
    """
    rng = random.Random(f"{step.stage} {step.pair}")  # noqa: S311 - the experiment's, repeated by the same pair
    names = list(step.sides)
    rng.shuffle(names)
    started = {name: sides[name] for name in names}
    account = Account(
        pair=step.pair,
        rng=rng,
        seen={name: Seen(name, step.pair) for name in names},
        controls=(Seen("base", step.pair), Seen("head", step.pair)),
    )
    padding = rng.randrange(_PADDING)
    wanted = frozenset[Case]().union(*(step.cases(name) for name in names))
    requests, tests = (_of(suite, plan, wanted) for suite in ("endpoints", "benchmarks"))
    before = time.monotonic()
    lost: Lost | None = None
    try:
        if requests:
            EndpointPair(step, started, plan, requests, rig=rig, account=account, padding=padding).measure()
        if tests:
            with ExitStack() as stack:
                BenchmarkPair(
                    step, started, tests, rig=rig, account=account, padding=padding, stack=stack
                ).measure()
    except Lost as error:
        lost = error
    seconds = time.monotonic() - before
    pair = Pair(
        number=step.pair,
        stage=step.stage,
        cases=step.timed,
        seconds=round(seconds, 3),
        start=round(seconds - account.busy, 3),
        warm=round(account.warm, 3),
        measured=round(account.measured, 3),
        lost=lost.reason if lost else "",
    )
    if lost:
        return Result(pair=pair, died=lost.side, tail=lost.tail)
    # The control is judged beside what took turns; where nothing did it has nothing to say.
    controls = account.controls if step.timed else ()
    return Result(
        pair=pair,
        samples=tuple(s for seen in (*account.seen.values(), *controls) for s in seen.samples),
        evidence=tuple(item for seen in account.seen.values() for item in seen.evidence),
        storage=joined(account.storage),
        routes=account.routes,
    )


def _of(suite: str, plan: Plan, wanted: frozenset[Case]) -> list[PlannedCase]:
    return [p for p in plan.cases if p.case in wanted and p.case.suite == suite]


@contextmanager
def collecting(prepared: Prepared, database: str, *, clock: Clock) -> Iterator[Callable[[], Collected]]:
    """The benchmarks of a side, by its own pytest; its code may want a database to be imported.

    They are collected while the block does other things, and awaited by calling.
    """
    config = prepared.config.suites.benchmarks
    if config is None:
        yield tuple
        return
    redis = prepared.running.redis(prepared.name)
    side = prepared.side(prepared.running.postgres, database, redis)
    log = prepared.logs / f"{prepared.name}-collect.log"
    with benchmarks.collecting(side, config, log=log) as collected:

        def awaited() -> Collected:
            with clock.phase("collect"):
                return collected()

        yield awaited
