"""Commits new baselines to the default branch, or offers them in a pull request where it is protected.

The token goes to git in its environment, never in an argument or a URL, where a process list or an
error message would show it. Nothing is forced onto the default branch: where it has moved on, the
newer commit's own run measures and commits.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gate.errors import PublishError, RepositoryError
from gate.github.client import Client

NAME, EMAIL = "perf-gate", "perf-gate@users.noreply.github.com"
BRANCH = "perf-gate/baselines"
MESSAGE = "Update performance baselines"
TIMEOUT = 120.0
# What a server says when the branch takes no push from this token, as opposed to having moved on.
PROTECTED = ("GH006", "GH013", "protected branch", "pre-receive hook declined", "push declined")
MOVED = ("[rejected]", "fetch first", "non-fast-forward", "cannot lock ref", "failed to update ref")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Where to push. url: without credentials; token: empty for a remote that needs none."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What became of new baselines.

    unchanged: nothing to commit. pushed: onto the default branch. moved: the branch has a newer commit,
    whose own run will commit. protected: pushed to BRANCH instead, for a pull request.
    """

    action: Literal["unchanged", "pushed", "moved", "protected"]
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The working tree. environ: of the job, for git; it is changed nowhere but in git's own process."""

    root: Path
    environ: Mapping[str, str] = field(repr=False)

    def git(self, *arguments: str) -> str:
        """git's answer. Raises RepositoryError where it fails."""
        done = self.run(arguments)
        if done.returncode != 0:
            raise RepositoryError("git failed", where=f"git {arguments[0]}", tail=_tail(done.stderr))
        return done.stdout

    def push(self, remote: Remote, refspec: str) -> str:
        """Empty where the push went through, else what git and the server said."""
        done = self.run(("push", "--porcelain", remote.url, refspec), _credentials(remote, self.environ))
        return "" if done.returncode == 0 else f"{done.stdout}\n{done.stderr}".strip() or "push failed"

    def run(
        self, arguments: Sequence[str], extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        # LC_ALL: refusals are recognised by their words.
        fixed = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        try:
            return subprocess.run(
                ["git", "-C", str(self.root), *arguments],
                env={**self.environ, **fixed, **(extra or {})},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PublishError(f"git {arguments[0]} took longer than {TIMEOUT:.0f} s") from error


def commit_baselines(checkout: Checkout, directory: str, *, branch: str, remote: Remote) -> Update:
    """Commit whatever changed below `directory` and push it to `branch`.

    Other changes in the working tree stay out of it. Raises RepositoryError where git fails, PublishError
    where the push is refused for another reason than the two an update expects.
    """
    files = changed(checkout, directory)
    if not files:
        return Update(action="unchanged")
    author = ("-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}", "-c", "commit.gpgsign=false")
    checkout.git("add", "--all", "--", directory)
    checkout.git(*author, "commit", "--quiet", "--no-verify", "-m", MESSAGE, "--", directory)
    refused = checkout.push(remote, f"HEAD:refs/heads/{branch}")
    if not refused:
        return Update(action="pushed", files=files)
    if any(word in refused for word in PROTECTED):
        return _offer(checkout, remote, files)
    if any(word in refused for word in MOVED):
        return Update(action="moved", files=files)
    raise PublishError(f"git could not push to {branch}", where=f"git push {remote.url}", tail=_tail(refused))


def changed(checkout: Checkout, directory: str) -> tuple[str, ...]:
    """The files below `directory` that differ from HEAD, new ones included, sorted."""
    options = ("--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
    listed = checkout.git("status", *options, "--", directory)
    return tuple(sorted(entry[3:] for entry in listed.split("\0") if entry))


def _offer(checkout: Checkout, remote: Remote, files: tuple[str, ...]) -> Update:
    """Push to our own branch, over whatever an earlier update left there: only the newest is wanted."""
    if refused := checkout.push(remote, f"+HEAD:refs/heads/{BRANCH}"):
        raise PublishError(
            f"git could push neither to the default branch nor to {BRANCH}",
            where=f"git push {remote.url}",
            hint="let the workflow's token create this branch, or give an App's token",
            tail=_tail(refused),
        )
    return Update(action="protected", files=files)


def offer(client: Client, update: Update, *, branch: str, check_workflow: str) -> str:
    """A pull request with the new baselines, and the gate started on it; the sentence says which.

    A pull request that the workflow's token opens starts no checks, so a required one would wait
    forever: it is dispatched. An App's token needs no dispatch and may not be allowed one.
    """
    listed = "\n".join(f"- `{file}`" for file in update.files)
    body = f"Measured on {branch}, which takes no push from this workflow.\n\n{listed}\n"
    pull = client.open_pull(branch=BRANCH, onto=branch, title=MESSAGE, body=body)
    said = f"{branch} is protected: #{pull.number} has the new baselines {pull.url}".rstrip()
    try:
        client.dispatch(check_workflow, BRANCH)
    except PublishError as error:
        return f"{said}; {check_workflow} was not started on it: {error.message}"
    return said


def _credentials(remote: Remote, environ: Mapping[str, str]) -> dict[str, str]:
    """git's variables for one more setting: the Authorization header of the remote's host.

    The empty value before it drops a header that actions/checkout may have left in the repository's
    configuration; two of them are answered with 400.
    """
    if not remote.token:
        return {}
    parts = urlsplit(remote.url)
    key = f"http.{parts.scheme}://{parts.netloc}/.extraheader"
    basic = base64.b64encode(f"x-access-token:{remote.token}".encode()).decode()
    used = int(environ.get("GIT_CONFIG_COUNT") or 0)
    settings = {"GIT_CONFIG_COUNT": str(used + 2)}
    for place, value in enumerate(("", f"AUTHORIZATION: basic {basic}"), start=used):
        settings |= {f"GIT_CONFIG_KEY_{place}": key, f"GIT_CONFIG_VALUE_{place}": value}
    return settings


def _tail(text: str) -> tuple[str, ...]:
    return tuple(text.strip().splitlines()[-10:])
