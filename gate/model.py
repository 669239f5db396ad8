"""The nouns: frozen values that pass between rooms.

Standard library only; every other module may import this one, it imports none of them. Units are
base units (seconds, bytes); formatting happens in `gate.report` alone. The JSON Schemas of a Run and
of a Report are made from these classes by `gate.schema`, so a field added here is a field there.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

RUN_SCHEMA = "perf-gate.run/1"
REPORT_SCHEMA = "perf-gate.report/1"
BASELINE_SCHEMA = "perf-gate.baseline/1"

SideName = Literal["base", "head"]


class Kind(StrEnum):
    """How a metric behaves, and so which rules may judge it (DESIGN.md section 4)."""

    EXACT = "exact"
    TIMING = "timing"
    GAUGE = "gauge"


class Direction(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"


class Outcome(StrEnum):
    """What comparing one metric of one case says; a fact, before any policy."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    NEW = "new"
    MISSING = "missing"
    INCOMPARABLE = "incomparable"
    OVER_BUDGET = "over budget"
    ACCEPTED = "accepted"


WORSE = frozenset({Outcome.REGRESSED, Outcome.ACCEPTED})


class Level(StrEnum):
    """What an outcome means under the policy. Only `block` can change the exit code."""

    BLOCK = "block"
    WARN = "warn"
    NOTE = "note"


