"""Programs of the target: started in a session of their own under the watchdog, and ended whole."""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gate.errors import EnvironmentFailure
from gate.redact import redact, secrets_of
from gate.target import watch

TAIL_LINES = 20
_TAIL_BYTES = 64 * 1024
_COMMAND_GRACE = 2.0  # seconds a command has to react to SIGTERM
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Group:
    """A started program with everything it has started."""

    process: subprocess.Popen[bytes]
    marker: str

    @property
    def pids(self) -> tuple[int, ...]:
        """Pids of all its living processes, the first one started first."""
        return tuple(abs(pid) for pid in watch.family(self.marker, self.process.pid))

    def wait(self, timeout: float) -> int | None:
        """The exit code of the program itself, or None while it still runs after `timeout` seconds."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, grace: float) -> None:
        """SIGTERM to all, and SIGKILL to whoever is left after `grace` seconds. Nothing is left then."""
        deadline = time.monotonic() + grace
        watch.signal_all(watch.family(self.marker, self.process.pid), signal.SIGTERM)
        self.wait(grace)
        while self.pids and time.monotonic() < deadline:
            time.sleep(_POLL)
        watch.end(self.marker, self.process.pid)
        self.process.wait()


@contextlib.contextmanager
def started(
    command: Sequence[str], *, what: str, cwd: Path, env: Mapping[str, str], output: IO[bytes], grace: float
) -> Iterator[Group]:
    """Start a program, and end it and all its descendants when the block ends, however it ends.

    what: names the program in the error. env: the complete environment. output: gets both streams.
    grace: seconds between SIGTERM and SIGKILL. Raises EnvironmentFailure where it cannot be started.
    """
    marker = secrets.token_hex(8)
    with _watched(marker) as watchdog:
        group = Group(
            _open(command, what=what, cwd=cwd, env={**env, watch.MARKER: marker}, output=output), marker
        )
        try:
            _tell(watchdog, group.process.pid)
            yield group
        finally:
            group.stop(grace)
            _tell(watchdog, 0)  # its pid may now belong to a stranger


def run(
    command: Sequence[str],
    *,
    what: str,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    log: Path | None = None,
    hint: str = "",
) -> None:
    """Run a command to its end. Raises EnvironmentFailure with its last lines if it fails or takes too long.

    timeout: seconds. log: appended to; without it the output is kept only for the error.
    """
    with begun(command, what=what, cwd=cwd, env=env, timeout=timeout, log=log, hint=hint) as awaited:
        awaited()


@contextlib.contextmanager
def begun(
    command: Sequence[str],
    *,
    what: str,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    log: Path | None = None,
    hint: str = "",
) -> Iterator[Callable[[], None]]:
    """As `run`, which is what calling awaits: the command runs while the block does other things."""
    with contextlib.ExitStack() as held:
        output = held.enter_context(_output(log))
        before = output.seek(0, 2)
        running = held.enter_context(contextlib.ExitStack())
        since = time.monotonic()
        group = running.enter_context(
            started(command, what=what, cwd=cwd, env=env, output=output, grace=_COMMAND_GRACE)
        )

        def awaited() -> None:
            code = group.wait(max(0.0, since + timeout - time.monotonic()))
            running.close()  # what it left running ends too, so that its output is whole
            if code == 0:
                return
            hidden = secrets_of(env)
            raise EnvironmentFailure(
                f"{what} was still running after {timeout:g} s" if code is None else f"{what} {ending(code)}",
                where=shown(command, cwd, hidden),
                hint="raise target.command_timeout if it needs longer" if code is None else hint,
                tail=last_lines(output, start=before, hidden=hidden),
            )

        yield awaited


def ending(code: int) -> str:
    """How a program ended, as the end of a sentence: "failed with exit code 3", "was killed by SIGKILL"."""
    if code >= 0:
        return f"{'failed' if code else 'ended'} with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-code}"


def shown(command: Sequence[str], cwd: Path, hidden: Sequence[str]) -> str:
    """A command and its directory as an error shows them, without secrets."""
    return redact(f"{' '.join(command)} (in {cwd})", hidden)


def last_lines(file: IO[bytes], *, start: int = 0, hidden: Sequence[str] = ()) -> tuple[str, ...]:
    """The last 20 lines written since `start`, whatever bytes they hold, without secrets."""
    size = file.seek(0, 2)
    file.seek(max(start, size - _TAIL_BYTES))
    text = file.read().decode("utf-8", "replace")
    lines = (_printable(line) for line in redact(text, hidden).splitlines())
    return tuple(line for line in lines if line)[-TAIL_LINES:]


@contextlib.contextmanager
def _output(log: Path | None) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() if log is None else log.open("a+b") as file:
        yield file


def _printable(line: str) -> str:
    """Without control characters, which could repaint the terminal of whoever reads the error."""
    return "".join(c if c.isprintable() else " " for c in line).rstrip()


def _open(
    command: Sequence[str], *, what: str, cwd: Path, env: Mapping[str, str], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentFailure(
            f"{what} could not be started: {error.strerror}: {command[0]}",
            where=shown(command, cwd, secrets_of(env)),
            hint="it is looked up on PATH, or in target.directory if written as ./name; there is no shell",
        ) from error


@contextlib.contextmanager
def _watched(marker: str) -> Iterator[subprocess.Popen[bytes]]:
    """The watchdog, started before what it watches, so that there is no moment without it."""
    watchdog = subprocess.Popen(
        [sys.executable, "-I", "-S", watch.__file__, marker],
        cwd="/",
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt typed at the terminal is for the gate
    )
    try:
        yield watchdog
    finally:
        if watchdog.stdin is not None:
            watchdog.stdin.close()
        watchdog.wait()


def _tell(watchdog: subprocess.Popen[bytes], pid: int) -> None:
    """The leader's pid, for members that lost the marker; the last word counts. A killed watchdog is deaf."""
    if watchdog.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            watchdog.stdin.write(b"%d\n" % pid)
