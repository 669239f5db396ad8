"""Seconds from the start of `perf-gate run` to its first request, with everything it can keep kept.

    python -m bench.start [--rounds 7] [--against auto] [--beside DIRECTORY]

A throw-away clone of this repository gates its own reference application, all rows, embedded services, one
case; a first run fills the cache and is not counted. Prints medians: when the application listens, on both
sides where base is live (the first request is next), and the phases of the report, which are of the whole
run.
--beside: another checkout of perf-gate, which takes turns with this one on a cache of its own; the ratio is
the median of the rounds' ratios, so that the load of the machine is in both.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
APPLICATION = "library.server"
_SAID = re.compile(r"\[ *[\d.]+ s\] (.*)")
_MEASURING = re.compile(r"(pass|pair) 1\b")
_INSTALLING = re.compile(r"installing (base|head)\b")
_BUDGET = "1s"  # for timing: nothing before the first request depends on it
_LOOK = 0.01  # seconds between two looks for the application
FIRST, WHOLE = "first request", "whole run"

Parts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bench:
    """The clone, and what every run is called with. checkouts: of perf-gate, by the name that is printed."""

    project: Path
    scratch: Path
    arguments: tuple[str, ...]
    checkouts: Mapping[str, Path]

    def run(self, name: str) -> Parts:
        """One run: seconds by part."""
        report = self.scratch / "report.json"
        with (self.scratch / "report.txt").open("w") as output:
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gate", "run", "--json", str(report), *self.arguments],
                cwd=self.project,
                env=self._env(name),
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )
            said, listened = _followed(process, began)
            code = process.wait()
        parts = {"first word": said[0][0]} if said else {}
        if code or listened is None:
            sys.exit(f"{name} ended with {code}:\n" + "\n".join(text for _, text in said))
        parts |= {FIRST: listened, WHOLE: time.monotonic() - began}
        phases = json.loads(report.read_text())["timeline"]
        return parts | {f"  {phase['name']}": phase["seconds"] for phase in phases}

    def _env(self, name: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PERF_GATE_", "GITHUB_"))}
        own = {"PERF_GATE_CACHE": str(self.scratch / f"cache-{name}"), "PYTHONUNBUFFERED": "1"}
        return kept | own | {"PYTHONPATH": str(self.checkouts[name])}


def _followed(process: subprocess.Popen[str], began: float) -> tuple[list[tuple[float, str]], float | None]:
    """What it says and when, and when the application first listened (None: never)."""
    said: list[tuple[float, str]] = []
    listened = None
    for line in process.stderr or ():
        found = _SAID.match(line)
        said.append((time.monotonic() - began, found[1] if found else line.rstrip()))
        if listened is None and found and _MEASURING.match(found[1]):
            listened = _listening(process.pid, began, sum(bool(_INSTALLING.match(text)) for _, text in said))
    return said, listened


def _listening(gate: int, began: float, sides: int) -> float | None:
    """When the applications of all sides first listened."""
    while psutil.pid_exists(gate):
        try:
            if sum(map(_listens, psutil.Process(gate).children(recursive=True))) >= sides:
                return time.monotonic() - began
        except psutil.NoSuchProcess:
            pass
        time.sleep(_LOOK)
    return None


def _listens(process: psutil.Process) -> bool:
    return APPLICATION in process.cmdline() and any(
        one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp4")
    )


def main() -> None:
    options = _options()
    checkouts = {"here": ROOT} | ({"beside": options.beside.resolve()} if options.beside else {})
    with tempfile.TemporaryDirectory(prefix="perf-gate-start-") as scratch:
        project = Path(scratch, "clone")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
        arguments = ("--services", "embedded", "--only", options.only, "--against", options.against)
        arguments += ("--time-budget", _BUDGET)
        bench = Bench(project, Path(scratch), arguments, checkouts)
        for name in checkouts:
            bench.run(name)
        rounds = [{name: bench.run(name) for name in checkouts} for _ in range(options.rounds)]
    _print(rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--against", default="auto", help="as of perf-gate run; HEAD~1 installs both sides")
    parser.add_argument(
        "--only", default="endpoints/health*", help="the cases; they decide the whole run alone"
    )
    parser.add_argument("--beside", type=Path, help="another checkout of perf-gate")
    return parser.parse_args()


def _print(rounds: list[dict[str, Parts]]) -> None:
    names = list(rounds[0])
    print(f"{'':18}" + "".join(f"{name:>10}" for name in names) + ("     ratio" if len(names) > 1 else ""))
    for part in dict.fromkeys(part for round_ in rounds for parts in round_.values() for part in parts):
        seen = [[round_[name].get(part, 0.0) for name in names] for round_ in rounds]
        row = "".join(f"{statistics.median(values):8.2f} s" for values in zip(*seen, strict=True))
        ratios = [here / there for here, there in (values for values in seen if len(values) > 1) if there]
        print(f"{part:18}{row}" + (f"{statistics.median(ratios):10.2f}" if ratios else ""))
    print(f"{len(rounds)} rounds; load {' '.join(f'{load:.1f}' for load in os.getloadavg())}")


if __name__ == "__main__":
    main()
