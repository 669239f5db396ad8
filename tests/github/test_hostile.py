"""Hostile artifacts and names: whatever a stranger sends, at most our one comment is written, by us.

Every test looks at the whole log of what was written to GitHub; the names are read back as GitHub's own
Markdown library renders them.
"""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from fake_api import BOT, FakeGitHub, zipped
from hostile import MARKER, NAMES, REFUSED, claims, poisoned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import AUTHOR, FORK, PR, SHA, as_artifact, client, desk, finished, on_github, red, source

from gate.errors import PublishError
from gate.github.comment import LONGEST, compose
from gate.github.event import CompletedRun
from gate.github.override import LABEL
from gate.github.stage import Said, comment_on
from gate.model import Report
from gate.report import markdown

COMMENTS = f"/repos/acme/shop/issues/{PR}/comments"
OURS = {"p", "strong", "code", "pre", "br", "ul", "li", "details", "summary", "blockquote", "sub", "a"} | {
    *("table", "thead", "tbody", "tr", "th", "td")
}
RUN = "https://github.test/acme/shop/actions/runs/900"


@pytest.fixture(autouse=True)
def pulls(github: FakeGitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pull request 7 is the stranger's; 3 and 8 are others'. Nothing may appear in the working directory."""
    monkeypatch.chdir(tmp_path)
    on_github(github)
    github.add_pull(3, owner="acme", repo_id=1, branch="topic", sha="c" * 40)
    github.add_pull(8, owner="stranger", repo_id=77, branch="other", sha="d" * 40)


def hit(github: FakeGitHub, run: CompletedRun | None = None) -> Said:
    with client(github) as opened:
        return comment_on(run or finished(), opened, desk())


def the_one_comment(github: FakeGitHub) -> str:
    """The whole write log is one comment made on 7; its author, its first line and its size are ours."""
    assert github.writes == [("POST", COMMENTS)]
    ((number, (comment,)),) = github.comments.items()
    assert (number, comment["user"]["login"]) == (PR, BOT)
    body = str(comment["body"])
    assert body.splitlines()[0] == AUTHOR.marker == MARKER
    assert len(body) <= LONGEST
    assert github.dispatched == []
    return body


class Seen(HTMLParser):
    """Elements, targets of links, comments, and what is text outside of code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.comments: list[str] = []
        self.rows: list[int] = []
        self.prose = ""
        self.open = 0  # folds, where the comment ends
        self._code = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]
        self._code += tag == "code"
        self.open += tag == "details"
        if tag == "tr":
            self.rows.append(0)
        elif tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"
        self.open -= tag == "details"

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        self.prose += "" if self._code else data


def is_inert(body: str) -> None:
    """As GitHub reads it: our elements, full rows, our link, our two comments, no mention outside code."""
    html = cmarkgfm.github_flavored_markdown_to_html(body, options=Options.CMARK_OPT_UNSAFE)
    seen = Seen(html)
    assert seen.tags <= OURS, seen.tags - OURS
    assert seen.attributes <= {"href", "align", "lang"}, seen.attributes
    assert set(seen.links) <= {RUN}
    assert [text.split()[0] for text in seen.comments] == ["perf-gate:v1", "perf-gate:run"]
    assert set(seen.rows) <= {3, 6, 7, 11}
    assert seen.open == 0
    assert not re.search(r"[@#]\w", seen.prose.replace("#7", ""))
    hidden = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\x00-\x08\x0b-\x1f\x7f]")
    assert not hidden.search(body)


EVERY = [(kind, place) for kind, names in NAMES.items() for place in range(len(names))]


@pytest.mark.parametrize(("kind", "place"), EVERY)
def test_names_make_one_inert_comment(github: FakeGitHub, kind: str, place: int) -> None:
    """Each name, in every place a pull request can write to, is text in one ordinary comment of ours."""
    made = poisoned(NAMES[kind][place])
    github.add_artifact(900, as_artifact(made), f"perf-gate-report-{PR}")
    assert hit(github).text.startswith("#7: made the comment")
    is_inert(the_one_comment(github))


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind != "empty and long"])
def test_names_together_make_one_inert_comment(github: FakeGitHub, kind: str) -> None:
    """A whole class in one report, in rows, causes, folds and doubts, is still one comment of ours."""
    github.add_artifact(900, as_artifact(poisoned(*NAMES[kind])), f"perf-gate-report-{PR}")
    assert hit(github).text.startswith("#7: made the comment")
    is_inert(the_one_comment(github))


CASES = [(kind, name) for kind, found in REFUSED.items() for name in found]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda each: each.replace("\u202e", "bidi"))
def test_artifact_that_is_refused_writes_nothing(
    github: FakeGitHub, tmp_path: Path, kind: str, name: str
) -> None:
    """Refused with a sentence of ours: no write on GitHub, no file here, nothing of it in the error."""
    github.add_artifact(900, REFUSED[kind][name](), f"perf-gate-report-{PR}")
    with pytest.raises(PublishError) as caught:
        hit(github)
    assert github.writes == []
    assert list(tmp_path.iterdir()) == []
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("name", "made"), list(claims()), ids=lambda each: each if isinstance(each, str) else ""
)
def test_claims_are_not_believed(github: FakeGitHub, name: str, made: Report) -> None:
    """A report that calls itself better than its samples are is not called a pass in our comment."""
    github.add_artifact(900, as_artifact(made))
    hit(github, finished(conclusion="success"))
    body = the_one_comment(github)
    assert "🟢 **perf-gate: pass" not in body or body.splitlines()[2].startswith("> **")
    is_inert(body)


