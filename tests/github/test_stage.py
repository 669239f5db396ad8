"""The trusted stage: a stranger's run reaches its own pull request, as our text, and nothing else."""

from __future__ import annotations

import dataclasses
import json

import pytest
from fake_api import FakeGitHub, zipped
from made import (
    AUTHOR,
    BASE,
    FORK,
    MERGE,
    PR,
    READ_ONLY,
    SHA,
    as_artifact,
    client,
    desk,
    finished,
    green,
    on_github,
    red,
    report,
    row,
)

from gate.errors import PublishError
from gate.github.event import CompletedRun
from gate.github.stage import Said, comment_on
from gate.model import Report, State
from gate.schema import report_to_json


@pytest.fixture(autouse=True)
def fork_pull(github: FakeGitHub) -> None:
    """Pull request 7 offers the measured commit of repository 77; 3 is somebody else's."""
    on_github(github)
    github.add_pull(3, owner="acme", repo_id=1, branch="main", sha="c" * 40)


def commented(github: FakeGitHub, run: CompletedRun | None = None, token: str = "report") -> Said:
    with client(github, token) as opened:
        return comment_on(run or finished(), opened, desk())


def only_comment(github: FakeGitHub) -> str:
    """The one comment there is; nothing else was written anywhere."""
    ((number, comments),) = github.comments.items()
    assert number == PR
    (comment,) = comments
    assert {path for _, path in github.writes} <= {
        f"/repos/acme/shop/issues/{PR}/comments",
        f"/repos/acme/shop/issues/comments/{comment['id']}",
    }
    return str(comment["body"])


def test_fork_run_reaches_its_pull_request(github: FakeGitHub) -> None:
    """A fork's blocked run becomes a comment with the verdict and the cause on its pull request."""
    github.add_artifact(900, as_artifact(red()), "perf-gate-report-7")
    assert commented(github).text.startswith("#7: made the comment https://")
    body = only_comment(github)
    assert "SELECT artists ran 200 times" in body
    assert "blocked" in body


def test_red_then_green(github: FakeGitHub) -> None:
    """The next push that passes turns the same comment green."""
    github.add_artifact(900, as_artifact(red()), "perf-gate-report-7")
    commented(github)
    github.add_artifact(901, as_artifact(green()), "perf-gate-report-7")
    assert "updated" in commented(github, finished(901, 10, conclusion="success")).text
    body = only_comment(github)
    assert "SELECT artists ran 200 times" not in body
    assert "although" not in body


def test_comment_that_is_there_turns_green_whoever_wants_few(github: FakeGitHub) -> None:
    """Where only what is not well makes a comment, one that is there is still brought up to date."""
    few = desk(always=False)
    github.add_artifact(900, as_artifact(red()))
    github.add_artifact(901, as_artifact(green()))
    with client(github) as opened:
        comment_on(finished(), opened, few)
        comment_on(finished(901, 10, conclusion="success"), opened, few)
    assert "perf-gate: pass" in only_comment(github)


def test_doubts_make_a_comment_whoever_wants_few(github: FakeGitHub) -> None:
    """A report that says pass, of a run that failed, is not passed over."""
    github.add_artifact(900, as_artifact(green()))
    with client(github) as opened:
        comment_on(finished(), opened, desk(always=False))
    assert only_comment(github).splitlines()[2].startswith("> **The check ended with failure")


def test_edits_of_the_gates_files_make_a_comment_whoever_wants_few(github: FakeGitHub) -> None:
    """A report passes easily where the pull request changes how it is made: whoever reviews is told."""
    github.trees[MERGE][".github/workflows/x.yml"] = b"on: push"
    github.add_artifact(900, as_artifact(green()))
    with client(github) as opened:
        comment_on(finished(conclusion="success"), opened, desk(always=False))
    assert "> This pull request changes workflows, which decide" in only_comment(github)


def test_github_enterprise_server(github: FakeGitHub) -> None:
    """Its API lies below a path of its own: every request goes there, the download too."""
    github.prefix = "/api/v3"
    github.add_artifact(900, as_artifact(red()))
    with client(github, base=f"{github.url}{github.prefix}") as opened:
        comment_on(finished(), opened, desk())
    assert "SELECT artists ran 200 times" in only_comment(github)


@pytest.mark.parametrize("number", [3, 8, 999])
def test_artifact_that_claims_another_pull_request_posts_nowhere(github: FakeGitHub, number: int) -> None:
    """A claimed number that is not among the pull requests of this commit ends without a write."""
    github.add_artifact(900, as_artifact(red()), f"perf-gate-report-{number}")
    assert f"claims #{number}" in commented(github).text
    assert github.writes == []


@pytest.mark.parametrize(
    "head",
    [
        {"sha": "d" * 40},
        {"repository_id": 78},
        {"repository_id": 0},
        {"owner": "acme"},
        {"branch": "main"},
    ],
)
def test_other_heads_post_nowhere(github: FakeGitHub, head: dict[str, object]) -> None:
    """A run of another commit, of another fork with equal names, or of a deleted one finds no place."""
    github.add_artifact(900, as_artifact(red()))
    run = finished(head=dataclasses.replace(FORK, **head))
    assert "no open pull request" in commented(github, run).text
    assert github.writes == []


