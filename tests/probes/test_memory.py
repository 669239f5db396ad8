"""Memory of living processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gate.probes.memory import forget_peaks, grown, peak, resident

HOLDER = """
import sys
held = []
for line in sys.stdin:
    if line == "hold\\n":
        held.append(b"x" * 30_000_000)
    else:
        bytearray(b"x" * 30_000_000)
    print("done", flush=True)
"""
MARGIN = 25_000_000


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        ask(process, "warm")
        yield process
        process.kill()


def ask(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_what_is_held_stays_and_what_was_freed_is_in_the_peak_alone(holder: subprocess.Popen[str]) -> None:
    pids = (holder.pid,)
    before = resident(pids)
    assert before
    forget_peaks(pids)
    assert (grown(before, peak(pids)) or 0) < MARGIN
    ask(holder, "free")
    assert (grown(before, resident(pids)) or 0) < MARGIN < (grown(before, peak(pids)) or 0)
    ask(holder, "hold")
    assert (grown(before, resident(pids)) or 0) > MARGIN


def test_what_began_or_ended_in_between_is_left_out(holder: subprocess.Popen[str]) -> None:
    """What a helper held that a request had started is not kept by the program."""
    mine, theirs = os.getpid(), holder.pid
    ended = subprocess.Popen(["true"])
    ended.wait()
    found = resident((mine, theirs, ended.pid))
    assert found.keys() == {mine, theirs}
    assert grown({mine: 5, theirs: 100}, {mine: 7}) == 2
    assert grown({mine: 5}, {mine: 7, theirs: 100}) == 2
    assert grown({}, {mine: 7}) is None
