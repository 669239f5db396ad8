"""How a statement is known again after it was rewritten."""

from __future__ import annotations

import pytest

from gate.explain.words import reads


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT a FROM songs WHERE id = $1", ("select", "songs")),
        ("INSERT INTO songs (a, b) VALUES ($1, $2)", ("insert", "songs")),
        ("UPDATE songs SET a = (SELECT max(b) FROM albums)", ("update", "songs")),
        ("DELETE FROM songs", ("delete", "songs")),
        # What a column is computed from is not what the statement is about.
        ("SELECT (SELECT count(*) FROM entries WHERE (a = b)) AS n, a FROM lists", ("select", "lists")),
        ("SELECT a FROM (SELECT a FROM songs) AS x", ("select", "songs")),
        ("SELECT $1", ("select", "")),
    ],
)
def test_a_statement_is_about_its_first_table(text: str, found: tuple[str, str]) -> None:
    assert reads(text) == found
