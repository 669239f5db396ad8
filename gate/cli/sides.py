"""The sides of one run on their way from a commit to a sealed data set.

Where there are two, both are migrated at once and their pytests collect at once: most of the time before
the first measurement is a wait for other programs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gate import dataset, db, services
from gate.cli.clock import Clock
from gate.cli.measure import Collected, collecting
from gate.cli.prepared import Prepared
from gate.cli.scratch import scratch_directory
from gate.cli.sources import Options, Sources
from gate.config import Config, Services
from gate.errors import GateError
from gate.model import PostgresServer, SideName
from gate.plan import CACHED, COPIES, Room, check_space, needed_bytes, rough_bytes
from gate.suites import endpoints
from gate.target.environment import installed
from gate.target.process import migrating

Running = Mapping[SideName, services.Running]


class Workshop:
    """What sides are made with: the scratch directory, the caches and the services.

    stack: holds whatever lives until the end of the run.
    """

    def __init__(self, options: Options, sources: Sources, clock: Clock, stack: ExitStack) -> None:
        self.options = options
        self.sources = sources
        self.clock = clock
        self.stack = stack
        self.scratch = stack.enter_context(scratch_directory(options.cache / "scratch"))
        self.cache = dataset.Cache(options.cache / "datasets")
        self.running: Running = {}
        self._migrated: dict[SideName, services.Running] = {}
        self._unsaved: list[tuple[services.Running, str]] = []
        self._shares: dict[tuple[PostgresServer, str, float], dataset.Template] = {}

    def start_services(self) -> None:
        """One set for both sides, or one each where they are to differ."""
        needed = self._needed()
        with self.clock.phase("services", "starting Postgres and Redis"):
            base = self.sources.config.services
            changes = self.options.changes
            head = changes.of_services(self.sources.config) if changes else base
            started = self._services(head, needed if head == base else 2 * needed)
            apart = head != base
            theirs = self._services(base, needed, beside=started) if apart else started
            self.running = {"head": started, "base": theirs}

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

    def _needed(self) -> int:
        """Bytes of one side's data by the configuration alone, judged before anything is started; 0 where
        not ours: what given servers have room for is out of sight."""
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

    def install(self, name: SideName, commit: str, config: Config, *, tag: str = "") -> Prepared:
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

    def with_data(self, side: Prepared) -> Prepared:
        """The side with the sealed template of its own schema: found, restored or built."""
        with self.migrating(side) as migrated:
            plan = migrated()
        return self.seeded(side, plan)

    def both_with_data(self, sides: Sequence[Prepared]) -> list[Callable[[], Prepared]]:
        """As `with_data` of each, migrated at the same time; calling gives a side, and is due in order.

        Migrations may get in each other's way (both make the same role): what fails beside one that does
        not is tried again alone.
        """
        begun: list[Callable[[], dataset.DataPlan] | GateError] = []
        outcomes: list[dataset.DataPlan | GateError] = []
        with ExitStack() as stack:
            for side in sides:
                try:
                    begun.append(stack.enter_context(self.migrating(side)))
                except GateError as error:
                    begun.append(error)
            for migrated in begun:
                try:
                    outcomes.append(migrated if isinstance(migrated, GateError) else migrated())
                except GateError as error:
                    outcomes.append(error)
        again = any(isinstance(outcome, dataset.DataPlan) for outcome in outcomes)
        return [
            functools.partial(self._finished, side, outcome, again=again)
            for side, outcome in zip(sides, outcomes, strict=True)
        ]

    def _finished(self, side: Prepared, outcome: dataset.DataPlan | GateError, *, again: bool) -> Prepared:
        if isinstance(outcome, dataset.DataPlan):
            return self.seeded(side, outcome)
        if again:
            return self.with_data(side)
        raise outcome

    def on_share(self, side: Prepared, share: float) -> Prepared:
        """The side with another template, of so much of its data set; it goes with the end of the run.

        Sides with one data set have one share of it. It is made of a clone of the whole, so that nothing
        is migrated once more.
        """
        of = (side.running.postgres, side.sealed.key, share)
        if of not in self._shares:
            with self.clock.phase("seed", f"seeding {share:.0%} of the rows to see what grows with the data"):
                self._shares[of] = self._share(side, share)
        return dataclasses.replace(side, template=self._shares[of])

    def _share(self, side: Prepared, share: float) -> dataset.Template:
        server, over = side.running.postgres, frozenset(name for name, _, _ in side.sealed.tables)
        # What is built of the clone takes its name away, and then nothing is left to drop.
        with dataset.cloned(server, side.sealed, migrated_database(side)) as database:
            plan = self._described(side, share=share, over=over)
            # A run that was killed left it on a server that was given.
            template = dataset.find(server, plan.key)
            if template is None:
                template = dataset.build(server, database, plan, over=over, notify=self.clock.notify)
        self.stack.callback(self._forgotten, server, template)
        return template

    def _forgotten(self, server: PostgresServer, template: dataset.Template) -> None:
        """A server that is gone must not cost the verdict at the very end."""
        try:
            dataset.drop(server, template.database)
        except (GateError, db.Error) as error:
            self.clock.notify(f"{template.database} could not be dropped: {error}")

    @contextmanager
    def migrating(self, side: Prepared) -> Iterator[Callable[[], dataset.DataPlan]]:
        """Begins to migrate an empty database. Calling awaits it, and gives what belongs into its tables."""
        server, name, database = side.running.postgres, side.name, migrated_database(side)
        self.clock.notify(f"migrating {name}")
        dataset.create(server, database)
        live = side.side(server, database, side.running.redis(name))
        log = self.scratch / f"{name}-migrate.log"
        with migrating(side.config.target, live, log=log) as migrated:

            def described() -> dataset.DataPlan:
                with self.clock.phase("migrate"):
                    migrated()
                self._migrated[name] = side.running
                plan = self._described(side)
                for note in plan.notes:
                    self.clock.notify(f"{name}: {note}")
                return plan

            yield described

    def _described(
        self, side: Prepared, *, share: float = 1.0, over: frozenset[str] = frozenset()
    ) -> dataset.DataPlan:
        """What belongs into the tables of the side's database. over: tables that hold rows which will go."""
        server, database, own = side.running.postgres, migrated_database(side), self.sources.config.dataset
        # Head's specification is both sides', and so are the files that it names.
        files = self.scratch / "head" / Path(self.sources.path).parent
        spec = (
            dataset.fitting(server, database, own, directory=files)
            if side.name == "base"
            else side.config.dataset
        )
        scale = side.config.dataset.scale * (self.options.scale or 1.0) * share
        return dataset.describe(server, database, spec, scale=scale, directory=files, over=over)

    def seeded(self, side: Prepared, plan: dataset.DataPlan) -> Prepared:
        """The side with its data; plan: what `migrating` gave of it."""
        with self.clock.phase("seed"):
            template = self._restored(side.running, plan.key) or self._built(side, plan)
        self.clock.notify(f"{side.name}: {template.rows:,} rows, data set {template.digest[:12]}")
        return dataclasses.replace(side, template=template)

    def _restored(self, running: services.Running, key: str) -> dataset.Template | None:
        """The template of a key, if the server or the cache has it."""
        found = dataset.find(running.postgres, key)
        if found is not None or not running.keeps_data or dataset.templates(running.postgres):
            return found
        cached = self.cache.find(key)
        if cached is None:
            return None
        self.clock.notify("restoring the seeded data set from the cache")
        running.restore_data(cached)
        # All that the server held is replaced, other sides' migrated databases too.
        self._migrated = {name: each for name, each in self._migrated.items() if each is not running}
        return dataset.find(running.postgres, key)

    def _built(self, side: Prepared, plan: dataset.DataPlan) -> dataset.Template:
        running = side.running
        if running.keeps_data:
            self._check_space(plan.estimated_bytes, Path(running.data_place))
        if side.name not in self._migrated:
            with self.migrating(side) as migrated:
                migrated()
        self.clock.notify(f"seeding {plan.rows:,} rows")
        template = dataset.build(running.postgres, migrated_database(side), plan, notify=self.clock.notify)
        if running.keeps_data:
            self._unsaved.append((running, plan.key))
        return template

    def save(self) -> None:
        """Keep what was built. The servers restart for it, so nobody may be connected."""
        for running, key in self._unsaved:
            running.save_data(self.cache.place(key))
            self.cache.seal(key)
            self.cache.prune()
        self._unsaved.clear()

    @contextmanager
    def looking(self, side: Prepared) -> Iterator[str]:
        """A clone of the side's data, for its code to be imported beside, and to be read."""
        with dataset.cloned(side.running.postgres, side.sealed, f"{side.name}_look") as database:
            yield database

    def collecting(
        self, side: Prepared, beside: ExitStack, database: str | None = None
    ) -> Callable[[], Collected]:
        """Begins to collect the benchmarks of a side, where any are asked for; calling awaits them.

        database: a clone of the side's data; made where there is none yet.
        """
        if side.config.suites.benchmarks is None or not self.options.asked("benchmarks"):
            return tuple
        database = database or beside.enter_context(self.looking(side))
        return beside.enter_context(collecting(side, database, clock=self.clock))


def resolve(head: Prepared, database: str) -> endpoints.Resolved:
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


def given_servers(environ: Mapping[str, str]) -> services.Given | None:
    """The servers of `--services external`: one Postgres, and one Redis for each side, comma-separated."""
    postgres, redis = environ.get("PERF_GATE_POSTGRES_URL"), environ.get("PERF_GATE_REDIS_URLS")
    if not postgres or not redis:
        return None
    return services.Given(postgres=postgres, redis=tuple(url.strip() for url in redis.split(",")))


def migrated_database(side: Prepared) -> str:
    return f"migrated_{side.name}"


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
