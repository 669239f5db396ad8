"""The text of perf-gate.toml -> Config, or every problem in it at once, each with its line.

tomllib reads the values, tree-sitter the lines, pydantic checks against `gate.config`.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from pydantic import ValidationError

from gate.config import Config
from gate.errors import ConfigError
from gate.toml.lines import positions
from gate.toml.problems import problems_in, validated
from gate.toml.settings import settings

__all__ = ["read_config", "settings"]


def read_config(text: str, *, name: str) -> Config:
    """The configuration. name: of the file, for the messages.

    Raises ConfigError with every problem in file order: "perf-gate.toml:12: unknown key 'wram' in
    suites.endpoints; did you mean 'warmup'?". Text that is not TOML is one problem with its column.
    """
    data = _parse(text, name)
    try:
        return validated(data)
    except ValidationError:
        problems = problems_in(data, positions(text))
    found = tuple(f"{name}:{problem.line}: {problem.text}" for problem in problems)
    count = f"{len(found)} problem" + ("s" if len(found) > 1 else "")
    raise ConfigError(f"{name} has {count}", where=f"{name}:{problems[0].line}", problems=found)


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said, _, place = str(error).rpartition(" (at ")
    found = re.match(r"line (\d+), column (\d+)", place)
    # "at end of document": the place is behind the last character.
    lines = text.split("\n")
    line, column = (int(found[1]), int(found[2])) if found else (len(lines), len(lines[-1]) + 1)
    where = f"{name}:{line}:{column}"
    said = "this key is given twice" if said == "Cannot overwrite a value" else said
    raise ConfigError(
        f"{name} is not TOML", where=where, problems=(f"{where}: {said[:1].lower()}{said[1:]}",)
    )
