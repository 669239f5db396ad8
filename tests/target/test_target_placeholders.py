"""Placeholders of [target]: which are allowed where, and how they are filled."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.config import Target
from gate.errors import ConfigError
from gate.target.placeholders import RUNNING, check_placeholders, fill, names, values_of

VALUES = values_of(
    interpreter="/env/bin/python",
    worktree="/scratch/head",
    postgres_url="postgresql://us%40er:p%2Fw@127.0.0.1:5433/db_1",
    redis_url="redis://:s3cret@127.0.0.1:6380/0",
    seed=7,
    port=40123,
)


def target(**fields: Any) -> Target:
    return Target.model_validate({"python": "python3", "start": ["app"], **fields})


def test_every_documented_placeholder_has_a_value() -> None:
    """A running side knows all placeholders, and the parts of a URL are decoded."""
    assert set(VALUES) == set(RUNNING)
    assert VALUES["postgres.user"] == "us@er"
    assert VALUES["postgres.password"] == "p/w"
    assert (VALUES["postgres.host"], VALUES["postgres.port"]) == ("127.0.0.1", "5433")
    assert (VALUES["postgres.database"], VALUES["redis.password"]) == ("db_1", "s3cret")
    assert (VALUES["redis.port"], VALUES["port"], VALUES["seed"]) == ("6380", "40123", "7")


def test_doubled_braces_are_braces() -> None:
    """JSON can be written into a file: only single braces name a placeholder."""
    assert fill('{{"port": {port}}}', VALUES, where="x") == '{"port": 40123}'


@given(st.text())
def test_escaped_text_is_filled_with_itself(text: str) -> None:
    """Any text with its braces doubled comes out as it was, and names nothing."""
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert fill(escaped, {}, where="x") == text
    assert names(escaped) == ()


def test_values_are_not_filled_again() -> None:
    """A password that looks like a placeholder stays what it is."""
    assert fill("{a}{b}", {"a": "{b}", "b": "1"}, where="x") == "{b}1"


def test_an_unknown_placeholder_names_the_nearest() -> None:
    """The error says which placeholder, where, and what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        fill("{postgress.url}", VALUES, where="target.env.DATABASE_URL")
    assert caught.value.problems == (
        "target.env.DATABASE_URL: unknown placeholder {postgress.url}; did you mean {postgres.url}?",
    )


def test_all_problems_are_found_at_once() -> None:
    """Every wrong placeholder of every place is reported, once each, before anything is started."""
    wrong = target(
        install=[["pip", "{port}"]],
        migrate=[["{pyton}", "{pyton}"]],
        start=["app", "{"],
        env={"A": "{nothing.like.it}"},
        files=[{"path": "c.ini", "text": "{redis.uri}"}],
    )
    problems = check_placeholders(wrong)
    assert problems[0] == (
        "target.install[1]: {port} has no value yet when this runs; it may use {python}, {worktree}"
    )
    assert problems[1] == "target.migrate[1]: unknown placeholder {pyton}; did you mean {python}?"
    assert problems[2] == "target.start: a single '{'; write '{{' for a brace"
    assert problems[3].startswith("target.env.A: unknown placeholder {nothing.like.it}; known are {python}, ")
    assert problems[4].endswith("did you mean {redis.url}?")
    assert len(problems) == 5


def test_python_needs_an_interpreter() -> None:
    """A target in another language cannot say {python}."""
    wrong = target(python=None, start=["{python}", "app.py"])
    assert check_placeholders(wrong) == ("target.start: {python} needs target.python",)


def test_a_correct_target_has_no_problems() -> None:
    """All placeholders are allowed where services run."""
    assert check_placeholders(target(start=["app", *(f"{{{name}}}" for name in RUNNING)])) == ()
