"""A small stateful GitHub on loopback: what the gate uses of the REST API, its faults and its permissions.

Each request and each answer is held against GitHub's published description (contract.py), which also
fills in what GitHub's answers have and the gate does not read; what it has to say is in `violations`,
and the fixture that starts the fake wants that empty. Every request is logged; a test asserts on the
state left behind and on the log of writes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import contract

BOT = "github-actions[bot]"
LONGEST_BODY = 65_536  # characters; GitHub's description does not say so, its answer does
LARGEST_INLINE = 1 << 20  # bytes of a file that comes with its listing
NOW = "2026-11-21T10:00:00Z"


@dataclass
class Fault:
    """The next `times` requests of a verb, or any, whose path matches go wrong in this way.

    before: 502, nothing was done. after: done, and then 502. lost: done, and the connection ends without
    an answer. unavailable: 503. secondary: limited, with Retry-After `wait`; unnamed: the same without.
    too-many: 429. primary: limited until `wait` seconds from now. gone: 404.
    """

    kind: str
    verb: str = ""
    path: str = ""
    times: int = 1
    wait: int = 0


@dataclass
class Request:
    verb: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass
class FakeGitHub:
    """The state of one repository, `acme/shop` with id 1. prefix: of every path, of Enterprise Server."""

    tokens: dict[str, dict[str, str]] = field(default_factory=dict)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    pulls: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    labels: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    events: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    jobs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)
    files: dict[int, bytes] = field(default_factory=dict)
    dispatched: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    log: list[Request] = field(default_factory=list)
    storage_log: list[Request] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    before: Callable[[Request], None] = lambda request: None
    prefix: str = ""
    url: str = ""
    storage: str = ""
    next_id: int = 1000

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [(request.verb, request.path) for request in self.log if request.verb != "GET"]

    def add_comment(self, number: int, body: str, author: str = BOT) -> dict[str, Any]:
        self.next_id += 1
        comment = {
            "id": self.next_id,
            "user": {"login": author},
            "body": body,
            "html_url": f"https://github.test/acme/shop/pull/{number}#issuecomment-{self.next_id}",
        }
        self.comments.setdefault(number, []).append(comment)
        return comment

    def add_pull(
        self, number: int, *, owner: str, repo_id: int, branch: str, sha: str, base: str = "main", **more: Any
    ) -> None:
        head = {
            "ref": branch,
            "sha": sha,
            "label": f"{owner}:{branch}",
            "repo": {"id": repo_id, "owner": {"login": owner}},
        }
        onto = {"ref": base, "sha": self.branches.get(base, "0" * 40), "label": f"acme:{base}"}
        pull = {
            "number": number,
            "state": "open",
            "draft": False,
            "html_url": f"https://github.test/acme/shop/pull/{number}",
            "head": head,
            "base": onto,
            "merge_commit_sha": None,
        }
        self.pulls.append({**pull, **more})

    def add_commit(self, sha: str, *parents: str, files: dict[str, str | bytes] | None = None) -> str:
        """A commit with its parents and its whole tree; a file of any other path it does not have."""
        self.commits[sha] = parents
        contents = (files or {}).items()
        self.trees[sha] = {p: c if isinstance(c, bytes) else c.encode() for p, c in contents}
        return sha

    def add_run(self, run_id: int, number: int, *, sha: str, conclusion: str | None, **more: Any) -> None:
        run = {
            "id": run_id,
            "run_number": number,
            "run_attempt": 1,
            "event": "pull_request",
            "status": "completed",
            "conclusion": conclusion,
            "head_sha": sha,
            "head_branch": "topic",
            "head_repository": {"id": 1, "owner": {"login": "acme"}},
            "path": ".github/workflows/perf-gate.yml",
            "created_at": NOW,
        }
        self.runs.append({**run, **more})

    def add_jobs(self, run_id: int, **conclusions: str) -> None:
        listed = [
            {"name": name.replace("_", "-"), "status": "completed", "conclusion": conclusion}
            for name, conclusion in conclusions.items()
        ]
        self.jobs[run_id] = listed

    def add_label(self, number: int, name: str, actor: str, at: str) -> None:
        """Somebody labels a pull request."""
        self.labels.setdefault(number, []).append({"name": name})
        self.add_event(number, "labeled", actor, at, label=name)

    def remove_label(self, number: int, name: str, actor: str, at: str) -> None:
        self.labels[number] = [label for label in self.labels[number] if label["name"] != name]
        self.add_event(number, "unlabeled", actor, at, label=name)

    def add_event(self, number: int, kind: str, actor: str, at: str, label: str = "") -> None:
        self.next_id += 1
        event = {
            "id": self.next_id,
            "event": kind,
            "actor": {"login": actor},
            "created_at": at,
        }
        named = {"label": {"name": label, "color": "ededed"}} if label else {}
        self.events.setdefault(number, []).append({**event, **named})

    def add_artifact(self, run_id: int, data: bytes, name: str = "perf-gate-report", **more: Any) -> None:
        self.next_id += 1
        self.files[self.next_id] = data
        artifact = {"id": self.next_id, "name": name, "size_in_bytes": len(data), "expired": False}
        self.artifacts.setdefault(run_id, []).append({**artifact, **more})

    def after(self, tip: str, sha: str) -> bool:
        """Whether `tip` is `sha` or has it among its ancestors."""
        return tip == sha or any(self.after(parent, sha) for parent in self.commits.get(tip, ()))

    def body_of(self, number: int, author: str = BOT) -> list[str]:
        return [c["body"] for c in self.comments.get(number, []) if c["user"]["login"] == author]


def zipped(members: dict[str, str | bytes]) -> bytes:
    """A zip file with these members, in this order."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


