"""What an answer's headers let browsers and proxies do with it (RFC 9111): keep it, or ask if it changed.

Pure. An answer that is kept is a request that never comes: no count of the server's shows when that ends.
For how long is not compared: many applications compute it, and then it is another one in every run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime

PRIVATE, SHARED, VALIDATED = "browser", "proxy", "validated"

Headers = Sequence[tuple[str, str]]
_DIRECTIVE = re.compile(r'([\w-]+)\s*(?:=\s*(?:"([^"]*)"|([^\s,]*)))?')


def kept_by(answers: Iterable[Headers]) -> dict[str, bool]:
    """Whether a browser keeps the answers, whether a proxy does, whether either may ask if they changed.

    What the answers do not agree on is left out, so that nothing hangs on which was the last.
    """
    found = [_kept(answer) for answer in answers]
    if not found:
        return {}
    return {name: value for name, value in found[0].items() if all(one[name] == value for one in found)}


def kept_less(base: Mapping[str, bool], head: Mapping[str, bool]) -> str:
    """What base's answers allow and head's do not; empty where there is nothing."""

    def lost(name: str) -> bool:
        return base.get(name, False) and not head.get(name, True)

    if lost(PRIVATE):
        return "browsers kept the answers and have to ask again each time now (Cache-Control, Expires)"
    if lost(SHARED):
        return "proxies kept the answers and have to ask again each time now (Cache-Control)"
    if lost(VALIDATED) and not head.get(PRIVATE, False):
        return "answers have lost ETag and Last-Modified: what is unchanged is sent again instead of a 304"
    return ""


def _kept(answer: Headers) -> dict[str, bool]:
    fields: dict[str, list[str]] = {}
    for name, value in answer:
        fields.setdefault(name, []).append(value)
    found = _DIRECTIVE.findall(", ".join(fields.get("cache-control", [])).lower())
    directives = {name: quoted or plain for name, quoted, plain in found}
    # With a value no-cache is about single fields.
    never = "no-store" in directives or directives.get("no-cache") == ""
    dated = _dated(fields)
    private = not never and _lasts(directives, ("max-age",), dated)
    shared = not never and "private" not in directives and _lasts(directives, ("s-maxage", "max-age"), dated)
    validated = "no-store" not in directives and ("etag" in fields or "last-modified" in fields)
    return {PRIVATE: private, SHARED: shared, VALIDATED: validated}


def _lasts(directives: Mapping[str, str], names: Sequence[str], dated: bool) -> bool:
    for name in names:
        if name in directives:
            return bool(re.fullmatch(r"0*[1-9]\d*", directives[name]))
    return dated


def _dated(fields: Mapping[str, list[str]]) -> bool:
    """Whether `Expires` lies after `Date`; what is no date has expired."""
    expires, date = (_seconds(fields.get(name, [""])[0]) for name in ("expires", "date"))
    return expires is not None and date is not None and expires > date


def _seconds(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
