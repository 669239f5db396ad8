"""What counting costs, and the look into what got worse, beyond starting the application.

    python -m bench.passes [--endpoints 16] [--runs 2] [--patch D1-playlist-artist-in-loop]

A throw-away clone of the committed repository with its first endpoints, of which nothing but the counts is
compared: unchanged against itself, then with a patch of tests/regressions. Prints the seconds of each phase.
"""

from __future__ import annotations

import argparse

from bench import _runs as runs
from bench.screen import smaller

PATCHES = runs.ROOT / "tests" / "regressions"
_PHASES = ("start", "count", "explain")


def main() -> None:
    options = _options()
    runs.end_on_sigterm()
    with runs.clone() as clone:
        smaller(clone, options.endpoints)
        for _ in range(options.runs):
            _run("unchanged", clone, "HEAD")
        clone.git("apply", str(PATCHES / f"{options.patch}.patch"))
        clone.git("commit", "--quiet", "--all", "--message", "A change")
        _run(options.patch, clone, "HEAD~1")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--endpoints", type=int, default=16, help="cases")
    parser.add_argument("--runs", type=int, default=2, help="of what is unchanged")
    parser.add_argument("--patch", default="D1-playlist-artist-in-loop")
    return parser.parse_args()


def _run(what: str, clone: runs.Clone, base: str) -> None:
    line, report = runs.run(clone, "--against", base, "--suite", "endpoints", "--time-budget", "0")
    print(f"{what}: {runs.told(line | runs.summary(report)) if report else runs.told(line)}")
    seconds = {phase["name"]: phase["seconds"] for phase in report.get("timeline", ())}
    print(
        "  " + ", ".join(f"{name} {seconds[name]:.1f} s" for name in _PHASES if name in seconds), flush=True
    )


if __name__ == "__main__":
    main()
