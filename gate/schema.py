"""Run and Report <-> JSON: strict to read, stable to write, and the JSON Schemas of both.

What is read may come from a fork's job, so nothing is guessed: an unknown field, a wrong type, a
number that is not finite or another version of the schema is an error that names its place.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from gate.errors import ConfigError
from gate.model import REPORT_SCHEMA, RUN_SCHEMA, Report, Run, plain

Document = Literal["run", "report"]
T = TypeVar("T", Run, Report)

_VERSIONS: dict[Document, str] = {"run": RUN_SCHEMA, "report": REPORT_SCHEMA}
_SHOWN = 10  # problems listed; a file of another program has thousands
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


# Both check `[document]`, a tuple of one: pydantic hands settings down to plain dataclasses only from an
# outer type, and `gate.model` is to know nothing of pydantic.
@cache
def _run() -> TypeAdapter[tuple[Run]]:
    return TypeAdapter(tuple[Run], config=_STRICT)


@cache
def _report() -> TypeAdapter[tuple[Report]]:
    return TypeAdapter(tuple[Report], config=_STRICT)


def run_to_json(run: Run) -> str:
    """The file of a run: sorted keys, ASCII, a final newline; the same run gives the same bytes.

    Raises ValueError for a number that is not finite.
    """
    return _to_json(run)


def report_to_json(report: Report) -> str:
    """The file of a report, as `run_to_json`."""
    return _to_json(report)


def run_from_json(text: str, where: str) -> Run:
    """The inverse of `run_to_json`. where: names the file in errors.

    Raises ConfigError for anything else: not JSON, another document, another schema version, a field
    that is unknown, missing or of the wrong type.
    """
    return _from_json(_run(), "run", text, where)


def report_from_json(text: str, where: str) -> Report:
    """The inverse of `report_to_json`; errors as `run_from_json`."""
    return _from_json(_report(), "report", text, where)


def json_schema(kind: Document) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of "run" or "report"; `gate/schemas/` ships both as files."""
    definitions = (_run() if kind == "run" else _report()).json_schema()["$defs"]
    document = definitions.pop("Run" if kind == "run" else "Report")
    document["properties"]["schema"] = {"const": _VERSIONS[kind]}
    document["required"] = ["schema", *document["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:perf-gate:{file_name(kind).removesuffix('.json')}",
        **document,
        "$defs": definitions,
    }


def schema_text(kind: Document) -> str:
    """What the shipped file holds."""
    return json.dumps(json_schema(kind), indent=2, sort_keys=True) + "\n"


def file_name(kind: Document) -> str:
    """ "run-1.json": the name of the shipped schema, with its version."""
    return _VERSIONS[kind].removeprefix("perf-gate.").replace("/", "-") + ".json"


def _to_json(document: Run | Report) -> str:
    return json.dumps(_shortest(plain(document)), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _shortest(value: Any) -> Any:
    """Whole floats as integers, so that 3 and 3.0, which are equal, are the same bytes."""
    if isinstance(value, dict):
        return {key: _shortest(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shortest(inner) for inner in value]
    whole = isinstance(value, float) and abs(value) < 2**53 and value.is_integer()
    return int(value) if whole else value


def _from_json(adapter: TypeAdapter[tuple[T]], kind: Document, text: str, where: str) -> T:
    _check_version(kind, text, where)
    try:
        return adapter.validate_json(f"[{text}]")[0]
    except ValidationError as error:
        found = tuple(_problem(e, where) for e in error.errors(include_url=False))
        more = (f"{where}: and {len(found) - _SHOWN} more",) if len(found) > _SHOWN else ()
        raise ConfigError(
            f"{where} is not a readable perf-gate {kind}", where=where, problems=found[:_SHOWN] + more
        ) from None


def _check_version(kind: Document, text: str, where: str) -> None:
    """Before the fields are looked at, so that a newer file gives one clear error and not fifty."""
    try:
        found = from_json(text)
    except (ValueError, TypeError) as error:  # TypeError: text that is not Unicode (a lone surrogate)
        raise ConfigError(f"{where} is not JSON: {error}", where=where) from None
    version = found.get("schema") if isinstance(found, dict) else None
    supported = _VERSIONS[kind]
    if version == supported:
        return
    if not isinstance(version, str) or not version.startswith("perf-gate."):
        raise ConfigError(f"{where} is not a perf-gate {kind}: it names no schema {supported}", where=where)
    same = version.partition("/")[0] == supported.partition("/")[0]
    raise ConfigError(
        f"{where} has schema {version[:60]!r}; this perf-gate reads {supported!r}",
        where=where,
        hint="read it with the version of perf-gate that wrote it" if same else f"expected a {kind}",
    )


def _problem(error: ErrorDetails, where: str) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"][1:])
    place = place.lstrip(".") or "the document"
    if error["type"] == "extra_forbidden":
        return f"{where}: {place}: unknown field"
    if error["type"] in ("missing", "missing_keyword_only_argument"):
        return f"{where}: {place}: missing"
    if error["type"] == "unexpected_keyword_argument":
        return f"{where}: {place}: unknown field"
    said = error["msg"].removeprefix("Input should be ")
    return f"{where}: {place}: expected {said}" if said != error["msg"] else f"{where}: {place}: {said}"
