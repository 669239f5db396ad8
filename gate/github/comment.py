"""The one comment of a gate on a pull request: found, ordered, written only when it changes.

Ours is the comment whose first line is our marker *and* whose author is our account; anyone may post
the marker, so a marker alone proves nothing. The body is made by `gate.report.markdown`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gate.errors import ConfigError, PublishError
from gate.github.client import Client, Comment, NotFound

LONGEST = 65_000  # GitHub refuses a body beyond 65,536 characters, and with it the whole report
ATTEMPTS = 3  # a comment may be deleted by hand between list and edit
_RUN = re.compile(r"<!-- perf-gate:run (\d{1,18})\.(\d{1,9}) ([\w.-]{1,100}) -->")
_FILE = re.compile(r"[\w.-]{1,100}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Whose comment it is. gate: tells several gates of one repository apart; login: our account's."""

    gate: str = "default"
    login: str = "github-actions[bot]"

    @property
    def marker(self) -> str:
        """The first line of the comment. Raises ConfigError for a name that could end the HTML comment."""
        if not _NAME.fullmatch(self.gate):
            raise ConfigError(
                f"comment id {self.gate!r} may hold letters, digits, '.', '_' and '-' only",
                where="PERF_GATE_COMMENT_ID",
            )
        return f"<!-- perf-gate:v1 id={self.gate} -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The run whose report the comment shows; comments are ordered by (number, attempt).

    workflow: its file. Numbers of two files cannot be compared: a renamed file starts again at 1.
    """

    number: int
    attempt: int
    workflow: str
    sha: str
    url: str

    @property
    def line(self) -> str:
        """The comment's second line. A fork may name its workflow file; only a plain name is shown."""
        name = self.workflow if _FILE.fullmatch(self.workflow) else "unnamed"
        return f"<!-- perf-gate:run {self.number}.{self.attempt} {name} -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What became of the comment. superseded: a newer run's is there and was left alone."""

    action: Literal["created", "updated", "unchanged", "superseded", "absent"]
    url: str = ""


def compose(body: str, *, author: Author, source: Source) -> str:
    """The whole comment: marker, run, body, and where it came from. The same input gives the same bytes.

    A body beyond the limit is cut at a line's end and says so.
    """
    footer = f"\n\n<sub>commit {source.sha[:12]}, [run {source.number}]({source.url})"
    footer += f", attempt {source.attempt}</sub>\n" if source.attempt > 1 else "</sub>\n"
    header = f"{author.marker}\n{source.line}\n"
    return header + shortened(body, LONGEST - len(header) - len(footer)) + footer


def shortened(text: str, most: int) -> str:
    """`text` of at most `most` characters, cut after a whole line, with a notice where it was cut."""
    if len(text) <= most:
        return text.rstrip("\n")
    notice = "\n\n_The rest did not fit; the run's summary and its report artifact have all rows._"
    return text[: most - len(notice)].rpartition("\n")[0] + notice


def upsert(
    client: Client, number: int, body: str, *, author: Author, source: Source, create: bool = True
) -> Posted:
    """Make our comment on pull request `number` say `body`.

    create: False leaves a pull request without our comment alone ("absent"). Raises ReadOnlyToken or
    PublishError; where the comment is deleted meanwhile, it is written anew.
    """
    wanted = compose(body, author=author, source=source)
    for _ in range(ATTEMPTS):
        known = find(client, number, author)
        if known is None:
            return _created(client, number, wanted, author) if create else Posted(action="absent")
        if _newer(known, source):
            return Posted(action="superseded", url=known.url)
        if same(known.body, wanted):
            return Posted(action="unchanged", url=known.url)
        try:
            return Posted(action="updated", url=client.edit_comment(known.id, wanted).url)
        except NotFound:
            continue
    raise PublishError(f"the comment was deleted {ATTEMPTS} times while it was being edited")


def find(client: Client, number: int, author: Author) -> Comment | None:
    """Our comment, over all pages; the newest where several are there, and none is ever deleted."""
    ours = [
        comment
        for comment in client.comments(number)
        if comment.author == author.login and _first_line(comment.body) == author.marker
    ]
    return max(ours, key=lambda comment: comment.id, default=None)


def _created(client: Client, number: int, wanted: str, author: Author) -> Posted:
    made = client.create_comment(number, wanted, ours=lambda: find(client, number, author))
    if not same(made.body, wanted):  # an unanswered attempt left, or met, an older text
        made = client.edit_comment(made.id, wanted)
    return Posted(action="created", url=made.url)


def _newer(known: Comment, source: Source) -> bool:
    lines = known.body.splitlines()
    stated = _RUN.fullmatch(lines[1].strip()) if len(lines) > 1 else None
    if stated is None or stated[3] != source.workflow:
        return False
    return (int(stated[1]), int(stated[2])) > (source.number, source.attempt)


def same(one: str, other: str) -> bool:
    """Whether two bodies read the same; line ends and outer white space are GitHub's to change."""
    return one.replace("\r\n", "\n").strip() == other.replace("\r\n", "\n").strip()


def _first_line(body: str) -> str:
    return body.partition("\n")[0].rstrip("\r")
