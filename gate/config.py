"""perf-gate.toml as values: what a team may write, with its defaults.

The models are the documentation of the file: one class per table, one field per key, unknown keys
refused. Reading the text, and saying where in it something is wrong, is `gate.toml`. Nothing here
touches the disk or the environment.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gate.model import Level, TimingRule

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_BYTES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}


def seconds(value: Any) -> Any:
    """Seconds of "150ms", "2s", "6m" or a bare number; ValueError says what was expected."""
    return _quantity(value, _SECONDS, "a duration such as 150ms, 2s or 6m")


def octets(value: Any) -> Any:
    """Bytes of "1MB", "64KiB" or a bare number."""
    return _quantity(value, _BYTES, "a size such as 200kB or 1MB")


def share(value: Any) -> Any:
    """ "5%" as 0.05. A bare number is refused: 5 and 0.05 are too easily confused."""
    if isinstance(value, str) and (found := re.fullmatch(r"\s*([0-9.]+)\s*%\s*", value)):
        return float(found[1]) / 100
    message = 'expected a percentage in quotes, such as "5%"'
    raise ValueError(message)


def _quantity(value: Any, units: dict[str, Any], expected: str) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"expected {expected}")
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and (found := re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]+)\s*", value)):
        unit = units.get(found[2].lower())
        if unit is not None:
            return float(found[1]) * unit
    raise ValueError(f"expected {expected}")


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Bytes = Annotated[float, BeforeValidator(octets), Field(gt=0)]
Share = Annotated[float, BeforeValidator(share), Field(ge=0)]
Command = Annotated[tuple[str, ...], Field(min_length=1)]
Pin = Literal["auto", "one", "split", "none"]
# The project's baselines are always among them.
INERT = ("*.md", "*.rst", "LICENSE*", "docs/*", ".github/*", "*.gitignore")
Scalar = str | int | float | bool


class Table(BaseModel):
    """A table of the file: frozen, and an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TargetFile(Table):
    """A small file written into a side's worktree before it is migrated: `{postgres.url}` and so on."""

    path: str
    text: str


class Target(Table):
    """The program under test. Commands are lists, started without a shell, in `directory`.

    Placeholders in commands, env and files: {python}, {port}, {postgres.url}, {postgres.host},
    {postgres.port}, {postgres.user}, {postgres.password}, {postgres.database}, {redis.url},
    {redis.host}, {redis.port}, {redis.password}, {worktree}, {seed}. `{{` and `}}` are braces.

    Before services run, install and project know {python} and {worktree} only. Paths of key_files and
    files are relative to `directory`; key_files may hold patterns.

    python: an interpreter of which each side gets its own environment; unset for another language.
    install: dependencies, cached under (key_files, commands, interpreter). project: the project
    itself, installed in each worktree every time. ready: a path that answers below 500 when up.
    """

    directory: str = "."
    python: str | None = None
    install: tuple[Command, ...] = ()
    key_files: tuple[str, ...] = ()
    project: tuple[Command, ...] = ()
    migrate: tuple[Command, ...] = ()
    start: Command
    env: dict[str, str] = {}
    files: tuple[TargetFile, ...] = ()
    ready: str = "/"
    ready_timeout: Seconds = 60.0
    stop_timeout: Seconds = 10.0
    command_timeout: Seconds = 600.0


class Postgres(Table):
    """version: the major that every provider must supply. image: for docker, by tag or digest."""

    version: int = Field(ge=14, le=30)
    settings: dict[str, Scalar] = {}
    image: str | None = None


class Redis(Table):
    """image: for docker, by tag or digest; the other providers take the server there is."""

    settings: dict[str, Scalar] = {}
    image: str = "redis:7"


class Docker(Table):
    """registry: put before image names that name none, such as "mirror.example/library".

    cpuset: cores that the servers may use, as in "0" or "0-1"; unset is all.
    """

    registry: str = ""
    cpuset: str | None = None


class Services(Table):
    """Postgres and Redis. postgres.image is unset for the official image of postgres.version."""

    postgres: Postgres
    redis: Redis = Redis()
    docker: Docker = Docker()


