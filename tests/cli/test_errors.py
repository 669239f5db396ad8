"""How an error reads: a command that judges says that there is no verdict, any other one that it failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.cli import entry

REPORT = "report.json"


@pytest.mark.parametrize(
    ("command", "begins"),
    [
        (["judge", REPORT], "perf-gate: no verdict: "),
        (["compare", REPORT, REPORT], "perf-gate: no verdict: "),
        (["report", REPORT], "perf-gate: error: "),
        (["baseline", "check"], "perf-gate: error: "),
    ],
)
def test_an_error_says_no_verdict_only_where_one_was_wanted(
    command: list[str],
    begins: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(REPORT).write_text("{}")
    assert entry(command) == 2
    assert capsys.readouterr().err.startswith(begins)
