"""GitHub's published OpenAPI description as a judge of every request we send and every answer we fake.

contract.json.gz holds the operations that the gate uses; refresh_contract.py writes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import unquote

import refresh_contract
from jsonschema import Draft202012Validator, FormatChecker

ERRORS = (401, 403, 404, 422, 429, 500, 502, 503)  # may answer anything, documented or not
# What GitHub is known to answer although its description says otherwise: a deleted fork is null.
BEYOND = re.compile(r"workflow_runs/\d+/head_repository: None is not of type 'object'")
_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("date-time", raises=ValueError)
def _instant(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@_FORMATS.checks("uri")
def _uri(value: object) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"[a-z][a-z0-9+.-]*:[^\s\[\]{}|\\^`<>\"]+", value))


@dataclass(frozen=True)
class Operation:
    """One verb of one path. pattern: of the whole path, with a group for each parameter."""

    name: str
    verb: str
    pattern: re.Pattern[str]
    parts: tuple[str, ...]
    content: dict[str, Any] = field(hash=False)


@cache
def document() -> dict[str, Any]:
    return refresh_contract.read()


@cache
def operations() -> tuple[Operation, ...]:
    found = []
    for name, content in document()["operations"].items():
        verb, path = name.split(" ")
        parts = tuple(re.findall(r"\{(\w+)\}", path))
        # Both hold slashes: a branch and a file's path.
        pattern = re.sub(
            r"\\\{(\w+)\\\}", lambda m: "(.+)" if m[1] in ("ref", "path") else "([^/]+)", re.escape(path)
        )
        found.append(Operation(name, verb, re.compile(pattern), parts, content))
    # The longest literal wins: /pulls/{n} is not /pulls.
    return tuple(sorted(found, key=lambda each: (-each.name.count("/"), each.name.count("{"))))


def operation(verb: str, path: str) -> Operation | None:
    return next((each for each in operations() if each.verb == verb and each.pattern.fullmatch(path)), None)


@cache
def _validator(operation: str, part: str, name: str) -> Draft202012Validator:
    content = document()["operations"][operation]
    schema = content["parameters"][name]["schema"] if part == "parameters" else content[part]
    if part == "responses":
        schema = schema[name]
    return Draft202012Validator({**schema, "$defs": document()["schemas"]}, format_checker=_FORMATS)


def problems_of_request(verb: str, path: str, query: dict[str, str], body: Any) -> list[str]:
    """What GitHub's description has against a request; empty where it has nothing."""
    found = operation(verb, path)
    if found is None:
        return [f"{verb} {path}: GitHub has no such operation, or the contract lacks it"]
    problems = []
    known = found.content["parameters"]
    match = found.pattern.fullmatch(path)
    assert match
    given = {name: unquote(value) for name, value in zip(found.parts, match.groups(), strict=True)} | query
    for name, value in given.items():
        if name not in known:
            problems.append(f"{found.name}: unknown parameter {name}")
        else:
            problems += _against(found.name, "parameters", name, _typed(value, known[name]["schema"]))
    problems += [
        f"{found.name}: parameter {name} is missing"
        for name, p in known.items()
        if p["required"] and name not in given
    ]
    if found.content["body"] is None:
        problems += [f"{found.name}: takes no body"] if body is not None else []
    else:
        problems += _against(found.name, "body", "", body)
        declared = found.content["body"].get("properties")
        if declared and isinstance(body, dict):
            problems += [
                f"{found.name}: unknown field {name} in the body" for name in body.keys() - declared.keys()
            ]
    return problems


def problems_of_answer(verb: str, path: str, status: int, body: Any) -> list[str]:
    """What GitHub's description has against an answer. Errors are answers to anything, with a message."""
    found = operation(verb, path)
    if found is None:
        return [] if status == 404 else [f"{verb} {path}: answered without an operation"]
    if status in ERRORS:
        return (
            []
            if isinstance(body, dict) and isinstance(body.get("message"), str)
            else [f"{status} without a message"]
        )
    if str(status) not in found.content["responses"]:
        return [f"{found.name}: status {status} is not documented"]
    if found.content["responses"][str(status)] is None:
        return [] if body is None else [f"{found.name}: {status} has no body"]
    return _against(found.name, "responses", str(status), body)