@contextmanager
def serving() -> Iterator[Callable[[], FakeGitHub]]:
    """Two servers on loopback that end with the block; each call puts an empty GitHub behind them."""
    handlers = [type(each.__name__, (each,), {}) for each in (_Api, _Storage)]
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in handlers]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.daemon_threads = True
        thread.start()

    def anew() -> FakeGitHub:
        state = FakeGitHub()
        state.url = f"http://127.0.0.1:{servers[0].server_port}"
        # Another host name, so that what must not travel between hosts can be seen not to.
        state.storage = f"http://localhost:{servers[1].server_port}"
        for handler in handlers:
            handler.state = state  # type: ignore[attr-defined]
        return state

    try:
        yield anew
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet at once: as two, each answer waits 40 ms for an acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    state: FakeGitHub

    def log_message(self, *_: Any) -> None:
        pass

    def received(self) -> Request:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        query = dict(parse_qsl(parts.query))
        headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        path = parts.path.removeprefix(self.state.prefix)
        outside = self.state.prefix and path == parts.path
        return Request(self.command, f"/outside{path}" if outside else path, query, body, headers)

    def answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class _Storage(_Handler):
    """Where artifacts are redirected to: signed URLs, no authorization."""

    def do_GET(self) -> None:
        request = self.received()
        self.state.storage_log.append(request)
        self.answer(200, self.state.files[int(request.path.rpartition("/")[2])])

    def do_PUT(self) -> None:
        """/upload/RUN/NAME: what stands for upload-artifact; the body is report.json."""
        _, _, run, name = self.path.split("/")
        text = self.rfile.read(int(self.headers["Content-Length"]))
        self.state.add_artifact(int(run), zipped({"report.json": text}), unquote(name))
        self.answer(201, {})


Reply = tuple[int, Any, dict[str, str]]


