"""A side's processes: its environment and files, its migrations, and the application from start to stop."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from gate.config import Target
from gate.errors import ConfigError, EnvironmentFailure
from gate.model import Side, SideName
from gate.redact import secrets_of
from gate.target import variables
from gate.target.command import Group, begun, ending, last_lines, run, shown, started
from gate.target.environment import Installed, working_directory
from gate.target.placeholders import check_placeholders, fill, names, values_of
from gate.target.ports import LOOPBACK, free_port, listening, stranger, taken

_POLL = 0.02  # seconds between two looks at an application that is starting
_ONE_ANSWER = 10.0  # seconds; the first request may load half of the application
_IN_USE = ("address already in use", "eaddrinuse", "connection in use")
_SEEDS = 2**32  # PYTHONHASHSEED is below


class _PortTaken(EnvironmentFailure):
    """Somebody else took the port between our look and the application's."""


def prepare(
    target: Target,
    *,
    name: SideName,
    ref: str,
    worktree: Path,
    installed: Installed,
    postgres_url: str,
    redis_url: str,
    seed: int,
    environ: Mapping[str, str],
) -> Side:
    """A side ready to be migrated and served: its environment made, target.files written.

    environ: the caller's environment, of which a short list is passed on. seed: PYTHONHASHSEED.
    Made anew for every database or seed. Raises ConfigError with every placeholder that is wrong.
    """
    if problems := check_placeholders(target):
        message = "placeholders in [target] are wrong"
        raise ConfigError(message, where="target", problems=problems)
    side = Side(
        name=name,
        ref=ref,
        worktree=str(worktree),
        directory=str(working_directory(target, worktree)),
        interpreter=installed.interpreter,
        env=variables.for_running(environ) | {"PATH": installed.path},
        postgres_url=postgres_url,
        redis_url=redis_url,
        seed=seed,
    )
    return _placed(target, side, free_port(), every=True)


def migrate(target: Target, side: Side, *, log: Path) -> None:
    """Run target.migrate. Raises EnvironmentFailure with the last lines of the command that failed."""
    with migrating(target, side, log=log) as migrated:
        migrated()


@contextlib.contextmanager
def migrating(target: Target, side: Side, *, log: Path) -> Iterator[Callable[[], None]]:
    """As `migrate`, which is what calling awaits. Its first command runs while the block does other things;
    each later one when the one before it is over."""
    values = _values(side, free_port())
    with contextlib.ExitStack() as stack:

        def begin(number: int) -> Callable[[], None]:
            where = f"target.migrate[{number}]"
            command = begun(
                [fill(argument, values, where=where) for argument in target.migrate[number - 1]],
                what=f"{where} of {side.name}",
                cwd=Path(side.directory),
                env=side.env,
                timeout=target.command_timeout,
                log=log,
                hint="migrations start from an empty database of this run",
            )
            return stack.enter_context(command)

        first = begin(1) if target.migrate else None

        def migrated() -> None:
            if first is None:
                return
            first()
            for number in range(2, len(target.migrate) + 1):
                begin(number)()

        yield migrated


def printed(target: Target, side: Side, command: Sequence[str], *, what: str, log: Path) -> list[str]:
    """The lines that a command of the project prints. what: names it in errors. log: made anew, holds both
    streams. Raises EnvironmentFailure as `migrate`."""
    values = _values(side, free_port())
    log.unlink(missing_ok=True)
    run(
        [fill(argument, values, where=what) for argument in command],
        what=what,
        cwd=Path(side.directory),
        env=side.env,
        timeout=target.command_timeout,
        log=log,
    )
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


@contextlib.contextmanager
def serve(target: Target, side: Side, *, log: Path, ports: Callable[[], int] = free_port) -> Iterator[Side]:
    """The running application as a Side with base_url and pids (the started program first).

    As `launch`, of which it awaits the application.
    """
    with launch(target, side, log=log, ports=ports) as launched:
        yield launched.ready()


@contextlib.contextmanager
def launch(
    target: Target, side: Side, *, log: Path, ports: Callable[[], int] = free_port
) -> Iterator[Launched]:
    """The application, started and not yet awaited, so that another one can start meanwhile.

    Stopped with everything it has started when the block ends. log: appended to. ports: gives the port to
    use. Raises EnvironmentFailure where it cannot be started.
    """
    with contextlib.ExitStack() as stack:
        yield Launched(target, side, log, ports, stack)


class Launched:
    """An application that has been started."""

    def __init__(
        self, target: Target, side: Side, log: Path, ports: Callable[[], int], stack: contextlib.ExitStack
    ) -> None:
        self._target = target
        self._side = side
        self._log = log
        self._ports = ports
        self._stack = stack
        self._start()

    def ready(self) -> Side:
        """The side once target.ready answers below 500; a second port is tried if the first is taken.

        Raises EnvironmentFailure, with the last lines, if it ends before or is not ready in time.
        """
        try:
            return self._answering()
        except _PortTaken:
            self._stack.close()
            self._start()
            return self._answering()

    def _start(self) -> None:
        self._port = self._ports()
        self._placed = _placed(self._target, self._side, self._port, every=False)
        values = _values(self._placed, self._port)
        self._command = [fill(argument, values, where="target.start") for argument in self._target.start]
        self._output = self._stack.enter_context(self._log.open("a+b"))
        self._before = self._output.seek(0, 2)
        self._group = self._stack.enter_context(
            started(
                self._command,
                what=f"the application of {self._side.name}",
                cwd=Path(self._side.directory),
                env=self._placed.env,
                output=self._output,
                grace=self._target.stop_timeout,
            )
        )

    def _answering(self) -> Side:
        if fault := _await_ready(self._target, self._side.name, self._group, self._port):
            hidden = secrets_of(self._placed.env)
            fault.where = shown(self._command, Path(self._side.directory), hidden)
            fault.tail = last_lines(self._output, start=self._before, hidden=hidden)
            raise _blamed(fault, self._group, self._port)
        return dataclasses.replace(
            self._placed, base_url=f"http://{LOOPBACK}:{self._port}", pids=self._group.pids
        )


