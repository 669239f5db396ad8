"""The driver: carries out what the experiment asks for, with everything it takes.

`execute` is the program from a configuration file to a Report. Each step is a value; what is live
(servers, worktrees, the application) is held by context managers and is stopped on every way out.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gate import __version__, baseline, dataset, services
from gate.cli.measure import Prepared, collect_benchmarks, visit
from gate.cli.scratch import scratch_directory
from gate.config import Config
from gate.errors import ConfigError, GateError, MeasurementError
from gate.experiment import Done, next_step
from gate.judge import Context, judge
from gate.model import (
    ERRORS,
    Case,
    Caveat,
    DataKey,
    Environment,
    Phase,
    Plan,
    PlannedCase,
    Report,
    Run,
    Sample,
    Setting,
    SideInfo,
    SideName,
    SideRun,
)
from gate.plan import (
    CACHED,
    COPIES,
    Room,
    check_space,
    make_plan,
    needed_bytes,
    rough_bytes,
    settle_base,
    unusable,
)
from gate.probes.machine import machine_facts
from gate.schema import report_to_json
from gate.suites import endpoints
from gate.target.base import Event
from gate.target.environment import install
from gate.target.placeholders import check_placeholders
from gate.target.process import migrate
from gate.target.repository import Repository, Snapshot
from gate.toml import read_config, settings

Notify = Callable[[str], None]
SUITES = ("endpoints", "benchmarks")
LAST_REPORT = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line and the environment asked for.

    directory: where the command was called. config: relative to it. scale multiplies the
    configuration's. event: set in GitHub Actions only.
    """

    directory: Path
    config: str = "perf-gate.toml"
    against: str = "auto"
    services: services.ProviderName = "auto"
    suites: frozenset[str] = frozenset()
    only: str = "*"
    time_budget: float = 360.0
    scale: float | None = None
    timed: bool = True
    json_file: Path | None = None
    markdown: Path | None = None
    cache: Path
    environ: Mapping[str, str] = field(repr=False)
    flags: tuple[Setting, ...] = ()
    event: Event | None = None
    runner_class: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The report, and the configuration whose policy decides the exit code."""

    report: Report
    config: Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the two sides' repositories say, read before anything is started.

    stored, edited: the baselines of base and of head, by suite and joined. unreadable: why base's
    configuration could not be read, where it has one.
    """

    repository: Repository
    config: Config
    text: str
    path: str
    head: Snapshot
    base: str | None
    base_config: Config | None
    unreadable: str
    stored: SideRun | None
    edited: SideRun | None

    @property
    def known(self) -> frozenset[Case]:
        """The cases base has, by its configuration and its stored baselines."""
        named = {planned.case for planned in self.stored.cases} if self.stored else set()
        if self.base_config is not None and self.base_config.suites.endpoints is not None:
            named |= {planned.case for planned in endpoint_cases(self.base_config)}
        if self.unreadable:
            # Nobody can say which cases base has: none of head's may pass as new.
            named |= {planned.case for planned in endpoint_cases(self.config)}
        return frozenset(named)

    @property
    def adoption(self) -> bool:
        absent = self.base_config is None and not self.unreadable and self.stored is None
        return self.base is None or absent

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        if not self.unreadable:
            return ()
        text = f"base's configuration cannot be read, head's is used for both: {self.unreadable}"
        return (Caveat(code="base-configuration", text=text),)


def endpoint_cases(config: Config) -> tuple[PlannedCase, ...]:
    """The cases of the endpoints suite; none where there is no such suite."""
    suite = config.suites.endpoints
    return endpoints.cases(suite, anchors=config.dataset.anchors) if suite is not None else ()


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
    keep(sources.repository, report)
    return Outcome(report=report, config=context.config or sources.config)


def context_of(sources: Sources, options: Options, unmeasured: str = "") -> Context:
    """In CI the policy and the budgets are base's, so that a pull request cannot loosen its own gate."""
    trusted = options.event is not None and sources.base_config is not None
    config = sources.base_config if trusted and sources.base_config else sources.config
    return Context(
        config=config,
        own=sources.config,
        settings=settings(sources.config, sources.text) + options.flags,
        stored=sources.stored,
        edited=sources.edited,
        ref=sources.base or "",
        unmeasured=unmeasured,
        adoption=sources.adoption,
    )


