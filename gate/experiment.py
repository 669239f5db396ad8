"""The whole experiment on one screen: what to do next, given the plan and what has been seen.

Pure. The driver in `gate.cli` asks, carries the step out, adds what it saw to the Run and asks
again. Side-by-side timing (screen, confirm) adds its steps here; a saved Run answers the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from gate.model import ERRORS, Case, Plan, Run, SideName


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Start the sides afresh on new clones and visit the cases.

    pair: from 1; it is also the hash seed, the same for both sides of a pair.
    cases: per side, readers before writers; each is warmed up and counted by a fixed list of requests.
    rounds: timed requests of each case after that.
    """

    pair: int
    cases: tuple[tuple[SideName, tuple[Case, ...]], ...]
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Nothing is left that could change the verdict."""


def next_step(plan: Plan, run: Run) -> Visits | Done:
    """Count head once for each pass, each in a process of its own with another hash seed; with it
    base, where no stored counts can stand for it. Timed visits share those starts."""
    for pair in range(1, plan.passes + 1):
        wanted = _wanted(plan, pair)
        missing = tuple((side, cases) for side, cases in wanted if not _visited(run, side, cases, pair))
        if missing:
            return Visits(pair=pair, cases=missing, rounds=plan.rounds)
    return Done()


def _wanted(plan: Plan, pair: int) -> tuple[tuple[SideName, tuple[Case, ...]], ...]:
    """Each side that has something to visit in this pair, with its cases."""
    due = tuple(planned.case for planned in plan.cases if pair == 1 or not planned.once)
    sides: tuple[tuple[SideName, tuple[Case, ...]], ...] = (
        ("base", tuple(case for case in due if case in plan.base)),
        ("head", due),
    )
    return tuple((side, cases) for side, cases in sides if cases)


def _visited(run: Run, side: SideName, cases: tuple[Case, ...], pair: int) -> bool:
    """Every visit of a case leaves a point of `errors`, 0 or more, so that its absence means not yet."""
    seen = {
        sample.case
        for sample in run.samples
        if sample.side == side and sample.metric == ERRORS and any(p.pair == pair for p in sample.points)
    }
    return seen.issuperset(cases)
