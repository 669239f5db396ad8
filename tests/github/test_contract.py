"""The rig's own judge: what GitHub's description says of requests and answers, it notices."""

from __future__ import annotations

import urllib.error
import urllib.request

import contract
import fake_api
import pytest
import rights
from fake_api import FakeGitHub, Fault
from made import PR, client, on_github

from gate.errors import PublishError

REPO = "/repos/acme/shop"
COMMENTS = f"{REPO}/issues/7/comments"


def test_every_route_of_the_fake_is_in_the_contract() -> None:
    """No path is faked that GitHub's description does not have."""
    for verb, pattern, _, _ in fake_api.ROUTES:
        path = pattern.replace(r"(\d+)", "7").replace(r"([\w.-]+)", "x.yml").replace("([^/]+)", "x")
        assert contract.operation(verb, path.replace("(.+)", "x")) is not None, f"{verb} {path}"


def test_every_operation_of_the_contract_is_faked() -> None:
    """What the contract has and nothing answers is out of date."""
    assert len(fake_api.ROUTES) == len(contract.operations())


@pytest.mark.parametrize(
    ("verb", "path", "query", "body", "said"),
    [
        ("POST", COMMENTS, {}, {"text": "x"}, "'body' is a required property"),
        ("POST", COMMENTS, {}, {"body": 5}, "is not of type 'string'"),
        ("POST", COMMENTS, {}, {"body": "x", "pin": True}, "unknown field pin"),
        ("POST", COMMENTS, {}, None, "None is not of type 'object'"),
        ("GET", COMMENTS, {"per-page": "100"}, None, "unknown parameter per-page"),
        ("GET", COMMENTS, {"page": "first"}, None, "is not of type 'integer'"),
        ("GET", COMMENTS, {}, {"body": "x"}, "takes no body"),
        ("DELETE", COMMENTS, {}, None, "no such operation"),
        ("GET", f"{REPO}/pulls", {"state": "opened"}, None, "is not one of"),
        ("GET", f"{REPO}/issues/seven/comments", {}, None, "is not of type 'integer'"),
        ("POST", f"{REPO}/actions/workflows/a.yml/dispatches", {}, {}, "'ref' is a required property"),
        ("GET", f"{REPO}/nothing", {}, None, "no such operation"),
    ],
)
def test_wrong_requests_are_noticed(
    verb: str, path: str, query: dict[str, str], body: object, said: str
) -> None:
    """A misspelt field, a wrong type, an unknown path: each is said with its operation."""
    problems = contract.problems_of_request(verb, path, query, body)
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, [{"id": "seven"}], "is not of type 'integer'"),
        (200, {}, "is not of type 'array'"),
        (200, [{}], "is a required property"),
        (204, None, "status 204 is not documented"),
        (502, None, "without a message"),
    ],
)
def test_wrong_answers_are_noticed(status: int, body: object, said: str) -> None:
    """An answer of our own that GitHub could not give is a fault of the fake."""
    problems = contract.problems_of_answer("GET", COMMENTS, status, body)
    assert any(said in problem for problem in problems), problems


def test_answers_are_completed_as_github_has_them() -> None:
    """What GitHub always sends and the gate does not read is filled in and fits the description."""
    full, invented = contract.completed(
        "GET", COMMENTS, 200, [{"id": 5, "body": "x", "user": {"login": "a"}}]
    )
    assert invented == []
    assert contract.problems_of_answer("GET", COMMENTS, 200, full) == []
    assert {"created_at", "html_url", "issue_url"} <= full[0].keys()
    assert full[0]["id"] == 5


def test_invented_fields_are_noticed() -> None:
    """A field that the fake would answer and GitHub does not have cannot hide."""
    assert contract.completed("GET", COMMENTS, 200, [{"id": 5, "colour": "red"}])[1] == ["[].colour"]


def test_violations_reach_the_test(github: FakeGitHub) -> None:
    """A request that GitHub's description refuses is on record, which the fixture turns into a failure."""
    wrong = urllib.request.Request(f"{github.url}{COMMENTS}?sort=colour")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(wrong)
    assert github.violations
    github.violations.clear()


def test_rights_are_those_of_the_token(github: FakeGitHub) -> None:
    """The same request is answered, refused and unknown, by what the workflow file grants the token."""
    on_github(github)
    with client(github, "report") as opened:
        list(opened.comments(PR))
    for token in ("measure", "nobody"):
        with (
            client(github, token) as opened,
            pytest.raises(Exception, match=r"may not write|Bad credentials"),
        ):
            list(opened.comments(PR))


def test_forks_token_is_the_jobs_without_writing() -> None:
    """Rights come from the real files: what a file gives, a fork gets for reading."""
    assert rights.tokens()["verdict-of-fork"] == rights.tokens()["verdict"]
    assert "write" not in rights.tokens()["measure-of-fork"].values()


def test_longest_body(github: FakeGitHub) -> None:
    """GitHub's limit, which its description does not have: a body beyond it is refused whole."""
    on_github(github)
    with client(github) as opened:
        opened.create_comment(PR, "x" * 65_536, ours=lambda: None)
        with pytest.raises(PublishError, match="too long"):
            opened.create_comment(PR, "x" * 65_537, ours=lambda: None)
    assert len(github.comments[PR]) == 1


@pytest.mark.parametrize(
    "kind", ["before", "after", "lost", "unavailable", "too-many", "secondary", "unnamed"]
)
def test_faults_end_by_themselves(github: FakeGitHub, kind: str) -> None:
    """Each kind of failure that passes is waited out, and the answer is the same as without it."""
    on_github(github)
    github.add_comment(PR, "hello", author="somebody")
    github.faults.append(Fault(kind, "GET"))
    with client(github) as opened:
        assert [comment.body for comment in opened.comments(PR)] == ["hello"]
    assert len(github.log) == 2
