"""Every way the gate can end without a verdict.

One class per person who must act; the exit code belongs to the class, so that an infrastructure
failure can never look like a regression (1), nor like a pass (0). Only `gate.cli` turns an error
into text and an exit.
"""

from __future__ import annotations

PASS = 0
BLOCKED = 1
NOTHING_COMPARED = 5
INCONCLUSIVE = 6
INTERNAL = 70
INTERRUPTED = 130
TERMINATED = 143


class GateError(Exception):
    """Something failed outside the numbers: what, where, and one next step.

    message: one sentence that says what failed.
    where: the place (file:line, command, service), shown on the second line; may be empty.
    hint: the one next step; may be empty.
    tail: the last lines of the log of whatever failed, oldest first; may be empty.
    """

    exit_code = INTERNAL

    def __init__(self, message: str, *, where: str = "", hint: str = "", tail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.tail = tail


class ConfigError(GateError):
    """The author of the configuration or of the command line must act.

    problems: all of them at once, each with its place and the nearest valid name.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        hint: str = "",
        tail: tuple[str, ...] = (),
        problems: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, where=where, hint=hint, tail=tail)
        self.problems = problems


class BaselineError(GateError):
    """A stored baseline cannot be read: the maintainer must act."""

    exit_code = 2


class RepositoryError(GateError):
    """Git cannot give what was asked for: a shallow checkout, a ref that does not exist."""

    exit_code = 2


class EnvironmentFailure(GateError):
    """A service, the seed, an install or the application did not come up: the runner must act."""

    exit_code = 3


class MeasurementError(GateError):
    """What should have been measured failed, on both sides or with nothing to compare it with."""

    exit_code = 4


class PublishError(GateError):
    """GitHub refused or failed. Never a verdict: publishing cannot change one."""

    exit_code = 3
