"""The docker provider: the same servers, their programs taken from images.

A container is only a way to start a program here: it runs as our account, on the host's loopback, with
the run's directory mounted at the same path. So data, sockets, ports, passwords and saved copies are those
of every other provider, clients reach the server without a proxy between (a mapped port costs six times
a Unix socket per round trip), and the image's own entry point, which would initialise by other rules, has
no part in it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig, Mount
from docker.utils import kwargs_from_env

from gate.config import Services
from gate.errors import EnvironmentFailure
from gate.services.account import Account, choose_account
from gate.services.local import LocalRunning, started
from gate.services.place import identity, lives, run_directory
from gate.services.process import Launch, Server
from gate.services.programs import Programs
from gate.services.running import Notify, Request, Running, Unavailable
from gate.services.watchdog import LABEL, remove_containers

NAME = "docker"
OWNER = "perf-gate.owner"
_UNIX = "unix://"
_DEFAULT_SOCKET = f"{_UNIX}/var/run/docker.sock"
_TIMEOUT = 60  # seconds for any one answer of the daemon
_STOP_SIGNALS = 128  # a container's exit status of a program ended by signal n is 128 + n


@contextlib.contextmanager
def provide(request: Request) -> Iterator[Running]:
    """Postgres and Redis from images; pulled where the daemon has them not."""
    with daemon() as (client, door):
        config = request.config
        reap_containers(client, door, request.notify)
        postgres = ensure_image(client, postgres_image(config), request.notify)
        redis = ensure_image(client, full_name(config.redis.image, config.docker.registry), request.notify)
        check_major(postgres, postgres_image(config), config.postgres.version)
        account = choose_account(listed=False)
        with run_directory(
            request.state,
            account,
            needed=request.needed,
            place=request.place,
            notify=request.notify,
            docker=door,
            provider=NAME,
        ) as directory:
            connect = functools.partial(
                docker.DockerClient, f"{_UNIX}{door}", timeout=_TIMEOUT, version=client.api.api_version
            )
            launcher = Launcher(connect, account, directory, cpuset=config.docker.cpuset)
            running = LocalRunning(
                _programs(config),
                account,
                directory,
                provider=NAME,
                launch=launcher.of(postgres.id),
                launch_redis=launcher.of(redis.id),
                request=request,
            )
            with started(running):
                yield running


def _programs(config: Services) -> Programs:
    """Found on the image's own PATH. The watchdog finds containers by label, so Redis may keep its title."""
    return Programs(
        postgres=Path("postgres"),
        initdb=Path("initdb"),
        redis=Path("redis-server"),
        major=config.postgres.version,
        redis_major=0,
    )


@contextlib.contextmanager
def daemon() -> Iterator[tuple[docker.DockerClient, str]]:
    """A client of the local daemon and the path of its socket. Unavailable where there is none to use."""
    url = str(kwargs_from_env().get("base_url") or _DEFAULT_SOCKET)  # DOCKER_HOST, as everybody reads it
    if not url.startswith(_UNIX):
        raise Unavailable(
            "only a Docker daemon of this machine can be used: the servers share our files and loopback",
            where=url.partition("@")[2] or url,
            hint="unset DOCKER_HOST, or use another provider of services",
        )
    _knock(url)
    try:
        client = docker.DockerClient(base_url=url, timeout=_TIMEOUT)
    except DockerException as error:
        raise Unavailable(f"the Docker daemon cannot be used: {_explained(error)}", where=url) from error
    try:
        _check_daemon(client, url)
        yield client, url.removeprefix(_UNIX)
    finally:
        client.close()


