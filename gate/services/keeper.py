"""Services that outlive the command that asked for them: kept by a process of their own until told to end.

One keeper for a configuration file. It holds a lock as long as it lives, which the kernel gives back
whatever ends it, and writes a record once the servers are ready.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.errors import EnvironmentFailure
from gate.model import PostgresServer, RedisServer
from gate.services.place import identity, lives

_PREFIX = "services-"
_STOP_TIMEOUT = 150.0  # seconds: a clean stop takes up to 60, its watchdog up to 30 more


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Servers that a keeper holds. project: the configuration file. since: seconds since the epoch.

    postgres, redis: URLs with their passwords. owner: identity of the keeper.
    """

    project: str
    provider: str
    postgres_version: str
    redis_version: str
    postgres: str = field(repr=False)
    redis: tuple[str, ...] = field(repr=False)
    owner: dict[str, Any]
    since: float


@dataclass(frozen=True, slots=True)
class Keeper:
    """The keeper of one configuration file, whether it runs or not. state: where records of runs lie."""

    state: Path
    project: Path

    @property
    def record(self) -> Path:
        return self._file("json")

    @property
    def log(self) -> Path:
        return self._file("log")

    def _file(self, suffix: str) -> Path:
        key = hashlib.blake2b(os.fsencode(self.project), digest_size=8).hexdigest()
        return self.state / f"{_PREFIX}{key}.{suffix}"

    def kept(self) -> Kept | None:
        """What the keeper holds; None where none lives, or its servers are not ready yet."""
        found = read(self.record)
        return found if found and lives(found.owner) else None

    def lock(self) -> int | None:
        """A descriptor that holds the keeper's lock, for a child to inherit; None where it is held."""
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot keep records of running services: {error.strerror}",
                where=str(self.state),
                hint="name a writable directory by PERF_GATE_CACHE",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    @contextlib.contextmanager
    def published(
        self, postgres: PostgresServer, redis: tuple[RedisServer, ...], now: float
    ) -> Iterator[None]:
        """A record of the servers, readable by its owner alone, for as long as the block runs."""
        told = {
            "project": str(self.project),
            "provider": postgres.provider,
            "postgres_version": postgres.version,
            "redis_version": redis[0].version,
            "postgres": postgres.url("postgres"),
            "redis": [server.url for server in redis],
            "owner": identity(os.getpid()),
            "since": now,
        }
        temporary = self.record.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(told, file, indent=1)
        temporary.replace(self.record)
        try:
            yield
        finally:
            self.record.unlink(missing_ok=True)

    def stop(self, kept: Kept) -> None:
        """End the keeper and wait until its servers are gone. Raises EnvironmentFailure where it stays.

        A process is held by its descriptor before it is recognised, so no other of that number is hit.
        """
        pid = int(kept.owner["pid"])
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if not _is(pid, kept.owner):
                if lives(kept.owner):
                    raise EnvironmentFailure(
                        "the services were started where their process cannot be reached from here",
                        where=f"process {pid} of another container",
                        hint="call perf-gate services down there",
                    )
                return
            signal.pidfd_send_signal(process, signal.SIGTERM)
            if not select.select([process], [], [], _STOP_TIMEOUT)[0]:
                raise EnvironmentFailure(
                    f"the keeper did not end within {_STOP_TIMEOUT:g} s",
                    where=f"process {pid}, log {self.log}",
                    hint=f"kill -9 {pid}, then perf-gate services clean",
                )
        finally:
            os.close(process)


def _is(pid: int, owner: dict[str, Any]) -> bool:
    try:
        return identity(pid) == owner
    except OSError:
        return False


def read(record: Path) -> Kept | None:
    """What a keeper's record says; None where there is none, or none of this form."""
    try:
        told = json.loads(record.read_text(encoding="utf-8"))
        return Kept(**told | {"redis": tuple(told["redis"]), "owner": dict(told["owner"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def every(state: Path) -> tuple[Kept, ...]:
    """All that living keepers hold."""
    found = (read(record) for record in sorted(state.glob(f"{_PREFIX}*.json")))
    return tuple(kept for kept in found if kept and lives(kept.owner))


def dead(state: Path) -> Iterator[Path]:
    """Records of keepers that were killed."""
    for record in sorted(state.glob(f"{_PREFIX}*.json")):
        kept = read(record)
        if kept and not lives(kept.owner):
            yield record
