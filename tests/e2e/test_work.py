"""What is seen of the work beyond the counts of an endpoint: benchmarks, caches, and growth with the data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Project

pytestmark = pytest.mark.e2e
ZOO = ROOT / "tests" / "regressions"


def evidence(report: dict[str, Any], case: str) -> dict[str, Any]:
    return next(e for e in report["run"]["evidence"] if e["case"]["name"] == case and e["side"] == "head")


def test_a_loop_of_queries_blocks_in_the_benchmark_too(applied: Callable[[Path], Project]) -> None:
    """The statement is named, and that it runs in a loop is a finding too: there are few artists here."""
    project = applied(ZOO / "D1-playlist-artist-in-loop.patch")
    ended, report = project.run("--only", "benchmarks/test_database.test_playlist_page*", suite="benchmarks")
    assert ended.code == 1, ended.out + ended.err
    assert "test_playlist_page" in ended.first
    assert "FROM artists WHERE artists.id" in ended.first
    assert ("loop", "warn") in {(found["name"], found["level"]) for found in report["findings"]}


def test_a_pure_benchmark_has_no_counts_of_the_services(project: Project) -> None:
    """Its one exact row is whether it fails, which is all that a baseline holds of it."""
    ended, report = project.run("--only", "benchmarks/test_lyrics.test_tokens", suite="benchmarks")
    assert ended.code == 0, ended.out + ended.err
    assert [row["metric"] for row in report["comparisons"]] == ["errors"]


def test_benchmarks_of_the_database_are_counted_alike_each_time(project: Project) -> None:
    """Two runs of one that writes and of one that reads."""
    seen = []
    for _ in range(2):
        ended, report = project.run("--only", "benchmarks/test_database.test_s*", suite="benchmarks")
        assert ended.code == 0, ended.out + ended.err
        seen.append(
            {
                (str(sample["case"]), sample["metric"]["name"]): [point[3] for point in sample["points"]]
                for sample in report["run"]["samples"]
                if sample["metric"]["kind"] == "exact"
            }
        )
    assert seen[0] == seen[1]
    assert any(name == "sql.calls" and values[0] > 0 for (_, name), values in seen[0].items())


def test_what_a_cache_saves_is_seen(project: Project) -> None:
    """The first request asks the database, the same one again does not."""
    ended, report = project.run("--only", "endpoints/progress-cached")
    assert ended.code == 0, ended.out + ended.err
    warmth = evidence(report, "progress-cached")["warmth"]
    assert warmth["cold"] > warmth["warm"]
    assert warmth["crowd"] >= warmth["cold"]


def test_what_grows_with_the_data_is_found(applied: Callable[[Path], Project]) -> None:
    """Without its index a list of songs reads all of them, and how long that takes in production is said."""
    project = applied(ZOO / "D2-songs-index-dropped.patch")
    project.edit("perf-gate.toml", "[suites.endpoints]\n", '[suites.endpoints]\ngrowth = "25%"\n')
    project.edit("perf-gate.toml", "[dataset]\n", "[dataset]\nproduction = { songs = 20_000_000 }\n")
    ended, report = project.run("--only", "endpoints/songs")
    assert ended.code == 1, ended.out + ended.err
    found = [each["text"] for each in report["findings"] if each["name"] == "grows-with-data"]
    assert any("FROM songs" in text and "at 20,000,000 songs: " in text for text in found), report["findings"]


def test_a_rewritten_statement_of_a_benchmark_is_explained_by_its_plan(
    applied: Callable[[Path], Project],
) -> None:
    """No longer the same statement, it stands beside the one that it replaces."""
    project = applied(ZOO / "D2-search-ilike.patch")
    ended, report = project.run("--only", "benchmarks/test_database.test_search", suite="benchmarks")
    assert ended.code == 1, ended.out + ended.err
    (row,) = [row for row in report["comparisons"] if row["metric"] == "sql.blocks"]
    assert re.search(r"; (Index|Seq) Scan .*on songs.* rows read", row["cause"]["summary"])
    assert "songs.title ILIKE" in row["cause"]["plans"][0]["text"]
