"""Replay recorded A/A pairs through the rule for times: false blocks, power, and what it leaves open.

    python bench/replay.py [--runs 1500] [--trials 300] [--seed 1] [--spread 1] RECORDING.jsonl.gz...

A recording holds one line a pair of processes: {benchmark: [[base's seconds by round], [head's], ...]}, the
same code on both sides, the rounds taken in turns. A run draws pairs anew for its screen and for its
confirm, exchanges the sides of each at random, and gives them to `gate.timing`; a slowdown is added to the
differences of three benchmarks at a time, and another benchmark, drawn anew for each run, plays the control.

Prints a row a recording, statistic and rule:
    blocked      clean runs with any benchmark blocked: false blocks
    confirmed    benchmarks a clean run in the confirm family; flagged: of them, those suspect in the screen
    pairs        of the confirm, a benchmark, on average
    open runs    clean runs with any benchmark inconclusive; open cases: the share of all benchmarks that are
    void         clean runs with any benchmark void: control, unsteady, drift, clock
    +3% ...      slowdowns of this size that are blocked
    mde          slowdowns as large as a clean run said it could catch that are blocked: 95 % is meant

--spread 5 has the pairs of a case, not those of the control, spread five times as much as recorded.
Recordings put together, `cat A.jsonl.gz B.jsonl.gz > both.jsonl.gz`, are one of more pairs.
Resampled from few pairs, so a model and no proof: the promise rests on live runs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gate.model import TIME, Case, Outcome, Point, Sample, SideName, Statistic, TimingRule
from gate.stats import log_ratios, pair_values, visit_ratios
from gate.timing import Decision, Series, decided, screened

SLOWDOWNS = (0.03, 0.05, 0.07, 0.10, 0.50)
SLOWED = 3  # benchmarks of a run that are made slower
SCREEN = 8
VOID = {"control", "unsteady", "drift", "clock"}
SIDES: tuple[SideName, SideName] = ("base", "head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One benchmark, an entry a pair: log(head / base), each side's seconds, log(odd / even visits)."""

    differences: np.ndarray
    seconds: np.ndarray  # pairs x 2
    halves: np.ndarray  # pairs x 2


def recorded(path: Path, statistic: Statistic) -> dict[Case, Recorded]:
    """The recording as the gate reads a run: rounds are visits, and their values go through its functions."""
    with gzip.open(path, "rt") as lines:
        pairs = [json.loads(line) for line in lines]
    numbers = range(1, len(pairs) + 1)
    found = {}
    for name in pairs[0]:
        case = Case(suite="benchmarks", name=name)
        sides = [
            Sample(
                case=case,
                metric=TIME,
                side=side,
                points=tuple(
                    Point(number, visit, 1, value)
                    for number, pair in zip(numbers, pairs, strict=True)
                    for visit, value in enumerate(pair[name][column], 1)
                ),
            )
            for column, side in enumerate(SIDES)
        ]
        found[case] = Recorded(
            differences=np.array(log_ratios(sides[0], sides[1], statistic, numbers)),
            seconds=np.array([[pair_values(side, statistic)[n] for side in sides] for n in numbers]),
            halves=np.array([visit_ratios(side, statistic) for side in sides]).T,
        )
    return found


