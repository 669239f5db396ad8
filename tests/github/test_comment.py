"""The one comment, against a fake GitHub that fails as the real one does."""

from __future__ import annotations

import time

import pytest
from fake_api import FakeGitHub, Fault, Request
from made import AUTHOR, NO_WAIT, READ_ONLY, client, source

from gate.errors import ConfigError, PublishError
from gate.github.client import ReadOnlyToken
from gate.github.comment import LONGEST, Author, compose, upsert

PR = 7


def put(github: FakeGitHub, body: str, number: int = 1, attempt: int = 1, **more: object) -> str:
    with client(github) as opened:
        return upsert(opened, PR, body, author=AUTHOR, source=source(number, attempt), **more).action


def test_first_run_creates_the_comment(github: FakeGitHub) -> None:
    """A pull request without our comment gets one, whose first line is the marker."""
    assert put(github, "blocked") == "created"
    (body,) = github.body_of(PR)
    assert body.splitlines()[0] == AUTHOR.marker
    assert "blocked" in body


def test_later_run_updates_the_same_comment(github: FakeGitHub) -> None:
    """A second push edits the comment instead of adding another."""
    put(github, "blocked", 1)
    identity = github.comments[PR][0]["id"]
    assert put(github, "blocked again", 2) == "updated"
    assert [comment["id"] for comment in github.comments[PR]] == [identity]
    assert "blocked again" in github.body_of(PR)[0]


def test_back_to_green(github: FakeGitHub) -> None:
    """A comment that said blocked says pass once the change is mended."""
    put(github, "**perf-gate: blocked**", 1)
    put(github, "**perf-gate: pass**", 2)
    (body,) = github.body_of(PR)
    assert "pass" in body
    assert "blocked" not in body


def test_unchanged_body_is_not_written(github: FakeGitHub) -> None:
    """The same run reporting again writes nothing."""
    put(github, "pass")
    written = len(github.writes)
    assert put(github, "pass") == "unchanged"
    assert len(github.writes) == written


def test_line_ends_that_github_changes_are_no_change(github: FakeGitHub) -> None:
    """A body that comes back with CRLF and without its last newline counts as the same."""
    put(github, "one\ntwo")
    comment = github.comments[PR][0]
    comment["body"] = comment["body"].replace("\n", "\r\n").rstrip()
    assert put(github, "one\ntwo") == "unchanged"


def test_same_input_gives_the_same_bytes() -> None:
    """Composing twice gives identical text."""
    assert compose("x", author=AUTHOR, source=source(3)) == compose("x", author=AUTHOR, source=source(3))


def test_spoofed_markers_on_two_pages_are_left_alone(github: FakeGitHub) -> None:
    """130 comments with our marker by somebody else neither receive our text nor hide our comment."""
    spoof = compose("spoof", author=AUTHOR, source=source(999))
    for _ in range(130):
        github.add_comment(PR, spoof, author="mallory")
    assert put(github, "blocked") == "created"
    assert put(github, "pass", 2) == "updated"
    assert len(github.body_of(PR)) == 1
    assert github.body_of(PR, "mallory") == [spoof] * 130


def test_our_comment_is_found_on_a_later_page(github: FakeGitHub) -> None:
    """Our comment behind 120 others is updated, not doubled."""
    for count in range(120):
        github.add_comment(PR, f"chat {count}", author="someone")
    put(github, "first", 1)
    assert put(github, "second", 2) == "updated"
    assert len(github.body_of(PR)) == 1


def test_bot_comment_that_quotes_the_marker_is_not_ours(github: FakeGitHub) -> None:
    """Only a first line that is exactly the marker counts, whoever wrote the rest."""
    github.add_comment(PR, f"> {AUTHOR.marker}\nquoted")
    github.add_comment(PR, f"{AUTHOR.marker} and more\nlonger line")
    assert put(github, "blocked") == "created"
    assert len(github.body_of(PR)) == 3


def test_two_gates_keep_two_comments(github: FakeGitHub) -> None:
    """Another comment id is another comment."""
    put(github, "first gate")
    with client(github) as opened:
        other = Author(gate="api")
        assert upsert(opened, PR, "second gate", author=other, source=source(1)).action == "created"
    assert len(github.body_of(PR)) == 2


def test_late_older_run_does_not_overwrite(github: FakeGitHub) -> None:
    """The report of an older run that arrives late leaves the newer one's comment alone."""
    put(github, "newer", 12)
    assert put(github, "older", 11) == "superseded"
    assert "newer" in github.body_of(PR)[0]


