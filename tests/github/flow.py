"""GitHub Actions around our commands: events become runs, runs become jobs with the rights of the real files.

Each job is `perf-gate ci ...` in this process, with the environment GitHub gives it and the token that
its workflow file grants; what the measuring job leaves goes through the fake GitHub to the next one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeGitHub, zipped
from made import BASE, MERGE, PR, SHA

from gate.cli import ci, entry
from gate.errors import EnvironmentFailure
from gate.github.client import Client
from gate.model import Report
from gate.schema import report_to_json

START = datetime(2026, 11, 21, 10, tzinfo=UTC)


@dataclass
class Ran:
    """A finished run of perf-gate.yml: the exit code of its required job, and what `workflow_run` says."""

    code: int
    payload: dict[str, Any]
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass
class Flow:
    """One pull request's life. fork: its head is in another repository. clock: minutes since START."""

    github: FakeGitHub
    place: Path
    patch: pytest.MonkeyPatch
    fork: bool = True
    clock: int = 0
    number: int = 0
    workflow: str = "perf-gate.yml"
    said: str = ""

    @property
    def now(self) -> str:
        self.clock += 1
        return (START + timedelta(minutes=self.clock)).isoformat().replace("+00:00", "Z")

    @property
    def head(self) -> dict[str, Any]:
        pull = next(pull for pull in self.github.pulls if pull["number"] == PR)
        return dict(pull["head"])

    def push(
        self,
        made: Report | None,
        sha: str = SHA,
        *,
        report: bool = True,
        conclusion: str = "",
        name: str = "",
    ) -> Ran:
        """A new head commit: measured, judged, and commented unless `report` is False."""
        pull = next(pull for pull in self.github.pulls if pull["number"] == PR)
        tree = self.github.trees[MERGE]
        self.github.trees[sha], self.github.commits[sha] = tree, (BASE,)
        self.github.commits[MERGE] = (BASE, sha)
        pull["head"]["sha"] = sha
        ran = self.run("pull_request", made, action="synchronize", conclusion=conclusion, name=name)
        if report:
            self.report(ran)
        return ran

    def label(self, name: str, actor: str, *, remove: bool = False) -> Ran:
        """Somebody sets or takes away a label, which starts a run that measures nothing."""
        if remove:
            self.github.remove_label(PR, name, actor, self.now)
        else:
            self.github.add_label(PR, name, actor, self.now)
        ran = self.run("pull_request", None, action="unlabeled" if remove else "labeled")
        self.report(ran)
        return ran

    def run(
        self,
        event: str,
        made: Report | None,
        *,
        action: str = "",
        again: dict[str, Any] | None = None,
        conclusion: str = "",
        name: str = "",
        **payload: Any,
    ) -> Ran:
        """A run of perf-gate.yml. again: the run that it is another attempt of. made: what is measured."""
        if again:
            stated = again | {"run_attempt": again["run_attempt"] + 1}
            self.github.runs.remove(next(run for run in self.github.runs if run["id"] == again["id"]))
        else:
            self.number += 1
            stated = {"id": 900 + self.number, "run_number": self.number, "run_attempt": 1}
        run_id = stated["id"]
        pull = next(pull for pull in self.github.pulls if pull["number"] == PR)
        if event == "pull_request":
            payload |= {"action": action, "pull_request": pull}
        sha = pull["head"]["sha"] if event == "pull_request" else payload.pop("sha", BASE)
        given = {
            "event": event,
            "head_branch": pull["head"]["ref"] if event == "pull_request" else "main",
            "head_repository": pull["head"]["repo"] if event == "pull_request" else OWN,
            "created_at": stated.get("created_at") or self.now,
        }
        more = given | {
            "run_attempt": stated["run_attempt"],
            "html_url": f"https://github.test/runs/{run_id}",
        }
        self.github.add_run(
            run_id, stated["run_number"], sha=sha, conclusion=None, status="in_progress", **more
        )
        result = "skipped"
        if not action.endswith("labeled"):
            result = self._measured(event, stated, payload, made, name)
        code = self.job("verdict", event, stated, payload, ["verdict", "--measure-result", result])
        ended = conclusion or ("failure" if code or result == "failure" else "success")
        run = self.github.runs[-1]
        run |= {"status": "completed", "conclusion": ended}
        self.github.add_jobs(run_id, measure=result, perf_gate="failure" if code else "success")
        return Ran(code, dict(run), self._read("summary"), self._outputs())

    def report(self, ran: Ran) -> int:
        """perf-gate-report.yml, where its condition holds."""
        run = ran.payload
        if run["event"] != "pull_request" or run["conclusion"] in ("cancelled", "skipped"):
            return -1
        stated = {"id": 5000 + run["id"], "run_number": run["run_number"], "run_attempt": 1}
        return self.job("report", "workflow_run", stated, {"workflow_run": run}, ["report"])

    def job(
        self, token: str, event: str, run: dict[str, Any], payload: dict[str, Any], command: Sequence[str]
    ) -> int:
        """One step of a job with the token of that name; degraded where GitHub would."""
        foreign = self.fork and event == "pull_request"
        path = self.place / "event.json"
        repository = {"id": 1, "default_branch": "main"}
        path.write_text(json.dumps({"repository": repository, **payload}))
        for name in ("summary", "output"):
            (self.place / name).unlink(missing_ok=True)
        for name, value in {
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_REF": "refs/pull/7/merge" if event == "pull_request" else "refs/heads/main",
            "GITHUB_SHA": MERGE if event == "pull_request" else payload.get("sha", BASE),
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_API_URL": self.github.url,
            "GITHUB_SERVER_URL": "http://127.0.0.1:1",
            "GITHUB_RUN_ID": str(run["id"]),
            "GITHUB_RUN_NUMBER": str(run["run_number"]),
            "GITHUB_RUN_ATTEMPT": str(run["run_attempt"]),
            "GITHUB_WORKFLOW_REF": f"acme/shop/.github/workflows/{self.workflow}@refs/heads/main",
            "GITHUB_STEP_SUMMARY": str(self.place / "summary"),
            "GITHUB_OUTPUT": str(self.place / "output"),
            "RUNNER_TEMP": str(self.place),
            "PERF_GATE_GITHUB_TOKEN": f"{token}-of-fork" if foreign else token,
        }.items():
            self.patch.setenv(name, value)
        return entry(["ci", *command])

    def _measured(
        self, event: str, run: dict[str, Any], payload: dict[str, Any], made: Report | None, name: str
    ) -> str:
        """The measuring job, with `perf-gate run` replaced by a report that is there already."""

        def perform(command: Sequence[str]) -> int:
            if made is None:
                raise EnvironmentFailure("postgres did not start")
            Path(command[list(command).index("--json") + 1]).write_text(report_to_json(made))
            return made.verdict.exit_code

        self.patch.setattr(ci, "perform", perform)
        code = self.job("measure", event, run, payload, ["measure"])
        path = self._outputs().get("report-path")
        if path:
            number = payload["pull_request"]["number"] if "pull_request" in payload else 0
            own = f"perf-gate-report-{number}" if number else "perf-gate-report"
            self.github.add_artifact(run["id"], zipped({"report.json": Path(path).read_text()}), name or own)
        return "failure" if code else "success"

    def _read(self, name: str) -> str:
        path = self.place / name
        return path.read_text() if path.exists() else ""

    def _outputs(self) -> dict[str, str]:
        lines = self._read("output").splitlines()
        return {lines[i].partition("<<")[0]: lines[i + 1] for i in range(0, len(lines), 3)}


OWN = {"id": 1, "owner": {"login": "acme"}}


def without_waiting(patch: pytest.MonkeyPatch) -> None:
    """The client's own pauses, taken out: they are for GitHub, which is not here."""
    made = Client.__init__

    def init(self: Client, **given: Any) -> None:
        from made import NO_WAIT

        made(self, **{**given, "patience": NO_WAIT})

    patch.setattr(Client, "__init__", init)
