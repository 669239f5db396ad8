"""The endpoints suite: named requests, sent one after the other over one connection, each timed.

One pycurl handle per side. The time is perf_counter around the transfer: libcurl's own TOTAL_TIME
comes in whole microseconds, a step of 4 % at 25 us, and spares only a constant 2 us.
"""

from __future__ import annotations

import json
import random
import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pycurl

from gate import config as configuration
from gate.errors import ConfigError, MeasurementError
from gate.model import Case, Side
from gate.redact import redact
from gate.suites.requests import (
    Lookup,
    Rendered,
    Requests,
    Resolved,
    Variant,
    cases,
    check,
    gaps,
    login_request,
    lookups,
    variants,
)
from gate.suites.worker import Mode, Visit, WorkerDied, hidden, shown

__all__ = ["EndpointWorker", "Lookup", "Resolved", "cases", "check", "gaps", "lookups", "open_endpoints"]

T = TypeVar("T")
Headers = tuple[tuple[str, str], ...]

# A fixed Host, since answers hold absolute URLs whose length would change with the port; this name is
# the one that frameworks' allowed-hosts settings let through. Sizes are those of the uncompressed body.
_HEADERS = (
    ("Host", "localhost"),
    ("User-Agent", "perf-gate"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "identity"),
)
_SHOWN = 200  # characters of an answer in a failure
_PATIENCE = 3  # failures after which a request without an answer ends the visit: each may cost a timeout


def open_endpoints(
    side: Side,
    config: configuration.Endpoints,
    *,
    cases: Iterable[Case],
    resolved: Resolved,
    seed: int,
    mode: Mode = "count",
) -> EndpointWorker:
    """Logs in where the configuration says so and gives the worker of one served side.

    cases: those to measure, in the order wanted; a case may come again. seed: in timing mode, where
    the lists of reading cases begin; both sides of a pair share it. Counts do not depend on it.
    Raises ConfigError where the seeded data cannot fill a request, MeasurementError where the login
    fails or nothing listens.
    """
    if problems := gaps(config, resolved):
        raise ConfigError(
            "the seeded data cannot fill the requests",
            hint="change the statement or the anchor, or give the table more rows",
            problems=problems,
        )
    worker = EndpointWorker(side, config, cases=cases, resolved=resolved, seed=seed, mode=mode)
    try:
        worker.login(resolved)
    except BaseException:
        worker.close()
        raise
    return worker


