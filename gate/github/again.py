"""Judging again in the trusted stage: a stranger's samples under the policy and baselines of the base commit.

The report's numbers were made by code of the pull request and stay what they are; what they mean is
decided here, from files of commits that GitHub names. Only the verdict made here is rendered.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gate.config import Config
from gate.errors import GateError, PublishError
from gate.github.client import Client, NotFound, Pull
from gate.judge import Context, judge, run_of
from gate.model import ERRORS, METRICS, Case, Finding, Kind, Report, SideRun, State

MOST_FILE = 8 << 20  # bytes of a configuration or baseline; a baseline of 1,000 cases has about 3 MB
MOST_CASES = 2_000
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SEVERITY = (State.PASS, State.ACCEPTED, State.INCONCLUSIVE, State.BLOCKED, State.ERROR)

Read = Callable[[str], str | None]  # the text of a file at one commit, by its path; None without one


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What one commit says a run is judged by. known: the cases it has, by configuration and baselines.

    places: (what lies there, path) of everything that decides what is measured and how it is judged; a
    path that ends in "/" is a directory.
    """

    ref: str
    config: Config | None
    stored: SideRun | None
    known: frozenset[Case]
    places: tuple[tuple[str, str], ...] = ()

    def differs(self, other: Ground) -> bool:
        """Whether the two could judge differently; the commit's own name cannot."""
        return (self.config, _unnamed(self.stored), self.known) != (
            other.config,
            _unnamed(other.stored),
            other.known,
        )


class Survey(Protocol):
    """Reads what commits say. Both raise GateError where their files are unreadable."""

    def __call__(self, read: Read, ref: str) -> Ground: ...

    def drift(self, report: Report, ground: Ground, at: Callable[[str], Read]) -> tuple[Finding, ...]:
        """What many small steps have come to on the branch of `ground`. at: the files of a commit or tag."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A report judged again. doubts: sentences of ours that belong before it, weightiest first.

    edits: what of the gate's own the pull request changes ("workflows"), for whoever reviews it. merge:
    GitHub's trial merge of what was pushed, or that commit itself; whoever repeats the run can fetch it.
    """

    report: Report
    merge: str = ""
    doubts: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commits:
    """The commits whose files count, none of them believed.

    base: what the report was compared with, where it is on the branch `onto`; else empty.
    tip: what the pull request would be merged into now. head: what it offers, merged if GitHub could.
    """

    base: str
    tip: str
    head: str
    onto: str


def again(client: Client, pull: Pull, report: Report, *, survey: Survey) -> Judged:
    """The report's samples under the base commit's policy and baselines.

    A report that cannot be judged again is given back with a doubt that says so. Raises PublishError
    where GitHub does not answer.
    """
    commits = _commits(client, pull, report)
    try:
        plausible(report)
        tip = _trusted(client, commits.tip, survey)
        base = _trusted(client, commits.base, survey) if commits.base not in ("", commits.tip) else tip
        own = _own(client, commits.head, survey)
        made = judged(report, base, own)
        later = judged(report, tip, own) if tip.differs(base) else made
    except Unjudgeable as error:
        said = f"This report was not judged again, the check's verdict stands alone: {error.why}."
        return Judged(report=report, merge=commits.head, doubts=(said,))
    return Judged(
        report=_with_drift(client, made, base, survey),
        merge=commits.head,
        doubts=_left_out(report, base) + _doubts(report, made, later, commits),
        edits=edited(client.changed(pull.number), base.places),
    )


def _with_drift(client: Client, report: Report, base: Ground, survey: Survey) -> Report:
    """Told, and no more: where the files for it cannot be read it is left out."""
    try:
        found = survey.drift(report, base, lambda ref: _reader(client, ref))
    except PublishError:
        raise
    except (GateError, LookupError, ValueError, ArithmeticError, TypeError):  # of a stranger's values
        return report
    return dataclasses.replace(report, findings=report.findings + found)


