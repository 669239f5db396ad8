"""Memory that processes hold on this machine. Linux only; elsewhere nothing is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_RESET_PEAK = "5"  # proc(5): of the resident set, to what it is now


def resident(pids: Iterable[int]) -> int | None:
    """Bytes the processes hold together; None where one of them cannot be read, or there is none."""
    return _sum(pids, "VmRSS:")


def peak(pids: Iterable[int]) -> int | None:
    """The most each of them has held since `forget_peaks`, together."""
    return _sum(pids, "VmHWM:")


def forget_peaks(pids: Iterable[int]) -> None:
    """From now on `peak` is of what follows. Where that is not allowed, it stays that of the whole life."""
    for pid in pids:
        with contextlib.suppress(OSError):
            (_PROC / str(pid) / "clear_refs").write_text(_RESET_PEAK)


def _sum(pids: Iterable[int], field: str) -> int | None:
    total = 0
    for pid in pids:
        try:
            lines = (_PROC / str(pid) / "status").read_text().splitlines()
        except OSError:
            return None
        found = [line.split()[1] for line in lines if line.startswith(field)]
        if not found:  # a zombie has none
            return None
        total += 1024 * int(found[0])
    return total or None
