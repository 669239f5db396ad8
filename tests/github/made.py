"""Builders for the values these tests send through GitHub: a report, its artifact, a finished run."""

from __future__ import annotations

import dataclasses

from fake_api import FakeGitHub, zipped

from gate.github.client import Client, Patience
from gate.github.comment import Author, Source
from gate.github.event import CompletedRun, Head
from gate.model import (
    Case,
    Cause,
    Comparison,
    Coverage,
    Environment,
    Kind,
    Level,
    Measured,
    Outcome,
    Plan,
    Report,
    SideInfo,
    Sides,
    State,
    Verdict,
)
from gate.schema import report_to_json

SHA = "a" * 40
FORK = Head(sha=SHA, branch="topic", owner="stranger", repository_id=77)
AUTHOR = Author()
ARTIFACT = "perf-gate-report"
READ_ONLY = {"contents": "read", "actions": "read", "pull-requests": "read"}
NO_WAIT = Patience(retries=3, backoff=0, secondary=0, longest=2, between=0, writes=0)


def row(
    name: str = "playlist", *, outcome: Outcome = Outcome.REGRESSED, level: Level = Level.BLOCK
) -> Comparison:
    blocking = outcome is Outcome.REGRESSED and level is Level.BLOCK
    return Comparison(
        case=Case(suite="endpoints", name=name),
        label=f"GET /{name}",
        metric="sql.calls",
        unit="",
        kind=Kind.EXACT,
        base=3.0,
        head=202.0 if outcome is Outcome.REGRESSED else 3.0,
        delta=199.0 if outcome is Outcome.REGRESSED else 0.0,
        ratio=67.0 if outcome is Outcome.REGRESSED else 1.0,
        outcome=outcome,
        level=level,
        blocking=blocking,
        pairs=2,
        cause=Cause(summary="SELECT artists ran 200 times (was 1)") if blocking else None,
    )


def report(*rows: Comparison, state: State | None = None, reason: str = "") -> Report:
    """A report of these rows; blocked where one of them blocks, unless another state is asked for."""
    blocked = any(each.blocking for each in rows)
    verdict = state or (State.BLOCKED if blocked else State.PASS)
    return Report(
        tool="perf-gate test",
        verdict=Verdict(state=verdict, reasons=(reason or f"the reason for {verdict}",)),
        environment=Environment(os="linux", cores=2, postgres="18.6", redis="9.1"),
        sides=Sides(base=SideInfo(name="base", ref="b" * 40), head=SideInfo(name="head", ref=SHA)),
        run=Measured(plan=Plan(against="auto", cases=()), samples=(), evidence=()),
        comparisons=rows,
        coverage=Coverage(cases=len(rows), compared=len(rows), rows=len(rows), exact_per_case=1),
    )


def green() -> Report:
    return report(row(outcome=Outcome.EQUIVALENT, level=Level.NOTE))


def red() -> Report:
    return report(row())


def as_artifact(made: Report) -> bytes:
    return zipped({"report.json": report_to_json(made)})


def finished(run_id: int = 900, number: int = 9, **changes: object) -> CompletedRun:
    """A finished run of a fork's pull request."""
    run = CompletedRun(
        id=run_id,
        number=number,
        attempt=1,
        workflow="perf-gate.yml",
        event="pull_request",
        conclusion="failure",
        url=f"https://github.test/acme/shop/actions/runs/{run_id}",
        head=FORK,
    )
    return dataclasses.replace(run, **changes)


def source(number: int, attempt: int = 1, workflow: str = "perf-gate.yml") -> Source:
    url = f"https://github.test/acme/shop/actions/runs/{number}00"
    return Source(number=number, attempt=attempt, workflow=workflow, sha=SHA, url=url)


def client(github: FakeGitHub, token: str = "writer", patience: Patience = NO_WAIT) -> Client:
    return Client(
        base=github.url, repository="acme/shop", token=token, notify=lambda text: None, patience=patience
    )
