"""A Run and what it is held against -> Report: the pure second half of the program.

A saved Run re-enters here: a changed threshold or budget needs no new measurement, and a trusted
stage can judge again what an untrusted one measured.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from dataclasses import dataclass

from gate.baseline import joined
from gate.budget import check_budgets
from gate.config import Config, Policy
from gate.explain import explained
from gate.gauge import judge_memory
from gate.model import (
    CPU,
    GATED,
    SERVICES_CPU,
    Case,
    Comparison,
    Coverage,
    DataKey,
    Finding,
    Measured,
    Plan,
    Report,
    Route,
    Run,
    Setting,
    SideInfo,
    SideRun,
    Sides,
    Timing,
    TimingRule,
)
from gate.plan import unusable
from gate.policy import accept, apply_rules, decide, nondeterministic, skipped, uncovered
from gate.stats import compare, timing
from gate.structure import structural
from gate.timing import judge_times


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a run is judged by. stored: base's baselines; edited: head's; ref: of base, or empty.

    config: whose policy and budgets count (base's in CI, the working tree's on a laptop); None has
    the defaults and no budgets. own: head's, for the budgets of cases that `config` does not know.
    unmeasured: why base could not be measured, where it should have been; empty otherwise.
    adoption: base has neither configuration nor baselines.
    """

    config: Config | None
    own: Config | None = None
    settings: tuple[Setting, ...] = ()
    stored: SideRun | None = None
    edited: SideRun | None = None
    ref: str = ""
    unmeasured: str = ""
    adoption: bool = False


def judge(run: Run, context: Context) -> Report:
    """The report of a run. Raises ValueError where the run holds no head."""
    head = run.cut("head")
    if head is None:
        raise ValueError("a run without head cannot be judged")
    unmeasured = context.unmeasured or run.plan.unmeasured
    base, reasons = _base(run, dataclasses.replace(context, unmeasured=unmeasured), head)
    rows = compare(base, head, known=run.plan.known if base or reasons else (), unusable=reasons)
    rows = explained(
        apply_rules(
            rows + judge_times(run, _rules(run.plan, context.config)) + judge_memory(run), run.plan.cases
        ),
        base,
        head,
        run.explanations,
        run.storage,
    )
    rows, accepts = accept(rows, context.stored, context.edited, head)
    budgets = (
        check_budgets(context.config, head, base, runner_class=run.environment.runner_class, own=context.own)
        if context.config
        else ()
    )
    findings = nondeterministic(rows) + skipped(head) + _structural(run, context, head, base)
    findings += uncovered(run.routes, context.config.policy.min_coverage if context.config else None)
    verdict = decide(
        rows,
        budgets=budgets,
        findings=findings,
        head=head,
        against=run.plan.against,
        adoption=context.adoption,
        untimed=unmeasured,
    )
    measured = run.info("base")
    shown = measured or (base.side if base else None)
    return Report(
        tool=run.tool,
        verdict=verdict,
        environment=run.environment,
        sides=Sides(base=_info(shown, context.ref), head=head.side),
        run=Measured(
            plan=run.plan,
            samples=run.samples,
            evidence=run.evidence,
            pairs=run.pairs,
            storage=run.storage,
            routes=run.routes,
            explanations=run.explanations,
            smaller=run.smaller,
        ),
        config=context.settings,
        comparisons=rows,
        timings=_timings(head, run.cut("base")),
        findings=findings,
        budgets=budgets,
        accepts=accepts,
        coverage=_coverage(rows, run.routes),
        timeline=run.timeline,
        caveats=tuple(dict.fromkeys((*run.caveats, *(c for e in run.explanations for c in e.caveats)))),
    )


def held_against(report: Report, base: Report, context: Context) -> Report:
    """The measurement of one saved report compared with that of another, under `context`'s policy.

    Cases that are measured differently, or on other data, are incomparable, with the reason.
    """
    earlier = run_of(base).cut("head")
    if earlier is None:
        raise ValueError("a report without head cannot be compared with")
    stored = dataclasses.replace(earlier, side=dataclasses.replace(earlier.side, name="base", stored=True))
    run = run_of(report)
    plan = dataclasses.replace(
        run.plan, against="stored", base=(), timed=(), known=tuple(planned.case for planned in earlier.cases)
    )
    head = tuple(side for side in run.sides if side.name == "head")
    # What stood behind a row was seen against another base.
    run = dataclasses.replace(
        run,
        plan=plan,
        sides=head,
        explanations=(),
        smaller=tuple(seen for seen in run.smaller if seen.side == "head"),
        storage=tuple(table for table in run.storage if table.side == "head"),
    )
    return judge(run, dataclasses.replace(context, stored=stored))


