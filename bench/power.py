"""Complete runs of the gate over planted slowdowns: how often is a real one caught?

    python -m bench.power [--kind 'benchmarks-5*'] [--runs 4] [--time-budget 6m] [--table]

Each patch of bench/planted slows several cases by a known amount: real work in the application's own
code, whose size bench/sizes.py measured directly. A trial is one planted case in one run: caught where
the row of its time blocks. Every run is a line of bench/results/power.jsonl; what is there already counts,
so an interrupted campaign goes on where it was. Without --runs each kind runs until it has the trials that
its patch asks for. Exits 1 where a kind that must be caught in nine of ten trials was not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import _runs as runs
from bench._runs import Line, Patch, Results, percent

PATIENCE = 3  # runs in a row without a report
PROMISED = 0.9  # of the trials, where the patch says Must: catch


def main() -> int:
    options = _options()
    runs.end_on_sigterm()
    results = Results(options.results)
    planted = runs.patches(options.kind)
    if not planted:
        sys.exit(f"no patch in bench/planted matches {options.kind}")
    if not options.table:
        campaign(results, planted, options)
    return conclusion(results, planted)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", default="*", help="a glob of file names in bench/planted, without .patch")
    parser.add_argument("--runs", type=int, help="runs of each kind, in all, instead of its trials")
    parser.add_argument("--time-budget", default="6m")
    parser.add_argument("--only", default="", help="a glob instead of the suite's usual cases")
    parser.add_argument("--results", type=Path, default=runs.RESULTS / "power.jsonl")
    parser.add_argument("--table", action="store_true", help="run nothing, print the table")
    return parser.parse_args()


def campaign(results: Results, planted: Sequence[Patch], options: argparse.Namespace) -> None:
    """One run of every kind that lacks trials, and again until none does."""
    failed = 0
    with runs.clone() as clone:
        while patch := behind(results, planted, options.runs):
            clone.apply(patch)
            line = runs.gate(
                clone,
                suite=patch.suite,
                against="HEAD~1",
                only=options.only or runs.ONLY[patch.suite],
                budget=options.time_budget,
            )
            results.add({"patch": patch.path.stem} | line)
            print(f"{patch.path.stem}: {runs.told(line)}", flush=True)
            failed = failed + 1 if "error" in line else 0
            if failed == PATIENCE:
                sys.exit(f"{PATIENCE} runs in a row gave no report")


def behind(results: Results, planted: Sequence[Patch], wanted: int | None) -> Patch | None:
    """The kind that lacks the largest share of its runs; None once each has enough."""

    def share(patch: Patch) -> float:
        done = len(results.complete(patch=patch.path.stem))
        return done / (wanted or -(-patch.trials // len(patch.plants)))

    patch = min(planted, key=share)
    return patch if share(patch) < 1 else None


def trials(results: Results, patch: Patch) -> Iterator[tuple[Line, dict[str, Any] | None]]:
    """Each run and what it said of each planted case; None where it said nothing."""
    for line in results.complete(patch=patch.path.stem):
        for plant in patch.plants:
            yield line, line["cases"].get(plant.case)


def conclusion(results: Results, planted: Sequence[Patch]) -> int:
    header = (
        *("planted", "cases", "runs", "trials", "caught", "share", "at least (95 %)"),
        *("estimate, median", "inconclusive", "blocked elsewhere"),
    )
    rows, faults = [], []
    for patch in planted:
        found = [row for _, row in trials(results, patch)]
        if not found:
            continue
        caught = sum(bool(row and row["blocking"]) for row in found)
        rows.append([patch.kind, str(len(patch.plants)), *row_of(results, patch, found, caught)])
        if "\nMust: catch" in patch.text and caught < PROMISED * len(found):
            faults.append(f"{patch.kind}: {caught} of {len(found)} caught")
    print()
    print(runs.table(header, rows))
    print()
    memory = [
        row
        for patch in planted
        for line in results.complete(patch=patch.path.stem)
        for row in memory_of(line)
    ]
    print(f"memory: {sum(row[0] != 'equivalent' for row in memory)} of {len(memory)} rows are not equal")
    for patch in planted:
        print(f"{patch.kind}: " + "; ".join(by_case(results, patch)))
    for fault in faults:
        print(f"too few: {fault}")
    return 1 if faults or not rows else 0


def memory_of(line: Line) -> list[list[Any]]:
    """Outcome and bytes of each row; no planted change keeps any."""
    return list(line.get("memory", {}).values())


def row_of(results: Results, patch: Patch, found: Sequence[dict[str, Any] | None], caught: int) -> list[str]:
    lines = results.complete(patch=patch.path.stem)
    others = [
        case["blocking"] for line in lines for name, case in line["cases"].items() if not patch.touched(name)
    ]
    return [
        str(len(lines)),
        str(len(found)),
        str(caught),
        percent(caught / len(found), 0),
        percent(runs.lower(caught, len(found)), 0),
        estimate(patch, [row for row in found if row]),
        str(sum(row is None or row["outcome"] == "inconclusive" for row in found)),
        f"{sum(others)} of {len(others)}",
    ]


def estimate(patch: Patch, rows: Sequence[dict[str, Any]]) -> str:
    """The median of what the runs estimated, in the unit of the aim."""
    known = [row for row in rows if row["ratio"] is not None]
    if not known:
        return "-"
    if patch.unit == "ms":
        return f"{1000 * statistics.median(r['base'] * (r['ratio'] - 1) for r in known):+.2f} ms"
    return f"{100 * (statistics.median(r['ratio'] for r in known) - 1):+.2f} %"


def by_case(results: Results, patch: Patch) -> Iterator[str]:
    """Where it was missed, and whether the estimate is the size that was measured directly."""
    lines = results.complete(patch=patch.path.stem)
    for plant in patch.plants:
        seen = [line["cases"][plant.case] for line in lines if plant.case in line["cases"]]
        caught = sum(row["blocking"] for row in seen)
        yield (
            f"{plant.case.partition('/')[2]} {caught} of {len(seen)}, "
            f"estimate {estimate(patch, seen)}, measured {plant.measured}"
        )


if __name__ == "__main__":
    sys.exit(main())