class Replay:
    """Runs drawn from one recording under one rule."""

    def __init__(self, cases: Mapping[Case, Recorded], rule: TimingRule, seed: int, spread: float) -> None:
        self.cases = cases
        self.spread = spread
        self.names = list(cases)
        self.rules = dict.fromkeys(cases, rule)
        self.pairs = len(cases[self.names[0]].differences)
        self.rng = np.random.default_rng(seed)

    def run(self, slower: Mapping[Case, float]) -> tuple[int, int, list[int], dict[Case, Decision]]:
        """Members, flagged ones, the members' pairs, and what was decided."""
        control = self.cases[self.names[self.rng.integers(len(self.names))]]
        drawn = self._drawn(SCREEN)
        screen = {case: self._series(case, *drawn, control, slower.get(case, 0.0)) for case in self.names}
        members = screened(screen, self.rules)
        confirm = dict.fromkeys(self.names, Series())
        if members:
            which, signs = self._drawn(max(member.pairs for member in members))
            for member in members:
                first = which[: member.pairs], signs[: member.pairs]
                confirm[member.case] = self._series(
                    member.case, *first, control, slower.get(member.case, 0.0)
                )
        flagged = sum(member.flagged for member in members)
        wanted = [member.pairs for member in members]
        return len(members), flagged, wanted, decided(screen, confirm, self.rules)

    def slowed(self, share: float, trials: int) -> float:
        """Of slowdowns by this share, those that are blocked."""
        blocked = []
        for _ in range(trials):
            chosen = self.rng.choice(len(self.names), SLOWED, replace=False)
            slower = {self.names[i]: math.log1p(share) for i in chosen}
            decisions = self.run(slower)[3]
            blocked += [decisions[case].outcome is Outcome.REGRESSED for case in slower]
        return float(np.mean(blocked))

    def caught(self, trials: int) -> float:
        """Of slowdowns by the `mde` that a clean run gave for the case, those that are blocked."""
        blocked = []
        for _ in range(trials):
            said = {case: each.mde for case, each in self.run({})[3].items() if each.mde is not None}
            for i in self.rng.choice(len(said), min(SLOWED, len(said)), replace=False):
                case = list(said)[i]
                decision = self.run({case: math.log1p(said[case])})[3][case]
                blocked.append(decision.outcome is Outcome.REGRESSED)
        return float(np.mean(blocked)) if blocked else math.nan

    def _drawn(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        return (
            self.rng.choice(self.pairs, n, replace=n > self.pairs),
            self.rng.choice((1, -1), n),
        )

    def _series(
        self, case: Case, which: np.ndarray, signs: np.ndarray, control: Recorded, slower: float
    ) -> Series:
        own = self.cases[case]
        sides = np.where(signs[:, None] > 0, (0, 1), (1, 0))  # which recorded side plays base, which head
        seconds = np.take_along_axis(own.seconds[which], sides, 1)
        halves = np.take_along_axis(own.halves[which], sides, 1)
        return Series(
            differences=tuple((self.spread * own.differences[which] * signs + slower).tolist()),
            base=float(np.median(seconds[:, 0])),
            head=float(np.median(seconds[:, 1]) * math.exp(slower)),
            control=tuple((control.differences[which] * signs).tolist()),
            halves=tuple(tuple(side.tolist()) for side in halves.T),
            timed=len(which),
        )


COLUMNS = (
    "recording",
    "statistic",
    "allowed detect margin",
    "blocked",
    "confirmed",
    "flagged",
    "pairs",
    "open runs",
    "open cases",
    "void",
    *(f"+{share:.0%}" for share in SLOWDOWNS),
    "mde",
)


def row(replay: Replay, runs: int, trials: int) -> tuple[str, ...]:
    """The figures of one row of the table."""
    blocked = open_runs = open_cases = void = members = flagged = 0
    wanted: list[int] = []
    for _ in range(runs):
        many, suspects, pairs, decisions = replay.run({})
        members, flagged, wanted = members + many, flagged + suspects, wanted + pairs
        outcomes = [decision.outcome for decision in decisions.values()]
        blocked += Outcome.REGRESSED in outcomes
        open_runs += Outcome.INCONCLUSIVE in outcomes
        open_cases += outcomes.count(Outcome.INCONCLUSIVE)
        void += any(caveat.code in VOID for each in decisions.values() for caveat in each.caveats)
    return (
        f"{blocked} of {runs}",
        f"{members / runs:.2f}",
        f"{flagged / runs:.2f}",
        f"{np.mean(wanted) if wanted else 0:.1f}",
        f"{open_runs / runs:.2%}",
        f"{open_cases / runs / len(replay.names):.2%}",
        f"{void / runs:.2%}",
        *(f"{replay.slowed(share, trials):.1%}" for share in SLOWDOWNS),
        f"{replay.caught(trials):.1%}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=1500, help="clean runs a row")
    parser.add_argument("--trials", type=int, default=300, help="runs with a slowdown a row and size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spread", type=float, default=1.0, help="times what was recorded")
    chosen = parser.parse_args()
    small = TimingRule(allowed=0.02, detect=0.05, margin=0.005)
    large = TimingRule(allowed=0.05, detect=0.10, margin=0.01)
    names = [path.name.removesuffix(".jsonl.gz") for path in chosen.recordings]
    widths = [max(map(len, ("recording", *names))), *(max(len(each), 9) for each in COLUMNS[1:])]
    print_row(COLUMNS, widths)
    print_row(tuple("-" * width for width in widths), widths)
    for path, name in zip(chosen.recordings, names, strict=True):
        statistics: tuple[Statistic, ...] = ("min", "median")
        for statistic in statistics:
            cases = recorded(path, statistic)
            for rule in (small, large):
                replay = Replay(cases, replace(rule, statistic=statistic), chosen.seed, chosen.spread)
                limits = f"{rule.allowed:.0%} {rule.detect:.0%} {rule.margin:.1%}"
                print_row((name, statistic, limits, *row(replay, chosen.runs, chosen.trials)), widths)


def print_row(cells: tuple[str, ...], widths: list[int]) -> None:
    print(
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)) + " |",
        flush=True,
    )


if __name__ == "__main__":
    main()
