"""Server programs: start one, wait for it, end it, read its log; as processes here, and as an interface."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from gate.errors import EnvironmentFailure
from gate.services.account import Account
from gate.services.place import LEAST_FREE, no_room

LOOPBACK = "127.0.0.1"
# None of the user's PG*, LD_* or locale variables reaches a server: they would change what is measured.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_PORT_TAKEN = re.compile("address already in use", re.IGNORECASE)
_NO_SPACE = re.compile("no space left on device", re.IGNORECASE)
_TAIL_LINES = 20
_KERNELS_LIST = "/proc/thread-self/children"  # not every kernel is built with it


class PortTaken(EnvironmentFailure):
    """The port that was free a moment ago is not any more."""


class Server(ABC):
    """A program that was started for this run, as a process or in a container. name: for messages.

    directory: what lies on the file system that it fills. log: where its output can be read.
    interval: seconds between two looks at it; a process is ready within 30 ms of its start.
    """

    interval = 0.003
    name: str
    directory: Path
    log: str

    @property
    @abstractmethod
    def pid(self) -> int:
        """Its process id as it sees it itself."""

    @abstractmethod
    def host_pid(self) -> int | None:
        """Its process id on this machine; None where it has ended or cannot be seen from here."""

    @abstractmethod
    def exit_status(self) -> int | None:
        """None while it runs."""

    @abstractmethod
    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing where it has ended."""

    @abstractmethod
    def output(self) -> str:
        """What it has written so far."""

    @abstractmethod
    def log_end(self) -> int:
        """Where its output ends now, in a unit of its own, for `log_since`."""

    @abstractmethod
    def log_since(self, end: int) -> str:
        """What it has written since then, and perhaps a little of what came before."""

    @abstractmethod
    def dispose(self) -> None:
        """End it by force where it still runs, and give back what it holds."""

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return once `ready`. Raises PortTaken, or EnvironmentFailure with the log's end."""
        deadline = time.monotonic() + timeout
        while not ready():
            if (status := self.exit_status()) is not None:
                raise self.failure(f"{self.name} ended while starting (exit {status})")
            if time.monotonic() > deadline:
                raise self.failure(f"{self.name} was not ready after {timeout:g} s")
            time.sleep(self.interval)

    def finish(self, timeout: float) -> None:
        """Wait for a program that ends by itself; EnvironmentFailure unless it does so with 0."""
        status = self._wait(timeout)
        if status is None:
            raise self.failure(f"{self.name} did not finish within {timeout:g} s")
        if status != 0:
            raise self.failure(f"{self.name} failed (exit {status})")

    def stop(self, *signals: signal.Signals, timeout: float) -> int | None:
        """Send the signals one after the other, each with `timeout` seconds, until it has ended.

        The exit status; None where it survived even the last.
        """
        for number in signals:
            if self.exit_status() is not None:
                break
            self.send(number)
            if self._wait(timeout) is not None:
                break
        return self.exit_status()

    def _wait(self, timeout: float) -> int | None:
        deadline = time.monotonic() + timeout
        while (status := self.exit_status()) is None and time.monotonic() < deadline:
            time.sleep(self.interval)
        return status

    def ended(self) -> EnvironmentFailure | None:
        """The error where it has ended though nobody stopped it; None while it runs."""
        status = self.exit_status()
        if status is None:
            return None
        fault = self.failure(f"{self.name} ended by itself ({_ending(status)})")
        fault.hint = fault.hint or "see the end of its log, and whether the machine ran out of memory"
        return fault

    def failure(self, message: str) -> EnvironmentFailure:
        """The error that says best what the log says."""
        tail = tuple(self.output().splitlines()[-_TAIL_LINES:])
        text = "\n".join(tail)
        if _PORT_TAKEN.search(text):
            return PortTaken(f"{message}: its port was taken meanwhile", where=self.log, tail=tail)
        if _NO_SPACE.search(text):
            return no_room(self.directory, LEAST_FREE)
        return EnvironmentFailure(message, where=self.log, tail=tail)


class Launch(Protocol):
    """Starts a command in a directory that it may write to, as the run's account."""

    def __call__(self, command: Sequence[str], *, name: str, directory: Path) -> Server: ...


class Process(Server):
    """A server program as our child."""

    def __init__(self, command: Sequence[str], *, name: str, account: Account, directory: Path) -> None:
        self.name = name
        self.directory = directory
        path = directory / f"{Path(command[0]).name}.log"
        self.log = str(path)
        try:
            with path.open("wb") as output:
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

    def host_pid(self) -> int | None:
        return self._popen.pid if self._popen.poll() is None else None

    def exit_status(self) -> int | None:
        return self._popen.poll()

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def output(self) -> str:
        try:
            return Path(self.log).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def log_end(self) -> int:
        try:
            return os.stat(self.log).st_size
        except FileNotFoundError:
            return 0

    def log_since(self, end: int) -> str:
        try:
            with open(self.log, "rb") as file:
                file.seek(end)
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def dispose(self) -> None:
        self.stop(signal.SIGKILL, timeout=10)


def with_descendants(pid: int) -> tuple[int, ...]:
    """A process and all that it has started and that still runs, itself first; empty where it is gone."""
    if not os.path.isdir(f"/proc/{pid}"):
        return ()
    children = _children if os.path.exists(_KERNELS_LIST) else _children_by_parents()
    found = [pid]
    for parent in found:  # grows meanwhile
        found += children(parent)
    return tuple(found)


def _children(pid: int) -> list[int]:
    """Those that any of its threads has started, by the kernel's own list."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # ended meanwhile
    return found


def _children_by_parents() -> Callable[[int], list[int]]:
    """The same for kernels without that list, by looking at every process there is."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):  # ended meanwhile
                fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(name))
    return lambda pid: children.get(pid, [])


def _ending(status: int) -> str:
    """An exit status in words; a container's says by 128 and more what a process's says by a minus."""
    number = -status if status < 0 else status - 128
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"exit {status}"


def launch_as(account: Account) -> Launch:
    """Starts programs of this machine as `account`."""

    def launch(command: Sequence[str], *, name: str, directory: Path) -> Server:
        return Process(command, name=name, account=account, directory=directory)

    return launch


def free_port() -> int:
    """A loopback port that was free when asked; the server may still find it taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
