"""What a run starts from: options, configuration, the two sides' commits and their baselines.

Everything that can be read and refused before a service is started.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gate import baseline, services
from gate.config import Config, Services
from gate.errors import ConfigError
from gate.judge import Context
from gate.model import (
    Case,
    Caveat,
    PlannedCase,
    Report,
    Setting,
    SideRun,
)
from gate.schema import report_to_json
from gate.suites import endpoints
from gate.target.base import Event
from gate.target.placeholders import check_placeholders
from gate.target.repository import Repository, Snapshot
from gate.toml import read_config, settings

SUITES = ("endpoints", "benchmarks")
LAST_REPORT = "report.json"


WORKING_TREE = "."  # in place of a ref
_WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What head is to have that base has not, in `perf-gate ab`: environment, settings of the services."""

    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    postgres: Mapping[str, str] = field(default_factory=dict)
    redis: Mapping[str, str] = field(default_factory=dict)

    def of_target(self, config: Config) -> Config:
        env = config.target.env | dict(self.env)
        return config.model_copy(update={"target": config.target.model_copy(update={"env": env})})

    def of_services(self, config: Config) -> Services:
        """Head's services; equal to the configured ones where nothing of them is changed."""
        own = config.services
        postgres = own.postgres.model_copy(update={"settings": own.postgres.settings | dict(self.postgres)})
        redis = own.redis.model_copy(update={"settings": own.redis.settings | dict(self.redis)})
        return own.model_copy(update={"postgres": postgres, "redis": redis})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line and the environment asked for.

    directory: where the command was called. config: relative to it. scale multiplies the
    configuration's. event: set in GitHub Actions only. head: a ref, or the working tree. changes: set
    where two sides are compared for their own sake: nothing stored is then looked at.
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
    head: str = WORKING_TREE
    changes: Changes | None = None

    def asked(self, suite: str) -> bool:
        """Whether any case of the suite can be meant."""
        of_only, slash, _ = self.only.partition("/")
        elsewhere = slash and not _WILDCARD.search(of_only) and of_only != suite
        return not elsewhere and (not self.suites or suite in self.suites)


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
        found = []
        if self.unreadable:
            text = f"base's configuration cannot be read, head's is used for both: {self.unreadable}"
            found.append(Caveat(code="base-configuration", text=text))
        if self.base == self.head.commit and self.stored is not None:
            text = "base and head are the same commit: only its stored counts can show a change"
            text += "; --against HEAD~1 compares with the commit before"
            found.append(Caveat(code="same-commit", text=text))
        return tuple(found)


def endpoint_cases(config: Config) -> tuple[PlannedCase, ...]:
    """The cases of the endpoints suite; none where there is no such suite."""
    suite = config.suites.endpoints
    return endpoints.cases(suite, anchors=config.dataset.anchors) if suite is not None else ()


def judging(sources: Sources, options: Options) -> Config:
    """Whose policy and budgets count: in CI base's, so that a pull request cannot loosen its own gate."""
    trusted = options.event is not None and sources.base_config is not None
    return sources.base_config if trusted and sources.base_config else sources.config


def context_of(sources: Sources, options: Options, unmeasured: str = "") -> Context:
    """What a run of these sources is judged by."""
    return Context(
        config=judging(sources, options),
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
    path = _inside(file, repository.root)
    head = _side(repository, options.head)
    text = _read(file) if options.head == WORKING_TREE else repository.show(head.commit, path)
    if text is None:
        raise ConfigError("there is no such configuration", where=f"{path} at {options.head}")
    config = read_config(text, name=options.config)
    if options.against == WORKING_TREE:
        base: str | None = _side(repository, WORKING_TREE).commit
    else:
        base = repository.base_of(
            head,
            against=options.against,
            default_branch=config.policy.default_branch,
            event=options.event,
        )
    base_config, unreadable = _base_config(repository, base, path) if base else (None, "")
    stored_in = (base_config or config).baselines
    for_own_sake = options.changes is not None
    return Sources(
        repository=repository,
        config=options.changes.of_target(config) if options.changes else config,
        text=text,
        path=path,
        head=head,
        base=base,
        base_config=base_config or config if for_own_sake else base_config,
        unreadable=unreadable,
        stored=read_baselines(repository, base, stored_in) if base and not for_own_sake else None,
        edited=None if for_own_sake else read_baselines(repository, head.commit, config.baselines),
    )


def _side(repository: Repository, ref: str) -> Snapshot:
    if ref == WORKING_TREE:
        return repository.snapshot()
    return Snapshot(commit=repository.named(ref), dirty=False)


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
    return read_suites(directory, lambda path: repository.show(commit, path), ref=commit)


def read_suites(directory: str, read: Callable[[str], str | None], *, ref: str = "") -> SideRun | None:
    """The stored suites that `read` gives the text of, joined. Raises BaselineError."""
    found = []
    for suite in SUITES:
        path = f"{directory}/{suite}.json"
        text = read(path)
        if text is not None:
            name = f"{path} at {ref[:12]}" if ref else path
            found.append(baseline.from_text(text, name=name, ref=ref))
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
