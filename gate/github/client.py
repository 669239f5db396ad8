"""The one door to GitHub's REST API: PyGithub with waits that end and writes that cannot double.

PyGithub supplies authentication, throttling and retries; paths and answers are read here, so that a
call is one request and one value. Its defaults would post a comment twice when a gateway fails after
accepting it, never retry an edit, and sleep up to an hour at a rate limit; `Patience` and `_create`
are there for that.
"""

from __future__ import annotations

import base64
import binascii
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import quote, urlsplit

from github import (
    Auth,
    Github,
    GithubException,
    GithubRetry,
    RateLimitExceededException,
)
from github.GithubException import RateLimitExceededExceedsMaxWait

from gate.errors import PublishError, RepositoryError
from gate.github.event import Head, head_of, moment

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")
RETRIED = frozenset({"GET", "HEAD", "PUT", "PATCH", "DELETE"})
ROUNDS = 3  # of list, match, create: each asks first whether the last one went through
MOST_PAGES = 100  # 10,000 comments; a listing beyond that is not searched for ours
CHUNK = 1 << 16


class ReadOnlyToken(PublishError):
    """The token may not write here, as for a fork's or Dependabot's run: said, never a failure."""


class NotFound(PublishError):
    """GitHub knows no such thing, or not for this token."""


class _Unanswered(PublishError):
    """A request that may have been carried out although no answer said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, in seconds, and how often. `longest` caps a single wait; beyond it is an error.

    secondary: after a secondary limit that names no time. between, writes: PyGithub's own throttle, of all
    requests and of writes; GitHub asks for a second between writes.
    """

    retries: int = 5
    backoff: float = 1.0
    secondary: float = 60.0
    longest: float = 120.0
    between: float = 0.05
    writes: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    id: int
    author: str
    body: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A pull request as GitHub shows it. base: the branch it would be merged into.

    merge: GitHub's own trial merge, empty in lists and where it conflicts; it may be of an older push.
    """

    number: int
    url: str
    head: Head
    base: str = ""
    merge: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRun:
    """A run of a workflow. status: "completed", "in_progress", ...; conclusion: empty until then.

    created: when its event happened, the same for every attempt; None where GitHub does not say.
    """

    id: int
    number: int
    attempt: int
    event: str
    status: str
    conclusion: str
    head: Head
    url: str = ""
    created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueEvent:
    """Something that happened to a pull request: "labeled", "unlabeled", "head_ref_force_pushed", ...

    label: empty where it is about none. actor: a login, empty where the account is gone.
    """

    kind: str
    label: str
    actor: str
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """size: bytes of the zip file, as GitHub states it."""

    id: int
    name: str
    size: int
    expired: bool


class _Capped(GithubRetry):
    """PyGithub's retry, which honours any Retry-After, made to refuse one beyond the cap."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Any:  # urllib3 says Self, PyGithub says Retry
        asked = self.get_retry_after(response) if response is not None else None
        if response is not None and asked and self.max_rate_limit_wait and asked > self.max_rate_limit_wait:
            raise RateLimitExceededExceedsMaxWait(response.status, None, dict(response.headers), wait=asked)
        return super().increment(method, url, response, error, _pool, _stacktrace)  # type: ignore[arg-type]


