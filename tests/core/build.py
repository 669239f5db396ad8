"""Small builders for the values that the pure rooms take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gate.model import (
    METRICS,
    Case,
    DataKey,
    Environment,
    Evidence,
    Plan,
    PlannedCase,
    Point,
    Run,
    Sample,
    SideInfo,
    SideName,
    SideRun,
    Statement,
)

KEY = DataKey(dataset="d1", postgres=18, initdb=("--locale=C",), python="3.11", packages=(("flask", "3.1"),))
LIST = Case(suite="endpoints", name="list")
SAVE = Case(suite="endpoints", name="save")


def planned(case: Case, *, writes: bool = False, definition: str = "d") -> PlannedCase:
    return PlannedCase(case=case, label=f"GET /{case.name}", definition=definition, writes=writes)


def sample(case: Case, metric: str, values: Sequence[float], side: SideName = "head") -> Sample:
    points = tuple(Point(pair=i, visit=1, position=1, value=v) for i, v in enumerate(values, 1))
    return Sample(case=case, metric=METRICS[metric], side=side, points=points)


def statement(sql: str, calls: float, *, rows: float = 1, blocks: float = 1) -> Statement:
    return Statement(fingerprint=sql, text=sql, calls=calls, rows=rows, blocks=blocks)


def side(
    name: SideName,
    counts: Mapping[Case, Mapping[str, Sequence[float]]],
    *,
    statements: Mapping[Case, Sequence[Statement]] | None = None,
    stored: bool = False,
    key: DataKey = KEY,
    writers: frozenset[Case] = frozenset({SAVE}),
) -> SideRun:
    return SideRun(
        side=SideInfo(name=name, ref=name, data_key=key, stored=stored),
        cases=tuple(planned(case, writes=case in writers) for case in counts),
        samples=tuple(sample(c, m, v, name) for c, metrics in counts.items() for m, v in metrics.items()),
        evidence=tuple(
            Evidence(case=case, side=name, statements=tuple((statements or {}).get(case, ())))
            for case in counts
        ),
    )


def run(
    head: SideRun, base: SideRun | None = None, *, against: str = "auto", known: Sequence[Case] = ()
) -> Run:
    sides = (head.side,) + ((base.side,) if base else ())
    plan = Plan(
        against=against,
        cases=head.cases,
        known=tuple(known),
        base=tuple(p.case for p in base.cases) if base else (),
    )
    return Run(
        tool="perf-gate test",
        environment=Environment(),
        plan=plan,
        sides=sides,
        samples=head.samples + (base.samples if base else ()),
        evidence=head.evidence + (base.evidence if base else ()),
    )
