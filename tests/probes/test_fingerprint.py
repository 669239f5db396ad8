"""When two SQL texts are one statement."""

from __future__ import annotations

import pytest

from gate.probes.fingerprint import Sort, identify

SAME = [
    ("select * from t where id = $1", "SELECT  *\nFROM t /* who */ WHERE id = $1 -- why"),
    ("SELECT * FROM t WHERE id IN ($1)", "SELECT * FROM t WHERE id IN ($1, $2, $3)"),
    ("SELECT * FROM t WHERE id IN ($1, $2)", "SELECT * FROM t WHERE id IN ($1 /*, ... */)"),
    ("SELECT * FROM t WHERE id = $1::int", "SELECT * FROM t WHERE id = $1::bigint"),
    ("SELECT * FROM t WHERE id = $1", "SELECT * FROM t WHERE id = 42"),
    ("INSERT INTO t (a) VALUES ($1)", "INSERT INTO t (a) VALUES ($1), ($2), ($3)"),
    ("BEGIN", "begin read write;"),
    ("SAVEPOINT a", "SAVEPOINT $1"),
    ("DEALLOCATE a", "DEALLOCATE $1"),
]
OTHER = [
    ("SELECT * FROM t WHERE id = $1", "SELECT * FROM t WHERE id > $1"),
    ("SELECT a FROM t", "SELECT a, b FROM t"),
    ("SELECT a FROM t", "SELECT a FROM u"),
    ("SELECT a FROM t", "SELECT a FROM t ORDER BY a"),
    ("BEGIN", "COMMIT"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spelling_makes_no_difference(one, other):
    """Case, white space, comments, length of lists, casts of parameters and names of savepoints."""
    assert identify(one).fingerprint == identify(other).fingerprint


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_meaning_makes_a_difference(one, other):
    """Another condition, column, table or ordering is another statement."""
    assert identify(one).fingerprint != identify(other).fingerprint


def test_text_that_cannot_be_parsed_still_has_one_fingerprint():
    """Syntax of a newer server: comments, white space, case and literals do not matter even so."""
    one = identify("FROBNICATE t WHERE id IN ($1, $2)  /* x */ AND a = 'b'")
    other = identify("frobnicate T\nwhere id in ($1) and a = 'c'")
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 16
    assert identify("PUT ($1, 2), (3, $4)").fingerprint == identify("PUT ($1, $2)").fingerprint
    assert one.sort is Sort.WORK
    assert identify("FROBNICATE u").fingerprint != one.fingerprint


@pytest.mark.parametrize("text", ["BEGIN", "begin isolation level serializable", "START TRANSACTION"])
def test_what_opens_a_transaction_is_known(text):
    """Only these are counted as transactions."""
    assert identify(text).sort is Sort.BEGIN


@pytest.mark.parametrize(
    "text",
    [
        "COMMIT",
        "ROLLBACK",
        "ROLLBACK TO SAVEPOINT $1",
        "SAVEPOINT a",
        "RELEASE SAVEPOINT a",
        "SET search_path TO x",
        "SET TIME ZONE $1",
        "SHOW standard_conforming_strings",
        "DISCARD ALL",
        "DEALLOCATE ALL",
        "DEALLOCATE $1",
        "CLOSE c",
        "LISTEN a",
        "",
        "SET frobnicate BY $1 -- no grammar knows this",
    ],
)
def test_control_of_transaction_and_session_is_no_work(text):
    """These are left out of the number of statements."""
    assert identify(text).sort is Sort.CONTROL


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
        "FETCH FORWARD $1 FROM c",
        "COPY t FROM STDIN",
        "CALL f($1)",
        "NOTIFY a",
        "LOCK TABLE t",
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "TRUNCATE t",
    ],
)
def test_work_is_counted(text):
    """Whatever asks or changes data, cursors and procedures included."""
    assert identify(text).sort is Sort.WORK


def test_the_shown_text_is_one_line_without_comments():
    """Readable in a baseline's diff; what only looks like a comment stays."""
    text = "SELECT a, '-- no' FROM t /* gone */\n   WHERE a = $1 -- gone too\n ;"
    assert identify(text).text == "SELECT a, '-- no' FROM t WHERE a = $1"


def test_long_lists_are_shown_short():
    """A batch of a thousand rows is one short line, as Postgres 18 shortens its own lists."""
    rows = ", ".join(f"(${2 * i + 1}::VARCHAR, ${2 * i + 2})" for i in range(1000))
    assert identify(f"INSERT INTO t (a, b) VALUES {rows} RETURNING id").text == (
        "INSERT INTO t (a, b) VALUES ($1::VARCHAR, $2), ... RETURNING id"
    )
    short = "SELECT * FROM t WHERE id IN ($1, ...)"
    assert identify("SELECT * FROM t WHERE id IN ($1, $2, $3)").text == short
    assert identify("SELECT * FROM t WHERE id IN ($1 /*, ... */)").text == short
