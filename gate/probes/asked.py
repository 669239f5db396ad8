"""Questions to the interpreters of a side, in which `gate.probes.sampler` runs, and their answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from gate.probes import stacks

PATIENCE = 30.0  # seconds for a process to answer; to list a large heap takes one or two
LATE = 5.0  # after the first one: a child may have become another program, which never answers
_LOOK = 0.01


class Answers:
    """What all of them say. directory: where they write, that of `stacks.injected`. last: the kind of line
    that ends an answer."""

    def __init__(self, directory: Path, last: str) -> None:
        self._directory = directory
        self._last = last
        self._number = 0

    def ask(self) -> list[list[Any]] | None:
        """The lines of every process that lives or has answered; None where none of them answers."""
        number = self._number
        self._number += 1
        (self._directory / f"ask-{number}").touch()
        asked = time.monotonic()
        first = None
        while True:
            found, missing = self._answers(number)
            now = time.monotonic()
            first = first or (now if found else None)
            if found and (not missing or (first and now - first > LATE)):
                return found
            # A process that has just begun writes its first line soon, or never.
            if not found and now - asked > (PATIENCE if missing else stacks.SETTLED):
                return None
            time.sleep(_LOOK)

    def _answers(self, number: int) -> tuple[list[list[Any]], bool]:
        """The answers of all processes, and whether one that lives is missing.

        A program that was started by another one in the same process, by exec, has the later file.
        """
        newest: dict[int, Path] = {}
        for path in sorted(self._directory.glob("*-*.jsonl"), key=lambda path: int(path.stem.split("-")[1])):
            newest[int(path.name.partition("-")[0])] = path
        found, missing = [], False
        for pid, path in newest.items():
            lines = [line for line in self._lines(path, number) if line[0] == "note" or line[1:2] == [number]]
            found += lines
            missing = missing or (not lines and _lives(pid))
        return [line for line in found if line[0] != "note"], missing

    def _lines(self, path: Path, number: int) -> Iterator[list[Any]]:
        """What a process has written, once it has answered or ended; a line may be half there yet."""
        try:
            data = path.read_bytes()
        except OSError:
            return
        if b'["note",' not in data and b'["%s",%d' % (self._last.encode(), number) not in data:
            return
        for text in data.splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, list) and line:
                yield line


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
