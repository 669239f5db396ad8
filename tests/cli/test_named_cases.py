"""Which cases a name on the command line means."""

from __future__ import annotations

import pytest

from gate.cli.accept import undecided
from gate.cli.baselines import named_cases
from gate.errors import ConfigError
from gate.model import Case, Comparison, Kind, Outcome, PlannedCase, SideInfo, SideRun

CASES = [
    Case(suite="endpoints", name="playlist", parameters="per_page=10"),
    Case(suite="endpoints", name="playlist", parameters="per_page=40"),
    Case(suite="endpoints", name="playlist-themes"),
]
HEAD = SideRun(
    side=SideInfo(name="head", ref="h"),
    cases=tuple(PlannedCase(case=case, label=case.name, definition="d") for case in CASES),
    samples=(),
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("endpoints/playlist[per_page=40]", CASES[1:2]),
        ("endpoints/playlist", CASES[:2]),
        ("endpoints/playlist*", CASES),
        ("endpoints/playlist[per_page=*]", CASES[:2]),
    ],
)
def test_a_name_means_all_its_parameters_and_a_glob_what_it_matches(name: str, meant: list[Case]) -> None:
    assert named_cases((name,), HEAD, None) == frozenset(meant)


def test_an_unknown_name_comes_with_the_nearest_ones() -> None:
    with pytest.raises(ConfigError, match="no such case: endpoints/playlists") as caught:
        named_cases(("endpoints/playlists",), HEAD)
    assert "playlist-themes" in caught.value.hint


def row(case: Case, metric: str, kind: Kind, outcome: Outcome) -> Comparison:
    return Comparison(
        case=case,
        label=case.name,
        metric=metric,
        unit="",
        kind=kind,
        base=1.0,
        head=2.0,
        delta=1.0,
        outcome=outcome,
    )


def test_accepting_a_case_leaves_a_time_open_that_its_run_did_not_decide() -> None:
    """Only where the case got worse: others are none of what is accepted."""
    first, second, third = CASES
    rows = [
        row(first, "sql.calls", Kind.EXACT, Outcome.REGRESSED),
        row(first, "latency", Kind.TIMING, Outcome.INCONCLUSIVE),
        row(second, "sql.calls", Kind.EXACT, Outcome.REGRESSED),
        row(second, "latency", Kind.TIMING, Outcome.EQUIVALENT),
        row(third, "sql.calls", Kind.EXACT, Outcome.EQUIVALENT),
        row(third, "latency", Kind.TIMING, Outcome.INCONCLUSIVE),
    ]
    assert undecided(rows) == {first}
