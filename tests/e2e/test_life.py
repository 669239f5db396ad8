"""What happens to services, application, disk, clock and home while a run lives: no false verdict."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Ended, Project
from tests.e2e.test_faults import START, left_behind

pytestmark = pytest.mark.e2e
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and changing users need root")

HEALTH = "examples/library/library/api/health.py"
ANSWER = '    return jsonify(status="ok")\n'
CASE = ("--only", "endpoints/health")
ONLY = (*CASE, "--services", "embedded")
# One process answers a request when it is started, 2 to be warm, 3 that are counted and 2 that are timed.
COUNTED, TIMED = 5, 7
BODY = "    redis().ping()\n" + ANSWER
PASSED = 0


def refused(ended: Ended, code: int, *said: str) -> None:
    """The documented exit code and one error of a sentence, without a traceback."""
    assert ended.code == code, ended.err
    errors = [line for line in ended.err.splitlines() if line.startswith("perf-gate: ")]
    assert len(errors) == 1, ended.err
    assert "Traceback" not in ended.err
    assert all(words in ended.err for words in said), ended.err


def gone(project: Project) -> None:
    """Nothing of the project's runs is left: processes, scratch, records of servers."""
    assert not left_behind(project)
    assert not list((project.cache / "state").glob("*.json"))


def answers(project: Project, code: str) -> None:
    """Health answers what `code` says, which may use `asked`, the number of requests so far."""
    project.edit(HEALTH, "from library.cache", "import os\nimport time\n\nfrom library.cache")
    project.edit(HEALTH, "blueprint = ", "seen = []\nblueprint = ")
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    project.edit(HEALTH, BODY, f"    seen.append(1)\n    asked = len(seen)\n{lines}{BODY}")


# Docker and versions


def test_a_daemon_that_is_absent(project: Project) -> None:
    """Docker that was asked for: exit 3 with the address and the kernel's reason."""
    ended, _ = project.run("--services", "docker", *CASE, DOCKER_HOST="unix:///nowhere/docker.sock")
    refused(ended, 3, "no Docker daemon answers", "/nowhere/docker.sock", "hint: start Docker")
    gone(project)


