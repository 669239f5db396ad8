"""Committing baselines, with real git and a server that refuses as GitHub does."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_api import FakeGitHub
from git_server import GitServer, git
from made import client

from gate.errors import PublishError, RepositoryError
from gate.github import commit
from gate.github.commit import (
    BRANCH,
    Checkout,
    Remote,
    Update,
    changed,
    commit_baselines,
    is_update,
    offer,
)

FILE = "baselines/endpoints.json"
TIMES = "baselines/timing/key/endpoints.json"


@pytest.fixture
def server(hub: GitServer) -> GitServer:
    """One commit on main, made and pushed by the checkout in `work`."""
    work = hub.root / "work"
    git(hub.root, "init", "--quiet", "-b", "main", str(work))
    (work / "baselines").mkdir()
    (work / FILE).write_text("1\n")
    (work / "app.py").write_text("print()\n")
    git(work, "add", ".")
    git(work, "commit", "--quiet", "-m", "first")
    git(work, "push", "--quiet", str(hub.bare), "main")
    return hub


def checkout(server: GitServer) -> Checkout:
    environ = {"PATH": os.environ["PATH"], "HOME": str(server.root), "GIT_CONFIG_GLOBAL": "/dev/null"}
    return Checkout(root=server.root / "work", environ=environ)


def update(server: GitServer) -> Update:
    return commit_baselines(
        checkout(server), "baselines", branch="main", remote=remote_of(server), pause=short
    )


def remote_of(server: GitServer) -> Remote:
    """As the update job pushes: over HTTP, with the token of its workflow file."""
    return Remote(url=server.remote, token="baseline")


def short(seconds: float) -> None:
    time.sleep(seconds / 40)


def document(cases: dict[str, object], key: str = "k") -> str:
    return json.dumps({"data_key": key, "cases": cases}, indent=1, sort_keys=True) + "\n"


def test_unchanged_baselines_make_no_commit(server: GitServer) -> None:
    """An update that measured the same values leaves the branch where it was."""
    before = server.git("rev-parse", "main")
    assert update(server) == Update(action="unchanged")
    assert server.git("rev-parse", "main") == before


def test_changed_and_new_files_are_pushed(server: GitServer) -> None:
    """A changed and a new baseline arrive in one commit by perf-gate, and nothing else does."""
    work = server.root / "work"
    (work / FILE).write_text("2\n")
    (work / "baselines/timing").mkdir()
    (work / "baselines/timing/new file.json").write_text("3\n")
    (work / "app.py").write_text("edited\n")
    (work / "junk").write_text("untracked\n")
    seen = update(server)
    assert seen == Update(action="pushed", files=(FILE, "baselines/timing/new file.json"))
    assert server.git("show", "--format=%an", "--name-only", "main").split("\n\n") == [
        commit.NAME,
        f"{FILE}\nbaselines/timing/new file.json",
    ]


def test_removed_baseline_is_committed_too(server: GitServer) -> None:
    """A baseline file that the update removed is removed on the branch."""
    (server.root / "work" / FILE).unlink()
    assert update(server).action == "pushed"
    assert FILE not in server.git("ls-tree", "-r", "--name-only", "main")


def test_protected_branch_gets_a_branch_beside_it(server: GitServer) -> None:
    """Where the server protects main, the commit goes to our branch, the newest values last."""
    server.refuse()
    before = server.git("rev-parse", "main")
    for value in ("2\n", "3\n"):
        (server.root / "work" / FILE).write_text(value)
        assert update(server).action == "protected"
        git(server.root / "work", "reset", "--quiet", "--hard", "HEAD~1")
    assert server.git("rev-parse", "main") == before
    assert server.git("show", f"{BRANCH}:{FILE}") == "3"


def test_times_alone_open_no_pull_request(server: GitServer) -> None:
    """Nobody is asked to merge a run's times: on a protected branch they wait for a changed count."""
    server.refuse()
    work = server.root / "work"
    (work / TIMES).parent.mkdir(parents=True)
    (work / TIMES).write_text("1\n")
    assert update(server).action == "kept back"
    assert BRANCH not in server.git("branch", "--list", BRANCH)
    git(work, "reset", "--quiet", "--mixed", "HEAD~1")
    (work / FILE).write_text("2\n")
    assert update(server) == Update(action="protected", files=(FILE, TIMES))


