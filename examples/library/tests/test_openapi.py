"""The description is kept true: against the routes, and against what the endpoints answer."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from library import create_app, openapi
from library.config import Settings
from library.openapi import OPERATIONS, Operation
from library.services.videos import ORDERS

READING = [operation for operation in OPERATIONS if operation.method == "get"]
EXAMPLES = {"user_id": "1", "from": "2024-03-01", "q": "song"}


def test_every_route_is_described() -> None:
    """Paths, methods and path parameters are those of the application, no more and no less."""
    routes = {
        (method.lower(), re.sub(r"<int:(\w+)>", r"{\1}", rule.rule))
        for rule in create_app(Settings.from_env({})).url_map.iter_rules()
        if rule.endpoint != "static"
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == {(operation.method, operation.path) for operation in OPERATIONS}


def test_operations_have_names_of_their_own() -> None:
    """Generated clients name their functions after them."""
    described = [item for path in openapi.document()["paths"].values() for item in path.values()]
    assert len({item["operationId"] for item in described}) == len(OPERATIONS)


def test_video_orders() -> None:
    """The orders described are those that the service knows."""
    (videos,) = (operation for operation in OPERATIONS if operation.path == "/api/videos")
    assert dict(videos.query)["sort"]["enum"] == list(ORDERS)


@pytest.mark.parametrize("operation", READING, ids=lambda operation: operation.path)
def test_reading_answers_as_described(client: FlaskClient, operation: Operation) -> None:
    """The documented status and type, and 400 for a parameter outside its bounds."""
    path = re.sub(r"\{\w+\}", "1", operation.path)
    query = {name: EXAMPLES[name] for name, _ in operation.query if name in EXAMPLES}
    answer = client.get(path, query_string=query)
    assert (answer.status_code, answer.mimetype) == (operation.status, operation.media)
    for name, _ in operation.query:
        assert client.get(path, query_string=query | {name: "-"}).status_code == 400
    for status in {404} & set(operation.errors):
        missing = re.sub(r"\{\w+\}", "999", operation.path)
        assert client.get(missing, query_string=query | {"user_id": "999"}).status_code == status


@pytest.mark.parametrize(
    "operation", [operation for operation in OPERATIONS if operation.writes], ids=lambda item: item.path
)
def test_writing_needs_a_token(client: FlaskClient, operation: Operation) -> None:
    """Whoever is unknown changes nothing, whatever the body."""
    path = re.sub(r"\{\w+\}", "1", operation.path)
    assert client.open(path, method=operation.method, json={}).status_code == 401
