"""The driver: carries out what the experiment asks for, with everything it takes.

`execute` is the program from a configuration file to a Report. Each step is a value; what is live
(servers, worktrees, the application) is held by context managers and is stopped on every way out.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gate import __version__, baseline, dataset, services
from gate.cli.measure import Prepared, collect_benchmarks, visit
from gate.cli.scratch import scratch_directory
from gate.config import Config
from gate.errors import ConfigError, EnvironmentFailure
from gate.experiment import Done, next_step
from gate.judge import Context, judge
from gate.model import (
    Case,
    DataKey,
    Environment,
    Phase,
    Plan,
    PlannedCase,
    Report,
    Run,
    SideInfo,
    SideName,
    SideRun,
)
from gate.plan import check_space, make_plan, settle_base
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

    stored, edited: the baselines of base and of head, by suite and joined.
    """

    repository: Repository
    config: Config
    text: str
    path: str
    head: Snapshot
    base: str | None
    base_config: Config | None
    stored: SideRun | None
    edited: SideRun | None

    @property
    def known(self) -> frozenset[Case]:
        """The cases base has, by its configuration and its stored baselines."""
        named = {planned.case for planned in self.stored.cases} if self.stored else set()
        if self.base_config is not None and self.base_config.suites.endpoints is not None:
            named |= {planned.case for planned in endpoint_cases(self.base_config)}
        return frozenset(named)

    @property
    def adoption(self) -> bool:
        return self.base is None or (self.base_config is None and self.stored is None)


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
        settings=settings(sources.config, sources.text),
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
    path = file.resolve().relative_to(repository.root).as_posix()
    base_text = repository.show(base, path) if base else None
    base_config = _base_config(base_text, f"{path} at {base[:12]}") if base and base_text else None
    stored_in = (base_config or config).baselines
    return Sources(
        repository=repository,
        config=config,
        text=text,
        path=path,
        head=head,
        base=base,
        base_config=base_config,
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


def _base_config(text: str, name: str) -> Config | None:
    """Base's configuration; one that this version cannot read counts as none, for it cannot be mended."""
    try:
        return read_config(text, name=name)
    except ConfigError:
        return None


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


class Gate:
    """One run's live parts: the scratch directory, the services and the prepared sides."""

    def __init__(self, options: Options, sources: Sources, clock: Clock, stack: ExitStack) -> None:
        self.options = options
        self.sources = sources
        self.clock = clock
        self.stack = stack
        self.scratch = stack.enter_context(scratch_directory(options.cache / "scratch"))
        self.cache = dataset.Cache(options.cache / "datasets")

    def measure(self) -> tuple[Run, str]:
        """The Run, and why base could not be measured where it should have been."""
        head = self._install("head", self.sources.head.commit, self.sources.config)
        with self.clock.phase("services", "starting Postgres and Redis"):
            self.running = self.stack.enter_context(
                services.start(
                    self.sources.config.services,
                    provider=self.options.services,
                    state=self.options.cache / "state",
                    notify=self.clock.notify,
                    given=given_servers(self.options.environ),
                )
            )
        head = self._with_data(head)
        self.resolved = self._resolve(head)
        plan = self._plan(head)
        key = self._key(head)
        plan = settle_base(plan, self.sources.stored, key)
        base, unmeasured = self._base(plan)
        if base is None:
            plan = dataclasses.replace(plan, base=())
        infos = [self._info(head)] + ([self._info(base)] if base else [])
        run = Run(
            tool=f"perf-gate {__version__}",
            environment=self._environment(head),
            plan=plan,
            sides=tuple(infos),
        )
        run = self._carry_out(plan, run, {side.name: side for side in (head, base) if side})
        return dataclasses.replace(run, timeline=self.clock.timeline), unmeasured

    def _carry_out(self, plan: Plan, run: Run, sides: Mapping[SideName, Prepared]) -> Run:
        deadline = time.monotonic() + plan.time_budget
        while not isinstance(step := next_step(plan, run), Done):
            for name, cases in step.cases:
                self.clock.notify(f"pass {step.pair} of {plan.passes}: {name}, {len(cases)} cases")
                samples, evidence = visit(
                    step, cases, sides[name], plan, gate=self, resolved=self.resolved, deadline=deadline
                )
                run = run.extended(samples, evidence)
        return run

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
        plan = dataset.describe(server, database, side.config.dataset, scale=scale)
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
        self._check_space(plan)
        self.clock.notify(f"seeding {plan.rows:,} rows")
        template = dataset.build(self.running.postgres, database, plan, notify=self.clock.notify)
        if self.running.keeps_data:
            self.running.save_data(self.cache.place(plan.key))
            self.cache.prune()
        return template

    def _holds_templates(self) -> bool:
        return bool(dataset.templates(self.running.postgres))

    def _check_space(self, plan: dataset.DataPlan) -> None:
        for place in {str(self.options.cache), self.running.data_place}:
            check_space(needed=plan.estimated_bytes, free=shutil.disk_usage(place).free, place=place)

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

    def _base(self, plan: Plan) -> tuple[Prepared | None, str]:
        """Base as a live side, where its counts must be measured.

        Base may be broken in ways head mends: then its rows are incomparable, with the reason.
        """
        base = self.sources.base
        if not plan.base or base is None:
            return None, ""
        self.clock.notify(f"{len(plan.base)} cases have no stored counts that can be used: measuring base")
        # Suites come from head for both sides; how base is installed, started and seeded is its own.
        config = self.sources.base_config or self.sources.config
        config = config.model_copy(update={"suites": self.sources.config.suites})
        try:
            return self._with_data(self._install("base", base, config)), ""
        except (EnvironmentFailure, ConfigError) as error:
            self.clock.notify(f"base could not be measured: {error.message}")
            return None, error.message

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
