"""The worker against a real HTTP server in this process, which keeps every request it was sent."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gate.config import Endpoints
from gate.errors import ConfigError, MeasurementError
from gate.model import Side
from gate.suites.endpoints import EndpointWorker, Resolved, open_endpoints
from gate.suites.requests import cases
from gate.suites.worker import WorkerDied

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Seen:
    """One request as the application saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Application:
    """answer: path without query -> what to answer; connections: how many were opened."""

    answer: dict[str, Callable[[Seen], Answer]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    stop: Callable[[], None] = lambda: None

    def paths(self) -> list[str]:
        return [request.path for request in self.seen]


def reply(status: int = 200, body: object = None, **headers: str) -> Callable[[Seen], Answer]:
    content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    return lambda _: (status, headers, content)


def _handler(application: Application) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            application.connections += 1

        def respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            seen = Seen(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
            application.seen.append(seen)
            answer = application.answer.get(self.path.split("?")[0], reply(404, b"no such page"))
            status, headers, body = answer(seen)
            if status == 0:  # hang up without an answer
                self.close_connection = True
                return
            content = (
                f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\n"
                + "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
                + "\r\n"
            ).encode()
            self.wfile.write(content + (b"" if self.command == "HEAD" else body))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = respond

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def application() -> Iterator[Application]:
    found = Application()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def stop() -> None:
        if thread.is_alive():
            server.shutdown()
            server.server_close()
            thread.join(5)

    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    found.stop = stop
    yield found
    stop()


@pytest.fixture
def side(application: Application, tmp_path: Path) -> Side:
    return Side(
        name="head",
        ref="",
        worktree=str(tmp_path),
        directory=str(tmp_path),
        interpreter="",
        env={},
        postgres_url="",
        redis_url="",
        base_url=application.url,
    )


def slowly(seconds: float) -> Callable[[Seen], Answer]:
    def answer(_: Seen) -> Answer:
        time.sleep(seconds)
        return 200, {}, b"{}"

    return answer


NOTHING = Resolved()


def opened(side: Side, *requests: dict, mode="count", seed=0, resolved=NOTHING, **suite) -> EndpointWorker:
    config = Endpoints.model_validate({"request": list(requests), **suite})
    order = [planned.case for planned in cases(config)]
    return open_endpoints(side, config, cases=order, resolved=resolved, seed=seed, mode=mode)


SONG = {"name": "song", "path": "/song/{id}", "params": {"id": [1, 2, 3]}}


def songs(application: Application) -> None:
    for number in (1, 2, 3):
        application.answer[f"/song/{number}"] = reply(200, {"id": number})


def test_a_visit_gives_a_time_and_a_size_for_each_request(side, application):
    """Every success has its seconds and its bytes, in order."""
    songs(application)
    worker = opened(side, SONG)
    assert str(worker.next()) == "endpoints/song"
    visit = worker.visit(5)
    assert len(visit.values) == 5
    assert all(0 < value < 1 for value in visit.values)
    assert visit.sizes == (len(b'{"id": 1}'),) * 5
    assert visit.failures == ()
    assert worker.next() is None
    worker.close()
    worker.close()


def test_one_connection_serves_all_cases(side, application):
    """The connection is kept between requests, visits and cases."""
    songs(application)
    worker = opened(side, SONG, {"name": "w", "method": "POST", "path": "/song/1", "writes": True})
    while worker.next():
        worker.visit(3, warmup=True)
        worker.visit(3)
    worker.close()
    assert application.connections == 1


def test_the_counted_list_is_fixed_and_warm(side, application):
    """Warming up touches every value that is counted and leaves the list at its start."""
    songs(application)
    worker = opened(side, SONG, requests=3, rounds=0)
    worker.next()
    worker.visit(1, warmup=True)
    assert application.paths() == ["/song/1", "/song/2", "/song/3"]
    worker.visit(4, warmup=True)
    application.seen.clear()
    worker.visit(2)
    assert application.paths() == ["/song/1", "/song/2"]
    worker.close()


def test_a_reader_that_comes_again_starts_its_lists_again(side, application):
    """Timing the same case after counting it sends the requests that are warm."""
    songs(application)
    config = Endpoints.model_validate({"request": [SONG]})
    case = cases(config)[0].case
    worker = open_endpoints(side, config, cases=[case, case], resolved=Resolved(), seed=1)
    for _ in range(2):
        worker.next()
        worker.visit(1)
        worker.visit(1)
    worker.close()
    assert application.paths() == ["/song/1", "/song/2"] * 2


def test_a_writer_never_uses_a_value_twice_before_the_list_ends(side, application):
    """Warm-up, counted and timed requests of a writing case each take fresh values."""
    application.answer["/songs"] = reply(201)
    request = {
        "name": "add",
        "method": "POST",
        "path": "/songs",
        "json": {"name": "{name}", "n": "{n}"},
        "params": {"name": list("abcdefgh")},
        "expect": 201,
        "writes": True,
    }
    config = Endpoints.model_validate({"request": [request]})
    case = cases(config)[0].case
    worker = open_endpoints(side, config, cases=[case, case], resolved=Resolved(), seed=1)
    worker.next()
    worker.visit(2, warmup=True)
    worker.visit(2)
    worker.next()
    worker.visit(2)
    worker.close()
    bodies = [json.loads(seen.body) for seen in application.seen]
    assert [body["name"] for body in bodies] == list("abcdef")
    assert [body["n"] for body in bodies] == [1, 2, 3, 4, 5, 6]


def test_timed_lists_begin_where_the_seed_says(side, application):
    """In timing mode one seed gives one order, another seed may give another, counts always the first."""
    songs(application)
    orders = []
    for seed in (1, 1, 2, 3, 4, 5):
        worker = opened(side, SONG, mode="timing", seed=seed)
        worker.next()
        worker.visit(3)
        worker.close()
        orders.append(tuple(application.paths()))
        application.seen.clear()
    assert orders[0] == orders[1]
    assert len(set(orders)) > 1


def test_an_unexpected_status_is_a_failure_without_a_time(side, application):
    """A 500 is never a fast result: its status and the start of its body are kept, its time is not."""
    answers = iter([200, 500, 200])
    application.answer["/x"] = lambda _: (next(answers), {}, b"boom\n" + b"y" * 500)
    worker = opened(side, {"name": "x", "path": "/x"})
    worker.next()
    visit = worker.visit(3)
    worker.close()
    assert len(visit.values) == len(visit.sizes) == 2
    (failure,) = visit.failures
    assert failure.startswith("status 500 instead of 200: boom y")
    assert len(failure.split(": ", 1)[1]) == 200


def test_a_failure_does_not_tell_secrets(side, application):
    """An error page that prints its settings does not carry them into a report."""
    page = b"cannot reach postgresql://app:pgsecret@127.0.0.1/x with key envsecret"
    application.answer["/x"] = reply(500, page)
    told = dataclasses.replace(
        side, env={"APP_SECRET": "envsecret"}, postgres_url="postgresql://app:pgsecret@h/x"
    )
    worker = opened(told, {"name": "x", "path": "/x"})
    worker.next()
    (failure,) = worker.visit(1).failures
    worker.close()
    assert failure == "status 500 instead of 200: cannot reach postgresql://***@127.0.0.1/x with key ***"


@pytest.mark.parametrize("before", [180, 64 * 1024 - 8])
def test_a_secret_at_the_cut_does_not_show_its_beginning(side, application, before):
    """Wherever an answer is cut, it is cut after its secrets are hidden; blanks do not bring one nearer."""
    filler = b"x" * before if before < 200 else b" " * before
    application.answer["/x"] = reply(500, filler + b" key envsecret-that-is-rather-long" + b"y" * 9000)
    worker = opened(
        dataclasses.replace(side, env={"APP_SECRET": "envsecret-that-is-rather-long"}),
        {"name": "x", "path": "/x"},
    )
    worker.next()
    (failure,) = worker.visit(1).failures
    worker.close()
    assert "env" not in failure


def test_a_missing_key_is_a_failure(side, application):
    """The JSON keys asked for must be there, also inside lists; a body that is no JSON fails too."""
    application.answer["/x"] = reply(200, {"items": [{"id": 1}]})
    application.answer["/y"] = reply(200, b"<html>")
    worker = opened(
        side,
        {"name": "good", "path": "/x", "shape": ["items.0.id"]},
        {"name": "bad", "path": "/x", "shape": ["items.1.id", "total"]},
        {"name": "html", "path": "/y", "shape": ["items"]},
    )
    failures = []
    while worker.next():
        failures.append(worker.visit(1).failures)
    worker.close()
    assert failures[0] == ()
    assert failures[1][0].startswith("the answer has no items.1.id, total: ")
    assert failures[2][0].startswith("the answer is not JSON: <html>")


def test_masks_take_varying_bytes_out_of_the_size(side, application):
    """Whatever a mask matches counts as its replacement."""
    numbers = iter(["7", "12345"])
    application.answer["/x"] = lambda _: (200, {}, f"took {next(numbers)} ms".encode())
    worker = opened(side, {"name": "x", "path": "/x", "mask": [{"pattern": r"\d+ ms"}]})
    worker.next()
    assert worker.visit(2).sizes == (len("took #"),) * 2
    worker.close()


def test_a_proxy_of_the_environment_is_not_used(side, application, monkeypatch):
    """Requests go to the application itself, whatever the machine's proxy settings are."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    songs(application)
    worker = opened(side, SONG)
    worker.next()
    assert worker.visit(1).failures == ()
    worker.close()


def test_redirects_are_not_followed(side, application):
    """A redirect is an answer like any other."""
    application.answer["/x"] = reply(302, b"", Location="/elsewhere")
    worker = opened(side, {"name": "x", "path": "/x", "expect": 302})
    worker.next()
    assert worker.visit(1).failures == ()
    worker.close()
    assert application.paths() == ["/x"]


def test_what_is_sent_is_plain_and_the_same_everywhere(side, application):
    """A fixed Host, no compression, no Expect; the file's headers win over ours whatever their case."""
    application.answer["/x"] = reply(200)
    request = {"name": "x", "path": "/x", "headers": {"user-agent": "mine", "X-Empty": ""}}
    worker = opened(side, request, headers={"User-Agent": "suite", "Accept-Language": "de"})
    worker.next()
    worker.visit(1)
    worker.close()
    headers = application.seen[0].headers
    assert headers == {
        "Host": "localhost",
        "user-agent": "mine",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Accept-Language": "de",
        "X-Empty": "",
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_bodies_are_sent_by_every_method_that_has_one(side, application, method):
    """JSON and form bodies arrive with their length and type, a missing one as an empty body."""
    application.answer["/x"] = reply(200)
    worker = opened(
        side,
        {"name": "a", "method": method, "path": "/x", "json": {"big": "x" * 5000}},
        {"name": "b", "method": method, "path": "/x", "form": {"a": "1 2", "b": True}},
        {"name": "c", "method": method, "path": "/x"},
    )
    while worker.next():
        assert worker.visit(2).failures == ()
    worker.close()
    assert {seen.method for seen in application.seen} == {method}
    assert [len(seen.body) for seen in application.seen[:2]] == [5010, 5010]
    assert "Expect" not in application.seen[0].headers
    assert application.seen[2].body == b"a=1+2&b=true"
    assert application.seen[2].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert application.seen[4].body == b""
    assert "Content-Type" not in application.seen[4].headers


def test_a_get_after_a_post_carries_no_body(side, application):
    """What one case needed does not leak into the next."""
    application.answer["/x"] = reply(200)
    worker = opened(
        side,
        {"name": "a", "method": "POST", "path": "/x", "json": {"a": 1}},
        {"name": "b", "path": "/x"},
        {"name": "c", "method": "HEAD", "path": "/x"},
    )
    sizes = []
    while worker.next():
        sizes.append(worker.visit(1).sizes)
    worker.close()
    assert [seen.method for seen in application.seen] == ["POST", "GET", "HEAD"]
    assert application.seen[1].body == b""
    assert sizes == [(2,), (2,), (0,)]


def test_a_token_of_the_login_authorises_every_request(side, application):
    """The login is sent once; its token is found by a dotted path and sent with the prefix."""
    application.answer["/login"] = reply(200, {"data": {"token": "T0"}})
    application.answer["/x"] = reply(200)
    worker = opened(
        side,
        {"name": "x", "path": "/x"},
        login={"path": "/login", "json": {"user": "{anchor.user.name}"}, "token": "data.token"},
        resolved=Resolved(anchors={"user": {"name": "ann"}}),
    )
    worker.next()
    worker.visit(2)
    worker.close()
    assert application.paths() == ["/login", "/x", "/x"]
    assert application.seen[0].body == b'{"user":"ann"}'
    assert [seen.headers["Authorization"] for seen in application.seen[1:]] == ["Bearer T0"] * 2


def test_cookies_of_the_login_stay_as_they_were_set(side, application):
    """Every request carries the login's cookies, also where an answer would replace them."""
    application.answer["/login"] = lambda _: (302, {"Set-Cookie": "session=abc; Path=/; Secure"}, b"")
    application.answer["/x"] = reply(200, None, Set_Cookie="session=later")
    worker = opened(
        side, {"name": "x", "path": "/x"}, login={"path": "/login", "form": {"a": "b"}, "expect": 302}
    )
    worker.next()
    worker.visit(2)
    worker.close()
    assert [seen.headers.get("Cookie") for seen in application.seen] == [None, "session=abc", "session=abc"]


@pytest.mark.parametrize(
    ("answer", "login", "text"),
    [
        (reply(403, b"who?"), {"token": "t"}, "status 403 instead of 200: who?"),
        (reply(200, {"a": 1}), {"token": "t"}, "the answer has no 't', where the token should be"),
        (reply(200), {}, "the answer set no cookie"),
    ],
)
def test_a_failing_login_is_a_measurement_error(side, application, answer, login, text):
    """Nothing can be measured without the login, and the message says what it answered."""
    application.answer["/login"] = answer
    with pytest.raises(MeasurementError) as error:
        opened(side, {"name": "x", "path": "/x"}, login={"path": "/login", **login})
    assert text in error.value.message
    assert error.value.where == "suites.endpoints.login"
    assert error.value.hint


def test_a_slow_answer_is_a_failure_and_three_end_the_visit(side, application):
    """A request that does not answer in time fails; a hanging application does not cost every timeout."""
    application.answer["/x"] = slowly(0.3)
    worker = opened(side, {"name": "x", "path": "/x"}, timeout="50ms")
    worker.next()
    visit = worker.visit(50)
    worker.close()
    assert visit.values == ()
    assert visit.failures == ("no answer within 0.05 s",) * 3


def test_an_endpoint_that_gave_no_answer_is_not_asked_again(side, application):
    """Later visits, of other parameters too, repeat the failure at once; a second such endpoint ends all."""
    application.answer |= {"/x": slowly(0.3), "/y": slowly(0.3), "/z": reply()}
    worker = opened(
        side,
        {"name": "x", "path": "/x", "query": {"n": "{n_}"}, "scale": {"n_": [1, 2]}},
        {"name": "z", "path": "/z"},
        {"name": "y", "path": "/y"},
        timeout="50ms",
    )
    worker.next()
    assert len(worker.visit(50).failures) == 3
    worker.next()
    assert worker.visit(50).failures == ("no answer within 0.05 s",)
    worker.next()
    assert worker.visit(2).failures == ()
    worker.next()
    with pytest.raises(WorkerDied) as died:
        worker.visit(50)
    worker.close()
    assert "no answer within 0.05 s, nor at x before" in str(died.value)


def test_a_lost_connection_is_a_failure_while_the_application_lives(side, application):
    """A worker process that dies under a request costs that request, not the run."""
    answers = iter([1, 0, 0, 1])  # libcurl tries once more where a kept connection was closed
    application.answer["/x"] = lambda _: (200 if next(answers) else 0, {}, b"{}")
    worker = opened(side, {"name": "x", "path": "/x"})
    worker.next()
    visit = worker.visit(3)
    worker.close()
    assert len(visit.values) == 2
    assert len(visit.failures) == 1
    assert visit.failures[0].startswith("the connection was lost: ")


def test_a_dead_application_ends_the_worker(side, application):
    """Where nothing listens any more, the case at which it died is named."""
    songs(application)
    worker = opened(side, SONG)
    worker.next()
    worker.visit(1)
    application.stop()
    application.answer = {path: reply(0) for path in application.answer}  # the connection it still holds
    with pytest.raises(WorkerDied) as died:
        worker.visit(100)
    worker.close()
    assert str(died.value.case) == "endpoints/song"
    assert "connection was lost" in died.value.reason


def test_data_that_cannot_fill_a_request_is_refused_at_once(side):
    """Every gap is named before the first request."""
    request = {"name": "x", "path": "/{anchor.user.id}/{id}", "params": {"id": {"sql": "SELECT 1"}}}
    with pytest.raises(ConfigError) as error:
        opened(side, request)
    assert len(error.value.problems) == 2


def test_an_interrupt_gets_through_while_an_answer_is_awaited(side, application):
    """Ctrl-C does not wait for the application's answer or the timeout."""
    asked = threading.Event()

    def hang(_: Seen):
        asked.set()
        time.sleep(3)
        return 200, {}, b""

    application.answer["/x"] = hang
    worker = opened(side, {"name": "x", "path": "/x"})
    worker.next()

    def interrupt() -> None:
        asked.wait(5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        worker.visit(1)
    worker.close()
    assert time.monotonic() - started < 2
