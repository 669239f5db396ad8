"""A look into the cases that got worse: changed plans, and the code that takes longer.

On processes of its own, after everything is measured: sampling and logging plans slow what they watch.
What cannot be looked into is a caveat; it changes no verdict.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from gate.cli.called import called
from gate.cli.held import held
from gate.cli.prepared import Prepared, Rig
from gate.cli.watched import SEED, Inject, Seen, Terms, Watched, asking, serving, watching
from gate.errors import GateError
from gate.explain.bodies import parts
from gate.explain.called import more_called
from gate.explain.causes import SENT
from gate.explain.plans import changed, unstable
from gate.explain.profiles import gained
from gate.model import (
    Case,
    Caveat,
    Comparison,
    Explanation,
    Kind,
    Plan,
    SideName,
)
from gate.probes import stacks
from gate.probes.plans import explaining
from gate.suites import benchmarks
from gate.suites.worker import WorkerDied

CASES = 6  # looked into, those that block first
# Seconds of requests or rounds that a side is sampled at one case: a line that sends a statement shows soon,
# a few per cent of processor time in one function among many do not.
COUNTED, SLOWER = 1.0, 3.0
VISITS = 10  # a side at an endpoint, in turns with the other one
TURNS = 1000  # of them at a benchmark, whose rounds are short
# Plans and functions kept of a case, and lines and characters of each: a comment has no room for more.
MOST, LONGEST, WIDEST = 3, 60, 200
REQUESTS = 3  # of which the plans are read

_Look = Callable[..., Mapping[SideName, Watched]]


def look_into(
    rows: Sequence[Comparison],
    sides: Mapping[SideName, Prepared],
    plan: Plan,
    *,
    rig: Rig,
    touched: frozenset[str],
) -> tuple[Explanation, ...]:
    """What has changed in the work of the first cases of these rows, one explanation for each.

    sides: both. touched: files that the change edits.
    """
    terms = Terms(plan, rig, {planned.case for planned in plan.cases if planned.writes})
    works = [row for row in rows if row.kind is not Kind.GAUGE]
    slower = {row.case for row in works if row.kind is Kind.TIMING}
    looks: list[tuple[Collection[Case], Callable[[], list[Explanation]]]] = []
    for suite, look in (("endpoints", _served), ("benchmarks", _benched)):
        cases = [case for case in _first(works, terms) if case.suite == suite]
        todo = {case: SLOWER if case in slower else COUNTED for case in cases}
        looks.append((todo, functools.partial(_looked, look, todo, sides, terms, touched)))
    sent = [row for row in works if row.metric in SENT and row.case.suite == "endpoints"]
    served = _first(sent, terms)
    looks.append((served, functools.partial(called, served, sides, terms, touched)))
    holding = _first([row for row in rows if row.kind is Kind.GAUGE], terms)
    looks.append((holding, functools.partial(held, holding, sides, terms, touched)))
    found: dict[Case, Explanation] = {}
    for mine, explain in looks:
        for each in _unless_it_fails(explain, mine) if mine else ():
            found[each.case] = _joined(found[each.case], each) if each.case in found else each
    return tuple(found.values())


def _joined(one: Explanation, other: Explanation) -> Explanation:
    """Of one case, by looks that fill different fields."""
    return dataclasses.replace(
        one,
        plans=one.plans or other.plans,
        gains=one.gains or other.gains,
        parts=one.parts or other.parts,
        calls=one.calls or other.calls,
        holdings=one.holdings or other.holdings,
        caveats=tuple(dict.fromkeys(one.caveats + other.caveats)),
    )


def _first(rows: Iterable[Comparison], terms: Terms) -> list[Case]:
    """As many cases as are looked into, readers first."""
    cases = list(dict.fromkeys(row.case for row in rows))[:CASES]
    return sorted(cases, key=lambda case: case in terms.writes)


def _unless_it_fails(explain: Callable[[], list[Explanation]], cases: Iterable[Case]) -> list[Explanation]:
    """One look that fails takes no other's findings along."""
    try:
        return explain()
    except Exception as error:  # noqa: BLE001 - a server or an application may fail in any way
        # Not the text of others, which may name paths of this machine.
        told = str(error) if isinstance(error, GateError | WorkerDied) else type(error).__name__
        caveat = Caveat(code="not-explained", text=f"the cause could not be looked into: {told}")
        return [Explanation(case=case, caveats=(caveat,)) for case in cases]


def _looked(
    look: _Look,
    cases: Mapping[Case, float],
    sides: Mapping[SideName, Prepared],
    terms: Terms,
    touched: frozenset[str],
) -> list[Explanation]:
    with ExitStack() as stack:
        watched = look(cases, sides, terms, stack)
        time.sleep(stacks.SETTLED)
        return [_explained(case, watched, touched) for case in cases]


