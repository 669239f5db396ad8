"""The driver: carries out what the experiment asks for, with everything it takes.

`execute` is the program from a configuration file to a Report. Each step is a value; what is live
(servers, worktrees, the application) is held by context managers and is stopped on every way out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from gate import __version__
from gate.cli.clock import Clock, Notify
from gate.cli.drift import with_drift
from gate.cli.looked import CASES, look_into
from gate.cli.measure import Collected, Result, measure_pair
from gate.cli.prepared import Learned, Prepared, Rig
from gate.cli.served import BaseFailed
from gate.cli.sides import Workshop, resolve
from gate.cli.sources import (
    Options,
    Sources,
    check,
    context_of,
    endpoint_cases,
    judging,
    keep,
    read_sources,
)
from gate.config import Config, Policy
from gate.errors import GateError, MeasurementError
from gate.experiment import Done, Smaller, Visits, next_step
from gate.explain import to_look_into
from gate.judge import judge
from gate.model import (
    ERRORS,
    Case,
    Caveat,
    Comparison,
    DataKey,
    Environment,
    Evidence,
    Pair,
    Plan,
    Production,
    Report,
    Run,
    SideInfo,
    SideName,
)
from gate.plan import (
    asked,
    chosen,
    make_plan,
    settle_base,
    side_by_side,
    unmoved,
    unusable,
)
from gate.probes.cores import reserved
from gate.probes.machine import machine_facts
from gate.probes.storage import storage
from gate.report import format as f

DEATHS = 3  # of processes of the sides, after which a run is given up


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The report, and the configuration whose policy decides the exit code."""

    report: Report
    config: Config


def execute(options: Options, notify: Notify) -> Outcome:
    """Measure head, and base where needed, and judge. Raises GateError for whatever gives no verdict."""
    sources = read_sources(options)
    check(sources.config)
    clock = Clock(notify)
    with ExitStack() as stack:
        gate = Gate(options, sources, clock, stack)
        run, unmeasured = gate.measure()
        context = context_of(sources, options, unmeasured)
        report = judge(run, context)
        if options.changes is None:
            keep(sources.repository, report)
        worse = to_look_into(report.comparisons)
        if worse or gate.may_have_idle_indexes(run):
            report = judge(gate.look_into(run, worse), context)
    config = context.config or sources.config
    if options.changes is None:
        if options.against != "none":
            report = with_drift(report, config, sources.repository, notify=notify)
        keep(sources.repository, report)
    return Outcome(report=report, config=config)


