"""`perf-gate services` as a user meets it: a program, real servers, processes that are killed."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis

from gate.services import watchdog
from gate.services.place import identity

CONFIGURATION = """\
[services.postgres]
version = 18

[target]
start = ["true"]

[[suites.endpoints.request]]
name = "home"
path = "/"
"""
pytestmark = pytest.mark.services


@dataclass(frozen=True)
class Machine:
    """A project directory and a cache of its own."""

    project: Path
    cache: Path

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PERF_GATE_")}
        return subprocess.run(
            [sys.executable, "-P", "-m", "gate", "services", *arguments],
            cwd=self.project,
            env=kept | {"PERF_GATE_CACHE": str(self.cache)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def up(self) -> dict[str, str]:
        done = self("up", "--services", "embedded")
        assert done.returncode == 0, done.stderr
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    @property
    def record(self) -> dict[str, object]:
        (path,) = (self.cache / "state").glob("services-*.json")
        assert path.stat().st_mode & 0o777 == 0o600
        return json.loads(path.read_text())

    @property
    def keeper(self) -> int:
        return int(self.record["owner"]["pid"])  # type: ignore[index]

    @property
    def directory(self) -> Path:
        """Where the data of the one run that has a record lies."""
        (path,) = (self.cache / "state").glob("perf-gate-*.json")
        return Path(json.loads(path.read_text())["directory"])


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "project", tmp_path / "cache")
    machine.project.mkdir()
    (machine.project / "perf-gate.toml").write_text(CONFIGURATION)
    yield machine
    machine("down")
    machine("clean")


def eventually(true: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return done


def watchdog_of(directory: Path) -> int:
    """The process that watches a run's directory."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                line = Path("/proc", name, "cmdline").read_text()
            except OSError:
                continue
            if watchdog.__file__ in line and str(directory) in line:
                return int(name)
    pytest.fail("nobody watches")


def test_up_prints_urls_that_work_and_down_ends_the_servers(machine: Machine) -> None:
    """The servers outlive the command; after `down` neither they, their data nor a record is there."""
    urls = machine.up()
    with psycopg.connect(urls["PERF_GATE_POSTGRES_URL"]) as connection:
        (version,) = connection.execute("SHOW server_version_num").fetchone() or ("",)
    assert version.startswith("18")
    servers = urls["PERF_GATE_REDIS_URLS"].split(",")
    assert len(servers) == 2
    for url in servers:
        with redis.Redis.from_url(url) as client:
            assert client.dbsize() == 0
    directory = machine.directory
    assert len(watchdog.servers_of(str(directory))) == 3
    assert machine("down").returncode == 0
    assert watchdog.servers_of(str(directory)) == []
    assert not directory.exists()
    assert list((machine.cache / "state").glob("*.json")) == []


def test_up_twice_says_that_they_run_and_gives_the_same_urls(machine: Machine) -> None:
    """One keeper for a configuration; stdout is the same, so that scripts need not ask first."""
    first, keeper = machine.up(), machine.keeper
    again = machine("up", "--services", "embedded")
    assert again.returncode == 0
    assert "already running" in again.stderr
    assert dict(line.split("=", 1) for line in again.stdout.splitlines()) == first
    assert machine.keeper == keeper


def test_status_says_what_runs_without_its_password(machine: Machine) -> None:
    """Provider, version, ports, since when and by whom; nothing is left over."""
    urls = machine.up()
    said = machine("status")
    assert said.returncode == 0
    (line,) = said.stdout.splitlines()
    port = re.search(r":(\d+)/postgres", urls["PERF_GATE_POSTGRES_URL"])
    assert port is not None
    for part in ("embedded", "Postgres 18.", f"port {port[1]}", "since 2", f"keeper, pid {machine.keeper}"):
        assert part in line
    assert str(machine.project) in line
    password = urls["PERF_GATE_POSTGRES_URL"].split(":")[2].partition("@")[0]
    assert password not in said.stdout + said.stderr


def test_a_project_of_its_own_has_services_of_its_own(machine: Machine, tmp_path: Path) -> None:
    """`down` of one leaves those of the other, in the same cache."""
    machine.up()
    other = Machine(tmp_path / "other", machine.cache)
    other.project.mkdir()
    (other.project / "perf-gate.toml").write_text(CONFIGURATION)
    other.up()
    assert len(machine("status").stdout.splitlines()) == 2
    assert other("down").returncode == 0
    (line,) = machine("status").stdout.splitlines()
    assert f"{machine.project}/" in line