def test_auto_goes_on_without_a_daemon_and_says_why(project: Project) -> None:
    """The next provider is used and the reason printed."""
    ended, report = project.run("--services", "auto", *CASE, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert ended.code == PASSED, ended.err
    assert "services by docker: no Docker daemon answers" in ended.err
    assert report["environment"]["provider"] == "embedded"


@pytest.mark.parametrize("major", [14, 17])
def test_a_major_version_that_the_provider_has_not(project: Project, major: int) -> None:
    """Exit 3 naming both versions and what to do."""
    project.edit("perf-gate.toml", "version = 18", f"version = {major}")
    ended, _ = project.run(*ONLY)
    refused(ended, 3, f"Postgres 18 alone, not {major}", "hint: use --services docker")
    gone(project)


# The application


@contextlib.contextmanager
def squatter() -> Iterator[int]:
    """A port whose holder accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_is_taken(project: Project) -> None:
    """Exit 3 with what the application said about its port."""
    with squatter() as port:
        project.edit("perf-gate.toml", START, START.replace("{port}", str(port)))
        project.edit("perf-gate.toml", 'ready = "/health"', 'ready = "/health"\nready_timeout = "20s"')
        ended, _ = project.run(*ONLY)
    refused(ended, 3, "the application of head", "Address already in use", "let it take {port}")
    gone(project)


def test_an_application_that_is_killed(project: Project) -> None:
    """Exit 4 with the case, the pass, and the end of its log, whose bytes need not be UTF-8."""
    last_words = 'os.write(2, b"caf\\xe9 \\xff is full\\n")'
    answers(project, f"if asked == {COUNTED}:\n    {last_words}\n    os.kill(os.getpid(), 9)")
    ended, _ = project.run(*ONLY)
    refused(ended, 4, "stopped answering while endpoints/health", "pass 1", "caf\ufffd \ufffd is full")
    gone(project)


def test_an_application_that_answers_slowly_and_then_never(project: Project) -> None:
    """Bounded by the configured timeout, and a request without an answer is no fast one: exit 1."""
    answers(project, f"time.sleep(0.02 if asked < {TIMED} else 60)")
    project.edit("perf-gate.toml", "rounds = 2\n", 'rounds = 2\ntimeout = "1s"\n')
    ended, report = project.run(*ONLY)
    assert ended.code == 1, ended.out + ended.err
    assert "no answer within 1 s" in ended.first
    spent = {phase["name"]: phase["seconds"] for phase in report["timeline"]}
    assert spent["time"] < 20  # two passes of at most three timeouts each, on a busy machine
    latency = [s for s in report["run"]["samples"] if s["metric"]["name"] == "latency"]
    assert not [point for sample in latency for point in sample["points"]]
    gone(project)


def test_a_body_that_is_not_text(project: Project) -> None:
    """What a failing request answered is shown, whatever its bytes."""
    answers(project, 'if asked > 1:\n    return b"caf\\xe9 \\xff\\x00\\x1b[31m", 418')
    ended, report = project.run(*ONLY)
    assert ended.code == 1, ended.err
    assert "418" in ended.first
    assert "caf" in ended.first
    assert "\x1b" not in ended.out
    assert report["verdict"]["state"] == "blocked"


# The servers, while the application waits in the middle of its measurement


def server(project: Project, name: str) -> tuple[int, Path]:
    """The pid of Postgres or Redis of the run that uses this cache, and its directory."""
    (record,) = (project.cache / "state").glob("*.json")
    directory = Path(json.loads(record.read_text())["directory"])
    if name == "Postgres":
        return int((directory / "data" / "postmaster.pid").read_text().split()[0]), directory
    (pid,) = (
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(directory / "redis-head" / "redis.conf") in (process.info["cmdline"] or ())
    )
    return pid, directory


@pytest.mark.parametrize("name", ["Postgres", "Redis"])
def test_a_server_that_is_killed_while_measuring(project: Project, tmp_path: Path, name: str) -> None:
    """Exit 3 naming the server, not the failing requests that follow: no regression, no pass."""
    alone = Project(project.path, stocked(project, tmp_path))
    here, gone_on = tmp_path / "here", tmp_path / "gone-on"
    waits = f"if asked == {COUNTED}:\n    open({str(here)!r}, 'w').close()\n"
    waits += f"    while not os.path.exists({str(gone_on)!r}):\n        time.sleep(0.01)"
    answers(alone, waits)
    directories = []

    def kill() -> None:
        pid, directory = server(alone, name)
        directories.append(directory)
        os.kill(pid, signal.SIGKILL)
        gone_on.touch()

    ended = interrupted(alone, here.exists, kill, *ONLY)
    refused(ended, 3, f"{name} ended by itself (killed by SIGKILL)")
    gone(alone)
    assert not directories[0].exists()


def stocked(project: Project, tmp_path: Path) -> Path:
    """A cache of one's own, with the installed environments of the shared one."""
    own = tmp_path / "cache"
    ignore = shutil.ignore_patterns("scratch", "state")
    shutil.copytree(project.cache, own, symlinks=True, ignore=ignore, copy_function=os.link)
    return own


def interrupted(
    project: Project,
    until: Callable[[], object],
    act: Callable[[], None],
    *args: str,
    prefix: tuple[str, ...] = (),
    said: str = "",
) -> Ended:
    """How a run ends to which something happens once `until` holds (and it has said `said`)."""
    out, err = project.path.parent / "stdout", project.path.parent / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [*prefix, *project.command("run", "--suite", "endpoints", *args)],
            cwd=project.path,
            env=project.env(),
            stdout=stdout,
            stderr=stderr,
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and not (said in err.read_text() and until()):
            assert time.monotonic() < deadline, err.read_text()
            time.sleep(0.01)
        assert process.poll() is None, err.read_text()
        act()
        code = process.wait(timeout=120)
    return Ended(code, out.read_text(), err.read_text())


# Disk


@as_root
def test_a_disk_that_gets_full_while_seeding(project: Project, tmp_path: Path) -> None:
    """Exit 3 with the place and what is free; the next run, with room, passes."""
    alone = Project(project.path, stocked(project, tmp_path))
    small = 'mount -t tmpfs -o size=4g tmpfs /dev/shm && exec "$@"'
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", small, "sh")

    def fill() -> None:
        (record,) = (alone.cache / "state").glob("*.json")
        owner = str(json.loads(record.read_text())["owner"]["pid"])
        inside = ("nsenter", "--mount", f"--target={owner}")
        used = subprocess.check_output([*inside, "du", "-sk", "/dev/shm"]).split()[0]
        resize = f"remount,size={int(used) + 4096}k"
        subprocess.run([*inside, "mount", "-o", resize, "/dev/shm"], check=True)

    ended = interrupted(alone, lambda: True, fill, "--scale", "30", *ONLY, prefix=prefix, said="seeding")
    refused(ended, 3, "No space left on device")
    gone(alone)
    assert not list((alone.cache / "datasets").glob(".*"))
    again, _ = alone.run(*ONLY)
    assert again.code == PASSED, again.err


@as_root
def test_a_disk_that_is_full_when_the_data_set_is_kept(project: Project, tmp_path: Path) -> None:
    """Exit 3 naming the place, and no half of a data set is found later."""
    alone = Project(project.path, stocked(project, tmp_path))
    small = alone.cache / "datasets"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True)
    try:
        ended, _ = alone.run(*ONLY)
        left = list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)
    refused(ended, 3, "no free space", str(small))
    assert left == []
    gone(alone)