class EndpointWorker:
    """Walks the cases; a visit sends requests of the current case one after the other.

    A reading case starts its lists at each `next`, and warming it does not move it: in count mode the
    first counted visit sends one fixed list. A writing case goes on where this worker left it, since
    a value may be good for one write only; a fresh worker starts over.
    """

    def __init__(
        self,
        side: Side,
        config: configuration.Endpoints,
        *,
        cases: Iterable[Case],
        resolved: Resolved,
        seed: int,
        mode: Mode,
    ) -> None:
        known = {variant.case: Requests(variant, config, resolved) for variant in variants(config)}
        self._config = config
        self._mode = mode
        self._seed = seed
        self._todo = iter([known[case] for case in cases])
        self._requests: Requests | None = None
        self._positions: dict[Case, int] = {}
        self._looked: set[Case] = set()
        self._looks = False  # at headers
        self._headers: list[Headers] = []
        self._silent: dict[str, str] = {}  # endpoints that gave no answer, with the reason
        self._client = Client(side.base_url, timeout=config.timeout)
        self._hidden = hidden(side)

    def login(self, resolved: Resolved) -> None:
        """Sends the login, if one is configured, and keeps what authorises every later request."""
        if (login := self._config.login) is None:
            return
        client = self._client
        client.begin(login.method, headers=True)
        status, _, failure = _interruptible(lambda: client.send(login_request(login, resolved)))
        if failure or status != login.expect:
            failure = failure or _unexpected(status, login.expect, client.body, self._hidden)
            raise _login_failed(redact(failure, self._hidden))
        client.authorise(*_credential(login, client))

    @property
    def body(self) -> bytes:
        """The last answer."""
        return self._client.body

    @property
    def headers(self) -> tuple[Headers, ...]:
        """Of each successful answer of the last visit; none of a case that is visited again, to be timed."""
        return tuple(self._headers)

    def next(self) -> Case | None:
        self._requests = next(self._todo, None)
        if self._requests is None:
            return None
        variant = self._requests.variant
        if not variant.request.writes or variant.case not in self._positions:
            self._positions[variant.case] = self._start(variant)
        # To keep headers costs time, and a writer is timed by the worker that counted it.
        self._looks = self._mode == "count" and variant.case not in self._looked
        self._looked.add(variant.case)
        self._client.begin(variant.request.method, headers=self._looks)
        return variant.case

    def distinct(self, count: int) -> int:
        """How many of the first `count` requests of the case differ from all before them."""
        return self._current.distinct(count)

    def visit(self, rounds: int, *, warmup: bool = False, repeat: bool = False) -> Visit:
        """Sends `rounds` requests; to warm a reading case up, at least one of each that will be measured.

        repeat: the next request again and again, which stays the next one.
        A writing case is warmed by `rounds` alone: what it was to write first, it can write only once.
        After three requests without an answer nothing is sent to this endpoint any more, for each would
        cost a timeout: a later visit repeats the failure. Raises WorkerDied where nothing listens any
        more, or where a second endpoint gives no answer.
        """
        if reason := self._silent.get(self._current.variant.case.name):
            return Visit(failures=(reason,))
        reads, config = not self._current.variant.request.writes, self._config
        if warmup and reads:
            rounds = max(rounds, self._current.distinct(max(config.requests, config.rounds)))
        first = self._positions[self._current.variant.case]
        if repeat:
            again = [self._current.render(first)] * rounds
            return _interruptible(lambda: self._measure(again))
        if not (warmup and reads):
            self._positions[self._current.variant.case] = first + rounds
        # Written out before the first is sent: nothing but the transfer happens between two answers.
        requests = [self._current.render(index) for index in range(first, first + rounds)]
        return _interruptible(lambda: self._measure(requests))

    def close(self) -> None:
        self._client.close()

    @property
    def _current(self) -> Requests:
        if self._requests is None:
            message = "next() gives the case first"
            raise RuntimeError(message)
        return self._requests

    def _start(self, variant: Variant) -> int:
        """Where the lists begin: at the top for counts, for times at a place that the seed decides."""
        if self._mode == "count" or variant.request.writes:
            return 0
        return random.Random(f"{self._seed} {variant.case}").randrange(1000)  # noqa: S311

    def _measure(self, requests: list[Rendered]) -> Visit:
        request = self._current.variant.request
        masks = [(re.compile(mask.pattern.encode()), mask.replace.encode()) for mask in request.mask]
        values: list[float] = []
        sizes: list[int] = []
        failures: list[str] = []
        self._headers = []
        for rendered in requests:
            status, seconds, failure = self._client.send(rendered)
            failure = failure or self._fault(request, status)
            if failure:
                failures.append(redact(failure, self._hidden))
                if status == 0 and self._lost(failures):
                    break
            else:
                values.append(seconds)
                sizes.append(_masked_size(self._client.body, masks))
                if self._looks:
                    self._headers.append(self._client.headers)
        return Visit(values=tuple(values), sizes=tuple(sizes), failures=tuple(failures))

    def _fault(self, request: configuration.Request, status: int) -> str:
        """What is wrong with an answer; empty where it is as expected."""
        if status != request.expect:
            return _unexpected(status, request.expect, self._client.body, self._hidden)
        return _misshapen(self._client.body, request.shape, self._hidden) if request.shape else ""

    def _lost(self, failures: list[str]) -> bool:
        """After a request without an answer: whether to give this endpoint up. Raises WorkerDied."""
        case = self._current.variant.case
        if not self._client.reachable():
            raise WorkerDied(case, failures[-1])
        if len(failures) < _PATIENCE:
            return False
        if self._silent:
            raise WorkerDied(case, f"{failures[-1]}, nor at {', '.join(self._silent)} before")
        self._silent[case.name] = failures[-1]
        return True


def _login_failed(text: str) -> MeasurementError:
    return MeasurementError(
        f"the login failed: {text}",
        where="suites.endpoints.login",
        hint="check path, form or json, and expect of [suites.endpoints.login] against the seeded data",
    )


def _credential(login: configuration.Login, client: Client) -> tuple[str, str]:
    """The header that authorises: the token of the answer, else its cookies as they were set."""
    if login.token is None:
        if not client.cookies:
            raise _login_failed("the answer set no cookie")
        return "Cookie", "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    try:
        token = _at(json.loads(client.body), login.token)
    except (ValueError, LookupError) as error:
        raise _login_failed(f"the answer has no {login.token!r}, where the token should be") from error
    return login.header, f"{login.prefix}{token}"


def _unexpected(status: int, expect: int, body: bytes, secrets: Sequence[str]) -> str:
    return f"status {status} instead of {expect}: {_shown(body, secrets)}"


def _shown(body: bytes, secrets: Sequence[str]) -> str:
    """The beginning of an answer on one line, without secrets."""
    return shown(body.decode(errors="replace"), secrets, limit=_SHOWN) or "empty body"


def _misshapen(body: bytes, shape: tuple[str, ...], secrets: Sequence[str]) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return f"the answer is not JSON: {_shown(body, secrets)}"
    missing = [path for path in shape if not _present(answer, path)]
    return f"the answer has no {', '.join(missing)}: {_shown(body, secrets)}" if missing else ""


def _present(answer: Any, path: str) -> bool:
    try:
        _at(answer, path)
    except LookupError:
        return False
    return True