@pytest.mark.parametrize(
    "name",
    [
        "perf-gate-report-3",
        "perf-gate-report-8",
        "perf-gate-report-999999999",
        "perf-gate-report-1",
    ],
)
def test_number_of_another_pull_request_writes_nowhere(github: FakeGitHub, name: str) -> None:
    """A number that is not among the pull requests of this very commit ends the matter."""
    github.add_artifact(900, as_artifact(red()), name)
    assert "which is another's" in hit(github).text
    assert github.writes == []


@pytest.mark.parametrize(
    "name",
    [
        "perf-gate-report-",
        "perf-gate-report--7",
        "perf-gate-report-7-8",
        "perf-gate-report-07x",
        "perf-gate-report-٧",
        "perf-gate-report 7",
        "perf-gate-report/7",
        "../perf-gate-report-7",
        "PERF-GATE-REPORT-7",
        "perf-gate-report-7\n",
        "perf-gate-report-9999999999",
        "perf-gate-report-+7",
        "perf-gate-report-0x7",
        "perf-gate-accepted",
        "",
    ],
)
def test_artifacts_of_other_names_are_not_opened(github: FakeGitHub, name: str) -> None:
    """Only the name, or the name with a number, is a report's; another one is not even downloaded."""
    github.add_artifact(900, as_artifact(red()), name)
    hit(github)
    assert github.storage_log == []
    assert github.writes == []


HEADS = [
    {"sha": "d" * 40},
    {"sha": ""},
    {"sha": SHA[:7]},
    {"repository_id": 78},
    {"repository_id": 0},
    {"repository_id": 1},
    {"owner": ""},
    {"owner": "acme"},
    {"owner": "stranger:topic"},
    {"branch": ""},
    {"branch": "main"},
    {"branch": "topic&state=closed"},
    {"branch": "topic#"},
    {"branch": "../../pulls/3"},
    {"branch": "$(touch pwned)"},
    {"branch": "refs/heads/topic"},
    {"branch": "\u202ecipot"},
    {"branch": "x" * 255},
]


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_run_of_another_head_writes_nowhere(
    github: FakeGitHub, tmp_path: Path, head: dict[str, object]
) -> None:
    """A commit, repository, owner or branch that is not exactly the pull request's finds no place."""
    github.add_artifact(900, as_artifact(red()))
    assert "no open pull request" in hit(github, finished(head=dataclasses.replace(FORK, **head))).text
    assert github.writes == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "workflow",
    [
        "",
        "a --> <b>.yml",
        "x\n<!-- perf-gate:v1 id=other -->",
        "perf-gate.yml\r\n",
        "$(id).yml",
        "../x.yml",
        "é.yml",
        "x" * 200,
        "a b.yml",
        "`x`.yml",
        "@x.yml",
        "|.yml",
    ],
)
def test_workflow_files_name_stays_in_its_line(github: FakeGitHub, workflow: str) -> None:
    """A fork may call its workflow file anything; the comment's second line is one line of ours."""
    github.add_artifact(900, as_artifact(red()))
    hit(github, finished(workflow=workflow))
    body = the_one_comment(github)
    assert re.fullmatch(r"<!-- perf-gate:run 9\.1 [\w.-]+ -->", body.splitlines()[1], re.ASCII)


@pytest.mark.parametrize(
    "event", ["push", "merge_group", "workflow_dispatch", "issue_comment", "release", ""]
)
def test_runs_of_other_events_write_nothing(github: FakeGitHub, event: str) -> None:
    """Only a pull request's run is commented, whatever its artifact says."""
    github.add_artifact(900, as_artifact(red()))
    hit(github, finished(event=event))
    assert github.writes == []


ACTORS = [
    "stranger",
    "ghost",
    "alice\n",
    "@alice",
    "alice`",
    "<b>alice</b>",
    "alice|root",
    "",
    "a" * 200,
    "alice ",
]


@pytest.mark.parametrize("actor", ACTORS, ids=repr)
def test_labels_of_strangers_accept_nothing(github: FakeGitHub, actor: str) -> None:
    """Who labels without the right to write, or under no possible name, is never shown as accepting."""
    github.members["alice"] = "write"
    github.add_label(PR, LABEL, actor, "2026-11-21T11:00:00Z")
    github.add_artifact(900, as_artifact(red()))
    hit(github)
    body = the_one_comment(github)
    assert "🔴 **perf-gate: blocked" in body
    assert "does not count" in body
    is_inert(body)


def test_there_are_enough_of_them() -> None:
    """At least 200 hostile artifacts and names in at least 12 classes."""
    names = sum(map(len, NAMES.values()))
    artifacts = len(CASES) + len(list(claims())) + len(HEADS) + len(ACTORS)
    assert names + artifacts >= 300
    assert len(NAMES) + len(REFUSED) >= 20


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=300))
def test_any_name_is_inert(name: str) -> None:
    """Whatever Unicode a name is made of, the comment is ours, within the limit, and does nothing."""
    try:
        body = compose(markdown(poisoned(name)), author=AUTHOR, source=source(9))
    except UnicodeEncodeError:
        return  # a lone surrogate, which no report can carry: its JSON is refused
    assert body.splitlines()[0] == MARKER
    assert len(body) <= LONGEST
    is_inert(body)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused(github: FakeGitHub, data: bytes) -> None:
    """Bytes of any kind, bare and as a report in a zip file, end in our error and write nothing."""
    for sent in (data, zipped({"report.json": data})):
        github.artifacts.clear()
        github.add_artifact(900, sent)
        with pytest.raises(PublishError):
            hit(github)
    assert github.writes == []
