"""What a job of CI keeps for the next one: seeded data sets and installed dependencies, and under which key.

What lies under a key of GitHub's cache never changes, and the data set's own key is known only when the
schema has been migrated. So a job takes the newest cache of its prefix; what it used of that, and what it
made, is what the next one is to have, and its names make the key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

from gate import dataset
from gate.errors import ConfigError
from gate.target.environment import dependencies

FORMAT = "perf-gate-1"  # part of every key: what another layout has kept is then not taken
SLACK = 2.0  # seconds by which a file system's clock may be behind ours
_KEPT = ("datasets", "environments")


def directory(environ: Mapping[str, str], *, caching: bool) -> str:
    """PERF_GATE_CACHE, else a directory below RUNNER_TEMP, which lives no longer than the job.

    A runner that is used again keeps nothing there by itself: a pull request leaves nothing on its disk that
    a later run of another would take. Empty where caching is off and nothing is named: the user's own.
    """
    if named := environ.get("PERF_GATE_CACHE"):
        return named
    if not caching:
        return ""
    temporary = environ.get("RUNNER_TEMP")
    if not temporary:
        raise ConfigError("RUNNER_TEMP is not set", hint="name a directory by PERF_GATE_CACHE")
    return str(Path(temporary, "perf-gate-cache"))


def prefix(config: str) -> str:
    """The beginning of every key of this configuration's caches on machines of this kind."""
    gate = hashlib.sha256(config.encode()).hexdigest()[:8]
    return f"{FORMAT}-{platform.system()}-{platform.machine()}-{gate}-"


def key(home: Path, config: str) -> str:
    """The key of what is there, the same for the same things in whatever order made; empty for nothing."""
    held = sorted(f"{kind}/{entry.name}" for kind in _KEPT for entry in _entries(home / kind))
    if not held:
        return ""  # an empty cache would be the newest, and be restored from now on
    return prefix(config) + hashlib.sha256("\n".join(held).encode()).hexdigest()[:16]


def trim(home: Path, *, since: float) -> None:
    """Remove data sets and dependencies that nobody used since then, in seconds since the epoch.

    Else what is restored and kept again would grow with every migration and every new lock file.
    """
    data, environments = (
        sum(entry.stat().st_mtime >= since - SLACK for entry in _entries(home / kind)) for kind in _KEPT
    )
    dataset.Cache(home / _KEPT[0]).prune(keep=data)
    if (home / _KEPT[1]).is_dir():
        dataclasses.replace(dependencies(home), kept=environments).prune()


def _entries(home: Path) -> tuple[Path, ...]:
    """Whole ones: a name with a dot in it is being made, or being removed."""
    if not home.is_dir():
        return ()
    return tuple(entry for entry in home.iterdir() if entry.is_dir() and "." not in entry.name)
