"""Base and head side by side, as a user sees it: what is caught, what is skipped, what dies, and one core."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from tests.e2e.conftest import Project, pairs, times

pytestmark = pytest.mark.e2e
HEALTH = "examples/library/library/api/health.py"


def timed(project: Project, *args: str, **env: str) -> tuple[Any, dict[str, Any]]:
    return project.run("--time-budget", "4m", *args, **env)


def test_a_sleep_is_caught_confirmed_and_told_from_work(project: Project) -> None:
    """30 ms in a handler of one: blocked by its time, from fresh pairs, and the cause is waiting."""
    project.edit(HEALTH, "    redis().ping()\n", "    redis().ping()\n    __import__('time').sleep(0.03)\n")
    ended, report = timed(project, "--only", "endpoints/health")
    assert ended.code == 1, ended.out + ended.err
    (row,) = times(report)
    assert (row["blocking"], row["stage"]) == (True, "confirm")
    assert row["pairs"] == len(pairs(report, "confirm")) >= 12
    assert "waiting" in row["cause"]["summary"]
    assert "library/api/health.py" in row["cause"]["summary"]
    assert ended.first.startswith("blocked: GET /health")


def test_an_edit_of_the_readme_is_not_timed(project: Project) -> None:
    """Nothing that runs has changed: no pair, and the report says why."""
    (project.path / "README.md").write_text("# Another title\n")
    ended, report = timed(project, "--only", "endpoints/health")
    assert ended.code == 0, ended.out + ended.err
    assert report["run"]["pairs"] == [] or all(not pair["cases"] for pair in report["run"]["pairs"])
    assert "README.md" in report["run"]["plan"]["untimed"]
    assert "not timed side by side" in ended.out


@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")
def test_an_explicit_ref_is_always_timed_and_one_core_is_enough(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same commit on both sides, the gate and the application on one core: eight pairs, nothing blocked,
    and the report carries the caveat."""
    core = str(max(os.sched_getaffinity(0)))
    own = project.command
    monkeypatch.setattr(Project, "command", lambda _, *args: ["taskset", "-c", core, *own(*args)])
    ended, report = timed(project, "--only", "endpoints/health", "--against", "HEAD", "--time-budget", "80s")
    assert ended.code == 0, ended.out + ended.err
    assert len(pairs(report)) == 8
    assert {sample["side"] for sample in report["run"]["samples"]} == {"base", "head"}
    assert not any(row["blocking"] for row in times(report))
    assert any("one core" in caveat["text"] for caveat in report["caveats"])


def test_a_server_that_dies_again_and_again_ends_the_run(project: Project) -> None:
    """Three deaths: exit 4, which endpoint, and the end of the log."""
    dies = (
        "    if __import__('os').environ['PYTHONHASHSEED'] == '2':\n        print('last words', flush=True)\n"
    )
    dies += "        __import__('os')._exit(7)\n"
    project.edit(HEALTH, "    redis().ping()\n", f"    redis().ping()\n{dies}")
    # ready asks another path, so that the application starts.
    project.edit("perf-gate.toml", 'ready = "/health"', 'ready = "/nowhere"')
    ended, _ = timed(project, "--only", "endpoints/health")
    assert ended.code == 4, ended.out + ended.err
    assert "endpoints/health" in ended.err
    assert "last words" in ended.err
    assert ended.err.count("is lost") == 3
