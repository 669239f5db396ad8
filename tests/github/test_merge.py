"""Joining two updates of one baseline file: nothing lost, nothing mixed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.github.merge import merged


def file(cases: dict[str, Any], key: str = "k", **more: Any) -> str:
    document = {"data_key": key, "cases": cases, **more}
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


BASE = file({"a": 1, "b": 1, "c": 1})


def joined(ours: str | None, theirs: str | None, *, newer: bool = False, base: str | None = BASE) -> Any:
    text = merged(base, ours, theirs, newer=newer)
    return json.loads(text)["cases"] if text else text


def test_changes_of_both_are_kept() -> None:
    """A case that one changed, one added and one removed all come out so."""
    assert joined(file({"a": 2, "b": 1, "c": 1}), file({"a": 1, "b": 1, "d": 4})) == {"a": 2, "b": 1, "d": 4}


@pytest.mark.parametrize(("newer", "kept"), [(True, 2), (False, 3)])
def test_same_case_takes_the_newer_value(newer: bool, kept: int) -> None:
    """Where both changed a case, one of the two stands there whole."""
    assert joined(file({"a": 2}), file({"a": 3}), newer=newer)["a"] == kept


def test_files_of_other_data_are_not_mixed() -> None:
    """Cases measured on two data sets cannot stand under one data key: one file wins whole."""
    ours, theirs = file({"a": 2}, "new"), file({"a": 1, "b": 9}, "k")
    assert merged(BASE, ours, theirs, newer=False) == theirs
    assert merged(BASE, ours, theirs, newer=True) == ours


@pytest.mark.parametrize(
    ("ours", "theirs", "kept"), [(None, BASE, None), (BASE, None, None), (None, file({}), "t")]
)
def test_removed_file(ours: str | None, theirs: str | None, kept: str | None) -> None:
    """A file that one side removed is gone, unless the other changed it."""
    assert merged(BASE, ours, theirs, newer=False) == (theirs if kept else None)


@pytest.mark.parametrize("text", ["", "1\n", "[]", '{"cases": []}', "{"])
def test_what_is_no_baseline_is_taken_whole(text: str) -> None:
    """A file of another kind is never taken apart."""
    assert merged("0", text, "9", newer=True) == text
    assert merged("0", text, "9", newer=False) == "9"


def test_text_is_as_a_baseline_is_written() -> None:
    """Joining a file with itself and an untouched one changes no byte."""
    ours = file({"a": "é", "b": [1, 2]})
    assert merged(BASE, ours, file({"a": 1, "b": 1, "c": 1}), newer=False) == ours


CASES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3))


@given(base=CASES, ours=CASES, theirs=CASES)
def test_order_of_two_updates_does_not_matter(base: Any, ours: Any, theirs: Any) -> None:
    """Whoever pushes first: with the same one newer, the file is the same."""
    one = joined(file(ours), file(theirs), newer=True, base=file(base))
    other = joined(file(theirs), file(ours), newer=False, base=file(base))
    assert one == other


@given(base=CASES, ours=CASES, theirs=CASES, newer=st.booleans())
def test_every_case_comes_from_somewhere(base: Any, ours: Any, theirs: Any, newer: bool) -> None:
    """No case appears that neither side has, none that both have vanishes, none has a third value."""
    made = joined(file(ours), file(theirs), newer=newer, base=file(base))
    assert (ours.keys() & theirs.keys()) <= made.keys() <= (ours.keys() | theirs.keys())
    assert all(value in (ours.get(case), theirs.get(case)) for case, value in made.items())
