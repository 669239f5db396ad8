"""Responses kept in Redis: one GET for a hit, GET and SET for a miss, DEL when a write makes them old."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from flask import Response, current_app, json
from redis import Redis, RedisError

log = logging.getLogger(__name__)
PREFIX = "library:cache:"


def redis() -> Redis:
    """The client of the application that handles the current request; it owns the only pool."""
    client: Redis = current_app.extensions["library.redis"]
    return client


@dataclass(frozen=True, slots=True)
class Cached:
    """A JSON body and whether Redis had it."""

    body: bytes
    hit: bool

    def response(self) -> Response:
        headers = {"X-Cache": "hit" if self.hit else "miss"}
        return Response(self.body, mimetype="application/json", headers=headers)


def cached(*, ttl: int, key: str) -> Callable[[Callable[..., Any]], Callable[..., Cached]]:
    """Keep what a function of keyword arguments returns, as JSON, for `ttl` seconds.

    key: names all arguments that the result depends on, as in "progress:{user_id}".
    Without Redis every call is a miss: slower, but right.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Cached]:
        @functools.wraps(function)
        def call(**arguments: Any) -> Cached:
            name = PREFIX + key.format_map(arguments)
            body = _read(name)
            if body is not None:
                return Cached(body, hit=True)
            body = json.dumps(function(**arguments)).encode()
            _write(name, body, ttl)
            return Cached(body, hit=False)

        return call

    return decorate


def invalidate(*keys: str) -> None:
    """Forget cached results. Call it after the commit, or a reader may store the old state again."""
    if not keys:
        return
    try:
        redis().delete(*(PREFIX + key for key in keys))
    except RedisError:
        log.warning("cache not invalidated, entries live until their ttl: %s", keys)


def _read(name: str) -> bytes | None:
    try:
        # The client returns bytes here; its type leaves open whether it decodes.
        return cast(bytes | None, redis().get(name))
    except RedisError:
        log.warning("cache not readable: %s", name)
        return None


def _write(name: str, body: bytes, ttl: int) -> None:
    try:
        redis().set(name, body, ex=ttl)
    except RedisError:
        log.warning("cache not writable: %s", name)