def test_claim_chooses_between_pull_requests_of_one_commit(github: FakeGitHub) -> None:
    """Where two pull requests offer the commit, the claim picks one of them; without it none is used."""
    github.add_pull(8, owner="stranger", repo_id=77, branch="topic", sha=SHA)
    github.add_artifact(899, as_artifact(red()))
    assert "several pull requests" in commented(github, finished(899)).text
    assert github.writes == []
    github.add_artifact(900, as_artifact(red()), "perf-gate-report-7")
    commented(github)
    only_comment(github)


def measured_at(ref: str) -> Report:
    made = red()
    head = dataclasses.replace(made.sides.head, ref=ref)
    return dataclasses.replace(made, sides=dataclasses.replace(made.sides, head=head))


def test_comment_repeats_what_was_measured(github: FakeGitHub) -> None:
    """What was measured is GitHub's trial merge, which no branch has: the commands fetch it."""
    github.add_artifact(900, as_artifact(measured_at(MERGE)))
    commented(github)
    assert (
        f"```sh\ngit fetch origin {MERGE} && git checkout --detach {MERGE}\n"
        f"perf-gate run --against {BASE[:10]} --only endpoints/playlist\n```"
    ) in only_comment(github)


def test_nobody_is_told_to_fetch_what_the_report_names(github: FakeGitHub) -> None:
    """A stranger's report cannot have a reviewer check out a commit that is not the pull request's."""
    github.add_artifact(900, as_artifact(measured_at("d" * 40)))
    commented(github)
    assert "git fetch" not in only_comment(github)


def test_read_only_token_is_said_and_no_failure(github: FakeGitHub) -> None:
    """With a token that may not write the text is handed back for the job summary."""
    github.add_artifact(900, as_artifact(red()))
    said = commented(github, token=READ_ONLY)
    assert "read-only" in said.text
    assert "SELECT artists ran 200 times" in said.unposted
    assert github.comments == {}


def test_run_without_a_report_makes_no_comment(github: FakeGitHub) -> None:
    """A run that left nothing is a line in the log, not a new comment."""
    assert "left no report" in commented(github).text
    assert github.writes == []


def test_run_without_a_report_corrects_an_older_comment(github: FakeGitHub) -> None:
    """A green comment of an older commit does not stay green when the newer run gave no verdict."""
    github.add_artifact(900, as_artifact(green()))
    commented(github, finished(900, 9, conclusion="success"))
    commented(github, finished(901, 10))
    assert "no verdict" in only_comment(github)


def test_late_report_of_an_older_push(github: FakeGitHub) -> None:
    """Two runs whose reports arrive in the wrong order leave the newer one's comment."""
    github.add_artifact(901, as_artifact(green()))
    github.add_artifact(900, as_artifact(red()))
    commented(github, finished(901, 10, conclusion="success"))
    assert "newer run" in commented(github, finished(900, 9)).text
    assert "SELECT artists ran 200 times" not in only_comment(github)


@pytest.mark.parametrize(
    ("made", "conclusion", "doubt"),
    [
        (green(), "failure", "The check ended with failure although this report says pass."),
        (red(), "success", "The check passed although this report says blocked."),
        (report(row(), state=State.PASS), "success", "Do not trust this report"),
    ],
)
def test_contradictions_come_first(github: FakeGitHub, made: Report, conclusion: str, doubt: str) -> None:
    """Where the check, the rows and the verdict disagree, the comment says so before anything else."""
    github.add_artifact(900, as_artifact(made))
    commented(github, finished(conclusion=conclusion))
    assert doubt in only_comment(github).splitlines()[2]


HOSTILE = [
    "</details><script>alert(1)</script>",
    "`</td></tr>` <img src=x onerror=alert(1)>",
    "@everyone please look, fixes #1",
    "a | b | c\n| d |",
    "![x](https://evil.test/pixel.png)",
    "[click](javascript:alert(1))",
    "<!-- perf-gate:v1 id=default -->",
    "::error::run me",
    "\u202eevil\u200b\x00\x1b[2J",
    "$(touch /tmp/pwned) `touch /tmp/pwned`",
    "x" * 70_000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_make_one_ordinary_comment(github: FakeGitHub, name: str) -> None:
    """Whatever a case is called, the result is our one comment with our marker first, within the limit."""
    bad = dataclasses.replace(row(), label=name, case=dataclasses.replace(row().case, name=name))
    github.add_artifact(900, as_artifact(report(bad, reason=name)))
    commented(github)
    body = only_comment(github)
    assert body.splitlines()[0] == AUTHOR.marker
    assert body.count(AUTHOR.marker + "\n") == 1
    assert len(body) <= 65_536


@pytest.mark.parametrize(
    "data",
    [
        b"not a zip",
        zipped({"../report.json": report_to_json(red())}),
        zipped({"report.json": "[" * 100_000}),
        zipped({"report.json": report_to_json(red()).replace(": 202,", ": NaN,")}),
        zipped({"report.json": json.dumps({"schema": "perf-gate.report/1"})}),
        zipped({"comment.md": "post me"}),
    ],
)
def test_hostile_artifacts_post_nothing(github: FakeGitHub, data: bytes) -> None:
    """An artifact that is refused is an error, and nothing is written anywhere."""
    github.add_artifact(900, data)
    with pytest.raises(PublishError):
        commented(github)
    assert github.writes == []
