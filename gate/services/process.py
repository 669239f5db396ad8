"""Server programs as our children: start one, wait for it, end it, read its log."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gate.errors import EnvironmentFailure
from gate.services.account import Account
from gate.services.place import LEAST_FREE, no_room

LOOPBACK = "127.0.0.1"
# None of the user's PG*, LD_* or locale variables reaches a server: they would change what is measured.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_POLL = 0.003  # seconds; a server is ready within 30 ms of its start
_PORT_TAKEN = re.compile("address already in use", re.IGNORECASE)
_NO_SPACE = re.compile("no space left on device", re.IGNORECASE)
_TAIL_LINES = 20


class PortTaken(EnvironmentFailure):
    """The port that was free a moment ago is not any more."""


class Process:
    """A running server program. name: for messages. log: what it writes, from this start on."""

    def __init__(self, command: Sequence[str], *, name: str, account: Account, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.log = directory / f"{Path(command[0]).name}.log"
        try:
            with self.log.open("wb") as output:
                self._popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    env=_ENVIRONMENT,
                    start_new_session=True,  # Ctrl-C is for the gate, which then stops the server in order
                    umask=0o077,
                    **account.process,
                )
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot start {name} as {account.name}: {error.strerror}",
                where=command[0],
                hint="run perf-gate as an ordinary user" if account.other else "",
            ) from error

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return once `ready`. Raises PortTaken, or EnvironmentFailure with the log's end."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise self.failure(f"{self.name} ended while starting (exit {self._popen.returncode})")
            if time.monotonic() > deadline:
                raise self.failure(f"{self.name} was not ready after {timeout:g} s")
            time.sleep(_POLL)

    def finish(self, timeout: float) -> None:
        """Wait for a program that ends by itself; EnvironmentFailure unless it does so with 0."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGKILL)
            raise self.failure(f"{self.name} did not finish within {timeout:g} s") from None
        if code != 0:
            raise self.failure(f"{self.name} failed (exit {code})")

    def stop(self, *signals: signal.Signals, timeout: float = 30.0) -> int | None:
        """Send the signals one after the other, each with `timeout` seconds, until it has ended.

        The exit status; None where it survived even the last, which only a stuck kernel makes possible.
        """
        for number in signals:
            if not self.running:
                break
            self._popen.send_signal(number)
            try:
                return self._popen.wait(timeout)
            except subprocess.TimeoutExpired:
                continue
        return self._popen.poll()

    def failure(self, message: str) -> EnvironmentFailure:
        """The error that says best what the log says."""
        tail = self.tail()
        text = "\n".join(tail)
        if _PORT_TAKEN.search(text):
            return PortTaken(f"{message}: its port was taken meanwhile", where=str(self.log), tail=tail)
        if _NO_SPACE.search(text):
            return no_room(self.directory, LEAST_FREE)
        return EnvironmentFailure(message, where=str(self.log), tail=tail)

    def tail(self) -> tuple[str, ...]:
        """The last lines of the log, oldest first; empty where there is none."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return ()
        return tuple(lines[-_TAIL_LINES:])


def free_port() -> int:
    """A loopback port that was free when asked; the server may still find it taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
