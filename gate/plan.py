"""Config + cases + baselines -> Plan: what runs, how often, and what base can be taken from where.

Pure: files, refs and free space arrive as values. Everything that can fail cheaply fails here,
before a service is started.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from fnmatch import fnmatchcase

from gate.config import Config
from gate.errors import ConfigError, EnvironmentFailure
from gate.model import Case, DataKey, Plan, PlannedCase, SideRun

# A sealed template, one clone a side and the files a restore works with, beside WAL and indexes.
COPIES = 4


def make_plan(
    config: Config,
    cases: Iterable[PlannedCase],
    *,
    known: Iterable[Case],
    against: str,
    only: str = "*",
    suites: frozenset[str] = frozenset(),
    time_budget: float,
) -> Plan:
    """What this run measures.

    cases: of head. known: what base's configuration and stored baselines name. only: a glob over
    `str(case)`; suites: empty is all. Cases left out by either are not missing, they were not asked for.
    Raises ConfigError where nothing is left to measure.
    """

    def asked(case: Case) -> bool:
        return fnmatchcase(str(case), only) and (not suites or case.suite in suites)

    every = tuple(cases)
    chosen = tuple(planned for planned in every if asked(planned.case))
    if not chosen:
        raise ConfigError(
            f"no case matches --only {only!r}" if only != "*" else "there is nothing to measure",
            where=", ".join(sorted(str(planned.case) for planned in every)[:8]),
            hint="name cases as suite/name; * matches anything",
        )
    ordered = sorted(chosen, key=lambda planned: planned.writes)
    # A project without endpoints still has a plan; the numbers then stand for nothing.
    numbers = config.suites.endpoints
    return Plan(
        against=against,
        cases=tuple(ordered),
        known=tuple(sorted(case for case in set(known) if asked(case))),
        warmup=numbers.warmup if numbers else 0,
        requests=numbers.requests if numbers else 1,
        rounds=numbers.rounds if numbers else 0,
        time_budget=time_budget,
    )


def settle_base(plan: Plan, stored: SideRun | None, key: DataKey) -> Plan:
    """The plan with the cases that must be measured on base, since no stored counts can be used.

    key: of head's data. A case that base does not know is new and is never measured on base.
    """
    if plan.against in ("none", "stored"):
        return plan
    wanted = (planned for planned in plan.cases if planned.case in plan.known)
    base = tuple(planned.case for planned in wanted if unusable(planned, stored, key))
    return dataclasses.replace(plan, base=base)


def unusable(planned: PlannedCase, stored: SideRun | None, key: DataKey | None) -> str:
    """Why the stored counts cannot stand for base in this case; empty where they can."""
    if stored is None:
        return "no stored baseline"
    earlier = next((other for other in stored.cases if other.case == planned.case), None)
    if earlier is None:
        return "no stored counts for this case"
    if earlier.definition != planned.definition:
        return "the case is measured differently than when its counts were stored"
    if key is None or stored.side.data_key is None:
        return "the stored counts carry no data key"
    differences = stored.side.data_key.differences(key)
    return "stored on other data: " + "; ".join(differences) if differences else ""


def check_space(*, needed: int, free: int, place: str) -> None:
    """needed: bytes of one template as estimated; free: bytes at `place`. Raises EnvironmentFailure."""
    wanted = needed * COPIES
    if wanted > free:
        raise EnvironmentFailure(
            f"the data set needs about {wanted / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free",
            where=place,
            hint="free some space, point --scratch elsewhere, or run with a smaller --scale",
        )
