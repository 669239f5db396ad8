"""CPU time of `perf-gate --help` beside a bare interpreter: medians over 15 runs of each, in turns.

python bench/help.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "perf-gate --help": [sys.executable, "-m", "gate", "--help"],
}


def cpu(command: list[str]) -> float:
    """User and system seconds of one process."""
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> None:
    seen: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            seen[name].append(cpu(command))
    bare = statistics.median(seen["python -c pass"])
    for name, values in seen.items():
        median = statistics.median(values)
        print(f"{name:<18} {median:.3f} s CPU  x {median / bare:.1f}")


if __name__ == "__main__":
    main()
