from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from redis import RedisError

from library.cache import cached, invalidate


class FakeRedis:
    """The three commands of the cache, with a log of what was sent."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.stored: dict[str, bytes] = {}
        self.log: list[str] = []

    def get(self, name: str) -> bytes | None:
        self._send(f"GET {name}")
        return self.stored.get(name)

    def set(self, name: str, value: bytes, ex: int) -> None:
        self._send(f"SET {name} EX {ex}")
        self.stored[name] = value

    def delete(self, *names: str) -> None:
        self._send("DEL " + " ".join(names))
        for name in names:
            self.stored.pop(name, None)

    def _send(self, command: str) -> None:
        if self.broken:
            raise RedisError("down")
        self.log.append(command)


@pytest.fixture
def redis() -> Iterator[FakeRedis]:
    app = Flask(__name__)
    fake = app.extensions["library.redis"] = FakeRedis()
    with app.app_context():
        yield fake


@cached(ttl=9, key="double:{n}")
def double(*, n: int) -> dict[str, int]:
    return {"result": 2 * n}


def test_second_call_is_a_hit(redis: FakeRedis) -> None:
    """A hit costs one command and gives the same bytes."""
    first, second = double(n=4), double(n=4)
    assert (first.hit, second.hit) == (False, True)
    assert first.body == second.body == b'{"result": 8}'
    key = "library:cache:double:4"
    assert redis.log == [f"GET {key}", f"SET {key} EX 9", f"GET {key}"]


def test_arguments_have_their_own_entries(redis: FakeRedis) -> None:
    """One user never sees what was stored for another."""
    assert double(n=1).body != double(n=2).body
    assert len(redis.stored) == 2


def test_invalidate_many_at_once(redis: FakeRedis) -> None:
    """Any number of keys is one command, and none is no command."""
    double(n=1)
    invalidate("double:1", "double:2")
    invalidate()
    assert redis.log[-1] == "DEL library:cache:double:1 library:cache:double:2"
    assert not double(n=1).hit


def test_without_redis_every_call_is_a_miss(redis: FakeRedis) -> None:
    """A broken cache makes the service slower and not wrong."""
    redis.broken = True
    assert not double(n=1).hit
    assert not double(n=1).hit
    invalidate("double:1")
