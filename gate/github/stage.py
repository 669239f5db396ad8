"""The trusted second stage: comments a finished run's report on the pull request it measured.

It runs with a token that may write, on a file that a stranger's code may have made. So the report is
read as values, judged again by the base commit's rules and rendered by our code, and GitHub's own facts
decide where it goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gate.errors import PublishError
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
from gate.report.markdown import code


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """text: one line, what was done or why nothing. unposted: the comment that a read-only token kept.

    url: of the comment, empty without one.
    """

    text: str
    unposted: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the stage is told. name: of the artifact. label: that accepts. survey: reads a commit's rules.

    always: a comment also where all is well; without it a pull request gets none before something is not,
    or it changes what decides what is measured.
    """

    author: Author
    name: str
    survey: Survey
    label: str = override.LABEL
    always: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What answers for a run, and the run that measured it. received: None where that left no report.

    since: when that run was started. A label's run measured nothing: what it says is ordered as the
    measurement that it repeats, or a later attempt of that could not overwrite it.
    """

    received: Received | None
    number: int
    attempt: int
    url: str
    since: datetime | None


def comment_on(run: CompletedRun, client: Client, desk: Desk) -> Said:
    """Make our comment show this run's report, judged again.

    A run without a report changes a comment that is there, which would speak of an older commit, and
    makes none. Raises PublishError for an artifact that is refused; nothing is posted then.
    """
    if run.event != "pull_request":
        return Said(text=f"no comment: the run was started by {run.event}")
    answer = answering(run, client, desk.name)
    if answer is None:
        return Said(text="no comment: this run measured nothing, and no finished one measured its commit")
    received = answer.received
    choice = choose(client.pulls_of(run.head), claimed=received.claimed if received else 0)
    if choice.pull is None:
        return Said(text=f"no comment: {choice.reason}")
    number = choice.pull.number
    body = (
        trusted_body(received.report, answer.since, run, choice.pull, client, desk)
        if received
        else Body(
            text=f"**perf-gate: no verdict.** The run ended with {run.conclusion} and left no report.",
            news=False,
        )
    )
    source = Source(
        number=answer.number, attempt=answer.attempt, workflow=run.workflow, sha=run.head.sha, url=answer.url
    )
    try:
        posted = upsert(client, number, body.text, author=desk.author, source=source, create=body.news)
    except ReadOnlyToken:
        said = "no comment: the token is read-only; the job summary has the report"
        return Said(text=said, unposted=body.text)
    return Said(
        text=_words(posted, number, "nothing got worse" if received else "the run left no report"),
        url=posted.url,
    )


def answering(run: CompletedRun, client: Client, name: str) -> Answer | None:
    """The run's own report, or where it did not measure (a label's run), that of the newest that did.

    None for a run that neither measured nor finds one that did.
    """
    received = artifact.fetch(client, run.id, name=name)
    if received or not client.skipped_jobs(run.id):
        return Answer(
            received=received, number=run.number, attempt=run.attempt, url=run.url, since=run.created
        )
    earlier = find_earlier(client, run.head, run.workflow, of=run.event, but=run.id, name=name)
    if earlier is None:
        return None
    other, received = earlier
    return Answer(
        received=received, number=other.number, attempt=other.attempt, url=other.url, since=other.created
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a comment says. news: whether it is worth one where there is none yet."""

    text: str
    news: bool


def trusted_body(
    stated: Report, since: datetime | None, run: CompletedRun, pull: Pull, client: Client, desk: Desk
) -> Body:
    """The comment's text, made by our renderer from the report's values; doubts about them come first."""
    judged = again(client, pull, stated, survey=desk.survey)
    ruling = _ruling(client, pull, desk.label, since)
    report = override.accepted(judged.report, ruling.override) if ruling.override else judged.report
    lines = [f"> **{doubt}**\n\n" for doubt in doubts(stated, judged, run, ruling)]
    # Edits are for whoever reviews, above all where a report that passes may have been made to pass by them.
    news = desk.always or bool(lines or judged.edits) or report.verdict.state is not State.PASS
    if judged.edits:
        edits = ", ".join(judged.edits)
        lines.append(f"> This pull request changes {edits}, which decide what is measured and judged.\n\n")
    text = "".join(lines) + markdown(report, commit=judged.merge) + _offer(report, desk.label)
    return Body(text=text, news=news)


def _offer(report: Report, label: str) -> str:
    """How to let a blocked report through as it is; empty for one that no label helps."""
    if label == override.OFF or report.verdict.state is not State.BLOCKED or override.unacceptable(report):
        return ""
    return (
        f"\nTo let this through as it is, somebody with write permission sets the label {code(label)}; "
        "the next push needs it again.\n"
    )


def _ruling(client: Client, pull: Pull, label: str, since: datetime | None) -> Ruling:
    """The label's ruling; one that cannot be looked up accepts nothing, and the report is shown anyway."""
    try:
        return override.rule(client, pull.number, label=label, since=since)
    except PublishError:
        return Ruling(refused=f"GitHub did not say whether the label {label} is set, and by whom")


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


def _words(posted: Posted, number: int, why: str) -> str:
    """What became of the comment. why: none was made."""
    words = {
        "created": "made the comment",
        "updated": "updated the comment",
        "unchanged": "the comment already says so",
        "superseded": "left the comment alone: a newer run wrote it",
        "absent": f"no comment: {why}",
    }
    return f"#{number}: {words[posted.action]} {posted.url}".rstrip()