class Length(Table):
    """How long texts are, in characters.

    lognormal: around `mean` with a long tail; skew: the deviation of the logarithm. uniform: anything from
    low to high. None is shorter than low or longer than high, nor than type and checks allow.
    """

    mean: int | None = Field(default=None, gt=0)
    low: int = Field(default=1, ge=1)
    high: int | None = Field(default=None, gt=0)
    distribution: Literal["lognormal", "uniform"] = "lognormal"
    skew: float = Field(default=0.8, gt=0, le=2)

    @model_validator(mode="after")
    def _whole(self) -> Length:
        if self.distribution == "uniform" and (self.high is None or self.mean is not None):
            raise ValueError("uniform takes low and high, no mean")
        if self.distribution == "lognormal" and self.mean is None:
            raise ValueError("lognormal takes a mean")
        if self.high is not None and self.high < self.low:
            raise ValueError("low is above high")
        return self


class Column(Table):
    """How one column is filled; unset keys keep the generator chosen by type, constraint and name.

    values: value -> weight. nulls: share of NULL. distribution: of foreign keys and numbers; "recent" of
    times: half of what is left lies within the last half_life days before `high`, and so on back to `low`.
    low, high: bounds of numbers, or of dates in days before `as_of` (low = furthest back).
    length: mean length of text in characters, or how lengths are distributed. vocabulary: the words of a
    text, the frequent ones first, or the name of a packaged list; without length the text is one word.
    distinct: at most so many different values, the first ones more frequent unless uniform.
    relative: dates count from the start of today (UTC). constant: the same for all rows.
    pattern: text with {n} for the row's number, {n:6} with leading zeros, and drawn by chance {digits:4},
    {hex:8}, {upper:2}, {lower:2}, {word}, {first} and {last}; {code:6} is another one in every row.
    after: another column of the row, which this one is never before; NULL with it. delay: mean time
    after it. when: column -> values; in rows where that column has another value this one is NULL.
    follows: another column of the row that this one is large with; correlation: of their ranks, negative
    to be small with it.
    """

    values: dict[str, float] | tuple[Scalar, ...] | None = None
    nulls: Share | None = None
    distribution: Literal["zipf", "uniform", "lognormal", "sequence", "recent"] | None = None
    skew: float | None = Field(default=None, gt=0)
    half_life: float | None = Field(default=None, gt=0)
    low: float | None = None
    high: float | None = None
    length: Annotated[int, Field(gt=0)] | Length | None = None
    vocabulary: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    distinct: int | None = Field(default=None, gt=0)
    relative: bool = False
    pattern: str | None = None
    constant: Scalar | None = None
    after: str | None = None
    delay: Seconds | None = None
    when: dict[str, tuple[Scalar, ...]] = {}
    follows: str | None = None
    correlation: float | None = Field(default=None, ge=-1, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> Column:
        for name, needed in (("delay", "after"), ("correlation", "follows")):
            if getattr(self, name) is not None and getattr(self, needed) is None:
                raise ValueError(f"{name} needs {needed}, the column that is meant")
        if self.half_life is not None and self.distribution != "recent":
            raise ValueError('half_life is of distribution = "recent"')
        return self


class Per(Table):
    """Rows relative to a parent: `mean` for each row of `table`, at most `max`, at least `min`.

    column: which foreign key, where several refer to that table. zipf: few parents have many rows; skew:
    how few, unset so that the first has `max`. lognormal: skew is the deviation of the logarithm.
    uniform: all have the mean.
    """

    table: str
    column: str | None = None
    mean: float = Field(gt=0)
    min: int = Field(default=0, ge=0)
    max: int | None = Field(default=None, gt=0)
    distribution: Literal["zipf", "uniform", "lognormal"] = "zipf"
    skew: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _between(self) -> Per:
        if self.mean < self.min or (self.max is not None and self.mean > self.max):
            raise ValueError("mean must lie between min and max")
        return self


class DatasetTable(Table):
    """rows: before `scale`. fixed: true where `scale` must not change it (a lookup table).

    per: instead of rows, so many for each row of a parent. csv: a file with the first rows, its header
    names their columns; an empty field is NULL where that is allowed. The path is relative to where
    perf-gate is called; without rows the file has all of them. csv_ignore: columns not to be read.
    """

    rows: int = Field(default=0, ge=0)
    fixed: bool = False
    per: Per | None = None
    csv: str | None = None
    csv_ignore: tuple[str, ...] = ()
    columns: dict[str, Column] = {}

    @model_validator(mode="after")
    def _counted(self) -> DatasetTable:
        if self.per is not None and "rows" in self.model_fields_set:
            raise ValueError("rows and per exclude each other")
        if self.per is None and self.csv is None and "rows" not in self.model_fields_set:
            raise ValueError("the key 'rows' is missing; expected a whole number, or per or csv instead")
        return self


class Anchor(Table):
    """A named row whose columns request parameters use as {anchor.NAME.COLUMN}.

    where: SQL condition; order: SQL ordering. The first row wins; none is an error after seeding.
    """

    table: str
    where: str = "true"
    order: str | None = None


class Dataset(Table):
    """Rows per table and whatever should not be left to the generators (DESIGN.md section 6).

    Tables not named get `default_rows`; `ignore` names tables left as the migrations leave them
    (bookkeeping of the migration tool is always left alone). production: rows of tables there, to say
    how long a statement that grows with the data takes then.
    """

    seed: int = 1
    scale: float = Field(default=1.0, gt=0)
    as_of: str = "2026-01-01"
    default_rows: int = Field(default=1000, ge=0)
    ignore: tuple[str, ...] = ()
    tables: dict[str, DatasetTable] = {}
    anchors: dict[str, Anchor] = {}
    production: dict[str, Annotated[int, Field(gt=0)]] = {}

    @field_validator("tables")
    @classmethod
    def _rows_by_parents(
        cls, tables: dict[str, DatasetTable], info: ValidationInfo
    ) -> dict[str, DatasetTable]:
        """`rows` of tables that say `per`, as far as the file alone tells: what disk space is judged by."""
        others = int(info.data.get("default_rows", 1000))

        def rows(name: str, below: tuple[str, ...]) -> float:
            given = tables.get(name)
            if given is None or given.per is None:
                return others if given is None else given.rows
            if name in below:
                raise ValueError(
                    f"{name}.per: its rows follow from themselves: {' <- '.join((*below, name))}"
                )
            return rows(given.per.table, (*below, name)) * given.per.mean

        counted = {name: round(rows(name, ())) for name, given in tables.items() if given.per is not None}
        return {
            name: given.model_copy(update={"rows": counted[name]}) if name in counted else given
            for name, given in tables.items()
        }

    @model_validator(mode="after")
    def _known_tables(self) -> Dataset:
        if unknown := sorted(self.production.keys() - self.tables.keys()):
            raise ValueError(f"production.{unknown[0]}: tables.{unknown[0]} does not say its rows here")
        return self


class SqlValues(Table):
    """A parameter's values from the seeded data: one column, in the order the statement gives."""

    sql: str


class Budget(Table):
    """An absolute ceiling. target as teams write it; warn is 1.5 x target, critical 2 x target."""

    ideal: float | None = None
    target: float


def _timed(value: Any) -> Any:
    return _budget(value, seconds)


def _sized(value: Any) -> Any:
    return _budget(value, octets)


def _budget(value: Any, read: Any) -> Any:
    if isinstance(value, dict):
        return {k: (read(v) if k in ("ideal", "target") else v) for k, v in value.items()}
    return {"target": read(value)}


TimeBudget = Annotated[Budget, BeforeValidator(_timed)]
SizeBudget = Annotated[Budget, BeforeValidator(_sized)]


class Budgets(Table):
    """Ceilings of one endpoint or benchmark: a value, or { ideal = ..., target = ... }."""

    p50: TimeBudget | None = None
    p95: TimeBudget | None = None
    p99: TimeBudget | None = None
    mean: TimeBudget | None = None
    response_bytes: SizeBudget | None = None


class Mask(Table):
    """Bytes that may differ from request to request: every match is replaced before bytes are counted."""

    pattern: str
    replace: str = "#"


class Request(Table):
    """One named request of the `endpoints` suite.

    path: may hold {name} for each parameter, {anchor.NAME.COLUMN} and {n}, the request's number from
    1; so may query, headers, form values and strings in json, where a string that is one placeholder
    takes the value's type. {{name}} is the text {name}; other braces stay as they are.
    params: name -> list of values, or { sql = "SELECT ..." }; request i takes value i of every list,
    each list starting over at its end. A writing case uses no value twice before its list ends.
    scale: name -> two or more values; the case is measured once for each, as name[param=value].
    expect: the status that counts as success. shape: JSON keys (dotted) that must be present.
    pin: the cores while its time is taken. "one": client, application and services share one, which is
    steadiest and fastest for requests that follow each other; "split": the application has its own;
    "none": all are free; "auto": one, unless the request keeps more than one busy.
    """

    name: str
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str
    query: dict[str, Scalar] = {}
    headers: dict[str, str] = {}
    form: dict[str, Scalar] | None = None
    body: Any = Field(default=None, alias="json")
    params: dict[str, tuple[Scalar, ...] | SqlValues] = {}
    scale: dict[str, Annotated[tuple[Scalar, ...], Field(min_length=2)]] = {}
    expect: int = Field(default=200, ge=100, le=599)
    shape: tuple[str, ...] = ()
    writes: bool = False
    mask: tuple[Mask, ...] = ()
    pin: Pin = "auto"
    budgets: Budgets = Budgets()

    @model_validator(mode="after")
    def _consistent(self) -> Request:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r} may hold letters, digits, '.', '_' and '-' only")
        if not self.path.startswith("/"):
            raise ValueError(f"path {self.path!r} must start with '/'")
        if self.form is not None and self.body is not None:
            raise ValueError("form and json exclude each other")
        if self.method in ("GET", "HEAD") and (self.form is not None or self.body is not None):
            raise ValueError(f"{self.method} carries no body; use query")
        for name, values in self.params.items():
            if isinstance(values, tuple) and not values:
                raise ValueError(f"params.{name} is empty")
        return self