def keep(repository: Repository, report: Report) -> None:
    """The last report, where `accept` and `baseline update` find it; inside .git, never in the tree."""
    repository.private.mkdir(parents=True, exist_ok=True)
    (repository.private / LAST_REPORT).write_text(report_to_json(report), encoding="utf-8")


def read_sources(options: Options) -> Sources:
    """Configuration, sides and baselines. Raises ConfigError, RepositoryError or BaselineError."""
    file = options.directory / options.config
    repository = Repository.discover(file.parent, environ=options.environ)
    text = _read(file)
    config = read_config(text, name=options.config)
    head = repository.snapshot()
    base = repository.base_of(
        head,
        against=options.against,
        default_branch=config.policy.default_branch,
        event=options.event,
    )
    path = _inside(file, repository.root)
    base_config, unreadable = _base_config(repository, base, path) if base else (None, "")
    stored_in = (base_config or config).baselines
    return Sources(
        repository=repository,
        config=config,
        text=text,
        path=path,
        head=head,
        base=base,
        base_config=base_config,
        unreadable=unreadable,
        stored=read_baselines(repository, base, stored_in) if base else None,
        edited=read_baselines(repository, head.commit, config.baselines),
    )


def configuration(file: Path, name: str) -> Config:
    """The configuration in a file. Raises ConfigError."""
    return read_config(_read(file), name=name)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "there is no configuration file",
            where=str(file),
            hint="call perf-gate where perf-gate.toml is, or name it with --config",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration cannot be read: {error}", where=str(file)) from None


def _inside(file: Path, root: Path) -> str:
    """The file's path in the repository. Raises ConfigError where it lies elsewhere."""
    place = file.parent.resolve() / file.name
    if not place.is_relative_to(root):
        raise ConfigError("the configuration is not in this repository", where=f"{place} and {root}")
    return place.relative_to(root).as_posix()


def _base_config(repository: Repository, base: str, path: str) -> tuple[Config | None, str]:
    """Base's configuration, or why there is none that this version can read (it cannot be mended there)."""
    text = repository.show(base, path)
    if text is None:
        return None, ""
    try:
        return read_config(text, name=f"{path} at {base[:12]}"), ""
    except ConfigError as error:
        return None, "; ".join((error.message, *error.problems[:1]))


def read_baselines(repository: Repository, commit: str, directory: str) -> SideRun | None:
    """The stored suites of one commit, joined; None where there are none."""
    found = []
    for suite in SUITES:
        path = f"{directory}/{suite}.json"
        text = repository.show(commit, path)
        if text is not None:
            found.append(baseline.from_text(text, name=f"{path} at {commit[:12]}", ref=commit))
    return baseline.joined(found)


def check(config: Config) -> None:
    """Everything wrong with the configuration that can be told without starting anything."""
    problems = list(check_placeholders(config.target))
    if config.suites.endpoints is not None:
        problems += endpoints.check(config.suites.endpoints, frozenset(config.dataset.anchors))
    if problems:
        raise ConfigError(
            f"the configuration has {len(problems)} problem" + ("s" if len(problems) > 1 else ""),
            problems=tuple(problems),
            hint="mend perf-gate.toml and run again",
        )


