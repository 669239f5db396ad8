"""Two updates of one baseline file, joined case by case: pure text in, pure text out.

A case is taken whole from one side or the other, so that no case is a mixture of two measurements, and
files of different data are never mixed: their counts could not stand under one data key. Of kept times both
sides' runs are kept, each whole.
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
    kept = [_kept(text) for text in (base, ours, theirs)]
    if kept[1] is not None and kept[2] is not None:
        return _with_both_runs(kept[0] or {"runs": []}, kept[1], kept[2], newer=newer)
    documents = [_document(text) for text in (base, ours, theirs)]
    before, mine, other = documents
    if mine is None or other is None or mine.get("data_key") != other.get("data_key"):
        return preferred
    cases = _joined((before or {}).get("cases", {}), mine["cases"], other["cases"], newer=newer)
    rest = _joined(before or {}, mine, other, newer=newer)
    return _text(rest | {"cases": cases})


def _with_both_runs(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any], *, newer: bool
) -> str:
    """Kept times: theirs and our new runs, oldest first, the last of them as many as the newer file keeps.

    A run that one side has dropped for its age is not brought back by the other.
    """
    known = [run["commit"] for run in base["runs"]]
    mine, other = ([run for run in each["runs"] if run["commit"] not in known] for each in (ours, theirs))
    older, later = (other, mine) if newer else (mine, other)
    replaced = {run["commit"] for run in later}
    both = [run for run in theirs["runs"] if run["commit"] in known]
    both += [run for run in older if run["commit"] not in replaced] + later
    made = ours if newer else theirs
    return _text(made | {"runs": both[-made["keep"] :]})


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


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _kept(text: str | None) -> dict[str, Any] | None:
    """A file of kept times; None for anything that is not one."""
    found = _read(text)
    runs = found.get("runs") if found else None
    if found is None or not isinstance(runs, list) or not isinstance(found.get("keep"), int):
        return None
    return (
        found if all(isinstance(run, dict) and isinstance(run.get("commit"), str) for run in runs) else None
    )


def _document(text: str | None) -> dict[str, Any] | None:
    """A baseline file's content; None for anything that is not one."""
    found = _read(text)
    return found if found and isinstance(found.get("cases"), dict) else None


def _read(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