def _explained(case: Case, watched: Mapping[SideName, Watched], touched: frozenset[str]) -> Explanation:
    base, head = (watched[name].profile(case) for name in ("base", "head"))
    was, now = (watched[name].seen.get(case, Seen()) for name in ("base", "head"))
    before, after = was.plans, now.plans
    shaky = frozenset(unstable(before)) | frozenset(unstable(after))
    shaky &= {plan.fingerprint for plan in before} & {plan.fingerprint for plan in after}
    notes = dict.fromkeys(filter(None, (*base.caveats, *head.caveats, was.missing, now.missing)))
    plans = [change for change in changed(before, after) if change.fingerprint not in shaky]
    # After as many requests both are at the same one.
    grown = parts(was.body, now.body) if was.requests == now.requests else ()
    calls = more_called(watched["base"].calls(case), watched["head"].calls(case), touched)
    return Explanation(
        case=case,
        plans=tuple(
            dataclasses.replace(change, lines=tuple(line[:WIDEST] for line in change.lines[:LONGEST]))
            for change in plans[:MOST]
        ),
        gains=tuple(
            dataclasses.replace(
                gain, text=gain.text[:WIDEST], caller=gain.caller[:WIDEST], touched=gain.file in touched
            )
            for gain in gained(base, head)[:MOST]
        ),
        parts=tuple(dataclasses.replace(part, text=part.text[:WIDEST]) for part in grown[:MOST]),
        calls=tuple(dataclasses.replace(each, text=each.text[:WIDEST]) for each in calls[:MOST]),
        caveats=tuple(Caveat(code="not-explained", text=note) for note in notes),
    )


def _served(
    cases: Mapping[Case, float], sides: Mapping[SideName, Prepared], terms: Terms, stack: ExitStack
) -> Mapping[SideName, Watched]:
    plan, rig = terms.plan, terms.rig
    watched = serving(sides, "look", _sampled(rig), stack)
    workers = {name: asking(one, tuple(cases), rig, stack) for name, one in watched.items()}
    terms.begun()
    for case, seconds in cases.items():
        if time.monotonic() > terms.deadline:
            break
        values: list[float] = []
        for worker in workers.values():
            worker.next()
            values += worker.visit(2).values
            if sum(values) * plan.warmup < seconds:  # a slow case is not asked for minutes to be warm
                values += worker.visit(plan.warmup, warmup=True).values
        middle = sorted(values)[len(values) // 2] if values else 0.0
        size = max(1, int(seconds / VISITS / middle)) if middle else 1
        if case in terms.writes:  # a value may be good for one write only
            size = min(size, max(1, plan.rounds // VISITS))
        for one in watched.values():
            one.rest()
        for name in _turns(watched, VISITS):
            if time.monotonic() < terms.deadline:
                watched[name].visit(case, size, functools.partial(workers[name].visit, size))
        for name, one in watched.items():
            with explaining(one.prepared.running, one.database) as explainer:
                mark = explainer.mark()
                workers[name].visit(REQUESTS)
                one.explained(case, explainer.since(mark), workers[name].body, explainer.missing)
    return watched


def _sampled(rig: Rig) -> Inject:
    return functools.partial(stacks.injected, cores=rig.cores.available)


def _turns(names: Iterable[SideName], visits: int) -> Iterator[SideName]:
    """Base and head as often, each first in half of the turns."""
    for turn in range(visits):
        yield from sorted(names, reverse=bool(turn % 2))


def _benched(
    cases: Mapping[Case, float], sides: Mapping[SideName, Prepared], terms: Terms, stack: ExitStack
) -> Mapping[SideName, Watched]:
    rig = terms.rig
    inject = _sampled(rig)
    watched = {name: watching(prepared, "look_benchmarks", inject, stack) for name, prepared in sides.items()}
    workers = {}
    for name, one in watched.items():
        config = one.prepared.config.suites.benchmarks
        if config is None:
            raise RuntimeError("cases of a suite that is not configured")
        log = one.prepared.logs / f"{name}-look-benchmarks.log"
        workers[name] = benchmarks.open_benchmarks(one.side, config, cases=tuple(cases), log=log, seed=SEED)
        stack.callback(workers[name].close)
    terms.begun()
    for case, seconds in cases.items():
        if time.monotonic() > terms.deadline:
            break
        known = rig.learned.terms.get(case)
        for name in sorted(workers):
            workers[name].next()
            known = workers[name].prepare(known) or known
        for one in watched.values():
            one.rest()
        if known is None or not known.visits:
            continue
        ended = min(time.monotonic() + 2 * seconds, terms.deadline)
        for name in _turns(watched, TURNS):
            ask = functools.partial(workers[name].visit, known.rounds)
            if not watched[name].visit(case, known.rounds * known.loops, ask) or time.monotonic() > ended:
                break
        for name, one in watched.items():
            with explaining(one.prepared.running, one.database) as explainer:
                mark = explainer.mark()
                workers[name].visit(1)
                one.explained(case, explainer.since(mark))
            if not known.fixed and time.monotonic() < terms.deadline:
                one.seen[case].callers = workers[name].callers()
            workers[name].finish()
    return watched
