"""The benchmarks of one pair: two live pytests on one core, of which one at a time has the turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from gate.cli.prepared import Prepared, Rig
from gate.cli.seen import Account
from gate.cli.served import Data, Lost, at_once, fresh_data, starting
from gate.experiment import Visits
from gate.model import CPU, ERRORS, METRICS, PYTHON_CALLS, TIME, Case, Evidence, PlannedCase, SideName
from gate.probes.cores import move, pinned
from gate.probes.counts import Counter
from gate.suites import benchmarks
from gate.suites.benchmarks import BenchmarkWorker
from gate.suites.worker import Visit, WorkerDied

T = TypeVar("T")


class BenchmarkPair:
    """All benchmarks of one pair. sides: in the order in which they are started.

    stack: of the pair; closing it ends what was begun.
    """

    def __init__(
        self,
        step: Visits,
        sides: Mapping[SideName, Prepared],
        planned: Sequence[PlannedCase],
        *,
        rig: Rig,
        account: Account,
        padding: int,
        stack: ExitStack,
    ) -> None:
        self.step = step
        self.sides = sides
        self.cases = tuple(p.case for p in planned)
        self.due = frozenset((name, case) for name, cases in step.count for case in cases)
        self.rig = rig
        self.account = account
        self.padding = padding
        self.stack = stack
        self.counters: dict[SideName, Counter] = {}
        self.workers: dict[SideName, BenchmarkWorker] = {}
        self.logs: dict[SideName, Path] = {}

    def measure(self) -> None:
        """Raises Lost where a pytest dies, GateError where it does not come to its benchmarks."""
        with self.rig.clock.phase("start"):
            # Both start and end at once, on all cores; nothing is measured then.
            data = fresh_data(
                self.step, self.sides, "_benchmarks", rig=self.rig, account=self.account, stack=self.stack
            )
            self.stack.callback(at_once, lambda name: self.workers[name].close(), self.workers)
            for name in self.sides:
                with starting(name):
                    self._open(name, data[name])
            has = {name: self._ready(name) for name in self.sides}
        pids = tuple(worker.pid for worker in self.workers.values())
        self.stack.callback(move, pids, self.rig.cores.available)  # on one core they would end in turns
        services = tuple({pid for side in self.sides.values() for pid in side.services})
        cores = self.rig.cores
        with pinned((0, *services), cores.available):
            if cores.chosen is not None:
                move((0, *services, *pids), (cores.chosen,))
            with self.account.working():
                for case in self.cases:
                    self._case(case, tuple(name for name in self.sides if case in has[name]))

    def _open(self, name: SideName, data: Data) -> None:
        prepared = self.sides[name]
        config = prepared.config.suites.benchmarks
        if config is None:
            raise RuntimeError("cases of a suite that is not configured")
        server = prepared.running.postgres
        side = prepared.side(server, *data, seed=self.step.pair, padding=self.padding)
        self.logs[name] = prepared.logs / f"{name}-{self.step.pair}-benchmarks.log"
        worker = benchmarks.open_benchmarks(
            side,
            config,
            cases=[case for case in self.cases if case in self.step.cases(name)],
            log=self.logs[name],
            seed=self.step.pair,
        )
        self.workers[name] = worker
        if self.step.count:
            self.counters[name] = Counter(server, *data)
            self.stack.callback(self.counters[name].close)

    def _ready(self, name: SideName) -> frozenset[Case]:
        with starting(name):
            return frozenset(self._ask(name, self.workers[name].ready))

    def _case(self, case: Case, names: tuple[SideName, ...]) -> None:
        for name in names:
            if self._ask(name, self.workers[name].next) != case:
                raise RuntimeError(f"{name} is not at {case}")
        in_turns = case in self.step.timed or case in self.step.alone
        evidence = {}
        with self.rig.clock.phase("count"):
            for name in names:
                if (name, case) in self.due:
                    evidence[name] = self._count(case, name, only=not in_turns)
        if in_turns:
            self.account.look()
            with self.rig.clock.phase("benchmarks"):
                self._take_turns(case, tuple(sorted(names)))  # base first: its loops are head's too
        for name in names:
            answer = self._ask(name, self.workers[name].finish)
            self._account_for(case, name, answer, evidence.get(name))

    def _count(self, case: Case, name: SideName, *, only: bool) -> Evidence | None:
        """What the services do for a few calls, per call; nothing where the benchmark ends before."""
        worker, counter, seen = self.workers[name], self.counters[name], self.account.seen[name]
        first = counter.look()
        with self.account.warming():
            if not self._ask(name, lambda: worker.fence(only=only)):
                return None
        before = counter.since(first)
        started = time.monotonic()
        counted = self._ask(name, worker.count)
        if counted is None:
            return None
        self.account.measured += time.monotonic() - started
        work = counter.work(before, counter.since(before), counted.calls)
        # Most benchmarks leave the services alone; what is not there is 0.
        idle = not (work.statements or work.commands)
        for counted_metric, value in () if idle else work.values.items():
            seen.add(case, METRICS[counted_metric], [value])
        for metric, values in ((TIME, counted.values), (CPU, counted.cpu)) if not only else ():
            if values:
                seen.add(case, metric, values)
        # To be compared with the other side's alone.
        traced = idle and not counted.values and len(self.workers) > 1
        started = time.monotonic()
        if traced and (calls := self._ask(name, worker.trace)) is not None:
            seen.add(case, PYTHON_CALLS, [calls])
            self.account.measured += time.monotonic() - started
        return Evidence(
            case=case,
            side=name,
            statements=work.statements,
            commands=work.commands,
            hits=work.hits,
            misses=work.misses,
            evictions=work.evictions,
        )

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

    def _account_for(self, case: Case, name: SideName, answer: Visit, evidence: Evidence | None) -> None:
        seen = self.account.seen[name]
        if (name, case) in self.due or answer.failures or answer.skipped:
            seen.add(case, ERRORS, [float(bool(answer.failures))], skipped=answer.skipped)
        if answer.failures:
            # What fails does other work, and has none to compare.
            seen.withdraw(case)
            evidence = Evidence(case=case, side=name, failure=answer.failures[0])
        if evidence is not None:
            seen.evidence.append(evidence)

    def _ask(self, name: SideName, question: Callable[[], T]) -> T:
        try:
            return question()
        except WorkerDied as died:
            what = f"pytest of {name} ended while {died.case} was measured: {died.reason}"
            raise Lost(name, what, died.tail) from died
