"""The drawing of an interval: what stands where, and on which scale."""

from __future__ import annotations

import dataclasses

import pytest
from example_reports import DASHBOARD, PLAYLIST, SETTINGS, timed
from hypothesis import given
from hypothesis import strategies as st

from gate.model import Comparison, Interval
from gate.report.interval import WIDTH, picture, ruler, scale


def drawn(change: float, half: float, end: float, **more: object) -> str:
    return picture(timed(PLAYLIST, 0.004, change, half, **more), end)


@pytest.mark.parametrize(
    ("change", "half", "expected"),
    [
        (0.123, 0.025, "          0  : =#=   "),
        (0.0, 0.0, "          #  :       "),
        (0.001, 0.05, "        ==#==:       "),
        (-0.08, 0.04, "    ==#== 0  :       "),
        (0.19, 0.05, "          0  :   ==#>"),
        (0.05, 0.02, "          0 =#=      "),
        (0.02, 0.5, "<=========0#=:======>"),
        (0.80, 0.05, "          0  :     >>"),
        (0.80, 0.70, "          0  : ====>>"),
        (-0.50, 0.05, "<<        0  :       "),
    ],
)
def test_picture(change: float, half: float, expected: str) -> None:
    """Marks show through the interval, the estimate lies above all, arrows stand where the scale ends."""
    assert drawn(change, half, 0.2) == expected


def test_ruler_names_the_ends_and_the_middle() -> None:
    """Zero stands in the heading above the zeros of the rows."""
    heading = ruler(0.2)
    assert heading == "-20 %     0     +20 %"
    assert heading.index("0 ", 4) == drawn(0.1, 0.01, 0.2).index("0")


def test_what_is_allowed_is_never_drawn_on_zero() -> None:
    """However small a share of the scale it is."""
    assert drawn(0.4, 0.01, 0.5, allowed=0.005)[10:12] == "0:"


def test_without_an_interval_the_estimate_stands_alone() -> None:
    """One pair has an estimate and no bounds."""
    row = dataclasses.replace(timed(PLAYLIST, 0.004, 0.1, 0.0), interval=None)
    assert picture(row, 0.2) == "          0  : #     "


def test_nothing_known_is_nothing_drawn() -> None:
    """A case without times has no picture."""
    assert picture(dataclasses.replace(timed(PLAYLIST, 0.004, 0.1, 0.0), ratio=None), 0.2) == ""


@pytest.mark.parametrize(
    ("rows", "end"),
    [
        ([], 0.1),
        ([(0.01, 0.01)], 0.1),
        ([(0.01, 0.01), (0.123, 0.025)], 0.15),
        ([(-0.123, 0.04)], 0.2),
        ([(0.01, 0.01), (0.9, 0.1)], 0.1),
        ([(0.01, 0.28)], 0.3),
    ],
)
def test_scale_holds_every_bound_but_the_wildest(rows: list[tuple[float, float]], end: float) -> None:
    """At least twice what is allowed; what lies beyond six times that does not squeeze the other rows."""
    assert scale([timed(PLAYLIST, 0.004, change, half) for change, half in rows]) == end


def test_one_scale_for_rows_with_different_rules() -> None:
    """The widest rule decides, so that each row's mark has its place."""
    strict = timed(SETTINGS, 0.004, 0.0, 0.001, allowed=0.02)
    assert scale([strict]) == 0.05
    assert scale([strict, timed(DASHBOARD, 0.004, 0.0, 0.001)]) == 0.1


ratios = st.floats(allow_nan=True, allow_infinity=True)


@given(ratios, ratios, ratios, st.one_of(st.none(), ratios))
def test_every_picture_is_as_wide(ratio: float, low: float, high: float, allowed: float | None) -> None:
    """Whatever a saved report holds: it may be anybody's."""
    row: Comparison = dataclasses.replace(
        timed(PLAYLIST, 0.004, 0.1, 0.01),
        ratio=ratio,
        interval=Interval(low=low, high=high, confidence=0.9),
        allowed=allowed,
    )
    made = picture(row, scale([row]))
    assert len(made) in (0, WIDTH)
    assert set(made) <= set(" 0=#:<>")