def _against(name: str, part: str, which: str, value: Any) -> list[str]:
    validator = _validator(name, part, which)
    found = (
        f"{name} {part} {which}: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(value)
    )
    return [each for each in found if not BEYOND.search(each)]


def _typed(value: str, schema: dict[str, Any]) -> Any:
    """A parameter's text as the type its schema wants."""
    kinds = {each.get("type") for each in (schema, *schema.get("oneOf", ()), *schema.get("anyOf", ()))}
    if "integer" in kinds and value.isdigit():
        return int(value)
    if "boolean" in kinds and value in ("true", "false"):
        return value == "true"
    return value


def completed(verb: str, path: str, status: int, body: Any) -> tuple[Any, list[str]]:
    """The answer with every field that GitHub requires and our fake does not care about, and what it
    invents: fields that GitHub's answer does not have."""
    found = operation(verb, path)
    schema = found.content["responses"].get(str(status)) if found else None
    invented: list[str] = []
    return (_filled(schema, body, invented, "") if schema is not None else body), invented


def _filled(schema: dict[str, Any], value: Any, invented: list[str], place: str) -> Any:
    schema = _plain(schema, value)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_filled(schema["items"], each, invented, f"{place}[]") for each in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    declared = schema["properties"]
    invented += [f"{place}.{name}" for name in value.keys() - declared.keys()]
    made = {
        name: _filled(declared.get(name, {}), each, invented, f"{place}.{name}")
        for name, each in value.items()
    }
    for name in schema.get("required", ()):
        if name not in made:
            made[name] = _made(declared.get(name, {}))
    return made


def _plain(schema: dict[str, Any], value: Any = ...) -> dict[str, Any]:
    """A schema without references, and of alternatives the one that the value's fields fit best."""
    while True:
        if "$ref" in schema:
            schema = document()["schemas"][schema["$ref"].rpartition("/")[2]]
        elif "allOf" in schema:
            parts = [_plain(each, value) for each in schema["allOf"]]
            joined = {k: v for part in parts for k, v in part.items()}
            joined["properties"] = {k: v for part in parts for k, v in part.get("properties", {}).items()}
            joined["required"] = [name for part in parts for name in part.get("required", ())]
            return joined
        elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
            if "properties" in schema:
                return schema
            schema = max((_plain(each, value) for each in alternatives), key=lambda each: _fit(each, value))
        else:
            return schema


def _fit(schema: dict[str, Any], value: Any) -> int:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if value is ...:
        return 1 if "null" in kinds else 0
    if isinstance(value, dict):
        return len(value.keys() & schema.get("properties", {}).keys()) + ("object" in kinds)
    names = {str: "string", bool: "boolean", int: "integer", list: "array", type(None): "null"}
    return int(names.get(type(value)) in kinds)


def _made(schema: dict[str, Any]) -> Any:
    """The plainest value of a schema."""
    schema = _plain(schema)
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "null" in kinds:
        return None
    if schema.get("enum"):
        return schema["enum"][0]
    if "object" in kinds or "properties" in schema:
        return {
            name: _made(schema.get("properties", {}).get(name, {})) for name in schema.get("required", ())
        }
    if "array" in kinds:
        return []
    if "boolean" in kinds:
        return False
    if "integer" in kinds or "number" in kinds:
        return schema.get("minimum", 1)
    texts = {"date-time": "2026-11-21T10:00:00Z", "uri": "https://github.test/", "email": "a@github.test"}
    return texts.get(schema.get("format", ""), "x" * max(1, schema.get("minLength", 0)))
