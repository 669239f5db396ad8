"""baselines/<suite>.json <-> SideRun: the stored exact counts, as text that people review.

Beside them, by kind of machine, the times of the last runs, which are shown and never judged by. Pure text
in, pure text out. Keys are sorted and every value has its own line, so that a diff shows one line for one
changed count and the SQL that changed. No host, user, path or time of day.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gate.errors import BaselineError
from gate.model import (
    BASELINE_SCHEMA,
    GATED,
    GAUGES,
    METRICS,
    PYTHON_CALLS,
    Accept,
    Case,
    Command,
    DataKey,
    Environment,
    Evidence,
    Kind,
    PlannedCase,
    Point,
    Sample,
    SideInfo,
    SideRun,
    Statement,
    Statistic,
)

REGENERATE = "perf-gate baseline update"
TIMES_SCHEMA = "perf-gate.times/1"
_DIGITS = 5  # of a time; what is beyond them differs from run to run


def to_text(side: SideRun, suite: str) -> str:
    """The file of one suite. Raises ValueError where the side has no data key (nothing was measured)."""
    key = side.side.data_key
    if key is None:
        raise ValueError("a baseline needs the data key of what was measured")
    document = {
        "schema": BASELINE_SCHEMA,
        "regenerate": REGENERATE,
        "suite": suite,
        "data_key": dataclasses.asdict(key) | {"packages": dict(key.packages), "initdb": list(key.initdb)},
        "cases": {
            str(planned.case): _case(planned, side) for planned in side.cases if planned.case.suite == suite
        },
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _case(planned: PlannedCase, side: SideRun) -> dict[str, Any]:
    metrics = {
        name: [_integral(value) for value in sample.values]
        for name, metric in METRICS.items()
        if metric.kind is Kind.EXACT
        and metric != PYTHON_CALLS
        and (sample := side.sample(planned.case, name)) is not None
    }
    seen = side.seen(planned.case) or Evidence(case=planned.case, side="head")
    worse = {each.metric: each.value for each in side.worse if each.case == planned.case}
    # Absent and empty are one: of a base that allows nothing, nothing can be lost.
    caching = [name for name, allowed in seen.caching or () if allowed]
    return (
        ({"worse": worse} if worse else {})
        | {
            "label": planned.label,
            "definition": planned.definition,
            "writes": planned.writes,
            "metrics": metrics,
            "statements": {s.fingerprint: _statement(s) for s in seen.statements},
            "commands": {c.name: _integral(c.calls) for c in seen.commands},
            "hits": _integral(seen.hits),
            "misses": _integral(seen.misses),
            "evictions": _integral(seen.evictions),
        }
        | ({"caching": caching} if caching else {})
    )


def _statement(statement: Statement) -> dict[str, Any]:
    fields = dataclasses.asdict(statement)
    del fields["fingerprint"], fields["seconds"]
    return {"sql": fields.pop("text")} | {
        name: _integral(value) if isinstance(value, float) else value for name, value in fields.items()
    }


def _integral(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def from_text(text: str, *, name: str, ref: str = "") -> SideRun:
    """One stored suite as base. name: the file, for the error; ref: the commit it was read at.

    Raises BaselineError where the text is no JSON, is of another version, or lacks what it must hold.
    """
    try:
        document = json.loads(text)
        found = document.get("schema")
    except (ValueError, AttributeError) as error:
        raise BaselineError(
            "this baseline cannot be read: it is not the JSON that perf-gate writes",
            where=name,
            hint=f"restore it from git, or write it anew with `{REGENERATE}` ({error})",
        ) from None
    if found != BASELINE_SCHEMA:
        raise BaselineError(
            f"this baseline is of another version: {found!r}, this perf-gate reads {BASELINE_SCHEMA!r}",
            where=name,
            hint=f"use the perf-gate that wrote it, or write it anew with `{REGENERATE}`",
        )
    try:
        return _side(document, ref)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BaselineError(
            f"this baseline is damaged: {type(error).__name__}: {error}",
            where=name,
            hint=f"restore it from git, or write it anew with `{REGENERATE}`",
        ) from None


def _side(document: dict[str, Any], ref: str) -> SideRun:
    key = document["data_key"]
    cases: list[PlannedCase] = []
    samples: list[Sample] = []
    evidence: list[Evidence] = []
    worse: list[Accept] = []
    for identity, held in document["cases"].items():
        case = Case.parse(identity)
        cases.append(
            PlannedCase(case=case, label=held["label"], definition=held["definition"], writes=held["writes"])
        )
        samples += [_sample(case, name, values) for name, values in held["metrics"].items()]
        evidence.append(_evidence(case, held))
        worse += [_worse(case, name, value) for name, value in held.get("worse", {}).items()]
    data_key = DataKey(
        dataset=key["dataset"],
        postgres=key["postgres"],
        initdb=tuple(key["initdb"]),
        python=key["python"],
        packages=tuple(sorted(key["packages"].items())),
    )
    return SideRun(
        side=SideInfo(name="base", ref=ref, data_key=data_key, stored=True),
        cases=tuple(cases),
        samples=tuple(samples),
        evidence=tuple(evidence),
        worse=tuple(worse),
    )


def _worse(case: Case, name: str, value: float) -> Accept:
    if name not in (*GATED, *GAUGES) or not (math.isfinite(value) and value >= 1):
        told = f"{' or '.join(GATED)} as ratios from 1, {' or '.join(GAUGES)} as bytes"
        raise ValueError(f"{case}: worse holds {told}, not {name} {value}")
    return Accept(case=case, metric=name, value=float(value))


def _sample(case: Case, name: str, values: list[float]) -> Sample:
    if not values or not all(math.isfinite(value) and value >= 0 for value in values):
        raise ValueError(f"{case}: {name} must hold numbers from 0, not {values}")
    points = (Point(pair=i, visit=1, position=1, value=float(v)) for i, v in enumerate(values, 1))
    return Sample(case=case, metric=METRICS[name], side="base", points=tuple(points))


def _evidence(case: Case, held: dict[str, Any]) -> Evidence:
    statements = (
        Statement(
            fingerprint=fingerprint, text=fields["sql"], **{k: v for k, v in fields.items() if k != "sql"}
        )
        for fingerprint, fields in held["statements"].items()
    )
    return Evidence(
        case=case,
        side="base",
        statements=tuple(statements),
        commands=tuple(Command(name=n, calls=c) for n, c in held["commands"].items()),
        hits=held["hits"],
        misses=held["misses"],
        evictions=held.get("evictions", 0),
        # Older baselines do not hold them.
        caching=tuple((str(name), True) for name in held["caching"]) if "caching" in held else None,
    )


def joined(sides: Iterable[SideRun]) -> SideRun | None:
    """The suites of one commit as one side; None where there is none.

    The data key is the suites' common one; where they disagree there is none, so that no stored
    count is used for a suite whose file was left behind.
    """
    several = tuple(sides)
    if not several:
        return None
    keys = {side.side.data_key for side in several}
    info = several[0].side if len(keys) == 1 else dataclasses.replace(several[0].side, data_key=None)
    return SideRun(
        side=info,
        cases=tuple(planned for side in several for planned in side.cases),
        samples=tuple(sample for side in several for sample in side.samples),
        evidence=tuple(item for side in several for item in side.evidence),
        smaller=tuple(item for side in several for item in side.smaller),
        worse=tuple(each for side in several for each in side.worse),
    )


def storable(side: SideRun) -> SideRun:
    """The side without the cases that chose not to run: there is nothing of them to store."""
    left = {sample.case for sample in side.samples if sample.skipped}
    return dataclasses.replace(
        side,
        cases=tuple(planned for planned in side.cases if planned.case not in left),
        samples=tuple(sample for sample in side.samples if sample.case not in left),
        evidence=tuple(item for item in side.evidence if item.case not in left),
    )


def updated(stored: SideRun | None, head: SideRun, cases: frozenset[Case] | None) -> SideRun:
    """The baseline after accepting head's values: for `cases`, or for all where it is None.

    A named case that head no longer has is dropped. Raises BaselineError where cases that are not
    named stay and were stored on other data: one file has one data key.
    """
    if cases is None or stored is None:
        return head
    if head.side.data_key != stored.side.data_key and any(p.case not in cases for p in stored.cases):
        why = (
            "; ".join(stored.side.data_key.differences(head.side.data_key))
            if (stored.side.data_key and head.side.data_key)
            else "the stored files disagree"
        )
        raise BaselineError(
            f"these cases cannot be accepted alone: the data key changed ({why})",
            hint="measure all cases and accept them together: perf-gate run, then perf-gate accept --all",
        )
    kept = tuple(p for p in stored.cases if p.case not in cases)
    taken = tuple(p for p in head.cases if p.case in cases)
    return SideRun(
        side=head.side,
        cases=kept + taken,
        samples=tuple(s for s in stored.samples if s.case not in cases)
        + tuple(s for s in head.samples if s.case in cases),
        evidence=tuple(e for e in stored.evidence if e.case not in cases)
        + tuple(e for e in head.evidence if e.case in cases),
        worse=tuple(a for a in stored.worse if a.case not in cases)
        + tuple(a for a in head.worse if a.case in cases),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTime:
    """One case of one run. values: seconds, one for each pair. definition: how it was measured."""

    case: Case
    definition: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Head's times in one run on the default branch. commit: measured; dataset: the digest of its rows."""

    commit: str
    dataset: str
    times: tuple[KeptTime, ...]

    def of(self, case: Case) -> KeptTime | None:
        return next((time for time in self.times if time.case == case), None)


