"""The regression zoo: its patches apply, their headers can be read, and an answer is judged by them.

Nothing is measured here; `python -m bench.zoo` does that.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bench import zoo
from bench.zoo import Patch, judge

PATHS = sorted(zoo.ZOO.glob("*.patch"))
ROOT = zoo.runs.ROOT
ROWS = {
    *("D1", "D2", "D3", "D4", "D5", "D9", "C1", "C3", "C4", "P1", "P2", "P3", "P4", "P5"),
    *("M1", "M2", "E1", "E2", "E3"),
}
METRICS = {
    *("sql.calls", "sql.rows", "sql.blocks", "sql.temp_blocks", "sql.wal_records", "redis.commands"),
    *("redis.keys", "response.bytes", "errors", "missing", "latency", "time", "memory.growth", "memory.peak"),
}
each_patch = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index that holds HEAD, beside the real one."""
    index = tmp_path_factory.mktemp("index") / "index"
    git("read-tree", "HEAD", index=index)
    return index


def git(*arguments: str, index: Path) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=ROOT,
        env={**os.environ, "GIT_INDEX_FILE": str(index)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@each_patch
def test_patches_apply(path: Path, head: Path, tmp_path: Path) -> None:
    """Each applies to HEAD without an offset in its context, and what it makes of Python compiles."""
    index = shutil.copy(head, tmp_path / "index")
    git("apply", "--cached", str(path), index=index)
    names = git("diff", "--cached", "--name-only", "--diff-filter=d", "HEAD", index=index).split()
    assert names
    assert all(name.startswith("examples/library/") or name == "perf-gate.toml" for name in names)
    for name in names:
        if name.endswith(".py"):
            compile(git("show", f":{name}", index=index), name, "exec")
        elif name.endswith(".toml"):
            tomllib.loads(git("show", f":{name}", index=index))


@each_patch
def test_headers_are_complete(path: Path) -> None:
    """Row, answer and metrics are known; a regression names its metric, and its cause where there is one.

    What needs times has one glob, since --only takes one.
    """
    patch = Patch.read(path)
    assert path.stem.startswith(f"{patch.row}-")
    assert patch.plants.endswith(".")
    assert set(patch.metrics) <= METRICS
    assert len(patch.cases) == 1 or not patch.timed
    if patch.row == zoo.HARMLESS:
        assert patch.answer in ("pass", "improve")
    else:
        assert patch.row in ROWS
        assert patch.answer in ("block", "warn", "note")
        assert patch.metrics
        assert patch.causes or patch.row in ("E2", "E3")


@each_patch
def test_cases_are_measured(path: Path) -> None:
    """Every glob means a case whose counts are stored, or one that the patch itself adds."""
    stored = [
        case
        for suite in ("endpoints", "benchmarks")
        for case in json.loads((ROOT / "baselines" / f"{suite}.json").read_text())["cases"]
    ]
    patch = Patch.read(path)
    for glob in patch.cases:
        name = glob.partition("/")[2].rpartition(".")[2].rstrip("*")
        alone = dataclasses.replace(patch, cases=(glob,))
        assert (
            any(map(alone.about, stored))
            or f"+def {name}(" in patch.diff
            or f'+name = "{name}"' in patch.diff
        )


@each_patch
def test_what_a_patch_adds_does_not_give_it_away(path: Path) -> None:
    """The diff and its subject are a colleague's: they do not speak of what is planted."""
    patch = Patch.read(path)
    added = [line for line in patch.diff.splitlines() if line.startswith("+")]
    for word in ("regress", "slower", "n+1", "planted", "on purpose"):
        assert word not in "\n".join([patch.subject, *added]).lower()


def test_every_row_has_a_patch() -> None:
    """All rows that can be measured serially are there, and a dozen harmless changes beside them."""
    rows = [Patch.read(path).row for path in PATHS]
    assert set(rows) == {*ROWS, zoo.HARMLESS}
    assert rows.count(zoo.HARMLESS) >= 12


def test_a_header_without_an_answer_is_refused(tmp_path: Path) -> None:
    """A patch of which nobody says what must be answered proves nothing."""
    path = tmp_path / "D1-x.patch"
    path.write_text("Subject: x\nRow: D1\nPlants: x.\nCases: endpoints/a\n\ndiff --git a/x b/x\n")
    with pytest.raises(ValueError, match="no Answer"):
        Patch.read(path)


def test_brackets_of_a_case_stand_for_themselves() -> None:
    """A glob of parameters means them, not a set of characters; --only gets it escaped."""
    patch = planted(cases=("endpoints/playlist[per_page=*]",))
    assert patch.about("endpoints/playlist[per_page=10]")
    assert not patch.about("endpoints/playlist-page[per_page=10]")
    assert patch.only() == "endpoints/playlist[[]per_page=*]"


def test_a_block_of_the_planted_case_with_its_cause_is_right() -> None:
    """The row that blocks names the case, the metric and every cause."""
    judged = judge(planted(causes=(r"FROM artists WHERE artists.id = $1", "ran [0-9]+ times")), ended(row()))
    assert (judged.answered, judged.right, judged.named) == ("block", True, True)


def test_a_cause_that_is_not_said_is_not_named() -> None:
    """The answer stays right."""
    judged = judge(planted(causes=("Seq Scan on songs",)), ended(row()))
    assert (judged.right, judged.named) == (True, False)


@pytest.mark.parametrize("other", [{"case": "endpoints/songs"}, {"metric": "sql.blocks"}])
def test_a_block_of_something_else_is_wrong(other: dict[str, str]) -> None:
    """Neither another case nor another metric is what was planted."""
    judged = judge(planted(), ended(row(**other)))
    assert (judged.answered, judged.right) == ("block elsewhere", False)


def test_a_warning_is_not_a_block() -> None:
    """And a row of what is merely new or better is neither."""
    line = ended(
        row(level="warn", blocking=False), row(outcome="improved", level="note", blocking=False), code=0
    )
    assert judge(planted(), line).answered == "warn"
    assert not judge(planted(), line).right


def test_a_harmless_change_that_is_warned_about_is_wrong() -> None:
    """Whatever the case; one that only improves something passes."""
    harmless = planted(answer="pass", metrics=(), causes=())
    assert not judge(harmless, ended(row(case="endpoints/other", level="warn", blocking=False), code=0)).right
    better = row(outcome="improved", level="note", blocking=False)
    assert judge(harmless, ended(better, code=0)).right
    assert judge(planted(answer="improve"), ended(better, code=0)).right


def test_an_improvement_beside_a_block_is_wrong() -> None:
    """What is better elsewhere does not make up for it."""
    better = row(outcome="improved", level="note", blocking=False)
    judged = judge(planted(answer="improve"), ended(better, row(case="endpoints/other")))
    assert (judged.answered, judged.right) == ("block elsewhere", False)


def test_another_exit_code_is_wrong() -> None:
    """A block that does not end with 1 merges."""
    assert not judge(planted(), ended(row(), code=0)).right


def test_no_report_is_wrong() -> None:
    """It is neither a block nor a pass."""
    judged = judge(planted(), {"code": 3, "error": "Postgres did not start"})
    assert (judged.answered, judged.right, judged.named) == ("error", False, False)


def test_a_time_that_cannot_be_told_is_wrong() -> None:
    """Inconclusive is no pass."""
    line = ended(row(outcome="inconclusive", level="note", blocking=False), code=0, verdict="inconclusive")
    assert judge(planted(answer="pass", metrics=(), causes=()), line).answered == "inconclusive"


def planted(**changes: Any) -> Patch:
    patch = Patch(
        path=Path("D1-x.patch"),
        subject="x",
        row="D1",
        plants="x.",
        answer="block",
        cases=("endpoints/playlist*",),
        metrics=("sql.calls",),
        causes=("FROM artists",),
        timed=False,
        diff="diff",
    )
    return dataclasses.replace(patch, **changes)


def row(**changes: Any) -> dict[str, Any]:
    return {
        "case": "endpoints/playlist[per_page=10]",
        "metric": "sql.calls",
        "outcome": "regressed",
        "level": "block",
        "blocking": True,
        "base": 3.0,
        "head": 13.0,
        "cause": "SELECT ... FROM artists WHERE artists.id = $1 ran 10 times (was 0)",
        **changes,
    }


def ended(*rows: dict[str, Any], code: int = 1, verdict: str = "blocked") -> dict[str, Any]:
    return {"code": code, "verdict": verdict, "rows": list(rows), "seconds": 1.0}
