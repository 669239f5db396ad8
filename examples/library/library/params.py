"""Request parameters to typed values; whatever is wrong with them is one error, answered with 400."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import g, request

MAX_PER_PAGE = 100
MAX_PAGE = 1000


class ApiError(Exception):
    """An answer other than success. message: one sentence for the person who sent the request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list. number: from 1."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


def integer(name: str, default: int | None = None, *, low: int = 1, high: int = 2**63 - 1) -> int:
    text = request.args.get(name)
    if text is None:
        if default is None:
            raise ApiError(400, f"parameter {name} is missing")
        return default
    return checked_integer(name, text, low=low, high=high)


def checked_integer(name: str, value: Any, *, low: int = 1, high: int = 2**63 - 1) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        number = int(value)
    except (TypeError, ValueError):
        raise ApiError(400, f"{name} must be an integer") from None
    if not low <= number <= high:
        raise ApiError(400, f"{name} must be between {low} and {high}")
    return number


def page(default_size: int = 25) -> Page:
    return Page(
        number=integer("page", 1, high=MAX_PAGE),
        size=integer("per_page", default_size, high=MAX_PER_PAGE),
    )


def choice(name: str, values: Sequence[str], default: str) -> str:
    return str(checked_choice(name, request.args.get(name, default), values))


def checked_choice(name: str, value: Any, values: Sequence[Any]) -> Any:
    # By type as well: 1 equals True.
    if not any(value == allowed and type(value) is type(allowed) for allowed in values):
        raise ApiError(400, f"{name} must be one of {', '.join(map(str, values))}")
    return value


def day(name: str) -> datetime:
    """Midnight UTC of a date written as YYYY-MM-DD."""
    try:
        return datetime.strptime(request.args.get(name, ""), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ApiError(400, f"{name} must be a date written as YYYY-MM-DD") from None


def user_id() -> int:
    """The user asked about: the parameter, or else whose token came with the request."""
    caller = g.caller
    if "user_id" not in request.args and caller is not None and caller.user_id is not None:
        return int(caller.user_id)
    return integer("user_id")


def body() -> dict[str, Any]:
    data = request.get_json(silent=True)
    if not isinstance(data, dict):
        raise ApiError(400, "the body must be a JSON object")
    return data


def body_text(data: dict[str, Any], name: str, *, longest: int, default: str | None = None) -> str:
    value = data.get(name, default)
    if not isinstance(value, str) or not value.strip():
        raise ApiError(400, f"{name} must be a text that is not empty")
    if len(value) > longest:
        raise ApiError(400, f"{name} must have at most {longest} characters")
    return value.strip()


def body_ids(data: dict[str, Any], name: str, *, most: int) -> list[int]:
    values = data.get(name)
    if not isinstance(values, list) or not 1 <= len(values) <= most:
        raise ApiError(400, f"{name} must be a list of 1 to {most} ids")
    return [checked_integer(f"each of {name}", value) for value in values]
