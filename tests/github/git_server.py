"""GitHub's git on loopback: a repository served by `git http-backend`, with GitHub's answers to tokens.

Whoever reads needs a token that may read contents, whoever pushes one that may write them; no token is 401,
one without the right 403, two Authorization headers 400. What a branch's protection refuses, a `pre-receive`
hook does, in GitHub's words.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAME = "acme/shop"
PROTECT = """while read old new ref; do
  if [ "$ref" = refs/heads/main ]; then
    echo "error: GH006: Protected branch update failed for refs/heads/main." >&2
    exit 1
  fi
done"""
Rights = Mapping[str, Mapping[str, str]]  # by token, as FakeGitHub.tokens


@dataclass
class GitServer:
    """One bare repository. log: service and answer of each request, "git-receive-pack 200"."""

    root: Path
    rights: Callable[[], Rights]
    url: str = ""
    log: list[str] = field(default_factory=list)

    @property
    def bare(self) -> Path:
        return self.root / f"{NAME}.git"

    @property
    def remote(self) -> str:
        return f"{self.url}/{NAME}.git"

    def git(self, *arguments: str) -> str:
        return git(self.bare, *arguments)

    def refuse(self, script: str = PROTECT) -> None:
        """What the server does before it takes a push."""
        hook = self.bare / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)

    def clone(self, place: Path) -> Path:
        """Somebody's clone, made and pushed by the file system, which asks for no token."""
        git(place.parent, "clone", "--quiet", str(self.bare), str(place))
        return place


ENVIRON = {
    **{name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    **{f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(where: Path, *arguments: str) -> str:
    """git's answer, by nobody's configuration."""
    done = subprocess.run(
        ["git", "-C", str(where), *arguments], capture_output=True, text=True, check=True, env=ENVIRON
    )
    return done.stdout.strip()


@contextmanager
def serving(root: Path, rights: Callable[[], Rights]) -> Iterator[GitServer]:
    """A server with an empty repository, that ends with the block."""
    state = GitServer(root=root, rights=rights)
    state.bare.parent.mkdir(parents=True)
    git(root, "init", "--quiet", "--bare", "-b", "main", str(state.bare))
    git(state.bare, "config", "receive.autogc", "false")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, or each answer waits for an acknowledgement
    disable_nagle_algorithm = True
    state: GitServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = parse_qs(parts.query).get("service", [parts.path.rpartition("/")[2]])[0]
        body = self._body()
        status = self._refused(asked)
        if status:
            headers = {"WWW-Authenticate": 'Basic realm="GitHub"'} if status == 401 else {}
            answer: tuple[int, Mapping[str, str], bytes] = (status, headers, b"")
        else:
            answer = self._served(parts.path, parts.query, body)
        status, headers, content = answer
        self.state.log.append(f"{asked} {status}")
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _refused(self, service: str) -> int:
        """GitHub's status for this token and service; 0 where it may."""
        given = self.headers.get_all("Authorization") or []
        if len(given) > 1:
            return 400
        kind, _, encoded = (given or [""])[0].partition(" ")
        try:
            token = base64.b64decode(encoded).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            token = ""
        rights = self.state.rights().get(token)
        if kind.lower() != "basic" or rights is None:
            return 401
        wanted = {"write"} if service == "git-receive-pack" else {"read", "write"}
        return 0 if rights.get("contents", "none") in wanted else 403

    def _served(self, path: str, query: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env={
                **ENVIRON,
                "GIT_PROJECT_ROOT": str(self.state.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REMOTE_USER": "x-access-token",  # without one it takes no push
                "REMOTE_ADDR": "127.0.0.1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            },
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = (line.partition(": ") for line in head.decode().splitlines())
        headers = {name: value for name, _, value in lines}
        return int(headers.pop("Status", "200 OK").split()[0]), headers, content