class Login(Table):
    """Sent once per side before anything is measured; its answer authorises every later request.

    token: dotted path of the token in the JSON answer; it is put into `header` as `prefix` + token.
    Without token the cookies of the answer are kept and sent.
    """

    method: Literal["GET", "POST"] = "POST"
    path: str
    headers: dict[str, str] = {}
    form: dict[str, Scalar] | None = None
    body: Any = Field(default=None, alias="json")
    expect: int = 200
    token: str | None = None
    header: str = "Authorization"
    prefix: str = "Bearer "


class Routes(Table):
    """Where the application's routes are known from, to tell which of them are not measured.

    openapi: path of its OpenAPI description in JSON. command: prints a line "GET /path" for each.
    ignore: globs of routes that need no measuring, "GET /metrics" or "/static/*".
    """

    openapi: str | None = None
    command: Command | None = None
    ignore: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> Routes:
        if (self.openapi is None) == (self.command is None):
            raise ValueError("name either openapi or command")
        return self


class Endpoints(Table):
    """The `endpoints` suite. warmup, requests: per case in a count pass. rounds: timed, per pair.

    A reading case is warmed by more than `warmup` where its lists are longer: by every request that
    will be counted or timed.

    headers: sent with every request. timeout: of one request. growth: share of the data set on which
    reading cases are counted once more, to see what grows with the data; unset leaves that out.
    """

    warmup: int = Field(default=12, ge=0)
    requests: int = Field(default=10, ge=1)
    rounds: int = Field(default=100, ge=0)
    timeout: Seconds = 30.0
    headers: dict[str, str] = {}
    growth: Annotated[Share, Field(gt=0, lt=1)] | None = None
    login: Login | None = None
    routes: Routes | None = None
    request: tuple[Request, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Endpoints:
        names = [request.name for request in self.request]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"request names must be unique; twice: {', '.join(twice)}")
        return self


