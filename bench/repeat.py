"""Do exact counts repeat? Runs of one commit on fresh servers, on data made anew, beside a busy neighbour.

    python -m bench.repeat [--runs 5] [--docker NAME] [--only '*']

Each run counts every case of the reference application in two passes with different hash seeds, statement
by statement. All are compared with the first: as many more on the cached data, one whose data is generated
again, one beside a busy neighbour, and with --docker one on images of that registry (of the embedded
server's major). Prints every count that differs, between the passes of a run or between runs. Exits 1 where
runs differ.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from bench import _runs as runs

Counts = Mapping[tuple[str, ...], tuple[float, ...]]


def main() -> int:
    options = _options()
    runs.end_on_sigterm()
    kinds = ["first", *["again"] * (options.runs - 1), "seeded anew", "beside a neighbour"]
    kinds += ["docker"] if options.docker else []
    first: Counts = {}
    worse = 0
    with runs.clone() as clone:
        for number, kind in enumerate(kinds):
            counts = _counted(clone, kind, number, options)
            between = sorted(key for key, values in counts.items() if len(set(values)) > 1)
            first = first or counts
            differ = sorted(key for key in first.keys() | counts.keys() if first.get(key) != counts.get(key))
            worse += len(differ)
            told = f"{len(between)} differ between passes, {len(differ)} from the first run"
            print(f"{kind}: {len(counts)} counts, {told}", flush=True)
            for key in dict.fromkeys((*between, *differ)):
                print(f"    {' '.join(key)}: {first.get(key)} and {counts.get(key)}")
    return 1 if worse else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--docker", default="", help="a registry whose postgres and redis are used")
    parser.add_argument("--only", default="*")
    return parser.parse_args()


def _counted(clone: runs.Clone, kind: str, number: int, options: argparse.Namespace) -> Counts:
    with ExitStack() as stack:
        before = os.environ.get("PERF_GATE_CACHE")
        if kind == "seeded anew":
            os.environ["PERF_GATE_CACHE"] = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="perf-gate-bench-")
            )
        if kind == "beside a neighbour":
            stack.enter_context(runs.neighbour(number))
        services = "docker" if kind == "docker" else "embedded"
        if services == "docker":
            _of_registry(clone, options.docker)
        line, report = runs.run(clone, "--against", "none", "--only", options.only, services=services)
        if kind == "seeded anew":
            os.environ.pop("PERF_GATE_CACHE")
            os.environ.update({"PERF_GATE_CACHE": before} if before else {})
    if not report:
        sys.exit(runs.told(line))
    return _exact(report)


def _of_registry(clone: runs.Clone, registry: str) -> None:
    file = clone.path / "perf-gate.toml"
    file.write_text(file.read_text() + f'\n[services.docker]\nregistry = "{registry}"\n')


def _exact(report: Mapping[str, Any]) -> Counts:
    """By case and metric the values of the passes, and what the first one saw by statement and command."""
    found: dict[tuple[str, ...], tuple[float, ...]] = {}
    for sample in report["run"]["samples"]:
        if sample["metric"]["kind"] == "exact" and sample["metric"]["name"] != "python.calls":
            key = (runs.case_of(sample["case"]), sample["metric"]["name"])
            found[key] = tuple(value for *_, value in sample["points"])
    for seen in report["run"]["evidence"]:
        case = runs.case_of(seen["case"])
        for each in seen["statements"]:
            for name in ("calls", "rows", "blocks", "temp_blocks", "wal_records"):
                found[case, each["text"][:80], each["fingerprint"], name] = (each[name],)
        for each in seen["commands"]:
            found[case, each["name"], "calls"] = (each["calls"],)
    return found


if __name__ == "__main__":
    sys.exit(main())
