"""What the required check answers, from the measuring job's result and the report it left.

Exit codes are DESIGN.md's: an infrastructure failure must look neither like a regression nor like a
pass, so everything that is not plainly one of the two is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gate.errors import BLOCKED, INCONCLUSIVE, NOTHING_COMPARED, PASS, EnvironmentFailure, MeasurementError
from gate.github.artifact import Received, fetch
from gate.github.client import Client, Pull, WorkflowRun
from gate.github.event import Event, Head, Runner
from gate.github.override import Ruling, accepted, rule, unacceptable
from gate.model import Level, Report, State


class Result(StrEnum):
    """The result of the measuring job as GitHub states it in `needs.measure.result`."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """exit_code: of the required check. text: one line, hostile where it quotes the report's reasons."""

    exit_code: int
    text: str


def decide(result: Result, report: Report | None) -> Decision:
    """The answer of the required check. Only a job that succeeded can pass, and only with a report."""
    if report is None and result is Result.SKIPPED:
        return _error("this commit is not measured yet; the run that measures it decides")
    if report is None:
        return _error(f"the measuring job ended with {result} and left no report")
    if contradiction := contradicts_itself(report):
        return Decision(exit_code=MeasurementError.exit_code, text=contradiction)
    state = report.verdict.state
    first = report.verdict.reasons[0] if report.verdict.reasons else state.value
    if state is State.BLOCKED:
        return Decision(exit_code=BLOCKED, text=first)
    if state is State.ERROR:
        return Decision(exit_code=MeasurementError.exit_code, text=first)
    if result is Result.SUCCESS:
        return Decision(exit_code=PASS, text=first)
    if state is State.INCONCLUSIVE and result is Result.FAILURE:
        # The job failed because its policy blocks what it could not decide.
        return Decision(exit_code=INCONCLUSIVE if report.coverage.rows else NOTHING_COMPARED, text=first)
    return _error(f"the measuring job ended with {result} although its report says {state}")


def overridden(decision: Decision, report: Report | None, ruling: Ruling) -> tuple[Decision, Report | None]:
    """The decision and the report as a label leaves them; a label that does not count says why."""
    if report is None or decision.exit_code != BLOCKED:
        return decision, report
    why = ruling.refused or (unacceptable(report) if ruling.override else "")
    if why:
        return Decision(exit_code=BLOCKED, text=f"{decision.text} ({why})"), report
    if ruling.override is None:
        return decision, report
    report = accepted(report, ruling.override)
    return Decision(exit_code=PASS, text=report.verdict.reasons[0]), report


def contradicts_itself(report: Report) -> str:
    """A sentence where the verdict is milder than the report's own rows; empty where it is not."""
    blocking = sum(row.blocking for row in report.comparisons) + sum(b.blocking for b in report.budgets)
    blocking += sum(finding.level is Level.BLOCK for finding in report.findings)
    if blocking and report.verdict.state not in (State.BLOCKED, State.ERROR):
        return f"the report says {report.verdict.state} but {blocking} of its rows and findings block"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The report that answers for a run. result: of the job that wrote it. run: its number, id: GitHub's."""

    result: Result
    report: Report | None
    run: int = 0
    id: int = 0


def find_report(client: Client, event: Event, here: Runner, *, result: Result, name: str) -> Found:
    """This run's report, or where measuring was skipped, that of the newest run that did measure."""
    if result is not Result.SKIPPED:
        received = fetch(client, here.run_id, name=name)
        report = received.report if received else None
        return Found(result=result, report=report, run=here.run_number, id=here.run_id)
    earlier = find_earlier(client, event.checked, here.workflow, of=event.name, but=here.run_id, name=name)
    if earlier is None:
        return Found(result=result, report=None)
    run, received = earlier
    return Found(result=Result(run.conclusion), report=received.report, run=run.number, id=run.id)


def find_earlier(
    client: Client, head: Head, workflow: str, *, of: str, but: int, name: str
) -> tuple[WorkflowRun, Received] | None:
    """The newest run that measured this commit, and its report.

    It is of the same workflow, repository and kind of event (`of`), finished, and left a report; a
    cancelled one measured nothing. but: the id of the run that asks.
    """
    for run in client.runs_of(workflow, head):
        finished = run.status == "completed" and run.conclusion in (Result.SUCCESS, Result.FAILURE)
        if run.id == but or run.event != of or not finished:
            continue
        if received := fetch(client, run.id, name=name):
            return run, received
    return None


def consider(client: Client, event: Event, here: Runner, found: Found, *, label: str) -> Ruling:
    """Whether somebody accepts this run's blocked report by label.

    In the merge queue the label of the pull request counts that the candidate was made for, where it
    was set after that pull request's last push was measured.
    """
    if event.pull_request:
        return rule(client, event.pull_request.number, label=label, since=client.run(found.id).created)
    if event.merge_group and event.merge_group.pull:
        return _of_pull(client, client.pull(event.merge_group.pull), here.workflow, label=label)
    return Ruling()


def accepted_by(client: Client, sha: str, workflow: str, *, label: str) -> tuple[str, ...]:
    """Trailers for a baseline commit: who accepted by label what the merged commit `sha` brought in.

    workflow: the file of the workflow that measured the pull request.
    """
    found = []
    for pull in client.merged_by(sha):
        if taken := _of_pull(client, pull, workflow, label=label).override:
            found.append(f"Accepted-by: {taken.by} (#{pull.number}, {taken.label})")
    return tuple(found)


def _of_pull(client: Client, pull: Pull, workflow: str, *, label: str) -> Ruling:
    """The label as it counts for a pull request's last push that was measured."""
    runs = (run for run in client.runs_of(workflow, pull.head) if run.event == "pull_request")
    newest = next((run for run in runs if not client.skipped_jobs(run.id)), None)
    return rule(client, pull.number, label=label, since=newest.created if newest else None)


def _error(text: str) -> Decision:
    return Decision(exit_code=EnvironmentFailure.exit_code, text=text)
