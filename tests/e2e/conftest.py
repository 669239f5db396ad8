"""A small copy of this repository to run the whole gate on: the reference application with few rows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
IDENTITY = ["-c", "user.name=tests", "-c", "user.email=tests@example.invalid", "-c", "commit.gpgsign=false"]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        return self.out.splitlines()[0] if self.out else ""


@dataclass(frozen=True)
class Project:
    """A clone with its own configuration and baselines."""

    path: Path
    cache: Path

    def git(self, *args: str) -> str:
        done = subprocess.run(
            ["git", *IDENTITY, *args], cwd=self.path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def env(self, **extra: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PERF_GATE_", "GITHUB_"))}
        # The same servers on every machine, whether or not it has Docker; times have tests of their own.
        own = {
            "PERF_GATE_CACHE": str(self.cache),
            "PERF_GATE_SERVICES": "embedded",
            "PERF_GATE_TIME_BUDGET": "0",
        }
        return kept | own | extra

    def command(self, *args: str) -> list[str]:
        # -P: the project holds a package of the same name, which must not be the one that runs.
        return [sys.executable, "-P", "-m", "gate", *args]

    def gate(self, *args: str, timeout: float = 300, **env: str) -> Ended:
        done = subprocess.run(
            self.command(*args),
            cwd=self.path,
            env=self.env(**env),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def run(self, *args: str, suite: str = "endpoints", **env: str) -> tuple[Ended, dict[str, Any]]:
        """`perf-gate run` of one suite, and its report.json (empty where there is none)."""
        file = self.path.parent / f"{self.path.name}-report.json"
        file.unlink(missing_ok=True)
        ended = self.gate("run", "--suite", suite, "--json", str(file), *args, **env)
        return ended, json.loads(file.read_text()) if file.exists() else {}

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.path / path
        text = file.read_text()
        assert old in text, f"{path} does not hold {old!r}"
        file.write_text(text.replace(old, new, 1))


def counts(report: dict[str, Any]) -> dict[tuple[str, str], list[float]]:
    """Every exact value head gave, by case and metric."""
    return {
        (json.dumps(s["case"], sort_keys=True), s["metric"]["name"]): [point[-1] for point in s["points"]]
        for s in report["run"]["samples"]
        if s["side"] == "head" and s["metric"]["kind"] == "exact"
    }


def times(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of times that were judged."""
    return [row for row in report["comparisons"] if row["kind"] == "timing"]


def pairs(report: dict[str, Any], stage: str = "screen") -> list[dict[str, Any]]:
    """The pairs of a stage whose times are used."""
    return [pair for pair in report["run"]["pairs"] if pair["stage"] == stage and not pair["lost"]]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Project:
    return small_library(tmp_path_factory.mktemp("library") / "origin", cache)


# What no test names would be started, counted and judged in every one of them.
UNUSED = "dashboard|playlist-page|playlist-themes|song|artists|search|videos|downloads|songs-csv"
UNUSED += "|playlist-create|download-start"
_REQUEST = re.compile(rf'\[\[suites\.endpoints\.request\]\]\nname = "({UNUSED})"\n(.+\n)*\n')


def small_library(path: Path, cache: Path) -> Project:
    """This working tree as a repository of one branch, with 2 % of the rows, half of the endpoints, and
    baselines to match."""
    project = Project(path, cache)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (project.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project.path / name)
    shutil.rmtree(project.path / "baselines", ignore_errors=True)
    project.edit("perf-gate.toml", "[dataset.tables]", "[dataset]\nscale = 0.02\n\n[dataset.tables]")
    project.edit(
        "perf-gate.toml",
        "[suites.endpoints.login]",
        "[suites.endpoints]\nwarmup = 2\nrequests = 3\nrounds = 2\n\n[suites.endpoints.login]",
    )
    file = project.path / "perf-gate.toml"
    text, removed = _REQUEST.subn("", file.read_text())
    assert removed == UNUSED.count("|") + 1
    file.write_text(text)
    project.git("init", "--quiet", "--initial-branch", "main")
    project.commit("The application")
    ended = project.gate("baseline", "update")
    assert ended.code == 0, ended.err
    project.commit("Its baselines")
    return project


def with_every_endpoint(project: Project) -> Project:
    """With those that `small_library` leaves out."""
    file = project.path / "perf-gate.toml"
    removed = [found[0] for found in _REQUEST.finditer((ROOT / "perf-gate.toml").read_text())]
    file.write_text("\n".join([file.read_text(), *removed]))
    return project


@pytest.fixture
def project(library: Project, tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A clone of one's own."""
    path = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(library.path), str(path)], check=True)
    return Project(path, library.cache)


@pytest.fixture
def applied(project: Project) -> Callable[[Path], Project]:
    """Applies one of the planted changes to the working tree, uncommitted."""

    def apply(patch: Path) -> Project:
        project.git("apply", str(patch))
        return project

    return apply