def another(server: GitServer, name: str, edits: dict[str, str], message: str = "newer") -> Path:
    """Somebody else's clone, which pushes these files first."""
    other = server.root / name
    server.clone(other)
    for path, text in edits.items():
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        (other / path).write_text(text)
    git(other, "add", ".")
    git(other, "commit", "--quiet", "-m", message)
    git(other, "push", "--quiet", "origin", "main")
    return other


def test_branch_that_moved_on_gets_the_update_on_top(server: GitServer) -> None:
    """A push that lost to a commit of code is tried again on top of it, and takes nothing of it back."""
    another(server, "other", {"app.py": "newer\n"})
    (server.root / "work" / FILE).write_text("2\n")
    assert update(server).action == "pushed"
    assert server.git("show", f"main:{FILE}") == "2"
    assert server.git("show", "main:app.py") == "newer"
    assert server.git("rev-list", "--count", "main") == "3"


def test_what_others_push_while_we_wait_is_not_lost_to_again(server: GitServer) -> None:
    """The wait between two tries comes before the branch is looked at, so that one wait is enough."""
    another(server, "other", {"app.py": "newer\n"})
    (server.root / "work" / FILE).write_text("2\n")
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            another(server, "third", {"app.py": "newest\n"})

    made = commit_baselines(
        checkout(server), "baselines", branch="main", remote=remote_of(server), pause=pause
    )
    assert (made.action, len(waits)) == ("pushed", 1)
    assert server.git("show", "main:app.py") == "newest"


def test_working_tree_stays_as_it_was(server: GitServer) -> None:
    """What is applied on top of newer code is no checkout of it: no stranger's file appears here."""
    another(server, "other", {"app.py": "newer\n", "new.py": "x\n"})
    (server.root / "work" / FILE).write_text("2\n")
    update(server)
    assert sorted(path.name for path in (server.root / "work").iterdir()) == [".git", "app.py", "baselines"]
    assert (server.root / "work/app.py").read_text() == "print()\n"


def test_value_that_was_accepted_meanwhile_stays(server: GitServer) -> None:
    """A baseline that a merged pull request edited since is newer than what this run measured."""
    another(server, "other", {FILE: "9\n"})
    (server.root / "work" / FILE).write_text("2\n")
    assert update(server).action == "moved"
    assert server.git("show", f"main:{FILE}") == "9"


def test_newer_measurement_replaces_an_older_one_whoever_comes_first(server: GitServer) -> None:
    """Of two updates of one file the one measured on the newer commit stays, in either order."""
    old = server.root / "work"
    new = another(server, "new", {"app.py": "newer\n"})
    for first, second in ((old, new), (new, old)):
        before = server.git("rev-parse", "main")
        for root, value in ((first, first.name), (second, second.name)):
            git(root, "reset", "--quiet", "--hard", "HEAD")
            (root / FILE).write_text(f"{value}\n")
            held = Checkout(root=root, environ=checkout(server).environ)
            commit_baselines(held, "baselines", branch="main", remote=remote_of(server), pause=short)
            git(root, "reset", "--quiet", "--hard", "HEAD~1")
        assert server.git("show", f"main:{FILE}") == "new"
        server.git("update-ref", "refs/heads/main", before)


def test_rewritten_history_gets_nothing(server: GitServer) -> None:
    """Where the measured commit is no longer on the branch, its values are nobody's."""
    other = server.root / "other"
    server.clone(other)
    git(other, "commit", "--quiet", "--amend", "-m", "rewritten")
    git(other, "push", "--quiet", "--force", "origin", "main")
    (server.root / "work" / FILE).write_text("2\n")
    assert update(server).action == "moved"
    assert server.git("show", f"main:{FILE}") == "1"


