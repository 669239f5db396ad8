"""A side's processes: real small applications, started, found ready, found broken, and ended whole."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gate
from gate.config import Target
from gate.errors import ConfigError, EnvironmentFailure
from gate.model import Side
from gate.target.environment import Installed
from gate.target.ports import free_port, listening
from gate.target.process import migrate, migrating, prepare, serve, tail

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/home/someone", "GITHUB_TOKEN": "ghp_planted", "LANG": "xx"}
HERE = Path(sys.executable)

APP = """
import http.server, os, signal, subprocess, sys, time
{before}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        {answer}
        self.send_response(status)
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
{after}
server.serve_forever()
"""


class Scratch:
    """A worktree with an application, prepared as a side."""

    def __init__(self, root: Path) -> None:
        self.worktree = root / "head"
        self.worktree.mkdir()
        self.log = root / "head.log"

    def target(self, **fields: Any) -> Target:
        start = [str(HERE), "-I", "app.py", "{port}"]
        return Target.model_validate({"start": start, "ready_timeout": 20, "stop_timeout": 5, **fields})

    def app(self, before: str = "", answer: str = "status = 200", after: str = "") -> None:
        (self.worktree / "app.py").write_text(APP.format(before=before, answer=answer, after=after))

    def side(self, target: Target, **given: Any) -> Side:
        arguments = {
            "name": "head",
            "ref": "abc",
            "worktree": self.worktree,
            "installed": Installed(interpreter="", python="", packages=(), path=ENVIRON["PATH"]),
            "postgres_url": "postgresql://app:pg-secret@127.0.0.1:5433/perf",
            "redis_url": "redis://:redis-secret@127.0.0.1:6380/0",
            "seed": 7,
            "environ": ENVIRON,
        }
        return prepare(target, **{**arguments, **given})

    @contextlib.contextmanager
    def serving(self, **fields: Any) -> Iterator[Side]:
        target = self.target(**fields)
        with serve(target, self.side(target), log=self.log) as running:
            yield running

    def failure(self, **fields: Any) -> EnvironmentFailure:
        with pytest.raises(EnvironmentFailure) as caught, self.serving(**fields):
            raise AssertionError("served")
        assert self.leftovers() == []
        return caught.value

    def leftovers(self) -> list[str]:
        """Processes that run in the worktree."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/cwd").startswith(str(self.worktree)):
                    found.append(Path("/proc", name, "cmdline").read_text())
        return found


def status(side: Side, path: str = "/") -> int:
    connection = http.client.HTTPConnection(side.base_url.removeprefix("http://"), timeout=5)
    connection.request("GET", path)
    code = connection.getresponse().status
    connection.close()
    return code


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has), waiting for up to 5 s."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


# --- preparing


def test_the_environment_is_a_short_list(scratch: Scratch) -> None:
    """Secrets of the gate and the caller's locale do not reach a side; its own variables do."""
    target = scratch.target(
        env={"DATABASE_URL": "{postgres.url}", "TZ": "Europe/Berlin", "PYTHONHASHSEED": "0"}
    )
    env = scratch.side(target).env
    assert env == {
        "PATH": ENVIRON["PATH"],
        "HOME": "/home/someone",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "Europe/Berlin",
        "PYTHONHASHSEED": "7",
        "DATABASE_URL": "postgresql://app:pg-secret@127.0.0.1:5433/perf",
    }


def test_a_python_side_says_which_environment_is_its_own(scratch: Scratch) -> None:
    """Tools that look for a virtual environment find the side's, on PATH and by name."""
    installed = Installed(
        interpreter="/e/head/bin/python", python="3.11", packages=(), path="/e/head/bin:/bin"
    )
    side = scratch.side(scratch.target(python="python3", env={"P": "{python}"}), installed=installed)
    assert side.interpreter == "/e/head/bin/python"
    assert side.env["P"] == "/e/head/bin/python"
    assert (side.env["PATH"], side.env["VIRTUAL_ENV"]) == ("/e/head/bin:/bin", "/e/head")


def test_a_side_may_be_printed(scratch: Scratch) -> None:
    """What a crash prints of a side holds no password."""
    assert "secret" not in repr(scratch.side(scratch.target(env={"A": "{postgres.url}"})))


