"""The settings that every server of ours gets, whoever starts it, and what a user may change.

Pinned so that counts repeat exactly on every machine and that nothing runs beside the request that is
being measured. The reasons stand beside the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gate.config import Scalar
from gate.errors import ConfigError

SUPERUSER = "postgres"
PRELOADED = "pg_stat_statements"
EXPLAINER = "auto_explain"  # silent until the plan pass switches it on; a server does without where it must

_POSTGRES: Mapping[str, str] = MappingProxyType(
    {
        # Nothing in the background: autovacuum, the writer and timed checkpoints touch pages by the clock.
        "autovacuum": "off",
        "bgwriter_lru_maxpages": "0",
        "checkpoint_timeout": "1d",
        "max_wal_size": "2GB",
        # Plans that depend on data and statistics alone, not on cores, timing or who scanned before.
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        "max_parallel_maintenance_workers": "0",
        "synchronize_seqscans": "off",
        "random_page_cost": "1.1",
        "effective_cache_size": "4GB",
        # initdb guesses these from the machine.
        "shared_buffers": "1GB",
        "max_connections": "200",
        "huge_pages": "off",
        "maintenance_work_mem": "512MB",
        # The data is thrown away after the run: nothing needs to survive a crash, and WAL must not hold
        # full page images, which depend on when the last checkpoint was.
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        # In the data directory: a server that is killed leaves nothing outside of our own directory.
        "dynamic_shared_memory_type": "mmap",
        # A crash would silently reset the counters; better that every later request fails.
        "restart_after_crash": "off",
        # Counters. track=all keeps statements inside functions apart (toplevel = false), so a report can
        # name them; a server that saved counters would bring them back with a restored data directory.
        "compute_query_id": "on",
        "pg_stat_statements.track": "all",
        "pg_stat_statements.track_utility": "on",
        "pg_stat_statements.max": "10000",
        "pg_stat_statements.save": "off",
        "track_io_timing": "off",
        # The same answers everywhere; initdb takes these from the environment.
        "timezone": "UTC",
        "log_timezone": "UTC",
        "datestyle": "ISO, MDY",
        "lc_messages": "C",
        "default_text_search_config": "pg_catalog.english",
        # The log is read by us, for errors and, in the plan pass, for plans.
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_checkpoints": "off",
        "log_statement": "none",
    }
)

_POSTGRES_OURS = frozenset(
    {
        "listen_addresses",
        "port",
        "unix_socket_directories",
        "data_directory",
        "config_file",
        "hba_file",
        "ident_file",
        "external_pid_file",
        "logging_collector",
        "log_destination",
        "log_line_prefix",
        "log_min_messages",
        "ssl",
        "compute_query_id",
        "restart_after_crash",
        "pg_stat_statements.track",
        "pg_stat_statements.track_utility",
        "pg_stat_statements.save",
    }
)

_POSTGRES_OURS_BEGIN = f"{EXPLAINER}."  # on the command line they would outrank the plan pass's

_REDIS: Mapping[str, str] = MappingProxyType({"save": '""', "appendonly": "no"})

_REDIS_OURS = frozenset(
    {
        "bind",
        "port",
        "protected-mode",
        "requirepass",
        "dir",
        "daemonize",
        "supervised",
        "pidfile",
        "logfile",
        "include",
        "set-proc-title",
    }
)


def initdb_options(major: int) -> tuple[str, ...]:
    """How every data directory is made: byte order of text, UTF-8, and no checksums.

    Checksums make hint bits WAL-logged, so that reads write; they are on by default from 18, and the
    option to leave them out came with it.
    """
    options = ("--locale=C", "-E", "UTF8")
    return (*options, "--no-data-checksums") if major >= 18 else options


def postgres_settings(major: int, user: Mapping[str, Scalar]) -> dict[str, str]:
    """The pinned settings with the user's on top. Raises ConfigError for one that the gate must keep."""
    _refuse(user, _POSTGRES_OURS, "services.postgres.settings")
    settings = dict(_POSTGRES)
    if major >= 18:
        settings["io_method"] = "sync"  # reads belong to the backend that asked for them
    settings.update({name.lower(): _text(value) for name, value in user.items()})
    libraries = settings.get("shared_preload_libraries", "")
    settings["shared_preload_libraries"] = _preload(libraries)
    return settings


def without_explainer(settings: Mapping[str, str]) -> dict[str, str]:
    """The same settings for a server that lacks the library of the plan pass."""
    loaded = settings["shared_preload_libraries"].split(",")
    return dict(settings) | {"shared_preload_libraries": ",".join(n for n in loaded if n != EXPLAINER)}


def redis_settings(user: Mapping[str, Scalar]) -> dict[str, str]:
    """Lines of a Redis configuration: name -> value as written there. ConfigError as above."""
    _refuse(user, _REDIS_OURS, "services.redis.settings")
    settings = dict(_REDIS)
    settings.update({name.lower(): _redis_text(value) for name, value in user.items()})
    return settings


def _preload(libraries: str) -> str:
    named = [name.strip() for name in libraries.split(",") if name.strip()]
    ours = (PRELOADED, EXPLAINER)
    return ",".join([*ours, *(name for name in named if name not in ours)])


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _redis_text(value: Scalar) -> str:
    """As written after a directive's name; several arguments stay several ("60 1")."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or '""'


def _refuse(user: Mapping[str, Scalar], ours: frozenset[str], table: str) -> None:
    problems = tuple(
        f"{table}.{name}: {reason}" for name, value in user.items() if (reason := _fault(name, value, ours))
    )
    if problems:
        raise ConfigError("settings of the services cannot be used", where=table, problems=problems)


def _fault(name: str, value: Scalar, ours: frozenset[str]) -> str:
    if name.lower() in ours or name.lower().startswith(_POSTGRES_OURS_BEGIN):
        return "is the gate's own and cannot be set"
    if not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
        return "is not the name of a setting"
    if isinstance(value, str) and not value.isprintable():
        return "may not hold line breaks or control characters"
    return ""
