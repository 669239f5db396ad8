"""What the interface offers, as OpenAPI 3.1. A test compares it with the routes and with real answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from library.models import (
    DOWNLOAD_FORMATS,
    SONG_STATUSES,
    THEMES,
    VISIBILITIES,
)
from library.params import MAX_PAGE, MAX_PER_PAGE

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    query: parameters after the question mark; one with a default is optional.
    body: the schema of the JSON body; empty where there is none.
    writes: needs a bearer token.
    """

    method: str
    path: str
    summary: str
    status: int = 200
    query: tuple[tuple[str, Schema], ...] = ()
    body: Schema | None = None
    writes: bool = False
    media: str = "application/json"
    errors: tuple[int, ...] = ()


def _integer(low: int = 1, high: int | None = None, default: int | None = None) -> Schema:
    schema: Schema = {"type": "integer", "minimum": low}
    if high is not None:
        schema["maximum"] = high
    if default is not None:
        schema["default"] = default
    return schema


def _text(longest: int | None = None, shortest: int = 1) -> Schema:
    schema: Schema = {"type": "string", "minLength": shortest}
    return schema if longest is None else schema | {"maxLength": longest}


def _one_of(values: tuple[str, ...], default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "enum": list(values)}
    return schema if default is None else schema | {"default": default}


def _ids(most: int) -> Schema:
    return {"type": "array", "items": _integer(), "minItems": 1, "maxItems": most}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


PAGE = (
    ("page", _integer(high=MAX_PAGE, default=1)),
    ("per_page", _integer(high=MAX_PER_PAGE, default=25)),
)
USER = ("user_id", _integer() | {"description": "Without it: the user whose token came with the request."})
SINCE = (("from", {"type": "string", "format": "date"}), ("days", _integer(high=31, default=7)))

