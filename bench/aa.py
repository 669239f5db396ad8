"""Complete runs of the gate over one commit against itself: how often is a clean change blocked?

    python -m bench.aa [--benchmarks 12] [--endpoints 8] [--neighbour half] [--time-budget 6m] [--table]

Every run is a line of bench/results/aa.jsonl; what is there already counts, so an interrupted campaign
goes on where it was. Half of the runs of each suite have a busy neighbour that comes and goes. Exits 1
where a run was blocked or a case had fewer than 8 pairs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

from bench import _runs as runs
from bench._runs import Line, Results, percent

PAIRS = 8  # each case must have had
PATIENCE = 3  # runs in a row without a report


def main() -> int:
    options = _options()
    runs.end_on_sigterm()
    results = Results(options.results)
    wanted = {"benchmarks": options.benchmarks, "endpoints": options.endpoints}
    if not options.table:
        campaign(results, wanted, options)
    return conclusion(results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--benchmarks", type=int, default=12, help="runs of this suite, in all")
    parser.add_argument("--endpoints", type=int, default=8, help="runs of this suite, in all")
    parser.add_argument("--neighbour", choices=("none", "half", "all"), default="half")
    parser.add_argument("--time-budget", default="6m")
    parser.add_argument("--only", default="", help="a glob instead of the suite's usual cases")
    parser.add_argument("--results", type=Path, default=runs.RESULTS / "aa.jsonl")
    parser.add_argument("--table", action="store_true", help="run nothing, print the table")
    return parser.parse_args()


def campaign(results: Results, wanted: dict[str, int], options: argparse.Namespace) -> None:
    """Runs until there are enough, the suites and the neighbour in turns."""
    failed = 0
    with runs.clone() as clone:
        while suite := behind(results, wanted):
            done = results.complete(suite=suite)
            busy = with_neighbour(done, options.neighbour)
            number = len(results.lines()) + 1
            with runs.neighbour(number) if busy else nullcontext():
                line = runs.gate(
                    clone,
                    suite=suite,
                    against="HEAD",
                    only=options.only or runs.ONLY[suite],
                    budget=options.time_budget,
                )
            results.add({"neighbour": busy} | line)
            print(f"{suite} {len(done) + 1}{' busy' if busy else ''}: {runs.told(line)}", flush=True)
            failed = failed + 1 if "error" in line else 0
            if failed == PATIENCE:
                sys.exit(f"{PATIENCE} runs in a row gave no report")


def behind(results: Results, wanted: dict[str, int]) -> str:
    """The suite that lacks the larger share of its runs; empty once each has enough."""
    share = {s: len(results.complete(suite=s)) / n if n else 1.0 for s, n in wanted.items()}
    suite = min(share, key=lambda name: share[name])
    return suite if share[suite] < 1 else ""


def with_neighbour(done: Sequence[Line], which: str) -> bool:
    """Half means: whenever fewer than half of the runs so far were busy."""
    busy = sum(line["neighbour"] for line in done)
    return which == "all" or (which == "half" and 2 * busy < len(done))


def conclusion(results: Results) -> int:
    lines = results.complete()
    if not lines:
        print("no complete run yet")
        return 1
    print()
    print(runs.table(*figures(lines)))
    print()
    faults = list(faults_of(lines))
    versions = len({line["version"] for line in lines})
    errors = len(results.lines()) - len(lines)
    print(f"{versions} version{'s' * (versions > 1)} of gate and application; {errors} runs without a report")
    for fault in faults or ["no run blocked; every case had at least 8 pairs"]:
        print(fault)
    return 1 if faults else 0


def figures(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    groups = [
        (f"{suite}, {name}", [line for line in lines if line["suite"] == suite and line["neighbour"] in busy])
        for suite in ("benchmarks", "endpoints")
        for name, busy in (("quiet", {False}), ("busy neighbour", {True}), ("all", {False, True}))
    ]
    groups = [(name, found) for name, found in [*groups, ("both suites", list(lines))] if found]
    header = ["", *(name for name, _ in groups)]
    columns = [column(found) for _, found in groups]
    return header, [[name, *(each[name] for each in columns)] for name in columns[0]]


def column(lines: Sequence[Line]) -> dict[str, str]:
    """The figures of one group of runs."""
    blocked = sum(line["verdict"] == "blocked" for line in lines)
    rows = [case for line in lines for case in line["cases"].values()]
    screens = [spent(line, "screen") for line in lines]
    confirms = [found for line in lines if (found := spent(line, "confirm"))[0]]
    return {
        "runs": str(len(lines)),
        "cases a run": str(min(len(line["cases"]) for line in lines)),
        "blocked": str(blocked),
        "false block rate at most (95 %)": percent(runs.upper(blocked, len(lines))),
        "runs inconclusive": str(sum(line["verdict"] == "inconclusive" for line in lines)),
        "runs void": str(sum(map(void, lines))),
        "rows": str(len(rows)),
        "rows inconclusive": str(sum(row["outcome"] == "inconclusive" for row in rows)),
        "rows that went to a confirm": str(sum(row["stage"] == "confirm" for row in rows)),
        "least pairs of a case": str(min((row["pairs"] for row in rows), default=0)),
        "pairs lost": str(sum(bool(pair[5]) for line in lines for pair in line["pairs"])),
        "screen, median seconds": _median(s for s, _, _ in screens),
        "of it measuring": percent(_middle(m / s for s, _, m in screens if s), 0),
        "of it warming up": percent(_middle(w / s for s, w, _ in screens if s), 0),
        "confirm, median seconds": _median(s for s, _, _ in confirms),
        "whole run, median seconds": _median(line["seconds"] for line in lines),
        "load before, median": _median((line["load"][0] for line in lines), 1),
    }


def void(line: Line) -> bool:
    """Whether the control said that the times of the whole run are not to be trusted."""
    return any("void" in code or "control" in code for code in line["caveats"])


def spent(line: Line, stage: str) -> tuple[float, float, float]:
    """Seconds of the pairs of a stage: in all, warming up, measuring."""
    pairs = [pair for pair in line["pairs"] if pair[1] == stage]
    return sum(p[2] for p in pairs), sum(p[3] for p in pairs), sum(p[4] for p in pairs)


def faults_of(lines: Sequence[Line]) -> Iterable[str]:
    for line in lines:
        if line["verdict"] == "blocked":
            busy = "busy" if line["neighbour"] else "quiet"
            yield f"blocked: {line['suite']}, {busy}: {line['reasons'][0]}"
        few = {name: case["pairs"] for name, case in line["cases"].items() if case["pairs"] < PAIRS}
        if few:
            name = min(few, key=lambda case: few[case])
            yield f"{line['suite']}: {len(few)} cases with fewer than {PAIRS} pairs, {name} has {few[name]}"


def _middle(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _median(values: Iterable[float], digits: int = 0) -> str:
    found = _middle(values)
    return "-" if found is None else f"{found:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
