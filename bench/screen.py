"""How long a clean run of both suites takes, and how much of it is spent inside measured work.

    python -m bench.screen [--endpoints 16] [--runs 1] [--time-budget 6m]

A throw-away clone of the committed repository is gated against itself, with its first endpoints and the 16
cases of its lyrics benchmarks alone. Prints, for the screen and the confirm of each run, pairs, seconds and
the shares of them inside measured work and inside warm-up.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tomllib

from bench import _runs as runs
from gate.config import Config
from gate.model import PlannedCase
from gate.suites import endpoints

_REQUEST = re.compile(
    r"^\[\[suites\.endpoints\.request\]\]\n(?:(?!\[(?!suites\.endpoints\.request\.)).*\n)*", re.M
)
BENCHMARKS = "benchmarks/test_lyrics.py"


def main() -> None:
    options = _options()
    runs.end_on_sigterm()
    with runs.clone() as clone:
        smaller(clone, options.endpoints)
        for _ in range(options.runs):
            line, report = runs.run(clone, "--against", "HEAD", "--time-budget", options.time_budget)
            print(runs.told(line | runs.summary(report)) if report else runs.told(line))
            for stage in ("screen", "confirm"):
                _print(stage, [pair for pair in report["run"]["pairs"] if pair["stage"] == stage])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--endpoints", type=int, default=16, help="cases")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--time-budget", default="6m")
    return parser.parse_args()


def smaller(clone: runs.Clone, wanted: int) -> None:
    """The configuration and the baselines with as many cases of endpoints, committed."""
    file = clone.path / "perf-gate.toml"
    text = file.read_text()
    for block in reversed([found[0] for found in _REQUEST.finditer(text)]):
        if len(_cases(text)) <= wanted:
            break
        text = text.replace(block, "")
    file.write_text(text.replace('paths = ["benchmarks"]', f'paths = ["{BENCHMARKS}"]'))
    kept = {str(planned.case) for planned in _cases(file.read_text())}
    for stored in (clone.path / "baselines").glob("*.json"):
        baseline = json.loads(stored.read_text())
        cases = baseline["cases"].items()
        baseline["cases"] = {n: c for n, c in cases if n in kept or n.startswith("benchmarks/test_lyrics.")}
        stored.write_text(json.dumps(baseline))
    clone.git("commit", "--quiet", "--all", "--message", "Fewer cases")


def _cases(text: str) -> tuple[PlannedCase, ...]:
    config = Config.model_validate(tomllib.loads(text))
    suite = config.suites.endpoints
    return endpoints.cases(suite, anchors=config.dataset.anchors) if suite else ()


def _print(stage: str, pairs: list[runs.Line]) -> None:
    if not pairs:
        print(f"{stage}: none")
        return
    seconds, measured, warm = (sum(pair[name] for pair in pairs) for name in ("seconds", "measured", "warm"))
    starts = statistics.median(pair["start"] for pair in pairs)
    print(
        f"{stage}: {len(pairs)} pairs, {seconds:.0f} s, {measured / seconds:.0%} measured,"
        f" {warm / seconds:.0%} warm-up, {measured / (seconds - warm):.0%} of the rest measured,"
        f" {starts:.1f} s to start and end a pair"
    )


if __name__ == "__main__":
    main()
