"""What is said of a statement that was rewritten: nothing is gone that another statement of head reads."""

from __future__ import annotations

import pytest

from gate.explain.plans import PlanNode, QueryPlan, changed

JOINED = "SELECT songs.id, artists.name FROM songs JOIN artists ON artists.id = songs.artist_id"
ALONE = "SELECT songs.id, songs.artist_id FROM songs"
ONE = "SELECT artists.name FROM artists WHERE artists.id = $1"


def scan(relation: str, index: str, kind: str = "Index Scan") -> PlanNode:
    return PlanNode(
        line=0,
        depth=0,
        kind=kind,
        relation=relation,
        index=index,
        detail="",
        loops=1,
        rows=1,
        estimated=1,
        removed=0,
        blocks=1,
        spills=False,
    )


def plan(text: str, *nodes: PlanNode) -> QueryPlan:
    return QueryPlan(
        fingerprint=text,
        text=text,
        tree=tuple(node.name for node in nodes),
        nodes=nodes,
        relations=tuple(node.relation for node in nodes),
        calls=1,
        rows=1,
        estimated=1,
        removed=0,
        blocks=1,
        temp_blocks=0,
    )


SONGS = scan("songs", "songs_pkey")
ARTISTS = scan("artists", "artists_pkey")
BEFORE = plan(JOINED, SONGS, ARTISTS)
GONE = "Index Scan using artists_pkey on artists is gone"


@pytest.mark.parametrize(
    "read",
    [ARTISTS, scan("artists", "artists_pkey", "Index Only Scan"), scan("artists a", "artists_pkey")],
)
def test_an_index_that_a_new_statement_reads_is_not_gone(read: PlanNode) -> None:
    """A join that became a loop: by whatever scan of it, under whatever name of the table."""
    assert changed([BEFORE], [plan(ALONE, SONGS), *[plan(ONE, read)] * 30]) == ()


def test_an_index_is_not_gone_where_a_statement_of_both_reads_it_more_often() -> None:
    known = plan(ONE, ARTISTS)
    assert changed([BEFORE, known], [plan(ALONE, SONGS), *[known] * 30]) == ()


@pytest.mark.parametrize(
    "others",
    [
        (),
        # Another index of it, and another table.
        (plan(ONE, scan("artists", "artists_name")),),
        (plan("SELECT 1 FROM albums", scan("albums", "artists_pkey")),),
    ],
)
def test_an_index_that_nothing_new_reads_is_gone(others: tuple[QueryPlan, ...]) -> None:
    (change,) = changed([BEFORE], [plan(ALONE, SONGS), *others])
    assert change.sentence == GONE


def test_what_base_read_as_often_replaces_nothing() -> None:
    known = plan(ONE, ARTISTS)
    (change,) = changed([BEFORE, known], [plan(ALONE, SONGS), known])
    assert change.sentence == GONE
