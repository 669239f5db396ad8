"""A side's own environment: interpreter, dependencies from the cache, and the project itself.

Dependencies are the slow part and rarely change: they are installed once per key, kept, and every side
gets a copy. The project is installed into each side's copy every time; if it were in the cache, base
and head would run the same code.

Copying is slow too, thousands of small files: a side gives its copy back, and a later one takes it, mends
what differs from the cache, and has the same as with a new copy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.config import Target
from gate.errors import ConfigError, EnvironmentFailure
from gate.target import variables
from gate.target.command import run
from gate.target.interpreter import Interpreter, resolve
from gate.target.inventory import Inventory, inventory_of, read_inventory, within
from gate.target.placeholders import INSTALLING, fill, names
from gate.target.spares import Spares
from gate.target.store import Store
from gate.target.trees import UNKNOWN, Mark, marks_of, mend
from gate.target.venv import settle

_FORMAT = "perf-gate.environment/2"  # part of every key: another layout in the cache needs another number
_KEPT = 8  # environments; each is a few hundred megabytes
_SPARES = 4  # copies that wait for a next run: two sides, and both once more where times are confirmed
_MADE = "made.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What an installation gives. interpreter, python ("3.11"): empty for another language.

    packages: (normalised name, version) of every distribution but the project's own and pip's tools;
    for another language (key file, first 16 hex digits of its SHA-256). Sorted.
    path: PATH for the side's processes.
    """

    interpreter: str
    python: str
    packages: tuple[tuple[str, str], ...]
    path: str


@dataclass(frozen=True, slots=True)
class _Made:
    """Dependencies in the cache. instance: of this one installation; another of the same key has another.

    origin: the path at which it was made, which its files name. inventory: without the project.
    """

    instance: str
    origin: str
    inventory: Inventory

    @classmethod
    def read(cls, entry: Path) -> _Made:
        told = json.loads((entry / _MADE).read_bytes())
        return cls(told["instance"], told["origin"], inventory_of(told["inventory"]))

    def write(self, entry: Path) -> None:
        (entry / _MADE).write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Loan:
    """A side's copy of the dependencies. marks: how its entries were before the side used it."""

    made: _Made
    place: Path
    marks: Mapping[str, Mark]

    def give_back(self, spares: Spares) -> None:
        """Best effort: what cannot be given back is removed with the side's other files."""
        with contextlib.suppress(OSError):
            spares.give(self.made.instance, self.place, self.marks)


@dataclass(frozen=True, slots=True)
class _Job:
    """One side's installation, as every step of it needs it."""

    target: Target
    worktree: Path
    directory: Path
    environ: Mapping[str, str]
    notify: Callable[[str], None]

    def run(self, key: str, commands: tuple[tuple[str, ...], ...], env_dir: Path | None) -> None:
        """Run the commands of target.<key>, in the virtual environment if there is one."""
        values = {"worktree": str(self.worktree)}
        if env_dir is not None:
            values["python"] = str(_python(env_dir))
        env = self._env(values, env_dir)
        for number, command in enumerate(commands, start=1):
            where = f"target.{key}[{number}]"
            run(
                [fill(argument, values, where=where) for argument in command],
                what=where,
                cwd=self.directory,
                env=env,
                timeout=self.target.command_timeout,
                hint="try the command by hand in a clean checkout",
            )

    def inventory(self, env_dir: Path) -> Inventory:
        env = variables.for_running(self.environ)
        return read_inventory(_python(env_dir), directory=self.directory, env=env)

    def _env(self, values: Mapping[str, str], env_dir: Path | None) -> dict[str, str]:
        env = variables.for_installing(self.environ) | {"PATH": _path(env_dir, self.environ)}
        if env_dir is not None:
            env["VIRTUAL_ENV"] = str(env_dir)
        early = _early(self.target).items()
        return env | {name: fill(text, values, where=f"target.env.{name}") for name, text in early}


