"""The trusted second stage: comments a finished run's report on the pull request it measured.

It runs with a token that may write, on a file that a stranger's code may have made. So the report is
read as values, judged again by the base commit's rules and rendered by our code, and GitHub's own facts
decide where it goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gate.github import artifact, override
from gate.github.again import Judged, Survey, again
from gate.github.artifact import Received
from gate.github.client import Client, Pull, ReadOnlyToken
from gate.github.comment import Author, Posted, Source, upsert
from gate.github.event import CompletedRun
from gate.github.override import Ruling
from gate.github.pulls import choose
from gate.github.verdict import Result, contradicts_itself, find_earlier
from gate.model import Report, State
from gate.report import markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """text: one line, what was done or why nothing. unposted: the comment that a read-only token kept."""

    text: str
    unposted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the stage is told. name: of the artifact. label: that accepts. survey: reads a commit's rules."""

    author: Author
    name: str
    survey: Survey
    label: str = override.LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The report that answers for a run, and when the run that measured it was started."""

    received: Received
    since: datetime | None


def comment_on(run: CompletedRun, client: Client, desk: Desk) -> Said:
    """Make our comment show this run's report, judged again.

    A run without a report changes a comment that is there, which would speak of an older commit, and
    makes none. Raises PublishError for an artifact that is refused; nothing is posted then.
    """
    if run.event != "pull_request":
        return Said(text=f"no comment: the run was started by {run.event}")
    answer = answering(run, client, desk.name)
    candidates = client.pulls_of(run.head)
    choice = choose(candidates, claimed=answer.received.claimed if answer else 0)
    if choice.pull is None:
        return Said(text=f"no comment: {choice.reason}")
    body = trusted_body(answer, run, choice.pull, client, desk) if answer else unmeasured_body(run)
    source = Source(
        number=run.number, attempt=run.attempt, workflow=run.workflow, sha=run.head.sha, url=run.url
    )
    number = choice.pull.number
    try:
        posted = upsert(client, number, body, author=desk.author, source=source, create=answer is not None)
    except ReadOnlyToken:
        return Said(text="no comment: the token is read-only; the job summary has the report", unposted=body)
    return Said(text=_words(posted, number))


def answering(run: CompletedRun, client: Client, name: str) -> Answer | None:
    """The run's own report, or where it did not measure (a label's run), that of the newest that did."""
    if received := artifact.fetch(client, run.id, name=name):
        return Answer(received=received, since=run.created)
    if not client.skipped_jobs(run.id):
        return None
    earlier = find_earlier(client, run.head, run.workflow, of=run.event, but=run.id, name=name)
    return Answer(received=earlier[1], since=earlier[0].created) if earlier else None


def unmeasured_body(run: CompletedRun) -> str:
    return f"**perf-gate: no verdict.** The run ended with {run.conclusion} and left no report."


def trusted_body(answer: Answer, run: CompletedRun, pull: Pull, client: Client, desk: Desk) -> str:
    """The comment's text, made by our renderer from the report's values; doubts about them come first."""
    stated = answer.received.report
    judged = again(client, pull, stated, survey=desk.survey)
    ruling = override.rule(client, pull.number, label=desk.label, since=answer.since)
    report = override.accepted(judged.report, ruling.override) if ruling.override else judged.report
    lines = [f"> **{doubt}**\n\n" for doubt in doubts(stated, judged, run, ruling)]
    return "".join(lines) + markdown(report)


def doubts(stated: Report, judged: Judged, run: CompletedRun, ruling: Ruling) -> tuple[str, ...]:
    """What the report's rows, a second judgement or GitHub say against its verdict, and about the label.

    No text of the report is quoted.
    """
    found = list(judged.doubts)
    if contradiction := contradicts_itself(stated):
        found.insert(0, f"Do not trust this report: {contradiction}.")
    state, passed = stated.verdict.state, run.conclusion == Result.SUCCESS
    if state in (State.PASS, State.ACCEPTED) and not passed:
        found.append(f"The check ended with {run.conclusion} although this report says {state}.")
    if state is State.BLOCKED and passed and ruling.override is None:
        found.append(f"The check passed although this report says {state}.")
    blocked = judged.report.verdict.state is State.BLOCKED
    if blocked and (why := _unaccepted(judged.report, ruling)):
        found.append(f"{why[:1].upper()}{why[1:]}.")
    if blocked and not why and ruling.override and not passed:
        found.append("The check is still red; the label's own run turns it green.")
    return tuple(found)


def _unaccepted(report: Report, ruling: Ruling) -> str:
    return ruling.refused or (override.unacceptable(report) if ruling.override else "")


def _words(posted: Posted, number: int) -> str:
    words = {
        "created": "made the comment",
        "updated": "updated the comment",
        "unchanged": "the comment already says so",
        "superseded": "left the comment alone: a newer run wrote it",
        "absent": "no comment: the run left no report",
    }
    return f"#{number}: {words[posted.action]} {posted.url}".rstrip()
