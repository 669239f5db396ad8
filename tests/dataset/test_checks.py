"""Check constraints in the server's own words."""

from __future__ import annotations

import pytest

from gate.dataset.checks import Bound, OneOf, Ordered, Present, columns_in, rules

UNDERSTOOD = [
    (
        "CHECK (((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
        (OneOf("status", ("a", "b")),),
    ),
    ("CHECK (((x >= 0) AND (x <= 100)))", (Bound("x", ">=", 0), Bound("x", "<=", 100))),
    ("CHECK ((price > (0)::numeric))", (Bound("price", ">", 0),)),
    ("CHECK ((s >= ('-1'::integer)::numeric))", (Bound("s", ">=", -1),)),
    ("CHECK ((0 < x))", (Bound("x", ">", 0),)),
    ("CHECK ((weight > (0)::double precision))", (Bound("weight", ">", 0),)),
    ("CHECK (((a IS NULL) OR (b >= a)))", (Ordered("a", "b", strict=False),)),
    ('CHECK (("from" < "to"))', (Ordered("from", "to", strict=True),)),
    ("CHECK ((starts > ends))", (Ordered("ends", "starts", strict=True),)),
    ("CHECK ((length((name)::text) > 0))", (Bound("name", ">", 0, length=True),)),
    ("CHECK ((char_length(btrim(name)) >= 3))", (Bound("name", ">=", 3, length=True),)),
    ("CHECK ((name <> ''::text))", (Bound("name", ">=", 1, length=True),)),
    ("CHECK ((k = ANY ('{a,b}'::text[])))", (OneOf("k", ("a", "b")),)),
    ("CHECK (((kind = 'a'::text) OR (kind = 'b'::text)))", (OneOf("kind", ("a", "b")),)),
    ("CHECK ((n = ANY (ARRAY[1, 2])))", (OneOf("n", ("1", "2")),)),
    ("CHECK ((NOT (a IS NULL)))", (Present("a"),)),
    ("CHECK ((a IS NULL))", (Present("a", absent=True),)),
    ("CHECK (((a IS NOT NULL) OR (b IS NOT NULL)))", (Present("a"),)),
    ("CHECK (((a IS NULL) OR (a > 3)))", (Bound("a", ">", 3),)),
    ("is_default", (OneOf("is_default", ("true",)),)),
    ("CHECK ((name = 'it''s'::text))", (OneOf("name", ("it's",)),)),
]
OPEN = [
    "CHECK ((VALUE ~ '^[a-z]+$'::text))",
    "CHECK (((a + b) > 3))",
    "CHECK ((num_nonnulls(a, b) = 1))",
    "CHECK (((finished IS NULL) OR (status = 'done'::text)))",
    "CHECK ((started <= '2020-01-01 00:00:00+00'::timestamp with time zone))",
    "CHECK (((a IS NULL) <> (b IS NULL)))",
    "CHECK ((name ~~ E'a\\\\%'::text))",
    "CHECK ((a > 1) OR (b > 1))",
    "",
]


@pytest.mark.parametrize(("text", "expected"), UNDERSTOOD)
def test_common_checks_are_understood(text, expected):
    """The rules together mean the check."""
    assert rules(text) == expected


@pytest.mark.parametrize("text", OPEN)
def test_what_is_not_understood_is_not_guessed(text):
    """None, so that the server is asked."""
    assert rules(text) is None


def test_mentioned_columns_are_found_without_parsing():
    """Quoted names too, each once, in order."""
    text = 'lower(("Name")::text) || code || "Name"'
    assert columns_in(text, frozenset(("Name", "code", "name"))) == ("Name", "code")
