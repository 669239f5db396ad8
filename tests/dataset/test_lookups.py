"""Anchors and SQL parameters read from seeded data."""

from __future__ import annotations

import pytest

from gate import dataset
from gate.errors import ConfigError

pytestmark = pytest.mark.services

SQL = """
CREATE TABLE songs (id bigint PRIMARY KEY, title text, price numeric, on_sale boolean, at timestamptz);
INSERT INTO songs VALUES (1, 'Zoo', 1.50, true, '2026-01-01 00:00+00'), (2, 'Ant', NULL, false, NULL);
"""


def test_an_anchor_is_the_first_row_in_its_order(server, migrated, spec):
    """With all columns that are not NULL, exact numbers as text."""
    database = migrated("anchored", SQL)
    given = spec(
        anchors={
            "last": {"table": "songs", "order": "title DESC"},
            "cheap": {"table": "songs", "where": "id = 2"},
        }
    )
    found = dataset.anchors(server, database, given)
    assert found["cheap"] == {"id": 2, "title": "Ant", "on_sale": False}
    assert found["last"] == {
        "id": 1,
        "title": "Zoo",
        "price": "1.50",
        "on_sale": True,
        "at": "2026-01-01T00:00:00+00:00",
    }


def test_every_anchor_at_fault_is_named(server, migrated, spec):
    """A condition that no row meets, and one that is no SQL."""
    database = migrated("anchored", SQL)
    given = spec(
        anchors={
            "none": {"table": "songs", "where": "id = 3"},
            "bad": {"table": "songs", "where": "titel = 'x'"},
        }
    )
    with pytest.raises(ConfigError) as caught:
        dataset.anchors(server, database, given)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "dataset.anchors.none",
        "dataset.anchors.bad",
    ]


def test_values_keep_the_order_of_the_statement(server, migrated):
    """One column, as many values as there are rows."""
    database = migrated("values", SQL)
    assert dataset.sql_values(server, database, "SELECT title FROM songs ORDER BY 1", where="x") == (
        "Ant",
        "Zoo",
    )


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT id FROM songs WHERE id > 9", "no rows"),
        ("SELECT price FROM songs", "NULL"),
        ("SELECT id, title FROM songs", "2 columns"),
        ("SELECT id FROM sogns", "sogns"),
        ("DELETE FROM songs RETURNING id", "read-only"),
    ],
)
def test_a_statement_that_gives_no_values_is_a_configuration_error(server, migrated, sql, said):
    """At the place that the configuration names; nothing is changed by asking."""
    with pytest.raises(ConfigError, match=said) as caught:
        dataset.sql_values(server, migrated("values", SQL), sql, where="perf-gate.toml:9")
    assert caught.value.where == "perf-gate.toml:9"
