"""Commits new baselines to the default branch, or offers them in a pull request where it is protected.

The token goes to git in its environment, never in an argument or a URL, where a process list or an
error message would show it. Nothing is forced onto the default branch: where it has moved on, what
changed is applied again on top of it, case by case, and what was measured on a newer commit stays.
"""

from __future__ import annotations

import base64
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gate.errors import PublishError, RepositoryError
from gate.github.client import Client
from gate.github.merge import merged

NAME, EMAIL = "perf-gate", "perf-gate@users.noreply.github.com"
BRANCH = "perf-gate/baselines"
TIMES = "timing"  # below the directory of the baselines
MESSAGE = "Update performance baselines"
MEASURED = "Measured-at"  # the trailer that says which commit the values are of
TIMEOUT = 120.0
TRIES = 10  # six updates at once needed at most six
PAUSE = 2.0  # seconds at most between two tries, at random so that racers part
# What a server says when the branch takes no push from this token, as opposed to having moved on.
PROTECTED = ("GH006", "GH013", "protected branch", "pre-receive hook declined", "push declined")
MOVED = (
    "[rejected]",
    "fetch first",
    "non-fast-forward",
    "stale info",
    "cannot lock ref",
    "failed to update ref",
    "incorrect old value",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Where to push. url: without credentials; token: empty for a remote that needs none."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What became of new baselines.

    unchanged: nothing to commit. pushed: onto the default branch. moved: the branch has newer values of
    all of them. protected: pushed to BRANCH instead, for a pull request. kept back: only times are new, for
    which nobody is to be asked to merge a pull request.
    """

    action: Literal["unchanged", "pushed", "moved", "protected", "kept back"]
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

    def push(self, remote: Remote, refspec: str, *options: str) -> str:
        """Empty where the push went through, else what git and the server said."""
        done = self.run(
            ("push", "--porcelain", *options, remote.url, refspec), _credentials(remote, self.environ)
        )
        return "" if done.returncode == 0 else f"{done.stdout}\n{done.stderr}".strip() or "push failed"

    def fetch(self, remote: Remote, branch: str) -> str:
        """The commit that a branch of the remote is at; empty where there is no such branch."""
        arguments = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", remote.url, branch)
        done = self.run(arguments, _credentials(remote, self.environ))
        if done.returncode == 0:
            return self.git("rev-parse", "FETCH_HEAD").strip()
        if "couldn't find remote ref" in done.stderr:
            return ""
        raise PublishError(
            f"git could not fetch {branch}", where=f"git fetch {remote.url}", tail=_tail(done.stderr)
        )

    def blobs(self, commit: str, files: Sequence[str]) -> dict[str, str]:
        """The object names of these files at a commit, without those that it does not have."""
        listed = self.git("ls-tree", "-r", "-z", "--full-tree", commit, "--", *files)
        entries = (entry.partition("\t") for entry in listed.split("\0") if entry)
        return {path: facts.split(" ")[2] for facts, _, path in entries}

    def before(self, commit: str, other: str) -> bool:
        """Whether `commit` is an ancestor of `other` and another commit."""
        if not commit or commit == other:
            return False
        return self.run(("merge-base", "--is-ancestor", commit, other)).returncode == 0

    def run(
        self, arguments: Sequence[str], extra: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        # LC_ALL: refusals are recognised by their words.
        fixed = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        try:
            return subprocess.run(
                ["git", "-C", str(self.root), *_TIDY_LATER, *arguments],
                env={**self.environ, **fixed, **(extra or {})},
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",  # a file's name may be any bytes
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PublishError(f"git {arguments[0]} took longer than {TIMEOUT:.0f} s") from error


def is_update(checkout: Checkout) -> bool:
    """Whether the commit that is checked out is one of ours."""
    return bool(checkout.git("log", "-1", f"--format=%(trailers:key={MEASURED},valueonly)").strip())


def commit_baselines(
    checkout: Checkout,
    directory: str,
    *,
    branch: str,
    remote: Remote,
    notes: Sequence[str] = (),
    pause: Callable[[float], None] = time.sleep,
) -> Update:
    """Commit whatever changed below `directory` and push it to `branch`.

    Other changes in the working tree stay out of it. notes: trailers, "Accepted-by: ...". Where the
    branch moved on meanwhile, it is tried again on top of that. Raises RepositoryError where git fails,
    PublishError where the push is refused for another reason than those an update expects.
    """
    files = changed(checkout, directory)
    if not files:
        return Update(action="unchanged")
    measured = checkout.git("rev-parse", "HEAD").strip()
    message = f"{MESSAGE}\n\n" + "".join(f"{note}\n" for note in (*notes, f"{MEASURED}: {measured}"))
    checkout.git("add", "--all", "--", directory)
    checkout.git(*_AUTHOR, "commit", "--quiet", "--no-verify", "-m", message, "--", directory)
    commit = checkout.git("rev-parse", "HEAD").strip()
    own: Own | None = None
    for _ in range(TRIES):
        refused = checkout.push(remote, f"{commit}:refs/heads/{branch}")
        if not refused:
            return Update(action="pushed", files=files)
        protected = any(word in refused for word in PROTECTED)
        if not protected and not any(word in refused for word in MOVED):
            raise PublishError(
                f"git could not push to {branch}", where=f"git push {remote.url}", tail=_tail(refused)
            )
        own = own or Own.of(checkout, commit, measured=measured, files=files, message=message)
        if protected:
            if all(path.startswith(f"{directory.rstrip('/')}/{TIMES}/") for path in files):
                return Update(action="kept back", files=files)
            return _offer(checkout, remote, own, pause)
        # Before the fetch: what others push while we wait is then in it, and need not be lost to again.
        pause(random.uniform(0, PAUSE))  # noqa: S311 - parts racers, guards nothing
        tip = checkout.fetch(remote, branch)
        if not checkout.before(own.measured, tip):
            return Update(action="moved", files=files)  # history was rewritten; these values are nobody's
        commit = applied(checkout, own, tip)
        if not commit:
            return Update(action="moved", files=files)
    raise PublishError(
        f"{branch} moved on {TRIES} times while baselines were pushed", hint="run the job again"
    )


_TIDY_LATER = ("-c", "maintenance.auto=false", "-c", "gc.auto=0")  # the job's checkout ends with it
_AUTHOR = ("-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}", "-c", "commit.gpgsign=false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """An update: the commit that has it, the one it was measured at (its parent), the changed files.

    held, mine: the object names of the files there and here. texts: of those that had to be read, kept for
    the next try.
    """

    commit: str
    measured: str
    files: tuple[str, ...]
    message: str
    held: Mapping[str, str]
    mine: Mapping[str, str]
    texts: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, checkout: Checkout, commit: str, *, measured: str, files: tuple[str, ...], message: str
    ) -> Own:
        held, mine = (checkout.blobs(each, files) for each in (measured, commit))
        return cls(commit=commit, measured=measured, files=files, message=message, held=held, mine=mine)

    def text(self, checkout: Checkout, blob: str | None) -> str | None:
        """The text of a file by its object name, None where there is none."""
        if blob and blob not in self.texts:
            self.texts[blob] = checkout.git("cat-file", "blob", blob)
        return self.texts[blob] if blob else None


def applied(checkout: Checkout, own: Own, tip: str) -> str:
    """A commit on top of `tip` with what this update changed; empty where nothing of it is left.

    Neither the working tree nor the index is touched. What the branch has changed meanwhile stays, but
    for what an earlier update wrote there that was measured at an older commit than this one.
    """
    theirs = checkout.blobs(tip, own.files)
    kept = {path: _joined(checkout, own, tip, path, theirs.get(path)) for path in own.files}
    different = {path: blob for path, blob in kept.items() if blob != theirs.get(path)}
    if not different:
        return ""
    gone = f"0 {'0' * len(tip)}"
    lines = (f"{f'100644 {blob}' if blob else gone}\t{path}\0" for path, blob in different.items())
    with tempfile.TemporaryDirectory(prefix="perf-gate-index-") as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch, "index"))}
        _checked(checkout, ("read-tree", tip), index)
        _checked(checkout, ("update-index", "-z", "--index-info"), index, "".join(lines))
        tree = _checked(checkout, ("write-tree",), index)
    return checkout.git(*_AUTHOR, "commit-tree", tree, "-p", tip, "-m", own.message).strip()


def _joined(checkout: Checkout, own: Own, tip: str, path: str, theirs: str | None) -> str | None:
    """The object name of a file with both sides' changes; None where it is gone.

    Most files only one side has changed: by their names alone that is seen, and none is read.
    """
    held, mine = own.held.get(path), own.mine.get(path)
    if theirs in (held, mine):
        return mine
    if mine == held:
        return theirs
    texts = (own.text(checkout, blob) for blob in (held, mine, theirs))
    kept = merged(*texts, newer=_newer(checkout, own, tip, path))
    return None if kept is None else _checked(checkout, ("hash-object", "-w", "--stdin"), {}, kept)


def _newer(checkout: Checkout, own: Own, tip: str, path: str) -> bool:
    """Whether this update was measured later than what last changed the file on the branch.

    Of two that were measured at one commit the one that comes later is: somebody ran it again.
    """
    wanted = f"--format=%(trailers:key={MEASURED},valueonly)"
    said = checkout.git("log", "-1", wanted, f"{own.measured}..{tip}", "--", path).strip()
    return said == own.measured or checkout.before(said, own.measured)


def _checked(checkout: Checkout, arguments: Sequence[str], extra: Mapping[str, str], stdin: str = "") -> str:
    done = checkout.run(arguments, extra, stdin)
    if done.returncode != 0:
        raise RepositoryError("git failed", where=f"git {arguments[0]}", tail=_tail(done.stderr))
    return done.stdout.strip()


def changed(checkout: Checkout, directory: str) -> tuple[str, ...]:
    """The files below `directory` that differ from HEAD, new ones included, sorted."""
    options = ("--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
    listed = checkout.git("status", *options, "--", directory)
    return tuple(sorted(entry[3:] for entry in listed.split("\0") if entry))


def _offer(checkout: Checkout, remote: Remote, own: Own, pause: Callable[[float], None]) -> Update:
    """Push to our own branch, over what an update of an older commit left there.

    One of the same commit is added to, and one of a newer commit is left alone.
    """
    refused = ""
    for _ in range(TRIES):
        there = checkout.fetch(remote, BRANCH)
        commit = own.commit
        if there:
            said = checkout.git("log", "-1", f"--format=%(trailers:key={MEASURED},valueonly)", there).strip()
            if checkout.before(own.measured, said):
                return Update(action="protected", files=own.files)
            if said == own.measured:
                commit = applied(checkout, own, there)
        if not commit:
            return Update(action="protected", files=own.files)
        ref = f"refs/heads/{BRANCH}"
        refused = checkout.push(remote, f"{commit}:{ref}", f"--force-with-lease={ref}:{there}")
        if not refused:
            return Update(action="protected", files=own.files)
        if not any(word in refused for word in MOVED):
            break
        pause(random.uniform(0, PAUSE))  # noqa: S311 - parts racers, guards nothing
    raise PublishError(
        f"git could push neither to the default branch nor to {BRANCH}",
        where=f"git push {remote.url}",
        hint="let the workflow's token create this branch, or give an App's token",
        tail=_tail(refused),
    )


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