OPERATIONS = (
    Operation(method="get", path="/health", summary="Can this process reach its services?"),
    Operation(
        method="get",
        path="/dashboard",
        summary="A user's playlists, as a page for people",
        query=(USER, *PAGE),
        media="text/html",
        errors=(400, 404),
    ),
    Operation(
        method="get",
        path="/playlists/{playlist_id}",
        summary="A playlist, as a page for people",
        query=PAGE,
        media="text/html",
        errors=(400, 404),
    ),
    Operation(method="get", path="/api/openapi.json", summary="This description"),
    Operation(
        method="post",
        path="/api/login",
        summary="A bearer token, for email and password or for the service token",
        body=_object(email=_text(320), password=_text(500), service_token=_text(500)),
        errors=(400, 401),
    ),
    Operation(
        method="get",
        path="/api/settings",
        summary="What a user prefers",
        query=(USER,),
        errors=(400, 404),
    ),
    Operation(
        method="patch",
        path="/api/settings",
        summary="Change some of a user's settings",
        body=_object(
            user_id=_integer(),
            theme=_one_of(THEMES),
            language=_text(8),
            hide_explicit={"type": "boolean"},
            songs_per_page=_integer(10, 100),
        ),
        writes=True,
        errors=(400, 404),
    ),
    Operation(
        method="get",
        path="/api/songs",
        summary="Songs in one state, last analysed first",
        query=(("status", _one_of(SONG_STATUSES, "analysed")), *PAGE),
        errors=(400,),
    ),
    Operation(
        method="get",
        path="/api/songs/{song_id}",
        summary="A song with its album, lyrics and analysis",
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/api/songs/export.csv",
        summary="Songs in one state, as a file",
        query=(
            ("status", _one_of(SONG_STATUSES, "analysed")),
            ("limit", _integer(high=100_000, default=1000)),
        ),
        media="text/csv",
        errors=(400,),
    ),
    Operation(
        method="get",
        path="/api/artists",
        summary="Artists by name, with the number of their songs and albums",
        query=PAGE,
        errors=(400,),
    ),
    Operation(
        method="get",
        path="/api/artists/{artist_id}/songs",
        summary="The songs of an artist",
        query=PAGE,
        errors=(400, 404),
    ),
    Operation(
        method="get",
        path="/api/search",
        summary="Songs and artists whose names begin with a text",
        query=(("q", _text(100, shortest=2)), ("per_page", _integer(high=MAX_PER_PAGE, default=20))),
        errors=(400,),
    ),
    Operation(
        method="get",
        path="/api/videos",
        summary="All videos, in one of three orders",
        query=(("sort", _one_of(("title", "date", "artist"), "title")), *PAGE),
        errors=(400,),
    ),
    Operation(
        method="get",
        path="/api/playlists/{playlist_id}",
        summary="A playlist with one page of its songs",
        query=PAGE,
        errors=(400, 404),
    ),
    Operation(
        method="get",
        path="/api/playlists/{playlist_id}/themes",
        summary="What a playlist is about, by its stored analyses",
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/api/playlists/{playlist_id}/duplicates",
        summary="Songs of a playlist with nearly the same lyrics",
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/api/playlists/{playlist_id}/export.json",
        summary="All songs of a playlist, as a file",
        errors=(404,),
    ),
    Operation(
        method="post",
        path="/api/playlists",
        summary="Create a playlist",
        status=201,
        body=_object(
            ("name",),
            name=_text(200),
            description=_text(2000),
            visibility=_one_of(VISIBILITIES, "private"),
            owner_id=_integer(),
        ),
        writes=True,
        errors=(400, 404),
    ),
    Operation(
        method="post",
        path="/api/playlists/{playlist_id}/songs",
        summary="Add a song at the end",
        status=201,
        body=_object(("song_id",), song_id=_integer()),
        writes=True,
        errors=(400, 404, 422),
    ),
    Operation(
        method="post",
        path="/api/playlists/{playlist_id}/move",
        summary="Take a song to another position",
        body=_object(("from", "to"), **{"from": _integer(high=100_000), "to": _integer(high=100_000)}),
        writes=True,
        errors=(400, 404, 422),
    ),
    Operation(
        method="post",
        path="/api/playlists/{playlist_id}/sync",
        summary="Make a playlist hold exactly these songs",
        body=_object(("song_ids",), song_ids=_ids(100)),
        writes=True,
        errors=(400, 404, 422),
    ),
    Operation(
        method="get",
        path="/api/progress",
        summary="How many of a user's songs are analysed",
        query=(USER,),
        errors=(400,),
    ),
    Operation(
        method="get",
        path="/api/progress/cached",
        summary="The same, at most 30 seconds old",
        query=(USER,),
        errors=(400,),
    ),
    Operation(
        method="get",
        path="/api/performance",
        summary="Analyses per day",
        query=SINCE,
        errors=(400,),
    ),
    Operation(
        method="get",
        path="/api/performance/cached",
        summary="The same, at most a minute old",
        query=SINCE,
        errors=(400,),
    ),
    Operation(
        method="post",
        path="/api/lyrics/preview",
        summary="What the analysis would say about a text",
        body=_object(("lyrics",), lyrics=_text(20_000)),
        errors=(400,),
    ),
    Operation(
        method="post",
        path="/api/analysis",
        summary="Queue songs for the worker",
        status=202,
        body=_object(("song_ids",), song_ids=_ids(1000)),
        writes=True,
        errors=(400, 422),
    ),
    Operation(
        method="get",
        path="/api/downloads",
        summary="A user's downloads with their progress, latest first",
        query=(USER, *PAGE),
        errors=(400,),
    ),
    Operation(
        method="post",
        path="/api/downloads",
        summary="Ask for a download",
        status=202,
        body=_object(
            ("song_id",),
            song_id=_integer(),
            format=_one_of(DOWNLOAD_FORMATS, "mp3"),
            user_id=_integer(),
        ),
        writes=True,
        errors=(400, 404, 422),
    ),
    Operation(
        method="put",
        path="/api/downloads/{download_id}/progress",
        summary="For the downloader: how far it has come",
        body=_object(("percent",), percent=_integer(0, 100), size_bytes=_integer(0)),
        writes=True,
        errors=(400, 404, 409),
    ),
)


def document() -> Schema:
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Music library", "version": "1"},
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "responses": {
                "error": {
                    "description": "What was wrong, in one sentence",
                    "content": _content("application/json", _object(("error",), error=_text())),
                }
            },
        },
    }


def _described(operation: Operation) -> Schema:
    errors = (*operation.errors, *((401, 403) if operation.writes else ()))
    result: Schema = {
        "operationId": _operation_id(operation),
        "summary": operation.summary,
        "parameters": [*_in_path(operation.path), *(_in_query(*item) for item in operation.query)],
        "responses": {
            str(operation.status): {
                "description": "Success",
                "content": _content(operation.media, {} if operation.media != "text/html" else _text()),
            },
            **{str(status): {"$ref": "#/components/responses/error"} for status in sorted(errors)},
        },
    }
    if operation.body is not None:
        result["requestBody"] = {
            "required": True,
            "content": _content("application/json", operation.body),
        }
    if operation.writes:
        result["security"] = [{"bearer": []}]
    return result


def _operation_id(operation: Operation) -> str:
    words = operation.path.replace("{", "").replace("}", "").replace(".", "-").split("/")
    return "-".join([operation.method, *(word for word in words if word)])


def _in_path(path: str) -> list[Schema]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": _integer()} for name in names]


def _in_query(name: str, schema: Schema) -> Schema:
    optional = "default" in schema or name == "user_id"
    return {"name": name, "in": "query", "required": not optional, "schema": schema}


def _content(media: str, schema: Schema) -> Schema:
    return {media: {"schema": schema}}