def test_race_of_six_updates_loses_none(server: GitServer) -> None:
    """Six jobs push at once, each with a case, a file and a run's times of its own: all arrive."""
    cases = {f"endpoints/{n}": {"metrics": {"sql.calls": [1, 1]}} for n in range(6)}
    work = server.root / "work"
    (work / FILE).write_text(document(cases))
    git(work, "commit", "--quiet", "-am", "cases")
    git(work, "push", "--quiet", str(server.bare), "main")
    roots = []
    for n in range(6):
        root = server.root / f"racer{n}"
        server.clone(root)
        (root / FILE).write_text(
            document(cases | {f"endpoints/{n}": {"metrics": {"sql.calls": [n + 2] * 2}}})
        )
        (root / f"baselines/own{n}.json").write_text(f"{n}\n")
        (root / TIMES).parent.mkdir(parents=True)
        (root / TIMES).write_text(json.dumps({"keep": 30, "runs": [{"commit": f"{n}"}]}))
        roots.append(root)
    environ = checkout(server).environ
    ready = threading.Barrier(6)

    def race(root: Path) -> Update:
        ready.wait()
        held = Checkout(root=root, environ=environ)
        return commit_baselines(held, "baselines", branch="main", remote=remote_of(server), pause=short)

    with ThreadPoolExecutor(6) as pool:
        assert {each.action for each in pool.map(race, roots)} == {"pushed"}
    stored = json.loads(server.git("show", f"main:{FILE}"))["cases"]
    assert [stored[f"endpoints/{n}"]["metrics"]["sql.calls"] for n in range(6)] == [
        [n + 2] * 2 for n in range(6)
    ]
    listed = server.git("ls-tree", "--name-only", "main", "baselines/").split()
    assert listed == [FILE, *(f"baselines/own{n}.json" for n in range(6)), "baselines/timing"]
    kept = json.loads(server.git("show", f"main:{TIMES}"))["runs"]
    assert sorted(run["commit"] for run in kept) == [f"{n}" for n in range(6)]


def test_race_onto_a_protected_branch_loses_none(server: GitServer) -> None:
    """On a protected branch the six meet on our own branch, and all arrive there."""
    server.refuse()
    roots = []
    for n in range(6):
        root = server.root / f"racer{n}"
        server.clone(root)
        (root / f"baselines/own{n}.json").write_text(f"{n}\n")
        roots.append(root)
    environ = checkout(server).environ

    def race(root: Path) -> Update:
        held = Checkout(root=root, environ=environ)
        return commit_baselines(held, "baselines", branch="main", remote=remote_of(server), pause=short)

    with ThreadPoolExecutor(6) as pool:
        assert {each.action for each in pool.map(race, roots)} == {"protected"}
    listed = server.git("ls-tree", "--name-only", BRANCH, "baselines/").split()
    assert listed == [FILE, *(f"baselines/own{n}.json" for n in range(6))]


def test_older_update_leaves_a_newer_offer_alone(server: GitServer) -> None:
    """A late run of an older commit does not push its values over those waiting in the pull request."""
    new = another(server, "new", {"app.py": "newer\n"})
    server.refuse()
    for root in (new, server.root / "work"):
        (root / FILE).write_text(f"{root.name}\n")
        held = Checkout(root=root, environ=checkout(server).environ)
        commit_baselines(held, "baselines", branch="main", remote=remote_of(server), pause=short)
    assert server.git("show", f"{BRANCH}:{FILE}") == "new"


def test_own_commits_are_known(server: GitServer) -> None:
    """By their trailer; an App's token starts the workflow for them too."""
    (server.root / "work" / FILE).write_text("2\n")
    assert not is_update(checkout(server))
    update(server)
    assert is_update(checkout(server))


