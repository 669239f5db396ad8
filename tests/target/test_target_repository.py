"""The repository: snapshots, base commits and worktrees, on small real repositories."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import gate
from gate.cli.run import event_of
from gate.errors import EnvironmentFailure, RepositoryError
from gate.target.repository import Event, Repository, Snapshot

WHO = {
    f"GIT_{r}_{k}": v for r in ("AUTHOR", "COMMITTER") for k, v in (("NAME", "T"), ("EMAIL", "t@example.org"))
}
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def git(where: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    command = ["git", "-C", str(where), "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, env={**ENVIRON, **WHO, **(env or {})}, capture_output=True, check=True)
    return os.fsdecode(done.stdout).strip()


def commit(where: Path, text: str = "", **files: str) -> str:
    for name, content in files.items():
        (where / name).write_text(content)
    git(where, "add", "-A")
    git(where, "commit", "-q", "--allow-empty", "-m", text or "work")
    return git(where, "rev-parse", "HEAD")


def discover(where: Path) -> Repository:
    return Repository.discover(where, environ=ENVIRON)


def auto(
    where: Path, event: Event | None = None, *, against: str = "auto", branch: str | None = None
) -> str | None:
    found = discover(where)
    return found.base_of(found.snapshot(), against=against, default_branch=branch, event=event)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository on branch main with one commit of one file and an ignore rule."""
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    commit(root, app="one\n", **{".gitignore": "*.log\n"})
    return root


@pytest.fixture
def clone(repo: Path, tmp_path: Path) -> Path:
    """A clone of `repo`, so that origin/main and origin/HEAD exist."""
    git(tmp_path, "clone", "-q", str(repo), "clone")
    return tmp_path / "clone"


# --- finding it


def test_a_repository_is_found_from_a_directory_inside(repo: Path) -> None:
    """The root is that of the working tree and our files lie in the git directory."""
    inside = repo / "a" / "b"
    inside.mkdir(parents=True)
    found = discover(inside)
    assert (found.root, found.private) == (repo, repo / ".git" / "perf-gate")


def test_worktrees_of_a_clone_share_our_files(repo: Path, tmp_path: Path) -> None:
    """The cache survives the removal of a worktree in which the gate was run."""
    git(repo, "worktree", "add", "-q", str(tmp_path / "other"))
    found = discover(tmp_path / "other")
    assert (found.root, found.private) == (tmp_path / "other", repo / ".git" / "perf-gate")


def test_no_repository_is_said_so(tmp_path: Path) -> None:
    """Outside of any repository the error says what to do."""
    with pytest.raises(RepositoryError, match="in no git repository") as caught:
        discover(tmp_path)
    assert caught.value.hint == "run perf-gate inside a clone of your project"


def test_a_bare_repository_is_said_so(repo: Path, tmp_path: Path) -> None:
    """Without files there is nothing to judge."""
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare")
    with pytest.raises(RepositoryError, match="bare"):
        discover(tmp_path / "bare")