class Benchmarks(Table):
    """The `benchmarks` suite: the project's own pytest-benchmark tests in the side's interpreter.

    paths: given to pytest, relative to target.directory. args: further pytest arguments.
    budgets: benchmark, as in "test_lyrics.test_tokens" -> ceilings of the time of one iteration.
    """

    paths: Annotated[tuple[str, ...], Field(min_length=1)]
    args: tuple[str, ...] = ()
    timeout: Seconds = 600.0
    budgets: dict[str, Budgets] = {}


class Suites(Table):
    endpoints: Endpoints | None = None
    benchmarks: Benchmarks | None = None


class Allowed(Table):
    """What times of one suite, or of one case, may do. Unset keys of a case take its suite's.

    allowed: the slowdown never blocked below. detect: the slowdown promised to be caught; must be above
    allowed. statistic: of all rounds of a side in a pair, the one that stands for them.
    """

    allowed: Share | None = None
    detect: Share | None = None
    statistic: Literal["median", "min"] | None = None


# By suite; reasons and operating tables: DESIGN.md section 5. Below 50 us nobody waits for an answer.
TIMING_RULES = {
    "endpoints": TimingRule(allowed=0.05, detect=0.10, margin=0.01, floor=50e-6),
    "benchmarks": TimingRule(allowed=0.02, detect=0.05, margin=0.005, statistic="min"),
}


FINDINGS = (
    "n+1",
    "loop",
    "row-by-row",
    "spill",
    "unused-index",
    "useless-cache",
    "stampede",
    "slow-statement",
    "grows-with-data",
    "kept-less",
)