class State(StrEnum):
    """The verdict in one word."""

    PASS = "pass"
    BLOCKED = "blocked"
    ACCEPTED = "accepted"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What is counted or timed. unit: "s", "bytes", "blocks", ... or "" for a plain count."""

    name: str
    unit: str
    kind: Kind
    direction: Direction = Direction.LOWER


def _exact(name: str, unit: str = "") -> Metric:
    return Metric(name=name, unit=unit, kind=Kind.EXACT)


SQL_CALLS = _exact("sql.calls")
SQL_ROWS = _exact("sql.rows", "rows")
SQL_BLOCKS = _exact("sql.blocks", "blocks")
SQL_TEMP_BLOCKS = _exact("sql.temp_blocks", "blocks")
SQL_WAL_RECORDS = _exact("sql.wal_records", "records")
SQL_TRANSACTIONS = _exact("sql.transactions")
REDIS_COMMANDS = _exact("redis.commands")
RESPONSE_BYTES = _exact("response.bytes", "bytes")
REDIS_KEYS = _exact("redis.keys", "keys")  # left behind by a request, once the case is warm
PYTHON_CALLS = _exact("python.calls")  # of functions, by one iteration of a benchmark without services
ERRORS = _exact("errors")
LATENCY = Metric(name="latency", unit="s", kind=Kind.TIMING)
TIME = Metric(name="time", unit="s", kind=Kind.TIMING)
# Processor time of the target's own processes, and of Postgres and Redis for it: what of a slowdown is
# work, and whose, and what is waiting.
CPU = Metric(name="cpu", unit="s", kind=Kind.TIMING)
SERVICES_CPU = Metric(name="cpu.services", unit="s", kind=Kind.TIMING)
# Of the target's processes in one pair: what a request leaves behind, once the case is warm, and what the
# first requests of the case take at most beyond what was held before.
MEMORY_GROWTH = Metric(name="memory.growth", unit="bytes", kind=Kind.GAUGE)
MEMORY_PEAK = Metric(name="memory.peak", unit="bytes", kind=Kind.GAUGE)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        SQL_CALLS,
        SQL_ROWS,
        SQL_BLOCKS,
        SQL_TEMP_BLOCKS,
        SQL_WAL_RECORDS,
        SQL_TRANSACTIONS,
        REDIS_COMMANDS,
        REDIS_KEYS,
        RESPONSE_BYTES,
        PYTHON_CALLS,
        ERRORS,
        LATENCY,
        TIME,
        CPU,
        SERVICES_CPU,
        MEMORY_GROWTH,
        MEMORY_PEAK,
    )
}
GATED = (LATENCY.name, TIME.name)  # the timings that are judged; the others are shown beside them
GAUGES = (MEMORY_GROWTH.name, MEMORY_PEAK.name)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Case:
    """One thing measured. `str(case)` is its identity everywhere: "endpoints/playlist[per_page=10]"."""

    suite: str
    name: str
    parameters: str = ""

    def __str__(self) -> str:
        return f"{self.suite}/{self.name}" + (f"[{self.parameters}]" if self.parameters else "")

    @classmethod
    def parse(cls, text: str) -> Case:
        """The inverse of `str`. Raises ValueError where no suite is named."""
        suite, slash, rest = text.partition("/")
        if not (suite and slash and rest):
            message = f"not a case: {text!r} (expected suite/name)"
            raise ValueError(message)
        if rest.endswith("]") and "[" in rest:
            name, _, parameters = rest[:-1].partition("[")
            if name and parameters:
                return cls(suite=suite, name=name, parameters=parameters)
        return cls(suite=suite, name=rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """A doubt attached to a number; it travels with the number to every renderer and never raises.

    code: a short stable name ("nondeterministic", "n-too-small"); text: one sentence.
    """

    code: str
    text: str


SKIPPED = "skipped"  # the code of the caveat on `errors` of a case that chose not to run


class Point(NamedTuple):
    """One value: which pair (from 1), which visit in the pair (from 1), which position in the visit.

    A tuple, for in a report there are a hundred thousand of them, and names would be most of the file.
    """

    pair: int
    visit: int
    position: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """All values of one case and metric on one side, in the order measured, in the metric's unit.

    Exact metrics: one point a count pass, the total of the pass divided by its requests.
    Timings: one point a request or round.
    """

    case: Case
    metric: Metric
    side: SideName
    points: tuple[Point, ...]
    caveats: tuple[Caveat, ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(point.value for point in self.points)

    @property
    def skipped(self) -> str:
        """Why the case chose not to run; empty where it ran."""
        return next((caveat.text for caveat in self.caveats if caveat.code == SKIPPED), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The work of one SQL statement in a count pass, per request of the case.

    fingerprint: of the normalised text, the same on every machine and major version.
    text: the normalised text, for people.
    transaction: BEGIN, COMMIT, SAVEPOINT and the like, which are not in `sql.calls`.
    seconds: of one execution, on average; no file holds it.
    """

    fingerprint: str
    text: str
    calls: float
    rows: float
    blocks: float
    temp_blocks: float = 0.0
    wal_records: float = 0.0
    transaction: bool = False
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The calls of one Redis command in a count pass, per request of the case."""

    name: str
    calls: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmth:
    """SQL statements of one request by what its cache holds: cold, nothing; warm, what the same request
    left a moment ago; crowd: of `size` such requests at once on an empty cache, together. found: keys that
    the warm request found and the cold one did not."""

    cold: float
    warm: float
    crowd: float
    size: int
    found: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a count pass saw behind the totals of one case on one side; explains, is never gated.

    The first pass of the side. statements and commands are sorted by fingerprint and name. hits, misses,
    evictions: of Redis, per request. warmth: of a reading case that looks into Redis; in no file.
    caching: what the answers' headers allow browsers and proxies (`gate.explain.headers`); None where that is
    not known. failure: what a failing request or benchmark said, empty where none failed.
    """

    case: Case
    side: SideName
    statements: tuple[Statement, ...] = ()
    commands: tuple[Command, ...] = ()
    hits: float = 0.0
    misses: float = 0.0
    evictions: float = 0.0
    warmth: Warmth | None = None
    caching: tuple[tuple[str, bool], ...] | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index after all cases of a side were measured. definition: without its name, "USING btree (a)".

    scans: how often Postgres used it. bytes: its size on the disk. unique: also those of constraints.
    """

    name: str
    definition: str
    bytes: int
    scans: int
    unique: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A table of one side with its indexes, sorted by name. bytes: all of it on the disk."""

    side: SideName
    table: str
    bytes: int
    indexes: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """A statement that Postgres answers in another way than on base.

    lines: both plans' shapes as one; "- " was, "+ " is, "  " is in both. sentence: the most telling change.
    """

    fingerprint: str
    text: str
    lines: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A function of the project that takes more time on head, by sampled stacks, with what it called outside
    the project. Seconds per request or iteration, head less base.

    file: from the root of the repository, empty for code outside the project. line, text: of head's line in
    it that gained most. into: what that line waited for or computed, as called: "time.sleep", "psycopg".
    caller: the project's line that called the function. wall, cpu: thread seconds, and those of them in
    which the processor worked. error: one standard error of the part that gained more.
    new: base does not have it. touched: the change edits its file.
    """

    file: str
    function: str
    line: int
    text: str = ""
    into: str = ""
    caller: str = ""
    wall: float
    cpu: float
    error: float = 0.0
    new: bool = False
    touched: bool = False

    @property
    def wait(self) -> float:
        return self.wall - self.cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A line of the project that allocates memory which head holds and base does not.

    metric: "memory.growth": size and repeated are bytes per request that stay, of requests that differ and of
    one that is made again and again (None where not both could be asked for); "memory.peak": size is bytes
    held at the same time. file, function, line, text: as of a Gain.
    """

    metric: str
    file: str
    function: str
    line: int
    text: str = ""
    size: float
    repeated: float | None = None
    touched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a look into one case that got worse has shown; explains, is never gated.

    plans: in the order of their fingerprints. gains: largest first. parts: of the answer to one request, that
    take more bytes. calls: of functions, more in one iteration. holdings: most bytes first. caveats: what
    could not be seen.
    """

    case: Case
    plans: tuple[PlanChange, ...] = ()
    gains: tuple[Gain, ...] = ()
    calls: tuple[Difference, ...] = ()
    parts: tuple[Difference, ...] = ()
    holdings: tuple[Holding, ...] = ()
    caveats: tuple[Caveat, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A method and a path that the application has, the path as it writes it. measured: by some request."""

    method: str
    path: str
    measured: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKey:
    """What must match for stored exact counts to be comparable (DESIGN.md section 3).

    dataset: digest of every row of the data set. initdb: the options that decide pages and order.
    python: "3.11", or empty for a target in another language. packages: (name, version), sorted;
    for other languages one pair per key file, ("package-lock.json", digest).
    """

    dataset: str
    postgres: int
    initdb: tuple[str, ...]
    python: str = ""
    packages: tuple[tuple[str, str], ...] = ()

    def differences(self, other: DataKey) -> tuple[str, ...]:
        """One sentence per field in which `other` differs; empty where the keys match."""
        found: list[str] = []
        for name, mine, theirs in (
            ("data set", self.dataset[:12], other.dataset[:12]),
            ("Postgres", str(self.postgres), str(other.postgres)),
            ("initdb options", " ".join(self.initdb), " ".join(other.initdb)),
            ("Python", self.python, other.python),
        ):
            if mine != theirs:
                found.append(f"{name} {mine or 'none'} -> {theirs or 'none'}")
        mine_packages, their_packages = dict(self.packages), dict(other.packages)
        for name in sorted(mine_packages.keys() | their_packages.keys()):
            before, after = mine_packages.get(name, "absent"), their_packages.get(name, "absent")
            if before != after:
                found.append(f"{name} {before} -> {after}")
        return tuple(found)


