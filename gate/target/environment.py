"""A side's own environment: interpreter, dependencies from the cache, and the project itself.

Dependencies are the slow part and rarely change: they are installed once per key, kept, and every side
gets a copy. The project is installed into each side's copy every time; if it were in the cache, base
and head would run the same code.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.config import Target
from gate.errors import ConfigError
from gate.target import variables
from gate.target.command import run
from gate.target.interpreter import Interpreter, resolve
from gate.target.placeholders import INSTALLING, fill, names
from gate.target.venv import copy_environment

_FORMAT = "perf-gate.environment/1"  # part of every key: another layout in the cache needs another number
_KEPT = 8  # environments; each is a few hundred megabytes
_TOOLS = frozenset({"pip", "setuptools", "wheel"})
_INVENTORY_TIMEOUT = 60.0
# Asked of the side's interpreter, whatever its version: every distribution with the directory it comes
# from, and every directory on the path. Written to a file, since anything may print.
_INVENTORY = """
import json, sys
from importlib.metadata import distributions
from urllib.parse import unquote, urlsplit
found = []
for d in distributions():
    told = json.loads(d.read_text("direct_url.json") or "{}")
    source = unquote(urlsplit(told["url"]).path) if "dir_info" in told else str(d.locate_file(""))
    if d.metadata["Name"]:
        found.append([d.metadata["Name"], d.version, source])
told = {"python": "%d.%d" % sys.version_info[:2], "packages": found, "path": sys.path, "prefix": sys.prefix}
with open(sys.argv[1], "w") as file:
    json.dump(told, file)
"""


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
class _Inventory:
    python: str
    packages: tuple[tuple[str, str, str], ...]  # name, version, directory it comes from
    path: tuple[str, ...]
    prefix: str

    def comes_from(self, worktree: Path, source: str) -> bool:
        """Whether a directory belongs to the project: in its checkout, but not in the environment itself."""
        return _within(source, worktree) and not _within(source, Path(self.prefix))

    def taken_from(self, worktree: Path) -> tuple[str, ...]:
        """Names of distributions, and directories, that the environment takes from the checkout."""
        packages = [name for name, _, source in self.packages if self.comes_from(worktree, source)]
        return tuple(dict.fromkeys(packages + [e for e in self.path if self.comes_from(worktree, e)]))


@dataclass(frozen=True, slots=True)
class _Job:
    """One side's installation, as every step of it needs it."""

    target: Target
    worktree: Path
    directory: Path
    environ: Mapping[str, str]
    notify: Callable[[str], None]

    def values(self, interpreter: str) -> dict[str, str]:
        return {"worktree": str(self.worktree)} | ({"python": interpreter} if interpreter else {})

    def env(self, env_dir: Path | None) -> dict[str, str]:
        """Of the install commands: [target.env] as far as it can be known before any service runs."""
        env = variables.for_installing(self.environ) | {"PATH": _path(env_dir, self.environ)}
        if env_dir is not None:
            env["VIRTUAL_ENV"] = str(env_dir)
        values = self.values(str(_python(env_dir)) if env_dir else "")
        for name, text in _early(self.target).items():
            env[name] = fill(text, values, where=f"target.env.{name}")
        return env

    def run(self, key: str, commands: tuple[tuple[str, ...], ...], env_dir: Path | None) -> None:
        values = self.values(str(_python(env_dir)) if env_dir else "")
        for number, command in enumerate(commands, start=1):
            where = f"target.{key}[{number}]"
            run(
                [fill(argument, values, where=where) for argument in command],
                what=where,
                cwd=self.directory,
                env=self.env(env_dir),
                timeout=self.target.command_timeout,
                hint="try the command by hand in a clean checkout",
            )


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
    declared = _declared(job)
    if target.python is None:
        notify("installing")
        job.run("install", target.install, None)
        job.run("project", target.project, None)
        packages = tuple((name, digest[:16]) for name, digest in _digests(declared).items())
        return Installed(interpreter="", python="", packages=packages, path=_path(None, environ))
    interpreter = resolve(target.python, directory=job.directory, environ=variables.for_running(environ))
    key = _key(target, interpreter, _digests(_named(job) | declared))
    _dependencies(job, interpreter, key, cache / "environments", env_dir)
    notify("installing the project")
    job.run("project", target.project, env_dir)
    inventory = _inventory(_python(env_dir), job)
    return Installed(
        interpreter=str(_python(env_dir)),
        python=inventory.python,
        packages=_packages(inventory, worktree),
        path=_path(env_dir, environ),
    )


def working_directory(target: Target, worktree: Path) -> Path:
    """Where the target's commands run. Raises ConfigError unless it is a directory inside the worktree."""
    directory = worktree / target.directory
    if not directory.is_dir() or not _within(str(directory), worktree):
        raise ConfigError(
            f"target.directory = {target.directory!r} is no directory of this checkout",
            where=str(worktree),
            hint="it is relative to the root of the repository",
        )
    return directory


