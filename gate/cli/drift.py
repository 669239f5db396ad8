"""How far many small steps have led: a report's counts and times against those of a pinned anchor.

Each pull request is compared with its base alone, so ten slowdowns of 4 % under a limit of 5 % pass one by
one. This only tells: times of different runs are never judged by.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gate import baseline
from gate.baseline import Kept
from gate.cli.sources import SUITES, read_suites
from gate.config import Config
from gate.judge import run_of
from gate.model import GATED, METRICS, Case, Finding, Kind, Level, PlannedCase, Report, SideRun
from gate.report import format as f
from gate.target.repository import Repository

Read = Callable[[str], str | None]  # the text of a file, by its path; None without one
MOST = 10  # cases named in a report
_COMMIT = 40  # hex digits of a commit id


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One metric of one case, then and now. ratio: infinite where it was 0."""

    case: Case
    label: str
    metric: str
    before: float
    after: float

    @property
    def ratio(self) -> float:
        return self.after / self.before if self.before else math.inf

    def __str__(self) -> str:
        metric = METRICS[self.metric]
        if metric.kind is Kind.TIMING:
            values = f"{f.seconds(self.before)} -> {f.seconds(self.after)}"
            return f"{self.metric} {f.tenths(self.ratio)} ({values})"
        return f"{self.metric} {f.count(self.before)} -> {f.count(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """since: the anchor, empty where there is none yet. steps: furthest first; what came closer is left out.

    runs: kept for this kind of machine. compared: counts and times that both have.
    """

    since: str = ""
    steps: tuple[Step, ...] = ()
    runs: int = 0
    compared: int = 0


def drift_here(report: Report, config: Config, repository: Repository) -> Drift:
    """By the kept times of the working tree, and the anchor's files as git has them.

    Raises RepositoryError for an anchor that is not there, BaselineError for a file that is damaged.
    """

    def read(path: str) -> str | None:
        file = repository.root / path
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def at(ref: str) -> Read:
        return lambda path: repository.show(ref, path)

    return drifted(report, config, read=read, at=at)


def drifted(report: Report, config: Config, *, read: Read, at: Callable[[str], Read]) -> Drift:
    """read: the files of the branch that the report's head is on, or goes into. at: those of a commit or tag.

    Counts are compared as they are. A time is that of the newest kept run, taken alone on the same kind of
    machine as the anchor's; for a change that is measured beside its base, times the ratio found there.
    """
    head = run_of(report).cut("head")
    if head is None or head.side.data_key is None:
        return Drift()
    runner = baseline.runner_of(report.environment, head.side.data_key)
    paths = {suite: baseline.times_path(config.baselines, runner, suite) for suite in SUITES}
    runs = {suite: _runs(read, path) for suite, path in paths.items()}
    oldest = next((kept[0].commit for kept in runs.values() if kept), "")
    anchor = config.policy.drift.anchor or oldest
    if not anchor:
        return Drift()
    then = at(anchor)
    counts = read_suites(config.baselines, then, ref=anchor)
    found, compared = [], 0
    for planned in head.cases:
        kept = runs.get(planned.case.suite, ())
        steps = [*_counted(planned, counts, head)]
        if kept:
            first = next((run for run in kept if run.commit == anchor), None)
            if first is None and config.policy.drift.anchor:
                first = next(iter(_runs(then, paths[planned.case.suite])[-1:]), None)
            steps += _timed(planned, first, kept[-1], report)
        compared += len(steps)
        found += [step for step in steps if step.after > step.before]
    since = anchor[:10] if len(anchor) == _COMMIT else anchor
    return Drift(
        since=since,
        steps=tuple(sorted(found, key=lambda step: (-step.ratio, str(step.case), step.metric))),
        runs=max(map(len, runs.values()), default=0),
        compared=compared,
    )


def findings(drift: Drift, config: Config) -> tuple[Finding, ...]:
    """One for each case that has drifted further than `policy.drift.above`, the furthest first."""
    policy = config.policy.drift
    cases: dict[Case, list[Step]] = {}
    for step in drift.steps:
        if step.ratio > 1 + policy.above:
            cases.setdefault(step.case, []).append(step)
    level = Level(policy.level)
    found = [
        Finding(name="drift", level=level, case=case, text=f"{_sentence(steps)} since {drift.since}")
        for case, steps in list(cases.items())[:MOST]
    ]
    if len(cases) > MOST:
        text = f"{len(cases) - MOST} more cases have drifted since {drift.since}: perf-gate baseline drift"
        found.append(Finding(name="drift", level=level, text=text))
    return tuple(found)


def told(drift: Drift) -> str:
    """All of it, for a person: a line for each count and time that is worse than the anchor's."""
    if not drift.since:
        return "nothing to compare with: no times are kept, and policy.drift names no anchor\n"
    runs = f"{drift.runs} run{'' if drift.runs == 1 else 's'} of times kept for this kind of machine"
    head = (
        f"since {drift.since}: {drift.compared} counts and times, {len(drift.steps)} of them worse; {runs}\n"
    )
    return head + "".join(f"  {step.label}: {step}\n" for step in drift.steps)


def _sentence(steps: Sequence[Step]) -> str:
    return f"{steps[0].label}: {', '.join(map(str, steps))}"


def _runs(read: Read, path: str) -> tuple[Kept, ...]:
    text = read(path)
    return baseline.times_from_text(text, name=path) if text is not None else ()


def _counted(planned: PlannedCase, then: SideRun | None, head: SideRun) -> list[Step]:
    """The exact counts that the anchor's baseline has of a case, where data and request are the same."""
    was = next((each for each in then.cases if each.case == planned.case), None) if then else None
    keys = (then.side.data_key if then else None, head.side.data_key)
    if was is None or was.definition != planned.definition or None in keys:
        return []
    if len({(key.dataset, key.postgres, key.initdb) for key in keys if key}) > 1:
        return []
    found = []
    for sample in then.samples if then else ():
        now = head.sample(planned.case, sample.metric.name)
        if sample.case == planned.case and sample.metric.kind is Kind.EXACT and now is not None:
            values = min(sample.values), min(now.values)
            found.append(_step(planned, sample.metric.name, *values))
    return found


def _timed(planned: PlannedCase, first: Kept | None, last: Kept, report: Report) -> list[Step]:
    was, now = first.of(planned.case) if first else None, last.of(planned.case)
    if first is None or was is None or now is None or first.dataset != last.dataset:
        return []
    if len({was.definition, now.definition, planned.definition}) > 1:
        return []
    rows = (row for row in report.comparisons if row.case == planned.case and row.metric in GATED)
    ratio = next((row.ratio for row in rows if row.ratio and row.ratio > 0), 1.0)
    if last.commit == report.sides.head.ref:
        ratio = 1.0  # it is head's own time
    metric = "latency" if planned.case.suite == "endpoints" else "time"
    before, after = statistics.median(was.values), statistics.median(now.values) * ratio
    return [_step(planned, metric, before, after)]


def _step(planned: PlannedCase, metric: str, before: float, after: float) -> Step:
    return Step(case=planned.case, label=planned.label, metric=metric, before=before, after=after)
