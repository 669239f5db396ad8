"""Base and head side by side, as a user sees it: what is caught, what is skipped, what dies, and one core."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e
HEALTH = "examples/library/library/api/health.py"
BENCH = "examples/library/benchmarks/test_web.py"
TOKEN = "benchmarks/test_web.test_token"


def timed(project: Project, *args: str, **env: str) -> tuple[Any, dict[str, Any]]:
    return project.run("--time-budget", "4m", *args, **env)


def rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in report["comparisons"] if row["kind"] == "timing"]


def pairs(report: dict[str, Any], stage: str = "screen") -> list[dict[str, Any]]:
    return [pair for pair in report["run"]["pairs"] if pair["stage"] == stage and not pair["lost"]]


def test_a_sleep_is_caught_confirmed_and_told_from_work(project: Project) -> None:
    """30 ms in a handler of one: blocked by its time, from fresh pairs, and the cause is waiting."""
    project.edit(HEALTH, "    redis().ping()\n", "    redis().ping()\n    __import__('time').sleep(0.03)\n")
    ended, report = timed(project, "--only", "endpoints/health")
    assert ended.code == 1, ended.out + ended.err
    (row,) = rows(report)
    assert (row["blocking"], row["stage"]) == (True, "confirm")
    assert row["pairs"] == len(pairs(report, "confirm")) >= 12
    assert "waiting" in row["cause"]["summary"]
    assert "library/api/health.py" in row["cause"]["summary"]
    assert ended.first.startswith("blocked: GET /health")


def test_a_slower_benchmark_names_the_function(project: Project) -> None:
    """Four times the work in one function: blocked, with its file, its name and that the change is there."""
    lyrics = "examples/library/library/lyrics.py"
    found = "    return WORD.findall(text)\n"
    project.edit(lyrics, found, "    return [WORD.findall(text) for _ in range(4)][0]\n")
    only = ("--only", "benchmarks/test_lyrics.test_tokens", "--time-budget", "4m")
    ended, report = project.run(*only, suite="benchmarks")
    assert ended.code == 1, ended.out + ended.err
    (row,) = rows(report)
    assert (row["blocking"], row["stage"]) == (True, "confirm")
    assert f"{lyrics}:" in row["cause"]["summary"]
    assert "tokens" in row["cause"]["summary"]
    assert "(changed here)" in row["cause"]["summary"]


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
    ended, report = timed(project, "--only", "endpoints/health", "--against", "HEAD")
    assert ended.code == 0, ended.out + ended.err
    assert len(pairs(report)) == 8
    assert {sample["side"] for sample in report["run"]["samples"]} == {"base", "head"}
    assert not any(row["blocking"] for row in rows(report))
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


def dying_benchmark(project: Project, marker: Path) -> None:
    """test_token ends its interpreter when it is called while there is no file `marker`."""
    text = (project.path / BENCH).read_text()
    start = text.index("def test_token(")
    body = text.index("\n", text.index(") -> None:", start)) + 1
    lines = f"    import os\n\n    if not os.path.exists({str(marker)!r}):\n"
    lines += f"        open({str(marker)!r}, 'w').close()\n        os._exit(9)\n"
    (project.path / BENCH).write_text(text[:body] + lines + text[body:])


def test_a_worker_that_dies_once_costs_its_pair(project: Project, tmp_path: Path) -> None:
    """The pair is measured again; the run has its eight pairs and names the one it lost."""
    dying_benchmark(project, tmp_path / "died")
    (tmp_path / "died").touch()
    project.commit("A benchmark that may die")
    (project.path / "examples/library/library/touched.py").write_text("")
    (tmp_path / "died").unlink()
    file = tmp_path / "report.json"
    # Collected and listed, it dies in the first pair that calls it.
    ended = project.gate(
        *("run", "--suite", "benchmarks", "--only", TOKEN, "--against", "HEAD", "--json", str(file)),
        PERF_GATE_TIME_BUDGET="4m",
    )
    assert ended.code == 0, ended.out + ended.err
    assert ended.err.count("is lost") == 1
    report = json.loads(file.read_text())
    assert len(pairs(report)) == 8
    assert [pair for pair in report["run"]["pairs"] if pair["lost"]]


def test_another_setting_of_postgres_is_compared(project: Project, tmp_path: Path) -> None:
    """`ab` on one commit: two servers, of which only B's has the setting; nothing stored is looked at."""
    file = tmp_path / "report.json"
    ended = project.gate(
        *("ab", "HEAD", "--postgres", "work_mem=64kB", "--suite", "endpoints"),
        *("--only", "endpoints/videos-by-artist", "--json", str(file)),
        PERF_GATE_TIME_BUDGET="4m",
    )
    assert ended.code in (0, 1), ended.out + ended.err
    report = json.loads(file.read_text())
    assert report["sides"]["base"]["stored"] is False
    assert len(pairs(report)) == 8


def test_ab_wants_a_difference(project: Project) -> None:
    """One ref and nothing else is nothing to compare: usage, exit 2."""
    ended = project.gate("ab", "HEAD")
    assert ended.code == 2
    assert "--postgres" in ended.err
