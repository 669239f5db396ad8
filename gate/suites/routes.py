"""The routes an application says it has, and which of them are measured.

From its OpenAPI description, or from a list that a command of it prints. Nothing is guessed: a route that
neither names is not known, and a request that fits none of them measures none.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from gate.config import Endpoints
from gate.errors import MeasurementError
from gate.model import Route, Side

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
_IMPLIED = {"HEAD", "OPTIONS"}  # frameworks add these to every route
_TIMEOUT = 30.0
_MOST = 16 * 2**20  # bytes of a description
# How frameworks write a parameter: {id}, {id:path}, <int:id>, :id, (?P<id>...)
_PARAMETER = re.compile(r"^(\{.*\}|<.*>|:\w+|\(.*\)|.*[{<].*[>}].*)$")
_NAMES = "|".join(map(str.upper, _METHODS))
_LINE = re.compile(rf"^\s*((?:{_NAMES})(?:[,|](?:{_NAMES}))*)\s+(/\S*|[\w.{{<:]+/\S*|[\w.-]+)(?:\s.*)?$")


def described(side: Side, path: str, suite: Endpoints) -> tuple[Route, ...]:
    """The operations of the OpenAPI description (JSON) that the running application serves at `path`.

    suite: whose headers are sent, and whose requests show whether the description's prefix is theirs.
    Raises MeasurementError where there is none that can be read.
    """
    where = f"suites.endpoints.routes.openapi = {path!r}"
    try:
        document: dict[str, Any] = json.loads(_get(side.base_url, path, suite.headers))
        prefix = urlsplit(str((document.get("servers") or [{}])[0].get("url", ""))).path.rstrip("/")
        if not any(request.path.startswith(f"{prefix}/") for request in suite.request):
            prefix = ""  # of the application behind its proxy, which nobody asks here
        operations = [
            Route(method=method.upper(), path=prefix + route)
            for route, methods in document["paths"].items()
            for method in methods
            if method in _METHODS
        ]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"the application's OpenAPI description cannot be read: {error}"
        raise MeasurementError(message, where=where, hint="it must be JSON with an object `paths`") from error
    return _some(operations, where)


def printed(lines: Iterable[str]) -> tuple[Route, ...]:
    """The routes in lines like "GET /songs/{id}" or "GET|POST songs SongController"; others are left out.

    Raises MeasurementError where no line is one.
    """
    found = []
    for line in lines:
        if match := _LINE.match(line):
            path = "/" + match[2].lstrip("/")
            found += [Route(method=method, path=path) for method in re.split(r"[,|]", match[1])]
    return _some(found, "suites.endpoints.routes.command")


def measured(routes: Iterable[Route], suite: Endpoints) -> tuple[Route, ...]:
    """The routes that count, each with whether a request of the suite reaches it, the login's too.

    HEAD and OPTIONS never count, nor what the suite ignores. A request is for the one route with the
    fewest parameters that it fits, as in every framework.
    """
    ignored = suite.routes.ignore if suite.routes else ()
    counted = tuple(route for route in routes if not _ignored(route, ignored))
    asked = [(request.method, request.path) for request in suite.request]
    asked += [(suite.login.method, suite.login.path)] if suite.login else []
    reached = {_reached(method, path, counted) for method, path in asked}
    return tuple(Route(method=route.method, path=route.path, measured=route in reached) for route in counted)


def _ignored(route: Route, patterns: Iterable[str]) -> bool:
    names = (f"{route.method} {route.path}", route.path)
    return route.method in _IMPLIED or any(fnmatchcase(n, pattern) for n in names for pattern in patterns)


def _reached(method: str, path: str, routes: Iterable[Route]) -> Route | None:
    asked = _segments(path)
    fitting = [
        (sum(map(_parameter, _segments(route.path))), route.path, route)
        for route in routes
        if route.method == method and _fits(asked, _segments(route.path))
    ]
    return min(fitting, key=lambda each: each[:2])[2] if fitting else None


def _fits(asked: list[str], route: list[str]) -> bool:
    """Segment by segment; a parameter of the route takes any, one that takes slashes takes the rest."""
    for index, segment in enumerate(route):
        if re.search(r":path[}>]|^<path:", segment):
            return len(asked) > index
        if index >= len(asked) or not (_parameter(segment) or segment == asked[index]):
            return False
    return len(asked) == len(route)


def _segments(path: str) -> list[str]:
    return [part for part in path.partition("?")[0].split("/") if part]


def _parameter(segment: str) -> bool:
    return bool(_PARAMETER.match(segment))


def _some(routes: Iterable[Route], where: str) -> tuple[Route, ...]:
    found = tuple(sorted(set(routes), key=lambda route: (route.path, route.method)))
    if not found:
        raise MeasurementError("the application names no route", where=where, hint='lines are "GET /path"')
    return found


def _get(base_url: str, path: str, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": "localhost", **headers})
        with connection.getresponse() as answer:
            if answer.status != 200:
                raise ValueError(f"it answers {answer.status}")
            body = answer.read(_MOST + 1)
    finally:
        connection.close()
    if len(body) > _MOST:
        raise ValueError("it is larger than 16 MiB")
    return body