class AcceptedFinding(Table):
    """A finding that is as it should be. case: a glob over "suite/name[parameters]", or an index's name."""

    finding: str
    case: str
    reason: Annotated[str, Field(min_length=1)]

    @field_validator("finding")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in FINDINGS:
            raise ValueError(f"unknown finding {name!r}; there are {', '.join(FINDINGS)}")
        return name


class Drift(Table):
    """How far the default branch has come from an anchor in many steps, each small enough to pass.

    anchor: a tag or commit, such as the last release; unset is the oldest run whose times are kept.
    above: the share from which it is told. level: it never blocks. keep: runs of times kept per kind of
    machine.
    """

    anchor: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._/+-]{0,199}$")] | None = None
    above: Share = 0.2
    level: Literal["note", "warn"] = "note"
    keep: Annotated[int, Field(ge=2, le=1000)] = 30

    @field_validator("anchor")
    @classmethod
    def _no_range(cls, anchor: str | None) -> str | None:
        if anchor and ".." in anchor:
            raise ValueError(f"{anchor!r} is no tag or commit")
        return anchor


class Policy(Table):
    """Opinions. inconclusive: what an inconclusive verdict does to the exit code.

    runner_classes: classes of machines (PERF_GATE_RUNNER_CLASS) on which a critical time budget may
    block; elsewhere it warns. default_branch: unset is found from the remote.
    endpoints, benchmarks: what their times may do; cases: the same by "suite/name", for all its parameters.
    inert: patterns of files that cannot change how fast the application is; where a change touches
    nothing else, `--against auto` leaves timing out. `*` matches any characters, slashes too.
    findings: the level of a finding that base does not have, "warn" where it is not named.
    accepted: findings that are to stay as they are.
    min_coverage: share of the application's routes that must be measured; unset blocks nothing.
    slow_statement: of one execution in a count pass, from which a statement is a finding.
    drift: what many small steps may come to before it is told.
    """

    endpoints: Allowed = Allowed()
    benchmarks: Allowed = Allowed()
    cases: dict[str, Allowed] = {}
    inert: tuple[str, ...] = INERT
    inconclusive: Literal["pass", "block"] = "pass"
    default_branch: str | None = None
    runner_classes: tuple[str, ...] = ()
    findings: dict[str, Level] = {}
    accepted: tuple[AcceptedFinding, ...] = ()
    min_coverage: Annotated[Share, Field(le=1)] | None = None
    slow_statement: Seconds = 0.1
    drift: Drift = Drift()

    @field_validator("findings")
    @classmethod
    def _known_findings(cls, findings: dict[str, Level]) -> dict[str, Level]:
        if unknown := sorted(findings.keys() - set(FINDINGS)):
            raise ValueError(f"unknown finding {unknown[0]!r}; there are {', '.join(FINDINGS)}")
        return findings

    @model_validator(mode="after")
    def _each_ordered(self) -> Policy:
        suites = tuple(f"{suite}/*" for suite in TIMING_RULES)
        for name in (*suites, *self.cases):
            if name.partition("/")[0] not in TIMING_RULES:
                raise ValueError(f"cases.{name!r}: name a case as suite/name, such as endpoints/health")
            rule = self.rule(name)
            if rule.detect <= rule.allowed:
                raise ValueError(
                    f"{name}: detect must be above allowed ({rule.detect:g} and {rule.allowed:g})"
                )
        return self

    def rule(self, name: str) -> TimingRule:
        """The rule for the times of a case, by its name without parameters, "endpoints/playlist"."""
        suite = name.partition("/")[0]
        rule = TIMING_RULES[suite]
        own = self.endpoints if suite == "endpoints" else self.benchmarks
        for given in (own, self.cases.get(name, Allowed())):
            rule = dataclasses.replace(rule, **given.model_dump(exclude_none=True))
        # A limit tightened below the usual margin is still to be reached by the test that blocks.
        return dataclasses.replace(rule, margin=min(rule.margin, rule.allowed / 2))


class Config(Table):
    """The whole file. baselines: the directory of stored baselines, relative to the repository's root."""

    baselines: str = "baselines"
    target: Target
    services: Services
    dataset: Dataset = Dataset()
    suites: Suites
    policy: Policy = Policy()

    @model_validator(mode="after")
    def _something_to_measure(self) -> Config:
        if self.suites.endpoints is None and self.suites.benchmarks is None:
            raise ValueError("suites: name at least one of endpoints and benchmarks")
        return self
