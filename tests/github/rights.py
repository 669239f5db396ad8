"""What a job's token may do, read from the real workflow files.

So a permission that is forgotten or widened in `.github/workflows/` fails a test, not a user.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

WORKFLOWS = Path(__file__).parents[2] / ".github" / "workflows"


@cache
def workflow(name: str) -> dict[str, Any]:
    return dict(YAML(typ="safe", pure=True).load((WORKFLOWS / name).read_text()))


def rights(name: str, job: str, *, fork: bool = False) -> dict[str, str]:
    """The permissions of a job's token: its own, else the workflow's; none is named means none.

    fork: GitHub then turns every write into read, whatever the file says.
    """
    content = workflow(name)
    given = content["jobs"][job].get("permissions", content.get("permissions"))
    assert isinstance(given, dict), f"{name} does not say what its token may do"
    return {what: "read" if fork and level == "write" else level for what, level in given.items()}


TOKENS = {
    "measure": ("perf-gate.yml", "measure"),
    "verdict": ("perf-gate.yml", "perf-gate"),
    "report": ("perf-gate-report.yml", "comment"),
    "baseline": ("perf-gate-baseline.yml", "update"),
}


def tokens() -> dict[str, dict[str, str]]:
    """Every job's token by the job's name here, and those of a fork's run as "verdict of a fork"."""
    own = {name: rights(file, job) for name, (file, job) in TOKENS.items()}
    forks = {f"{name}-of-fork": rights(*TOKENS[name], fork=True) for name in ("measure", "verdict")}
    return own | forks