def _knock(url: str) -> None:
    """Raises Unavailable with the kernel's reason, which the client's own error buries."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(_TIMEOUT)
        try:
            door.connect(url.removeprefix(_UNIX))
        except OSError as error:
            raise Unavailable(
                f"no Docker daemon answers ({error.strerror or error})",
                where=url,
                hint="start Docker, or join the group that may use its socket",
            ) from error


def _check_daemon(client: docker.DockerClient, url: str) -> None:
    options = " ".join(client.info().get("SecurityOptions") or ())
    for option in ("rootless", "userns"):
        if f"name={option}" in options:
            raise Unavailable(
                f"the Docker daemon maps users ({option}): its servers could not share files with us",
                where=url,
                hint="use --services embedded",
            )


def postgres_image(config: Services) -> str:
    """The configured image, or the official one of the configured major version."""
    name = config.postgres.image or f"postgres:{config.postgres.version}"
    return full_name(name, config.docker.registry)


def full_name(image: str, registry: str) -> str:
    """The name to pull by: `registry` is put before a name whose first part is no host."""
    first, slash, _ = image.partition("/")
    names_host = slash and ("." in first or ":" in first or first == "localhost")
    return image if names_host or not registry else f"{registry.rstrip('/')}/{image}"


def ensure_image(client: docker.DockerClient, name: str, notify: Notify) -> Any:
    """The image, pulled with progress where the daemon has it not. Raises Unavailable."""
    try:
        return client.images.get(name)
    except ImageNotFound:
        _pull(client, name, notify)
    try:
        return client.images.get(name)
    except ImageNotFound as error:
        raise Unavailable("the image is not there after it was pulled", where=name) from error


def _pull(client: docker.DockerClient, name: str, notify: Notify) -> None:
    notify(f"pulling {name}")
    repository, tag = _split(name)
    layers: dict[str, tuple[int, int]] = {}
    shown = 0
    try:
        for event in client.api.pull(repository, tag=tag, stream=True, decode=True):
            if "error" in event:
                raise DockerException(str(event["error"]))
            detail = event.get("progressDetail") or {}
            if event.get("status") == "Downloading" and detail.get("total"):
                layers[event["id"]] = (detail.get("current", 0), detail["total"])
                done, total = (sum(part) for part in zip(*layers.values(), strict=True))
                if (quarter := 4 * done // total) > shown:
                    shown = quarter
                    notify(f"pulling {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")
    except DockerException as error:
        raise Unavailable(
            f"the image cannot be pulled: {_explained(error)}",
            where=name,
            hint="check the name, log in to its registry, or set services.docker.registry to a mirror",
        ) from error


def _split(name: str) -> tuple[str, str | None]:
    """Repository and tag, for what pulls all tags where none is given; a digest stays with its name."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, "latest"
    return repository, tag


def check_major(image: Any, name: str, wanted: int) -> None:
    """Official images name their major version; one that does not is believed until its server answers."""
    environment = image.attrs.get("Config", {}).get("Env") or ()
    found = next(
        (value.removeprefix("PG_MAJOR=") for value in environment if value.startswith("PG_MAJOR=")), ""
    )
    if found and found != str(wanted):
        raise Unavailable(
            f"the image holds Postgres {found}, not {wanted}",
            where=name,
            hint=f"set services.postgres.image to an image of {wanted}, or leave it unset",
        )


class Launcher:
    """Starts programs of images in containers that share the run's directory and the host's loopback.

    connect: a client of its own for each, since servers start and end in several threads, which cannot share
    one.
    """

    def __init__(
        self,
        connect: Callable[[], docker.DockerClient],
        account: Account,
        directory: Path,
        *,
        cpuset: str | None,
    ) -> None:
        self._connect = connect
        self._account = account
        self._run = directory
        self._cpuset = cpuset

    def of(self, image: str) -> Launch:
        """Launch programs of this image."""

        def launch(command: Sequence[str], *, name: str, directory: Path) -> Server:
            return self._launch(image, command, name=name, directory=directory)

        return launch

    def _launch(self, image: str, command: Sequence[str], *, name: str, directory: Path) -> Server:
        client = self._connect()
        try:
            container = client.containers.create(
                image,
                entrypoint=[command[0]],
                command=list(command[1:]),
                user=f"{self._account.uid}:{self._account.gid}",
                working_dir=str(directory),
                environment={"LC_ALL": "C", "TZ": "UTC"},
                network_mode="host",
                mounts=[
                    Mount(str(self._run), str(self._run), type="bind"),
                    Mount("/etc/passwd", str(self._users()), type="bind", read_only=True),
                ],
                labels={LABEL: self._run.name, OWNER: json.dumps(identity(os.getpid()))},
                cpuset_cpus=self._cpuset,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                log_config=LogConfig(type="json-file"),
            )
        except BaseException as error:
            client.close()
            if isinstance(error, DockerException):
                raise _cannot_start(name, image, error) from error
            raise
        server = Container(container, name=name, directory=directory)
        try:
            container.start()
        except DockerException as error:
            server.dispose()
            raise _cannot_start(name, image, error) from error
        except BaseException:
            server.dispose()
            raise
        return server

    def _users(self) -> Path:
        """A user database that knows our account, which the image need not: initdb looks it up."""
        path = self._run / "passwd"
        if not path.exists():
            account = self._account
            path.write_text(
                f"root:x:0:0::/:/bin/false\n{account.name}:x:{account.uid}:{account.gid}::/:/bin/false\n",
                encoding="utf-8",
            )
            path.chmod(0o644)
        return path


