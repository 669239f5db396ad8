"""An application in JavaScript, tests/foreign/node, gated as any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project, counts

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs node and npm"),
]
WORKSHOP = Path(__file__).parent / "node"

JOINED = """\
    `SELECT r.id, r.status, r.received_at, c.name AS customer
     FROM repairs r JOIN customers c ON c.id = r.customer_id
     WHERE r.status = $1 ORDER BY r.received_at DESC, r.id DESC LIMIT $2`,
    [status, limit],
  );
"""
IN_A_LOOP = """\
    `SELECT id, status, received_at, customer_id FROM repairs
     WHERE status = $1 ORDER BY received_at DESC, id DESC LIMIT $2`,
    [status, limit],
  );
  for (const repair of rows) {
    const found = await pool.query("SELECT name FROM customers WHERE id = $1", [repair.customer_id]);
    repair.customer = found.rows[0].name;
  }
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The application as a repository of its own, with baselines."""
    place = tmp_path_factory.mktemp("workshop")
    shutil.copytree(WORKSHOP, place / "origin", ignore=shutil.ignore_patterns("node_modules"))
    project = Project(place / "origin", place / "cache")
    project.git("init", "--quiet", "--initial-branch", "main")
    project.commit("The application")
    ended = project.gate("baseline", "update")
    assert ended.code == 0, ended.err
    project.commit("Its baselines")
    return project


@pytest.fixture
def workshop(origin: Project, tmp_path: Path) -> Project:
    """A clone of one's own."""
    shutil.copytree(origin.path, tmp_path / "clone", ignore=shutil.ignore_patterns("node_modules"))
    return Project(tmp_path / "clone", origin.cache)


@pytest.fixture(scope="module")
def twice(origin: Project) -> tuple[dict[str, Any], dict[str, Any]]:
    """The reports of two runs of the unchanged application."""
    reports = []
    for _ in range(2):
        ended, report = origin.run("--services", "embedded")
        assert ended.code == 0, ended.out + ended.err
        reports.append(report)
    return reports[0], reports[1]


def values(report: dict[str, Any], case: str) -> dict[str, float]:
    """Head's exact values of one case, by metric."""
    name, _, parameters = case.rstrip("]").partition("[")
    key = json.dumps({"name": name, "parameters": parameters, "suite": "endpoints"})
    return {metric: points[0] for (found, metric), points in counts(report).items() if found == key}


def blocking(report: dict[str, Any], metric: str) -> dict[str, dict[str, Any]]:
    """The rows of a metric that block, by the name of their case."""
    rows = [row for row in report["comparisons"] if row["blocking"] and row["metric"] == metric]
    return {row["case"]["name"]: row for row in rows}


def test_every_count_is_the_same_in_both_runs(twice: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Statements, rows, blocks, WAL records, transactions, Redis commands, bytes: value by value."""
    first, second = (counts(report) for report in twice)
    measured = {metric for _, metric in first}
    assert measured >= {"sql.calls", "sql.rows", "sql.blocks", "sql.transactions", "redis.commands"}
    assert first == second


def test_the_same_statements_and_commands_are_seen(twice: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Text, calls, rows and blocks of each statement, calls of each Redis command, hits and misses."""

    def seen(report: dict[str, Any]) -> list[str]:
        # How long a statement took is a time.
        untimed = [
            {**each, "statements": [{**s, "seconds": 0} for s in each["statements"]]}
            for each in report["run"]["evidence"]
            if each["side"] == "head"
        ]
        return sorted(json.dumps({**each, "warmth": None}, sort_keys=True) for each in untimed)

    first, second = (seen(report) for report in twice)
    assert len(first) == 5
    assert first == second


def test_counts_are_those_of_the_source(twice: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """What a reader of server.js expects of each endpoint, per request."""
    report, _ = twice
    lists = [values(report, f"repairs[limit={limit}]") for limit in (10, 40)]
    assert [(each["sql.calls"], each["sql.rows"]) for each in lists] == [(1, 10), (1, 40)]
    assert values(report, "repair")["sql.calls"] == 2
    created = values(report, "repair-create")
    # One repair, which is returned, and its three parts; the totals are taken from the cache.
    written = ("sql.calls", "sql.rows", "sql.transactions", "redis.commands")
    assert [created[metric] for metric in written] == [2, 4, 1, 1]


def test_a_cached_endpoint_asks_redis_alone(twice: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Warm, it is one GET that hits, and no statement."""
    report, _ = twice
    warm = values(report, "totals")
    assert (warm["sql.calls"], warm["redis.commands"]) == (0, 1)
    (evidence,) = (
        each
        for each in report["run"]["evidence"]
        if each["case"]["name"] == "totals" and each["side"] == "head"
    )
    assert [(command["name"], command["calls"]) for command in evidence["commands"]] == [("GET", 1)]
    assert (evidence["hits"], evidence["misses"]) == (1, 0)


def test_an_n_plus_one_is_blocked_with_its_statement(workshop: Project) -> None:
    """Exit 1; the statement, and how often it runs now, stands in the reason."""
    workshop.edit("server.js", JOINED, IN_A_LOOP)
    ended, report = workshop.run("--services", "embedded")
    assert ended.code == 1, ended.out + ended.err
    assert "FROM customers WHERE id = $1 ran 40 times (was 0)" in " ".join(report["verdict"]["reasons"])
    assert set(blocking(report, "sql.calls")) == {"repairs"}


def test_a_dropped_index_is_blocked_with_its_statement_and_plan(workshop: Project) -> None:
    """Exit 1; the reason holds the statement that scans now, and the cause the plan it has become."""
    (workshop.path / "migrations" / "0002_fewer_indexes.sql").write_text("DROP INDEX parts_by_repair;\n")
    ended, report = workshop.run("--services", "embedded")
    assert ended.code == 1, ended.out + ended.err
    assert "FROM parts WHERE repair_id = $1" in " ".join(report["verdict"]["reasons"])
    rows = blocking(report, "sql.blocks")
    assert set(rows) == {"repair"}
    assert "Seq Scan on parts" in json.dumps(rows["repair"]["cause"])
