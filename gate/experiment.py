"""The whole experiment on one screen: what to do next, given the plan and what has been seen.

Pure. The driver in `gate.cli` asks, carries the step out, adds what it saw to the Run and asks
again; a saved Run gives the same answers.
"""

from __future__ import annotations

import dataclasses
import random
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gate.model import ERRORS, Case, Outcome, Pair, Plan, Run, SideName, Stage
from gate.timing import FEWEST, Member, family, judge_times


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Start the sides afresh on new clones and visit the cases.

    pair: from 1; it is also the hash seed, the same for both sides of a pair. A pair that was lost is
    asked for again. stage: the confirm stage wants an environment built anew.
    count: per side, readers before writers; each is warmed up and counted by a fixed list of requests.
    timed: by both sides in turns. alone: timed on head, which has nobody to take turns with.
    """

    pair: int
    stage: Stage = "screen"
    count: tuple[tuple[SideName, tuple[Case, ...]], ...] = ()
    timed: tuple[Case, ...] = ()
    alone: tuple[Case, ...] = ()

    @property
    def sides(self) -> tuple[SideName, ...]:
        """Those that take part, base first."""
        named = {name for name, _ in self.count} | ({"base", "head"} if self.timed else set())
        named |= {"head"} if self.alone else set()
        return tuple(name for name in ("base", "head") if name in named)

    def cases(self, side: SideName) -> frozenset[Case]:
        """Everything that a side is asked for."""
        counted = frozenset(case for name, cases in self.count if name == side for case in cases)
        return counted | frozenset(self.timed) | (frozenset(self.alone) if side == "head" else frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Nothing is left that could change the verdict, or that the time budget has room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Smaller:
    """Count the readers of these sides once more, on `share` of the data set."""

    sides: tuple[tuple[SideName, tuple[Case, ...]], ...]
    share: float


def next_step(plan: Plan, run: Run) -> Visits | Smaller | Done:
    """As `_next_visit`; then, where that is asked for, what grows with the data."""
    step = _next_visit(plan, run)
    if not isinstance(step, Done) or not plan.growth or run.smaller:
        return step
    readers = [p.case for p in plan.cases if p.case.suite == "endpoints" and not p.writes]
    sides: tuple[tuple[SideName, tuple[Case, ...]], ...] = (
        ("base", tuple(case for case in readers if case in plan.base)),
        ("head", tuple(readers)),
    )
    live = tuple((name, cases) for name, cases in sides if cases)
    return Smaller(sides=live, share=plan.growth) if live else step


def _next_visit(plan: Plan, run: Run) -> Visits | Done:
    """First the pairs of the screen, of which the first ones count too; then those of the confirm.

    Head is counted once for each pass, each in a process of its own with another hash seed; with it
    base, where it is live. Where nothing is timed side by side, the passes are all there is.
    """
    timed = tuple(each.case for each in plan.timed)
    for pair in range(1, max(plan.passes, plan.screen if timed else 0) + 1):
        step = _screen(plan, pair, timed)
        if not _visited(run, step):
            # The passes belong to the counts; only timing is bound by the budget.
            over = pair > plan.passes and spent(run) + _longest(plan, run) > plan.time_budget
            return Done() if over else step
    return _confirm(plan, run) if timed else Done()


def _screen(plan: Plan, pair: int, timed: tuple[Case, ...]) -> Visits:
    if pair > plan.passes:
        return Visits(pair=pair, timed=timed)
    due = tuple(planned.case for planned in plan.cases)
    sides: tuple[tuple[SideName, tuple[Case, ...]], ...] = (
        ("base", tuple(case for case in due if case in plan.base)),
        ("head", due),
    )
    return Visits(
        pair=pair,
        count=tuple((side, cases) for side, cases in sides if cases),
        timed=timed,
        alone=tuple(case for case in due if case not in timed and _measurable(plan, case, pair)),
    )


def _measurable(plan: Plan, case: Case, pair: int) -> bool:
    """A benchmark alone is calibrated and timed once: that tells as much as it can without another side."""
    return plan.timing and (plan.rounds > 0 if case.suite == "endpoints" else pair == 1)


def _visited(run: Run, step: Visits) -> bool:
    """A counted case leaves a point of `errors`, 0 or more, so that its absence means not yet."""
    for side, cases in step.count:
        seen = {
            sample.case
            for sample in run.samples
            if sample.side == side
            and sample.metric == ERRORS
            and any(p.pair == step.pair for p in sample.points)
        }
        if not seen.issuperset(cases):
            return False
    return not step.timed or any(pair.number == step.pair for pair in kept(run))


def _confirm(plan: Plan, run: Run) -> Visits | Done:
    done = kept(run, "confirm")
    chosen = within_budget(plan, run)
    due = {m.case for m in chosen if sum(m.case in pair.cases for pair in done) < m.pairs}
    if not due or spent(run) + _Costs(plan, run).pair(due) > plan.time_budget:
        return Done()
    suspects = {m.case for m in chosen if m.flagged} - set(plan.excused)
    if suspects and not due & suspects and _blocks(plan, run, suspects):
        return Done()  # what is left could not change the verdict, and whoever waits has something to mend
    timed = tuple(each.case for each in plan.timed if each.case in due)
    return Visits(pair=max(pair.number for pair in run.pairs) + 1, stage="confirm", timed=timed)


def _blocks(plan: Plan, run: Run, suspects: Collection[Case]) -> bool:
    """Whether one of the suspects is slower by the rules of the plan, as far as it was measured."""
    rows = judge_times(run, {each.case: each.rule for each in plan.timed})
    return any(row.case in suspects and row.outcome is Outcome.REGRESSED for row in rows)


def kept(run: Run, stage: Stage | None = None) -> tuple[Pair, ...]:
    """The pairs whose times are used."""
    return tuple(pair for pair in run.pairs if not pair.lost and stage in (None, pair.stage))


def spent(run: Run) -> float:
    """Seconds of measuring so far, lost pairs included."""
    return sum(pair.seconds for pair in run.pairs)


def within_budget(plan: Plan, run: Run) -> tuple[Member, ...]:
    """The members of the confirm family that fit what the screen has left of the time budget.

    Fixed when the screen ends, as the family is. Suspects first, then those that need the fewest pairs;
    first each gets the fewest pairs that can decide, then as many as it wants, while there is room.
    """
    costs = _Costs(plan, run)
    room = plan.time_budget - sum(pair.seconds for pair in run.pairs if pair.stage == "screen")
    chosen: dict[Case, Member] = {}
    wanted = sorted(family(run), key=lambda m: (not m.flagged, m.pairs, m.case))
    for few in (True, False):
        for member in wanted:
            cut = dataclasses.replace(member, pairs=min(FEWEST, member.pairs)) if few else member
            tried = chosen | {member.case: cut}
            if (few or member.case in chosen) and costs.all(tuple(tried.values())) <= room:
                chosen = tried
    return tuple(chosen.values())


class _Costs:
    """Seconds that pairs of the confirm will take, by those of the screen."""

    def __init__(self, plan: Plan, run: Run) -> None:
        screen = kept(run, "screen")
        self._suites = {each.case.suite for each in plan.timed}
        self._start = statistics.median(pair.start for pair in screen)
        # The pairs that count take longer than those of the confirm will.
        self._case = min((pair.seconds - pair.start) / len(pair.cases) for pair in screen)

    def pair(self, cases: set[Case]) -> float:
        share = len({case.suite for case in cases}) / len(self._suites)
        return self._start * share + self._case * len(cases)

    def all(self, members: Sequence[Member]) -> float:
        """Of every pair: the n-th measures the members that want at least n."""
        most = max(member.pairs for member in members)
        return sum(self.pair({m.case for m in members if m.pairs >= n}) for n in range(1, most + 1))


def _longest(plan: Plan, run: Run) -> float:
    """Seconds of the longest pair that only took turns, or of any where none has: to count takes longer."""
    timed = [pair.seconds for pair in kept(run) if pair.number > plan.passes]
    return max(timed or [pair.seconds for pair in run.pairs], default=0.0)


def turns(sides: Sequence[SideName], visits: int, rng: random.Random) -> tuple[SideName, ...]:
    """Who is visited when: rounds of one visit a side, in random order, each order as often (AB BA BA AB)."""
    first, second = tuple(sides), tuple(reversed(sides))
    rounds = [first, second] * (visits // 2)
    if visits % 2:
        rounds.append(rng.choice((first, second)))
    rng.shuffle(rounds)
    return tuple(side for one in rounds for side in one)
