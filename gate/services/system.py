"""The system provider: server programs that the machine has already."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from gate.services.account import Account
from gate.services.local import local_services
from gate.services.programs import Programs, ask_version
from gate.services.running import Request, Running, Unavailable

NAME = "system"
# Debian and Ubuntu, Red Hat's and PostgreSQL's own packages, Alpine, a build of one's own.
_VERSIONED = (
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/usr/lib64/pgsql/postgresql-{}/bin",
    "/usr/libexec/postgresql{}",
    "/usr/local/pgsql/bin",
)
_REDIS = ("redis-server", "valkey-server")
_REDIS_PLACES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/redis/bin")
_TIMEOUT = 10.0


def provide(request: Request) -> AbstractContextManager[Running]:
    """The installed Postgres of the configured major version, and the installed Redis or Valkey."""

    def find(account: Account) -> Programs:
        return find_programs(request.config.postgres.version, account)

    return local_services(request, provider=NAME, find=find)


def find_programs(major: int, account: Account) -> Programs:
    """The machine's programs. Raises Unavailable with the versions there are."""
    postgres = _postgres(major, account)
    redis = _redis()
    return Programs(
        postgres=postgres,
        initdb=postgres.with_name("initdb"),
        redis=redis,
        major=major,
        redis_major=ask_version(redis, account),
    )


def _postgres(major: int, account: Account) -> Path:
    found: dict[int, Path] = {}
    for directory in _directories(major):
        program = directory / "postgres"
        if program.is_file() and program.with_name("initdb").is_file():
            found.setdefault(ask_version(program, account), program)
        if major in found:
            return found[major]
    if not found:
        raise Unavailable(
            f"no Postgres server programs are installed (looked for {major})",
            hint=f"install postgresql-{major}, or use --services docker or embedded",
        )
    there = ", ".join(str(version) for version in sorted(found))
    raise Unavailable(
        f"this machine has Postgres {there}, not {major}",
        where=str(next(iter(found.values()))),
        hint=f"install postgresql-{major}, or use --services docker or embedded",
    )


def _directories(major: int) -> Iterator[Path]:
    """Where server programs may lie, the likeliest first; the last two need not be of this major version."""
    for pattern in _VERSIONED:
        yield Path(pattern.format(major))
    if program := shutil.which("pg_config"):
        done = subprocess.run(
            [program, "--bindir"], capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
        if done.returncode == 0:
            yield Path(done.stdout.strip())
    if program := shutil.which("postgres"):
        yield Path(program).resolve().parent


def _redis() -> Path:
    for name in _REDIS:
        for place in (None, *_REDIS_PLACES):
            program = shutil.which(name) if place is None else shutil.which(name, path=place)
            if program:
                return Path(program)
    raise Unavailable(
        "no Redis or Valkey server is installed",
        hint="install redis-server, or use --services docker or embedded",
    )
