"""Postgres and Redis on files and ports of this machine: what all providers but the external one share.

They differ in which programs there are and in how a program is started (`Launch`).
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gate import db
from gate.errors import EnvironmentFailure
from gate.model import PostgresServer, RedisServer
from gate.services import snapshot
from gate.services.account import Account, choose_account
from gate.services.place import run_directory
from gate.services.process import LOOPBACK, Launch, PortTaken, Server, free_port, launch_as, with_descendants
from gate.services.programs import Programs
from gate.services.running import Request, Running
from gate.services.settings import (
    EXPLAINER,
    SUPERUSER,
    initdb_options,
    postgres_settings,
    redis_settings,
    without_explainer,
)

_INITDB_TIMEOUT = 120.0
_START_TIMEOUT = 60.0
_ABORT_TIMEOUT = 10.0
_STOP_TIMEOUT = 60.0  # a clean stop writes what is dirty
_ATTEMPTS = 5  # at a port that stays free


class LocalPostgres:
    """One data directory and the server on it. Its directory is private to the account and to root."""

    def __init__(
        self,
        programs: Programs,
        account: Account,
        directory: Path,
        *,
        provider: str,
        launch: Launch,
        settings: Mapping[str, str],
    ) -> None:
        self._programs = programs
        self._launch = launch
        self._account = account
        self._directory = directory
        self._provider = provider
        self._settings = settings
        self._initdb: Server | None = None
        self._process: Server | None = None
        self._server: PostgresServer | None = None
        self.data = directory / "data"

    @property
    def server(self) -> PostgresServer:
        if self._server is None:
            raise EnvironmentFailure("Postgres is not running", where=str(self._directory))
        return self._server

    def failure(self) -> EnvironmentFailure | None:
        return self._process.ended() if self._process is not None else None

    def host_pid(self) -> int | None:
        return self._process.host_pid() if self._process is not None else None

    def initialise(self) -> None:
        """initdb. The private socket needs no password, TCP does: see `_write_access`."""
        command = [
            str(self._programs.initdb),
            "-D",
            str(self.data),
            "-U",
            SUPERUSER,
            "--no-sync",
            "--no-instructions",
        ]
        command += ["--auth=trust", *initdb_options(self._programs.major)]
        self._initdb = self._spawn(command, "initdb")
        self._initdb.finish(_INITDB_TIMEOUT)
        self._write_access()

    def start(self) -> None:
        """Start on the port it had, or else another one, and give the superuser a new password.

        A restored data directory holds the password of the run that saved it. A server that lacks the
        library of the plan pass does without. Raises EnvironmentFailure, with the log's end, where the
        server refuses a setting or is not ready in time.
        """
        try:
            self._start()
        except EnvironmentFailure as error:
            if not any(f'"{EXPLAINER}"' in line for line in error.tail):
                raise
            self._settings = without_explainer(self._settings)
            self._start()

    def log_end(self) -> int | None:
        return self._process.log_end() if self._process is not None else None

    def log_since(self, end: int) -> str:
        return self._process.log_since(end) if self._process is not None else ""

    def _start(self) -> None:
        port = self._server.port if self._server else free_port()
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(PortTaken):
                return self._start_on(port)
            port = free_port()
        return self._start_on(port)

    def stop(self, *, clean: bool) -> None:
        """End the server; `clean` leaves a data directory that starts without recovery, or raises."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if clean:
                self._stop_cleanly(process)
            else:
                process.stop(signal.SIGQUIT, timeout=_ABORT_TIMEOUT)
        finally:
            process.dispose()

    def close(self) -> None:
        """End whatever runs, at once."""
        self.stop(clean=False)
        if self._initdb is not None:  # not before: giving a container back takes longer than starting one
            self._initdb.dispose()

    def _stop_cleanly(self, process: Server) -> None:
        status = process.stop(signal.SIGINT, timeout=_STOP_TIMEOUT)
        if status != 0:
            how = f"exit {status}" if status is not None else f"not within {_STOP_TIMEOUT:g} s"
            raise process.failure(f"Postgres did not stop cleanly ({how})")

    def _start_on(self, port: int) -> None:
        command = [str(self._programs.postgres), "-D", str(self.data)]
        settings = dict(self._settings) | {
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": str(self._directory),
            "unix_socket_permissions": "0700",
            "hba_file": str(self._access),
        }
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        process = self._process = self._spawn(command, "Postgres")
        try:
            process.wait_until(self._is_ready, _START_TIMEOUT)
            self._server = self._opened(process.pid, port)
        except BaseException:
            self.stop(clean=False)
            raise

    def _is_ready(self) -> bool:
        """The eighth line of postmaster.pid, where the server says so itself."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _opened(self, pid: int, port: int) -> PostgresServer:
        """The server with its new password, after a first query by the way that everyone takes."""
        password = secrets.token_urlsafe(24)
        major = self._programs.major
        door = PostgresServer(
            provider=self._provider,
            version=str(major),
            major=major,
            host=str(self._directory),
            port=port,
            user=SUPERUSER,
            password="",
            initdb=initdb_options(major),
            data_directory=str(self.data),
            pid=pid,
        )
        with db.connect(door, "postgres") as connection:
            db.set_password(connection, SUPERUSER, password)
            db.create_extension(connection, "pg_stat_statements")
            version, major = db.server_version(connection)
        server = PostgresServer(
            provider=door.provider,
            version=version,
            major=major,
            host=LOOPBACK,
            port=port,
            user=door.user,
            password=password,
            initdb=door.initdb,
            data_directory=door.data_directory,
            pid=pid,
        )
        db.connect(server, "postgres").close()
        return server

    @property
    def _access(self) -> Path:
        return self._directory / "pg_hba.conf"

    def _write_access(self) -> None:
        """Outside of the data directory, so that a restored one cannot bring its own rules."""
        self._access.write_text(
            f"local all all trust\nhost all all {LOOPBACK}/32 scram-sha-256\n", encoding="ascii"
        )
        self._account.own(self._access)

    def _spawn(self, command: list[str], name: str) -> Server:
        return self._launch(command, name=name, directory=self._directory)


class LocalRedis:
    """One Redis or Valkey server in a directory of its own."""

    def __init__(
        self,
        programs: Programs,
        account: Account,
        directory: Path,
        *,
        provider: str,
        launch: Launch,
        settings: Mapping[str, str],
    ) -> None:
        self._programs = programs
        self._launch = launch
        self._account = account
        self._directory = directory
        self._provider = provider
        self._settings = settings
        self._process: Server | None = None

    def start(self) -> RedisServer:
        self._directory.mkdir(mode=0o700)
        self._account.own(self._directory)
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(PortTaken):
                return self._start_on(free_port())
        return self._start_on(free_port())

    def failure(self) -> EnvironmentFailure | None:
        return self._process.ended() if self._process is not None else None

    def host_pid(self) -> int | None:
        return self._process.host_pid() if self._process is not None else None

    def stop(self) -> None:
        """End the server and remove all it had."""
        if self._process is not None:
            self._process.stop(signal.SIGTERM, timeout=_ABORT_TIMEOUT)
            self._process.dispose()
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start_on(self, port: int) -> RedisServer:
        password = secrets.token_urlsafe(24)
        configuration = self._write_configuration(port, password)
        process = self._process = self._launch(
            [str(self._programs.redis), str(configuration)], name="Redis", directory=self._directory
        )
        server = RedisServer(
            provider=self._provider, version="", host=LOOPBACK, port=port, password=password, pid=process.pid
        )
        try:
            process.wait_until(lambda: db.redis_answers(server), _START_TIMEOUT)
            with db.redis_client(server) as client:
                version = db.redis_version(client)
        except BaseException:
            process.dispose()
            raise
        return RedisServer(
            provider=server.provider,
            version=version,
            host=server.host,
            port=port,
            password=password,
            pid=server.pid,
        )

    def _write_configuration(self, port: int, password: str) -> Path:
        """A file, because a command line can be read by every user of the machine."""
        lines = dict(self._settings) | {
            "bind": LOOPBACK,
            "port": str(port),
            "requirepass": password,
            "dir": str(self._directory),
            "daemonize": "no",
        }
        if self._programs.redis_major >= 7:
            lines["set-proc-title"] = "no"  # the watchdog finds it by its command line
        path = self._directory / "redis.conf"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name} {value}\n" for name, value in lines.items()), encoding="utf-8")
        self._account.own(path)
        return path


class LocalRunning(Running):
    """Postgres and Redis servers of this machine in one run's directory."""

    def __init__(
        self,
        programs: Programs,
        account: Account,
        directory: Path,
        *,
        provider: str,
        launch: Launch,
        launch_redis: Launch,
        request: Request,
    ) -> None:
        self.provider = provider
        self.data_place = str(directory)
        self._programs = programs
        self._account = account
        self._directory = directory
        self._launch_redis = launch_redis
        self._notify = request.notify
        self._redis_settings = redis_settings(request.config.redis.settings)
        self._redis: dict[str, LocalRedis] = {}
        self._postgres = LocalPostgres(
            programs,
            account,
            directory,
            provider=provider,
            launch=launch,
            settings=postgres_settings(programs.major, request.config.postgres.settings),
        )

    def open(self) -> None:
        started = time.monotonic()
        self._postgres.initialise()
        self._postgres.start()
        took = time.monotonic() - started
        self._notify(f"Postgres {self.postgres.version} started in {took:.1f} s ({self.provider})")

    def close(self) -> None:
        """At once and without writing: the data goes too."""
        self._postgres.close()
        for server in self._redis.values():
            server.stop()

    @property
    def postgres(self) -> PostgresServer:
        return self._postgres.server

    def redis(self, name: str) -> RedisServer:
        if earlier := self._redis.pop(name, None):
            earlier.stop()
        server = self._redis[name] = LocalRedis(
            self._programs,
            self._account,
            self._directory / f"redis-{name}",
            provider=self.provider,
            launch=self._launch_redis,
            settings=self._redis_settings,
        )
        return server.start()

    def pids(self, name: str) -> tuple[int, ...]:
        server = self._postgres if name == "postgres" else self._redis.get(name)
        pid = server.host_pid() if server is not None else None
        return with_descendants(pid) if pid is not None else ()

    def log_end(self) -> int | None:
        return self._postgres.log_end()

    def log_since(self, end: int) -> str:
        return self._postgres.log_since(end)

    def failure(self) -> EnvironmentFailure | None:
        servers: tuple[LocalPostgres | LocalRedis, ...] = (self._postgres, *self._redis.values())
        return next((fault for server in servers if (fault := server.failure())), None)

    def restart_postgres(self) -> None:
        self._postgres.stop(clean=True)
        self._postgres.start()

    def save_data(self, into: Path) -> None:
        self._postgres.stop(clean=True)
        try:
            snapshot.save(self._postgres.data, into)
        finally:
            self._postgres.start()

    def restore_data(self, source: Path) -> None:
        snapshot.sweep(source.parent)
        snapshot.check(source, self.postgres.major)
        replacement = self._directory / "data.new"
        snapshot.copy(source, replacement)
        self._account.own_tree(replacement)
        self._postgres.stop(clean=False)
        shutil.rmtree(self._postgres.data)
        replacement.rename(self._postgres.data)
        self._postgres.start()


@contextlib.contextmanager
def started(running: LocalRunning) -> Iterator[Running]:
    """The servers for as long as the context lasts."""
    try:
        running.open()
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def local_services(
    request: Request, *, provider: str, find: Callable[[Account], Programs]
) -> Iterator[Running]:
    """Run the programs that `find` names, as an account it can be told of, until the context ends."""
    account = choose_account()
    programs = find(account)
    launch = launch_as(account)
    with run_directory(
        request.state,
        account,
        needed=request.needed,
        place=request.place,
        notify=request.notify,
        provider=provider,
    ) as directory:
        running = LocalRunning(
            programs,
            account,
            directory,
            provider=provider,
            launch=launch,
            launch_redis=launch,
            request=request,
        )
        with started(running):
            yield running
