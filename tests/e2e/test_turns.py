"""Benchmarks in turns, and `ab`: the function that got slower, a worker that dies, other settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Project, pairs, times

pytestmark = pytest.mark.e2e
BENCH = "examples/library/benchmarks/test_web.py"
TOKEN = "benchmarks/test_web.test_token"


def test_a_slower_benchmark_names_the_function(project: Project) -> None:
    """Four times the work in one function: blocked, with its file, its name and that the change is there."""
    lyrics = "examples/library/library/lyrics.py"
    found = "    return WORD.findall(text)\n"
    project.edit(lyrics, found, "    return [WORD.findall(text) for _ in range(4)][0]\n")
    only = ("--only", "benchmarks/test_lyrics.test_tokens", "--time-budget", "2m")
    ended, report = project.run(*only, suite="benchmarks")
    assert ended.code == 1, ended.out + ended.err
    (row,) = times(report)
    assert (row["blocking"], row["stage"]) == (True, "confirm")
    assert f"{lyrics}:" in row["cause"]["summary"]
    assert "tokens" in row["cause"]["summary"]
    assert "(changed here)" in row["cause"]["summary"]


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
        PERF_GATE_TIME_BUDGET="1m",
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
        PERF_GATE_TIME_BUDGET="1m",
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