class Client:
    """One repository at GitHub. base: the API's URL (GITHUB_API_URL); the token never leaves it."""

    def __init__(
        self,
        *,
        base: str,
        repository: str,
        token: str,
        notify: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        self._patience = patience or Patience()
        self._base = base
        self._root = f"/repos/{repository}"
        self._notify = notify
        self._github = Github(
            auth=Auth.Token(token),
            base_url=base,
            lazy=True,
            per_page=100,
            timeout=30,
            retry=_Capped(
                total=self._patience.retries,
                backoff_factor=self._patience.backoff,
                status_forcelist=[429, 500, 502, 503, 504],
                allowed_methods=RETRIED,
                secondary_rate_wait=self._patience.secondary,
                max_rate_limit_wait=self._patience.longest,
            ),
            seconds_between_requests=self._patience.between or None,
            seconds_between_writes=self._patience.writes or None,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._github.close()

    def comments(self, number: int) -> Iterator[Comment]:
        """Every comment of a pull request, oldest first."""
        for item in self._pages(f"/issues/{number}/comments"):
            yield _comment(item)

    def create_comment(self, number: int, body: str, *, ours: Callable[[], Comment | None]) -> Comment:
        """A new comment, or the one that `ours` finds where an attempt was not answered."""
        return self._create(f"/issues/{number}/comments", {"body": body}, found=ours, read=_comment)

    def edit_comment(self, identity: int, body: str) -> Comment:
        """Raises NotFound where it has been deleted meanwhile."""
        return _comment(self._call("PATCH", f"/issues/comments/{identity}", {"body": body}))

    def pulls_of(self, head: Head) -> tuple[Pull, ...]:
        """The open pull requests that offer exactly this commit of exactly this repository.

        GitHub filters by owner and branch name only, and both are chosen by the author; the commit
        and the repository's id are not. A deleted head repository matches nothing.
        """
        if not (head.owner and head.branch and head.repository_id):
            return ()
        query = {"state": "open", "head": f"{head.owner}:{head.branch}"}
        listed = (_pull(item) for item in self._pages("/pulls", query))
        return tuple(
            pull
            for pull in listed
            if pull.head.sha == head.sha and pull.head.repository_id == head.repository_id
        )

    def pull(self, number: int) -> Pull:
        """One pull request, with GitHub's trial merge of it."""
        return _pull(self._call("GET", f"/pulls/{number}"))

    def changed(self, number: int) -> tuple[str, ...]:
        """The paths that a pull request adds, changes, renames or removes; GitHub lists 3,000 at most."""
        listed = tuple(self._pages(f"/pulls/{number}/files"))
        renamed = (item.get("previous_filename") or "" for item in listed)
        return tuple(name for name in (*(item["filename"] for item in listed), *renamed) if name)

    def merged_by(self, sha: str) -> tuple[Pull, ...]:
        """The pull requests that a commit of this repository's own branches merged."""
        listed = self._pages(f"/commits/{quote(sha, safe='')}/pulls")
        return tuple(_pull(item) for item in listed if item.get("merge_commit_sha") == sha)

    def parents(self, sha: str) -> tuple[str, ...]:
        """The parents of a commit, first to last. Raises NotFound."""
        answer = self._call("GET", f"/git/commits/{quote(sha, safe='')}")
        return tuple(parent["sha"] for parent in answer["parents"])

    def branch(self, name: str) -> str:
        """The commit that a branch of this repository is at. Raises NotFound."""
        return str(self._call("GET", f"/git/ref/heads/{quote(name)}")["object"]["sha"])

    def contains(self, tip: str, sha: str) -> bool:
        """Whether commit `tip` is `sha` or comes after it. A commit that GitHub does not know does not."""
        basehead = f"{quote(sha, safe='')}...{quote(tip, safe='')}"
        try:
            # The status is on every page, the changed files and their patches on the first alone.
            query = {"per_page": 1, "page": 2}
            answer = self._request("GET", f"/compare/{basehead}", query)[1]
        except NotFound:
            return False
        return answer["status"] in ("ahead", "identical")

    def text(self, path: str, sha: str, *, most: int) -> str | None:
        """The text of a file at a commit of this repository's network; None where there is no such file.

        A path that would climb out of the repository is no such file: it may come from a pull request's
        configuration, and URLs are normalised on their way. Raises RepositoryError for a file of more
        than `most` bytes, or that is not UTF-8.
        """
        if not all(part.strip(".") for part in path.split("/")):
            return None
        try:
            answer = self._request("GET", f"/contents/{quote(path)}", {"ref": sha})[1]
            if not isinstance(answer, dict) or answer.get("type") != "file":
                return None  # a directory, a submodule or a link that leads nowhere
            if answer["size"] > most:
                raise RepositoryError(f"a file is larger than {most} bytes", where=f"{path} at {sha[:10]}")
            if answer["encoding"] != "base64":  # beyond 1 MB the content is left out
                answer = self._call("GET", f"/git/blobs/{answer['sha']}")
        except NotFound:
            return None
        try:
            return base64.b64decode(answer["content"]).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise RepositoryError("a file is not UTF-8 text", where=f"{path} at {sha[:10]}") from error

    def labels(self, number: int) -> tuple[str, ...]:
        """The labels that a pull request has now; an event's payload is frozen when a run is repeated."""
        return tuple(item["name"] for item in self._pages(f"/issues/{number}/labels"))

    def events(self, number: int) -> tuple[IssueEvent, ...]:
        """What happened to a pull request, oldest first."""
        return tuple(map(_event, self._pages(f"/issues/{number}/events")))

    def may_write(self, login: str) -> bool:
        """Whether an account may push to this repository; who may triage can label and may not.

        GitHub says "write" for maintainers too, and 404 for an account that is gone or an App's.
        """
        try:
            answer = self._call("GET", f"/collaborators/{quote(login, safe='')}/permission")
        except NotFound:
            return False
        return answer["permission"] in ("write", "admin")

    def run(self, run_id: int) -> WorkflowRun:
        return _run(self._call("GET", f"/actions/runs/{run_id}"))

    def skipped_jobs(self, run_id: int) -> bool:
        """Whether a job of the run's newest attempt was skipped."""
        listed = self._pages(f"/actions/runs/{run_id}/jobs", {"filter": "latest"}, "jobs")
        return any(job.get("conclusion") == "skipped" for job in listed)

    def open_pull(self, *, branch: str, onto: str, title: str, body: str) -> Pull:
        """The open pull request of a branch of this repository; created unless there is one."""
        owner = self._root.split("/")[2]
        query = {"state": "open", "head": f"{owner}:{branch}", "base": onto}

        def existing() -> Pull | None:
            return next((_pull(item) for item in self._pages("/pulls", query)), None)

        wanted = {"title": title, "body": body, "head": branch, "base": onto}
        return existing() or self._create("/pulls", wanted, found=existing, read=_pull)

    def dispatch(self, workflow: str, ref: str) -> None:
        """Start a workflow on a ref. Raises NotFound where it has no `workflow_dispatch` trigger."""
        self._call("POST", f"/actions/workflows/{quote(workflow)}/dispatches", {"ref": ref})

    def runs_of(self, workflow: str, head: Head) -> tuple[WorkflowRun, ...]:
        """The runs of a workflow file for exactly this commit of this repository, newest first."""
        query = {"head_sha": head.sha}
        listed = self._pages(f"/actions/workflows/{quote(workflow)}/runs", query, "workflow_runs")
        runs = [run for run in map(_run, listed) if run.head.sha == head.sha]
        mine = [run for run in runs if run.head.repository_id == head.repository_id]
        return tuple(sorted(mine, key=lambda run: (run.number, run.attempt), reverse=True))

    def artifacts(self, run_id: int) -> tuple[Artifact, ...]:
        """The artifacts of a run, newest first: a second attempt's come before the first's."""
        listed = self._pages(f"/actions/runs/{run_id}/artifacts", {}, "artifacts")
        return tuple(sorted(map(_artifact, listed), key=lambda artifact: artifact.id, reverse=True))

    def download(self, artifact: Artifact, *, most: int) -> bytes:
        """The zip file of an artifact, of at most `most` bytes whatever its stated size.

        The redirect to storage is followed by hand and without the Authorization header, so the
        token reaches GitHub's API and nobody else.
        """
        path = f"{self._root}/actions/artifacts/{artifact.id}/zip"
        try:
            status, headers, _ = self._github.requester.requestJson("GET", path)
        except (GithubException, OSError) as error:
            self._fail(error, "GET", path)
        location = headers.get("location", "")
        if status != 302 or not location:
            raise PublishError(
                f"GitHub did not hand out artifact {artifact.name!r}: status {status}", where=f"GET {path}"
            )
        return self._fetch(location, most)

    def _fetch(self, location: str, most: int) -> bytes:
        """The bytes at a signed URL. Its query is a credential: neither it nor the path is shown."""
        parts = urlsplit(location)
        if parts.scheme != "https" and parts.scheme != urlsplit(self._base).scheme:
            raise PublishError("GitHub redirected an artifact away from https", where=parts.netloc)
        received = bytearray()
        try:
            with urllib.request.urlopen(location, timeout=30) as answer:  # noqa: S310 - scheme checked above
                while block := answer.read(CHUNK):
                    received += block
                    if len(received) > most:
                        raise PublishError(f"the artifact is larger than {most} bytes", where=parts.netloc)
        except (urllib.error.URLError, OSError) as error:
            raise PublishError(
                f"the artifact could not be downloaded: {type(error).__name__}", where=parts.netloc
            ) from error
        return bytes(received)

    def _pages(
        self, path: str, query: dict[str, Any] | None = None, key: str = ""
    ) -> Iterator[dict[str, Any]]:
        """The items of every page; key: where a page is an object that holds the list."""
        for page in range(1, MOST_PAGES + 1):
            headers, answer = self._request("GET", path, {**(query or {}), "per_page": 100, "page": page})
            yield from answer[key] if key else answer
            if 'rel="next"' not in headers.get("link", ""):
                return

    def _create(
        self, path: str, wanted: dict[str, Any], *, found: Callable[[], T | None], read: Callable[[Any], T]
    ) -> T:
        """POST until an answer comes or `found` sees that an earlier attempt was carried out.

        GitHub has no idempotency key, and a failed gateway does not say on which side it failed.
        """
        for attempt in range(1, ROUNDS + 1):
            try:
                return read(self._call("POST", path, wanted))
            except _Unanswered as error:
                self._notify(f"{error.message}; looking whether it went through ({attempt} of {ROUNDS})")
                if (earlier := found()) is not None:
                    return earlier
        raise PublishError(f"GitHub did not carry out a request in {ROUNDS} attempts", where=f"POST {path}")

    def _call(self, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._request(verb, path, None, body)[1]

    def _request(
        self, verb: str, path: str, query: dict[str, Any] | None, body: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Any]:
        full = self._root + path
        try:
            return self._github.requester.requestJsonAndCheck(verb, full, parameters=query, input=body)
        except (GithubException, OSError) as error:
            if verb == "POST":
                self._unanswered(error, full)
            self._fail(error, verb, full)

    def _unanswered(self, error: GithubException | OSError, path: str) -> None:
        """Raise _Unanswered where posting again is right, after the wait that GitHub asked for."""
        if isinstance(error, RateLimitExceededException) or getattr(error, "status", 0) == 429:
            wait = _asked(error, default=self._patience.secondary)
            if wait > self._patience.longest:
                self._fail(error, "POST", path)
            self._notify(f"GitHub limits requests; waiting {wait:.0f} s")
            time.sleep(wait)
        elif isinstance(error, GithubException) and error.status < 500:
            return
        raise _Unanswered("GitHub gave no answer to a request", where=f"POST {path}") from error

    def _fail(self, error: GithubException | OSError, verb: str, path: str) -> NoReturn:
        where = f"{verb} {path}"
        if not isinstance(error, GithubException):
            # RequestException is an OSError; its text may quote a URL, so only its type is shown.
            raise PublishError(
                f"GitHub cannot be reached or kept failing: {type(error).__name__}",
                where=f"{verb} {self._base}{path}",
            ) from error
        if isinstance(error, RateLimitExceededException):
            raise PublishError(
                f"GitHub limits requests for longer than {self._patience.longest:.0f} s",
                where=where,
                hint="run the job again later",
            ) from error
        message = _message(error)
        if error.status == 403 and "resource not accessible" in message.lower():
            raise ReadOnlyToken("the token may not write to this repository", where=where) from error
        # By the status: PyGithub's own class for it knows one of GitHub's messages only.
        kind = NotFound if error.status == 404 else PublishError
        hint = "allow it under Settings, Actions, General" if "not permitted to create" in message else ""
        raise kind(f"GitHub answered {error.status}: {message}", where=where, hint=hint) from error


def _asked(error: GithubException | OSError, *, default: float) -> float:
    """The seconds GitHub asks to wait: Retry-After, else the reset of a primary limit, else `default`."""
    headers = (error.headers or {}) if isinstance(error, GithubException) else {}
    after, reset = str(headers.get("retry-after", "")), str(headers.get("x-ratelimit-reset", ""))
    if after.isdigit():
        return float(after)
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
        return max(0.0, int(reset) - time.time()) + 1
    return default


def _message(error: GithubException) -> str:
    data = error.data
    text = data.get("message") if isinstance(data, dict) else None
    return text if isinstance(text, str) and text else "no reason given"


def _comment(item: dict[str, Any]) -> Comment:
    return Comment(
        id=item["id"],
        author=(item.get("user") or {}).get("login", ""),
        body=item.get("body") or "",
        url=item.get("html_url") or "",
    )


def _pull(item: dict[str, Any]) -> Pull:
    head = item["head"]
    return Pull(
        number=item["number"],
        url=item.get("html_url") or "",
        head=head_of(head, repository=head.get("repo") or {}),
        base=item["base"]["ref"],
        merge=item.get("merge_commit_sha") or "",
    )


def _event(item: dict[str, Any]) -> IssueEvent:
    return IssueEvent(
        kind=item.get("event") or "",
        label=(item.get("label") or {}).get("name") or "",
        actor=(item.get("actor") or {}).get("login") or "",
        at=moment(item.get("created_at")),
    )


def _run(item: dict[str, Any]) -> WorkflowRun:
    return WorkflowRun(
        id=item["id"],
        number=item["run_number"],
        attempt=item.get("run_attempt") or 1,
        event=item.get("event") or "",
        status=item.get("status") or "",
        conclusion=item.get("conclusion") or "",
        head=head_of(item, repository=item.get("head_repository") or {}),
        url=item.get("html_url") or "",
        created=moment(item.get("created_at")),
    )


def _artifact(item: dict[str, Any]) -> Artifact:
    return Artifact(
        id=item["id"], name=item["name"], size=item["size_in_bytes"], expired=bool(item.get("expired"))
    )
