"""Which part of an answer has grown, from two answers."""

from __future__ import annotations

import json

import pytest

from gate.explain.bodies import parts


def named(before: str, after: str) -> list[tuple[str, float, float]]:
    return [(part.text, part.before, part.after) for part in parts(before.encode(), after.encode())]


def test_a_key_that_every_row_has_now_is_one_part() -> None:
    """Its bytes over all rows, with the key's own."""
    rows = [{"id": n, "title": "x"} for n in range(3)]
    wide = [row | {"lyrics": "la la"} for row in rows]
    (found,) = named(json.dumps({"songs": rows}), json.dumps({"songs": wide}))
    assert found == ("songs[].lyrics", 0.0, 3 * (len('"lyrics": "la la"')))


def test_the_largest_growth_comes_first() -> None:
    before, after = {"a": "x", "b": {"c": "x"}}, {"a": "xx", "b": {"c": "x" * 100}}
    assert [name for name, *_ in named(json.dumps(before), json.dumps(after))] == ["b.c", "a"]


def test_what_shrinks_is_no_growth() -> None:
    assert named('{"a": "xxxx"}', '{"a": "x"}') == []


def test_an_element_of_html_is_named_with_its_class() -> None:
    """Void elements hold nothing, and what is left open ends with what it is in."""
    row = "<tr><td>Song<br></td></tr>"
    icon = '<tr><td>Song<br><svg class="icon star"><path d="M0 0"/></svg></td></tr>'
    found = named(f"<table>{row * 5}</table>", f"<table>{icon * 5}</table>")
    assert found == [
        ("<svg.icon>", 0.0, 5 * len('<svg class="icon star"></svg>')),
        ("<path>", 0.0, 5 * len('<path d="M0 0"/>')),
    ]


def test_the_same_values_in_more_bytes_are_white_space() -> None:
    """Indented JSON has no key that grew."""
    value = {"songs": [{"id": 1, "title": "x"}]}
    compact, wide = json.dumps(value), json.dumps(value, indent=4)
    expected = ("white space and escapes around the same values", len(compact), len(wide))
    assert named(compact, wide) == [expected]


def test_the_same_values_in_no_more_bytes_are_nothing() -> None:
    """The answer to another parameter of the case may be the one that grew."""
    assert named('{"a": 1}', '{"a": 1}') == named('{"a": 1}', '{"a":1}') == []


def test_half_a_character_is_a_value_like_others() -> None:
    """As JavaScript leaves it where it cuts a text."""
    assert named('{"a": "x"}', '{"a": "\\ud83d xx"}') == [("a", len('"a": "x"'), len('"a": "? xx"'))]


def test_a_longer_text_has_more_lines() -> None:
    """Whatever its size."""
    assert named("id,title\n1,x\n", "id,title\n" + "1,x\n" * 2_000_000) == [("the answer", 2, 2_000_001)]


@pytest.mark.parametrize("body", ["id,title", "", "\xff\x00", "[" * 100_000, "<p><![foo[x]]></p>"])
def test_other_answers_have_no_parts(body: str) -> None:
    assert named(body, body + body) == []
