"""Two copies of the reference application in one process, their benchmarked calls in turns.

    INTERPRETER bench/_alternate.py BASE HEAD ROUNDS CASE...

BASE, HEAD: directories of the application. CASE: as the gate names it, "benchmarks/test_web.test_json[10]".
Prints one JSON object: for each case the median of the ratios head to base of neighbouring rounds,
and base's seconds of one call. Standard library only: it runs in the application's interpreter, under
the hash seed it is given.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import itertools
import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

PACKAGES = ("library", "benchmarks")
ROUND = 0.002  # seconds at least, far above what the clock cannot tell
_CASE = re.compile(r"benchmarks/(?P<module>\w+)\.(?P<test>\w+)(?:\[(?P<parameter>.+)\])?")


def call_of(directory: str, case: str) -> Callable[[], object]:
    """What the benchmark of this name times, from the application in this directory."""
    sys.path.insert(0, directory)
    try:
        found = _CASE.fullmatch(case)
        if found is None:
            raise SystemExit(f"not a benchmark: {case}")
        test = getattr(importlib.import_module(f"benchmarks.{found['module']}"), found["test"])
    finally:
        sys.path.remove(directory)
    captured: list[Callable[[], object]] = []

    def benchmark(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        captured.append(lambda: function(*arguments, **named))
        return function(*arguments, **named)

    others = [name for name in inspect.signature(test).parameters if name != "benchmark"]
    test(benchmark, **{name: int(found["parameter"]) for name in others})
    return captured[0]


def calls_of(directory: str, cases: list[str]) -> list[Callable[[], object]]:
    """The same of every case; the modules are forgotten again, so that the other copy can be imported."""
    calls = [call_of(directory, case) for case in cases]
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    return calls


def timed(call: Callable[[], object], loops: int) -> float:
    """Processor seconds of one call: what a busy machine takes away is not counted."""
    started = time.thread_time()
    for _ in itertools.repeat(None, loops):
        call()
    return (time.thread_time() - started) / loops


def ratios(base: Callable[[], object], head: Callable[[], object], rounds: int) -> dict[str, float]:
    loops = 1
    while timed(base, loops) * loops < ROUND:
        loops *= 2
    seen: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            seen[side].append(timed((base, head)[side], loops))
    before, after = seen
    return {
        "median": statistics.median(y / x for x, y in zip(before, after, strict=True)),
        "base": statistics.median(before),
    }


def main(base: str, head: str, rounds: int, cases: list[str]) -> None:
    directories = {"base": base, "head": head}
    # Which copy comes first in memory depends on the hash seed, for it may matter.
    order = ("base", "head") if hash(base) % 2 else ("head", "base")
    calls = {name: calls_of(directories[name], cases) for name in order}
    gc.disable()
    found = {
        case: ratios(before, after, rounds)
        for case, before, after in zip(cases, calls["base"], calls["head"], strict=True)
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
