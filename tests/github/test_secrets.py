"""Secrets, planted and measured for real: whatever an application prints or answers, none of them gets out.

The job's environment, the application's own, the database's password and the application's log, which prints
them all, against everything that is published: log, artifact, summary, outputs and comment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_api import NOW, FakeGitHub, zipped
from git_server import git
from made import PR

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[2]
PLANTED = {
    "DEPLOY_TOKEN": "planted-deploy-token",
    "DATABASE_URL": "postgresql://shop:planted-url-password@db.example/shop",
    "AWS_SECRET_ACCESS_KEY": "planted/aws+key",
}
CONFIG = """
[services.postgres]
version = 18
[target]
migrate = [["{python}", "migrate.py"]]
start = ["{python}", "server.py", "{{port}}"]
ready = "/health"
[target.env]
DATABASE_URL = "postgresql://{{postgres.user}}:{{postgres.password}}@{{postgres.host}}:{{postgres.port}}/{{postgres.database}}"
PAYMENT_API_KEY = "planted-in-target-env"
[dataset.tables]
things.rows = 50
[suites.endpoints]
warmup = 1
requests = 2
rounds = 2
[[suites.endpoints.request]]
name = "things"
path = "/things"
[[suites.endpoints.request]]
name = "order"
path = "/order"
"""
MIGRATE = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as opened:
    opened.execute("CREATE TABLE things (id bigint PRIMARY KEY, name text NOT NULL)")
"""
SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import psycopg

URL = os.environ["DATABASE_URL"]
{at_start}
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status, text = 200, "[]"
        if self.path == "/things":
            with psycopg.connect(URL) as opened:
                for number in range({queries}):
                    opened.execute("SELECT name FROM things WHERE id = %s", [number])
        if self.path == "/order":
            {order}
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
TELLS = """
with open({seen!r}, "a") as file:
    file.write(URL + chr(10))
print("I know", dict(os.environ), file=sys.stderr, flush=True)
"""
ANSWERS = """status, text = 500, f"no {URL} by {os.environ['PAYMENT_API_KEY']}: password={URL}\""""


@dataclass
class Shop:
    """A repository whose head is GitHub's merge of a fork's commit. seen: URLs that its program was given."""

    github: FakeGitHub
    place: Path
    said: list[str] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        return self.place / "tree"

    @property
    def seen(self) -> Path:
        return self.place / "seen"

    def offer(self, server: str) -> None:
        """A fork's commit with this server, and GitHub's trial merge of it, checked out."""
        git(self.tree, "checkout", "-q", "-b", "topic")
        (self.tree / "server.py").write_text(server)
        git(self.tree, "commit", "-q", "-am", "Ask again")
        git(self.tree, "checkout", "-q", "-b", "merge", "main")
        git(self.tree, "merge", "-q", "--no-ff", "-m", "Merge", "topic")
        base, head, merge = (git(self.tree, "rev-parse", name) for name in ("main", "topic", "merge"))
        for sha, parents in ((base, ()), (head, (base,)), (merge, (base, head))):
            texts = {
                name: git(self.tree, "show", f"{sha}:{name}") for name in ("perf-gate.toml", "server.py")
            }
            self.github.add_commit(sha, *parents, files=dict(texts))
        self.github.branches["main"] = base
        self.github.add_pull(
            PR, owner="stranger", repo_id=77, branch="topic", sha=head, merge_commit_sha=merge
        )
        run = {"head_repository": {"id": 77, "owner": {"login": "stranger"}}, "status": "in_progress"}
        self.github.add_run(50, 5, sha=head, conclusion=None, **run)

    def job(self, *command: str, event: str, payload: dict[str, Any], token: str) -> int:
        """One `perf-gate ci` command as a process of its own; what it prints is kept."""
        path = self.place / "event.json"
        path.write_text(json.dumps({"repository": {"id": 1, "default_branch": "main"}, **payload}))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "PERF_GATE_", "RUNNER_"))}
        own = {
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_REF": "refs/pull/7/merge" if event == "pull_request" else "refs/heads/main",
            "GITHUB_SHA": git(self.tree, "rev-parse", "merge"),
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_API_URL": self.github.url,
            "GITHUB_SERVER_URL": "http://127.0.0.1:1",
            "GITHUB_RUN_ID": "50",
            "GITHUB_RUN_NUMBER": "5",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_WORKFLOW_REF": "acme/shop/.github/workflows/perf-gate.yml@refs/heads/main",
            "GITHUB_STEP_SUMMARY": str(self.place / "summary"),
            "GITHUB_OUTPUT": str(self.place / "output"),
            "RUNNER_TEMP": str(self.place / "runner"),
            "PERF_GATE_CACHE": str(self.place / "cache"),
            "PERF_GATE_SERVICES": "embedded",
            "PERF_GATE_TIME_BUDGET": "0",
            "PERF_GATE_GITHUB_TOKEN": token,
        }
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gate", "ci", *command],
            cwd=self.tree,
            env=kept | PLANTED | own,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        self.said.append(done.stdout + done.stderr)
        return done.returncode

    def measured(self) -> int:
        pull = self.github.pulls[0]
        return self.job("measure", event="pull_request", payload={"pull_request": pull}, token="")

    def leaks(self) -> list[str]:
        """The secrets that stand anywhere in what is published."""
        names = ("summary", "output", "runner/perf-gate/report.json")
        files = [self.place / name for name in names if (self.place / name).exists()]
        published = [*self.said, *(path.read_text() for path in files), *self.github.body_of(PR)]
        passwords = {line.split(":")[2].partition("@")[0] for line in self.seen.read_text().splitlines()}
        assert passwords
        everything = "\n".join(published)
        return [secret for secret in ["planted", *sorted(passwords)] if secret in everything]


