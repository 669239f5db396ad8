"""The benchmarks of one pair: two live pytests on one core, of which one at a time has the turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from gate import dataset
from gate.cli.prepared import Prepared, Rig
from gate.cli.seen import Account
from gate.cli.served import Lost, starting
from gate.experiment import Visits
from gate.model import CPU, ERRORS, TIME, Case, Evidence, PlannedCase, SideName
from gate.probes.cores import move, pinned
from gate.suites import benchmarks
from gate.suites.benchmarks import BenchmarkWorker
from gate.suites.worker import Visit, WorkerDied

T = TypeVar("T")


class BenchmarkPair:
    """All benchmarks of one pair. sides: in the order in which they are started."""

    def __init__(
        self,
        step: Visits,
        sides: Mapping[SideName, Prepared],
        planned: Sequence[PlannedCase],
        *,
        rig: Rig,
        account: Account,
        padding: int,
    ) -> None:
        self.step = step
        self.sides = sides
        self.cases = tuple(p.case for p in planned)
        self.rig = rig
        self.account = account
        self.padding = padding
        self.workers: dict[SideName, BenchmarkWorker] = {}
        self.logs: dict[SideName, Path] = {}

    def measure(self) -> None:
        """Raises Lost where a pytest dies, GateError where it does not come to its benchmarks."""
        with ExitStack() as stack:
            with self.rig.clock.phase("start"):
                for name in self.sides:
                    with starting(name):
                        self._open(name, stack)
                has = {name: self._ready(name) for name in self.sides}
            services = tuple({pid for side in self.sides.values() for pid in side.services})
            cores = self.rig.cores
            with self.rig.clock.phase("benchmarks"), pinned((0, *services), cores.available):
                if cores.chosen is not None:
                    pids = (worker.pid for worker in self.workers.values())
                    move((0, *services, *pids), (cores.chosen,))
                with self.account.working():
                    for case in self.cases:
                        self._case(case, tuple(name for name in self.sides if case in has[name]))

    def _open(self, name: SideName, stack: ExitStack) -> None:
        """Starts a side's pytest; the other one starts meanwhile."""
        prepared = self.sides[name]
        config = prepared.config.suites.benchmarks
        if config is None:
            raise RuntimeError("cases of a suite that is not configured")
        server = prepared.running.postgres
        database = stack.enter_context(
            dataset.cloned(server, prepared.sealed, f"{name}_{self.step.pair}_benchmarks")
        )
        if self.rig.whole and self.step.pair == 1:
            stack.push(self.account.stocktaking(server, database, name))
        redis = prepared.running.redis(name)
        side = prepared.side(server, database, redis, seed=self.step.pair, padding=self.padding)
        wanted = [case for case in self.cases if case in self.step.cases(name)]
        self.logs[name] = prepared.logs / f"{name}-{self.step.pair}-benchmarks.log"
        worker = benchmarks.open_benchmarks(
            side,
            config,
            cases=wanted,
            log=self.logs[name],
            seed=self.step.pair,
            mode="timing" if self.step.timed or self.step.alone else "count",
        )
        stack.callback(worker.close)
        self.workers[name] = worker

    def _ready(self, name: SideName) -> frozenset[Case]:
        with starting(name):
            return frozenset(self._ask(name, self.workers[name].ready))

    def _case(self, case: Case, names: tuple[SideName, ...]) -> None:
        for name in names:
            if self._ask(name, self.workers[name].next) != case:
                raise RuntimeError(f"{name} is not at {case}")
        in_turns = case in self.step.timed or case in self.step.alone
        if in_turns:
            self.account.look()
            self._take_turns(case, tuple(sorted(names)))  # base first: its loops are head's too
        for name in names:
            self._account_for(case, name, self._ask(name, self.workers[name].finish))

    def _take_turns(self, case: Case, names: tuple[SideName, ...]) -> None:
        """base calibrates in the first pair; head and every later pair call the benchmark as often."""
        known = self.rig.learned.terms
        with self.account.warming():
            for name in names:
                worker = self.workers[name]
                terms = self._ask(name, lambda: worker.prepare(known.get(case)))  # noqa: B023 - called at once
                if terms.visits:
                    known.setdefault(case, terms)
        if case not in known:
            return  # it failed, was skipped or never calls the fixture: `finish` says so
        terms = known[case]
        turn = dict.fromkeys(names, 0)
        for name in self.account.order(names, terms.visits):
            worker = self.workers[name]
            turn[name] += 1
            answer: Visit = self._ask(name, lambda: worker.visit(terms.rounds))  # noqa: B023 - called at once
            seen = self.account.seen[name]
            seen.add(case, TIME, answer.values, visit=turn[name])
            seen.add(case, CPU, answer.cpu, visit=turn[name])
            self.account.measured += sum(answer.values) * terms.loops

    def _account_for(self, case: Case, name: SideName, answer: Visit) -> None:
        seen = self.account.seen[name]
        seen.add(case, ERRORS, [float(bool(answer.failures))], skipped=answer.skipped)
        if answer.failures:
            seen.evidence.append(Evidence(case=case, side=name, failure=answer.failures[0]))

    def _ask(self, name: SideName, question: Callable[[], T]) -> T:
        try:
            return question()
        except WorkerDied as died:
            what = f"pytest of {name} ended while {died.case} was measured: {died.reason}"
            raise Lost(name, what, died.tail) from died
