"""What the driver knows of every suite: a worker, its cases, and what one visit gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gate.model import Case, Side
from gate.redact import redact, secrets_of

Mode = Literal["timing", "count"]
_READ, _MARGIN = 64 * 1024, 4 * 1024  # characters of a text that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What one turn at one case gave.

    values: seconds, in the order measured, of what succeeded only. sizes: bytes of each successful
    answer after masks, beside `values`; empty for a suite without answers. cpu: processor seconds of each
    value, where the suite itself can tell.
    failures: one sentence each; a failure has no value. skipped: why nothing was run, else empty.
    """

    values: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    failures: tuple[str, ...] = ()
    skipped: str = ""


def hidden(side: Side) -> tuple[str, ...]:
    """The secrets of a side, which no failure's text may show, whatever the application answers."""
    return secrets_of({**side.env, "postgres": side.postgres_url, "redis": side.redis_url})


def shown(text: str, secrets: Sequence[str], *, limit: int) -> str:
    """The first `limit` characters of a text on one line, without secrets.

    Cut last: of a secret that a cut falls into, the beginning would be left and no longer be known.
    """
    told = redact(text[:_READ], secrets)
    if len(text) > _READ:
        told = told[:-_MARGIN]  # here the look itself may have cut one
    return " ".join(told.split())[:limit]


class Worker(Protocol):
    """One side's turn-taker: it walks its cases in order, and a visit measures the one it is at."""

    def next(self) -> Case | None:
        """Moves to the next case; None after the last one."""

    def visit(self, rounds: int, *, warmup: bool = False) -> Visit:
        """Measures the current case. warmup: run it until it is warm; the values are no measurement."""

    def close(self) -> None:
        """Ends whatever the worker holds; may be called twice."""


class WorkerDied(Exception):
    """What was measured is gone: nothing answers any more where it answered before.

    tail: the last lines of its log without secrets, oldest first, where the worker itself keeps the log.
    """

    def __init__(self, case: Case, reason: str, *, tail: tuple[str, ...] = ()) -> None:
        super().__init__(f"{case}: {reason}")
        self.case = case
        self.reason = reason
        self.tail = tail
