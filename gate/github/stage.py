"""The trusted second stage: comments a finished run's report on the pull request it measured.

It runs with a token that may write, on a file that a stranger's code may have made. So the report is
read as values and rendered again by our code, and GitHub's own facts decide where it goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from gate.github import artifact
from gate.github.artifact import Received
from gate.github.client import Client, ReadOnlyToken
from gate.github.comment import Author, Posted, Source, upsert
from gate.github.event import CompletedRun
from gate.github.pulls import choose
from gate.github.verdict import Result, contradicts_itself
from gate.model import Report, State
from gate.report import markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """text: one line, what was done or why nothing. unposted: the comment that a read-only token kept."""

    text: str
    unposted: str = ""


def comment_on(run: CompletedRun, client: Client, *, author: Author, name: str) -> Said:
    """Make our comment show this run's report, read from its artifact `name`.

    A run without a report changes a comment that is there, which would speak of an older commit, and
    makes none. Raises PublishError for an artifact that is refused; nothing is posted then.
    """
    received = artifact.fetch(client, run.id, name=name)
    choice = choose(client.pulls_of(run.head), claimed=received.claimed if received else 0)
    if choice.pull is None:
        return Said(text=f"no comment: {choice.reason}")
    body = trusted_body(received, run)
    source = Source(
        number=run.number, attempt=run.attempt, workflow=run.workflow, sha=run.head.sha, url=run.url
    )
    number = choice.pull.number
    try:
        posted = upsert(client, number, body, author=author, source=source, create=received is not None)
    except ReadOnlyToken:
        return Said(text="no comment: the token is read-only; the job summary has the report", unposted=body)
    return Said(text=_words(posted, number))


def trusted_body(received: Received | None, run: CompletedRun) -> str:
    """The comment's text, made by our renderer from the report's values; doubts about them come first."""
    if received is None:
        return f"**perf-gate: no verdict.** The run ended with {run.conclusion} and left no report."
    lines = [f"> **{doubt}**\n\n" for doubt in doubts(received.report, run)]
    return "".join(lines) + markdown(received.report)


def doubts(report: Report, run: CompletedRun) -> tuple[str, ...]:
    """What the report's own rows or GitHub say against its verdict. No text of the report is quoted."""
    found = []
    if contradiction := contradicts_itself(report):
        found.append(f"Do not trust this report: {contradiction}.")
    state = report.verdict.state
    if state in (State.PASS, State.ACCEPTED) and run.conclusion != Result.SUCCESS:
        found.append(f"The check ended with {run.conclusion} although this report says {state}.")
    if state is State.BLOCKED and run.conclusion == Result.SUCCESS:
        found.append(f"The check passed although this report says {state}.")
    return tuple(found)


def _words(posted: Posted, number: int) -> str:
    words = {
        "created": "made the comment",
        "updated": "updated the comment",
        "unchanged": "the comment already says so",
        "superseded": "left the comment alone: a newer run wrote it",
        "absent": "no comment: the run left no report",
    }
    return f"#{number}: {words[posted.action]} {posted.url}".rstrip()
