"""Two updates of one baseline file, joined case by case: pure text in, pure text out.

A case is taken whole from one side or the other, so that no case is a mixture of two measurements, and
files of different data are never mixed: their counts could not stand under one data key.
"""

from __future__ import annotations

import json
from typing import Any

_ABSENT = object()


def merged(base: str | None, ours: str | None, theirs: str | None, *, newer: bool) -> str | None:
    """The file with both sides' changes since `base`; None where it is gone.

    newer: ours win where both changed the same; else theirs.
    """
    if theirs in (base, ours):
        return ours
    if ours == base:
        return theirs
    preferred = ours if newer else theirs
    documents = [_document(text) for text in (base, ours, theirs)]
    before, mine, other = documents
    if mine is None or other is None or mine.get("data_key") != other.get("data_key"):
        return preferred
    cases = _joined((before or {}).get("cases", {}), mine["cases"], other["cases"], newer=newer)
    rest = _joined(before or {}, mine, other, newer=newer)
    return json.dumps(rest | {"cases": cases}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _joined(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any], *, newer: bool
) -> dict[str, Any]:
    made = {}
    for key in base.keys() | ours.keys() | theirs.keys():
        before, mine, other = (each.get(key, _ABSENT) for each in (base, ours, theirs))
        kept = other if mine == before else mine if other == before or newer else other
        if kept is not _ABSENT:
            made[key] = kept
    return made


def _document(text: str | None) -> dict[str, Any] | None:
    """A baseline file's content; None for anything that is not one."""
    try:
        found = json.loads(text) if text is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("cases"), dict) else None
