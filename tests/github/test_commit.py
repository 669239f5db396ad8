"""Committing baselines, with real git and a bare repository that may refuse as a server does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fake_api import FakeGitHub
from made import client

from gate.errors import PublishError, RepositoryError
from gate.github import commit
from gate.github.commit import BRANCH, Checkout, Remote, Update, changed, commit_baselines, offer

FILE = "baselines/endpoints.json"


def git(where: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", str(where), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **identity, "GIT_CONFIG_GLOBAL": "/dev/null"},
    )
    return done.stdout.strip()


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A bare repository with one commit on main, made by the checkout beside it."""
    bare = tmp_path / "server.git"
    git(tmp_path, "init", "--quiet", "--bare", "-b", "main", str(bare))
    work = tmp_path / "work"
    git(tmp_path, "init", "--quiet", "-b", "main", str(work))
    (work / "baselines").mkdir()
    (work / FILE).write_text("1\n")
    (work / "app.py").write_text("print()\n")
    git(work, "add", ".")
    git(work, "commit", "--quiet", "-m", "first")
    git(work, "push", "--quiet", str(bare), "main")
    return bare


def checkout(server: Path) -> Checkout:
    environ = {"PATH": os.environ["PATH"], "HOME": str(server.parent), "GIT_CONFIG_GLOBAL": "/dev/null"}
    return Checkout(root=server.parent / "work", environ=environ)


def update(server: Path) -> Update:
    return commit_baselines(
        checkout(server), "baselines", branch="main", remote=Remote(url=f"file://{server}", token="")
    )


def refuse(server: Path, script: str) -> None:
    hook = server / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


PROTECT = """while read old new ref; do
  if [ "$ref" = refs/heads/main ]; then echo "GH006: Protected branch update failed"; exit 1; fi
done"""


def test_unchanged_baselines_make_no_commit(server: Path) -> None:
    """An update that measured the same values leaves the branch where it was."""
    before = git(server, "rev-parse", "main")
    assert update(server) == Update(action="unchanged")
    assert git(server, "rev-parse", "main") == before


def test_changed_and_new_files_are_pushed(server: Path) -> None:
    """A changed and a new baseline arrive in one commit by perf-gate, and nothing else does."""
    work = server.parent / "work"
    (work / FILE).write_text("2\n")
    (work / "baselines/timing").mkdir()
    (work / "baselines/timing/new file.json").write_text("3\n")
    (work / "app.py").write_text("edited\n")
    (work / "junk").write_text("untracked\n")
    seen = update(server)
    assert seen == Update(action="pushed", files=(FILE, "baselines/timing/new file.json"))
    assert git(server, "show", "--format=%an", "--name-only", "main").split("\n\n") == [
        commit.NAME,
        f"{FILE}\nbaselines/timing/new file.json",
    ]


def test_removed_baseline_is_committed_too(server: Path) -> None:
    """A baseline file that the update removed is removed on the branch."""
    (server.parent / "work" / FILE).unlink()
    assert update(server).action == "pushed"
    assert FILE not in git(server, "ls-tree", "-r", "--name-only", "main")


def test_protected_branch_gets_a_branch_beside_it(server: Path) -> None:
    """Where the server protects main, the commit goes to our branch, each time the newest only."""
    refuse(server, PROTECT)
    before = git(server, "rev-parse", "main")
    for value in ("2\n", "3\n"):
        (server.parent / "work" / FILE).write_text(value)
        assert update(server).action == "protected"
        git(server.parent / "work", "reset", "--quiet", "--hard", "HEAD~1")
    assert git(server, "rev-parse", "main") == before
    assert git(server, "show", f"{BRANCH}:{FILE}") == "3"
    assert git(server, "rev-list", "--count", f"main..{BRANCH}") == "1"