def test_somebody_elses_repository_is_said_so(repo: Path) -> None:
    """Git's own protection is explained with the command that lifts it."""
    with pytest.raises(RepositoryError, match="belongs to another user") as caught:
        Repository.discover(repo, environ={**ENVIRON, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    assert caught.value.hint.endswith(f"git config --global --add safe.directory {repo}")


def test_a_machine_without_git_is_said_so(repo: Path) -> None:
    """A missing program is an error with its name, not a traceback."""
    with pytest.raises(RepositoryError, match="git is not installed"):
        Repository.discover(repo, environ={"PATH": "/nonexistent"})


def test_the_callers_git_variables_are_ignored(repo: Path, tmp_path: Path) -> None:
    """Run inside a hook, where GIT_DIR and GIT_INDEX_FILE are set, the gate still sees its own directory."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    env = {**ENVIRON, "GIT_DIR": str(other / ".git"), "GIT_INDEX_FILE": str(other / "index")}
    assert Repository.discover(repo, environ=env).snapshot() == discover(repo).snapshot()


# --- the snapshot


def test_a_clean_tree_is_head(repo: Path) -> None:
    """Where nothing differs, the snapshot is HEAD itself; ignored files do not count."""
    (repo / "noise.log").write_text("x")
    assert discover(repo).snapshot() == Snapshot(commit=git(repo, "rev-parse", "HEAD"), dirty=False)


def test_uncommitted_work_is_in_the_snapshot(repo: Path) -> None:
    """Edited, new, deleted, staged and executable files, and names of any bytes, are as on the disk."""
    commit(repo, gone="x", tool="#!/bin/sh\n")
    (repo / "app").write_text("two\n")
    (repo / "gone").unlink()
    (repo / "tool").chmod(0o755)
    (repo / "näme\nwith newline").write_text("n")
    (repo / "staged").write_text("s")
    git(repo, "add", "staged")
    (repo / "x.log").write_text("ignored")
    shot = discover(repo).snapshot()
    assert shot.dirty
    listing = git(repo, "ls-tree", "-r", "-z", shot.commit)
    modes = {entry.partition("\t")[2]: entry[:6] for entry in listing.split("\0") if entry}
    assert modes.keys() == {".gitignore", "app", "tool", "näme\nwith newline", "staged"}
    assert modes["tool"] == "100755"
    assert git(repo, "show", f"{shot.commit}:app") == "two"
    assert git(repo, "rev-parse", f"{shot.commit}^") == git(repo, "rev-parse", "HEAD")


def test_an_edit_in_the_same_instant_is_seen(repo: Path) -> None:
    """An edit of equal size with an unchanged time of modification is not taken for no edit."""
    for turn in range(20):
        commit(repo, app=f"{turn:04}")
        before = (repo / "app").stat()
        (repo / "app").write_text(f"{turn:03}x")
        os.utime(repo / "app", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert discover(repo).snapshot().dirty


def test_a_snapshot_leaves_no_trace(repo: Path) -> None:
    """Index, refs, status and hooks of the user are untouched, and no file of ours remains."""
    hook = repo / ".git" / "hooks" / "post-index-change"
    hook.write_text(f"#!/bin/sh\ntouch {repo}/hook-ran\n")
    hook.chmod(0o755)
    (repo / "app").write_text("two\n")
    (repo / "new").write_text("n")
    index, refs, status = (
        repo / ".git" / "index",
        ("show-ref",),
        ("--no-optional-locks", "status", "--porcelain"),
    )
    before = (index.read_bytes(), index.stat().st_mtime_ns, git(repo, *refs), git(repo, *status))
    found = discover(repo)
    found.snapshot()
    assert (index.read_bytes(), index.stat().st_mtime_ns, git(repo, *refs), git(repo, *status)) == before
    assert not (repo / "hook-ran").exists()
    assert list(found.private.iterdir()) == []


def test_the_same_tree_is_the_same_commit(repo: Path) -> None:
    """A snapshot depends on the tree and HEAD alone: not on the time, nor on who takes it."""
    (repo / "app").write_text("two\n")
    first = discover(repo).snapshot()
    git(repo, "config", "user.name", "Somebody Else")
    git(repo, "add", "-A")
    assert discover(repo).snapshot() == first


def test_submodules_stay_as_they_are(repo: Path, tmp_path: Path) -> None:
    """Neither another checked-out commit of a submodule nor a clone lying about makes the tree dirty."""
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    commit(library, lib="1")
    git(repo, "submodule", "add", "-q", str(library), "lib")
    commit(repo)
    commit(repo / "lib", lib="2")
    git(repo, "clone", "-q", str(library), "lying-about")
    assert not discover(repo).snapshot().dirty


def test_a_repository_without_commits_is_said_so(tmp_path: Path) -> None:
    """A fresh `git init` has nothing to judge."""
    git(tmp_path, "init", "-q")
    with pytest.raises(RepositoryError, match="no commit yet"):
        discover(tmp_path).snapshot()


def test_a_git_directory_that_cannot_be_written_is_said_so(repo: Path) -> None:
    """A full disk or a wrong owner is the machine's fault, not the configuration's."""
    (repo / ".git" / "perf-gate").write_text("a file")
    with pytest.raises(EnvironmentFailure, match="cannot write into the git directory: File exists"):
        discover(repo).snapshot()


# --- the base commit


def test_on_the_default_branch_the_base_is_head(repo: Path) -> None:
    """Without a remote and without own commits, uncommitted edits are judged against HEAD."""
    (repo / "app").write_text("two\n")
    assert auto(repo) == git(repo, "rev-parse", "HEAD")


def test_on_a_branch_the_base_is_where_it_left(repo: Path) -> None:
    """What others have merged since is no part of the comparison."""
    start = git(repo, "rev-parse", "HEAD")
    git(repo, "switch", "-q", "-c", "feature")
    commit(repo, app="two\n")
    git(repo, "switch", "-q", "main")
    commit(repo, other="x")
    git(repo, "switch", "-q", "feature")
    assert auto(repo) == start


def test_unpushed_commits_are_judged_against_the_remote(clone: Path) -> None:
    """The remote's default branch comes before the local one."""
    start = git(clone, "rev-parse", "HEAD")
    commit(clone, app="two\n")
    assert auto(clone) == start


def test_the_configured_branch_wins(clone: Path) -> None:
    """policy.default_branch decides where the remote says otherwise."""
    git(clone, "switch", "-q", "-c", "develop")
    develop = commit(clone, app="two\n")
    git(clone, "switch", "-q", "-c", "feature")
    commit(clone, app="three\n")
    assert auto(clone, branch="develop") == develop


def test_a_pull_request_is_judged_against_the_merge_commits_first_parent(clone: Path) -> None:
    """GitHub checks out the merge of head into base; files left by earlier steps do not change that."""
    git(clone, "switch", "-q", "-c", "feature")
    commit(clone, feature="x")
    git(clone, "switch", "-q", "--detach", "main")
    base = commit(clone, other="y")
    git(clone, "merge", "-q", "--no-ff", "-m", "merge", "feature")
    sha = git(clone, "rev-parse", "HEAD")
    (clone / "built-by-an-earlier-step").write_text("z")
    assert auto(clone, Event(name="pull_request", base_ref="main", sha=sha)) == base
    assert auto(clone, Event(name="merge_group", base_sha="0" * 40, sha=sha)) == base


def test_an_authors_own_merge_is_not_taken_for_githubs(clone: Path, repo: Path) -> None:
    """Checked out at its head, a pull request that merged main last is judged with all its own work."""
    git(clone, "switch", "-q", "-c", "feature")
    commit(clone, feature="a regression")
    merged = commit(repo, other="y")
    git(clone, "fetch", "-q")
    git(clone, "merge", "-q", "--no-ff", "-m", "Merge main into feature", "origin/main")
    assert auto(clone, Event(name="pull_request", base_ref="main", sha="0" * 40)) == merged


def test_the_commit_github_made_is_told_by_its_environment() -> None:
    """Without it every merge would look like an author's."""
    event = event_of({"GITHUB_EVENT_NAME": "pull_request", "GITHUB_SHA": "a" * 40})
    assert event is not None
    assert event.sha == "a" * 40


def test_a_merge_made_by_the_workflow_is_judged_against_what_it_merged_into(clone: Path) -> None:
    """A merge into the target that is not GitHub's own has the target's commit as its base too."""
    target = git(clone, "rev-parse", "HEAD")
    git(clone, "switch", "-q", "-c", "feature")
    commit(clone, feature="x")
    git(clone, "switch", "-q", "--detach", "origin/main")
    git(clone, "merge", "-q", "--no-ff", "-m", "merge", "feature")
    assert auto(clone, Event(name="pull_request", base_ref="main", sha="0" * 40)) == target


def test_a_pull_request_checked_out_at_its_head_uses_its_own_target(clone: Path) -> None:
    """Without a merge commit the base is where head left the branch it is to be merged into."""
    git(clone, "switch", "-q", "-c", "release")
    release = commit(clone, app="two\n")
    git(clone, "switch", "-q", "-c", "feature")
    commit(clone, app="three\n")
    assert auto(clone, Event(name="pull_request", base_ref="release", default_branch="main")) == release


def test_a_squashing_merge_queue_uses_the_events_base(clone: Path) -> None:
    """Where the queue makes no merge commit, the group's base is taken, if it is an ancestor."""
    base = commit(clone, app="two\n")
    commit(clone, app="three\n")
    commit(clone, app="four\n")
    assert auto(clone, Event(name="merge_group", base_sha=base)) == base


def test_a_push_to_the_default_branch_is_judged_against_its_parent(clone: Path) -> None:
    """Also where the remote already has the pushed commit; a push elsewhere is like a branch."""
    fork = git(clone, "rev-parse", "HEAD")
    parent = commit(clone, app="two\n")
    commit(clone, app="three\n")
    assert auto(clone, Event(name="push", ref="refs/heads/main")) == parent
    assert auto(clone, Event(name="push", ref="refs/heads/feature")) == fork
    assert auto(clone, Event(name="workflow_dispatch", ref="refs/heads/main")) == fork


def test_a_push_of_the_first_commit_has_no_base(repo: Path) -> None:
    """A new repository's first run has nothing to compare with, which is no error."""
    assert auto(repo, Event(name="push", ref="refs/heads/main")) is None


def test_an_explicit_ref_is_resolved(clone: Path, repo: Path) -> None:
    """A tag, an abbreviated commit, and a branch that only the remote has."""
    start = git(clone, "rev-parse", "HEAD")
    git(clone, "tag", "-a", "-m", "one", "v1")
    git(repo, "branch", "theirs")
    git(clone, "fetch", "-q")
    commit(clone, app="two\n")
    assert [auto(clone, against=ref) for ref in ("v1", start[:9], "theirs", "HEAD^")] == [start] * 4


def test_an_unknown_ref_names_the_nearest(clone: Path) -> None:
    """A typing error is answered with the branch that was probably meant."""
    git(clone, "branch", "feature-cache")
    with pytest.raises(RepositoryError, match="'feature-cahce'") as caught:
        auto(clone, against="feature-cahce")
    assert caught.value.hint == "did you mean 'feature-cache'?"


@pytest.mark.parametrize("ref", ["--all", "-x", "", "HEAD:app"])
def test_what_is_no_commit_is_an_unknown_ref(clone: Path, ref: str) -> None:
    """A ref can neither be an option of git nor a file."""
    with pytest.raises(RepositoryError, match="unknown commit"):
        auto(clone, against=ref)


def test_a_shallow_checkout_is_refused_unless_nothing_is_compared(repo: Path, tmp_path: Path) -> None:
    """The hint is the setting of the checkout step; --against none needs no history."""
    commit(repo, app="two\n")
    git(tmp_path, "clone", "-q", "--depth", "1", repo.as_uri(), "shallow")
    for against in ("auto", "stored", "HEAD"):
        with pytest.raises(RepositoryError, match="shallow checkout") as caught:
            auto(tmp_path / "shallow", against=against)
        assert "fetch-depth: 0" in caught.value.hint
    assert auto(tmp_path / "shallow", against="none") is None


def test_no_default_branch_is_said_so(repo: Path) -> None:
    """Where no branch is called main or master, one must be named."""
    git(repo, "branch", "-m", "main", "trunk")
    with pytest.raises(RepositoryError, match="no default branch") as caught:
        auto(repo)
    assert "policy.default_branch" in caught.value.hint


def test_unrelated_histories_are_said_so(repo: Path) -> None:
    """Without a common ancestor there is no base."""
    git(repo, "switch", "-q", "--orphan", "island")
    commit(repo, app="three\n")
    with pytest.raises(RepositoryError, match="no common ancestor"):
        auto(repo)


# --- reading commits


def test_files_of_a_commit(repo: Path) -> None:
    """The text of a file at a commit, None for a missing one, an error for a missing commit."""
    (repo / "baselines").mkdir()
    (repo / "baselines" / "endpoints.json").write_text("{}ü\n")
    commit(repo)
    found = discover(repo)
    assert found.show("HEAD", "baselines/endpoints.json") == "{}ü\n"
    assert found.show("HEAD^", "baselines/endpoints.json") is None
    assert found.show("HEAD", "baselines") is None
    with pytest.raises(RepositoryError, match="unknown commit"):
        found.show("nonsense", "app")


def test_a_file_that_is_no_text_is_said_so(repo: Path) -> None:
    """Bytes that are no UTF-8 are an error with their place."""
    (repo / "bad").write_bytes(b"ab\xff")
    commit(repo)
    with pytest.raises(RepositoryError, match="not UTF-8") as caught:
        discover(repo).show("HEAD", "bad")
    assert caught.value.where == "bad at HEAD, byte 2"


# --- worktrees


def worktrees(where: Path) -> int:
    return git(where, "worktree", "list").count("\n") + 1


def test_a_worktree_is_there_for_the_block_only(repo: Path, tmp_path: Path) -> None:
    """It holds the snapshot's files, is not HEAD, runs no hooks, and is gone afterwards with all it got."""
    hook = repo / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (repo / "app").write_text("two\n")
    found = discover(repo)
    path = tmp_path / "scratch" / "head"
    with found.worktree(found.snapshot().commit, path) as place:
        assert (place / "app").read_text() == "two\n"
        (place / "app").write_text("edited")
        (place / "locked" / "deep").mkdir(parents=True)
        (place / "locked" / "deep" / "file").write_text("x")
        (place / "locked").chmod(0o500)
    assert not path.exists()
    assert worktrees(repo) == 1
    assert git(repo, "rev-parse", "--abbrev-ref", "HEAD") == "main"


def test_a_worktree_is_removed_after_an_exception(repo: Path, tmp_path: Path) -> None:
    """Both sides go, also where one was already damaged."""
    found = discover(repo)
    with contextlib.suppress(KeyboardInterrupt), found.worktree("HEAD", tmp_path / "base") as base:
        shutil.rmtree(base)
        base.mkdir()
        (base / "rest").write_text("x")
        with found.worktree("HEAD", tmp_path / "head"):
            raise KeyboardInterrupt
    assert [(tmp_path / name).exists() for name in ("base", "head")] == [False, False]
    assert worktrees(repo) == 1
    assert found.left_behind() == ()


def test_an_existing_directory_is_never_taken(repo: Path, tmp_path: Path) -> None:
    """Something of the user's at the path is refused and left alone."""
    (tmp_path / "mine").mkdir()
    with (
        pytest.raises(RepositoryError, match="exists already"),
        discover(repo).worktree("HEAD", tmp_path / "mine"),
    ):
        pass
    assert (tmp_path / "mine").is_dir()


def test_an_unknown_commit_leaves_no_worktree(repo: Path, tmp_path: Path) -> None:
    """A failing `git worktree add` is an error with git's reason, and nothing remains."""
    found = discover(repo)
    reason = "git worktree failed: fatal: invalid reference"
    with pytest.raises(RepositoryError, match=reason), found.worktree("nonsense", tmp_path / "head"):
        pass
    assert not (tmp_path / "head").exists()
    assert found.left_behind() == ()


KILLED = """
import os, sys
from pathlib import Path
from gate.target.repository import Repository
repository = Repository.discover(Path(sys.argv[1]), environ=os.environ)
with repository.worktree("HEAD", Path(sys.argv[2])):
    print("up", flush=True)
    sys.stdin.read()
"""


def killed_run(repo: Path, path: Path) -> subprocess.Popen[str]:
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(repo), str(path)],
        env=ENVIRON | {"PYTHONPATH": str(Path(gate.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "up\n"
    return run


def test_leftovers_of_a_killed_run_are_removed_by_the_next(repo: Path, tmp_path: Path) -> None:
    """After SIGKILL a worktree stays until the next run; a living run's and the user's own stay always."""
    git(repo, "worktree", "add", "-q", str(tmp_path / "users"))
    shutil.move(tmp_path / "users", tmp_path / "unmounted")
    dead, living = killed_run(repo, tmp_path / "dead"), killed_run(repo, tmp_path / "living")
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    assert (tmp_path / "dead").exists()
    with discover(repo).worktree("HEAD", tmp_path / "next"):
        assert not (tmp_path / "dead").exists()
        assert (tmp_path / "living" / "app").exists()
        assert worktrees(repo) == 4
    living.communicate("")
    assert living.returncode == 0
    assert worktrees(repo) == 2


def test_a_process_may_hold_several_repositories(repo: Path, clone: Path, tmp_path: Path) -> None:
    """Worktrees of two clones do not know of each other."""
    with discover(repo).worktree("HEAD", tmp_path / "a"), discover(clone).worktree("HEAD", tmp_path / "b"):
        assert [worktrees(repo), worktrees(clone)] == [2, 2]


Makes = Callable[[Path], None]


def _split(repo: Path) -> None:
    git(repo, "update-index", "--split-index")


def _sparse(repo: Path) -> None:
    git(repo, "sparse-checkout", "set", "--no-cone", "/app", "/.gitignore")


def _no_index(repo: Path) -> None:
    (repo / ".git" / "index").unlink()


@pytest.mark.parametrize("makes", [_split, _sparse, _no_index])
def test_unusual_indexes_give_the_same_snapshot(repo: Path, makes: Makes) -> None:
    """A split index, a sparse checkout and a missing index do not change what the tree is."""
    head = commit(repo, elsewhere="x")
    makes(repo)
    before = sorted(p.name for p in (repo / ".git").iterdir())
    assert discover(repo).snapshot() == Snapshot(commit=head, dirty=False)
    assert sorted(p.name for p in (repo / ".git").iterdir() if p.name != "perf-gate") == before