class Gate:
    """One run's live parts: the scratch directory, the services and the prepared sides."""

    def __init__(self, options: Options, sources: Sources, clock: Clock, stack: ExitStack) -> None:
        self.options = options
        self.sources = sources
        self.clock = clock
        self.stack = stack
        self.workshop = Workshop(options, sources, clock, stack)
        self.unmeasured = ""
        self.sides: dict[SideName, Prepared] = {}

    def measure(self) -> tuple[Run, str]:
        """The Run, and why base could not be measured where it should have been."""
        self._check_asked()
        self.workshop.start_services()
        cores = self.stack.enter_context(reserved(self.options.cache / "state"))
        self.rig = Rig(self.clock, cores, whole=self.options.only == "*" and not self.options.suites)
        with self._blaming_services():
            return self._measured()

    def _check_asked(self) -> None:
        """Refuses before anything starts what no benchmark can be called: endpoints are all in the file."""
        config, options = self.sources.config, self.options
        named = endpoint_cases(config)
        if config.suites.benchmarks is not None and options.asked("benchmarks"):
            if may_mean(options.only, "benchmarks"):
                return
            stored = self.sources.stored.cases if self.sources.stored else ()
            named += tuple(planned for planned in stored if planned.case.suite == "benchmarks")
        chosen(named, only=options.only, suites=options.suites)

    @contextmanager
    def _blaming_services(self) -> Iterator[None]:
        """A server that ended is what failed, whatever it looked like from here.

        A failing request of an application without its database must not look like a regression.
        """
        try:
            yield
        except Exception as error:
            if fault := self._fault():
                raise fault from error
            raise
        if fault := self._fault():
            raise fault

    def _fault(self) -> GateError | None:
        found = (running.failure() for running in self.workshop.running.values())
        return next((fault for fault in found if fault), None)

    def _measured(self) -> tuple[Run, str]:
        head = self.workshop.install("head", self.sources.head.commit, self.sources.config)
        untimed = self._untimed()
        base = self._base_installed("timing it side by side with head") if untimed is None else None
        head, base = self._with_data(head, base)
        cases, theirs = self._collected(head, base)
        plan = settle_base(self._plan(head, cases), self.sources.stored, self._key(head))
        plan = dataclasses.replace(
            plan, untimed=untimed or "", production=self._production(), excused=self._excused()
        )
        if base is None or theirs is None:
            plan, base = self._counted_base(plan, head)
        else:
            plan, base = self._timed_base(plan, base, theirs)
        run = Run(
            tool=f"perf-gate {__version__}",
            environment=self._environment(head),
            plan=plan,
            sides=tuple(self._info(side) for side in (head, base) if side),
            caveats=self.sources.caveats + (self.rig.cores.caveats if plan.timed else ()),
        )
        self.sides = {side.name: side for side in (head, base) if side}
        run = self._carry_out(run)
        plan = dataclasses.replace(run.plan, unmeasured=self.unmeasured)
        return dataclasses.replace(run, plan=plan, timeline=self.clock.timeline), self.unmeasured

    def may_have_idle_indexes(self, run: Run) -> bool:
        """Whether head has an index that nothing used and that base's tables, unknown yet, may not have."""
        if any(table.side == "base" for table in run.storage):
            return False
        idle = any(not i.unique and not i.scans for table in run.storage for i in table.indexes)
        return idle and not self._unmoved()

    def look_into(self, run: Run, worse: Sequence[Comparison]) -> Run:
        """The run with base's tables, and what plans and sampled stacks show of the cases of these rows.

        Base is prepared for it where only its stored counts were needed so far. Whatever goes wrong here is
        a caveat: the verdict is known, and is not given up for its explanation.
        """
        if self.sources.base is None or self.options.against in ("none", "stored"):
            return run
        try:
            run = self._looked_into(run, worse)
        except Exception as error:  # noqa: BLE001 - a server or an application may fail in any way
            told = error.message if isinstance(error, GateError) else type(error).__name__
            what = "the cause could not be looked into" if worse else "base's indexes are not known"
            text = f"{what}: {told}"
            return dataclasses.replace(run, caveats=(*run.caveats, Caveat(code="not-explained", text=text)))
        return dataclasses.replace(run, timeline=self.clock.timeline)

    def _looked_into(self, run: Run, worse: Sequence[Comparison]) -> Run:
        unmeasured = self.unmeasured
        if "base" not in self.sides and (base := self._prepared_base("to see why head does more")):
            self.sides["base"] = base
        self.unmeasured = unmeasured
        if "base" not in self.sides or self.sources.base is None:
            return run
        run = self._with_tables_of_base(run)
        if not worse:
            return run
        count = min(CASES, len({row.case for row in worse}))
        self.clock.notify(f"looking into {count} case" + ("" if count == 1 else "s"))
        touched = self.sources.repository.changed(self.sources.base, self.sources.head.commit)
        with self.clock.phase("explain"):
            found = look_into(worse, self.sides, run.plan, rig=self.rig, touched=frozenset(touched))
        return dataclasses.replace(run, explanations=found)

    def _with_tables_of_base(self, run: Run) -> Run:
        """The run with base's tables, where it has head's alone: a new index is one that base has not."""
        if not run.storage or any(table.side == "base" for table in run.storage):
            return run
        base = self.sides["base"]
        with self.workshop.looking(base) as database:
            tables = storage(base.running.postgres, database, "base")
        return dataclasses.replace(run, storage=run.storage + tables)

    def _carry_out(self, run: Run) -> Run:
        """Asks the experiment and does it, until nothing is left that could change the verdict."""
        deaths: list[SideName] = []
        anew = False
        while not isinstance(step := next_step(run.plan, run), Done):
            if isinstance(step, Smaller):
                run = dataclasses.replace(run, smaller=self._counted_on_less(step, run))
                continue
            self.clock.notify(_announced(step, run.plan))
            try:
                if step.stage == "confirm" and not anew:
                    self.sides = {name: self._anew(side) for name, side in self.sides.items()}
                    anew = True
                result = measure_pair(step, self.sides, run.plan, rig=self.rig)
            except BaseFailed as failed:
                run = self._without_base(run, failed.error.message)
                continue
            if warning := _too_short(run.plan, result.pair):
                self.clock.notify(warning)
            run = run.extended(result.samples, result.evidence, (result.pair,))
            run = dataclasses.replace(
                run, storage=run.storage or result.storage, routes=run.routes or result.routes
            )
            if result.died:
                deaths.append(result.died)
                run = self._after_death(run, deaths, result)
            else:
                run = self._accounted(run, step, result)
        return run

    def _counted_on_less(self, step: Smaller, run: Run) -> tuple[Evidence, ...]:
        """The readers' work on a share of the data. A side that fails there fails here alone: it explains."""
        found: list[Evidence] = []
        for name, cases in step.sides:
            try:
                side = self.workshop.on_share(self.sides[name], step.share)
                with self.workshop.looking(side) as database:
                    rig = dataclasses.replace(
                        self.rig, resolved=resolve(side, database), learned=Learned(), whole=False
                    )
                # Not the first pair, which looks at more than counts.
                visits = Visits(pair=run.plan.passes, count=((name, cases),))
                found += measure_pair(visits, {name: side}, run.plan, rig=rig).evidence
            except (GateError, BaseFailed) as error:
                self.clock.notify(f"what grows with the data of {name} could not be seen: {error}")
        # Without any, the step would be asked for again.
        return tuple(found) or tuple(
            Evidence(case=case, side=name) for name, cases in step.sides for case in cases
        )

    def _after_death(self, run: Run, deaths: Sequence[SideName], result: Result) -> Run:
        """A process that dies costs its pair; what dies again and again cannot be measured."""
        self.clock.notify(f"pair {result.pair.number} is lost: {result.pair.lost}")
        if len(deaths) < DEATHS:
            return run
        if set(deaths) == {"base"}:
            return self._without_base(run, result.pair.lost)
        raise MeasurementError(
            f"{result.pair.lost}, and {len(deaths) - 1} pairs were lost before",
            where=f"pair {result.pair.number}",
            tail=result.tail,
            hint="its log ends above; run it by hand with the same request or benchmark",
        )

    def _anew(self, side: Prepared) -> Prepared:
        """The same side installed again elsewhere: what its paths have to do with its speed is drawn anew."""
        again = self.workshop.install(side.name, side.ref, side.config, tag="-anew")
        return dataclasses.replace(again, template=side.template)

    def _without_base(self, run: Run, reason: str) -> Run:
        """Base may be broken in ways head mends: its rows are then incomparable, with the reason."""
        self.clock.notify(f"base could not be measured: {reason}")
        self.unmeasured = reason
        return dataclasses.replace(
            run,
            plan=dataclasses.replace(run.plan, base=(), timed=()),
            sides=tuple(side for side in run.sides if side.name == "head"),
            samples=tuple(sample for sample in run.samples if sample.side == "head"),
            evidence=tuple(item for item in run.evidence if item.side == "head"),
            storage=tuple(table for table in run.storage if table.side == "head"),
            smaller=tuple(item for item in run.smaller if item.side == "head"),
        )

    def _accounted(self, run: Run, step: Visits, result: Result) -> Run:
        """Says which cases were asked for and not visited: asking again would go on for ever."""
        for name, cases in step.count:
            seen = {s.case for s in result.samples if s.metric == ERRORS and s.side == name}
            if not (absent := set(cases) - seen):
                continue
            named = ", ".join(sorted(str(case) for case in absent))
            if name == "head":
                raise MeasurementError(
                    f"planned and then not there: {named}",
                    hint="a benchmark's name must be the same each time it is collected",
                )
            self.clock.notify(f"base does not have: {named}")
            plan = dataclasses.replace(
                run.plan,
                base=tuple(case for case in run.plan.base if case not in absent),
                timed=tuple(each for each in run.plan.timed if each.case not in absent),
            )
            run = dataclasses.replace(run, plan=plan)
        return run

    def _plan(self, head: Prepared, collected: Collected) -> Plan:
        of_endpoints = head.config.suites.endpoints is not None and self.options.asked("endpoints")
        return make_plan(
            head.config,
            [*(endpoint_cases(head.config) if of_endpoints else ()), *collected],
            known=self.sources.known if self.options.against != "none" else (),
            against=self.options.against,
            only=self.options.only,
            suites=self.options.suites,
            timing=self.options.timed,
            time_budget=self.options.time_budget,
        )

    def _prepared_base(self, why: str) -> Prepared | None:
        """Base as a live side; None where there is none, or it cannot be prepared."""
        base = self._base_installed(why)
        try:
            return self.workshop.with_data(base) if base else None
        except GateError as error:
            self._give_up_base(error)
            return None

    def _base_installed(self, why: str) -> Prepared | None:
        if self.sources.base is None:
            return None
        self.clock.notify(f"measuring base: {why}")
        # Suites and data come from head for both sides; how base is installed and started is its own.
        config = self.sources.base_config or self.sources.config
        own = self.sources.config
        config = config.model_copy(update={"suites": own.suites, "dataset": own.dataset})
        try:
            return self.workshop.install("base", self.sources.base, config)
        except GateError as error:
            self._give_up_base(error)
            return None

    def _with_data(self, head: Prepared, base: Prepared | None) -> tuple[Prepared, Prepared | None]:
        """Both with their data; base given up where it cannot be migrated or seeded."""
        if base is None:
            head = self.workshop.with_data(head)
        else:
            heads, bases = self.workshop.both_with_data((head, base))
            head = heads()
            try:
                base = bases()
            except GateError as error:
                self._give_up_base(error)
                base = None
        self.workshop.save()
        return head, base

    def _collected(self, head: Prepared, base: Prepared | None) -> tuple[Collected, Collected | None]:
        """The benchmarks of both sides, which collect at the same time, and the parameters of endpoints.

        Base's are None where they cannot be collected: base is given up then, if head has any.
        """
        workshop = self.workshop
        with ExitStack() as beside:
            database = beside.enter_context(workshop.looking(head))
            heads = workshop.collecting(head, beside, database)
            bases: Callable[[], Collected] = tuple
            failed: GateError | None = None
            try:
                if base is not None:
                    bases = workshop.collecting(base, beside)
            except GateError as error:
                failed = error
            self.rig.resolved = resolve(head, database)
            cases = heads()
            if not self._chosen(cases):
                return cases, ()
            try:
                found = bases()
            except GateError as error:
                failed = error
            if failed is None:
                return cases, found
            self._give_up_base(failed)
            return cases, None

    def _give_up_base(self, error: GateError) -> None:
        self.clock.notify(f"base could not be measured: {error.message}")
        self.unmeasured = error.message

    def _counted_base(self, plan: Plan, head: Prepared) -> tuple[Plan, Prepared | None]:
        """The plan with what base is counted for, where its stored counts will not do; nothing is timed."""
        blind = self._benchmarks_unknown(plan)
        base = None
        if not self.unmeasured and (plan.base or blind):
            base = self._prepared_base(self._why_counted(plan, head))
            self.workshop.save()
        if base is None:
            return (dataclasses.replace(plan, base=()) if self.unmeasured else plan), None
        try:
            theirs = self._benchmarks_of(base) if blind else ()
            plan = self._missing(plan, base, theirs) if blind else plan
        except GateError as error:
            self._give_up_base(error)
            return dataclasses.replace(plan, base=()), None
        both = tuple(planned.case for planned in plan.cases if planned.case in theirs)
        return dataclasses.replace(plan, base=tuple(dict.fromkeys(plan.base + both))), base

    def _timed_base(self, plan: Plan, base: Prepared, collected: Collected) -> tuple[Plan, Prepared | None]:
        """The plan with what both sides have timed in turns. collected: base's benchmarks."""
        theirs = self._chosen(collected)
        try:
            plan = self._missing(plan, base, theirs)
        except GateError as error:
            self._give_up_base(error)
            return dataclasses.replace(plan, base=()), None
        live = {case for case in plan.known if case.suite != "benchmarks"} | set(theirs)
        return side_by_side(plan, self.policy, theirs=live), base

    def _missing(self, plan: Plan, base: Prepared, theirs: Sequence[Case]) -> Plan:
        """The plan that knows all benchmarks of base, also those that head's own table leaves out."""
        own = self._benchmarks_of(self._as_base_has_it(base))
        return dataclasses.replace(plan, known=tuple(dict.fromkeys((*plan.known, *theirs, *own))))

    def _benchmarks_of(self, side: Prepared) -> tuple[Case, ...]:
        with ExitStack() as beside:
            return self._chosen(self.workshop.collecting(side, beside)())

    def _chosen(self, collected: Collected) -> tuple[Case, ...]:
        """Those that this run is about."""
        only, suites = self.options.only, self.options.suites
        return tuple(p.case for p in collected if asked(p.case, only=only, suites=suites))

    def _as_base_has_it(self, base: Prepared) -> Prepared:
        """Base with its own benchmarks table: what head's leaves out is missing, not unknown."""
        theirs, own = self.sources.base_config, base.config.suites
        if theirs is None or theirs.suites.benchmarks in (None, own.benchmarks):
            return dataclasses.replace(base, config=_without_benchmarks(base.config))
        suites = own.model_copy(update={"benchmarks": theirs.suites.benchmarks})
        return dataclasses.replace(base, config=base.config.model_copy(update={"suites": suites}))

    def _untimed(self) -> str | None:
        """Why base and head are not timed side by side, empty where nobody asked for it; None: they are."""
        options = self.options
        if self.sources.base is None or self.sources.adoption or options.against in ("none", "stored"):
            return ""
        if not options.timed:
            return ""
        reason = "" if options.time_budget > 0 else "the time budget is 0"
        if options.against == "auto" and not reason:
            reason = self._unmoved()
        if reason:
            self.clock.notify(f"not timed side by side: {reason}")
        return reason or None

    def _unmoved(self) -> str:
        """Why head can do no other work than base; empty where it can."""
        if self.sources.base is None:
            return "there is no base"
        changed = self.sources.repository.changed(self.sources.base, self.sources.head.commit)
        return unmoved(changed, self.policy.inert, self.sources.config.baselines)

    @property
    def policy(self) -> Policy:
        """In CI base's, so that a pull request cannot loosen its own gate."""
        return judging(self.sources, self.options).policy

    def _excused(self) -> tuple[Case, ...]:
        """Cases whose slower time this pull request accepts: its baselines say so, and base's do not."""
        stored, edited = self.sources.stored, self.sources.edited
        known = stored.worse if stored else ()
        return tuple(dict.fromkeys(e.case for e in (edited.worse if edited else ()) if e not in known))

    def _production(self) -> tuple[Production, ...]:
        spec = self.sources.config.dataset
        scale = spec.scale * (self.options.scale or 1.0)
        return tuple(
            Production(
                table=name,
                rows=round(table.rows * (1.0 if table.fixed else scale)),
                production=spec.production[name],
            )
            for name, table in spec.tables.items()
            if name in spec.production
        )

    def _why_counted(self, plan: Plan, head: Prepared) -> str:
        key = self._key(head)
        why = {unusable(each, self.sources.stored, key) for each in plan.cases if each.case in plan.base}
        return "; ".join(sorted(why)) or "its benchmarks are not stored"

    def _benchmarks_unknown(self, plan: Plan) -> bool:
        """Whether base has benchmarks whose names stand nowhere: a deleted one would not be missed."""
        config = self.sources.base_config
        stored = self.sources.stored
        if plan.against in ("none", "stored") or config is None or config.suites.benchmarks is None:
            return False
        named = stored is not None and any(planned.case.suite == "benchmarks" for planned in stored.cases)
        return self.options.asked("benchmarks") and self.options.only == "*" and not named

    def _key(self, side: Prepared) -> DataKey:
        server = side.running.postgres
        return DataKey(
            dataset=side.sealed.digest,
            postgres=server.major,
            initdb=server.initdb,
            python=side.installed.python,
            packages=side.installed.packages,
        )

    def _info(self, side: Prepared) -> SideInfo:
        return SideInfo(
            name=side.name,
            ref=side.ref,
            data_key=self._key(side),
            dirty=side.name == "head" and self.sources.head.dirty,
        )

    def _environment(self, head: Prepared) -> Environment:
        return dataclasses.replace(
            machine_facts(),
            provider=head.running.provider,
            postgres=head.running.postgres.version,
            redis=head.running.redis(head.name).version,
            runner_class=self.options.runner_class,
            rows=head.sealed.rows,
        )


