"""What a run measures, and where base's numbers can come from."""

from __future__ import annotations

import dataclasses

import pytest
from build import KEY, LIST, SAVE, planned, side

from gate.config import Config
from gate.errors import ConfigError
from gate.model import Case, Plan
from gate.plan import make_plan, settle_base, unusable

CONFIG = Config.model_validate(
    {
        "target": {"start": ["x"]},
        "services": {"postgres": {"version": 18}},
        "suites": {"endpoints": {"request": [{"name": "list", "path": "/"}]}},
    }
)
PAGED = Case(suite="endpoints", name="list", parameters="per_page=10")


def plan(only: str = "*", **given: object) -> Plan:
    cases = (planned(SAVE, writes=True), planned(LIST), planned(PAGED))
    settings = {"known": (LIST, SAVE), "against": "auto", "time_budget": 60.0} | given
    return make_plan(CONFIG, cases, only=only, **settings)  # type: ignore[arg-type]


def test_readers_come_before_writers() -> None:
    """Rows are read before anybody changes them."""
    assert [each.writes for each in plan().cases] == [False, False, True]


def test_a_case_is_chosen_by_the_name_the_report_prints() -> None:
    """Brackets in a name are not a pattern."""
    assert [each.case for each in plan(str(PAGED)).cases] == [PAGED]


def test_cases_left_out_are_not_missing() -> None:
    """What was not asked for is not expected of head either."""
    assert plan("endpoints/save").known == (SAVE,)


def test_a_glob_without_a_match_is_an_error_that_lists_what_there_is() -> None:
    """Exit 2 with the names."""
    with pytest.raises(ConfigError) as caught:
        plan("endpoints/lost")
    assert "endpoints/list" in caught.value.hint


def test_a_mistyped_case_is_told_what_is_near() -> None:
    with pytest.raises(ConfigError, match="no case matches") as error:
        plan("endpoints/lsit*")
    assert error.value.hint.startswith("near it: endpoints/list")


def test_base_is_measured_for_the_known_cases_without_usable_counts() -> None:
    """A new case is never measured on base; a known one without stored counts is."""
    stored = side("base", {LIST: {"sql.calls": [1, 1]}}, stored=True)
    assert settle_base(plan(), stored, KEY).base == (SAVE,)
    assert settle_base(plan(against="stored"), stored, KEY).base == ()


def test_counts_of_another_definition_or_other_data_cannot_be_used() -> None:
    """The reason says which."""
    stored = side("base", {LIST: {"sql.calls": [1, 1]}}, stored=True)
    assert unusable(planned(LIST), stored, KEY) == ""
    assert "measured differently" in unusable(planned(LIST, definition="other"), stored, KEY)
    assert "flask 3.1 -> 3.2" in unusable(
        planned(LIST), stored, dataclasses.replace(KEY, packages=(("flask", "3.2"),))
    )
