"""The external provider: servers that the user runs and gives us by URL.

They are not ours: nothing is stopped, no setting is changed, data directories are out of reach. What
counting needs is checked; what is not pinned is said.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from gate import db
from gate.errors import ConfigError, EnvironmentFailure
from gate.model import PostgresServer, RedisServer
from gate.services.running import Request, Running
from gate.services.settings import PRELOADED, postgres_settings

NAME = "external"


@contextlib.contextmanager
def provide(request: Request) -> Iterator[Running]:
    """The given servers, checked for what counting needs."""
    if request.given is None:
        raise ConfigError(
            "the external provider needs the URLs of its servers",
            hint="set PERF_GATE_POSTGRES_URL and PERF_GATE_REDIS_URLS (comma-separated, one for each side)",
        )
    postgres = _checked(_postgres(request.given.postgres), request)
    servers = tuple(_redis(url) for url in request.given.redis)
    for server in servers:
        _check_empty(server)
    yield External(postgres, servers, request.state)


class External(Running):
    """Servers given by the user."""

    provider = NAME
    keeps_data = False

    def __init__(self, postgres: PostgresServer, redis: tuple[RedisServer, ...], state: Path) -> None:
        self.data_place = str(state)
        self._postgres = postgres
        self._free = list(redis)
        self._used: dict[str, RedisServer] = {}

    @property
    def postgres(self) -> PostgresServer:
        return self._postgres

    def redis(self, name: str) -> RedisServer:
        if name not in self._used:
            if not self._free:
                raise ConfigError(
                    f"no Redis server is left for {name!r}: {len(self._used)} given",
                    hint="give one URL for each side in PERF_GATE_REDIS_URLS",
                )
            self._used[name] = self._free.pop(0)
        server = self._used[name]
        with db.redis_client(server) as client:
            db.empty_redis(client)
        return server

    def failure(self) -> EnvironmentFailure | None:
        try:
            db.connect(self._postgres, "postgres").close()
            for server in self._used.values():
                db.open_redis(server).close()
        except EnvironmentFailure as error:
            return error
        return None

    def restart_postgres(self) -> None:
        raise EnvironmentFailure("a Postgres that was given is not ours to restart")

    def save_data(self, into: Path) -> None:
        raise EnvironmentFailure("the data directory of a Postgres that was given is out of reach")

    def restore_data(self, source: Path) -> None:
        raise EnvironmentFailure("the data directory of a Postgres that was given is out of reach")


def _postgres(url: str) -> PostgresServer:
    parts = _parts(url, ("postgresql", "postgres"), "PERF_GATE_POSTGRES_URL")
    return PostgresServer(
        provider=NAME,
        version="",
        major=0,
        host=parts.hostname or "",
        port=parts.port or 5432,
        user=unquote(parts.username or "postgres"),
        password=unquote(parts.password or ""),
    )


def _redis(url: str) -> RedisServer:
    parts = _parts(url, ("redis",), "PERF_GATE_REDIS_URLS")
    if parts.username or parts.path.strip("/") not in ("", "0"):
        raise ConfigError(
            "a Redis URL may name host, port and password, and no database but 0",
            where="PERF_GATE_REDIS_URLS",
            hint="a client of another database sends SELECT on every connection, which would be counted",
        )
    server = RedisServer(
        provider=NAME,
        version="",
        host=parts.hostname or "",
        port=parts.port or 6379,
        password=unquote(parts.password or ""),
    )
    with db.redis_client(server) as client:
        version = db.redis_version(client)
    return RedisServer(
        provider=NAME, version=version, host=server.host, port=server.port, password=server.password
    )


def _parts(url: str, schemes: tuple[str, ...], where: str) -> SplitResult:
    """The URL's parts; it is never repeated in an error, for it may hold a password."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in schemes and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"not a URL of the form {schemes[0]}://user:password@host:port", where=where)
    return parts


def _checked(server: PostgresServer, request: Request) -> PostgresServer:
    """The server with its version and the options it was initialised with. EnvironmentFailure if unfit."""
    wanted = request.config.postgres.version
    where = f"{server.host}:{server.port}"
    with db.connect(server, "postgres") as connection:
        version, major = db.server_version(connection)
        if major != wanted:
            raise EnvironmentFailure(f"the given Postgres is {version}, not {wanted}", where=where)
        settings = db.settings(connection)
        if PRELOADED not in settings.get("shared_preload_libraries", ""):
            raise EnvironmentFailure(
                f"the given Postgres does not load {PRELOADED}",
                where=where,
                hint=f"set shared_preload_libraries = '{PRELOADED}' and restart it",
            )
        db.create_extension(connection, PRELOADED)
        initdb = _initialised(settings, db.collation(connection), major)
    _say_differences(settings, request)
    return PostgresServer(
        provider=NAME,
        version=version,
        major=major,
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        initdb=initdb,
    )


def _initialised(settings: Mapping[str, str], collation: str, major: int) -> tuple[str, ...]:
    """The initdb options that would have made this server, in the form ours have."""
    options = (f"--locale={collation}", "-E", settings.get("server_encoding", ""))
    without = settings.get("data_checksums") == "off"
    return (*options, "--no-data-checksums") if without and major >= 18 else options


def _say_differences(settings: Mapping[str, str], request: Request) -> None:
    """Names what is not as the gate would pin it: counts are then comparable with this server's alone."""
    pinned = postgres_settings(request.config.postgres.version, request.config.postgres.settings)
    del pinned["shared_preload_libraries"]  # checked for what counting needs; more does no harm
    different = sorted(
        name
        for name, value in pinned.items()
        if name in settings and not name.startswith("log") and settings[name].lower() != value.lower()
    )
    if different:
        request.notify(f"the given Postgres has settings of its own: {', '.join(different)}")


def _check_empty(server: RedisServer) -> None:
    with db.redis_client(server) as client:
        if db.redis_counts(client).keys:
            raise EnvironmentFailure(
                "the given Redis is not empty, and it would be emptied",
                where=f"{server.host}:{server.port}",
                hint="give a Redis server of the gate's own",
            )
