"""What one pair collects: values as samples of a side, evidence, and where the time went."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from gate.experiment import turns
from gate.model import (
    ERRORS,
    METRICS,
    SKIPPED,
    TIME,
    Case,
    Caveat,
    Evidence,
    Kind,
    Metric,
    Point,
    PostgresServer,
    Route,
    Sample,
    SideName,
    Storage,
)
from gate.probes.storage import storage
from gate.timing import CONTROL

_WORK = tuple((i * 7919) % 10_007 for i in range(20_000))  # about 3 ms to sort


class Seen:
    """The points of one side in one pair."""

    def __init__(self, side: SideName, pair: int) -> None:
        self.side = side
        self.pair = pair
        self._points: dict[tuple[Case, str], list[Point]] = {}
        self._caveats: dict[Case, tuple[Caveat, ...]] = {}
        self.evidence: list[Evidence] = []

    def add(
        self, case: Case, metric: Metric, values: Sequence[float], *, visit: int = 1, skipped: str = ""
    ) -> None:
        if skipped:
            self._caveats[case] = (Caveat(code=SKIPPED, text=skipped),)
        points = self._points.setdefault((case, metric.name), [])
        start = len(points)
        points += [Point(self.pair, visit, start + i, value) for i, value in enumerate(values, 1)]

    def fail(self, case: Case, share: float, failure: str) -> None:
        """Some of a case failed: it fails in this pair, however well it was counted before."""
        points = self._points.setdefault((case, ERRORS.name), [Point(self.pair, 1, 1, 0.0)])
        points[-1] = points[-1]._replace(value=max(points[-1].value, share))
        if not any(one.case == case for one in self.evidence):
            self.evidence.append(Evidence(case=case, side=self.side, failure=failure))
        self.evidence = [
            dataclasses.replace(one, failure=one.failure or failure) if one.case == case else one
            for one in self.evidence
        ]

    def withdraw(self, case: Case) -> None:
        """What a case was counted by, for it has failed since."""
        self._points = {
            (each, name): points
            for (each, name), points in self._points.items()
            if each != case or name == ERRORS.name or METRICS[name].kind is not Kind.EXACT
        }

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


@dataclass(slots=True)
class Account:
    """One pair's chance, its points, and seconds: at its cases in all, of it warming up, and timed."""

    pair: int
    rng: random.Random
    seen: dict[SideName, Seen]
    controls: tuple[Seen, Seen]
    storage: list[tuple[Storage, ...]] = field(default_factory=list)
    routes: tuple[Route, ...] = ()
    busy: float = 0.0
    warm: float = 0.0
    measured: float = 0.0
    _looks: int = field(default=0)

    def stocktaking(self, server: PostgresServer, database: str, side: SideName) -> Callable[..., None]:
        """For the exit of a pair, between the end of what used the clone and that of the clone itself."""

        def taken(failed: type[BaseException] | None, *_: object) -> None:
            if failed is None:
                self.storage.append(storage(server, database, side))

        return taken

    @contextmanager
    def working(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.busy += time.monotonic() - started

    @contextmanager
    def warming(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.warm += time.monotonic() - started

    def order(self, sides: Sequence[SideName], visits: int) -> tuple[SideName, ...]:
        return turns(sides, visits, self.rng)

    def look(self) -> None:
        """Fixed work of our own takes a turn for each side: it shows what the machine does to either."""
        self._looks += 1
        sorted(_WORK)  # whoever came first would pay for the rest before it
        for side in self.order(("base", "head"), 2):
            started = time.perf_counter()
            sorted(_WORK)
            spent = time.perf_counter() - started
            seen = self.controls[0] if side == "base" else self.controls[1]
            seen.add(CONTROL, TIME, [spent], visit=self._looks)
