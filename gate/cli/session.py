"""The driver: carries out what the experiment asks for, with everything it takes.

`execute` is the program from a configuration file to a Report. Each step is a value; what is live
(servers, worktrees, the application) is held by context managers and is stopped on every way out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gate import __version__, dataset, services
from gate.cli.clock import Clock, Notify
from gate.cli.looked import CASES, look_into
from gate.cli.measure import Collected, Result, collecting, measure_pair
from gate.cli.prepared import Prepared, Rig
from gate.cli.scratch import scratch_directory
from gate.cli.served import BaseFailed
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
from gate.config import Config, Policy, Services
from gate.errors import GateError, MeasurementError
from gate.experiment import Done, Visits, next_step
from gate.explain import to_look_into
from gate.judge import judge
from gate.model import (
    ERRORS,
    Case,
    Caveat,
    Comparison,
    DataKey,
    Environment,
    Explanation,
    Kind,
    Plan,
    Report,
    Run,
    SideInfo,
    SideName,
)
from gate.plan import (
    CACHED,
    COPIES,
    Room,
    asked,
    check_space,
    make_plan,
    needed_bytes,
    rough_bytes,
    settle_base,
    side_by_side,
    unmoved,
    unusable,
)
from gate.probes.cores import reserved
from gate.probes.machine import machine_facts
from gate.suites import endpoints
from gate.target.environment import installed
from gate.target.process import migrate

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
        if worse := to_look_into(report.comparisons):
            report = judge(gate.look_into(run, worse), context)
    if options.changes is None:
        keep(sources.repository, report)
    return Outcome(report=report, config=context.config or sources.config)


def given_servers(environ: Mapping[str, str]) -> services.Given | None:
    """The servers of `--services external`: one Postgres, and one Redis for each side, comma-separated."""
    postgres, redis = environ.get("PERF_GATE_POSTGRES_URL"), environ.get("PERF_GATE_REDIS_URLS")
    if not postgres or not redis:
        return None
    return services.Given(postgres=postgres, redis=tuple(url.strip() for url in redis.split(",")))


def _room(place: Path, copies: int, hint: str) -> Room:
    free, runs_out = services.room(place)
    return Room(
        place=str(place),
        device=place.stat().st_dev,
        free=free,
        runs_out=runs_out,
        copies=copies,
        hint=hint,
    )


class Gate:
    """One run's live parts: the scratch directory, the services and the prepared sides."""

    def __init__(self, options: Options, sources: Sources, clock: Clock, stack: ExitStack) -> None:
        self.options = options
        self.sources = sources
        self.clock = clock
        self.stack = stack
        self.scratch = stack.enter_context(scratch_directory(options.cache / "scratch"))
        self.cache = dataset.Cache(options.cache / "datasets")
        self.unmeasured = ""
        self.sides: dict[SideName, Prepared] = {}
        self.unsaved: list[tuple[services.Running, str]] = []

    def measure(self) -> tuple[Run, str]:
        """The Run, and why base could not be measured where it should have been."""
        needed = self._needed()
        with self.clock.phase("services", "starting Postgres and Redis"):
            self._start_services(needed)
        cores = self.stack.enter_context(reserved(self.options.cache / "state"))
        self.rig = Rig(self.clock, cores, whole=self.options.only == "*" and not self.options.suites)
        with self._blaming_services():
            return self._measured(self._install("head", self.sources.head.commit, self.sources.config))

    def _start_services(self, needed: int) -> None:
        """One set for both sides, or one each where they are to differ. needed: bytes of one side's data."""
        base = self.sources.config.services
        changes = self.options.changes
        head = changes.of_services(self.sources.config) if changes else base
        started = self._services(head, needed if head == base else 2 * needed)
        self.running = {"head": started, "base": started}
        if head != base:
            self.running["base"] = self._services(base, needed, beside=started)

    def _services(
        self, config: Services, needed: int, *, beside: services.Running | None = None
    ) -> services.Running:
        return self.stack.enter_context(
            services.start(
                config,
                provider=self.options.services,
                state=self.options.cache / "state",
                notify=self.clock.notify,
                needed=needed,
                given=given_servers(self.options.environ),
                beside=beside,
            )
        )

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
        found = (running.failure() for running in self.running.values())
        return next((fault for fault in found if fault), None)

    def _measured(self, head: Prepared) -> tuple[Run, str]:
        head = self._with_data(head)
        self._save()
        untimed = self._untimed()
        with ExitStack() as beside:
            # Pytest collects head's benchmarks while base is prepared.
            collected = self._collecting(head, beside)
            base = self._prepared_base("timing it side by side with head") if untimed is None else None
            cases = collected()
        self._save()
        plan = settle_base(self._plan(head, cases), self.sources.stored, self._key(head))
        plan, base = self._with_base(dataclasses.replace(plan, untimed=untimed or ""), head, base)
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

    def look_into(self, run: Run, worse: Sequence[Comparison]) -> Run:
        """The run with what plans and sampled stacks show of the cases of these rows.

        Base is prepared for it where only its stored counts were needed so far. Whatever goes wrong here is
        a caveat: the verdict is known, and is not given up for its explanation.
        """
        if self.sources.base is None or self.options.against in ("none", "stored"):
            return run
        try:
            found = self._looked_into(run, worse)
        except Exception as error:  # noqa: BLE001 - a server or an application may fail in any way
            told = error.message if isinstance(error, GateError) else type(error).__name__
            text = f"the cause could not be looked into: {told}"
            return dataclasses.replace(run, caveats=(*run.caveats, Caveat(code="not-explained", text=text)))
        return dataclasses.replace(run, explanations=found, timeline=self.clock.timeline)

    def _looked_into(self, run: Run, worse: Sequence[Comparison]) -> tuple[Explanation, ...]:
        unmeasured = self.unmeasured
        if "base" not in self.sides and (base := self._prepared_base("to see why head does more")):
            self.sides["base"] = base
        self.unmeasured = unmeasured
        if "base" not in self.sides or self.sources.base is None:
            return ()
        chosen = tuple(dict.fromkeys(row.case for row in worse))[:CASES]
        slower = frozenset(row.case for row in worse if row.kind is Kind.TIMING)
        self.clock.notify(f"looking into {len(chosen)} case" + ("" if len(chosen) == 1 else "s"))
        touched = self.sources.repository.changed(self.sources.base, self.sources.head.commit)
        with self.clock.phase("explain"):
            return look_into(
                chosen, self.sides, run.plan, rig=self.rig, slower=slower, touched=frozenset(touched)
            )

    def _carry_out(self, run: Run) -> Run:
        """Asks the experiment and does it, until nothing is left that could change the verdict."""
        deaths: list[SideName] = []
        anew = False
        while not isinstance(step := next_step(run.plan, run), Done):
            self.clock.notify(_announced(step, run.plan))
            try:
                if step.stage == "confirm" and not anew:
                    self.sides = {name: self._anew(side) for name, side in self.sides.items()}
                    anew = True
                result = measure_pair(step, self.sides, run.plan, rig=self.rig)
            except BaseFailed as failed:
                run = self._without_base(run, failed.error.message)
                continue
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
        again = self._install(side.name, side.ref, side.config, tag="-anew")
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

    def _install(
        self,
        name: SideName,
        commit: str,
        config: Config,
        *,
        tag: str = "",
    ) -> Prepared:
        """A side's worktree with its own environment; both sides' paths have the same length."""
        worktree = self.scratch / f"{name}{tag}"
        self.stack.enter_context(self.sources.repository.worktree(commit, worktree))
        with self.clock.phase("install", f"installing {name} ({commit[:12]})"):
            environment = installed(
                config.target,
                worktree=worktree,
                env_dir=self.scratch / f"{name}{tag}-env",
                cache=self.options.cache,
                environ=self.options.environ,
                notify=self.clock.notify,
            )
            done = self.stack.enter_context(environment)
        return Prepared(
            name=name,
            ref=commit,
            worktree=worktree,
            config=config,
            installed=done,
            logs=self.scratch,
            environ=self.options.environ,
            running=self.running[name],
        )

    def _with_data(self, side: Prepared) -> Prepared:
        """Migrates an empty database and finds, restores or builds the sealed template of its schema."""
        server = side.running.postgres
        name = side.name
        database = f"migrated_{name}"
        redis = side.running.redis(name)
        with self.clock.phase("migrate", f"migrating {name}"):
            dataset.create(server, database)
            live = side.side(server, database, redis)
            migrate(side.config.target, live, log=self.scratch / f"{name}-migrate.log")
        scale = side.config.dataset.scale * (self.options.scale or 1.0)
        spec = dataset.fitting(server, database, self.sources.config.dataset) if name == "base" else None
        plan = dataset.describe(server, database, spec or side.config.dataset, scale=scale)
        for note in plan.notes:
            self.clock.notify(f"{name}: {note}")
        with self.clock.phase("seed"):
            template = self._template(side.running, plan, database)
        self.clock.notify(f"{name}: {template.rows:,} rows, data set {template.digest[:12]}")
        return dataclasses.replace(side, template=template)

    def _template(self, running: services.Running, plan: dataset.DataPlan, database: str) -> dataset.Template:
        found = dataset.find(running.postgres, plan.key)
        if found is not None:
            return found
        cached = self.cache.find(plan.key) if running.keeps_data else None
        # A restore replaces the whole server's data, so it is only for the first side.
        if cached is not None and not dataset.templates(running.postgres):
            self.clock.notify("restoring the seeded data set from the cache")
            running.restore_data(cached)
            found = dataset.find(running.postgres, plan.key)
            if found is not None:
                return found
        if running.keeps_data:
            self._check_space(plan.estimated_bytes, Path(running.data_place))
        self.clock.notify(f"seeding {plan.rows:,} rows")
        template = dataset.build(running.postgres, database, plan, notify=self.clock.notify)
        if running.keeps_data:
            self.unsaved.append((running, plan.key))
        return template

    def _save(self) -> None:
        """Keep what was built. The servers restart for it, so nobody may be connected."""
        for running, key in self.unsaved:
            running.save_data(self.cache.place(key))
            self.cache.prune()
        self.unsaved.clear()

    def _needed(self) -> int:
        """Bytes of the data by the configuration alone, judged before anything is started; 0 where not ours.

        What given servers have room for is out of sight.
        """
        if self.options.services == "external":
            return 0
        spec = self.sources.config.dataset
        copy = rough_bytes(spec, scale=spec.scale * (self.options.scale or 1.0))
        self._check_space(copy, services.data_place(needed_bytes(copy)))
        return needed_bytes(copy)

    def _check_space(self, copy: int, data: Path) -> None:
        """copy: bytes of one copy of the data set. data: a directory where the servers' data lies."""
        rooms = (
            _room(data, COPIES, "set TMPDIR to a larger file system"),
            _room(self.options.cache, CACHED, "set PERF_GATE_CACHE to a larger file system"),
        )
        check_space(copy, rooms)

    def _collecting(self, side: Prepared, beside: ExitStack) -> Callable[[], Collected]:
        """Begins to collect a side's benchmarks, on a clone; for head it looks up parameters first."""
        wanted = self._asked("benchmarks") and side.config.suites.benchmarks is not None
        looks = side.name == "head" and side.config.suites.endpoints is not None
        if not (wanted or looks):
            return tuple
        server = side.running.postgres
        database = beside.enter_context(dataset.cloned(server, side.sealed, f"{side.name}_look"))
        if looks:
            self.rig.resolved = self._resolve(side, database)
        return beside.enter_context(collecting(side, database, clock=self.clock)) if wanted else tuple

    def _resolve(self, head: Prepared, database: str) -> endpoints.Resolved:
        """Parameters from the seeded data: the same values for both sides and every pass."""
        config = head.config
        if config.suites.endpoints is None:
            return endpoints.Resolved()
        server = head.running.postgres
        return endpoints.Resolved(
            anchors=dataset.anchors(server, database, config.dataset),
            values={
                lookup.sql: dataset.sql_values(server, database, lookup.sql, where=lookup.where)
                for lookup in endpoints.lookups(config.suites.endpoints)
            },
        )

    def _plan(self, head: Prepared, collected: Collected) -> Plan:
        of_endpoints = head.config.suites.endpoints is not None and self._asked("endpoints")
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

    def _asked(self, suite: str) -> bool:
        return not self.options.suites or suite in self.options.suites

    def _prepared_base(self, why: str) -> Prepared | None:
        """Base as a live side; None where there is none, or it cannot be prepared."""
        if self.sources.base is None:
            return None
        self.clock.notify(f"measuring base: {why}")
        # Suites and data come from head for both sides; how base is installed and started is its own.
        config = self.sources.base_config or self.sources.config
        own = self.sources.config
        config = config.model_copy(update={"suites": own.suites, "dataset": own.dataset})
        try:
            return self._with_data(self._install("base", self.sources.base, config))
        except GateError as error:
            self._give_up_base(error)
            return None

    def _give_up_base(self, error: GateError) -> None:
        self.clock.notify(f"base could not be measured: {error.message}")
        self.unmeasured = error.message

    def _with_base(self, plan: Plan, head: Prepared, base: Prepared | None) -> tuple[Plan, Prepared | None]:
        """The plan with what base has and is measured in. base: where it is there already, to be timed."""
        timed = base is not None
        blind = self._benchmarks_unknown(plan)
        if not timed and not self.unmeasured and (plan.base or blind):
            base = self._prepared_base(self._why_counted(plan, head))
            self._save()
        if base is None:
            return (dataclasses.replace(plan, base=()) if self.unmeasured else plan), None
        theirs: tuple[Case, ...] = ()
        if blind or (timed and any(p.case.suite == "benchmarks" for p in plan.cases)):
            try:
                theirs = self._benchmarks_of(base)
                own = self._benchmarks_of(self._as_base_has_it(base))
            except GateError as error:
                self._give_up_base(error)
                return dataclasses.replace(plan, base=()), None
            plan = dataclasses.replace(plan, known=tuple(dict.fromkeys((*plan.known, *theirs, *own))))
        if timed:
            live = {case for case in plan.known if case.suite != "benchmarks"} | set(theirs)
            return side_by_side(plan, self.policy, theirs=live), base
        both = tuple(planned.case for planned in plan.cases if planned.case in theirs)
        return dataclasses.replace(plan, base=tuple(dict.fromkeys(plan.base + both))), base

    def _benchmarks_of(self, side: Prepared) -> tuple[Case, ...]:
        """Those that this run is about."""
        with ExitStack() as beside:
            found = [planned.case for planned in self._collecting(side, beside)()]
        only, suites = self.options.only, self.options.suites
        return tuple(case for case in found if asked(case, only=only, suites=suites))

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
            changed = self.sources.repository.changed(self.sources.base, self.sources.head.commit)
            reason = unmoved(changed, self.policy.inert, self.sources.config.baselines)
        if reason:
            self.clock.notify(f"not timed side by side: {reason}")
        return reason or None

    @property
    def policy(self) -> Policy:
        """In CI base's, so that a pull request cannot loosen its own gate."""
        return judging(self.sources, self.options).policy

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
        return self._asked("benchmarks") and self.options.only == "*" and not named

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