def tail(log: Path, side: Side) -> tuple[str, ...]:
    """The last 20 lines of a side's log without its secrets; none where there is no log."""
    if not log.exists():
        return ()
    with log.open("rb") as file:
        return last_lines(file, hidden=secrets_of(side.env))


def _await_ready(target: Target, name: str, group: Group, port: int) -> EnvironmentFailure | None:
    """None once the application answers; otherwise why it will not."""
    deadline = time.monotonic() + target.ready_timeout
    seen = "nothing listened"
    while (left := deadline - time.monotonic()) > 0:
        code = group.process.poll()
        if code is not None:
            return EnvironmentFailure(
                f"the application of {name} {ending(code)} before it answered GET {target.ready}",
                hint="target.start must stay in the foreground and listen on 127.0.0.1:{port}",
            )
        try:
            status = _status(group, port, target.ready, min(left, _ONE_ANSWER))
        except (OSError, http.client.HTTPException) as error:
            seen = _described(error)
        else:
            if status < 500:
                return _stranger(name, group, port)
            seen = f"the last answer was {status}"
        time.sleep(_POLL)
    late = f"did not answer GET {target.ready} within {target.ready_timeout:g} s"
    return EnvironmentFailure(
        f"the application of {name} {late}: {seen}",
        hint=_where_it_listens(group, port),
    )


def _status(group: Group, port: int, path: str, timeout: float) -> int:
    """The status of one GET; TimeoutError once `timeout` seconds are over or the application has ended."""
    with contextlib.closing(http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)) as connection:
        connection.request("GET", path, headers={"Connection": "close"})
        deadline = time.monotonic() + timeout
        while not select.select([connection.sock], [], [], _POLL)[0]:
            # Whoever else holds the port may accept and stay silent for longer than we need to wait.
            if group.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError
        return connection.getresponse().status


def _described(error: OSError | http.client.HTTPException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listened"
    if isinstance(error, TimeoutError):
        return "it accepted the connection and was silent"
    return f"the last try gave {type(error).__name__}"


def _stranger(name: str, group: Group, port: int) -> EnvironmentFailure | None:
    """An answer counts only if it is not from a server that was there before the application."""
    pid = stranger(port, group.pids)
    if pid is None:
        return None
    message = f"port {port} of the application of {name} belongs to another program (pid {pid})"
    return _PortTaken(message, hint="run it again; ports are chosen anew each time")


def _where_it_listens(group: Group, port: int) -> str:
    if others := tuple(other for other in listening(group.pids) if other != port):
        return f"it listens on {', '.join(map(str, others))}; use {{port}} in target.start or target.env"
    return "correct target.ready, or raise target.ready_timeout if it needs longer"


def _blamed(fault: EnvironmentFailure, group: Group, port: int) -> EnvironmentFailure:
    """The same failure, as the port's where the port is to blame, so that another is tried."""
    if group.process.poll() is None:
        return fault
    said = any(words in line.lower() for line in fault.tail for words in _IN_USE)
    if not said and (not taken(port) or port in listening(group.pids)):
        return fault
    own = "it wants a port that is in use; let it take {port} in target.start or target.env"
    hint = f"something else listens on port {port}" if taken(port) else own
    return _PortTaken(fault.message, where=fault.where, tail=fault.tail, hint=hint)


def _placed(target: Target, side: Side, port: int, *, every: bool) -> Side:
    """The side with its variables and files filled in; of those already there, only what names the port."""
    values = _values(side, port)
    own = {
        name: fill(text, values, where=f"target.env.{name}")
        for name, text in target.env.items()
        if every or "port" in names(text)
    }
    virtual = {"VIRTUAL_ENV": str(Path(side.interpreter).parent.parent)} if side.interpreter else {}
    # Last: both sides of a pair share the hash seed, and pairs differ, whatever [target.env] says.
    env = side.env | own | virtual | {"PYTHONHASHSEED": str(side.seed % _SEEDS)}
    for file in target.files:
        if every or "port" in names(file.text):
            _write(side, file.path, fill(file.text, values, where=f"target.files {file.path!r}"))
    return dataclasses.replace(side, env=env)


def _write(side: Side, path: str, text: str) -> None:
    """Write one of target.files, relative to target.directory. Raises ConfigError outside the worktree."""
    root = Path(side.worktree).resolve()
    place = Path(side.directory, path).resolve()
    if not place.is_relative_to(root) or place in (root, root / ".git"):
        raise ConfigError(
            f"target.files {path!r} is not a file inside the checkout",
            where="target.files",
            hint="the path is relative to target.directory",
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"target.files {path!r} cannot be written: {error.strerror}", where="target.files"
        ) from error


def _values(side: Side, port: int) -> dict[str, str]:
    return values_of(
        interpreter=side.interpreter,
        worktree=side.worktree,
        postgres_url=side.postgres_url,
        redis_url=side.redis_url,
        seed=side.seed,
        port=port,
    )