Runner = Mapping[str, str | int]  # what must match for times of two runs to be comparable


def runner_of(environment: Environment, key: DataKey) -> Runner:
    """The kind of machine of a run: DESIGN.md section 3, "runner key". Majors only of the services."""
    major = re.search(r"[0-9]+", environment.redis)  # "valkey 9.1.2" too
    return {
        "os": environment.os,
        "arch": environment.arch,
        "cpu": environment.cpu,
        "cores": environment.cores,
        "provider": environment.provider,
        "postgres": key.postgres,
        "redis": int(major[0]) if major else 0,
        "python": key.python,
    }


def times_path(directory: str, runner: Runner, suite: str) -> str:
    """Where the times of a suite on this kind of machine are kept: a slug and 8 hex digits, and the suite.

    The values may be a stranger's: nothing but lower-case letters, digits and dashes is taken of them.
    """
    words = f"{runner['os']} {runner['arch']} {runner['cpu']} {runner['cores']} cores"
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:80].strip("-")
    digest = hashlib.sha256(json.dumps(dict(runner), sort_keys=True).encode()).hexdigest()[:8]
    return f"{directory}/timing/{slug}-{digest}/{suite}.json"


def kept_of(side: SideRun, suite: str, statistic: Callable[[Case], Statistic]) -> Kept | None:
    """What is kept of head's times in a suite; None where it has none. statistic: of a case's rounds."""
    from gate.stats import pair_values

    key = side.side.data_key
    found = []
    for planned in side.cases:
        samples = (side.sample(planned.case, metric) for metric in GATED)
        sample = next((each for each in samples if each is not None), None)
        values = pair_values(sample, statistic(planned.case)) if planned.case.suite == suite else {}
        if values:
            rounded = tuple(float(f"{values[pair]:.{_DIGITS}g}") for pair in sorted(values))
            found.append(KeptTime(case=planned.case, definition=planned.definition, values=rounded))
    if key is None or not found:
        return None
    return Kept(commit=side.side.ref, dataset=key.dataset, times=tuple(found))