def test_files_are_written_with_values(scratch: Scratch) -> None:
    """Files are relative to target.directory, directories are made, braces can be escaped."""
    (scratch.worktree / "web").mkdir()
    scratch.side(
        scratch.target(
            directory="web", files=[{"path": "conf/app.json", "text": '{{"host": "{postgres.host}"}}\n'}]
        )
    )
    assert (scratch.worktree / "web" / "conf" / "app.json").read_text() == '{"host": "127.0.0.1"}\n'


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "link/outside", ".", ".git"])
def test_files_stay_inside_the_worktree(scratch: Scratch, path: str) -> None:
    """Neither dots nor an absolute path nor a symbolic link leads out of it."""
    (scratch.worktree / "link").symlink_to(scratch.worktree.parent)
    with pytest.raises(ConfigError, match="not a file inside the checkout"):
        scratch.side(scratch.target(files=[{"path": path, "text": "x"}]))
    assert not (scratch.worktree.parent / "outside").exists()


def test_a_directory_that_is_missing_is_said_so(scratch: Scratch) -> None:
    """target.directory must be in the checkout."""
    for directory in ("nowhere", ".."):
        with pytest.raises(ConfigError, match=r"target\.directory"):
            scratch.side(scratch.target(directory=directory))


def test_wrong_placeholders_are_all_reported(scratch: Scratch) -> None:
    """A side is never prepared with a placeholder left unfilled."""
    with pytest.raises(ConfigError) as caught:
        scratch.side(scratch.target(env={"A": "{prot}"}, migrate=[["x", "{seeed}"]]))
    assert len(caught.value.problems) == 2


# --- migrations


def test_migrations_run_in_order_with_the_sides_environment(scratch: Scratch) -> None:
    """Every command runs in target.directory and its output is in the log."""
    code = "import os, sys; print(sys.argv[1], os.getcwd(), os.environ['URL'], os.environ['PYTHONHASHSEED'])"
    target = scratch.target(
        migrate=[[str(HERE), "-c", code, "{redis.port}"], [str(HERE), "-c", code, "{{second}}"]],
        env={"URL": "{redis.url}"},
    )
    migrate(target, scratch.side(target), log=scratch.log)
    url = "redis://:redis-secret@127.0.0.1:6380/0"
    assert scratch.log.read_text().splitlines() == [
        f"6380 {scratch.worktree} {url} 7",
        f"{{second}} {scratch.worktree} {url} 7",
    ]


def test_two_sides_migrate_at_once(scratch: Scratch, tmp_path: Path) -> None:
    """Each waits for a file that the other one writes, which one after the other would never end."""
    code = (
        "import pathlib, sys, time; mine, theirs = map(pathlib.Path, sys.argv[1:]); mine.touch()\n"
        "while not theirs.exists(): time.sleep(0.01)\nprint('met')"
    )
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    targets = [
        scratch.target(migrate=[[str(HERE), "-c", code, *files]], command_timeout="20s")
        for files in ((one, two), (two, one))
    ]
    with contextlib.ExitStack() as stack:
        waits = [
            stack.enter_context(migrating(target, scratch.side(target), log=scratch.log))
            for target in targets
        ]
        for migrated in waits:
            migrated()
    assert scratch.log.read_text().splitlines() == ["met", "met"]


def test_a_migration_that_nobody_awaits_ends_with_the_block(scratch: Scratch) -> None:
    """Where the other side fails first, nothing of this one is left."""
    target = scratch.target(migrate=[[str(HERE), "-c", "import time; time.sleep(600)"]])
    with migrating(target, scratch.side(target), log=scratch.log):
        pass
    assert scratch.leftovers() == []