def edited(paths: Iterable[str], places: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What lies at the places that these paths touch, each once, in the places' order."""
    changed = tuple(paths)
    found = (
        what
        for what, place in places
        if any(path == place or (place.endswith("/") and path.startswith(place)) for path in changed)
    )
    return tuple(dict.fromkeys(found))


class Unjudgeable(Exception):
    """Why a report cannot be judged again. why: words of ours, none of the pull request's."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def judged(report: Report, base: Ground, own: Ground | None) -> Report:
    """The report that `base`'s policy, budgets and baselines make of these samples.

    own: what the pull request itself says; it may accept by its baselines, and its budgets hold cases
    that base does not know. A run that claims to have been asked for no comparison is compared, and a
    case that base knows is missing where the run has no sample of it, whatever its plan says.
    """
    run = run_of(report)
    sampled = {sample.case for sample in run.samples if sample.side == "head"}
    adoption = base.config is None and base.stored is None
    against = "auto" if run.plan.against == "none" and not adoption else run.plan.against
    known = tuple(sorted(base.known | frozenset(run.plan.known)))
    context = Context(
        config=base.config or (own.config if own else None),
        own=own.config if own else None,
        settings=report.config,
        stored=base.stored,
        edited=own.stored if own else None,
        ref=base.ref,
        adoption=adoption,
    )
    cases = tuple(planned for planned in run.plan.cases if planned.case in sampled)
    plan = dataclasses.replace(run.plan, against=against, known=known, cases=cases)
    try:
        return judge(dataclasses.replace(run, plan=plan), context)
    except (LookupError, ValueError, ArithmeticError, TypeError) as error:
        # Values of every type that fit the schema and that no measurement makes.
        raise Unjudgeable(f"its values make no sense together ({type(error).__name__})") from error


def plausible(report: Report) -> None:
    """What every run's samples are. Raises Unjudgeable for what only a made-up report can hold."""
    if len(report.run.plan.cases) + len(report.run.plan.known) > 2 * MOST_CASES:
        raise Unjudgeable(f"it has more than {MOST_CASES} cases")
    seen = set()
    for sample in report.run.samples:
        if METRICS.get(sample.metric.name) != sample.metric:
            raise Unjudgeable("it has a metric that this version does not know")
        signed = sample.metric.kind is Kind.GAUGE
        if not sample.points or (not signed and any(point.value < 0 for point in sample.points)):
            raise Unjudgeable("it has a sample without values, or with negative ones")
        key = (sample.case, sample.metric.name, sample.side)
        if key in seen:
            raise Unjudgeable("it has the same sample twice")
        seen.add(key)


def _commits(client: Client, pull: Pull, report: Report) -> Commits:
    """Base, tip and head by GitHub's own trial merge where it is of this push, else by the branches.

    A trial merge has the branch's tip as its first parent and the pull request's commit as its second,
    and nobody but GitHub can write its ref.
    """
    current = client.pull(pull.number)
    tip, head = "", pull.head.sha
    if current.merge:
        try:
            parents = client.parents(current.merge)
        except NotFound:
            parents = ()
        if len(parents) == 2 and parents[1] == pull.head.sha:
            tip, head = parents[0], current.merge
    tip = tip or client.branch(current.base)
    stated = report.sides.base.ref if report.sides.base else ""
    real = stated == tip or (bool(_COMMIT.fullmatch(stated)) and client.contains(tip, stated))
    return Commits(base=stated if real else "", tip=tip, head=head, onto=current.base)


def _trusted(client: Client, sha: str, survey: Survey) -> Ground:
    try:
        return survey(_reader(client, sha), sha)
    except PublishError:
        raise
    except GateError as error:
        raise Unjudgeable(f"the configuration or a baseline at `{sha[:10]}` cannot be read") from error


def _own(client: Client, head: str, survey: Survey) -> Ground | None:
    """What the pull request says, None where it cannot be read: then it accepts nothing."""
    try:
        return survey(_reader(client, head), head)
    except PublishError:
        raise
    except (GateError, RecursionError):  # a parser's, on brackets that nest without end
        return None


def _reader(client: Client, sha: str) -> Read:
    return lambda path: client.text(path, sha, most=MOST_FILE)


def _left_out(report: Report, base: Ground) -> tuple[str, ...]:
    """A count that base stores of an endpoint and the report, which has the endpoint, does not hold.

    Nothing would be compared then. A benchmark that leaves the services alone has no counts, and a request
    that fails or was skipped has none either.
    """
    head = {
        (sample.case, sample.metric.name): sample for sample in report.run.samples if sample.side == "head"
    }
    cases = {case for case, _ in head}
    whole = {
        case
        for case in cases & base.known
        if case.suite == "endpoints"
        and not ((errors := head.get((case, ERRORS.name))) and (errors.skipped or max(errors.values) > 0))
    }
    held = base.stored.samples if base.stored else ()
    missing = sum(each.case in whole and (each.case, each.metric.name) not in head for each in held)
    if not missing:
        return ()
    return (
        f"This report leaves out {missing} count{'s' if missing > 1 else ''} that base's baselines have.",
    )


def _doubts(report: Report, made: Report, later: Report, commits: Commits) -> tuple[str, ...]:
    found = []
    if not commits.base:
        found.append(
            "This report does not say what it was compared with on the branch it would be merged into; "
            f"it was judged by the policy and baselines of `{commits.tip[:10]}`."
        )
    stated, state = report.verdict.state, made.verdict.state
    if stated is not state:
        by = (commits.base or commits.tip)[:10]
        found.append(
            f"The check says {stated}. Judged again from its samples, with the policy and baselines of "
            f"`{by}`, this is {state}."
        )
    if _SEVERITY.index(later.verdict.state) > _SEVERITY.index(state):
        found.append(
            "The branch it would be merged into has another policy or other baselines since then: by them "
            f"(`{commits.tip[:10]}`) this is {later.verdict.state}. Bring it up to date and measure again."
        )
    return tuple(found)


def _unnamed(side: SideRun | None) -> SideRun | None:
    return dataclasses.replace(side, side=dataclasses.replace(side.side, ref="")) if side else None