def test_second_attempt_is_newer_than_the_first(github: FakeGitHub) -> None:
    """A re-run of the same run number overwrites, and its first attempt then does not."""
    put(github, "first attempt", 5, 1)
    assert put(github, "second attempt", 5, 2) == "updated"
    assert put(github, "first attempt", 5, 1) == "superseded"


def test_numbers_of_a_renamed_workflow_are_not_compared(github: FakeGitHub) -> None:
    """After the workflow file is renamed its numbers start at 1 and the comment still updates."""
    put(github, "old file", 400)
    with client(github) as opened:
        renamed = source(1, workflow="gate.yml")
        assert upsert(opened, PR, "new file", author=AUTHOR, source=renamed).action == "updated"


def test_workflow_name_cannot_leave_the_second_line() -> None:
    """A fork that names its workflow file like an HTML comment's end gains nothing."""
    line = source(1, workflow="a --> <b>.yml").line
    assert line == "<!-- perf-gate:run 1.1 unnamed -->"


def test_comment_id_cannot_leave_the_marker() -> None:
    """A comment id that could end the HTML comment is a configuration error."""
    with pytest.raises(ConfigError, match="comment id"):
        _ = Author(gate="a --> b").marker


@pytest.mark.parametrize("kind", ["before", "after"])
def test_gateway_failure_leaves_one_comment(github: FakeGitHub, kind: str) -> None:
    """Whether a 502 came before or after the comment was made, there is one comment in the end."""
    github.faults.append(Fault(kind, "POST", times=2 if kind == "before" else 1))
    assert put(github, "blocked") == "created"
    assert len(github.body_of(PR)) == 1


def test_three_gateway_failures_are_an_error(github: FakeGitHub) -> None:
    """A POST that fails every time ends in an error that says so, without a comment."""
    github.faults.append(Fault("before", "POST", times=9))
    with pytest.raises(PublishError, match="3 attempts"):
        put(github, "blocked")
    assert github.body_of(PR) == []


def test_edit_is_retried_after_gateway_failures(github: FakeGitHub) -> None:
    """Two 502 answers to an edit are retried, since an edit may be repeated."""
    put(github, "first", 1)
    github.faults.append(Fault("before", "PATCH", times=2))
    assert put(github, "second", 2) == "updated"
    assert "second" in github.body_of(PR)[0]


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_secondary_limit_is_waited_for(github: FakeGitHub, verb: str) -> None:
    """A secondary limit with a bearable wait delays the comment and does not lose or double it."""
    github.faults.append(Fault("secondary", verb, wait=1))
    started = time.monotonic()
    assert put(github, "blocked") == "created"
    assert time.monotonic() - started >= 1
    assert len(github.body_of(PR)) == 1


@pytest.mark.parametrize(
    ("kind", "verb"), [("secondary", "GET"), ("secondary", "POST"), ("primary", "GET"), ("primary", "POST")]
)
def test_long_limits_are_not_waited_for(github: FakeGitHub, kind: str, verb: str) -> None:
    """A limit that lasts half an hour is an error at once instead of a sleeping job."""
    github.faults.append(Fault(kind, verb, times=9, wait=1800))
    started = time.monotonic()
    with pytest.raises(PublishError, match="limits requests"):
        put(github, "blocked")
    assert time.monotonic() - started < NO_WAIT.longest


def test_read_only_token_is_its_own_error(github: FakeGitHub) -> None:
    """A token that may not write raises what callers turn into a line, after one attempt."""
    with client(github, READ_ONLY) as opened, pytest.raises(ReadOnlyToken, match="may not write"):
        upsert(opened, PR, "blocked", author=AUTHOR, source=source(1))
    assert len(github.writes) == 1


def test_comment_deleted_by_hand_meanwhile_is_written_anew(github: FakeGitHub) -> None:
    """A comment deleted between list and edit comes back as a new one."""
    put(github, "first", 1)

    def deleted_by_hand(request: Request) -> None:
        if request.verb == "PATCH":
            github.comments[PR].clear()

    github.before = deleted_by_hand
    assert put(github, "second", 2) == "created"
    assert len(github.body_of(PR)) == 1


def test_body_of_any_length_fits(github: FakeGitHub) -> None:
    """A body beyond GitHub's limit is cut after a whole line and says that it was."""
    put(github, "a row of the table\n" * 10_000)
    (body,) = github.body_of(PR)
    assert len(body) <= LONGEST
    assert "did not fit" in body
    assert "run 1" in body.splitlines()[-1]


def test_absent_comment_is_not_made_when_only_an_update_is_wanted(github: FakeGitHub) -> None:
    """Without create, a pull request that has no comment keeps none."""
    assert put(github, "no verdict", create=False) == "absent"
    assert github.writes == []
