"""How a statement is known again after it was rewritten."""

from __future__ import annotations

import pytest

from gate.explain.rewritten import reads, successors


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
        # Names are quoted by some and not by others, and FROM is a word of other phrases too.
        ('INSERT INTO "library_song" ("a") VALUES ($1)', ("insert", "library_song")),
        ('SELECT a FROM "public"."Songs"', ("select", "public.songs")),
        ("SELECT a IS DISTINCT FROM b FROM songs", ("select", "songs")),
        ("UPDATE ONLY songs SET a = 1", ("update", "songs")),
        ("SELECT $1", ("select", "")),
    ],
)
def test_a_statement_is_about_its_first_table(text: str, found: tuple[str, str]) -> None:
    assert reads(text) == found


COUNT = "SELECT count(*) FROM songs WHERE status = $1"
LIST = "SELECT id, title FROM songs WHERE status = $1 ORDER BY title LIMIT $2"


@pytest.mark.parametrize(
    "also", [" AND deleted = false", " AND NOT hidden", " AND kind = $9", " AND archived IS NULL"]
)
def test_of_several_the_most_alike_are_one(also: str) -> None:
    """Whatever was added to both, and whatever their order."""
    count, page = COUNT + also, LIST.replace(" ORDER", f"{also} ORDER")
    for new in ([count, page], [page, count]):
        pairs = successors([LIST, COUNT], new, text=str, calls=lambda _: 1.0)
        assert sorted(pairs) == [(COUNT, count), (LIST, page)]


def test_what_ran_more_often_or_reads_another_table_is_another_statement() -> None:
    calls = {COUNT: 1.0, "SELECT count(*) FROM songs": 2.0, "SELECT count(*) FROM albums": 1.0}
    assert successors([COUNT], [text for text in calls if text != COUNT], text=str, calls=calls.get) == []


def test_a_long_nest_of_parentheses_takes_no_time_of_its_own() -> None:
    """A stranger's text: only its beginning is looked at."""
    assert reads("select " + "(" * 500_000 + ")" * 500_000 + " from a") == ("select", "")
