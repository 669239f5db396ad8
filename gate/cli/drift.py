"""How far many small steps have led: a report's counts and times against those of a pinned anchor.

Each pull request is compared with its base alone, so ten slowdowns of 4 % under a limit of 5 % pass one by
one. This only tells: times of different runs are never judged by.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gate import baseline
from gate.baseline import Kept
from gate.cli.sources import SUITES, read_suites
from gate.config import Config
from gate.errors import BaselineError, GateError, RepositoryError
from gate.judge import run_of
from gate.model import GATED, LATENCY, METRICS, TIME, Case, Finding, Kind, Level, PlannedCase, Report, SideRun
from gate.report import format as f
from gate.target.repository import Repository

Read = Callable[[str], str | None]  # the text of a file, by its path; None without one
MOST = 10  # cases named in a report
RUNS = 3  # that must agree before a time is told: one run on a shared machine may be slow by any factor
_COMMIT = 40  # hex digits of a commit id


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One metric of one case, then and now. ratio: infinite where it was 0.

    least: the smallest ratio of the last runs that must agree; 0 where there are not so many.
    """

    case: Case
    label: str
    metric: str
    before: float
    after: float
    least: float

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

    Raises RepositoryError for an anchor that is not there, BaselineError for a file that is damaged or
    cannot be read.
    """

    def read(path: str) -> str | None:
        file = repository.root / path
        try:
            return file.read_text(encoding="utf-8") if file.is_file() else None
        except (OSError, UnicodeDecodeError) as error:
            hint = "restore it from git, or remove the file: times are shown only"
            raise BaselineError(f"these times cannot be read: {error}", where=path, hint=hint) from None

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
    try:
        counts = read_suites(config.baselines, then, ref=anchor)
    except RepositoryError:
        if config.policy.drift.anchor:
            raise
        # A kept run of a commit that is gone since history was rewritten; its times are still here.
        counts, then = None, lambda path: None
    ratios = {
        row.case: row.ratio
        for row in report.comparisons
        if row.metric in GATED and row.ratio and row.ratio > 0
    }
    firsts = {
        suite: next((run for run in kept if run.commit == anchor), None)
        or next(iter(_runs(then, paths[suite])[-1:]), None)
        for suite, kept in runs.items()
        if kept
    }
    found, compared = [], 0
    for planned in head.cases:
        steps = [*_counted(planned, counts, head)]
        if kept := runs.get(planned.case.suite):
            # Where the newest run is head's own, its times have the change in them already.
            own = kept[-1].commit == head.side.ref
            ratio = 1.0 if own else ratios.get(planned.case, 1.0)
            steps += _timed(planned, firsts[planned.case.suite], kept, ratio=ratio)
        compared += len(steps)
        found += [step for step in steps if step.after > step.before]
    since = anchor[:10] if len(anchor) == _COMMIT else anchor
    return Drift(
        since=since,
        steps=tuple(sorted(found, key=lambda step: (-step.ratio, str(step.case), step.metric))),
        runs=max(map(len, runs.values()), default=0),
        compared=compared,
    )


def with_drift(
    report: Report, config: Config, repository: Repository, *, notify: Callable[[str], None]
) -> Report:
    """The report of a run here, with what its change and those before it have come to.

    Told and no more: where a file for it cannot be read, that is said and the report is as it was.
    """
    try:
        found = findings(drift_here(report, config, repository), config)
    except GateError as error:
        notify(f"no drift: {error.message}")
        return report
    return dataclasses.replace(report, findings=report.findings + found)


def findings(drift: Drift, config: Config) -> tuple[Finding, ...]:
    """One for each case that has drifted further than `policy.drift.above`, the furthest first.

    A time is told where each of the last three kept runs was slower by that much.
    """
    policy = config.policy.drift
    cases: dict[Case, list[Step]] = {}
    for step in drift.steps:
        if min(step.ratio, step.least) > 1 + policy.above:
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
    was = then.planned(planned.case) if then else None
    keys = (then.side.data_key if then else None, head.side.data_key)
    if was is None or was.definition != planned.definition or None in keys:
        return []
    if len({(key.dataset, key.postgres, key.initdb) for key in keys if key}) > 1:
        return []
    found = []
    for name, metric in METRICS.items():
        before, now = (then.sample(planned.case, name) if then else None), head.sample(planned.case, name)
        if metric.kind is Kind.EXACT and before is not None and now is not None:
            found.append(_step(planned, name, min(before.values), min(now.values)))
    return found


def _timed(planned: PlannedCase, first: Kept | None, kept: Sequence[Kept], *, ratio: float) -> list[Step]:
    """The kept times of a case, where data and request are the same. ratio: of head to the last of them.

    The smaller of a run's pairs: what else a machine does makes times longer, never shorter.
    """
    was = first.of(planned.case) if first else None
    if first is None or was is None or was.definition != planned.definition:
        return []
    since = [run for run in kept if run.dataset == first.dataset and run.commit != first.commit]
    times = [time for run in since or (first,) if (time := run.of(planned.case))]
    values = [min(time.values) * ratio for time in times if time.definition == planned.definition]
    if not values or kept[-1].dataset != first.dataset:
        return []
    before = min(was.values)
    metric = LATENCY if planned.case.suite == "endpoints" else TIME
    least = min(values[-RUNS:]) / before if len(values) >= RUNS else 0.0
    return [_step(planned, metric.name, before, values[-1], least=least)]


def _step(planned: PlannedCase, metric: str, before: float, after: float, *, least: float = math.inf) -> Step:
    return Step(
        case=planned.case, label=planned.label, metric=metric, before=before, after=after, least=least
    )
