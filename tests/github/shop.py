"""The smallest application that is measured for real: one server, one table and two requests.

Its measured job's environment holds planted secrets, of which nothing may be seen afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_api import FakeGitHub
from git_server import git
from made import PR

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


@dataclass
class Shop:
    """A repository whose head is GitHub's merge of a fork's commit. seen: URLs that its program was given."""

    github: FakeGitHub
    place: Path
    cache: Path
    said: list[str] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        return self.place / "tree"

    @property
    def seen(self) -> Path:
        return self.place / "seen"

    def serve(self, queries: int = 1) -> None:
        """A server that asks so often, uncommitted."""
        (self.tree / "server.py").write_text(SERVER.format(at_start="", queries=queries, order="pass"))

    def gate(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in a terminal, outside of GitHub."""
        return self._process(command, {})

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
            "PERF_GATE_GITHUB_TOKEN": token,
        }
        done = self._process(("ci", *command), PLANTED | own)
        self.said.append(done.stdout + done.stderr)
        return done.returncode

    def _process(self, command: Sequence[str], more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "PERF_GATE_", "RUNNER_"))}
        own = {
            "PERF_GATE_CACHE": str(self.cache),
            "PERF_GATE_SERVICES": "embedded",
            "PERF_GATE_TIME_BUDGET": "0",
        }
        return subprocess.run(
            [sys.executable, "-P", "-m", "gate", *command],
            cwd=self.tree,
            env=kept | own | more,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

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


def open_shop(github: FakeGitHub, place: Path, cache: Path) -> Shop:
    """Its main has a server that asks once and answers every request."""
    made = Shop(github, place, cache)
    made.tree.mkdir()
    git(place, "init", "-q", "-b", "main", str(made.tree))
    (made.tree / "perf-gate.toml").write_text(CONFIG.format(python=sys.executable))
    (made.tree / "migrate.py").write_text(MIGRATE)
    made.serve()
    git(made.tree, "add", ".")
    git(made.tree, "commit", "-q", "-m", "A shop")
    return made
