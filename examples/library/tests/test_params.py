from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, g

from library import params
from library.auth import Caller
from library.params import ApiError, Page
from library.services.catalogue import prefix_pattern


def read(query: str, function: Callable[[], Any]) -> Any:
    with Flask(__name__).test_request_context(f"/?{query}"):
        g.caller = Caller(user_id=7, admin=False)
        return function()


def test_page_defaults() -> None:
    """Without parameters: the first page of 25."""
    assert read("", params.page) == Page(1, 25)
    assert read("page=3&per_page=10", params.page).offset == 20


@pytest.mark.parametrize("query", ["page=0", "per_page=101", "per_page=x", "page=1.5", "page=9999999999"])
def test_page_refused(query: str) -> None:
    """A page that cannot be is an error of the request."""
    with pytest.raises(ApiError) as caught:
        read(query, params.page)
    assert caught.value.status == 400


def test_user_of_the_token() -> None:
    """The parameter wins over the token."""
    assert read("", params.user_id) == 7
    assert read("user_id=9", params.user_id) == 9


def test_day() -> None:
    """A date is its midnight in UTC."""
    assert read("from=2024-02-29", lambda: params.day("from")) == datetime(2024, 2, 29, tzinfo=UTC)
    with pytest.raises(ApiError):
        read("from=2023-02-29", lambda: params.day("from"))


@pytest.mark.parametrize("value", [True, 1.0, "x", None, 0, 101])
def test_checked_integer_refused(value: object) -> None:
    """JSON's true and 1.0 are not integers."""
    with pytest.raises(ApiError):
        params.checked_integer("n", value, high=100)


def test_checked_choice_by_type() -> None:
    """1 is not true."""
    assert params.checked_choice("flag", True, (True, False)) is True
    with pytest.raises(ApiError):
        params.checked_choice("flag", 1, (True, False))


@pytest.mark.parametrize("values", [[], [1, 2, 3, 4], ["x"], "12", None])
def test_body_ids_refused(values: object) -> None:
    """A list of ids is neither empty nor too long, and holds integers."""
    with pytest.raises(ApiError):
        params.body_ids({"ids": values}, "ids", most=3)


def test_prefix_pattern() -> None:
    """What is special in a LIKE pattern stands for itself."""
    assert prefix_pattern("100%_A\\") == "100\\%\\_a\\\\%"
