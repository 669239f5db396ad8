"""Secrets out of text before it enters an error: URL credentials and the values of secret variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

HIDDEN = "***"
_SHORTEST = 4  # hiding "1" or "dev" wherever it stands would make a log unreadable
# A log may hold one long line of anything, so every repetition before a fixed part is bounded.
_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://)([^\s/'\"<>]*)@", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"((?:password|passwd|secret|token|api[_-]?key)\w{0,40}[\"']?\s{0,8}[=:]\s{0,8}[\"']?)([^\s\"',;&)]+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\b(?:bearer|basic)\s+)([\w.~+/=-]{8,})", re.IGNORECASE)
_SECRET_NAME = re.compile(r"PASS(WORD|WD)?(_|$)|SECRET|TOKEN|CREDENTIAL|_KEY$|^KEY$|_AUTH$", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without `secrets`, credentials in URLs, bearer tokens and `password=...` values.

    secrets: hidden wherever they stand, also percent-encoded; those below 4 characters are left.
    """
    for secret in sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True):
        for form in (secret, quote(secret, safe="")):
            text = text.replace(form, HIDDEN)
    text = _CREDENTIALS.sub(rf"\g<1>{HIDDEN}@", text)
    text = _BEARER.sub(rf"\g<1>{HIDDEN}", text)
    return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text)


def secrets_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """The secret values of an environment: variables with a telling name, and passwords in URLs."""
    found: set[str] = set()
    for name, value in env.items():
        if _SECRET_NAME.search(name):
            found.add(value)
        for credentials in _CREDENTIALS.finditer(value):
            password = credentials[2].partition(":")[2]
            found.update((password, unquote(password)))
    return tuple(sorted(found - {""}))
