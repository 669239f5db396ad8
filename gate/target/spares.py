"""Copies that runs have given back, for later runs to take: each with how it was before it was used.

A copy changes hands by one rename, so that it is whole or absent and has one owner, without locks and
whoever is killed when. While it is out, it lies among its run's own files and is removed with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.target.trees import Mark

_MARKS = "perf-gate-marks.json"


@dataclass(frozen=True, slots=True)
class Spares:
    """Directories under `home`, each of a kind. kept: how many stay there, of all kinds together."""

    home: Path
    kept: int

    def take(self, kind: str, place: Path) -> dict[str, Mark] | None:
        """Move a copy of this kind to `place`, which must not exist, and say how it was before its last use.

        Which one is left to chance: their names are drawn when they are given back. None where there is none.
        """
        for spare in sorted(self.home.glob(f"{kind}-*")):
            with contextlib.suppress(OSError, ValueError):  # another run took it, or a full disk cut it short
                told = json.loads((spare / _MARKS).read_bytes())
                spare.rename(place)
                return {name: tuple(mark) for name, mark in told.items()}
        return None

    def give(self, kind: str, place: Path, marks: Mapping[str, Mark]) -> None:
        """Take back the copy at `place`. What is too much then is left in its stead, for its owner to remove.

        Only while nothing runs in it. Raises OSError where it cannot be moved; it is then still there.
        """
        if place.is_symlink():  # by what ran in it; what it leads to is not ours
            return
        self.home.mkdir(parents=True, exist_ok=True)
        note = place / _MARKS
        note.unlink(missing_ok=True)
        with note.open("x", encoding="utf-8") as file:
            json.dump(marks, file)
        os.utime(place)
        place.rename(self.home / f"{kind}-{secrets.token_hex(8)}")
        for spare in sorted(self.home.iterdir(), key=_given, reverse=True)[self.kept :]:
            with contextlib.suppress(OSError):
                spare.rename(place.with_name(f"{place.name}-{spare.name}"))


def _given(spare: Path) -> float:
    try:
        return spare.lstat().st_mtime
    except FileNotFoundError:  # another run took it
        return 0.0