Statistic = Literal["median", "min"]
Stage = Literal["screen", "confirm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingRule:
    """What a time may do (DESIGN.md section 5). Shares of base's time, 0.05 is 5 %.

    allowed: never blocked below. detect: the slowdown promised to be caught, above allowed.
    margin: what the block's test has to reject, from 0 to allowed. floor: seconds that a slowdown must
    exceed to block. statistic: the value of one side in a pair, of all its rounds there.
    """

    allowed: float
    detect: float
    margin: float
    floor: float = 0.0
    statistic: Statistic = "median"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCase:
    """A case that both sides have and that is timed side by side, and the rule it is held to."""

    case: Case
    rule: TimingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One fresh base process and one fresh head process that took turns, or one that was lost.

    number: from 1, in the order measured. cases: timed side by side in it, whole. seconds: of wall time
    in all; start: of it making clones, starting and stopping; warm: warming up; measured: inside timed
    rounds and requests and counted requests. lost: why its times are not used; empty where they are.
    """

    number: int
    stage: Stage
    cases: tuple[Case, ...]
    seconds: float
    start: float = 0.0
    warm: float = 0.0
    measured: float = 0.0
    lost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCase:
    """A case and how it will be measured.

    label: what a reader calls it, "GET /api/playlists/{id}".
    definition: digest of everything that says how the case is measured (request, parameters, number
        of requests); stored counts are used only where it is the same.
    writes: counted after the reading cases, on rows it may change, under the rules for writers.
    """

    case: Case
    label: str
    definition: str
    writes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """A table's rows in the data set of this run, and in production."""

    table: str
    rows: int
    production: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What runs and how often; made before anything is started.

    against: "auto", "stored", "none" or a ref. cases: in the order measured, readers before writers.
    known: identities of cases that base's configuration or stored baseline names; a case of head
        not among them is new, one of them that head does not have is missing.
    passes: count passes a side, at least 1. warmup, requests: per case and count pass.
    rounds: timed requests per endpoint in each pair; 0 leaves them out. timing: false where nothing at
    all is to be timed.
    time_budget: seconds of timing in all.
    base: the cases measured on base too: all of them where it is timed, else those without stored counts.
    timed: the cases timed side by side, in the order of `cases`; none where base is not live.
    screen: pairs of the screen. untimed: why nothing is timed side by side, where something could be.
    unmeasured: why base could not be measured, where it should have been; empty otherwise.
    growth: share of the data set on which reading endpoints are counted once more; 0 leaves it out.
    production: how large tables are there, as far as it is declared. excused: cases of which a slower time is
    accepted, so that it decides nothing.
    """

    against: str
    cases: tuple[PlannedCase, ...]
    known: tuple[Case, ...] = ()
    passes: int = 2
    warmup: int = 12
    requests: int = 10
    rounds: int = 100
    timing: bool = True
    time_budget: float = 360.0
    base: tuple[Case, ...] = ()
    timed: tuple[TimedCase, ...] = ()
    screen: int = 8
    untimed: str = ""
    unmeasured: str = ""
    growth: float = 0.0
    production: tuple[Production, ...] = ()
    excused: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SideInfo:
    """What is recorded of a side. ref: a commit id, or empty for a stored baseline without one.

    stored: true where the numbers come from baselines/, false where this run measured them.
    dirty: head holds uncommitted edits.
    """

    name: SideName
    ref: str
    data_key: DataKey | None = None
    stored: bool = False
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """A row whose new value the pull request's own baseline edit accepts.

    value: of a time its ratio to base, else the metric's own.
    """

    case: Case
    metric: str
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRun:
    """One side's numbers: a Run cut to one side, or a stored baseline. What `compare` takes.

    worse: of a baseline, what a pull request accepts: times as ratios to its base, memory in bytes.
    smaller: what a count on `Plan.growth` of the data set saw; in no file.
    """

    side: SideInfo
    cases: tuple[PlannedCase, ...]
    samples: tuple[Sample, ...]
    evidence: tuple[Evidence, ...] = ()
    smaller: tuple[Evidence, ...] = ()
    worse: tuple[Accept, ...] = ()
    _found: dict[tuple[Case, str], Sample] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    _seen: dict[Case, Evidence] = field(init=False, repr=False, compare=False, default_factory=dict)
    _planned: dict[Case, PlannedCase] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for sample in self.samples:
            self._found.setdefault((sample.case, sample.metric.name), sample)
        for item in self.evidence:
            self._seen.setdefault(item.case, item)
        for planned in self.cases:
            self._planned.setdefault(planned.case, planned)

    def sample(self, case: Case, metric: str) -> Sample | None:
        return self._found.get((case, metric))

    def has(self, case: Case) -> bool:
        return case in self._planned

    def planned(self, case: Case) -> PlannedCase | None:
        return self._planned.get(case)

    def seen(self, case: Case) -> Evidence | None:
        return self._seen.get(case)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The recorded facts of the machine and the services; no host, user, path or time of day.

    postgres, redis: version strings of the servers. provider: how they were started.
    runner_class: what the configuration may name as a class of machines whose absolute times count.
    """

    os: str = ""
    arch: str = ""
    cpu: str = ""
    cores: int = 0
    python: str = ""
    provider: str = ""
    postgres: str = ""
    redis: str = ""
    runner_class: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """How long one part of the run took, in seconds of wall time."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One invocation's facts (schema perf-gate.run/1): re-enters at compare without measuring again.

    sides: the measured ones, head always; base only where it was measured in this run.
    storage: of the sides measured, where every case was. routes: of head, where they are known.
    smaller: of the sides measured, on `plan.growth` of the data set.
    """

    schema: str = RUN_SCHEMA
    tool: str
    environment: Environment
    plan: Plan
    sides: tuple[SideInfo, ...]
    samples: tuple[Sample, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    pairs: tuple[Pair, ...] = ()
    storage: tuple[Storage, ...] = ()
    routes: tuple[Route, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    smaller: tuple[Evidence, ...] = ()
    timeline: tuple[Phase, ...] = ()
    caveats: tuple[Caveat, ...] = ()

    def info(self, name: SideName) -> SideInfo | None:
        return next((side for side in self.sides if side.name == name), None)

    def cut(self, name: SideName) -> SideRun | None:
        """This run as one side, or None where that side was not measured."""
        side = self.info(name)
        if side is None:
            return None
        return SideRun(
            side=side,
            cases=self.plan.cases,
            samples=tuple(s for s in self.samples if s.side == name),
            evidence=tuple(e for e in self.evidence if e.side == name),
            smaller=tuple(e for e in self.smaller if e.side == name),
        )

    def extended(
        self,
        samples: tuple[Sample, ...],
        evidence: tuple[Evidence, ...] = (),
        pairs: tuple[Pair, ...] = (),
    ) -> Run:
        """A new Run with more points and pairs; what is known of a sample already is joined with it."""
        merged = {(s.case, s.metric.name, s.side): s for s in self.samples}
        for sample in samples:
            key = (sample.case, sample.metric.name, sample.side)
            known = merged.get(key)
            merged[key] = (
                sample
                if known is None
                else dataclasses.replace(
                    known,
                    points=known.points + sample.points,
                    caveats=known.caveats + tuple(c for c in sample.caveats if c not in known.caveats),
                )
            )
        seen = {(e.case, e.side): e for e in self.evidence}
        for item in evidence:
            earlier = seen.get((item.case, item.side))
            if earlier is None or (item.failure and not earlier.failure):
                seen[(item.case, item.side)] = item
        return dataclasses.replace(
            self,
            samples=tuple(merged.values()),
            evidence=tuple(seen.values()),
            pairs=self.pairs + pairs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """low and high bound, and the confidence achieved (0 to 1), which may exceed the one asked."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing behind a changed total. before and after are per request of the case.

    what: "statement", "command", "part" of an answer, or "function". measure: the unit of before and after
    ("calls", ...).
    """

    what: Literal["statement", "command", "part", "function"]
    text: str
    measure: str
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What explains a changed row: one sentence for the table, and all that differs, largest first.

    plans, gains, holdings: of the row's case, where it was looked into.
    """

    summary: str
    differences: tuple[Difference, ...] = ()
    plans: tuple[PlanChange, ...] = ()
    gains: tuple[Gain, ...] = ()
    holdings: tuple[Holding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of one case, base against head.

    base, head: the values compared, in the metric's unit; None where that side has none.
    delta: head - base. ratio: head / base, above 1 is worse for every metric; None where base is 0.
    interval: of a timing, of the ratio: bounds of the test that decided. Of a gauge, of delta.
    blocking: this row blocks the merge as it stands (level block, regressed or missing, not accepted).
    allowed, detect: shares (0.02 is 2 %). mde: smallest slowdown this run could have caught.
    pairs: pairs or count passes behind head's value. stage: which pairs decided a timing; empty for counts.
    needed: pairs in the confirm that would have settled an inconclusive timing; None where unknown.
    """

    case: Case
    label: str
    metric: str
    unit: str
    kind: Kind
    base: float | None
    head: float | None
    delta: float | None = None
    ratio: float | None = None
    interval: Interval | None = None
    outcome: Outcome
    level: Level = Level.NOTE
    blocking: bool = False
    allowed: float | None = None
    detect: float | None = None
    mde: float | None = None
    pairs: int = 0
    stage: Stage | Literal[""] = ""
    needed: int | None = None
    caveats: tuple[Caveat, ...] = ()
    cause: Cause | None = None


class BudgetState(StrEnum):
    """Where a value stands in the levels of a budget (DESIGN.md section 3)."""

    IDEAL = "ideal"
    TARGET = "target"
    OVER = "over target"
    WARN = "warn"
    CRITICAL = "critical"
    TOO_FEW = "n too small"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetCheck:
    """One absolute ceiling and how head stands against it.

    metric: "latency.p95", "latency.mean", "response.bytes". value: None where n is too small.
    interval: 95 % bounds of the value where it is a quantile of times.
    """

    case: Case
    label: str
    metric: str
    unit: str
    target: float
    ideal: float | None = None
    value: float | None = None
    interval: Interval | None = None
    state: BudgetState
    level: Level
    blocking: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times of one case on head, shown and held to budgets, not gated. Seconds.

    spread: half the interquartile range over the median, a share.
    p95: None below 200 values, p99: None below 1,000. cpu, services_cpu: medians of processor time of the
    program and of Postgres and Redis, None where unknown.
    """

    case: Case
    label: str
    n: int
    p50: float
    p95: float | None
    p99: float | None
    mean: float
    spread: float
    base_p50: float | None = None
    cpu: float | None = None
    services_cpu: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something seen that needs no comparison, such as a count that differs between two passes."""

    name: str
    level: Level
    text: str
    case: Case | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much was judged. cases, compared: numbers of cases; rows: comparisons with a base value.

    routes: how many the application has, 0 where that is not known. unmeasured: those that no request
    of the configuration reaches, "GET /api/songs".
    """

    cases: int
    compared: int
    rows: int
    exact_per_case: int
    routes: int = 0
    unmeasured: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Policy applied to the outcomes. reasons: worst first; the first is the report's first line."""

    state: State
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return {State.PASS: 0, State.ACCEPTED: 0, State.INCONCLUSIVE: 0, State.BLOCKED: 1, State.ERROR: 4}[
            self.state
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One effective value of the configuration and where it came from ("file", "default", "flag", "env")."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    base: SideInfo | None
    head: SideInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was run and seen, inside a report; with the plan it is enough to judge again."""

    plan: Plan
    samples: tuple[Sample, ...]
    evidence: tuple[Evidence, ...]
    pairs: tuple[Pair, ...] = ()
    storage: tuple[Storage, ...] = ()
    routes: tuple[Route, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    smaller: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a renderer needs (schema perf-gate.report/1)."""

    schema: str = REPORT_SCHEMA
    tool: str
    verdict: Verdict
    environment: Environment
    sides: Sides
    run: Measured
    config: tuple[Setting, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    timings: tuple[Timing, ...] = ()
    findings: tuple[Finding, ...] = ()
    budgets: tuple[BudgetCheck, ...] = ()
    accepts: tuple[Accept, ...] = ()
    coverage: Coverage
    timeline: tuple[Phase, ...] = ()
    caveats: tuple[Caveat, ...] = ()


# Live things described by values: what one effectful room may know of what another one started.


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running Postgres that the gate owns (or was given, provider "external").

    version: "18.6"; major: 18. initdb: the options it was initialised with.
    data_directory, pid: what the server must answer before any DDL (identity check, `gate.db`);
        empty and 0 where it is external.
    """

    provider: str
    version: str
    major: int
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    initdb: tuple[str, ...] = ()
    data_directory: str = ""
    pid: int = 0

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{database}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A running Redis or Valkey of one side. pid: what INFO process_id must answer; 0 where external."""

    provider: str
    version: str
    host: str
    port: int
    password: str = field(repr=False)
    pid: int = 0

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{self.host}:{self.port}/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """All that a suite or probe may know of a side that is being measured.

    worktree: absolute path of the checkout; directory: where the target's commands run.
    interpreter: the side's own Python, empty for a target in another language.
    env: the complete environment of its processes. base_url: empty until it is served.
    pids: of the application's processes, for what reads /proc.
    """

    name: SideName
    ref: str
    worktree: str
    directory: str
    interpreter: str
    env: dict[str, str] = field(repr=False)
    postgres_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    base_url: str = ""
    pids: tuple[int, ...] = ()
    seed: int = 0


def plain(value: Any) -> Any:
    """A value of this module as dicts, lists, strings and numbers, for canonical JSON."""
    return dataclasses.asdict(value)
