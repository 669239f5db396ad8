"""The label by which somebody who may write lets a blocked pull request through, as it is.

It is read live, since an event's payload is frozen when a run is repeated; who set it and when are
GitHub's own record. It counts for what had been pushed when it was set, and for nothing pushed later.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from gate.github.client import Client, IssueEvent
from gate.model import Accept, Kind, Level, Outcome, Report, State, Verdict

LABEL = "perf-gate:accept"
OFF = "off"  # in place of a label's name
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,98}(?:\[bot\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Who accepts, since when, and by which label."""

    by: str
    at: datetime
    label: str

    @property
    def words(self) -> str:
        when = self.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{self.by} with the label {self.label} on {when}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """override: what counts. refused: a sentence, where the label is there and does not count."""

    override: Override | None = None
    refused: str = ""


def rule(client: Client, number: int, *, label: str, since: datetime | None) -> Ruling:
    """Whether a pull request is accepted by label for what was pushed by `since`.

    since: when the run was started that measured it; a label set before speaks of an older commit.
    """
    if label == OFF or not any(_same(name, label) for name in client.labels(number)):
        return Ruling()
    found = [event for event in client.events(number) if _same(event.label, label)]
    last = found[-1] if found else None
    if last is None or last.kind != "labeled" or last.at is None or not _LOGIN.fullmatch(last.actor):
        return _refused(label, "GitHub does not say who set it")
    if since is None or last.at < since:
        return _refused(label, f"{last.actor} set it before this was pushed; set it again to accept this")
    return _by(client, label, last)


def accepted(report: Report, override: Override) -> Report:
    """A blocked report with its blocking rows accepted and still red; another one as it is.

    A request that fails cannot be accepted, nor can what was not decided or not measured.
    """
    if report.verdict.state is not State.BLOCKED or _fails(report):
        return report
    taken = [row for row in report.comparisons if row.blocking]
    accepts = tuple(
        Accept(case=row.case, metric=row.metric, value=row.ratio if row.kind is Kind.TIMING else row.head)
        for row in taken
    )
    rows = tuple(
        dataclasses.replace(row, outcome=Outcome.ACCEPTED, blocking=False) if row.blocking else row
        for row in report.comparisons
    )
    return dataclasses.replace(
        report,
        verdict=Verdict(
            state=State.ACCEPTED, reasons=(f"accepted by {override.words}", *report.verdict.reasons)
        ),
        comparisons=rows,
        budgets=tuple(dataclasses.replace(check, blocking=False) for check in report.budgets),
        findings=tuple(
            dataclasses.replace(finding, level=Level.WARN) if finding.level is Level.BLOCK else finding
            for finding in report.findings
        ),
        accepts=report.accepts + accepts,
    )


def unacceptable(report: Report) -> str:
    """Why no label helps this report; empty where one would."""
    return "a request that fails cannot be accepted" if _fails(report) else ""


def _fails(report: Report) -> bool:
    return any(row.blocking and row.metric == "errors" for row in report.comparisons)


def _by(client: Client, label: str, event: IssueEvent) -> Ruling:
    if event.at is None or not client.may_write(event.actor):
        return _refused(label, f"{event.actor}, who set it, has no write permission")
    return Ruling(override=Override(by=event.actor, at=event.at, label=label))


def _refused(label: str, why: str) -> Ruling:
    return Ruling(refused=f"the label {label} does not count: {why}")


def _same(one: str, other: str) -> bool:
    """GitHub tells no two labels apart by their case."""
    return one.casefold() == other.casefold()