@pytest.fixture
def shop(github: FakeGitHub, tmp_path: Path) -> Shop:
    """Its main has a server that asks once and answers every request."""
    made = Shop(github, tmp_path)
    made.tree.mkdir()
    git(tmp_path, "init", "-q", "-b", "main", str(made.tree))
    (made.tree / "perf-gate.toml").write_text(CONFIG.format(python=sys.executable))
    (made.tree / "migrate.py").write_text(MIGRATE)
    (made.tree / "server.py").write_text(SERVER.format(at_start="", queries=1, order="pass"))
    git(made.tree, "add", ".")
    git(made.tree, "commit", "-q", "-m", "A shop")
    return made


def test_what_an_application_prints_and_answers_stays_where_it_is(shop: Shop) -> None:
    """A log with everything in it, and a failing answer that quotes it, of which the report shows a part."""
    tells = TELLS.format(seen=str(shop.seen))
    shop.offer(SERVER.format(at_start=tells, queries=9, order=ANSWERS))
    assert shop.measured() == 1, shop.said
    report = shop.place / "runner/perf-gate/report.json"
    assert "no postgresql://***@" in report.read_text()  # it was quoted, and its secrets taken out
    shop.github.add_artifact(50, zipped({"report.json": report.read_text()}), f"perf-gate-report-{PR}")
    pull = {"pull_request": shop.github.pulls[0]}
    arguments = ("verdict", "--measure-result", "failure")
    assert shop.job(*arguments, event="pull_request", payload=pull, token="verdict-of-fork") == 1
    run = shop.github.runs[0] | {
        "status": "completed",
        "conclusion": "failure",
        "html_url": "",
        "created_at": NOW,
    }
    shop.github.add_jobs(50, measure="failure")
    assert shop.job("report", event="workflow_run", payload={"workflow_run": run}, token="report") == 0
    (body,) = shop.github.body_of(PR)
    assert "perf-gate: blocked" in body
    assert "SELECT name FROM things" in body
    assert shop.leaks() == []


def test_what_a_dying_application_prints_is_shown_without_its_secrets(shop: Shop) -> None:
    """The job's log shows the last lines of a program that did not start; what is secret in them is not."""
    dies = TELLS.format(seen=str(shop.seen)) + 'sys.exit(f"cannot reach {URL}")\n'
    shop.offer(SERVER.format(at_start=dies, queries=1, order="pass"))
    assert shop.measured() == 3, shop.said
    assert "cannot reach postgresql://***@" in shop.said[0]
    assert shop.leaks() == []