class _Api(_Handler):
    def do_GET(self) -> None:
        self.handle_request()

    do_POST = do_PATCH = do_GET

    def handle_request(self) -> None:
        request = self.received()
        self.state.log.append(request)
        self.state.violations += contract.problems_of_request(
            request.verb, request.path, request.query, request.body
        )
        fault = self.fault_for(request)
        if fault is None or fault.kind in ("after", "lost"):
            self.state.before(request)
            status, body, headers = self.reply(request)
            full, invented = contract.completed(request.verb, request.path, status, body)
            problems = contract.problems_of_answer(request.verb, request.path, status, full)
            where = f"{request.verb} {request.path}"
            self.state.violations += problems + [f"{where}: we invent {name}" for name in invented]
            reply = status, full, headers
        if fault is not None and fault.kind == "lost":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.answer(*(reply if fault is None else _faulty(fault)))

    def fault_for(self, request: Request) -> Fault | None:
        for fault in self.state.faults:
            if fault.times and fault.verb in ("", request.verb) and re.search(fault.path, request.path):
                fault.times -= 1
                return fault
        return None

    def reply(self, request: Request) -> Reply:
        token = request.headers.get("authorization", "").rpartition(" ")[2]
        if token not in self.state.tokens:
            return 401, {"message": "Bad credentials"}, {}
        for verb, pattern, permissions, handler in ROUTES:
            found = re.fullmatch(pattern, request.path)
            if verb == request.verb and found:
                if not _allowed(self.state.tokens[token], permissions, verb):
                    return 403, {"message": "Resource not accessible by integration"}, {}
                return handler(self.state, request, *map(unquote, found.groups()))
        return 404, {"message": "Not Found"}, {}


def _allowed(given: dict[str, str], permissions: str, verb: str) -> bool:
    """permissions: any of them is enough, "" for what every token may read (metadata)."""
    wanted = {"write"} if verb != "GET" else {"read", "write"}
    return not permissions or any(given.get(each, "none") in wanted for each in permissions.split())


def _faulty(fault: Fault) -> Reply:
    if fault.kind in ("before", "after"):
        return 502, {"message": "Server Error"}, {}
    if fault.kind == "unavailable":
        return 503, {"message": "Service unavailable"}, {}
    if fault.kind == "too-many":
        return 429, {"message": "Too many requests"}, {}
    if fault.kind in ("secondary", "unnamed"):
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        return (
            403,
            {"message": message},
            {"Retry-After": str(fault.wait)} if fault.kind == "secondary" else {},
        )
    if fault.kind == "primary":
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + fault.wait)}
        return 403, {"message": "API rate limit exceeded for installation."}, headers
    return 404, {"message": "Not Found"}, {}


def _page(state: FakeGitHub, request: Request, items: list[Any], key: str = "") -> Reply:
    """One page with GitHub's Link header; per_page is at most 100, 30 where none is asked for."""
    size = min(int(request.query.get("per_page", 30)), 100)
    number = int(request.query.get("page", 1))
    shown = items[(number - 1) * size : number * size]
    links = {}
    if number * size < len(items):
        links["Link"] = (
            f'<{state.url}{state.prefix}{request.path}?per_page={size}&page={number + 1}>; rel="next"'
        )
    return 200, {key: shown, "total_count": len(items)} if key else shown, links


def _list_comments(state: FakeGitHub, request: Request, number: str) -> Reply:
    return _page(state, request, state.comments.get(int(number), []))


def _create_comment(state: FakeGitHub, request: Request, number: str) -> Reply:
    if not isinstance((request.body or {}).get("body"), str):
        return 422, {"message": "Invalid request. body wasn't supplied."}, {}
    if len(request.body["body"]) > LONGEST_BODY:
        return 422, {"message": "Validation Failed: body is too long (maximum is 65536 characters)"}, {}
    return 201, state.add_comment(int(number), request.body["body"]), {}


def _edit_comment(state: FakeGitHub, request: Request, identity: str) -> Reply:
    for comments in state.comments.values():
        for comment in comments:
            if comment["id"] == int(identity):
                if len(request.body["body"]) > LONGEST_BODY:
                    return 422, {"message": "Validation Failed: body is too long"}, {}
                comment["body"] = request.body["body"]
                return 200, comment, {}
    return 404, {"message": "Not Found"}, {}


def _list_pulls(state: FakeGitHub, request: Request) -> Reply:
    """As GitHub: filtered by owner and branch name, never by commit."""
    owner, _, branch = request.query.get("head", "").partition(":")
    found = [
        pull
        for pull in state.pulls
        if pull["state"] == request.query.get("state", "open")
        and (pull["head"]["repo"] or {"owner": {"login": ""}})["owner"]["login"] == owner
        and pull["head"]["ref"] == branch
    ]
    return _page(state, request, found)