def _at(value: Any, path: str) -> Any:
    """The value at a dotted path; a number is a place in a list. Raises LookupError where there is none."""
    for key in path.split("."):
        if isinstance(value, list) and key.isdecimal():
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value[key]
        else:
            raise LookupError(path)
    return value


def _masked_size(body: bytes, masks: list[tuple[re.Pattern[bytes], bytes]]) -> int:
    for pattern, replacement in masks:
        body = pattern.sub(replacement, body)
    return len(body)


def _interruptible(work: Callable[[], T]) -> T:
    """Runs `work` in a thread: libcurl would keep the main one, and with it Ctrl-C, until the answer comes.

    A new thread each time takes over the affinity that its parent has now. On an interrupt it is left
    behind; the server's end, which follows, ends its transfer too.
    """
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        return thread.submit(work).result()
    finally:
        thread.shutdown(wait=False)


class Client:
    """One keep-alive connection to one server; the last answer's `body`, and its `headers` if asked for."""

    def __init__(self, base_url: str, *, timeout: float) -> None:
        self._base = base_url.rstrip("/")
        self._timeout = timeout
        self._authorisation: tuple[str, str] | None = None
        self._chunks: list[bytes] = []
        self._sent: Rendered | None = None
        self._lines: list[bytes] = []
        self._curl = pycurl.Curl()

    @property
    def body(self) -> bytes:
        return b"".join(self._chunks)

    @property
    def headers(self) -> Headers:
        """Names in lower case and values, in the order sent; a name may come again."""
        fields = (line.decode("latin-1").partition(":") for line in self._lines)
        return tuple((name.strip().lower(), value.strip()) for name, colon, value in fields if colon)

    @property
    def cookies(self) -> dict[str, str]:
        """What the last answer set."""
        set_ = (value.split(";", 1)[0].strip() for name, value in self.headers if name == "set-cookie")
        pairs = (cookie.partition("=") for cookie in set_)
        return {name: content for name, _, content in pairs if content}

    def authorise(self, header: str, value: str) -> None:
        """Sends this header with every later request."""
        self._authorisation = (header, value)

    def begin(self, method: str, *, headers: bool = False) -> None:
        """Prepares for requests of one method. A reset of the handle keeps the connection.

        headers: keep those of the last answer, which costs time.
        """
        curl = self._curl
        curl.reset()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROXY, "")  # of the environment: it would measure the proxy
        curl.setopt(pycurl.TCP_NODELAY, 1)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.BUFFERSIZE, 256 * 1024)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(self._timeout * 1000)))
        curl.setopt(pycurl.WRITEFUNCTION, self._chunks.append)
        if headers:
            curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        if method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif method != "GET":
            curl.setopt(pycurl.POSTFIELDS, b"")
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        self._sent = None

    def send(self, request: Rendered) -> tuple[int, float, str]:
        """(status, seconds, failure) of one request; status 0 where no answer came in time."""
        self._prepare(request)
        self._chunks.clear()
        self._lines.clear()
        perform, clock = self._curl.perform, time.perf_counter
        started = clock()
        try:
            perform()
        except pycurl.error as error:
            self._sent = None
            return 0, clock() - started, self._lost(*error.args)
        seconds = clock() - started
        return self._curl.getinfo(pycurl.RESPONSE_CODE), seconds, ""

    def reachable(self) -> bool:
        """Whether anything still accepts connections there."""
        parts = urlsplit(self._base)
        try:
            socket.create_connection((parts.hostname or "", parts.port or 80), timeout=5).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        try:
            self._curl.close()
        except pycurl.error:
            # A transfer left behind by an interrupt still runs in its thread; it ends with the server.
            return

    def _prepare(self, request: Rendered) -> None:
        """Sets only what differs from the request before; most cases repeat all but the path."""
        curl, sent = self._curl, self._sent
        if sent is None or request.target != sent.target:
            curl.setopt(pycurl.URL, self._base + request.target)
        if sent is None or request.headers != sent.headers:
            curl.setopt(pycurl.HTTPHEADER, self._fields(request))
        if request.body is not None and (sent is None or request.body != sent.body):
            curl.setopt(pycurl.POSTFIELDS, request.body)
        self._sent = request

    def _fields(self, request: Rendered) -> list[str]:
        own = (self._authorisation,) if self._authorisation else ()
        fields = {name.lower(): (name, value) for name, value in (*_HEADERS, *own, *request.headers)}
        # "Name;" is how libcurl sends an empty header, "Name:" how it drops one that it would add.
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in fields.values()]
        lines += [] if "expect" in fields else ["Expect:"]
        lines += [] if "content-type" in fields else ["Content-Type:"]
        return lines

    def _lost(self, code: int, text: str) -> str:
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return f"no answer within {self._timeout:g} s"
        return f"the connection was lost: {text or f'libcurl error {code}'}"
