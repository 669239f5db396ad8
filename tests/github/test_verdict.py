"""What the required check answers; nothing but a successful job with a clean report passes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from fake_api import FakeGitHub
from made import ARTIFACT, READ_ONLY, SHA, as_artifact, client, green, red, report, row

from gate.github.event import Event, Head, PullRequest, Runner
from gate.github.verdict import Found, Result, decide, find_report
from gate.model import BudgetCheck, BudgetState, Case, Coverage, Level, Outcome, Report, State

HEAD = Head(sha=SHA, branch="topic", owner="acme", repository_id=1)
NOTHING = Coverage(cases=1, compared=0, rows=0, exact_per_case=0)


def stated(state: State) -> Report:
    return report(row(outcome=Outcome.EQUIVALENT, level=Level.NOTE), state=state)


@pytest.mark.parametrize(
    ("result", "made", "code"),
    [
        ("success", green(), 0),
        ("success", stated(State.ACCEPTED), 0),
        ("success", stated(State.INCONCLUSIVE), 0),
        ("success", red(), 1),
        ("failure", red(), 1),
        ("cancelled", red(), 1),
        ("failure", green(), 3),
        ("cancelled", green(), 3),
        ("skipped", green(), 3),
        ("failure", stated(State.ACCEPTED), 3),
        ("failure", stated(State.INCONCLUSIVE), 6),
        ("failure", dataclasses.replace(stated(State.INCONCLUSIVE), coverage=NOTHING), 5),
        ("cancelled", stated(State.INCONCLUSIVE), 3),
        ("success", stated(State.ERROR), 4),
        ("failure", stated(State.ERROR), 4),
    ],
)
def test_exit_codes(result: str, made: Report, code: int) -> None:
    """Each pair of a job's result and its report has the documented exit code."""
    assert decide(Result(result), made).exit_code == code


@pytest.mark.parametrize("result", list(Result))
def test_no_report_is_an_error_never_a_pass(result: Result) -> None:
    """Without a report the check fails as infrastructure, whatever the job's result."""
    decision = decide(result, None)
    assert decision.exit_code == 3
    assert "no report" in decision.text or "not measured yet" in decision.text


def test_pass_over_blocking_rows_is_refused() -> None:
    """A report whose verdict is milder than its rows does not pass."""
    decision = decide(Result.SUCCESS, report(row(), state=State.PASS))
    assert decision.exit_code == 4
    assert "1 of its rows and findings block" in decision.text


def test_pass_over_a_blocking_budget_is_refused() -> None:
    """The same holds for budgets."""
    budget = BudgetCheck(
        case=Case(suite="endpoints", name="playlist"),
        label="GET /playlist",
        metric="latency.p95",
        unit="s",
        target=0.1,
        value=0.9,
        state=BudgetState.CRITICAL,
        level=Level.BLOCK,
        blocking=True,
    )
    assert decide(Result.SUCCESS, dataclasses.replace(green(), budgets=(budget,))).exit_code == 4


def found(github: FakeGitHub, result: str, name: str = "pull_request") -> Found:
    pull = PullRequest(number=7, head=HEAD, base_ref="main")
    event = Event(name=name, ref="", sha="m" * 40, repository_id=1, default_branch="main", pull_request=pull)
    here = Runner(
        api_url=github.url,
        server_url="",
        repository="acme/shop",
        run_id=50,
        run_number=5,
        run_attempt=1,
        workflow="perf-gate.yml",
        summary="",
        output="",
        token=READ_ONLY,
    )
    with client(github, READ_ONLY) as opened:
        return find_report(opened, event, here, result=Result(result), name=ARTIFACT)


@pytest.mark.parametrize("result", ["success", "failure"])
def test_own_report_answers_for_a_run_that_measured(github: FakeGitHub, result: str) -> None:
    """The report is this run's, even where an earlier run of the same commit has another."""
    github.add_run(40, 4, sha=SHA, conclusion="success")
    github.add_artifact(40, as_artifact(green()))
    github.add_artifact(50, as_artifact(red()), "perf-gate-report-7")
    assert found(github, result).report == red()


def test_failed_run_does_not_borrow_an_earlier_report(github: FakeGitHub) -> None:
    """A measuring job that failed without a report is not answered by an earlier pass."""
    github.add_run(40, 4, sha=SHA, conclusion="success")
    github.add_artifact(40, as_artifact(green()))
    assert found(github, "failure").report is None


def test_skipped_run_takes_the_newest_report_of_its_commit(github: FakeGitHub) -> None:
    """Skipped measuring is answered by the newest finished run of the same commit, with its result."""
    for run_id, number, made, conclusion in [(20, 2, green(), "success"), (30, 3, red(), "failure")]:
        github.add_run(run_id, number, sha=SHA, conclusion=conclusion)
        github.add_artifact(run_id, as_artifact(made))
    github.add_run(40, 4, sha=SHA, conclusion="failure")  # a label's run: it measured nothing
    assert found(github, "skipped") == Found(result=Result.FAILURE, report=red(), run=3, id=30)


@pytest.mark.parametrize(
    "difference",
    [
        {"sha": "b" * 40},
        {"head_repository": {"id": 77, "owner": {"login": "stranger"}}},
        {"head_repository": None},
        {"status": "in_progress", "conclusion": None},
        {"conclusion": "cancelled"},
        {"event": "workflow_dispatch"},
        {"path": ".github/workflows/other.yml"},
        {"run_id": 50},
    ],
)
def test_skipped_run_takes_no_other_report(github: FakeGitHub, difference: dict[str, Any]) -> None:
    """Another commit, repository, event, workflow, or a run that did not finish answers for nothing."""
    wanted: dict[str, Any] = {"run_id": 40, "number": 4, "sha": SHA, "conclusion": "success", **difference}
    github.add_run(wanted.pop("run_id"), wanted.pop("number"), **wanted)
    for run_id in (40, 50):
        github.add_artifact(run_id, as_artifact(green()))
    seen = found(github, "skipped")
    assert seen.report is None
    assert decide(seen.result, seen.report).exit_code == 3