def _create_pull(state: FakeGitHub, request: Request) -> Reply:
    number = 100 + len(state.pulls)
    asked = request.body
    state.add_pull(number, owner="acme", repo_id=1, branch=asked["head"], sha="0" * 40, base=asked["base"])
    state.pulls[-1] |= {"title": asked["title"], "body": asked["body"]}
    return 201, state.pulls[-1], {}


def _one_pull(state: FakeGitHub, request: Request, number: str) -> Reply:
    return _one(pull for pull in state.pulls if pull["number"] == int(number))


def _changed_files(state: FakeGitHub, request: Request, number: str) -> Reply:
    """What the trial merge has that its first parent has not; nothing where there is none."""
    pull = next((pull for pull in state.pulls if pull["number"] == int(number)), None)
    if pull is None:
        return 404, {"message": "Not Found"}, {}
    merge = pull.get("merge_commit_sha")
    mine = state.trees.get(merge, {})
    base = state.trees.get(next(iter(state.commits.get(merge, ())), ""), {})
    changed = sorted(path for path in mine.keys() | base.keys() if mine.get(path) != base.get(path))
    listed = [
        {
            "filename": path,
            "status": "modified" if path in mine and path in base else "added" if path in mine else "removed",
        }
        for path in changed
    ]
    return _page(state, request, listed)


def _one(items: Iterable[dict[str, Any]]) -> Reply:
    found = next(iter(items), None)
    return (200, found, {}) if found else (404, {"message": "Not Found"}, {})


def _list_events(state: FakeGitHub, request: Request, number: str) -> Reply:
    return _page(state, request, state.events.get(int(number), []))


def _permission(state: FakeGitHub, request: Request, login: str) -> Reply:
    """As GitHub: the old four words, where maintainers write and who may triage reads."""
    role = state.members.get(login)
    if role is None:
        return 404, {"message": f"{login} is not a user"}, {}
    word = {"maintain": "write", "triage": "read"}.get(role, role)
    return 200, {"permission": word, "role_name": role, "user": {"login": login}}, {}


def _commit(state: FakeGitHub, request: Request, sha: str) -> Reply:
    if sha not in state.commits:
        return 404, {"message": "Not Found"}, {}
    return 200, {"sha": sha, "parents": [{"sha": parent} for parent in state.commits[sha]]}, {}


def _ref(state: FakeGitHub, request: Request, ref: str) -> Reply:
    name = ref.removeprefix("heads/")
    if not ref.startswith("heads/") or name not in state.branches:
        return 404, {"message": "Not Found"}, {}
    return 200, {"ref": f"refs/{ref}", "object": {"type": "commit", "sha": state.branches[name]}}, {}


def _compare(state: FakeGitHub, request: Request, basehead: str) -> Reply:
    base, _, head = basehead.partition("...")
    if base not in state.commits or head not in state.commits:
        return 404, {"message": "Not Found"}, {}
    ahead, behind = state.after(head, base), state.after(base, head)
    status = "identical" if base == head else "ahead" if ahead else "behind" if behind else "diverged"
    return 200, {"status": status}, {}


def _contents(state: FakeGitHub, request: Request, path: str) -> Reply:
    tree = state.trees.get(request.query["ref"], {})
    if path not in tree:
        inside = sorted(name for name in tree if name.startswith(f"{path}/"))
        listed = [
            {"type": "file", "name": name.rpartition("/")[2], "path": name, "size": 1} for name in inside
        ]
        return (200, listed, {}) if inside else (404, {"message": "Not Found"}, {})
    data = tree[path]
    inline = len(data) <= LARGEST_INLINE
    found = {
        "type": "file",
        "path": path,
        "name": path.rpartition("/")[2],
        "sha": _digest(data),
        "size": len(data),
        "encoding": "base64" if inline else "none",
        "content": base64.encodebytes(data).decode() if inline else "",
    }
    return 200, found, {}


def _blob(state: FakeGitHub, request: Request, sha: str) -> Reply:
    contents = (data for tree in state.trees.values() for data in tree.values() if _digest(data) == sha)
    found = (
        {"sha": sha, "size": len(d), "encoding": "base64", "content": base64.encodebytes(d).decode()}
        for d in contents
    )
    return _one(found)


