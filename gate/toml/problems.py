"""What pydantic says about a configuration, in words for the author of the file."""

from __future__ import annotations

import copy
import difflib
import json
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gate.config import Config
from gate.toml.lines import Path

_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_FOUND = 60  # characters of a wrong value that are quoted


def validated(data: dict[str, Any]) -> Config:
    """Strict, by way of JSON: there lists are tuples, whole numbers are numbers, and "18" is no number.

    Dates, which JSON does not have, become text.
    """
    return Config.model_validate_json(json.dumps(data, default=str), strict=True)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    line: int
    text: str


def problems_in(data: dict[str, Any], lines: dict[Path, int]) -> list[Problem]:
    """All problems in file order.

    Misspelt keys are put right and the rest is read again until no key is unknown, so that what
    stands inside a misspelt table is checked in the same run.
    """
    data, lines = copy.deepcopy(data), dict(lines)
    found: set[Problem] = set()
    while errors := _errors(data):
        unknown = dict.fromkeys(path for path, error in errors if error["type"] == "extra_forbidden")
        if not unknown:
            found |= {Problem(_nearest(path, lines), _words(path, error, data)) for path, error in errors}
            break
        found |= {Problem(_nearest(path, lines), _unknown(path, data)) for path in unknown}
        for path in unknown:
            _correct(path, data, lines)
    return sorted(found)


def _errors(data: dict[str, Any]) -> list[tuple[Path, ErrorDetails]]:
    """pydantic's errors by place, without those of union members that the value was never meant for."""
    try:
        validated(data)
    except ValidationError as raised:
        located = [_located(error, data) for error in raised.errors(include_url=False)]
        return [item for item in located if item is not None]
    return []


def _located(error: ErrorDetails, data: Any) -> tuple[Path, ErrorDetails] | None:
    path: Path = ()
    here = data
    context = error.get("ctx", {})
    if error["type"] == "too_short" and len(error["input"]) >= context["min_length"]:
        return None  # pydantic counts the valid elements alone; the others are reported themselves
    for position, part in enumerate(error["loc"]):
        if holds(here, part):
            path, here = (*path, part), here[part]
        elif error["type"] == "missing" and position == len(error["loc"]) - 1:
            path = (*path, part)
        elif _shape(here) != _tag_shape(str(part)):
            # The name of a union's member, and the value has another shape: either another member
            # fits and says what is wrong, or none fits and the value itself is the problem.
            fits = any(_shape(here) == _annotation_shape(each) for each in _at(path))
            return None if fits else (path, {**error, "type": "wrong_type"})
    return path, error


def holds(here: Any, part: str | int) -> bool:
    if isinstance(here, dict):
        return part in here
    return isinstance(here, list) and isinstance(part, int) and part < len(here)


def _shape(value: Any) -> str:
    return "table" if isinstance(value, dict) else "list" if isinstance(value, list) else "plain"


def _tag_shape(tag: str) -> str:
    if tag.startswith(("tuple", "list")):
        return "list"
    return "table" if tag.startswith("dict") or tag[:1].isupper() else "plain"


def _annotation_shape(annotation: Any) -> str:
    if typing.get_origin(annotation) is tuple:
        return "list"
    return "table" if typing.get_origin(annotation) is dict or _is_table(annotation) else "plain"


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _at(path: Path) -> tuple[Any, ...]:
    """What may stand at this place: the members of the annotation, None left out."""
    found: tuple[Any, ...] = (Config,)
    for part in path:
        found = tuple(member for each in found for member in _inside(each, part))
    return found


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    arguments = typing.get_args(annotation)
    if _is_table(annotation):
        field = _fields(annotation).get(str(part))
        if field is not None:
            yield from _members(field)
    elif typing.get_origin(annotation) is tuple and isinstance(part, int):
        yield from _members(arguments[0])
    elif typing.get_origin(annotation) is dict:
        yield from _members(arguments[1])


def _fields(table: type[BaseModel]) -> dict[str, Any]:
    """Annotations by the name written in the file."""
    return {field.alias or name: field.annotation for name, field in table.model_fields.items()}


def _members(annotation: Any) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    elif annotation is not type(None):
        yield annotation


