"""Which commit head is compared with (DESIGN.md section 5.1): an ancestor, never a moving branch tip."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass

from gate.errors import RepositoryError
from gate.target.git import Git

_ORIGIN, _LOCAL = "refs/remotes/origin/", "refs/heads/"
_FETCH_ALL = "fetch the history: `fetch-depth: 0` for actions/checkout, `git fetch --unshallow` elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What started a run in GitHub Actions, as far as it decides the base; the cli reads it.

    name: GITHUB_EVENT_NAME. ref: GITHUB_REF ("refs/heads/main"). sha: GITHUB_SHA, for a pull request the
    merge that GitHub made of it. base_ref: GITHUB_BASE_REF ("main", pull requests only). base_sha: of a
    merge group. default_branch: the repository's, from the payload.
    """

    name: str
    ref: str = ""
    sha: str = ""
    base_ref: str = ""
    base_sha: str = ""
    default_branch: str = ""


def refuse_shallow(git: Git) -> None:
    if git.line("rev-parse", "--is-shallow-repository") == "true":
        message = "this is a shallow checkout; the base commit cannot be found in it"
        raise RepositoryError(message, where=str(git.directory), hint=_FETCH_ALL)


def of_event(git: Git, commit: str, branch: str | None, event: Event) -> str | None:
    """The base of a run that GitHub started; None for a push of the very first commit.

    branch: the configured default branch, if any.
    """
    branch = branch or event.default_branch or None
    parents = git.line("rev-list", "--parents", "-n", "1", commit).split()[1:]
    if event.name in ("pull_request", "merge_group") and commit == event.sha and len(parents) > 1:
        # What it would be merged into, never the event's older idea of that. Only of the merge that GitHub
        # made: of an author's "Merge main into feature" the first parent is the feature itself.
        return parents[0]
    if event.name == "merge_group" and event.base_sha and _is_ancestor(git, event.base_sha, commit):
        return event.base_sha  # a queue that squashes or rebases makes no merge commit
    if event.name == "push" and event.ref == _LOCAL + _default_name(git, branch):
        return parents[0] if parents else None
    return fork(git, commit, event.base_ref or branch)


def fork(git: Git, commit: str, branch: str | None) -> str:
    """Where a commit left the default branch; itself if it is on that branch."""
    name = _default_ref(git, branch)
    done = git.attempt("merge-base", commit, name)
    if done.returncode != 0:
        message = f"HEAD and {name} have no common ancestor"
        raise RepositoryError(message, where=str(git.directory), hint="name the base: --against REF")
    return os.fsdecode(done.stdout).strip()


def named(git: Git, ref: str) -> str:
    """The commit of a ref the user named; a branch that only the remote has is found too."""
    for name in (ref, _ORIGIN + ref):
        if commit := git.resolve(name):
            return commit
    known = git.line("for-each-ref", "--format=%(refname:short)").splitlines()
    nearest = difflib.get_close_matches(ref, known, n=1)
    raise RepositoryError(
        f"unknown commit, branch or tag {ref!r}",
        where=str(git.directory),
        hint=f"did you mean {nearest[0]!r}?" if nearest else "fetch it first, or name another one",
    )


def _default_ref(git: Git, branch: str | None) -> str:
    """The full name of the default branch, the remote's before the local one, which may be behind."""
    if branch is None:
        names = (
            f"{_ORIGIN}HEAD",
            *(side + name for side in (_ORIGIN, _LOCAL) for name in ("main", "master")),
        )
    else:
        names = (_ORIGIN + branch, _LOCAL + branch)
    for name in names:
        if git.resolve(name):
            return name
    raise RepositoryError(
        f"there is no {f'branch {branch!r}' if branch else 'default branch'} to compare with",
        where=str(git.directory),
        hint="set policy.default_branch, fetch that branch, or name the base: --against REF",
    )


def _default_name(git: Git, branch: str | None) -> str:
    if branch is not None:
        return branch
    full = git.line("rev-parse", "--symbolic-full-name", _default_ref(git, None))
    return full.removeprefix(_ORIGIN).removeprefix(_LOCAL)


def _is_ancestor(git: Git, ancestor: str, commit: str) -> bool:
    return git.attempt("merge-base", "--is-ancestor", ancestor, commit).returncode == 0