def test_branch_that_moved_on_is_left_to_its_own_run(server: Path) -> None:
    """A push that lost a race forces nothing and is no error."""
    other = server.parent / "other"
    git(server.parent, "clone", "--quiet", str(server), str(other))
    (other / "app.py").write_text("newer\n")
    git(other, "commit", "--quiet", "-am", "newer")
    git(other, "push", "--quiet", "origin", "main")
    (server.parent / "work" / FILE).write_text("2\n")
    assert update(server).action == "moved"
    assert git(server, "show", f"main:{FILE}") == "1"


def test_other_refusals_are_errors_with_the_servers_words(server: Path) -> None:
    """A remote that is not there fails loudly, with what git said."""
    (server.parent / "work" / FILE).write_text("2\n")
    with pytest.raises(PublishError, match="could not push") as caught:
        commit_baselines(
            checkout(server), "baselines", branch="main", remote=Remote(url="file:///nowhere.git", token="")
        )
    assert any("nowhere" in line for line in caught.value.tail)


def test_nothing_may_be_pushed_at_all(server: Path) -> None:
    """A server that refuses our branch as well is an error that names the cure."""
    refuse(server, "echo GH013: rule violations; exit 1")
    (server.parent / "work" / FILE).write_text("2\n")
    with pytest.raises(PublishError, match="neither") as caught:
        update(server)
    assert "App's token" in caught.value.hint


def test_no_repository_is_a_repository_error(tmp_path: Path) -> None:
    """Outside of a repository git's refusal becomes an error with its words."""
    environ = {"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    with pytest.raises(RepositoryError, match="git failed"):
        changed(Checkout(root=tmp_path, environ=environ), "baselines")


def test_token_is_in_no_argument_and_no_error(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git gets the token in its environment alone; neither its arguments nor an error shows it."""
    seen: list[list[str]] = []
    run = subprocess.run

    def spy(arguments: list[str], **options: object) -> object:
        seen.append(arguments)
        return run(arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(commit.subprocess, "run", spy)
    (server.parent / "work" / FILE).write_text("2\n")
    remote = Remote(url="http://127.0.0.1:1/acme/shop.git", token="ghs_planted")
    with pytest.raises(PublishError) as caught:
        commit_baselines(checkout(server), "baselines", branch="main", remote=remote)
    error = caught.value
    assert "ghs_planted" not in f"{seen} {error.message} {error.where} {error.tail} {remote!r}"
    assert len(seen) == 4


def test_git_sends_the_token_once(server: Path, github: FakeGitHub) -> None:
    """The remote sees our header and not a second one that a checkout has left in the configuration."""
    held = checkout(server)
    git(held.root, "config", f"http.{github.url}/.extraheader", "AUTHORIZATION: basic old")
    refused = held.push(Remote(url=f"{github.url}/acme/shop.git", token="t"), "HEAD:refs/heads/main")
    assert refused
    assert "dA==" not in refused
    assert {request.headers["authorization"] for request in github.log} == {"basic eC1hY2Nlc3MtdG9rZW46dA=="}


def test_one_pull_request_is_opened_and_checked(github: FakeGitHub) -> None:
    """The first protected update opens a pull request, the second uses it; the gate is started on both."""
    made = Update(action="protected", files=(FILE,))
    with client(github, "baseline") as opened:
        for _ in range(2):
            offer(opened, made, branch="main", check_workflow="perf-gate.yml")
    (pull,) = github.pulls
    assert FILE in pull["body"]
    assert github.dispatched == [("perf-gate.yml", BRANCH)] * 2


def test_pull_request_stands_without_the_dispatch(github: FakeGitHub) -> None:
    """Where the token may not start a workflow, the pull request is there and the sentence says why."""
    github.tokens["app"] = {"pull-requests": "write"}
    with client(github, "app") as opened:
        made = Update(action="protected", files=(FILE,))
        said = offer(opened, made, branch="main", check_workflow="perf-gate.yml")
    assert "#100" in said
    assert "not started" in said
