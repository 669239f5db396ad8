"""Routes an application names, and which of them requests reach."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gate.config import Endpoints
from gate.errors import MeasurementError
from gate.model import Level, Route, Side
from gate.policy import uncovered
from gate.suites.routes import described, measured, printed

DOCUMENT = {
    "openapi": "3.1.0",
    "servers": [{"url": "/v1"}],
    "paths": {
        "/songs": {"get": {}, "post": {}, "parameters": []},
        "/songs/{id}": {"get": {}, "options": {}},
        "/songs/export.csv": {"get": {}},
    },
}


def suite(*requests: tuple[str, str], **routes: object) -> Endpoints:
    named = [{"name": f"r{n}", "method": m, "path": p} for n, (m, p) in enumerate(requests)]
    for request in named:
        if request["method"] != "GET":
            request["writes"] = True  # type: ignore[assignment]
    return Endpoints.model_validate({"request": named, "routes": {"openapi": "/openapi.json"} | routes})


def unmeasured(routes: tuple[Route, ...], config: Endpoints) -> list[str]:
    return [str(route) for route in measured(routes, config) if not route.measured]


@pytest.fixture
def served() -> Iterator[Side]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            good = self.path == "/openapi.json"
            self.send_response(200 if good or self.path == "/page" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(DOCUMENT).encode() if good else b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield Side(
        name="head",
        ref="",
        worktree="",
        directory="",
        interpreter="",
        env={},
        postgres_url="",
        redis_url="",
        base_url=url,
    )
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_openapi_description_gives_its_operations(served: Side) -> None:
    """With the server's prefix, and without what is no method."""
    assert [str(route) for route in described(served, "/openapi.json", suite(("GET", "/v1/songs")))] == [
        "GET /v1/songs",
        "POST /v1/songs",
        "GET /v1/songs/export.csv",
        "GET /v1/songs/{id}",
        "OPTIONS /v1/songs/{id}",
    ]


@pytest.mark.parametrize("path", ["/nothing", "/page"])
def test_what_is_no_description_is_an_error_that_names_the_setting(served: Side, path: str) -> None:
    with pytest.raises(MeasurementError, match="OpenAPI") as raised:
        described(served, path, suite(("GET", "/songs")))
    assert path in str(raised.value.where)


def test_a_prefix_that_no_request_has_is_of_a_proxy(served: Side) -> None:
    found = described(served, "/openapi.json", suite(("GET", "/songs")))
    assert "GET /songs" in map(str, found)


def test_a_list_without_a_route_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="names no route"):
        printed(["nothing here", "GET"])


def test_a_printed_list_in_the_ways_frameworks_write_it() -> None:
    lines = [
        "Endpoint list:",
        "GET,HEAD  /songs/<int:id>",
        " POST /songs",
        "GET|PUT a/:id  SongController@show",
    ]
    assert [str(route) for route in printed(lines)] == [
        "GET /a/:id",
        "PUT /a/:id",
        "POST /songs",
        "GET /songs/<int:id>",
        "HEAD /songs/<int:id>",
    ]


def test_a_request_measures_the_most_literal_route_that_it_fits() -> None:
    """export.csv is not a song, and a song is not the list."""
    routes = printed(["GET /songs", "GET /songs/{id}", "GET /songs/export.csv", "POST /songs"])
    assert unmeasured(routes, suite(("GET", "/songs/export.csv"))) == [
        "GET /songs",
        "POST /songs",
        "GET /songs/{id}",
    ]
    assert unmeasured(routes, suite(("GET", "/songs/{anchor.long.id}"), ("GET", "/songs?page=1"))) == [
        "POST /songs",
        "GET /songs/export.csv",
    ]


def test_a_parameter_that_takes_slashes_takes_the_rest() -> None:
    routes = printed(["GET /files/<path:name>", "GET /items/{name:path}"])
    assert unmeasured(routes, suite(("GET", "/files/a/b/c"), ("GET", "/items/a/b"))) == []


def test_what_needs_no_measuring_is_left_out() -> None:
    """HEAD and OPTIONS always; what is ignored by path, or by method and path."""
    routes = printed(["GET /static/a.js", "GET,POST /metrics", "HEAD,OPTIONS /songs", "GET /songs"])
    config = suite(("GET", "/songs"), ignore=["/static/*", "GET /metrics"])
    assert [str(route) for route in measured(routes, config)] == ["POST /metrics", "GET /songs"]


def test_too_few_routes_block_and_are_named() -> None:
    routes = (Route(method="GET", path="/a", measured=True), Route(method="GET", path="/b"))
    assert uncovered(routes[:1], 1.0) == ()
    (note,) = uncovered(routes, None)
    (met,) = uncovered(routes, 0.5)
    (few,) = uncovered(routes, 0.6)
    assert (note.level, met.level, few.level) == (Level.NOTE, Level.NOTE, Level.BLOCK)
    assert "1 of 2 routes are measured (50%), at least 60% are to be; not measured: GET /b" in few.text


def test_one_source_of_routes_is_named() -> None:
    with pytest.raises(ValueError, match="either openapi or command"):
        suite(("GET", "/a"), command=["list"])