@contextlib.contextmanager
def installed(
    target: Target,
    *,
    worktree: Path,
    env_dir: Path,
    cache: Path,
    environ: Mapping[str, str],
    notify: Callable[[str], None],
) -> Iterator[Installed]:
    """`install` until the block ends: then the environment goes to the cache, where the next side finds it.

    Nothing of the side may run by then. What is still at `env_dir`, or beside it under a name that begins
    with its own, is removed by the caller as after `install`.
    """
    job = _Job(target, worktree, working_directory(target, worktree), environ, notify)
    done, loan = _install(job, env_dir, cache)
    try:
        yield done
    finally:
        if loan is not None:
            loan.give_back(_spares(cache))


def install(
    target: Target,
    *,
    worktree: Path,
    env_dir: Path,
    cache: Path,
    environ: Mapping[str, str],
    notify: Callable[[str], None],
) -> Installed:
    """Install dependencies and the project of one side.

    worktree: the side's checkout; commands run in target.directory below it. env_dir: where the side's
    virtual environment goes; must not exist, removed by the caller. cache: shared by all sides and runs.
    environ: the caller's environment, of which a short list is passed on.
    Raises EnvironmentFailure for a failing command or interpreter, ConfigError for a missing key file.
    """
    job = _Job(target, worktree, working_directory(target, worktree), environ, notify)
    return _install(job, env_dir, cache)[0]


def _install(job: _Job, env_dir: Path, cache: Path) -> tuple[Installed, _Loan | None]:
    target, environ = job.target, job.environ
    declared = _declared(job)
    if target.python is None:
        job.notify("installing")
        job.run("install", target.install, None)
        job.run("project", target.project, None)
        packages = tuple((name, digest[:16]) for name, digest in _digests(declared).items())
        return Installed(interpreter="", python="", packages=packages, path=_path(None, environ)), None
    interpreter = resolve(target.python, directory=job.directory, environ=variables.for_running(environ))
    key = _key(target, interpreter, _digests(_named(job) | declared))
    store = dependencies(cache)
    try:
        loan = _dependencies(job, interpreter, key, store, _spares(cache), env_dir)
    except OSError as error:  # a full disk, a cache of another user
        raise EnvironmentFailure(
            f"the cache of dependencies cannot be used: {error.strerror or error}",
            where=str(store.home),
            hint="make room or correct its owner; the directory may be removed at any time",
        ) from error
    inventory = loan.made.inventory
    if target.project:
        job.notify("installing the project")
        job.run("project", target.project, env_dir)
        inventory = job.inventory(env_dir)
    done = Installed(
        interpreter=str(_python(env_dir)),
        python=inventory.python,
        packages=inventory.packages(job.worktree),
        path=_path(env_dir, environ),
    )
    return done, loan


def dependencies(cache: Path) -> Store:
    """Where dependencies are kept between runs."""
    return Store(cache / "environments", _KEPT)


def working_directory(target: Target, worktree: Path) -> Path:
    """Where the target's commands run. Raises ConfigError unless it is a directory inside the worktree."""
    directory = worktree / target.directory
    if not directory.is_dir() or not within(directory, worktree):
        raise ConfigError(
            f"target.directory = {target.directory!r} is no directory of this checkout",
            where=str(worktree),
            hint="it is relative to the root of the repository",
        )
    return directory


def _spares(cache: Path) -> Spares:
    return Spares(cache / "spares", _SPARES)


def _dependencies(
    job: _Job, interpreter: Interpreter, key: str, store: Store, spares: Spares, env_dir: Path
) -> _Loan:
    """The cached dependencies at `env_dir`, installed first where the cache has none."""
    with store.alone_with(key, job.notify) as entry:
        if not _complete(entry):
            job.notify(f"installing dependencies for Python {interpreter.version}")
            with store.building(entry) as place:
                _build(job, interpreter, place)
        os.utime(entry)
        made = _Made.read(entry)
        marks = _copied(spares, made, entry / "venv", env_dir)
        changed = settle(env_dir, origin=made.origin)
    store.prune()
    return _Loan(made, env_dir, marks | dict.fromkeys(changed, UNKNOWN))


