"""target.python -> an interpreter that exists: a path, a name such as python3, or a version such as 3.12."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.errors import EnvironmentFailure

_VERSION = re.compile(r"\d+(\.\d+){0,2}")
_TIMEOUT = 30.0
# Also what an environment was made from, so that running the gate inside one changes no key.
_ASK = """
import json, sys, sysconfig
print(json.dumps([
    getattr(sys, "_base_executable", None) or sys.executable,
    "%d.%d.%d" % sys.version_info[:3],
    "%s %s" % (sys.implementation.cache_tag, sysconfig.get_platform()),
]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python outside any virtual environment. version: "3.11.7". platform: tag and machine."""

    path: str
    version: str
    platform: str


def resolve(python: str, *, directory: Path, environ: Mapping[str, str]) -> Interpreter:
    """The interpreter that target.python names.

    A version is looked for on PATH, then among the gate's own Python and those of pyenv, uv and the
    runner's tool cache; every candidate is asked for its version. directory: where relative paths and
    .python-version files count. Raises EnvironmentFailure with what was tried.
    """
    versioned = _VERSION.fullmatch(python) is not None
    candidates = tuple(
        dict.fromkeys(_by_version(python, environ) if versioned else _by_name(python, environ))
    )
    for candidate in candidates:
        found = _ask(candidate, directory, environ)
        if found and (not versioned or f"{found.version}.".startswith(f"{python}.")):
            return found
    raise EnvironmentFailure(
        f"no working interpreter for target.python = {python!r}",
        where=f"tried {', '.join(candidates)}" if candidates else "nothing of that name on PATH",
        hint=f"install Python {python}, or set target.python to the path of an interpreter"
        if versioned
        else "set target.python to a version such as '3.12' or to the path of an interpreter",
    )


def _by_name(python: str, environ: Mapping[str, str]) -> Iterator[str]:
    if "/" in python:
        yield str(Path(python).expanduser())
    else:
        yield from _on_path(python, environ)


def _by_version(version: str, environ: Mapping[str, str]) -> Iterator[str]:
    minor = ".".join(version.split(".")[:2])
    yield from _on_path(f"python{minor}", environ)
    yield from _on_path("python3", environ)
    yield sys.executable
    home = environ.get("HOME", "/nonexistent")
    for root, pattern in (
        (environ.get("PYENV_ROOT", f"{home}/.pyenv"), f"versions/{version}*/bin/python"),
        (f"{home}/.local/share/uv/python", f"cpython-{version}*/bin/python{minor}"),
        (environ.get("RUNNER_TOOL_CACHE", "/opt/hostedtoolcache"), f"Python/{version}*/*/bin/python"),
    ):
        yield from (str(path) for path in sorted(Path(root).glob(pattern), key=_numbers, reverse=True))


def _on_path(name: str, environ: Mapping[str, str]) -> Iterator[str]:
    for directory in environ.get("PATH", "").split(":"):
        if directory and (path := Path(directory, name)).is_file():
            yield str(path)


def _numbers(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(path)))


def _ask(candidate: str, directory: Path, environ: Mapping[str, str]) -> Interpreter | None:
    """What a candidate says of itself; None where it does not run, like a pyenv shim without a version."""
    try:
        answer = subprocess.run(
            [candidate, "-I", "-c", _ASK],
            cwd=directory,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=True,
        )
        path, version, platform = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(path=path, version=version, platform=platform)
