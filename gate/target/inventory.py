"""What a virtual environment holds, asked of its own interpreter."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.target.command import run

_TOOLS = frozenset({"pip", "setuptools", "wheel"})
_TIMEOUT = 60.0
# Runs under the side's Python, whatever its version: every distribution with the directory it comes
# from, and every directory on the path. Written to a file, since anything may print.
_ASK = """
import json, sys
from importlib.metadata import distributions
from urllib.parse import unquote, urlsplit
found = []
for d in distributions():
    told = json.loads(d.read_text("direct_url.json") or "{}")
    source = unquote(urlsplit(told["url"]).path) if "dir_info" in told else str(d.locate_file(""))
    if d.metadata["Name"]:
        found.append([d.metadata["Name"], d.version, source])
told = {"python": "%d.%d" % sys.version_info[:2], "found": found, "path": sys.path, "prefix": sys.prefix}
with open(sys.argv[1], "w") as file:
    json.dump(told, file)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """python: "3.11". found: (name, version, directory it comes from) of each distribution.

    path: the directories that modules are imported from. prefix: the environment's own.
    """

    python: str
    found: tuple[tuple[str, str, str], ...]
    path: tuple[str, ...]
    prefix: str

    def packages(self, worktree: Path) -> tuple[tuple[str, str], ...]:
        """(normalised name, version), sorted, of all but the project's own and pip's tools."""
        packages: dict[str, str] = {}
        for name, version, source in self.found:
            normal = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
            if normal not in _TOOLS and not self._comes_from(worktree, source):
                packages.setdefault(normal, version)
        return tuple(sorted(packages.items()))

    def taken_from(self, worktree: Path) -> tuple[str, ...]:
        """Names of distributions, and directories, that the environment takes from the checkout."""
        names = [name for name, _, source in self.found if self._comes_from(worktree, source)]
        return tuple(
            dict.fromkeys(names + [entry for entry in self.path if self._comes_from(worktree, entry)])
        )

    def _comes_from(self, worktree: Path, source: str) -> bool:
        return bool(source) and within(Path(source), worktree) and not within(Path(source), Path(self.prefix))


def read_inventory(python: Path, *, directory: Path, env: Mapping[str, str]) -> Inventory:
    """Ask an interpreter (-I: not of the directory it runs in). Raises EnvironmentFailure."""
    with tempfile.TemporaryDirectory(prefix="perf-gate-") as scratch:
        answer = Path(scratch, "inventory.json")
        run(
            [str(python), "-I", "-c", _ASK, str(answer)],
            what="reading the installed packages",
            cwd=directory,
            env=env,
            timeout=_TIMEOUT,
        )
        return inventory_of(json.loads(answer.read_bytes()))


def inventory_of(told: Mapping[str, Any]) -> Inventory:
    """An Inventory from its fields as JSON gives them."""
    found = tuple((str(name), str(version), str(source)) for name, version, source in told["found"])
    path = tuple(str(entry) for entry in told["path"])
    return Inventory(python=str(told["python"]), found=found, path=path, prefix=str(told["prefix"]))


def within(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())
