"""What is refused, or said, before minutes are spent on it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from gate.cli import entry
from gate.cli.session import _too_short, may_mean
from gate.model import Case, Pair, Plan, TimedCase, TimingRule

CONFIGURATION = """\
[services.postgres]
version = 18

[target]
start = ["true"]

[suites.benchmarks]
paths = ["benchmarks"]

[[suites.endpoints.request]]
name = "downloads"
path = "/downloads"

[[suites.endpoints.request]]
name = "songs"
path = "/songs"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a configuration and stored counts of one endpoint and one benchmark."""
    for name in [name for name in os.environ if name.startswith(("PERF_GATE_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PERF_GATE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "project"
    (root / "baselines").mkdir(parents=True)
    (root / "perf-gate.toml").write_text(CONFIGURATION)
    for suite, name in (("endpoints", "downloads"), ("benchmarks", "test_lyrics.test_tokens")):
        (root / "baselines" / f"{suite}.json").write_text(stored(suite, f"{suite}/{name}"))
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*who, "commit", "-q", "-m", "work")):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    monkeypatch.chdir(root)
    return root


def stored(suite: str, case: str) -> str:
    held = {
        **dict.fromkeys(("hits", "misses", "evictions"), 0),
        **{name: {} for name in ("statements", "commands")},
        "label": f"GET /{case}",
        "definition": "d",
        "writes": False,
        "metrics": {"sql.calls": [3]},
    }
    key = {"dataset": "d", "postgres": 18, "initdb": [], "python": "3.11", "packages": {}}
    return json.dumps(
        {"schema": "perf-gate.baseline/1", "suite": suite, "data_key": key, "cases": {case: held}}
    )


@pytest.mark.parametrize(
    ("only", "near"),
    [
        ("downloads", "endpoints/downloads"),
        ("download*", "endpoints/downloads"),
        ("test_lyrics.test_tokens", "benchmarks/test_lyrics.test_tokens"),
    ],
)
def test_a_name_that_no_suite_can_have_is_refused_before_anything_starts(
    only: str, near: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Servers of one's own would be asked for next, and there are none.
    assert entry(["run", "--services", "external", "--only", only]) == 2
    said = capsys.readouterr().err
    assert f"no case matches --only {only!r}" in said
    assert f"near it: {near}" in said
    assert "suite/name" in said


@pytest.mark.parametrize(
    ("only", "may"),
    [
        ("*", True),
        ("*download*", True),
        ("bench*", True),
        ("benchmarks/test_tokens", True),
        ("benchmarks/test_tokens[[]1]", True),
        ("[be]*", True),
        ("downloads", False),
        ("benchmarks", False),
        ("download*", False),
        ("endpoints/download*", False),
    ],
)
def test_benchmarks_are_awaited_only_where_they_may_be_meant(only: str, may: bool) -> None:
    """Their names are known once they are collected; their suite's is known before."""
    assert may_mean(only, "benchmarks") is may


def test_showing_an_unknown_case_is_an_error_with_the_nearest(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry(["baseline", "show", "endpoints/download"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no such case: endpoints/download" in shown.err
    assert "did you mean endpoints/downloads?" in shown.err


@pytest.mark.parametrize("names", [["endpoints/downloads"], ["endpoints/*"]])
def test_showing_a_case_shows_it_alone(
    names: list[str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry(["baseline", "show", *names]) == 0
    assert (
        capsys.readouterr().out == "endpoints/downloads  GET /endpoints/downloads\n  sql.calls          3\n"
    )


def test_absent_baselines_are_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the configuration that was asked for, not of the directory of the caller."""
    other = project / "other"
    other.mkdir()
    (other / "perf-gate.toml").write_text(f'baselines = "other/kept"\n{CONFIGURATION}')
    assert entry(["baseline", "show", "--config", "other/perf-gate.toml"]) == 2
    assert f"at {other / 'kept'}" in capsys.readouterr().err


TIMED = TimedCase(
    case=Case(suite="endpoints", name="songs"), rule=TimingRule(allowed=0.05, detect=0.1, margin=0.01)
)


@pytest.mark.parametrize(("number", "budget", "said"), [(1, 5.0, True), (1, 41.0, False), (2, 5.0, False)])
def test_a_time_budget_that_no_screen_fits_is_said_after_the_first_pair(
    number: int, budget: float, said: bool
) -> None:
    """Not at the end of minutes, and once; not of one that later pairs, which do not count, may well fit."""
    plan = Plan(against="auto", cases=(), timed=(TIMED,), time_budget=budget)
    pair = Pair(number=number, stage="screen", cases=(TIMED.case,), seconds=20.0)
    expected = (
        "a pair takes about 20 s: the time budget of 5 s has no room for the 8 pairs of a screen; the 2 that "
        "also count are measured all the same"
    )
    assert _too_short(plan, pair) == (expected if said else "")
