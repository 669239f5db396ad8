from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from gate import db, services
from gate.config import Services
from gate.errors import EnvironmentFailure
from gate.probes.cpu import CpuClock
from gate.services import containers, watchdog
from gate.services.running import Unavailable

REGISTRY = "perf-gate-stand-in"
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module", autouse=True)
def client():
    """The daemon, with the stand-in images; their defaults are the official ones, which mislead."""
    with contextlib.ExitStack() as stack:
        try:
            client, _ = stack.enter_context(containers.daemon())
        except Unavailable as error:
            pytest.skip(error.message)
        for image in ("postgres:18", "redis:7"):
            try:
                client.images.get(f"{REGISTRY}/{image}")
            except ImageNotFound:
                pytest.skip("no stand-in images: python tools/stand_in_images.py")
        yield client


def configured(postgres=None, redis=None, version=18, **more) -> Services:
    return Services.model_validate(
        {
            "postgres": {"version": version, "settings": postgres or {}},
            "redis": {"settings": redis or {}},
            "docker": {"registry": REGISTRY, **more},
        }
    )


def started(state, config=None, provider="docker", notify=lambda _: None, **more):
    return services.start(config or configured(), provider=provider, state=state, notify=notify, **more)


@pytest.fixture(scope="module")
def running(tmp_path_factory, client):
    with started(tmp_path_factory.mktemp("state")) as running:
        yield running


def ask(server, query, database="postgres"):
    with db.connect(server, database) as connection:
        return connection.execute(query).fetchall()


def ours(client, directory: str):
    return client.containers.list(
        all=True, filters={"label": f"{watchdog.LABEL}={Path(directory).name}"}, ignore_removed=True
    )


def nothing_left(client, directory: str, state: Path) -> None:
    assert ours(client, directory) == []
    assert watchdog.servers_of(directory) == []
    assert not Path(directory).exists()
    assert list(state.glob("*.json")) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data_checksums", "off"),
        ("lc_messages", "C"),
        ("TimeZone", "UTC"),
        ("autovacuum", "off"),
        ("io_method", "sync"),
        ("listen_addresses", "127.0.0.1"),
    ],
)
def test_the_images_defaults_are_not_taken(running, name, value):
    """The image would have checksums, another language and every address."""
    assert ask(running.postgres, f'SHOW "{name}"') == [(value,)]


def test_text_sorts_by_bytes(running):
    """The image's language is en_US."""
    query = "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template1'"
    assert ask(running.postgres, query) == [("C", "UTF8")]


def test_servers_are_known_by_their_directory_and_password(running):
    """Identity is checked as with every provider."""
    server = running.postgres
    assert (server.provider, server.major, server.pid) == ("docker", 18, 1)
    assert Path(server.data_directory).is_dir()
    redis = running.redis("identity")
    with db.redis_client(redis) as client:
        assert client.dbsize() == 0


def test_containers_are_shut_off_as_far_as_they_can_be(running, client):
    """No rights, no password in what can be inspected, and labels that say whose they are."""
    redis = running.redis("inspected")
    for container in ours(client, running.data_place):
        settings = container.attrs["HostConfig"]
        assert settings["CapDrop"] == ["ALL"]
        assert settings["SecurityOpt"] == ["no-new-privileges"]
        assert json.loads(container.labels[containers.OWNER])["pid"] == os.getpid()
        assert redis.password not in json.dumps(container.attrs)
        assert running.postgres.password not in json.dumps(container.attrs)


