"""Events as GitHub sends them, and which of them may touch the baselines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gate.errors import ConfigError
from gate.github.event import Head, job_event, moment, read_event, read_runner, workflow_file

REPOSITORY = {"id": 1, "default_branch": "main", "full_name": "acme/shop"}
ENVIRON = {"GITHUB_REF": "refs/pull/7/merge", "GITHUB_SHA": "m" * 40}


def event(name: str, ref: str = "", **payload: Any) -> Any:
    environ = {**ENVIRON, "GITHUB_EVENT_NAME": name, **({"GITHUB_REF": ref} if ref else {})}
    return read_event(environ, {"repository": REPOSITORY, **payload})


def pull(**head: Any) -> dict[str, Any]:
    fork = {"id": 77, "owner": {"login": "stranger"}}
    return {
        "number": 7,
        "head": {"ref": "topic", "sha": "a" * 40, "repo": fork, **head},
        "base": {"ref": "main"},
    }


def test_pull_request() -> None:
    """Number, head commit, head repository and base branch come from the payload."""
    seen = event("pull_request", pull_request=pull())
    assert seen.pull_request.number == 7
    assert seen.pull_request.head == Head(sha="a" * 40, branch="topic", owner="stranger", repository_id=77)
    assert seen.pull_request.base_ref == "main"
    assert seen.checked.sha == "a" * 40


def test_pull_request_of_a_deleted_fork() -> None:
    """A head repository of null is repository 0, which no pull request matches."""
    assert event("pull_request", pull_request=pull(repo=None)).pull_request.head.repository_id == 0


def test_merge_group() -> None:
    """The check of a queue's candidate is shown at the candidate; its base is the queue's."""
    queued = f"refs/heads/gh-readonly-queue/release/2/pr-12-{'d' * 40}"
    group = {"head_sha": "c" * 40, "base_sha": "d" * 40, "head_ref": queued}
    seen = event("merge_group", merge_group=group)
    assert seen.merge_group.base_sha == "d" * 40
    assert seen.merge_group.pull == 12
    assert seen.checked == Head(sha="c" * 40, branch="", owner="", repository_id=1)


def test_finished_run() -> None:
    """A workflow_run event gives the run, its workflow's file and the fork's head."""
    run = {
        "id": 5,
        "run_number": 3,
        "run_attempt": 2,
        "event": "pull_request",
        "conclusion": "failure",
        "html_url": "https://github.test/r",
        "path": ".github/workflows/perf-gate.yml",
        "head_sha": "a" * 40,
        "head_branch": "topic",
        "head_repository": {"id": 77, "owner": {"login": "stranger"}},
        "pull_requests": [],
    }
    seen = event("workflow_run", workflow_run=run).completed
    assert (seen.id, seen.number, seen.attempt, seen.workflow) == (5, 3, 2, "perf-gate.yml")
    assert seen.head == Head(sha="a" * 40, branch="topic", owner="stranger", repository_id=77)


@pytest.mark.parametrize("ref", ["", "refs/heads/main", "refs/heads/gh-readonly-queue/main/pr-x-", None, 3])
def test_merge_group_of_no_known_pull_request(ref: object) -> None:
    """A candidate's branch of another shape names no pull request."""
    assert event("merge_group", merge_group={"head_ref": ref}).merge_group.pull == 0


@pytest.mark.parametrize("stated", [None, "", "yesterday", 5, "2026-11-21T10:00:00"])
def test_moment_without_a_zone_is_none(stated: object) -> None:
    """An instant that cannot be placed is not compared with others."""
    assert moment(stated) is None
    assert moment("2026-11-21T10:00:00Z") == datetime(2026, 11, 21, 10, tzinfo=UTC)


def test_parts_of_another_event_are_not_read() -> None:
    """A payload that carries a pull request beside a push is a push."""
    assert event("push", ref="refs/heads/main", pull_request=pull()).pull_request is None


@pytest.mark.parametrize(
    ("name", "ref", "may"),
    [
        ("push", "refs/heads/main", True),
        ("schedule", "refs/heads/main", True),
        ("workflow_dispatch", "refs/heads/main", True),
        ("push", "refs/heads/topic", False),
        ("push", "refs/tags/main", False),
        ("workflow_dispatch", "refs/heads/topic", False),
        ("pull_request", "refs/heads/main", False),
        ("pull_request_target", "refs/heads/main", False),
        ("workflow_run", "refs/heads/main", False),
        ("merge_group", "refs/heads/main", False),
        ("issue_comment", "refs/heads/main", False),
    ],
)
def test_who_may_update_baselines(name: str, ref: str, may: bool) -> None:
    """Only a push to the default branch, a schedule and a dispatch there; a list of the allowed."""
    assert event(name, ref).may_update_baselines is may


def test_unknown_default_branch_allows_nothing() -> None:
    """Without a default branch in the payload an empty ref does not pass for it."""
    seen = read_event({"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/"}, {})
    assert not seen.may_update_baselines


def test_malformed_payload_is_empty_not_a_crash() -> None:
    """Wrong types where objects, texts and numbers belong are read as absent."""
    seen = read_event(
        {"GITHUB_EVENT_NAME": "pull_request"},
        {"repository": "acme", "pull_request": {"number": True, "head": [1], "base": {"ref": 3}}},
    )
    assert seen.pull_request is not None
    assert (seen.pull_request.number, seen.pull_request.head.sha, seen.repository_id) == (0, "", 0)


def test_event_of_the_job(tmp_path: Path) -> None:
    """The payload is read from the path that GitHub names; outside of a job there is no event."""
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"repository": REPOSITORY, "pull_request": pull()}))
    environ = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(path)}
    seen = job_event(environ)
    assert seen is not None
    assert seen.pull_request is not None
    assert seen.pull_request.number == 7
    assert job_event({}) is None


@pytest.mark.parametrize("text", [None, "{", ""])
def test_unreadable_payload_is_a_configuration_error(tmp_path: Path, text: str | None) -> None:
    """A payload that is missing or no JSON is named with its path."""
    path = tmp_path / "event.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        job_event({"GITHUB_EVENT_NAME": "push", "GITHUB_EVENT_PATH": str(path)})
    assert caught.value.where == str(path)


def test_runner() -> None:
    """The API's address, the run and the workflow's file come from GitHub's variables."""
    runner = read_runner(
        {
            "GITHUB_API_URL": "https://ghe.test/api/v3",
            "GITHUB_SERVER_URL": "https://ghe.test",
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_RUN_ID": "12",
            "GITHUB_RUN_NUMBER": "3",
            "GITHUB_RUN_ATTEMPT": "x",
            "GITHUB_WORKFLOW_REF": "acme/shop/.github/workflows/perf-gate.yml@refs/heads/main",
        },
        token="ghs_planted",
    )
    assert runner.api_url == "https://ghe.test/api/v3"
    assert (runner.run_id, runner.run_number, runner.run_attempt) == (12, 3, 0)
    assert runner.workflow == "perf-gate.yml"
    assert runner.run_url == "https://ghe.test/acme/shop/actions/runs/12"
    assert "ghs_planted" not in repr(runner)


def test_workflow_file() -> None:
    """The file's name, with or without a ref behind it."""
    assert workflow_file(".github/workflows/a.yml") == "a.yml"
    assert workflow_file("") == ""