def _digest(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _list_runs(state: FakeGitHub, request: Request, workflow: str) -> Reply:
    path = f".github/workflows/{workflow}"
    sha = request.query.get("head_sha")
    found = [run for run in state.runs if run["path"] == path and run["head_sha"] == sha]
    return _page(state, request, found, "workflow_runs")


def _one_run(state: FakeGitHub, request: Request, run: str) -> Reply:
    return _one(each for each in state.runs if each["id"] == int(run))


def _list_jobs(state: FakeGitHub, request: Request, run: str) -> Reply:
    return _page(state, request, state.jobs.get(int(run), []), "jobs")


def _pulls_of_commit(state: FakeGitHub, request: Request, sha: str) -> Reply:
    """As GitHub: what was merged by this commit; heads of forks are not found by it."""
    return _page(state, request, [pull for pull in state.pulls if pull.get("merge_commit_sha") == sha])


def _dispatch(state: FakeGitHub, request: Request, workflow: str) -> Reply:
    state.dispatched.append((workflow, request.body["ref"]))
    return 204, None, {}


def _list_artifacts(state: FakeGitHub, request: Request, run: str) -> Reply:
    return _page(state, request, state.artifacts.get(int(run), []), "artifacts")


def _download(state: FakeGitHub, request: Request, identity: str) -> Reply:
    return 302, None, {"Location": f"{state.storage}/signed/{identity}?sig=secret-signature"}


def _list_labels(state: FakeGitHub, request: Request, number: str) -> Reply:
    return _page(state, request, state.labels.get(int(number), []))


_REPO = "/repos/acme/shop"
_ISSUE = "issues pull-requests"  # a pull request is an issue; either permission is enough
Handler = Callable[..., Reply]
ROUTES: list[tuple[str, str, str, Handler]] = [
    ("GET", rf"{_REPO}/issues/(\d+)/comments", _ISSUE, _list_comments),
    ("POST", rf"{_REPO}/issues/(\d+)/comments", _ISSUE, _create_comment),
    ("PATCH", rf"{_REPO}/issues/comments/(\d+)", _ISSUE, _edit_comment),
    ("GET", rf"{_REPO}/issues/(\d+)/labels", _ISSUE, _list_labels),
    ("GET", rf"{_REPO}/issues/(\d+)/events", _ISSUE, _list_events),
    ("GET", rf"{_REPO}/pulls", "pull-requests", _list_pulls),
    ("POST", rf"{_REPO}/pulls", "pull-requests", _create_pull),
    ("GET", rf"{_REPO}/pulls/(\d+)", "pull-requests", _one_pull),
    ("GET", rf"{_REPO}/pulls/(\d+)/files", "pull-requests", _changed_files),
    ("GET", rf"{_REPO}/collaborators/([^/]+)/permission", "", _permission),
    ("GET", rf"{_REPO}/git/commits/([^/]+)", "contents", _commit),
    ("GET", rf"{_REPO}/git/ref/(.+)", "contents", _ref),
    ("GET", rf"{_REPO}/git/blobs/([^/]+)", "contents", _blob),
    ("GET", rf"{_REPO}/compare/([^/]+)", "contents", _compare),
    ("GET", rf"{_REPO}/contents/(.+)", "contents", _contents),
    ("GET", rf"{_REPO}/commits/([^/]+)/pulls", "pull-requests", _pulls_of_commit),
    ("GET", rf"{_REPO}/actions/workflows/([\w.-]+)/runs", "actions", _list_runs),
    ("POST", rf"{_REPO}/actions/workflows/([\w.-]+)/dispatches", "actions", _dispatch),
    ("GET", rf"{_REPO}/actions/runs/(\d+)", "actions", _one_run),
    ("GET", rf"{_REPO}/actions/runs/(\d+)/jobs", "actions", _list_jobs),
    ("GET", rf"{_REPO}/actions/runs/(\d+)/artifacts", "actions", _list_artifacts),
    ("GET", rf"{_REPO}/actions/artifacts/(\d+)/zip", "actions", _download),
]
