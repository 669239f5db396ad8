"""What the required check answers, from the measuring job's result and the report it left.

Exit codes are DESIGN.md's: an infrastructure failure must look neither like a regression nor like a
pass, so everything that is not plainly one of the two is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gate.errors import BLOCKED, INCONCLUSIVE, NOTHING_COMPARED, PASS, EnvironmentFailure, MeasurementError
from gate.github.artifact import fetch
from gate.github.client import Client
from gate.github.event import Event, Runner
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


def contradicts_itself(report: Report) -> str:
    """A sentence where the verdict is milder than the report's own rows; empty where it is not."""
    blocking = sum(row.blocking for row in report.comparisons) + sum(b.blocking for b in report.budgets)
    blocking += sum(finding.level is Level.BLOCK for finding in report.findings)
    if blocking and report.verdict.state not in (State.BLOCKED, State.ERROR):
        return f"the report says {report.verdict.state} but {blocking} of its rows and findings block"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The report that answers for a run. result: of the job that wrote it. run: its number."""

    result: Result
    report: Report | None
    run: int = 0


def find_report(client: Client, event: Event, here: Runner, *, result: Result, name: str) -> Found:
    """This run's report, or where measuring was skipped, that of the newest run that did measure.

    The newest run counts that finished, for the same commit of the same repository and the same kind
    of event, and left a report; a cancelled one measured nothing.
    """
    if result is not Result.SKIPPED:
        received = fetch(client, here.run_id, name=name)
        return Found(result=result, report=received.report if received else None, run=here.run_number)
    for run in client.runs_of(here.workflow, event.checked):
        finished = run.status == "completed" and run.conclusion in (Result.SUCCESS, Result.FAILURE)
        if run.id == here.run_id or run.event != event.name or not finished:
            continue
        if received := fetch(client, run.id, name=name):
            return Found(result=Result(run.conclusion), report=received.report, run=run.number)
    return Found(result=result, report=None)


def _error(text: str) -> Decision:
    return Decision(exit_code=EnvironmentFailure.exit_code, text=text)