def _copied(spares: Spares, made: _Made, venv: Path, env_dir: Path) -> dict[str, Mark]:
    """The environment's marks, once `env_dir` is a copy of it: one that a side gave back, or a new one."""
    if not env_dir.exists() and (marks := spares.take(made.instance, env_dir)) is not None:
        try:
            return mend(env_dir, venv, marks)
        except OSError:  # a directory that even its owner may not read
            env_dir.rename(env_dir.with_name(f"{env_dir.name}-spoilt"))
    shutil.copytree(venv, env_dir, symlinks=True)
    return marks_of(env_dir)


def _build(job: _Job, interpreter: Interpreter, place: Path) -> None:
    """Make a virtual environment below `place`, and note under which path it was made."""
    venv = place / "venv"
    run(
        [interpreter.path, "-m", "venv", str(venv)],
        what="making a virtual environment",
        cwd=place,
        env=variables.for_installing(job.environ),
        timeout=job.target.command_timeout,
        hint="on Debian and Ubuntu the package python3-venv is needed",
    )
    job.run("install", job.target.install, venv)
    inventory = job.inventory(venv)
    _refuse_project(inventory, job.worktree)
    _Made(secrets.token_hex(8), str(venv), inventory).write(place)


def _refuse_project(inventory: Inventory, worktree: Path) -> None:
    """The project among the cached dependencies would be the same code on both sides, whatever changed."""
    if taken := inventory.taken_from(worktree):
        raise ConfigError(
            f"target.install installs from the checkout itself: {', '.join(taken)}",
            where="target.install",
            hint="move that command to target.project, which runs for each side; target.install is cached",
        )


def _complete(entry: Path) -> bool:
    """Whole, and its interpreter still there (a system's Python may have been removed meanwhile)."""
    return (entry / _MADE).is_file() and _python(entry / "venv").exists()


def _key(target: Target, interpreter: Interpreter, files: Mapping[str, str]) -> str:
    parts = {
        "format": _FORMAT,
        "interpreter": [interpreter.path, interpreter.version, interpreter.platform],
        "install": target.install,
        "env": _early(target),
        "files": files,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _early(target: Target) -> dict[str, str]:
    """The variables of [target.env] that need no running service; installs get these alone."""
    return {name: text for name, text in target.env.items() if set(names(text)) <= set(INSTALLING)}


def _declared(job: _Job) -> dict[str, Path]:
    """target.key_files, which may hold patterns: name relative to target.directory -> file."""
    files: dict[str, Path] = {}
    for pattern in job.target.key_files:
        found = _matching(job.directory, pattern)
        if not found:
            raise ConfigError(
                f"key file {pattern!r} does not exist",
                where=f"target.key_files, in {job.directory}",
                hint="key_files are relative to target.directory",
            )
        files |= found
    return files


def _matching(directory: Path, pattern: str) -> dict[str, Path]:
    if not re.search(r"[*?\[]", pattern):
        return {pattern: directory / pattern} if (directory / pattern).is_file() else {}
    return {str(p.relative_to(directory)): p for p in directory.glob(pattern) if p.is_file()}


def _named(job: _Job) -> dict[str, Path]:
    """Files of the checkout that an install command names, such as requirements.txt: they decide too."""
    arguments = (argument for command in job.target.install for argument in command)
    files = {argument: job.directory / argument for argument in arguments if "{" not in argument}
    return {n: path for n, path in files.items() if os.path.isfile(path) and within(path, job.worktree)}


def _digests(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}


def _python(env_dir: Path) -> Path:
    return env_dir / "bin" / "python"


def _path(env_dir: Path | None, environ: Mapping[str, str]) -> str:
    path = environ.get("PATH", os.defpath)
    return path if env_dir is None else f"{env_dir / 'bin'}{os.pathsep}{path}"