def test_down_where_nothing_runs_says_so(machine: Machine) -> None:
    """Exit 0: what was asked for is so."""
    done = machine("down")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing to stop" in done.stderr
    assert machine("status").stdout == "no services run, and nothing is left over\n"


def test_services_that_cannot_start_fail_with_the_reason(machine: Machine) -> None:
    """Exit 3 of the keeper is that of `up`, and nothing stays."""
    (machine.project / "perf-gate.toml").write_text(CONFIGURATION.replace("18", "17"))
    done = machine("up", "--services", "embedded")
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert "not 17" in done.stderr
    assert machine("status").stdout == "no services run, and nothing is left over\n"


def test_a_wrong_configuration_starts_nothing(machine: Machine) -> None:
    """Exit 2, as everywhere."""
    (machine.project / "perf-gate.toml").write_text(CONFIGURATION.replace("version", "verison"))
    done = machine("up", "--services", "embedded")
    assert done.returncode == 2
    assert "verison" in done.stderr


def test_a_killed_keeper_takes_its_servers_along(machine: Machine) -> None:
    """Its watchdog does that; `clean` removes the record, and `up` starts anew."""
    machine.up()
    directory, keeper = machine.directory, machine.keeper
    os.kill(keeper, signal.SIGKILL)
    assert eventually(lambda: not directory.exists() and not watchdog.servers_of(str(directory)))
    assert "the record of services that were kept" in machine("status").stdout
    done = machine("clean")
    assert done.returncode == 0
    assert "removed the record" in done.stdout
    assert machine("clean").stdout == "nothing is left over\n"
    machine.up()
    assert machine.keeper != keeper


def test_clean_removes_what_keeper_and_watchdog_left(machine: Machine) -> None:
    """Both killed: the servers run on, `status` names them and `clean` ends them and removes their data."""
    machine.up()
    directory = machine.directory
    for process in (watchdog_of(directory), machine.keeper):
        os.kill(process, signal.SIGKILL)
    assert len(watchdog.servers_of(str(directory))) == 3
    assert f"left over: services of a run that was killed, in {directory}" in machine("status").stdout
    done = machine("clean")
    assert done.returncode == 0, done.stderr
    assert str(directory) in done.stdout
    assert watchdog.servers_of(str(directory)) == []
    assert not directory.exists()
    assert machine("status").stdout == "no services run, and nothing is left over\n"


def test_clean_leaves_what_lives(machine: Machine) -> None:
    """Beside a keeper, a locked scratch directory and an install going on, nothing is left over."""
    urls = machine.up()
    scratch = machine.cache / "scratch" / "0123abcd"
    scratch.mkdir(parents=True)
    partial = machine.cache / "environments" / "cafe.partial"
    partial.mkdir(parents=True)
    with (scratch / "lock").open("w") as running, (partial.with_name("cafe.lock")).open("w") as installing:
        fcntl.flock(running, fcntl.LOCK_EX)
        fcntl.flock(installing, fcntl.LOCK_EX)
        assert machine("clean").stdout == "nothing is left over\n"
    assert scratch.is_dir()
    assert partial.is_dir()
    psycopg.connect(urls["PERF_GATE_POSTGRES_URL"]).close()


def test_clean_removes_half_made_things_of_every_room(machine: Machine) -> None:
    """Scratch directories, copies of data, dependencies, records: each is named, each is gone."""
    scratch = machine.cache / "scratch" / "0123abcd"
    scratch.mkdir(parents=True)
    (scratch / "lock").touch()
    saved = machine.cache / "datasets"
    made = [
        scratch,
        saved / ".abc.1.new",
        saved / ".removed-abc-1",
        machine.cache / "environments/cafe.partial",
    ]
    for path in made[1:]:
        path.mkdir(parents=True)
    whole = saved / "0123456789abcdef"
    whole.mkdir()
    done = machine("clean")
    assert done.returncode == 0, done.stderr
    for path in made:
        assert str(path) in done.stdout
        assert not path.exists()
    assert whole.is_dir()


def test_a_record_of_a_process_number_used_again_stops_nobody(machine: Machine) -> None:
    """The number alone proves nothing: the start time must match too."""
    machine.up()
    (path,) = (machine.cache / "state").glob("services-*.json")
    told = json.loads(path.read_text())
    keeper = told["owner"]["pid"]
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        owner = identity(bystander.pid)
        path.write_text(json.dumps(told | {"owner": owner | {"start": owner["start"] - 1}}))
        machine("down")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        path.write_text(json.dumps(told))
    assert machine.keeper == keeper