def test_a_failing_migration_says_what_it_said(scratch: Scratch) -> None:
    """Command, exit code and last lines are in the error, secrets and terminal codes are not."""
    code = (
        "import os, sys; sys.stdout.buffer.write(b'\\xff\\xfe \\x1b[31mred\\n'); "
        "print('cannot reach', os.environ['URL'], flush=True); sys.exit(3)"
    )
    target = scratch.target(
        migrate=[[str(HERE), "-c", code, "{postgres.password}"]], env={"URL": "{postgres.url}"}
    )
    scratch.log.write_text("of an earlier command\n")
    with pytest.raises(
        EnvironmentFailure, match=r"target\.migrate\[1\] of head failed with exit code 3"
    ) as caught:
        migrate(target, scratch.side(target), log=scratch.log)
    error = caught.value
    assert error.tail == ("\ufffd\ufffd  [31mred", "cannot reach postgresql://***@127.0.0.1:5433/perf")
    assert error.where.endswith(f"*** (in {scratch.worktree})")
    assert "secret" not in f"{error.where}{error.tail}{error.message}"


def test_only_the_last_lines_are_kept(scratch: Scratch) -> None:
    """A long log ends in 20 lines."""
    target = scratch.target(
        migrate=[[str(HERE), "-u", "-c", "[print(i) for i in range(9999)]; exit('the end')"]]
    )
    with pytest.raises(EnvironmentFailure) as caught:
        migrate(target, scratch.side(target), log=scratch.log)
    assert len(caught.value.tail) == 20
    assert caught.value.tail[-2:] == ("9998", "the end")


def test_a_command_that_takes_too_long_is_ended_with_its_children(scratch: Scratch) -> None:
    """Nothing of it is left, also where it ignores SIGTERM, and the limit's name is in the hint."""
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True); "
        "print('waiting', flush=True); time.sleep(600)"
    )
    target = scratch.target(migrate=[[str(HERE), "-c", code]], command_timeout="500ms")
    with pytest.raises(EnvironmentFailure, match=r"still running after 0\.5 s") as caught:
        migrate(target, scratch.side(target), log=scratch.log)
    assert (caught.value.tail, "command_timeout" in caught.value.hint) == (("waiting",), True)
    assert scratch.leftovers() == []


def test_a_command_that_does_not_exist_is_named(scratch: Scratch) -> None:
    """There is no shell that would say so."""
    target = scratch.target(migrate=[["no-such-program", "x"]])
    with pytest.raises(EnvironmentFailure, match="No such file or directory: no-such-program"):
        migrate(target, scratch.side(target), log=scratch.log)


# --- serving


def test_a_served_side_answers_until_the_block_ends(scratch: Scratch) -> None:
    """Its URL, its processes, and afterwards neither a process nor a listener."""
    scratch.app()
    with scratch.serving() as side:
        assert status(side) == 200
        assert listening(side.pids) == (int(side.base_url.rpartition(":")[2]),)
        assert len(side.base_url) == len("http://127.0.0.1:40000")
    assert gone(side.pids[0])
    assert scratch.leftovers() == []


def test_the_application_is_stopped_after_an_exception(scratch: Scratch) -> None:
    """An interrupt while measuring leaves nothing running."""
    scratch.app()
    with pytest.raises(KeyboardInterrupt), scratch.serving():
        raise KeyboardInterrupt
    assert scratch.leftovers() == []


def test_an_application_that_is_slow_to_answer_is_waited_for(scratch: Scratch) -> None:
    """Answers of 500 and above are not ready; the first below is, whatever it is."""
    scratch.app(
        before="begun = time.monotonic()", answer="status = 503 if time.monotonic() < begun + 0.5 else 404"
    )
    begun = time.monotonic()
    with scratch.serving(ready="/health") as side:
        assert time.monotonic() - begun >= 0.5
        assert status(side) == 404


def test_both_sides_are_served_at_once(scratch: Scratch) -> None:
    """Two applications have ports and processes of their own."""
    scratch.app()
    with scratch.serving() as one, scratch.serving() as other:
        assert one.base_url != other.base_url
        assert not set(one.pids) & set(other.pids)
        assert (status(one), status(other)) == (200, 200)


def test_the_port_reaches_variables_and_files(scratch: Scratch) -> None:
    """An application that takes its port from either listens where the gate asks."""
    scratch.app(
        before="sys.argv = [0, open('port').read() if os.environ['PORT'] == open('port').read() else 0]"
    )
    with scratch.serving(
        start=[str(HERE), "app.py"], env={"PORT": "{port}"}, files=[{"path": "port", "text": "{port}"}]
    ) as side:
        assert status(side) == 200
        assert side.env["PORT"] == side.base_url.rpartition(":")[2]


