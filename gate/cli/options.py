"""Options that several commands share, and where the gate keeps its own files."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from platformdirs import user_cache_path

from gate.config import seconds
from gate.model import Setting


class Duration(click.ParamType[float]):
    """A duration on the command line, such as 6m or 90s, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            found = seconds(float(value) if str(value).replace(".", "", 1).isdigit() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if found < 0:
            self.fail("must not be less than 0", param, ctx)
        return float(found)


def option(name: str, *args: str, **settings: Any) -> Callable[[Any], Any]:
    """A click option whose environment variable is PERF_GATE_ and its name."""
    variable = "PERF_GATE_" + name.removeprefix("--").upper().replace("-", "_")
    return click.option(name, *args, envvar=variable, show_envvar=True, **settings)


config_option = option(
    "--config", default="perf-gate.toml", show_default=True, help="The configuration file."
)


def flags() -> tuple[Setting, ...]:
    """The options of this command that were set, and whether by a flag or by the environment."""
    context = click.get_current_context()
    origins = {ParameterSource.COMMANDLINE: "flag", ParameterSource.ENVIRONMENT: "env"}
    return tuple(
        Setting(name=_flag(given), value=str(context.params[name]), origin=origins[source])
        for given in context.command.params
        if (name := given.name) in context.params
        and (source := context.get_parameter_source(name)) in origins
        # --env may hold secrets, and files are the caller's own.
        and not name.startswith(("json", "markdown", "env"))
    )


def _flag(given: click.Parameter) -> str:
    """As it is written; an argument by its name."""
    return next((each for each in given.opts if each.startswith("--")), f"--{given.name}")


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Where data sets and environments are kept between runs: PERF_GATE_CACHE, or the user's cache.

    A machine without a home that can be written gets a directory of its own under the temporary one.
    """
    named = environ.get("PERF_GATE_CACHE")
    if named:
        return _writable(Path(named).absolute()) or _fallback()
    return _writable(user_cache_path("perf-gate")) or _fallback()


def _writable(path: Path) -> Path | None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:
        return None


def _fallback() -> Path:
    """A directory of one's own under the temporary one; never somebody else's of the same name."""
    path = Path(tempfile.gettempdir()) / f"perf-gate-cache-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return path
    return Path(tempfile.mkdtemp(prefix="perf-gate-cache-"))
