"""What the rest of the gate sees of the services, whoever started them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gate.config import Services
from gate.errors import EnvironmentFailure
from gate.model import PostgresServer, RedisServer

Notify = Callable[[str], None]


class Running(ABC):
    """Postgres, and any number of Redis servers by name; all gone when the context that gave it ends.

    provider: who started them. data_place: a directory on the file system that the data lies on.
    keeps_data: whether `save_data` and `restore_data` work.
    """

    provider: str
    data_place: str
    keeps_data: bool = True

    @property
    @abstractmethod
    def postgres(self) -> PostgresServer:
        """The server as it is now: password, process and perhaps port change with every start."""

    @abstractmethod
    def redis(self, name: str) -> RedisServer:
        """A fresh, empty server; one already running under that name is stopped first."""

    def pids(self, name: str) -> tuple[int, ...]:
        """The live processes of "postgres", or of the Redis server of that name, by this machine's numbers.

        The server first, then all that it has started; looked up each time, for backends come and go. One
        that has ended stays among them until the server has noticed.
        Empty where the server is not ours, does not run, or cannot be seen from here.
        """
        del name
        return ()

    def log_end(self) -> int | None:
        """Where the log of Postgres ends now, for `log_since`; None where it is out of reach."""
        return None

    def log_since(self, end: int) -> str:
        """What Postgres has logged since then. The beginning may be older by a few lines.

        What is written now may still be missing: a container's daemon takes it down milliseconds later.
        """
        del end
        return ""

    @abstractmethod
    def failure(self) -> EnvironmentFailure | None:
        """Why a server does not run that should, with its log's end; None while all of them do.

        What fails meanwhile elsewhere is a consequence, and this is its cause.
        """

    @abstractmethod
    def restart_postgres(self) -> None:
        """Stop cleanly and start again on the same data."""

    @abstractmethod
    def save_data(self, into: Path) -> None:
        """Stop, copy the data directory to `into`, start again. Whole or not at all.

        Where `into` exists already, another run was quicker and its copy is kept.
        """

    @abstractmethod
    def restore_data(self, source: Path) -> None:
        """Stop, replace the data directory by a copy of `source`, start again.

        Raises EnvironmentFailure, with the server running on the data it had, where `source` is no data
        directory of this major version or there is no room for a copy.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Servers that the user runs. postgres: URL of a superuser. redis: URLs, one for each side.

    The Redis servers must be empty when they are handed over; they are emptied again for each use.
    """

    postgres: str = field(repr=False)
    redis: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a provider is asked for. needed: bytes the data will take, 0 where unknown.

    place: the directory that the data must go to, None where any will do. given: the servers of the
    external provider; others leave it alone.
    """

    config: Services
    state: Path
    notify: Notify
    needed: int = 0
    place: Path | None = None
    given: Given | None = None


class Unavailable(EnvironmentFailure):
    """This provider cannot supply what is asked for here; another one may."""


class Provider(Protocol):
    """A way of starting services, one file each. On entry: Unavailable, or EnvironmentFailure."""

    def __call__(self, request: Request) -> AbstractContextManager[Running]: ...
