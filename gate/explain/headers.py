"""What an answer's headers allow a browser or a proxy to keep, and for how long (RFC 9111).

Pure. An answer that is kept is a request that never comes: no count of the server's shows when that ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# Validators differ from answer to answer: that there is one counts, not which.
_VALIDATORS = {"etag": "ETag", "last-modified": "Last-Modified"}
_HEADERS = ("cache-control", "expires", "vary", *_VALIDATORS)
_SET = "set"
_NEVER = frozenset({"no-store", "no-cache"})

Headers = tuple[tuple[str, str], ...]


def kept_by(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers that decide it, by name. Several of one name are joined, as the protocol reads them."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name in _HEADERS:
            found.setdefault(name, []).append(" ".join(value.split()).lower())
    joined = {name: ", ".join(values) for name, values in found.items()}
    dated = (*_VALIDATORS, "expires")  # of a moment, which the next run does not meet again
    return tuple(sorted((name, _SET if name in dated else value) for name, value in joined.items()))


def kept_less(base: Headers, head: Headers) -> str:
    """Why head's answers are kept for a shorter time than base's or checked less well; empty where not."""
    was, now = dict(base), dict(head)
    before, after = _directives(was), _directives(now)
    if added := sorted((_NEVER & after.keys()) - before.keys()):
        return f"answers now say `{', '.join(added)}`: no browser or proxy answers from its own copy any more"
    for name in ("s-maxage", "max-age"):
        if name in before and _seconds(after, name) < _seconds(before, name):
            told = f"{name} {after[name]}" if name in after else f"no {name}"
            return f"answers may be kept for less: {told}, {before[name]} on base"
    if "expires" in was and "expires" not in now and "max-age" not in after:
        return "answers have lost `Expires`, by which a browser keeps them"
    if lost := [name for name in _VALIDATORS if name in was and name not in now]:
        names = " and ".join(f"`{_VALIDATORS[name]}`" for name in lost)
        return f"answers have lost {names}: what is unchanged is sent again instead of a 304"
    return ""


def _directives(headers: Mapping[str, str]) -> dict[str, str]:
    parts = (part.strip().partition("=") for part in headers.get("cache-control", "").split(","))
    return {name: value.strip('"') for name, _, value in parts if name}


def _seconds(directives: Mapping[str, str], name: str) -> int:
    value = directives.get(name, "0")
    return int(value) if re.fullmatch(r"\d{1,12}", value) else 0