def run_of(report: Report) -> Run:
    """The Run inside a report: judged again it gives the same verdict, under another policy another."""
    base = report.sides.base
    sides = (report.sides.head,) + ((base,) if base and report.run.plan.base else ())
    return Run(
        tool=report.tool,
        environment=report.environment,
        plan=report.run.plan,
        sides=sides,
        samples=report.run.samples,
        evidence=report.run.evidence,
        pairs=report.run.pairs,
        storage=report.run.storage,
        routes=report.run.routes,
        explanations=report.run.explanations,
        smaller=report.run.smaller,
        timeline=report.timeline,
        caveats=report.caveats,
    )


def _structural(run: Run, context: Context, head: SideRun, base: SideRun | None) -> tuple[Finding, ...]:
    policy = context.config.policy if context.config else Policy()
    return structural(head, base, policy, plan=run.plan, storage=run.storage)


def _rules(plan: Plan, config: Config | None) -> dict[Case, TimingRule]:
    """What each time is held to: by the policy that counts here, else by the one it was measured under."""
    return {
        each.case: config.policy.rule(f"{each.case.suite}/{each.case.name}") if config else each.rule
        for each in plan.timed
    }


def _base(run: Run, context: Context, head: SideRun) -> tuple[SideRun | None, dict[Case, str]]:
    """Base's numbers, measured ones before stored ones, and why a case has none."""
    if run.plan.against == "none" or (context.adoption and not run.cut("base")):
        return None, {}
    measured = run.cut("base")
    key = head.side.data_key
    usable, reasons = _usable(run.plan, context.stored, key)
    if measured is not None:
        measured = _restricted(measured, frozenset(run.plan.base))
        reasons = {case: why for case, why in reasons.items() if case not in run.plan.base}
    elif context.unmeasured:
        failed = f"; base could not be measured: {context.unmeasured}"
        reasons = {case: why + failed for case, why in reasons.items()}
    gone = _gone(context.stored, run.plan, head)
    return joined(side for side in (measured, usable, gone) if side is not None), reasons


def _usable(
    plan: Plan, stored: SideRun | None, key: DataKey | None
) -> tuple[SideRun | None, dict[Case, str]]:
    known = frozenset(plan.known)
    reasons = {
        planned.case: why
        for planned in plan.cases
        if planned.case in known and (why := unusable(planned, stored, key))
    }
    if stored is None:
        return None, reasons
    covered = frozenset(p.case for p in plan.cases) - reasons.keys() - frozenset(plan.base)
    return _restricted(stored, covered), reasons


def _gone(stored: SideRun | None, plan: Plan, head: SideRun) -> SideRun | None:
    """Stored cases that head no longer has: needed for the name of what is missing."""
    if stored is None:
        return None
    present = {planned.case for planned in head.cases}
    return _restricted(stored, frozenset(case for case in plan.known if case not in present))


def _restricted(side: SideRun, cases: frozenset[Case]) -> SideRun:
    return SideRun(
        side=side.side,
        cases=tuple(p for p in side.cases if p.case in cases),
        samples=tuple(s for s in side.samples if s.case in cases),
        evidence=tuple(e for e in side.evidence if e.case in cases),
        smaller=tuple(e for e in side.smaller if e.case in cases),
    )


def _info(side: SideInfo | None, ref: str) -> SideInfo | None:
    if side is None:
        return SideInfo(name="base", ref=ref) if ref else None
    return dataclasses.replace(side, ref=side.ref or ref)


def _timings(head: SideRun, base: SideRun | None) -> tuple[Timing, ...]:
    found = []
    for planned in head.cases:
        for metric in GATED:
            sample = head.sample(planned.case, metric)
            if sample is not None and sample.points:
                before = base.sample(planned.case, metric) if base else None
                cpu, services = (_middle(head, planned.case, name.name) for name in (CPU, SERVICES_CPU))
                found.append(
                    dataclasses.replace(timing(planned, sample, before), cpu=cpu, services_cpu=services)
                )
    return tuple(found)


def _middle(side: SideRun, case: Case, metric: str) -> float | None:
    sample = side.sample(case, metric)
    return statistics.median(sample.values) if sample and sample.points else None


def _coverage(rows: tuple[Comparison, ...], routes: tuple[Route, ...]) -> Coverage:
    judged = [row for row in rows if row.base is not None]
    compared = Counter(row.case for row in judged)
    return Coverage(
        cases=len({row.case for row in rows}),
        compared=len(compared),
        rows=len(judged),
        exact_per_case=min(compared.values(), default=0),
        routes=len(routes),
        unmeasured=tuple(str(route) for route in routes if not route.measured),
    )
