"""Builders for the values these tests send through GitHub: a report, its artifact, a finished run.

`red` and `green` are judged from samples, as `perf-gate run` does it, so that they can be judged again;
`report` makes one of any rows.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

import build
from fake_api import NOW, FakeGitHub, zipped

from gate import baseline
from gate.cli.ci import Surveyor
from gate.github.client import Client, Patience
from gate.github.comment import Author, Source
from gate.github.event import CompletedRun, Head
from gate.github.stage import Desk
from gate.judge import Context, judge
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
    SideRun,
    Sides,
    State,
    Verdict,
)
from gate.schema import report_to_json
from gate.toml import read_config

SHA = "a" * 40
FORK = Head(sha=SHA, branch="topic", owner="stranger", repository_id=77)
AUTHOR = Author()
ARTIFACT = "perf-gate-report"
BASE, MERGE = "b" * 40, "e" * 40  # what the pull request goes into, and GitHub's trial merge of it
PR = 7
CASE = Case(suite="endpoints", name="playlist")
SQL = "SELECT artists"
CONFIG = """
[services.postgres]
version = 18
[target]
start = ["server"]
[[suites.endpoints.request]]
name = "playlist"
path = "/playlist"
"""
READ_ONLY = "verdict-of-fork"  # a token, of rights.py
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


def side(
    queries: float = 1, *, name: str = "head", cases: tuple[Case, ...] = (CASE,), **more: Any
) -> SideRun:
    """One side whose cases ask for artists so often; base does it once."""
    counts = {"errors": [0, 0], "sql.calls": [2 + queries] * 2, "sql.rows": [9, 9], "sql.blocks": [50, 50]}
    asked = [build.statement("SELECT 1", 2), build.statement(SQL, queries)]
    settings: dict[str, Any] = {"stored": name == "base", **more}
    return build.side(name, dict.fromkeys(cases, counts), statements=dict.fromkeys(cases, asked), **settings)  # type: ignore[arg-type]


def stored(queries: float = 1, *, cases: tuple[Case, ...] = (CASE,)) -> str:
    """The text of baselines/endpoints.json."""
    return baseline.to_text(side(queries, name="base", cases=cases), "endpoints")


def measured(
    queries: float = 1,
    *,
    cases: tuple[Case, ...] = (CASE,),
    known: tuple[Case, ...] | None = None,
    base: str = stored(),
    ref: str = BASE,
    config: str = CONFIG,
    edited: str = "",
    against: str = "auto",
) -> Report:
    """The report of a run on head, compared with base's stored counts."""
    run = build.run(side(queries, cases=cases), known=cases if known is None else known, against=against)
    held = baseline.from_text(base, name="base", ref=ref) if base else None
    own = baseline.from_text(edited, name="head") if edited else held
    rules = read_config(config, name="perf-gate.toml") if config else None
    context = Context(config=rules, stored=held, edited=own, ref=ref, adoption=not (config or base))
    return judge(run, context)


def green() -> Report:
    return measured(1)


def red() -> Report:
    return measured(200)


def on_github(
    github: FakeGitHub,
    *,
    files: dict[str, str] | None = None,
    head_files: dict[str, str] | None = None,
    sha: str = SHA,
    **more: Any,
) -> None:
    """Main at BASE with configuration and baselines, and pull request 7 of a fork, merged on trial."""
    base = {"perf-gate.toml": CONFIG, "baselines/endpoints.json": stored()} if files is None else files
    offered = base | (head_files or {})
    github.branches["main"] = github.add_commit(BASE, files=dict(base))
    github.add_commit(sha, BASE, files=dict(offered))
    github.add_commit(MERGE, BASE, sha, files=dict(offered))
    settings: dict[str, Any] = {"owner": "stranger", "repo_id": 77, "branch": "topic", "sha": sha}
    github.add_pull(PR, **{**settings, "merge_commit_sha": MERGE, **more})


def desk(**changes: Any) -> Desk:
    made = Desk(author=AUTHOR, name=ARTIFACT, survey=Surveyor(path="perf-gate.toml"))
    return dataclasses.replace(made, **changes)


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
        created=datetime.fromisoformat(NOW),
    )
    return dataclasses.replace(run, **changes)


def source(number: int, attempt: int = 1, workflow: str = "perf-gate.yml") -> Source:
    url = f"https://github.test/acme/shop/actions/runs/{number}00"
    return Source(number=number, attempt=attempt, workflow=workflow, sha=SHA, url=url)


def client(github: FakeGitHub, token: str = "report", patience: Patience = NO_WAIT, base: str = "") -> Client:
    return Client(
        base=base or github.url,
        repository="acme/shop",
        token=token,
        notify=lambda text: None,
        patience=patience,
    )
