"""The text of a report: its first line, its order, its width."""

from __future__ import annotations

import dataclasses
import random

import pytest
from build import LIST, run, side, statement
from example_reports import (
    EXAMPLES,
    GONE,
    PLAYLIST,
    SONGS_40,
    error,
    first_adoption,
    n_plus_one,
    report,
    timed,
    with_rows,
)
from hypothesis import given
from hypothesis import strategies as st
from regenerate import GOLDEN, renderings
from rich.cells import cell_len

from gate.judge import Context, judge
from gate.model import Case, Cause, Caveat, Outcome, Pair, Report, State
from gate.report import format as f
from gate.report import text
from gate.schema import report_from_json, report_to_json


@pytest.mark.parametrize("name", sorted(renderings()))
def test_rendering_is_what_was_reviewed(name: str) -> None:
    """Every example renders to its golden file (tests/report/regenerate.py writes them)."""
    assert renderings()[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    """Each golden file belongs to an example."""
    assert {path.name for path in GOLDEN.iterdir()} == set(renderings())


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_first_line_is_state_and_reason(name: str) -> None:
    """Whoever reads one line knows the verdict and why."""
    made = EXAMPLES[name]()
    first = text(made).splitlines()[0]
    state, reason = made.verdict.state.value, made.verdict.reasons[0]
    assert first == f"{state}: {reason if len(reason) <= 200 else f.reason(reason, 200)}"


def test_statement_that_the_first_line_cuts_stands_whole_below() -> None:
    """The headline is for a list of checks; who repairs it needs the whole statement."""
    rendered = text(EXAMPLES["dropped-index"]())
    first, _, rest = rendered.partition("\n")
    assert "..." in first.rpartition("WHERE")[2]
    assert "SELECT ... FROM analysis_results WHERE analysis_results.user_id = $1" in rest
    assert "ORDER BY analysis_results.analysed_at DESC LIMIT $5: 8,312 blocks (was 9)" in " ".join(
        rest.split()
    )


def test_first_line_of_a_blocked_run_names_endpoint_statement_and_calls() -> None:
    """The promise of the product, word for word."""
    assert text(n_plus_one()).splitlines()[0] == (
        "blocked: GET /api/playlists/{id}: 3 -> 202 queries; "
        "SELECT ... FROM songs WHERE songs.id = $1 ran 200 times (was 1)"
    )


@pytest.mark.parametrize("name", sorted(EXAMPLES))
@pytest.mark.parametrize("width", [80, 100, 140])
def test_tables_keep_to_the_width(name: str, width: int) -> None:
    """Only the verdict, its further reasons and commands, which are to be copied, may be longer."""
    for line in text(EXAMPLES[name](), width=width).splitlines()[1:]:
        if not line.startswith(("  also: ", "reproduce", "accept", "adopt")):
            assert cell_len(line) <= width, line


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_colour_adds_nothing(name: str) -> None:
    """Without its escape sequences the coloured text is the plain text."""
    import re

    made = EXAMPLES[name]()
    coloured = text(made, color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text(made)
    assert "\x1b" not in text(made)


def test_the_environment_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is a function of its value: terminal variables change nothing."""
    before = text(n_plus_one()), text(n_plus_one(), color=True)
    for name, value in {"COLUMNS": "40", "NO_COLOR": "1", "FORCE_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    assert (text(n_plus_one()), text(n_plus_one(), color=True)) == before


def test_order_is_worst_first_whatever_the_order_of_the_report() -> None:
    """Shuffled comparisons give the same judged rows: blocked, warned, improved, then counts."""
    made = n_plus_one()
    shuffled = list(made.comparisons)
    random.Random(1).shuffle(shuffled)
    marks = [line.split()[0] for line in text(made).splitlines() if line and not line.startswith(" ")]
    table = marks[marks.index("BLOCKED") : marks.index("budgets")]
    assert table == ["BLOCKED"] * 3 + ["warn"] + ["improved"] + ["equal"] * 3
    again = dataclasses.replace(made, comparisons=tuple(shuffled))
    assert blocked_lines(again) == blocked_lines(made)


def blocked_lines(made: Report) -> list[str]:
    return [line for line in text(made).splitlines() if line.startswith("BLOCKED")]


def test_gains_of_a_blocked_case_are_said_where_it_blocks() -> None:
    """No row says "improved" of a case that blocks."""
    rendered = text(n_plus_one())
    (below,) = [line for line in rendered.splitlines() if "response.bytes 24,312 B -> 24,298 B" in line]
    assert below.strip() == "better in the same case: response.bytes 24,312 B -> 24,298 B"
    assert "improved      GET /api/playlists/{id}" not in rendered


def test_accepted_row_stays_in_the_table() -> None:
    """Accepting unblocks; it does not make the row disappear, and nothing more is to be accepted."""
    rendered = text(EXAMPLES["accepted"]())
    assert "accepted      GET /api/playlists/{id}  sql.calls" in rendered
    assert "perf-gate accept" not in rendered


def test_failure_without_a_base_is_never_shown_as_equal() -> None:
    """A case that fails on both sides stands in the table with what it said."""
    rendered = text(error())
    assert "FAILED        GET /api/search" in rendered
    assert "got 500" in rendered.split("FAILED")[1]


def test_first_adoption_says_what_to_commit() -> None:
    """The next step after a first run is a command."""
    rendered = text(first_adoption())
    assert (
        "\nadopt         perf-gate baseline update\n              git add -- baselines && git commit\n"
        in rendered
    )


def test_missing_case_can_be_accepted_but_not_repeated_alone() -> None:
    """What head no longer has cannot be asked for with --only."""
    rendered = text(EXAMPLES["missing"]())
    assert f"perf-gate accept '{GONE}'" in rendered
    assert "--only" not in rendered


def test_same_label_is_told_apart_by_parameters() -> None:
    """Two cases of one endpoint are two rows with two names."""
    rendered = text(EXAMPLES["dropped-index"]())
    assert "BLOCKED       GET /api/songs [per_page=40]" in rendered
    assert f"'{SONGS_40}'" in rendered


hostile = st.text(
    alphabet=st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("\x1b\x07\x9b\u202e\u2066\u200b\ufeff\n\r\t"),
        st.sampled_from("宽字"),
    ),
    min_size=1,
    max_size=300,
)


@given(name=hostile, reason=hostile)
def test_nothing_foreign_reaches_the_terminal(name: str, reason: str) -> None:
    """Escape sequences, line ends and text that runs backwards are replaced; lines keep their width."""
    bad = Case(suite="endpoints", name=name)
    rows = with_rows([])
    rows = tuple(dataclasses.replace(r, case=bad, label=name) if r.case == PLAYLIST else r for r in rows)
    broken = dataclasses.replace(
        rows[10], outcome=Outcome.REGRESSED, blocking=True, head=9.0, case=bad, label=name
    )
    doubt = (Caveat(code=name, text=reason),)
    times = [
        timed(bad, 0.004, 0.2, 0.1, outcome, label=name, caveats=doubt, cause=Cause(summary=reason))
        for outcome in (Outcome.REGRESSED, Outcome.INCONCLUSIVE, Outcome.IMPROVED)
    ]
    made = report(State.BLOCKED, (reason,), [broken, *times, *rows])
    measured = dataclasses.replace(
        made.run,
        plan=dataclasses.replace(made.run.plan, untimed=reason),
        pairs=(Pair(number=1, stage="screen", cases=(bad,), seconds=1.0, lost=reason),),
    )
    rendered = text(dataclasses.replace(made, run=measured))
    for forbidden in "\x1b\x07\x9b\r\u202e\u2066\u200b\ufeff":
        assert forbidden not in rendered
    for line in rendered.split("\n")[1:]:
        if not line.startswith(("reproduce", "accept")):
            assert cell_len(line) <= 100


LOOP = "SELECT s.id, s.title, s.artist_id FROM songs s WHERE s.id = $1"


def test_judged_run_reads_as_promised() -> None:
    """From counts, through judging and JSON, to the line that names statement and calls."""
    base = {"errors": [0, 0], "sql.calls": [3, 3], "sql.blocks": [100, 100]}
    head = base | {"sql.calls": [202, 202]}
    stored = side("base", {LIST: base}, statements={LIST: (statement(LOOP, 1),)}, stored=True)
    measured = side("head", {LIST: head}, statements={LIST: (statement(LOOP, 200),)})
    made = judge(run(measured, known=(LIST,)), Context(config=None, stored=stored, ref="abc"))
    lines = text(report_from_json(report_to_json(made), "f")).splitlines()
    assert lines[0].endswith(
        "3 -> 202 queries; SELECT ... FROM songs s WHERE s.id = $1 ran 200 times (was 1)"
    )
    assert any(line.startswith("BLOCKED") and line.split()[-6:-4] == ["3", "202"] for line in lines)
    assert lines[lines.index("") + 2].startswith("BLOCKED")


def test_a_doubt_is_said_once() -> None:
    """What a finding says is not said again as a caveat."""
    base = {"errors": [0, 0], "sql.calls": [3, 3]}
    measured = side("head", {LIST: base | {"sql.calls": [3, 4]}})
    context = Context(config=None, stored=side("base", {LIST: base}, stored=True), ref="abc")
    rendered = text(judge(run(measured, known=(LIST,)), context))
    assert rendered.count("counted 3 and 4") == 1
