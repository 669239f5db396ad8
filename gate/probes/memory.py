"""Memory that processes hold on this machine. Linux only; elsewhere nothing is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

_PROC = Path("/proc")
_RESET_PEAK = "5"  # proc(5): of the resident set, to what it is now


def resident(pids: Iterable[int]) -> dict[int, int]:
    """Bytes that each of the processes holds; without those that have ended."""
    return _each(pids, "VmRSS:")


def peak(pids: Iterable[int]) -> dict[int, int]:
    """The most each of them has held since `forget_peaks`."""
    return _each(pids, "VmHWM:")


def grown(before: Mapping[int, int], after: Mapping[int, int]) -> int | None:
    """Bytes more in all processes that were there both times; None where none was.

    A helper that a request has started or that has ended meanwhile leaves nothing with the program.
    """
    both = before.keys() & after.keys()
    return sum(after[pid] - before[pid] for pid in both) if both else None


def forget_peaks(pids: Iterable[int]) -> None:
    """From now on `peak` is of what follows. Where that is not allowed, it stays that of the whole life."""
    for pid in pids:
        with contextlib.suppress(OSError):
            (_PROC / str(pid) / "clear_refs").write_text(_RESET_PEAK)


def _each(pids: Iterable[int], field: str) -> dict[int, int]:
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (_PROC / str(pid) / "status").read_text().splitlines():
                if line.startswith(field):  # a zombie has none
                    found[pid] = 1024 * int(line.split()[1])
    return found