def test_processes_are_numbered_as_this_machine_does(running):
    """Inside of its container each server is number 1."""
    server = running.postgres
    redis = running.redis("numbered")
    before = running.pids("postgres")
    with db.connect(server, "postgres") as connection:
        ((inside,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
        (backend,) = set(running.pids("postgres")) - set(before)
    numbers = Path(f"/proc/{before[0]}/status").read_text()
    assert "NSpid:" not in numbers or f"NSpid:\t{before[0]}\t{server.pid}\n" in numbers
    assert backend != inside
    assert Path(f"/proc/{before[0]}/comm").read_text() == "postgres\n"
    (pid,) = running.pids("numbered")
    with db.redis_client(redis) as client:
        assert client.info("server")["process_id"] == 1
    assert str(redis.port) in Path(f"/proc/{pid}/cmdline").read_text()


def test_the_clock_of_a_containers_processes_is_read(running):
    """By the number they have here."""
    clock = CpuClock()
    with db.connect(running.postgres, "postgres") as connection:
        before = clock.seconds(running.pids("postgres"))
        connection.execute("SELECT count(*) FROM generate_series(1, 2000000)")
        during = clock.seconds(running.pids("postgres"))
    after = clock.seconds(running.pids("postgres"))
    assert before + 0.05 < during <= after


def test_a_number_that_is_not_of_the_container_is_not_believed(running, monkeypatch):
    """A daemon in another namespace counts otherwise, and its numbers are other programs' here."""
    monkeypatch.setattr(
        containers.Container,
        "_state",
        lambda self: {"Pid": os.getpid(), "Running": True, "Status": "running"},
    )
    running.redis("elsewhere")
    assert running.pids("elsewhere") == ()


def work(running):
    """Counts of a fixed piece of work, as a probe would read them."""
    import psycopg

    server = running.postgres
    with db.connect(server, "postgres") as connection:
        connection.execute("CREATE DATABASE work")
        with db.connect(server, "work") as own:
            own.execute(
                "CREATE TABLE t AS SELECT x, repeat('y', x % 90) AS y FROM generate_series(1, 20000) x"
            )
            own.execute("CREATE INDEX ON t (y)")
            own.execute("VACUUM (FREEZE, ANALYZE) t")
        with psycopg.connect(server.url("work"), autocommit=True) as application:
            application.execute("SELECT count(*) FROM t WHERE y > 'y' AND x % 7 = 0")
            application.execute("SELECT * FROM t ORDER BY y, x OFFSET 10 LIMIT 5")
            application.execute("UPDATE t SET y = 'z' WHERE x < 50")
        rows = db.statement_counts(connection, "work")
    return sorted((r.text, r.calls, r.rows, r.blocks, r.temp_blocks, r.wal_records) for r in rows)


def test_docker_and_embedded_count_the_same(tmp_path):
    """The same version, initialised and set the same way, does the same work."""
    with started(tmp_path) as running:
        by_docker = work(running)
    with started(tmp_path, provider="embedded") as running:
        by_embedded = work(running)
    assert len(by_docker) == 3
    assert by_docker == by_embedded


def test_saved_data_comes_back_also_by_another_provider(tmp_path):
    """Saved by docker, restored by docker and by embedded."""
    saved = tmp_path / "cache" / "key"
    with started(tmp_path / "state") as running:
        with db.connect(running.postgres, "postgres") as connection:
            connection.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS x")
        running.save_data(saved)
        assert ask(running.postgres, "SELECT count(*) FROM t") == [(1000,)]
    for provider in ("docker", "embedded"):
        with started(tmp_path / "state", provider=provider) as running:
            running.restore_data(saved)
            assert ask(running.postgres, "SELECT count(*) FROM t") == [(1000,)]


def test_a_redis_server_asked_for_again_is_fresh(running, client):
    """The earlier container is gone."""
    with db.redis_client(running.redis("again")) as first:
        first.set("key", "value")
    before = len(ours(client, running.data_place))
    with db.redis_client(running.redis("again")) as second:
        assert second.dbsize() == 0
    assert len(ours(client, running.data_place)) == before


def test_both_sides_start_their_redis_servers_at_once(running):
    """Each in a thread of its own, and again when the next pair begins."""
    for _ in range(3):
        with ThreadPoolExecutor() as pool:
            base, head = pool.map(running.redis, ("base", "head"))
        with db.redis_client(base) as one, db.redis_client(head) as other:
            one.set("key", "value")
            assert other.dbsize() == 0


def test_servers_keep_to_their_cores(tmp_path, client):
    """services.docker.cpuset."""
    with started(tmp_path, configured(cpuset="0")) as running:
        (pid,) = watchdog.servers_of(running.data_place)
        status = Path(f"/proc/{pid}/status").read_text()
    assert "Cpus_allowed_list:\t0\n" in status


def test_nothing_is_left_after_an_orderly_end(tmp_path, client):
    """No container, no volume, no directory, no record."""
    volumes = {volume.name for volume in client.volumes.list()}
    with started(tmp_path) as running:
        running.redis("head")
        directory = running.data_place
    nothing_left(client, directory, tmp_path)
    assert {volume.name for volume in client.volumes.list()} <= volumes


CHILD = """
import sys
sys.path[:0] = sys.argv[2].split(":")
from pathlib import Path
from gate import services
from gate.config import Services
config = Services.model_validate({"postgres": {"version": 18}, "docker": {"registry": sys.argv[3]}})
with services.start(config, provider="docker", state=Path(sys.argv[1]), notify=lambda _: None) as running:
    running.redis("head")
    print(running.data_place, flush=True)
    input()
"""


@pytest.fixture
def child(tmp_path):
    """Another process with services in containers, the directory of its run, and its state directory."""
    state = tmp_path / "state"
    path = ":".join([str(ROOT), *(entry for entry in sys.path if entry.endswith("site-packages"))])
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(state), path, REGISTRY],
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


def watchdog_of(directory: str) -> int:
    lines = subprocess.run(["ps", "-wweo", "pid,args"], capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in lines.splitlines() if watchdog.__file__ in line and directory in line]
    return int(line.split()[0])


def gone(pid: int) -> None:
    import select

    descriptor = os.pidfd_open(pid)
    try:
        assert select.select([descriptor], [], [], 20)[0]
    finally:
        os.close(descriptor)


def test_the_watchdog_removes_everything_after_sigkill(child, client):
    """It speaks to the daemon itself."""
    process, directory, state = child
    pid = watchdog_of(directory)
    process.kill()
    gone(pid)
    nothing_left(client, directory, state)


@pytest.mark.parametrize("record", ["kept", "lost"])
def test_the_next_run_removes_what_a_killed_watchdog_could_not(child, client, tmp_path, record):
    """By the record, and where that is lost the containers by their labels."""
    process, directory, state = child
    pid = watchdog_of(directory)
    os.kill(pid, signal.SIGKILL)
    gone(pid)
    process.kill()
    process.wait()
    assert len(ours(client, directory)) == 3
    said: list[str] = []
    with started(state if record == "kept" else tmp_path / "other", notify=said.append):
        assert ours(client, directory) == []
        assert watchdog.servers_of(directory) == []
    assert any("killed" in text for text in said)
    if record == "lost":
        watchdog.sweep(directory, str(next(state.glob("*.json"))))
    nothing_left(client, directory, state)


def test_two_runs_at_once_do_not_disturb_each_other(child, client, running):
    """Neither takes the other for a leftover."""
    process, directory, state = child
    assert len(ours(client, directory)) == 3
    with started(state) as third:
        assert ask(third.postgres, "SELECT 1") == ask(running.postgres, "SELECT 1") == [(1,)]
    assert len(ours(client, directory)) == 3
    process.communicate("\n")
    nothing_left(client, directory, state)


def test_two_configurations_live_side_by_side(tmp_path, client):
    """Settings and containers are each one's own; the first ends while the second goes on."""
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
                with db.redis_client(side.redis("head")) as redis:
                    assert redis.config_get("maxmemory") == {"maxmemory": str(limit * 1024**2)}
            assert set(first.pids("postgres")).isdisjoint(second.pids("postgres"))
        assert ours(client, first.data_place) == []
        assert ask(second.postgres, "SELECT 1") == [(1,)]
    nothing_left(client, first.data_place, tmp_path)
    nothing_left(client, second.data_place, tmp_path)


def test_an_exception_beside_two_configurations_leaves_nothing_of_either(tmp_path, client):
    """Also where it is the second one's own failure to start."""
    with contextlib.suppress(KeyboardInterrupt), started(tmp_path) as first, started(tmp_path) as second:
        raise KeyboardInterrupt
    nothing_left(client, first.data_place, tmp_path)
    nothing_left(client, second.data_place, tmp_path)
    with pytest.raises(EnvironmentFailure, match="ended while starting"), started(tmp_path) as first:
        started(tmp_path, configured({"wrk_mem": "1MB"}), beside=first).__enter__()
    nothing_left(client, first.data_place, tmp_path)


def test_a_setting_that_postgres_refuses_is_said_in_its_words(tmp_path, client):
    """From the container's log."""
    with pytest.raises(EnvironmentFailure, match="ended while starting") as caught:
        started(tmp_path, configured({"wrk_mem": "1MB"})).__enter__()
    assert any('unrecognized configuration parameter "wrk_mem"' in line for line in caught.value.tail)
    assert list(tmp_path.glob("*.json")) == []


def test_an_image_that_does_not_exist_is_named(tmp_path):
    """Another provider may then be tried."""
    with pytest.raises(Unavailable, match="cannot be pulled") as caught:
        started(tmp_path, configured(registry="127.0.0.1:1")).__enter__()
    assert caught.value.where == "127.0.0.1:1/postgres:18"


def test_postgres_killed_behind_our_back_is_said(tmp_path, client):
    """Its container is gone when it is to be stopped."""
    with started(tmp_path) as running:
        for container in ours(client, running.data_place):
            container.remove(force=True, v=True)
        with pytest.raises(EnvironmentFailure, match="did not stop cleanly"):
            running.save_data(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
