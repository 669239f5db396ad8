"""Placeholders of [target] ({port}, {postgres.url}, ...): which are allowed where, and filling them. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, urlsplit

from gate.config import Target
from gate.errors import ConfigError

# Dependencies and the project are installed before any service runs.
INSTALLING = ("python", "worktree")
_SERVICES = (
    *(f"postgres.{part}" for part in ("url", "host", "port", "user", "password", "database")),
    *(f"redis.{part}" for part in ("url", "host", "port", "password")),
)
RUNNING = (*INSTALLING, "port", "seed", *_SERVICES)
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def names(text: str) -> tuple[str, ...]:
    """The placeholders in a text, in order; `{{` and `}}` are braces and name nothing."""
    return tuple(found[1] for found in _TOKEN.finditer(text) if found[1] is not None)


def fill(text: str, values: Mapping[str, str], *, where: str) -> str:
    """The text with every placeholder replaced. Raises ConfigError for what `check_placeholders` reports."""
    problems = tuple(_faults(text, values, where))
    if problems:
        message = f"{where} cannot be filled in"
        raise ConfigError(message, where=where, problems=problems)
    return _TOKEN.sub(lambda found: found[0][0] if found[1] is None else values[found[1]], text)


def check_placeholders(target: Target) -> tuple[str, ...]:
    """Everything wrong with the placeholders of [target], one sentence each; nothing is started for it."""
    problems = (
        problem
        for where, text, allowed in _texts(target)
        for problem in _faults(text, _without_python(target, allowed), where)
    )
    return tuple(dict.fromkeys(problems))


def values_of(
    *, interpreter: str, worktree: str, postgres_url: str, redis_url: str, seed: int, port: int
) -> dict[str, str]:
    """The values of every placeholder of a running side; {python} only where there is an interpreter."""
    postgres, redis = urlsplit(postgres_url), urlsplit(redis_url)
    values = {
        "worktree": worktree,
        "port": str(port),
        "seed": str(seed),
        "postgres.url": postgres_url,
        "postgres.host": postgres.hostname or "",
        "postgres.port": str(postgres.port or 5432),
        "postgres.user": unquote(postgres.username or ""),
        "postgres.password": unquote(postgres.password or ""),
        "postgres.database": unquote(postgres.path.lstrip("/")),
        "redis.url": redis_url,
        "redis.host": redis.hostname or "",
        "redis.port": str(redis.port or 6379),
        "redis.password": unquote(redis.password or ""),
    }
    return values | ({"python": interpreter} if interpreter else {})


def _without_python(target: Target, allowed: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in allowed if name != "python" or target.python is not None)


def _texts(target: Target) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Every text of [target] that may hold placeholders: its place, itself, and what it may name."""
    for key, commands, allowed in (
        ("install", target.install, INSTALLING),
        ("project", target.project, INSTALLING),
        ("migrate", target.migrate, RUNNING),
    ):
        for number, command in enumerate(commands, start=1):
            for argument in command:
                yield f"target.{key}[{number}]", argument, allowed
    for argument in target.start:
        yield "target.start", argument, RUNNING
    for name, value in target.env.items():
        yield f"target.env.{name}", value, RUNNING
    for file in target.files:
        yield f"target.files {file.path!r}", file.text, RUNNING


def _faults(text: str, allowed: Iterable[str], where: str) -> Iterator[str]:
    known = tuple(allowed)
    for found in _TOKEN.finditer(text):
        name = found[1]
        if name is None and found[0] in "{}":
            yield f"{where}: a single '{found[0]}'; write '{found[0] * 2}' for a brace"
        elif name is not None and name not in known:
            yield f"{where}: {_reason(name, known)}"


def _reason(name: str, known: tuple[str, ...]) -> str:
    if name == "python":
        return "{python} needs target.python"
    if name in RUNNING:
        return f"{{{name}}} has no value yet when this runs; it may use {_listed(known)}"
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    advice = f"did you mean {{{nearest[0]}}}?" if nearest else f"known are {_listed(known)}"
    return f"unknown placeholder {{{name}}}; {advice}"


def _listed(known: tuple[str, ...]) -> str:
    return ", ".join(f"{{{name}}}" for name in known)