def _dependencies(job: _Job, interpreter: Interpreter, key: str, home: Path, env_dir: Path) -> None:
    """A copy of the cached dependencies at `env_dir`, installed first where the cache has none."""
    home.mkdir(parents=True, exist_ok=True)
    entry = home / key
    with _locked(home / f"{key}.lock", job.notify):
        if not _complete(entry):
            job.notify(f"installing dependencies for Python {interpreter.version}")
            _build(job, interpreter, entry)
        os.utime(entry)
        copy_environment(entry / "venv", env_dir, origin=(entry / "origin").read_text(encoding="utf-8"))
    _prune(home)


def _build(job: _Job, interpreter: Interpreter, entry: Path) -> None:
    """Install under another name and rename when complete: what has the name is whole."""
    partial = entry.with_name(f"{entry.name}.partial")
    _remove(partial)
    _remove(entry)
    try:
        partial.mkdir()
        venv = partial / "venv"
        run(
            [interpreter.path, "-m", "venv", str(venv)],
            what="making a virtual environment",
            cwd=partial,
            env=variables.for_installing(job.environ),
            timeout=job.target.command_timeout,
            hint="on Debian and Ubuntu the package python3-venv is needed",
        )
        job.run("install", job.target.install, venv)
        _refuse_project(_inventory(_python(venv), job), job.worktree)
        (partial / "origin").write_text(str(venv), encoding="utf-8")
        partial.rename(entry)
    finally:
        _remove(partial)


def _refuse_project(inventory: _Inventory, worktree: Path) -> None:
    """The project among the cached dependencies would be the same code on both sides, whatever changed."""
    if inside := inventory.taken_from(worktree):
        raise ConfigError(
            f"target.install installs from the checkout itself: {', '.join(inside)}",
            where="target.install",
            hint="move that command to target.project, which runs for each side; target.install is cached",
        )


def _complete(entry: Path) -> bool:
    """Whole, and its interpreter still there (a system's Python may have been removed meanwhile)."""
    return (entry / "origin").is_file() and _python(entry / "venv").exists()


def _prune(home: Path) -> None:
    """Remove the environments unused for longest, except those that another run is using now."""
    entries = [entry for entry in home.iterdir() if entry.is_dir() and not entry.name.endswith(".partial")]
    for entry in sorted(entries, key=_used, reverse=True)[_KEPT:]:
        with contextlib.suppress(BlockingIOError), _lock_file(home / f"{entry.name}.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(entry)


def _used(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:  # another run pruned it
        return 0.0


@contextlib.contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(path: Path, notify: Callable[[str], None]) -> Iterator[None]:
    """Alone with one key of the cache; the kernel gives the lock back even if we are killed."""
    with _lock_file(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            notify("waiting for another run that installs the same dependencies")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _key(target: Target, interpreter: Interpreter, key_files: Mapping[str, str]) -> str:
    parts = {
        "format": _FORMAT,
        "interpreter": [interpreter.path, interpreter.version, interpreter.platform],
        "install": target.install,
        "env": _early(target),
        "files": key_files,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _early(target: Target) -> dict[str, str]:
    """The variables of [target.env] that need no running service."""
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


def _named(job: _Job) -> dict[str, Path]:
    """Files of the checkout that an install command names, such as requirements.txt: they decide too."""
    arguments = (argument for command in job.target.install for argument in command)
    files = {argument: job.directory / argument for argument in arguments if "{" not in argument}
    return {n: path for n, path in files.items() if os.path.isfile(path) and _within(str(path), job.worktree)}


def _digests(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}


def _matching(directory: Path, pattern: str) -> dict[str, Path]:
    if not re.search(r"[*?\[]", pattern):
        return {pattern: directory / pattern} if (directory / pattern).is_file() else {}
    return {str(p.relative_to(directory)): p for p in directory.glob(pattern) if p.is_file()}


def _inventory(python: Path, job: _Job) -> _Inventory:
    """What is installed, asked of the interpreter itself (-I: not of the current directory)."""
    with tempfile.TemporaryDirectory(prefix="perf-gate-") as scratch:
        answer = Path(scratch, "inventory.json")
        run(
            [str(python), "-I", "-c", _INVENTORY, str(answer)],
            what="reading the installed packages",
            cwd=job.directory,
            env=variables.for_running(job.environ),
            timeout=_INVENTORY_TIMEOUT,
        )
        told = json.loads(answer.read_bytes())
    packages = tuple((str(name), str(version), str(source)) for name, version, source in told["packages"])
    return _Inventory(str(told["python"]), packages, tuple(map(str, told["path"])), str(told["prefix"]))


def _packages(inventory: _Inventory, worktree: Path) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for name, version, source in inventory.packages:
        normal = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
        if normal not in _TOOLS and not inventory.comes_from(worktree, source):
            found.setdefault(normal, version)
    return tuple(sorted(found.items()))


def _python(env_dir: Path) -> Path:
    return env_dir / "bin" / "python"


def _path(env_dir: Path | None, environ: Mapping[str, str]) -> str:
    path = environ.get("PATH", os.defpath)
    return path if env_dir is None else f"{env_dir / 'bin'}{os.pathsep}{path}"


def _within(path: str, root: Path) -> bool:
    return bool(path) and Path(path).resolve().is_relative_to(root.resolve())


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
