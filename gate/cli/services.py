"""`perf-gate services`: Postgres and Redis beyond one run, what runs now, and what killed runs left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from gate import dataset, services
from gate.cli.options import cache_directory, config_option, option
from gate.cli.scratch import left_behind
from gate.cli.sources import configuration
from gate.cli.terminal import progress
from gate.errors import EnvironmentFailure, RepositoryError
from gate.services import Keeper, Kept, Leftover
from gate.target.environment import dependencies
from gate.target.repository import Repository

# The external provider wants one Redis for each side; whoever needs a single one takes the first.
_SIDES = ("head", "base")
_ABORT_TIMEOUT = 60.0

provider_option = option(
    "--services",
    "provider",
    type=click.Choice(["auto", "docker", "embedded", "system"]),
    default="auto",
    show_default=True,
    help="How Postgres and Redis are started.",
)


@click.group("services")
def group() -> None:
    """Postgres and Redis in the background, and what is left of killed runs."""


@group.command()
@config_option
@provider_option
def up(config: str, provider: str) -> int:
    """Start Postgres and Redis of the configuration, and keep them until `down`.

    Prints NAME=value lines, passwords included (nothing else ever shows one), which
    `perf-gate run --services external` reads from the environment: env $(perf-gate services up) ...
    """
    file = (Path.cwd() / config).resolve()
    configuration(file, config)
    keeper = _keeper(file)
    kept = keeper.kept()
    if kept is not None:
        click.echo(f"already running ({_described(kept)})", err=True)
    else:
        code = _launch(keeper, file, provider)
        kept = keeper.kept()
        if kept is None:
            return code or EnvironmentFailure.exit_code
    click.echo(f"PERF_GATE_POSTGRES_URL={kept.postgres}")
    click.echo(f"PERF_GATE_REDIS_URLS={','.join(kept.redis)}")
    return 0


@group.command()
@config_option
def down(config: str) -> None:
    """Stop the services that `up` started for this configuration."""
    keeper = _keeper((Path.cwd() / config).resolve())
    kept = keeper.kept()
    if kept is None:
        _refuse_while_starting(keeper)
        click.echo("nothing to stop: no services are kept for this configuration", err=True)
        return
    keeper.stop(kept)
    click.echo(f"stopped ({_described(kept)})", err=True)


@group.command()
def status() -> None:
    """Say what runs, for whom, and what killed runs left behind."""
    cache = cache_directory(os.environ)
    lines = [*_running(cache / "state"), *(f"left over: {found.what}" for found in _leftovers(cache))]
    click.echo("\n".join(lines or ["no services run, and nothing is left over"]))


@group.command()
def clean() -> None:
    """Remove what killed runs left behind: servers, data, directories, half-written caches.

    Whatever a living run or keeper owns is left alone.
    """
    count = 0
    for found in _leftovers(cache_directory(os.environ)):
        found.remove()
        click.echo(f"removed {found.what}")
        count += 1
    if not count:
        click.echo("nothing is left over")


@group.command(hidden=True)
@click.option("--config", type=click.Path(path_type=Path), required=True)
@provider_option
def keep(config: Path, provider: services.ProviderName) -> None:
    """Be the keeper: start the services, say so by a record and by closing stdout, wait for a signal.

    The lock that `up` took is inherited as an open file and lasts as long as this process.
    """
    keeper = _keeper(config)
    with services.start(
        configuration(config, config.name).services,
        provider=provider,
        state=keeper.state,
        notify=progress(),
    ) as running:
        redis = tuple(running.redis(name) for name in _SIDES)
        with keeper.published(running.postgres, redis, time.time()):
            _detach(keeper.log)
            while True:
                signal.pause()


def _keeper(file: Path) -> Keeper:
    return Keeper(cache_directory(os.environ) / "state", file)


def _launch(keeper: Keeper, file: Path, provider: str) -> int:
    """Start the keeper and follow what it says until it is ready (0) or has failed (its exit code)."""
    lock = keeper.lock()
    if lock is None:
        _refuse_while_starting(keeper)
        raise EnvironmentFailure("the services were started by someone else at this moment; ask again")
    # -P: a directory named gate where we were called must not be taken for the program.
    command = [sys.executable, "-P", "-m", "gate", "services", "keep"]
    command += ["--config", str(file), "--services", provider]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=(lock,),
            start_new_session=True,  # it outlives the terminal
        )
    finally:
        os.close(lock)
    with _ended_unless_ready(process):
        for line in process.stdout or ():
            click.echo(line, nl=False, err=True)
    return 0 if keeper.kept() else process.wait(_ABORT_TIMEOUT)


@contextmanager
def _ended_unless_ready(process: subprocess.Popen[str]) -> Iterator[None]:
    """An interrupt while starting ends what is being started."""
    try:
        yield
    except BaseException:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_ABORT_TIMEOUT)
        raise


def _refuse_while_starting(keeper: Keeper) -> None:
    """Raises EnvironmentFailure where the lock is held and no record is there yet."""
    lock = keeper.lock()
    if lock is None:
        raise EnvironmentFailure(
            "the services of this configuration are being started or stopped at this moment",
            where=str(keeper.record),
            hint="ask again when that is done",
        )
    os.close(lock)


def _detach(log: Path) -> None:
    """From here on the terminal is not ours: what is still said goes to a log."""
    sys.stdout.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    os.chdir("/")  # no file system stays busy because of us


def _running(state: Path) -> Iterator[str]:
    """One line for each living run or keeper."""
    kept = {kept.owner["pid"]: kept for kept in services.every_kept(state)}
    for run in services.recorded(state):
        if not run.alive:
            continue
        owner = run.owner["pid"]
        if owner in kept:
            yield f"kept for {kept[owner].project}: {_described(kept[owner])}"
        else:
            yield f"a run: {run.provider}{_server(run.directory)}, since {_time(run.since)} (pid {owner})"


def _described(kept: Kept) -> str:
    ports = " and ".join(str(urlsplit(url).port) for url in kept.redis)
    return (
        f"{kept.provider}, Postgres {kept.postgres_version} on port {urlsplit(kept.postgres).port}, "
        f"Redis {kept.redis_version} on ports {ports}, "
        f"since {_time(kept.since)} (keeper, pid {kept.owner['pid']})"
    )


def _server(directory: Path) -> str:
    """Version and port of a run's Postgres by its own files; empty while there are none to read."""
    try:
        version = (directory / "data" / "PG_VERSION").read_text(encoding="ascii").strip()
        port = (directory / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[3]
    except (OSError, IndexError):
        return ""
    return f", Postgres {version} on port {port}"


def _time(since: float) -> str:
    return datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _leftovers(cache: Path) -> Iterator[Leftover]:
    """Everything in the gate's own places that nobody alive owns, of all rooms."""
    saved = dataset.Cache(cache / "datasets")
    yield from services.leftovers(cache / "state", saved.directory)
    for path in saved.doomed():
        yield _directory("an old copy of data, half removed", path)
    for path in dependencies(cache).unfinished():
        yield _directory("half-installed dependencies", path)
    scratch = cache / "scratch"
    for path in left_behind(scratch):
        yield _directory("worktrees and environments of a run that was killed", path)
    yield from _worktrees()


def _directory(what: str, path: Path) -> Leftover:
    return Leftover(what=f"{what}: {path}", remove=_removing(path))


def _removing(path: Path) -> Callable[[], None]:
    return lambda: shutil.rmtree(path, ignore_errors=True)


def _worktrees() -> Iterator[Leftover]:
    """Git's notes of worktrees, in the repository that we are called in, if any."""
    try:
        repository = Repository.discover(Path.cwd(), environ=os.environ)
    except RepositoryError:
        return
    for path in repository.left_behind():
        yield Leftover(what=f"git's note of a worktree: {path}", remove=repository.prune)
