from __future__ import annotations

import pytest

from gate.errors import ConfigError
from gate.services.settings import initdb_options, postgres_settings, redis_settings


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
    """shared_preload_libraries is extended, never replaced."""
    given = {"shared_preload_libraries": "auto_explain, pg_stat_statements"}
    assert postgres_settings(18, given)["shared_preload_libraries"] == "pg_stat_statements,auto_explain"


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