def test_commit_says_what_it_measured_and_who_accepted(server: GitServer) -> None:
    """The trailers name the measured commit and whoever let a slower value through."""
    measured = server.git("rev-parse", "main")
    (server.root / "work" / FILE).write_text("2\n")
    note = "Accepted-by: alice (#7, perf-gate:accept)"
    commit_baselines(checkout(server), "baselines", branch="main", remote=remote_of(server), notes=[note])
    assert server.git("log", "-1", "--format=%(trailers)", "main") == f"{note}\nMeasured-at: {measured}"


def test_other_refusals_are_errors_with_the_servers_words(server: GitServer) -> None:
    """A remote that is not there fails loudly, with what git said."""
    (server.root / "work" / FILE).write_text("2\n")
    with pytest.raises(PublishError, match="could not push") as caught:
        commit_baselines(
            checkout(server), "baselines", branch="main", remote=Remote(url="file:///nowhere.git", token="")
        )
    assert any("nowhere" in line for line in caught.value.tail)


def test_nothing_may_be_pushed_at_all(server: GitServer) -> None:
    """A server that refuses our branch as well is an error that names the cure."""
    server.refuse("echo GH013: rule violations; exit 1")
    (server.root / "work" / FILE).write_text("2\n")
    with pytest.raises(PublishError, match="neither") as caught:
        update(server)
    assert "App's token" in caught.value.hint


def test_no_repository_is_a_repository_error(tmp_path: Path) -> None:
    """Outside of a repository git's refusal becomes an error with its words."""
    environ = {"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    with pytest.raises(RepositoryError, match="git failed"):
        changed(Checkout(root=tmp_path, environ=environ), "baselines")


def test_token_is_in_no_argument_and_no_error(server: GitServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """git gets the token in its environment alone; neither its arguments nor an error shows it."""
    seen: list[list[str]] = []
    run = subprocess.run

    def spy(arguments: list[str], **options: object) -> object:
        seen.append(arguments)
        return run(arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(commit.subprocess, "run", spy)
    (server.root / "work" / FILE).write_text("2\n")
    remote = Remote(url="http://127.0.0.1:1/acme/shop.git", token="ghs_planted")
    with pytest.raises(PublishError) as caught:
        commit_baselines(checkout(server), "baselines", branch="main", remote=remote)
    error = caught.value
    assert "ghs_planted" not in f"{seen} {error.message} {error.where} {error.tail} {remote!r}"
    assert len(seen) == 6


def test_token_that_only_reads_is_refused(server: GitServer) -> None:
    """The token of the deciding job may read the branch, not push to it: an error, and nothing is changed."""
    (server.root / "work" / FILE).write_text("2\n")
    remote = Remote(url=server.remote, token="verdict")
    with pytest.raises(PublishError, match="could not push") as caught:
        commit_baselines(checkout(server), "baselines", branch="main", remote=remote, pause=short)
    assert "403" in " ".join(caught.value.tail)
    assert server.git("show", f"main:{FILE}") == "1"
    assert checkout(server).fetch(remote, "main") == server.git("rev-parse", "main")


def test_git_sends_the_token_once(server: GitServer) -> None:
    """A header that a checkout has left in the configuration is not sent beside ours: two are a 400."""
    held = checkout(server)
    git(held.root, "config", f"http.{server.url}/.extraheader", "AUTHORIZATION: basic old")
    assert held.push(remote_of(server), "HEAD:refs/heads/topic") == ""
    assert set(server.log) == {"git-receive-pack 200"}


def test_stranger_is_asked_for_a_token(server: GitServer) -> None:
    """Without one, or with one that nobody has given out, nothing is read or pushed."""
    held = checkout(server)
    for token in ("", "invented"):
        remote = Remote(url=server.remote, token=token)
        assert held.push(remote, "HEAD:refs/heads/topic")
        with pytest.raises(PublishError, match="could not fetch"):
            held.fetch(remote, "main")
    assert {entry.split()[1] for entry in server.log} == {"401"}


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
