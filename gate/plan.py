"""Config + cases + baselines -> Plan: what runs, how often, and what base can be taken from where.

Pure: files, refs and free space arrive as values. Everything that can fail cheaply fails here,
before a service is started.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from gate.config import Config, Dataset, Policy
from gate.errors import ConfigError, EnvironmentFailure
from gate.model import Case, DataKey, Plan, PlannedCase, SideRun, TimedCase

# Where data lies: a sealed template, one clone a side and the files a restore works with, beside WAL.
COPIES = 4
# In the cache: one sealed data directory, copied under another name before it takes its own.
CACHED = 1
# Bytes a row takes on disk with its share of indexes, before the schema is known: the reference
# application's rows take 190, those of a bare join table 90. Low, for what it refuses could never fit;
# what it lets pass is judged again by widths once the schema is known.
ROUGH_WIDTH = 150
_SHOWN = 8  # cases named where none is meant
_EMPTY = 64_000_000  # a server without rows, and its first WAL segments


def make_plan(
    config: Config,
    cases: Iterable[PlannedCase],
    *,
    known: Iterable[Case],
    against: str,
    only: str = "*",
    suites: frozenset[str] = frozenset(),
    timing: bool = True,
    time_budget: float,
) -> Plan:
    """What this run measures.

    cases: of head. known: what base's configuration and stored baselines name. only: a glob over
    `str(case)`; suites: empty is all. Cases left out by either are not missing, they were not asked for.
    Raises ConfigError where nothing is left to measure.
    """

    ordered = sorted(chosen(cases, only=only, suites=suites), key=lambda planned: planned.writes)
    # A project without endpoints still has a plan; the numbers then stand for nothing.
    numbers = config.suites.endpoints
    return Plan(
        against=against,
        cases=tuple(ordered),
        known=tuple(sorted(case for case in set(known) if asked(case, only=only, suites=suites))),
        warmup=numbers.warmup if numbers else 0,
        requests=numbers.requests if numbers else 1,
        rounds=numbers.rounds if numbers else 0,
        timing=timing,
        time_budget=time_budget,
        growth=(numbers.growth or 0.0) if numbers else 0.0,
    )


def chosen(cases: Iterable[PlannedCase], *, only: str, suites: frozenset[str]) -> tuple[PlannedCase, ...]:
    """Those that a run with this `only` and these `suites` is about.

    Raises ConfigError where there are none.
    """
    every = tuple(cases)
    found = tuple(planned for planned in every if asked(planned.case, only=only, suites=suites))
    if not found:
        names = sorted(str(planned.case) for planned in every)
        near = difflib.get_close_matches(only.replace("*", ""), names, _SHOWN, cutoff=0.4)
        shown = (
            f"{'near it' if near else 'there are'}: {', '.join((near or names)[:_SHOWN])}; " if names else ""
        )
        raise ConfigError(
            f"no case matches --only {only!r}" if only != "*" else "there is nothing to measure",
            hint=f"{shown}name cases as suite/name; * matches anything",
        )
    return found


def asked(case: Case, *, only: str, suites: frozenset[str]) -> bool:
    """Whether a run with this `only` and these `suites` is about the case."""
    # The name itself first: brackets in it would be a pattern.
    named = str(case) == only or fnmatchcase(str(case), only)
    return named and (not suites or case.suite in suites)


def settle_base(plan: Plan, stored: SideRun | None, key: DataKey) -> Plan:
    """The plan with the cases that must be measured on base, since no stored counts can be used.

    key: of head's data. A case that base does not know is new and is never measured on base.
    """
    if plan.against in ("none", "stored"):
        return plan
    wanted = (planned for planned in plan.cases if planned.case in plan.known)
    base = tuple(planned.case for planned in wanted if unusable(planned, stored, key))
    return dataclasses.replace(plan, base=base)


def side_by_side(plan: Plan, policy: Policy, *, theirs: Iterable[Case]) -> Plan:
    """The plan with every case that both sides have counted and timed on both. theirs: cases of base."""
    has = frozenset(theirs)
    both = tuple(planned.case for planned in plan.cases if planned.case in has)
    timed = tuple(
        TimedCase(case=case, rule=policy.rule(f"{case.suite}/{case.name}"))
        for case in both
        if plan.rounds or case.suite != "endpoints"
    )
    return dataclasses.replace(plan, base=both, timed=timed)


def unmoved(changed: Iterable[str], inert: Iterable[str], baselines: str) -> str:
    """Why a change cannot have changed how fast anything is; empty where it may have.

    changed: paths from the repository's root. inert: patterns. baselines: their directory.
    """
    patterns = (*inert, f"{baselines}/*")
    paths = tuple(changed)
    if any(not any(fnmatchcase(path, pattern) for pattern in patterns) for path in paths):
        return ""
    named = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    if not paths:
        return "base and head are the same"
    return f"nothing that runs has changed ({named})"


def unusable(planned: PlannedCase, stored: SideRun | None, key: DataKey | None) -> str:
    """Why the stored counts cannot stand for base in this case; empty where they can."""
    if stored is None:
        return "no stored baseline"
    earlier = stored.planned(planned.case)
    if earlier is None:
        return "no stored counts for this case"
    if earlier.definition != planned.definition:
        return "the case is measured differently than when its counts were stored"
    if key is None or stored.side.data_key is None:
        return "the stored counts carry no data key"
    differences = stored.side.data_key.differences(key)
    return "stored on other data: " + "; ".join(differences) if differences else ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Free bytes at a place that data will be written to, as found by whoever asks.

    device: of its file system; places on one device share their room. runs_out: "disk", or "memory" where
    the place lies in it. copies: of the data set that will lie there. hint: how to have another place.
    """

    place: str
    device: int
    free: int
    runs_out: str
    copies: int
    hint: str


def rough_bytes(spec: Dataset, *, scale: float) -> int:
    """Bytes of one copy of the data set by the configuration alone (see ROUGH_WIDTH).

    Tables that it does not name, and what tables hold beyond their rows, are not in it.
    """
    rows = sum(table.rows * (1.0 if table.fixed else scale) for table in spec.tables.values())
    return _EMPTY + round(rows * ROUGH_WIDTH)


def needed_bytes(copy: int) -> int:
    """Bytes that the data place must hold for a data set of `copy` bytes."""
    return copy * COPIES


def check_space(copy: int, rooms: Iterable[Room]) -> None:
    """copy: bytes of one copy of the data set. Raises EnvironmentFailure for the first place too small."""
    every = tuple(rooms)
    for room in every:
        copies = sum(other.copies for other in every if other.device == room.device)
        if copy * copies > room.free:
            raise EnvironmentFailure(
                f"the data set needs about {copy * copies:,} bytes of {room.runs_out} "
                f"({copies} copies of {copy / 1e6:,.0f} MB) and {room.free:,} are free",
                where=room.place,
                hint=f"free some {room.runs_out}, {room.hint}, or run with a smaller --scale",
            )