def test_an_application_that_exits_at_once_fails_early(scratch: Scratch) -> None:
    """Its exit code and last words come at once, not after the time limit."""
    scratch.app(before="sys.stderr.buffer.write(b'no \\xe9 config\\n'); sys.exit(4)")
    begun = time.monotonic()
    error = scratch.failure(ready="/health", ready_timeout=60)
    assert time.monotonic() - begun < 20
    assert error.message == "the application of head failed with exit code 4 before it answered GET /health"
    assert error.tail == ("no \ufffd config",)
    assert "foreground" in error.hint


def test_an_application_that_ends_well_is_also_a_failure(scratch: Scratch) -> None:
    """Exit code 0 before it answers means that it went into the background or had nothing to do."""
    scratch.app(before="sys.exit(0)")
    assert scratch.failure().message.startswith("the application of head ended with exit code 0 before")


def test_an_application_that_is_killed_says_by_what(scratch: Scratch) -> None:
    """The kernel's out-of-memory killer leaves a signal, not an exit code."""
    scratch.app(before="os.kill(os.getpid(), signal.SIGKILL)")
    assert "was killed by SIGKILL" in scratch.failure().message


def test_an_application_that_is_never_ready_says_what_it_answered(scratch: Scratch) -> None:
    """The last status is in the message, the setting in the hint."""
    scratch.app(answer="status = 500")
    error = scratch.failure(ready="/up", ready_timeout="1s")
    assert error.message.endswith("did not answer GET /up within 1 s: the last answer was 500")
    assert "target.ready" in error.hint


def test_an_application_on_another_port_is_told_where_it_listens(scratch: Scratch) -> None:
    """The commonest mistake, a fixed port, is named."""
    port = free_port()
    scratch.app(before=f"sys.argv[1] = '{port}'")
    error = scratch.failure(ready_timeout="2s")
    assert error.message.endswith("nothing listened")
    assert error.hint.startswith(f"it listens on {port}; use {{port}}")


def test_an_application_that_hangs_is_given_up(scratch: Scratch) -> None:
    """A server that accepts and says nothing cannot hold the gate."""
    scratch.app(answer="time.sleep(600)")
    assert "accepted the connection and was silent" in scratch.failure(ready_timeout="1s").message