class Clock:
    """Says what is being done and keeps how long it took."""

    def __init__(self, notify: Notify) -> None:
        self.notify = notify
        self._spent: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, text: str = "") -> Iterator[None]:
        if text:
            self.notify(text)
        started = time.monotonic()
        try:
            yield
        finally:
            self._spent[name] = self._spent.get(name, 0.0) + time.monotonic() - started

    @property
    def timeline(self) -> tuple[Phase, ...]:
        return tuple(Phase(name=name, seconds=round(spent, 3)) for name, spent in self._spent.items())


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

    def measure(self) -> tuple[Run, str]:
        """The Run, and why base could not be measured where it should have been."""
        needed = self._needed()
        head = self._install("head", self.sources.head.commit, self.sources.config)
        with self.clock.phase("services", "starting Postgres and Redis"):
            self.running = self.stack.enter_context(
                services.start(
                    self.sources.config.services,
                    provider=self.options.services,
                    state=self.options.cache / "state",
                    notify=self.clock.notify,
                    needed=needed,
                    given=given_servers(self.options.environ),
                )
            )
        with self._blaming_services():
            return self._measured(head)

    @contextmanager
    def _blaming_services(self) -> Iterator[None]:
        """A server that ended is what failed, whatever it looked like from here.

        A failing request of an application without its database must not look like a regression.
        """
        try:
            yield
        except Exception as error:
            if fault := self.running.failure():
                raise fault from error
            raise
        if fault := self.running.failure():
            raise fault

    def _measured(self, head: Prepared) -> tuple[Run, str]:
        head = self._with_data(head)
        self.resolved = self._resolve(head)
        plan = settle_base(self._plan(head), self.sources.stored, self._key(head))
        plan, base = self._base(plan, head)
        run = Run(
            tool=f"perf-gate {__version__}",
            environment=self._environment(head),
            plan=plan,
            sides=tuple(self._info(side) for side in (head, base) if side),
            caveats=self.sources.caveats,
        )
        run = self._carry_out(run, {side.name: side for side in (head, base) if side})
        return dataclasses.replace(run, timeline=self.clock.timeline), self.unmeasured

    def _carry_out(self, run: Run, sides: Mapping[SideName, Prepared]) -> Run:
        """Asks the experiment and does it, until nothing is left that could change the verdict."""
        deadline = time.monotonic() + run.plan.time_budget
        while not isinstance(step := next_step(run.plan, run), Done):
            name, cases = step.cases[0]
            self.clock.notify(f"pass {step.pair} of {run.plan.passes}: {name}, {len(cases)} cases")
            try:
                samples, evidence = visit(
                    step, cases, sides[name], run.plan, gate=self, resolved=self.resolved, deadline=deadline
                )
            except GateError as error:
                if name == "head":
                    raise
                run = self._without_base(run, error)
                continue
            run = self._accounted(run.extended(samples, evidence), name, cases, samples)
        return run

    def _without_base(self, run: Run, error: GateError) -> Run:
        """Base may be broken in ways head mends: its rows are then incomparable, with the reason."""
        self.clock.notify(f"base could not be measured: {error.message}")
        self.unmeasured = error.message
        return dataclasses.replace(
            run,
            plan=dataclasses.replace(run.plan, base=()),
            sides=tuple(side for side in run.sides if side.name == "head"),
            samples=tuple(sample for sample in run.samples if sample.side == "head"),
            evidence=tuple(item for item in run.evidence if item.side == "head"),
        )

    def _accounted(
        self, run: Run, name: SideName, cases: tuple[Case, ...], samples: tuple[Sample, ...]
    ) -> Run:
        """Says which cases were asked for and not visited: asking again would go on for ever."""
        absent = set(cases) - {sample.case for sample in samples if sample.metric == ERRORS}
        if not absent:
            return run
        named = ", ".join(sorted(str(case) for case in absent))
        if name == "head":
            raise MeasurementError(
                f"planned and then not there: {named}",
                hint="a benchmark's name must be the same each time it is collected",
            )
        self.clock.notify(f"base does not have: {named}")
        left = tuple(case for case in run.plan.base if case not in absent)
        return dataclasses.replace(run, plan=dataclasses.replace(run.plan, base=left))

    def _install(self, name: SideName, commit: str, config: Config) -> Prepared:
        """A side's worktree with its own environment; both sides' paths have the same length."""
        worktree = self.scratch / name
        self.stack.enter_context(self.sources.repository.worktree(commit, worktree))
        with self.clock.phase("install", f"installing {name} ({commit[:12]})"):
            installed = install(
                config.target,
                worktree=worktree,
                env_dir=self.scratch / f"{name}-env",
                cache=self.options.cache,
                environ=self.options.environ,
                notify=self.clock.notify,
            )
        return Prepared(
            name=name,
            ref=commit,
            worktree=worktree,
            config=config,
            installed=installed,
            logs=self.scratch,
            environ=self.options.environ,
        )

    def _with_data(self, side: Prepared) -> Prepared:
        """Migrates an empty database and finds, restores or builds the sealed template of its schema."""
        server = self.running.postgres
        name = side.name
        database = f"migrated_{name}"
        redis = self.running.redis(name)
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
            template = self._template(plan, database)
        self.clock.notify(f"{name}: {template.rows:,} rows, data set {template.digest[:12]}")
        return dataclasses.replace(side, template=template)

    def _template(self, plan: dataset.DataPlan, database: str) -> dataset.Template:
        found = dataset.find(self.running.postgres, plan.key)
        if found is not None:
            return found
        cached = self.cache.find(plan.key) if self.running.keeps_data else None
        # A restore replaces the whole server's data, so it is only for the first side.
        if cached is not None and not self._holds_templates():
            self.clock.notify("restoring the seeded data set from the cache")
            self.running.restore_data(cached)
            found = dataset.find(self.running.postgres, plan.key)
            if found is not None:
                return found
        if self.running.keeps_data:
            self._check_space(plan.estimated_bytes, Path(self.running.data_place))
        self.clock.notify(f"seeding {plan.rows:,} rows")
        template = dataset.build(self.running.postgres, database, plan, notify=self.clock.notify)
        if self.running.keeps_data:
            self.running.save_data(self.cache.place(plan.key))
            self.cache.prune()
        return template

    def _holds_templates(self) -> bool:
        return bool(dataset.templates(self.running.postgres))

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

    def _resolve(self, head: Prepared) -> endpoints.Resolved:
        """Parameters from the seeded data: the same values for both sides and every pass."""
        config = head.config
        if config.suites.endpoints is None:
            return endpoints.Resolved()
        wanted = endpoints.lookups(config.suites.endpoints)
        server = self.running.postgres
        with dataset.cloned(server, head.sealed, "lookup") as database:
            anchors = dataset.anchors(server, database, config.dataset)
            values = {
                lookup.sql: dataset.sql_values(server, database, lookup.sql, where=lookup.where)
                for lookup in wanted
            }
        return endpoints.Resolved(anchors=anchors, values=values)

    def _plan(self, head: Prepared) -> Plan:
        suites = head.config.suites
        cases: list[PlannedCase] = []
        if suites.endpoints is not None and self._asked("endpoints"):
            cases += endpoint_cases(head.config)
        if suites.benchmarks is not None and self._asked("benchmarks"):
            cases += collect_benchmarks(head, gate=self)
        plan = make_plan(
            head.config,
            cases,
            known=self.sources.known if self.options.against != "none" else (),
            against=self.options.against,
            only=self.options.only,
            suites=self.options.suites,
            time_budget=self.options.time_budget,
        )
        return plan if self.options.timed else dataclasses.replace(plan, rounds=0)

    def _asked(self, suite: str) -> bool:
        return not self.options.suites or suite in self.options.suites

    def _base(self, plan: Plan, head: Prepared) -> tuple[Plan, Prepared | None]:
        """Base as a live side, where its counts or the names of its benchmarks must be measured."""
        base = self.sources.base
        blind = self._benchmarks_unknown(plan)
        if base is None or not (plan.base or blind):
            return plan, None
        key = self._key(head)
        why = {unusable(each, self.sources.stored, key) for each in plan.cases if each.case in plan.base}
        self.clock.notify(f"measuring base: {'; '.join(sorted(why)) or 'its benchmarks are not stored'}")
        # Suites and data come from head for both sides; how base is installed and started is its own.
        config = self.sources.base_config or self.sources.config
        own = self.sources.config
        config = config.model_copy(update={"suites": own.suites, "dataset": own.dataset})
        try:
            side = self._with_data(self._install("base", base, config))
            found = collect_benchmarks(side, gate=self) if blind else ()
        except GateError as error:
            self.clock.notify(f"base could not be measured: {error.message}")
            self.unmeasured = error.message
            return dataclasses.replace(plan, base=()), None
        theirs = tuple(planned.case for planned in found)
        both = tuple(planned.case for planned in plan.cases if planned.case in theirs)
        return dataclasses.replace(plan, known=plan.known + theirs, base=plan.base + both), side

    def _benchmarks_unknown(self, plan: Plan) -> bool:
        """Whether base has benchmarks whose names stand nowhere: a deleted one would not be missed."""
        config = self.sources.base_config
        stored = self.sources.stored
        if plan.against in ("none", "stored") or config is None or config.suites.benchmarks is None:
            return False
        named = stored is not None and any(planned.case.suite == "benchmarks" for planned in stored.cases)
        return self._asked("benchmarks") and self.options.only == "*" and not named

    def _key(self, side: Prepared) -> DataKey:
        server = self.running.postgres
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
            provider=self.running.provider,
            postgres=self.running.postgres.version,
            redis=self.running.redis(head.name).version,
            runner_class=self.options.runner_class,
            rows=head.sealed.rows,
        )
