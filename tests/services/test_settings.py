from __future__ import annotations

import pytest

from gate.errors import ConfigError
from gate.services.settings import initdb_options, postgres_settings, redis_settings, without_explainer


def test_checksums_are_left_out_only_where_they_exist():
    """--no-data-checksums came with 18; older initdb would refuse it."""
    assert "--no-data-checksums" in initdb_options(18)
    assert "--no-data-checksums" not in initdb_options(17)


def test_io_method_is_pinned_only_where_it_exists():
    """io_method came with 18; older servers would refuse to start."""
    assert postgres_settings(18, {})["io_method"] == "sync"
    assert "io_method" not in postgres_settings(17, {})


def test_the_users_settings_win_over_the_pinned_ones():
    """A user may change whatever is not needed for counting."""
    settings = postgres_settings(18, {"jit": True, "work_mem": "64MB", "Random_Page_Cost": 4})
    assert (settings["jit"], settings["work_mem"], settings["random_page_cost"]) == ("on", "64MB", "4")


def test_the_users_libraries_are_loaded_after_ours():
    """shared_preload_libraries is extended, never replaced, and no library is named twice."""
    given = {"shared_preload_libraries": "auto_explain, other, pg_stat_statements"}
    settings = postgres_settings(18, given)
    assert settings["shared_preload_libraries"] == "pg_stat_statements,auto_explain,other"


def test_a_server_can_do_without_plans():
    """Nothing but the library of the plan pass is left out."""
    settings = postgres_settings(18, {"shared_preload_libraries": "other"})
    without = without_explainer(settings)
    assert without == settings | {"shared_preload_libraries": "pg_stat_statements,other"}


@pytest.mark.parametrize("name", ["auto_explain.log_min_duration", "Auto_Explain.x", "log_line_prefix"])
def test_what_the_plan_pass_sets_cannot_be_set(name):
    """On the command line it would outrank ALTER SYSTEM."""
    with pytest.raises(ConfigError, match="settings of the services"):
        postgres_settings(18, {name: 1})


def test_nothing_of_the_plan_pass_is_on_the_command_line():
    """So that its settings can be changed while the server runs."""
    names = {name.lower() for name in postgres_settings(18, {})}
    assert not [name for name in names if name.startswith("auto_explain.") or name == "log_line_prefix"]


def test_all_settings_that_cannot_be_used_are_named_at_once():
    """What decides identity or counts stays ours, and each refusal names its setting."""
    with pytest.raises(ConfigError) as caught:
        postgres_settings(18, {"port": 5432, "work_mem": "4MB", "PG_STAT_STATEMENTS.TRACK": "top"})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "services.postgres.settings.port",
        "services.postgres.settings.PG_STAT_STATEMENTS.TRACK",
    ]


@pytest.mark.parametrize("value", ["allkeys-lru\nrequirepass x", "a\0b"])
def test_a_redis_setting_cannot_smuggle_a_second_line(value):
    """A value stays on the line of its own setting."""
    with pytest.raises(ConfigError):
        redis_settings({"maxmemory-policy": value})


def test_redis_settings_are_written_as_redis_reads_them():
    """Booleans are yes and no; several arguments stay several; an empty value is quoted."""
    settings = redis_settings({"activedefrag": True, "save": "60 1", "notify-keyspace-events": ""})
    assert settings == {
        "save": "60 1",
        "appendonly": "no",
        "activedefrag": "yes",
        "notify-keyspace-events": '""',
    }
