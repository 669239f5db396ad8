"""Stored baselines as text."""

from __future__ import annotations

import dataclasses
import json

import pytest
from build import KEY, LIST, SAVE, side, statement

from gate import baseline
from gate.errors import BaselineError
from gate.model import Command, SideRun

SQL = "SELECT id FROM songs WHERE id = $1"


def stored(calls: float = 3) -> SideRun:
    counts = {LIST: {"sql.calls": [calls, calls], "sql.blocks": [10.5, 10.5]}, SAVE: {"sql.calls": [1, 1]}}
    found = side("head", counts, statements={LIST: [statement(SQL, calls)]})
    evidence = tuple(dataclasses.replace(e, commands=(Command(name="get", calls=1),)) for e in found.evidence)
    return dataclasses.replace(found, evidence=evidence)


def test_what_is_written_is_read_back() -> None:
    """Counts, statements, commands and the data key survive the text."""
    back = baseline.from_text(baseline.to_text(stored(), "endpoints"), name="x")
    assert back.side.data_key == KEY
    assert {(s.case, s.metric.name, s.values) for s in back.samples} == {
        (s.case, s.metric.name, s.values) for s in stored().samples
    }
    assert {e.statements for e in back.evidence} == {e.statements for e in stored().evidence}
    assert {e.commands for e in back.evidence} == {e.commands for e in stored().evidence}


def test_one_changed_count_changes_only_its_lines() -> None:
    """A reviewer sees the counts that changed and nothing else."""
    before = baseline.to_text(stored(3), "endpoints").splitlines()
    after = baseline.to_text(stored(4), "endpoints").splitlines()
    assert len(before) == len(after)
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == 3  # two passes of the total, and the statement's calls


def test_the_text_is_sorted_and_ends_with_a_newline() -> None:
    """Same content, same bytes, whatever the order it was measured in."""
    text = baseline.to_text(stored(), "endpoints")
    flipped = dataclasses.replace(stored(), samples=stored().samples[::-1], cases=stored().cases[::-1])
    assert text == baseline.to_text(flipped, "endpoints")
    assert text.endswith("}\n")


def test_only_what_may_be_kept_is_written() -> None:
    """Of an answer that nobody may keep there is nothing to say, so that no line of it comes and goes."""

    def text(*caching: tuple[str, bool]) -> str:
        evidence = tuple(dataclasses.replace(each, caching=caching) for each in stored().evidence)
        return baseline.to_text(dataclasses.replace(stored(), evidence=evidence), "endpoints")

    assert text(("browsers", False)) == baseline.to_text(stored(), "endpoints")
    back = baseline.from_text(text(("browsers", True), ("proxies", False)), name="x")
    assert {each.caching for each in back.evidence if each.case == LIST} == {(("browsers", True),)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps({"schema": "perf-gate.baseline/9"}), "another version"),
        (json.dumps({"schema": "perf-gate.baseline/1"}), "damaged"),
        (baseline.to_text(stored(), "endpoints").replace("sql.blocks", "sql.unheard"), "damaged"),
        (baseline.to_text(stored(), "endpoints").replace("endpoints/list", "list"), "damaged"),
        (baseline.to_text(stored(), "endpoints").replace("10.5", "NaN"), "damaged"),
        (baseline.to_text(stored(), "endpoints").replace("10.5", "-1"), "damaged"),
    ],
)
def test_a_bad_file_is_one_clear_error(text: str, said: str) -> None:
    """The file is named, and the next step; the exit code is 2."""
    with pytest.raises(BaselineError, match=said) as caught:
        baseline.from_text(text, name="baselines/endpoints.json")
    assert caught.value.where == "baselines/endpoints.json"
    assert caught.value.exit_code == 2
    assert "baseline update" in caught.value.hint


def test_a_named_case_is_accepted_and_the_others_stay() -> None:
    """Only the case named takes head's values."""
    head = side("head", {LIST: {"sql.calls": [9, 9]}, SAVE: {"sql.calls": [9, 9]}})
    found = baseline.updated(stored(), head, frozenset({LIST}))
    values = {(s.case, s.metric.name): s.values for s in found.samples}
    assert values[(LIST, "sql.calls")] == (9, 9)
    assert values[(SAVE, "sql.calls")] == (1, 1)


def test_a_named_case_that_head_lost_is_dropped() -> None:
    """Accepting a missing case removes its rows."""
    head = side("head", {LIST: {"sql.calls": [3, 3]}})
    assert {p.case for p in baseline.updated(stored(), head, frozenset({SAVE})).cases} == {LIST}


def test_all_cases_together_may_be_accepted_onto_other_data() -> None:
    """Where no stored case is left over, nothing is mixed."""
    other = dataclasses.replace(KEY, postgres=17)
    head = side("head", {LIST: {"sql.calls": [9, 9]}, SAVE: {"sql.calls": [2, 2]}}, key=other)
    found = baseline.updated(stored(), head, frozenset({LIST, SAVE}))
    assert found.side.data_key == other


def test_one_case_cannot_be_accepted_onto_other_data() -> None:
    """A file has one data key; mixing would make the other counts lies."""
    head = side("head", {LIST: {"sql.calls": [9, 9]}}, key=dataclasses.replace(KEY, postgres=17))
    with pytest.raises(BaselineError, match="Postgres 18 -> 17"):
        baseline.updated(stored(), head, frozenset({LIST}))
