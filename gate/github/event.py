"""The event that started a workflow run, as values: functions of the environment and of its payload.

The payload of a `pull_request` run is GitHub's, but a fork's author chose its branch and repository
names: nothing here may be used as a path, a command or Markdown without escaping.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gate.errors import ConfigError

Payload = Mapping[str, Any]
_QUEUED = re.compile(r"^refs/heads/gh-readonly-queue/.+/pr-([0-9]{1,9})-[0-9a-f]{40}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The commit a pull request offers. repository_id: 0 where the fork has been deleted."""

    sha: str
    branch: str
    owner: str
    repository_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    number: int
    head: Head
    base_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeGroup:
    """A candidate of the merge queue; its base is the commit the queue stacks it on.

    pull: the number of the pull request it was made for, which GitHub puts in the candidate's branch; 0
    where the branch is named otherwise.
    """

    head_sha: str
    base_sha: str
    pull: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedRun:
    """The workflow run that a `workflow_run` event reports as finished.

    event: what started that run. conclusion: "success", "failure", "cancelled", ...
    workflow: the file it came from, "perf-gate.yml". created: when its event happened.
    """

    id: int
    number: int
    attempt: int
    workflow: str
    event: str
    conclusion: str
    url: str
    head: Head
    created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What started this workflow run. At most one of the three parts is set, by name.

    sha: the commit checked out (for a pull request the merge commit, not its head).
    """

    name: str
    ref: str
    sha: str
    repository_id: int
    default_branch: str
    pull_request: PullRequest | None = None
    merge_group: MergeGroup | None = None
    completed: CompletedRun | None = None

    @property
    def on_default_branch(self) -> bool:
        return bool(self.default_branch) and self.ref == f"refs/heads/{self.default_branch}"

    @property
    def checked(self) -> Head:
        """The commit that this run's check is shown at, as runs of its workflow are listed by."""
        if self.pull_request:
            return self.pull_request.head
        sha = self.merge_group.head_sha if self.merge_group else self.sha
        return Head(sha=sha, branch="", owner="", repository_id=self.repository_id)

    @property
    def may_update_baselines(self) -> bool:
        """Only these events measure the default branch itself, with code that was already merged.

        An allow-list: a `workflow_run` always looks like the default branch, whatever it measured.
        """
        return self.name in ("push", "schedule", "workflow_dispatch") and self.on_default_branch


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Where this job runs and where its answers go. Paths are empty outside GitHub Actions.

    run_id 0 and an empty token outside of it. workflow: the file of the running workflow.
    """

    api_url: str
    server_url: str
    repository: str
    run_id: int
    run_number: int
    run_attempt: int
    workflow: str
    summary: str
    output: str
    token: str = field(repr=False)

    @property
    def run_url(self) -> str:
        return f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}"


def job_event(environ: Mapping[str, str]) -> Event | None:
    """The event of the job that this process runs in; None outside of GitHub Actions.

    Reads the payload at GITHUB_EVENT_PATH. Raises ConfigError where it cannot be read.
    """
    if not environ.get("GITHUB_EVENT_NAME"):
        return None
    path = environ.get("GITHUB_EVENT_PATH", "")
    try:
        payload = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the event that started this run cannot be read: {type(error).__name__}", where=path
        ) from error
    return read_event(environ, payload if isinstance(payload, dict) else {})


def read_event(environ: Mapping[str, str], payload: Payload) -> Event:
    """The event that a payload describes; what is absent from it is empty or 0."""
    name = environ.get("GITHUB_EVENT_NAME", "")
    repository = _part(payload, "repository")
    pull, group, run = (_part(payload, key) for key in ("pull_request", "merge_group", "workflow_run"))
    return Event(
        name=name,
        ref=environ.get("GITHUB_REF", ""),
        sha=environ.get("GITHUB_SHA", ""),
        repository_id=_integer(repository, "id"),
        default_branch=_text(repository, "default_branch"),
        pull_request=_pull_request(pull) if name == "pull_request" and pull else None,
        merge_group=_merge_group(group) if name == "merge_group" and group else None,
        completed=_completed(run) if name == "workflow_run" and run else None,
    )


def read_runner(environ: Mapping[str, str], *, token: str = "") -> Runner:
    """The runner's variables; the token is given by the caller, never looked up."""
    return Runner(
        api_url=environ.get("GITHUB_API_URL", "https://api.github.com"),
        server_url=environ.get("GITHUB_SERVER_URL", "https://github.com"),
        repository=environ.get("GITHUB_REPOSITORY", ""),
        run_id=_integer(environ, "GITHUB_RUN_ID"),
        run_number=_integer(environ, "GITHUB_RUN_NUMBER"),
        run_attempt=_integer(environ, "GITHUB_RUN_ATTEMPT"),
        workflow=workflow_file(environ.get("GITHUB_WORKFLOW_REF", "")),
        summary=environ.get("GITHUB_STEP_SUMMARY", ""),
        output=environ.get("GITHUB_OUTPUT", ""),
        token=token,
    )


def workflow_file(reference: str) -> str:
    """ "owner/name/.github/workflows/perf-gate.yml@refs/heads/main" as "perf-gate.yml"."""
    return reference.partition("@")[0].rpartition("/")[2]


def head_of(source: Payload, *, repository: Payload) -> Head:
    """The head in a pull request's `head` or beside a run's `head_repository`; both are GitHub's words."""
    return Head(
        sha=_text(source, "sha") or _text(source, "head_sha"),
        branch=_text(source, "ref") or _text(source, "head_branch"),
        owner=_text(_part(repository, "owner"), "login"),
        repository_id=_integer(repository, "id"),
    )


def _pull_request(pull: Payload) -> PullRequest:
    head = _part(pull, "head")
    return PullRequest(
        number=_integer(pull, "number"),
        head=head_of(head, repository=_part(head, "repo")),
        base_ref=_text(_part(pull, "base"), "ref"),
    )


def _merge_group(group: Payload) -> MergeGroup:
    queued = _QUEUED.search(_text(group, "head_ref"))
    return MergeGroup(
        head_sha=_text(group, "head_sha"),
        base_sha=_text(group, "base_sha"),
        pull=int(queued[1]) if queued else 0,
    )


def _completed(run: Payload) -> CompletedRun:
    return CompletedRun(
        id=_integer(run, "id"),
        number=_integer(run, "run_number"),
        attempt=_integer(run, "run_attempt"),
        workflow=workflow_file(_text(run, "path")),
        event=_text(run, "event"),
        conclusion=_text(run, "conclusion"),
        url=_text(run, "html_url"),
        head=head_of(run, repository=_part(run, "head_repository")),
        created=moment(run.get("created_at")),
    )


def moment(value: object) -> datetime | None:
    """GitHub's "2026-11-21T19:59:18Z" as an instant; None for anything that names no time zone."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _part(source: Payload, key: str) -> Payload:
    """The object under a key; an empty one where it is absent or null (a deleted fork's repository)."""
    value = source.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(source: Payload, key: str) -> str:
    value = source.get(key)
    return value if isinstance(value, str) else ""


def _integer(source: Payload, key: str) -> int:
    value = source.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