def with_run(runs: Iterable[Kept], run: Kept, *, keep: int) -> tuple[Kept, ...]:
    """The last `keep` runs, oldest first; one of the same commit is replaced."""
    return (*(each for each in runs if each.commit != run.commit), run)[-keep:]


def times_to_text(runs: Iterable[Kept], suite: str, runner: Runner, *, keep: int) -> str:
    """The file of one suite on one kind of machine, the oldest run first."""
    document = {
        "schema": TIMES_SCHEMA,
        "regenerate": f"{REGENERATE} --times on",
        "suite": suite,
        "runner": dict(runner),
        "keep": keep,
        "runs": [
            {
                "commit": run.commit,
                "dataset": run.dataset,
                "cases": {
                    str(time.case): {"definition": time.definition, "seconds": list(time.values)}
                    for time in run.times
                },
            }
            for run in runs
        ],
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def times_from_text(text: str, *, name: str) -> tuple[Kept, ...]:
    """The kept runs of a file, oldest first. Raises BaselineError where it cannot be read."""
    try:
        document = json.loads(text)
        if document["schema"] != TIMES_SCHEMA:
            raise ValueError(f"of another version, {document['schema']!r}")
        return tuple(_kept(run) for run in document["runs"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BaselineError(
            f"these times cannot be read: {type(error).__name__}: {error}",
            where=name,
            hint="remove the file; times are shown only, and kept anew with every run on the default branch",
        ) from None


def _kept(run: dict[str, Any]) -> Kept:
    times = []
    for identity, held in run["cases"].items():
        values = tuple(float(value) for value in held["seconds"])
        if not values or not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"{identity}: times must be above 0, not {values}")
        case = Case.parse(identity)
        times.append(KeptTime(case=case, definition=str(held["definition"]), values=values))
    return Kept(commit=str(run["commit"]), dataset=str(run["dataset"]), times=tuple(times))
