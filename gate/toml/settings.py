"""Every effective value of a configuration, and whether the file or a default gives it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from gate.config import Config
from gate.model import Setting
from gate.redact import HIDDEN, redact
from gate.toml.lines import Path, positions
from gate.toml.problems import holds

_FREE = (
    "env",
    "headers",
    "form",
    "json",
    "query",
    "params",
    "settings",
)  # tables whose keys the author names
_SECRET_NAME = re.compile(r"pass|secret|token|credential|auth|cookie|session|dsn|key|signature|salt", re.I)
_PLACEHOLDER = re.compile(r"\{[a-z_.]+\}")


def settings(config: Config, text: str) -> tuple[Setting, ...]:
    """Every effective value by its dotted name, and whether the file or a default gives it.

    A list of plain values is one setting, in JSON; so is a quantity, in seconds, bytes or as a share.
    Unset keys are left out. What is named like a secret reads "***", here and wherever its value
    stands again, and so do credentials in URLs and commands.
    """
    known = positions(text)
    data = tomllib.loads(text)
    leaves = list(_leaves(config.model_dump(mode="json", by_alias=True)))
    secrets = [value for path, value in leaves if isinstance(value, str) and _secret(path, value)]
    return tuple(
        Setting(
            name=_dotted(path, data),
            value=_shown(path, value, secrets),
            origin="file" if _given(path, known, data) else "default",
        )
        for path, value in leaves
    )


def _dotted(path: Path, data: Any) -> str:
    """A place as a name: suites.endpoints.request.playlist.expect."""
    parts, here = [], data
    for part in path:
        here = here[part] if holds(here, part) else None
        named = isinstance(part, int) and isinstance(here, dict) and isinstance(here.get("name"), str)
        parts.append(str(here["name"] if named and here else part))
    return ".".join(parts)


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    elif value is not None:
        yield path, value


def _given(path: Path, lines: dict[Path, int], data: Any) -> bool:
    """Whether the file writes this value, perhaps in a short form: p95 = "400ms" for p95.target."""
    if path in lines:
        return True
    here = data
    for part in path:
        if not holds(here, part):
            return not isinstance(here, dict | list)
        here = here[part]
    return True


def _shown(path: Path, value: Any, secrets: Sequence[str]) -> str:
    text = value if isinstance(value, str) else _plain(value)
    if path[:2] == ("target", "files") and path[-1] == "text":
        # A settings file of the application is the usual home of its secrets.
        return f"{HIDDEN} ({len(text)} characters)"
    return HIDDEN if _secret(path, text) else redact(text, secrets)


def _secret(path: Path, text: str) -> bool:
    """Named like a secret by the author, and more than placeholders."""
    free = any(part in _FREE for part in path[:-1])
    return free and bool(_SECRET_NAME.search(str(path[-1])) and _PLACEHOLDER.sub("", text).strip())


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