def test_an_application_that_ignores_sigterm_is_killed(scratch: Scratch) -> None:
    """After stop_timeout nothing is asked any more."""
    scratch.app(before="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    with scratch.serving(stop_timeout="300ms") as side:
        begun = time.monotonic()
    assert 0.3 <= time.monotonic() - begun < 5
    assert gone(side.pids[0])


def test_an_application_may_end_in_its_own_time(scratch: Scratch) -> None:
    """SIGTERM comes first, so that it can flush what it has."""
    last_words = "(time.sleep(0.3), print('bye', flush=True), os._exit(0))"
    scratch.app(before=f"signal.signal(signal.SIGTERM, lambda *_: {last_words})")
    with scratch.serving():
        pass
    assert scratch.log.read_text() == "bye\n"


ESCAPES = {
    "keeps its session": "subprocess.Popen([sys.executable, '-c', SLEEP])",
    "leaves its session": "subprocess.Popen([sys.executable, '-c', SLEEP], start_new_session=True)",
    "leaves its environment": "subprocess.Popen([sys.executable, '-c', SLEEP], env={})",
    "outlives its parent": (
        "subprocess.run([sys.executable, '-c', 'import subprocess, sys; "
        'subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)\', SLEEP])'
    ),
}
UNTIL_IT_RUNS = "any(iter(lambda: os.path.exists('child') and open('child').read() != '', True))"
SLEEP = (
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "open('child', 'w').write(str(os.getpid())); time.sleep(600)"
)


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
def test_children_are_ended_too(scratch: Scratch, escape: str) -> None:
    """A child that left the group, the session or its parent, and ignores SIGTERM, does not survive."""
    scratch.app(before=f"SLEEP = {SLEEP!r}; {escape}; {UNTIL_IT_RUNS}")
    with scratch.serving(stop_timeout="300ms") as side:
        child = int((scratch.worktree / "child").read_text())
        assert child in side.pids
        assert side.pids[0] != child
    assert gone(child)


def test_an_application_that_dies_while_measured_leaves_its_last_words(scratch: Scratch) -> None:
    """The driver can ask for the end of its log, without secrets."""
    scratch.app(
        answer="print('fatal: lost', os.environ['URL'], 'x-of-the-app', flush=True); os._exit(9)"
        " if self.path == '/die' else 0; status = 200"
    )
    env = {"URL": "{postgres.url}", "APP_SECRET": "x-of-the-app"}
    with scratch.serving(env=env) as side:
        with pytest.raises((http.client.HTTPException, OSError)):
            status(side, "/die")
        assert gone(side.pids[0])
        assert tail(scratch.log, side)[-1] == "fatal: lost postgresql://***@127.0.0.1:5433/perf ***"


def test_without_a_log_there_is_no_tail(scratch: Scratch) -> None:
    """A side that was never started has said nothing."""
    assert tail(scratch.log, scratch.side(scratch.target())) == ()


# --- the port


def test_another_port_is_tried_when_the_first_is_taken(scratch: Scratch) -> None:
    """An application that cannot bind is started again, with the new port everywhere."""
    scratch.app()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        ports = iter((holder.getsockname()[1], free_port()))
        target = scratch.target(env={"PORT": "{port}"})
        with serve(target, scratch.side(target), log=scratch.log, ports=lambda: next(ports)) as side:
            assert status(side) == 200
            assert side.env["PORT"] == side.base_url.rpartition(":")[2]
            assert next(ports, None) is None


def test_a_port_taken_twice_is_given_up(scratch: Scratch) -> None:
    """The third application in the way is somebody's mistake: said with the reason the system gave."""
    scratch.app()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        target = scratch.target()
        with (
            pytest.raises(EnvironmentFailure, match="failed with exit code 1") as caught,
            serve(target, scratch.side(target), log=scratch.log, ports=lambda: port),
        ):
            pass
    assert caught.value.hint == f"something else listens on port {port}"
    assert "Address already in use" in caught.value.tail[-1]


def test_a_stranger_on_the_port_is_never_measured(scratch: Scratch, tmp_path: Path) -> None:
    """An application that waits for its port while another server answers there is not called ready."""
    scratch.app(before="time.sleep(600)")
    (tmp_path / "other.py").write_text(
        APP.format(before="", answer="status = 200", after="print(1, flush=True)")
    )
    port = free_port()
    stranger = subprocess.Popen(
        [sys.executable, str(tmp_path / "other.py"), str(port)], stdout=subprocess.PIPE
    )
    assert stranger.stdout is not None
    assert stranger.stdout.readline() == b"1\n"
    try:
        target = scratch.target()
        with (
            pytest.raises(EnvironmentFailure, match=f"belongs to another program \\(pid {stranger.pid}\\)"),
            serve(target, scratch.side(target), log=scratch.log, ports=lambda: port),
        ):
            pass
    finally:
        stranger.kill()
        stranger.communicate()


# --- the watchdog

RUN = """
import sys
from pathlib import Path
from gate.config import Target
from gate.target.environment import Installed
from gate.target.process import prepare, serve
worktree = Path(sys.argv[1])
target = Target(start=(sys.executable, "-I", "app.py", "{port}"))
side = prepare(target, name="head", ref="x", worktree=worktree, seed=1, environ={"PATH": "/usr/bin:/bin"},
    installed=Installed(interpreter="", python="", packages=(), path="/usr/bin:/bin"),
    postgres_url="postgresql://u@h/d", redis_url="")
with serve(target, side, log=worktree / "log") as running:
    print(*running.pids, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
def test_nothing_survives_a_killed_gate(scratch: Scratch, escape: str) -> None:
    """After SIGKILL of the gate the application, its children and the watchdog itself are gone."""
    scratch.app(before=f"SLEEP = {SLEEP!r}; {escape}; {UNTIL_IT_RUNS}")
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(scratch.worktree)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(gate.__file__).parents[1]), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    pids = [int(pid) for pid in run.stdout.readline().split()]
    assert int((scratch.worktree / "child").read_text()) in pids
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert [pid for pid in {*pids, *map(int, children)} if not gone(pid)] == []
