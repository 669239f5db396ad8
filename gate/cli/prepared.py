"""A side between installation and service, and what every pair of it needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gate import dataset
from gate.cli.clock import Clock
from gate.config import Config, Pin
from gate.model import Case, PostgresServer, RedisServer, Side, SideName
from gate.probes.cores import Cores
from gate.services import Running
from gate.suites import endpoints
from gate.suites.benchmarks import Terms
from gate.target.environment import Installed
from gate.target.process import prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A side that is installed and, once `template` is set, has its data. logs: where its logs go.

    running: the services it uses; both sides share them unless they are to differ.
    """

    name: SideName
    ref: str
    worktree: Path
    config: Config
    installed: Installed
    logs: Path
    environ: Mapping[str, str] = field(repr=False)
    running: Running
    template: dataset.Template | None = None

    @property
    def sealed(self) -> dataset.Template:
        if self.template is None:
            raise RuntimeError("the side has no data yet")
        return self.template

    @property
    def services(self) -> tuple[int, ...]:
        """Pids of its servers now; none where they are not on this machine."""
        return self.running.pids("postgres") + self.running.pids(self.name)

    def side(
        self, server: PostgresServer, database: str, redis: RedisServer, *, seed: int = 0, padding: int = 0
    ) -> Side:
        """The side on one database and one Redis, with its files and environment written anew.

        padding: bytes by which its environment is larger; that moves the stack, and with it the speed.
        """
        made = prepare(
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
        return dataclasses.replace(made, env=made.env | {"PERF_GATE_PADDING": "." * padding})


@dataclass(slots=True)
class Learned:
    """What the first pair finds out and every later one takes over, so that all measure the same.

    requests: timed per side and pair. terms: of benchmarks. pins: where "auto" was asked for.
    """

    requests: dict[Case, int] = field(default_factory=dict)
    terms: dict[Case, Terms] = field(default_factory=dict)
    pins: dict[Case, Pin] = field(default_factory=dict)


@dataclass(slots=True)
class Rig:
    """What every pair needs that is the same for all of them.

    resolved: known once there is data. whole: every case is measured, so that what none of them uses is idle.
    """

    clock: Clock
    cores: Cores
    resolved: endpoints.Resolved = field(default_factory=endpoints.Resolved)
    learned: Learned = field(default_factory=Learned)
    whole: bool = False