class Container(Server):
    """A program of an image, as the first and only process of its container.

    Asking the daemon costs as much work as what is being waited for: it is asked less often.
    """

    interval = 0.015

    def __init__(self, container: Any, *, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.log = f"container {container.short_id}"
        self._container = container
        self._host_pid: int | None = None

    @property
    def pid(self) -> int:
        return 1

    def host_pid(self) -> int | None:
        """Asked once. Believed if the process is in this container: the daemon may count in other numbers."""
        if self._host_pid is None:
            state = self._state()
            self._host_pid = int(state["Pid"]) if state else 0
        return self._host_pid if _is_inside(self._host_pid, str(self._container.id)) else None

    def exit_status(self) -> int | None:
        state = self._state()
        if state is None:
            return _STOP_SIGNALS + signal.SIGKILL
        return None if state["Running"] or state["Status"] == "created" else int(state["ExitCode"])

    def _state(self) -> Mapping[str, Any] | None:
        """What the daemon says; None where somebody else has removed the container."""
        try:
            found: Mapping[str, Any] = self._container.client.api.inspect_container(self._container.id)
        except NotFound:
            return None
        except DockerException as error:
            raise EnvironmentFailure(
                f"Docker does not say what became of {self.name}: {_explained(error)}", where=self.log
            ) from error
        state: Mapping[str, Any] = found["State"]
        return state

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(APIError):  # it has ended meanwhile
            self._container.kill(signal=number.name)

    def output(self) -> str:
        try:
            return str(self._container.logs(tail=100).decode("utf-8", "replace"))
        except DockerException as error:
            return f"(its output cannot be read: {_explained(error)})"

    def log_end(self) -> int:
        """Nanoseconds since the epoch: the daemon knows its lines by the time they came."""
        return time.time_ns()

    def log_since(self, end: int) -> str:
        since = end / 1e9 - 0.001  # nanoseconds do not fit into a float
        try:
            return str(self._container.logs(since=since).decode("utf-8", "replace"))
        except DockerException as error:
            raise EnvironmentFailure(
                f"Docker does not give the log of {self.name}: {_explained(error)}", where=self.log
            ) from error

    def dispose(self) -> None:
        with contextlib.closing(self._container.client), contextlib.suppress(APIError):
            self._container.remove(force=True, v=True)  # gone, or being removed by the watchdog


def _is_inside(pid: int, container: str) -> bool:
    """Whether a process is of the container, by its control group, which the daemon names after it."""
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def reap_containers(client: docker.DockerClient, door: str, notify: Notify) -> None:
    """Remove containers of runs that are gone, also where their record is lost."""
    for container, run in ownerless(client):
        notify(f"removing a container that a killed run left behind: {container}")
        with contextlib.suppress(OSError):
            remove_containers(door, run)


def ownerless(client: docker.DockerClient) -> Iterator[tuple[str, str]]:
    """Short id and run of every container of ours whose owner is gone."""
    for container in client.containers.list(all=True, filters={"label": OWNER}, ignore_removed=True):
        try:
            owner = json.loads(container.labels[OWNER])
        except ValueError:
            continue
        if isinstance(owner, dict) and not lives(owner):
            yield str(container.short_id), container.labels.get(LABEL, "")


def _cannot_start(name: str, image: str, error: DockerException) -> EnvironmentFailure:
    reason = _explained(error)
    if "bind source path does not exist" in reason:
        return Unavailable(
            "the Docker daemon does not see our files (are we in a container ourselves?)",
            where=image,
            hint="use --services embedded",
        )
    return EnvironmentFailure(f"Docker cannot start {name}: {reason}", where=image)


def _explained(error: DockerException) -> str:
    """The daemon's own sentence, without the request and without credentials in an address."""
    text = str(getattr(error, "explanation", None) or error).strip().partition("\n")[0]
    return re.sub(r"//[^/@\s]+@", "//", text)