def _unknown(path: Path, data: dict[str, Any]) -> str:
    key, names = path[-1], _names(path[:-1])
    where = f"in {_place(path[:-1], data)}" if len(path) > 1 else "at the top level"
    near = _near(path)
    advice = f"did you mean '{near}'?" if near else f"valid keys: {', '.join(names)}"
    return f"unknown key '{key}' {where}; {advice}"


def _names(path: Path) -> list[str]:
    return sorted(name for each in _at(path) if _is_table(each) for name in _fields(each))


def _near(path: Path) -> str | None:
    found = difflib.get_close_matches(str(path[-1]).lower(), _names(path[:-1]), n=1)
    return found[0] if found else None


def _correct(path: Path, data: Any, lines: dict[Path, int]) -> None:
    """Take the unknown key away, or put its value under the name that was meant if that is free."""
    for part in path[:-1]:
        data = data[part]
    value, near = data.pop(path[-1]), _near(path)
    if near is None or near in data:
        return
    data[near] = value
    for known, line in list(lines.items()):
        if known[: len(path)] == path:
            lines[(*path[:-1], near, *known[len(path) :])] = line


def _words(path: Path, error: ErrorDetails, data: dict[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    place = _place(path, data)
    if kind == "missing":
        return _missing(path, data)
    value = _get(path, data)
    if kind == "value_error":
        said = str(context["error"])
        found = f", found {_found(value)}" if said.startswith("expected") else ""
        return f"{place}: {said}{found}" if path else said
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{place}: must be {words} {context[key]:g}, found {value}"
    if kind == "too_short":
        least = context["min_length"]
        return f"{place}: must hold at least {least} element{'s' if least > 1 else ''}, found {len(value)}"
    return f"{place}: expected {_expected(_at(path))}, found {_found(value)}{_meant(path, value)}"


def _missing(path: Path, data: dict[str, Any]) -> str:
    place = _place(path, data)
    kinds = _at(path)
    if any(_is_table(each) for each in kinds):
        return f"the table [{place}] is missing"
    if any(_is_table(member) for each in kinds for member in _inside(each, 0)):
        return f"the tables [[{place}]] are missing"
    table = _place(path[:-1], data)
    return f"{table}: the key '{path[-1]}' is missing; expected {_expected(kinds)}"


def _expected(kinds: Sequence[Any]) -> str:
    words = list(dict.fromkeys(_kind(each) for each in kinds))
    if "a number" in words and "a whole number" in words:
        words.remove("a whole number")
    return " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]


def _kind(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(f'"{value}"' for value in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        inner = tuple(_members(typing.get_args(annotation)[0]))
        return "a list of text in quotes" if inner == (str,) else "a list"
    plain = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
    return plain.get(annotation, "a table")


def _found(value: Any) -> str:
    text = _toml(value)
    text = text if len(text) <= _FOUND else text[: _FOUND - 3] + "..."
    names = {
        bool: "",
        int: "the number ",
        float: "the number ",
        str: "the text ",
        list: "the list ",
        dict: "the table ",
    }
    return names.get(type(value), "") + text


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _meant(path: Path, value: Any) -> str:
    """A near choice for a misspelt one."""
    choices = [
        choice
        for each in _at(path)
        if typing.get_origin(each) is typing.Literal
        for choice in typing.get_args(each)
    ]
    near = difflib.get_close_matches(str(value), choices, n=1) if isinstance(value, str) else []
    return f"; did you mean '{near[0]}'?" if near else ""


def _get(path: Path, data: Any) -> Any:
    for part in path:
        data = data[part]
    return data


def _nearest(path: Path, lines: dict[Path, int]) -> int:
    """The line of this place, or of the innermost table around it; 1 for the file itself."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _place(path: Path, data: Any) -> str:
    """A place for people: suites.endpoints.request 'playlist'.expect, target.install element 2."""
    text, here = "", data
    for part in path:
        here = here[part] if holds(here, part) else None
        if isinstance(part, str):
            text += ("." if text else "") + part
        elif isinstance(here, dict) and isinstance(here.get("name"), str):
            text += f" '{here['name']}'"
        else:
            text += f" element {part + 1}"
    return text