def may_mean(only: str, suite: str) -> bool:
    """Whether this `--only` can match a case of the suite, whatever that one is called."""
    plain = re.split(r"[*?[]", only, maxsplit=1)[0]
    whole = f"{suite}/"
    return plain.startswith(whole) or (plain != only and whole.startswith(plain))


def _too_short(plan: Plan, pair: Pair) -> str:
    """What to say after the first pair where the time budget has no room for more than the pairs that also
    count; empty where it has, for those that only take turns are shorter."""
    counting = plan.passes * pair.seconds
    if not plan.timed or pair.number != 1 or pair.lost or counting < plan.time_budget:
        return ""
    return (
        f"a pair takes about {f.seconds(pair.seconds)}: the time budget of {f.seconds(plan.time_budget)} has "
        f"no room for the {plan.screen} pairs of a screen; the {plan.passes} that also count are measured "
        "all the same"
    )


def _without_benchmarks(config: Config) -> Config:
    return config.model_copy(update={"suites": config.suites.model_copy(update={"benchmarks": None})})


def _announced(step: Visits, plan: Plan) -> str:
    """What the next pair is, for who watches."""
    cases = len(frozenset[Case]().union(*(step.cases(name) for name in step.sides)))
    counted = f"{cases} case" + ("" if cases == 1 else "s")
    if step.stage == "confirm":
        return f"confirm, pair {step.pair - plan.screen}: {counted}"
    if plan.timed:
        return f"pair {step.pair} of {plan.screen}: {counted}, base and head in turns"
    return f"pass {step.pair} of {plan.passes}: {' and '.join(step.sides)}, {counted}"