# The machine


BACKWARDS = """
import time
real, looks = time.time, []
def back():
    looks.append(1)
    return real() - 7200 * (len(looks) > 3)
time.time = back
time.time_ns = lambda: int(back() * 1e9)
"""


def test_a_clock_that_is_set_back(project: Project, tmp_path: Path) -> None:
    """No wait, no time and no deadline goes by the wall clock: the run passes with times above 0."""
    (tmp_path / "sitecustomize.py").write_text(BACKWARDS)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    ended, report = project.run(*ONLY, PYTHONPATH=path)
    assert ended.code == PASSED, ended.err
    latency = [s for s in report["run"]["samples"] if s["metric"]["name"] == "latency"]
    assert all(point[-1] > 0 for s in latency for point in s["points"])
    assert all(phase["seconds"] >= 0 for phase in report["timeline"])


READ_ONLY = 'mount -t tmpfs -o ro tmpfs "$HOME" && exec "$@"'


@as_root
@pytest.mark.parametrize("home", ["home", "home/absent"])
def test_a_home_that_cannot_be_written(project: Project, tmp_path: Path, home: str) -> None:
    """The gate keeps its files in a private directory of the temporary one, and passes."""
    (tmp_path / "home").mkdir()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    own = temporary / f"perf-gate-cache-{os.getuid()}"
    stocked(project, tmp_path).rename(own)
    mounted = ("unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh")
    told = ("env", f"HOME={tmp_path / home}", f"TMPDIR={temporary}", "--unset=PERF_GATE_CACHE")
    ended = Ended(
        *finished([*mounted, *told, *project.command("run", *ONLY)], project, HOME=str(tmp_path / "home"))
    )
    assert ended.code == PASSED, ended.err
    gone(Project(project.path, own))


def test_no_home_at_all(project: Project) -> None:
    """Git, pip and the application are started without a HOME, and the run passes."""
    code, _, err = finished(["env", "--unset=HOME", *project.command("run", *ONLY)], project)
    assert code == PASSED, err


def finished(command: list[str], project: Project, **env: str) -> tuple[int, str, str]:
    done = subprocess.run(
        command, cwd=project.path, env=project.env(**env), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr
