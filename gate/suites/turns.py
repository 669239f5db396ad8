"""A live pytest and the line to it: it is told one thing, answers, and waits for the next.

The messages stand in `gate.suites.pytest_plugin`, which is at the other end; here they are JSON objects.
pytest has the turn from what it is told until its answer: only then does its time run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

Message = Mapping[str, Any]
_LOOK = 0.2  # seconds between two looks at a process that says nothing
_GRACE = 3.0  # seconds that pytest gets to stop what its fixtures started


class Gone(Exception):
    """Pytest has ended where it should have answered. status: its exit status; None where it runs on."""

    def __init__(self, status: int | None) -> None:
        super().__init__(ending(status))
        self.status = status


class Silent(Exception):
    """Pytest has used up its time."""


class LivePytest:
    """One pytest process in a group of its own, which ends with it, with `close` and with this process.

    timeout: seconds that it may have the turn, in all. log: where its output goes; stderr follows at the
    end, since what kills pytest stands there and stdout is flushed after it. Raises OSError where it
    cannot be started.
    """

    def __init__(
        self, command: Sequence[str], *, directory: str, env: Mapping[str, str], log: Path, timeout: float
    ) -> None:
        self._left = timeout
        self._heard = b""
        self._idle = False
        self._since = time.monotonic()
        with contextlib.ExitStack() as stack:
            lifeline, gate = os.pipe()
            stack.callback(os.close, gate)
            self._line, other = socket.socketpair()
            stack.callback(self._line.close)
            output = stack.enter_context(log.open("ab"))
            errors = stack.enter_context(tempfile.TemporaryFile())
            stack.callback(_append, errors, output)
            try:
                self._process = subprocess.Popen(
                    [*command, f"--perf-gate-line={other.fileno()}", f"--perf-gate-lifeline={lifeline}"],
                    cwd=directory,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                    pass_fds=(lifeline, other.fileno()),
                )
            finally:
                os.close(lifeline)
                other.close()
            stack.callback(self._end)
            self._held = stack.pop_all()

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    def say(self, **message: Any) -> None:
        """Gives it the turn. To one that has ended nothing is said; `hear` tells."""
        self._idle = False
        self._since = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            self._line.settimeout(max(self._left, 0.0))
            self._line.sendall(json.dumps(message).encode() + b"\n")

    def hear(self) -> Message:
        """The next message. Raises Gone, or Silent when its time is used up."""
        ended = False
        while b"\n" not in self._heard:
            left = self._since + self._left - time.monotonic()
            if left <= 0:
                raise Silent
            self._line.settimeout(min(left, _LOOK))
            try:
                found = self._line.recv(64 * 1024)
            except TimeoutError:
                # Looked at twice: the last words may come between the first look and the end.
                if not ended:
                    ended = self._process.poll() is not None
                    continue
                found = b""
            except ConnectionResetError:
                found = b""
            if not found:
                raise Gone(self._status())
            self._heard += found
        line, _, self._heard = self._heard.partition(b"\n")
        message: Message = json.loads(line)
        return message

    def rest(self) -> None:
        """It has answered and waits: the turn is over."""
        self._idle = True
        self._left -= time.monotonic() - self._since

    def wait(self) -> int:
        """Its exit status. Raises Silent when its time is used up."""
        try:
            return self._process.wait(max(0.0, self._since + self._left - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Silent from None

    def close(self) -> None:
        """Ends the whole group, also what a test left running; twice is fine.

        One that waits for its turn is asked first, so that its fixtures can stop what they started.
        """
        if self._idle and self._process.poll() is None:
            self.say(do="stop")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        self._held.close()

    def _status(self) -> int | None:
        """None where it has only closed the line."""
        try:
            return self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return None

    def _end(self) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _append(errors: IO[bytes], output: IO[bytes]) -> None:
    errors.seek(0)
    output.seek(0, os.SEEK_END)
    shutil.copyfileobj(errors, output)


def ending(status: int | None) -> str:
    """How a process ended, as the end of a sentence."""
    if status is None:
        return "it closed its line to the gate"
    if status < 0:
        names = {one.value: one.name for one in signal.Signals}
        return f"it was killed by {names.get(-status, f'signal {-status}')}"
    return f"it exited with status {status}"
