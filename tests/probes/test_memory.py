"""Memory of living processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gate.probes.memory import forget_peaks, peak, resident

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
    assert (peak(pids) or 0) - before < MARGIN
    ask(holder, "free")
    assert (resident(pids) or 0) - before < MARGIN < (peak(pids) or 0) - before
    ask(holder, "hold")
    assert (resident(pids) or 0) - before > MARGIN


def test_several_processes_are_summed_and_one_that_is_gone_makes_it_unknown(
    holder: subprocess.Popen[str],
) -> None:
    alone = resident((holder.pid,))
    assert alone
    assert (resident((holder.pid, os.getpid())) or 0) > alone
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert resident((holder.pid, ended.pid)) is None
    assert resident(()) is None
