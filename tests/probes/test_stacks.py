"""Samples to sentences: whose line it is, what is left out, and what counts as a gain.

The samples are written down here as the sampler writes them, or left by a real program whose functions
do one thing each; of those only shares are asserted, with room for a busy machine.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader

from gate.explain import longer
from gate.explain.profiles import Function, Profile, Spot, gained
from gate.model import Gain
from gate.probes import stacks
from gate.probes.stacks import read

MS = 1_000_000  # nanoseconds
Frame = tuple[str, str, int]  # file, function, line


class Samples:
    """A file of samples, tick by tick, 2 ms apart, from time 0 on."""

    def __init__(self, directory: Path, worktree: Path, python: str = "3.13") -> None:
        self.path = directory / "7-0.jsonl"
        self.lines: list[list[object]] = [["process", {"directory": str(worktree), "python": python}]]
        self.lines.append(["tick", 0, 0, 0])
        self.nodes = self.stacks = 0
        self.now = self.used = 0
        self.known: dict[tuple[Frame, ...], int] = {}

    def stack(self, frames: Sequence[Frame], span: list[int] | None = None) -> int:
        """frames: the outermost first. The module is the file's first part."""
        parent = -1
        for file, function, line in frames:
            module = Path(file).stem if "site-packages" not in file else file.split("site-packages/")[1]
            module = module.replace("/", ".").removesuffix(".py")
            self.lines.append(["code", self.nodes, file, function, module, line, ""])
            self.lines.append(["node", self.nodes, parent, self.nodes, line])
            parent = self.nodes
            self.nodes += 1
        self.lines.append(["stack", self.stacks, parent, span])
        self.stacks += 1
        return self.stacks - 1

    def tick(self, *threads: list[int], times: int = 1) -> None:
        """threads: [thread, stack, 1 for computing]."""
        for _ in range(times):
            self.now += 2 * MS
            self.used += 2 * MS * any(runs for *_, runs in threads)
            self.lines.append(["tick", self.now, 2 * MS, self.used, *threads])

    def write(self, *more: str) -> None:
        self.path.write_text("\n".join([*map(json.dumps, self.lines), *more]) + "\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    worktree = tmp_path / "tree"
    worktree.mkdir()
    (worktree / "app.py").write_text("import time\n\n\ndef pace():\n    time.sleep(0.003)\n")
    return worktree


@pytest.fixture
def samples(tmp_path: Path, tree: Path) -> Samples:
    directory = tmp_path / "samples"
    directory.mkdir()
    return Samples(directory, tree)


def profile(samples: Samples, tree: Path, windows: Sequence[stacks.Window], **more: object) -> Profile:
    samples.write()
    idle = more.pop("idle", [])
    return read(samples.path.parent, windows, tree, requests=more.pop("requests", 1), idle=idle)  # type: ignore[arg-type]


def spots(found: Profile) -> list[tuple[str, int, str]]:
    return [(spot.file, spot.line, spot.function) for spot in found.spots]


# ---- whose line it is


def test_time_counts_for_the_deepest_line_of_the_project(samples: Samples, tree: Path) -> None:
    stack = samples.stack(
        [
            (f"{tree}/app.py", "serve", 2),
            ("/lib/site-packages/flask/app.py", "dispatch", 9),
            (f"{tree}/app.py", "pace", 5),
            ("/lib/python3.13/re/__init__.py", "compile", 228),
        ]
    )
    samples.tick([0, stack, 1], times=10)
    found = profile(samples, tree, [(0.0, 0.02)])
    assert spots(found) == [("app.py", 5, "pace")]
    assert found.spots[0].caller == "app.py:2 serve"


def test_seconds_are_per_request(samples: Samples, tree: Path) -> None:
    stack = samples.stack([(f"{tree}/app.py", "pace", 5)])
    samples.tick([0, stack, 1], times=10)
    found = profile(samples, tree, [(0.0, 0.02)], requests=4)
    assert found.spots[0].cpu == pytest.approx(0.005)
    assert found.cpu == pytest.approx(0.005)


def test_only_what_lies_in_the_windows_counts(samples: Samples, tree: Path) -> None:
    stack = samples.stack([(f"{tree}/app.py", "pace", 5)])
    samples.tick([0, stack, 1], times=10)
    found = profile(samples, tree, [(0.001, 0.004), (0.010, 0.011)])
    assert found.spots[0].wall == pytest.approx(0.004)


def test_a_thread_that_is_not_named_waits_where_it_was(samples: Samples, tree: Path) -> None:
    stack = samples.stack([(f"{tree}/app.py", "pace", 5)], [5, 5, 4, 21])
    samples.tick([0, stack, 0])
    samples.tick(times=4)
    found = profile(samples, tree, [(0.0, 0.01)])
    (spot,) = found.spots
    assert (spot.wall, spot.cpu, spot.into) == (pytest.approx(0.01), 0.0, "time.sleep")


def test_a_thread_that_has_ended_waits_no_longer(samples: Samples, tree: Path) -> None:
    stack = samples.stack([(f"{tree}/app.py", "pace", 5)])
    samples.tick([0, stack, 0])
    samples.tick([0, -1, -1])
    samples.tick(times=4)
    assert profile(samples, tree, [(0.0, 0.012)]).spots[0].wall == pytest.approx(0.002)


def test_a_late_look_counts_for_the_time_it_is_late(samples: Samples, tree: Path) -> None:
    stack = samples.stack([(f"{tree}/app.py", "pace", 5)])
    samples.lines.append(["tick", 50 * MS, 50 * MS, 50 * MS, [0, stack, 1]])
    assert profile(samples, tree, [(0.0, 0.05)]).spots[0].wall == pytest.approx(0.05)


def test_what_the_clock_says_was_computed_is_shared_out_by_the_samples(samples: Samples, tree: Path) -> None:
    stack = samples.stack([(f"{tree}/app.py", "pace", 5)])
    wait = samples.stack([(f"{tree}/app.py", "wait", 5)])
    for _ in range(20):
        samples.tick([0, stack, 1])
        samples.tick([0, wait, 0])
    for line in samples.lines:
        if line[0] == "tick":
            line[3] = int(line[3] * 1.5)  # type: ignore[call-overload]
    found = profile(samples, tree, [(0.0, 0.08)])
    walls = {spot.function: spot.wall for spot in found.spots}
    assert walls == {"pace": pytest.approx(0.06), "wait": pytest.approx(0.02)}


def test_waiting_for_a_core_is_left_out(samples: Samples, tree: Path) -> None:
    stack = samples.stack([(f"{tree}/app.py", "pace", 5)])
    wait = samples.stack([(f"{tree}/app.py", "wait", 5)])
    for _ in range(20):
        samples.tick([0, stack, 1])
        samples.tick([0, wait, 0])
    for line in samples.lines:
        if line[0] == "tick":
            line[3] = int(line[3] * 0.6)  # type: ignore[call-overload]
    found = profile(samples, tree, [(0.0, 0.08)])
    walls = {spot.function: spot.wall for spot in found.spots}
    assert walls == {"pace": pytest.approx(0.024), "wait": pytest.approx(0.04)}


@pytest.mark.parametrize(
    "file", [".venv/lib/python3.13/flask.py", "x/site-packages/flask.py", "../tree-2/app.py"]
)
def test_an_environment_in_the_worktree_is_not_the_project(samples: Samples, tree: Path, file: str) -> None:
    (tree / ".venv").mkdir()
    (tree / ".venv" / "pyvenv.cfg").touch()
    stack = samples.stack([(f"{tree}/{file}", "f", 5)])
    samples.tick([0, stack, 1], times=10)
    assert [spot.file for spot in profile(samples, tree, [(0.0, 0.02)]).spots] == [""]


def test_a_project_installed_into_its_environment_is_found_in_the_worktree(
    samples: Samples, tree: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "site-packages" / "app.py"
    copy.parent.mkdir()
    copy.write_text((tree / "app.py").read_text())
    samples.tick([0, samples.stack([(str(copy), "pace", 5)]), 1], times=10)
    assert spots(profile(samples, tree, [(0.0, 0.02)])) == [("app.py", 5, "pace")]


def test_a_worktree_may_be_reached_by_a_link(samples: Samples, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    samples.tick([0, samples.stack([(f"{tmp_path}/link/app.py", "pace", 5)]), 1], times=10)
    assert spots(profile(samples, tmp_path / "link", [(0.0, 0.02)])) == [("app.py", 5, "pace")]


def test_a_file_named_relatively_lies_where_the_program_was_started(samples: Samples, tree: Path) -> None:
    samples.tick([0, samples.stack([("app.py", "pace", 5)]), 1], times=10)
    assert spots(profile(samples, tree, [(0.0, 0.02)])) == [("app.py", 5, "pace")]


def test_code_without_a_file_counts_for_its_caller(samples: Samples, tree: Path) -> None:
    stack = samples.stack([(f"{tree}/app.py", "pace", 5), ("<string>", "__init__", 2)])
    samples.tick([0, stack, 1], times=10)
    assert spots(profile(samples, tree, [(0.0, 0.02)])) == [("app.py", 5, "pace")]


def test_a_comprehension_counts_for_its_function(samples: Samples, tree: Path) -> None:
    stack = samples.stack([(f"{tree}/app.py", "A.f.<locals>.<listcomp>", 5)])
    samples.tick([0, stack, 1], times=10)
    assert spots(profile(samples, tree, [(0.0, 0.02)])) == [("app.py", 5, "A.f")]


def test_before_3_11_the_source_tells_the_qualified_name(tmp_path: Path, tree: Path) -> None:
    (tree / "app.py").write_text("class A:\n    @property\n    def f(self):\n        return 1\n")
    samples = Samples(tmp_path, tree, "3.9")
    stack = samples.stack([(f"{tree}/app.py", "f", 2)])
    samples.tick([0, stack, 1], times=10)
    assert spots(profile(samples, tree, [(0.0, 0.02)])) == [("app.py", 2, "A.f")]


@pytest.mark.parametrize(
    ("below", "into"),
    [
        (
            [("/usr/lib/python3.13/re.py", "compile", 1), ("/usr/lib/python3.13/re.py", "_go", 2)],
            "re.compile",
        ),
        (
            [
                ("/e/site-packages/sqlalchemy/orm/session.py", "Session.execute", 1),
                ("/e/site-packages/psycopg/waiting.py", "wait", 2),
                ("/usr/lib/python3.13/selectors.py", "select", 3),
            ],
            "sqlalchemy/psycopg",
        ),
        ([("/e/site-packages/redis/client.py", "Redis.get", 1)], "redis"),
    ],
)
def test_what_was_called_is_named_by_package_or_function(
    samples: Samples, tree: Path, below: list[Frame], into: str
) -> None:
    samples.tick([0, samples.stack([(f"{tree}/app.py", "pace", 5), *below]), 1], times=10)
    assert profile(samples, tree, [(0.0, 0.02)]).spots[0].into == into


def test_code_outside_the_project_counts_by_package_where_it_computes(samples: Samples, tree: Path) -> None:
    stack = samples.stack([("/e/site-packages/werkzeug/serving.py", "run", 3)])
    samples.tick([0, stack, 1], times=10)
    samples.tick([0, stack, 0], times=10)
    (spot,) = profile(samples, tree, [(0.0, 0.04)]).spots
    assert (spot.file, spot.function, spot.wall) == ("", "werkzeug", pytest.approx(0.02))


# ---- what is nobody's request


def test_a_stack_that_waits_while_nothing_is_asked_is_left_out(samples: Samples, tree: Path) -> None:
    loop = samples.stack([(f"{tree}/app.py", "serve", 2)])
    handler = samples.stack([(f"{tree}/app.py", "pace", 5)])
    samples.tick([0, loop, 0], [1, handler, 0])
    samples.tick(times=9)
    samples.tick([1, -1, -1])
    samples.tick(times=99)
    found = profile(samples, tree, [(0.0, 0.02)], idle=[(0.022, 0.22)])
    assert spots(found) == [("app.py", 5, "pace")]


def test_the_end_of_a_request_does_not_make_its_stack_an_idle_one(samples: Samples, tree: Path) -> None:
    handler = samples.stack([(f"{tree}/app.py", "pace", 5)])
    samples.tick([1, handler, 0])
    samples.tick(times=14)
    samples.tick([1, -1, -1])
    samples.tick(times=99)
    found = profile(samples, tree, [(0.0, 0.02)], idle=[(0.02, 0.22)])
    assert spots(found) == [("app.py", 5, "pace")]


def test_what_computes_while_nothing_is_asked_is_taken_off(samples: Samples, tree: Path) -> None:
    poll = samples.stack([(f"{tree}/app.py", "poll", 2)])
    work = samples.stack([(f"{tree}/app.py", "pace", 5)])
    for stack in [poll, work] * 10 + [poll] * 5:
        samples.tick([0, stack, 1])
    samples.tick([0, -1, -1], times=5)
    found = profile(samples, tree, [(0.0, 0.04)], idle=[(0.04, 0.06)])
    assert {spot.function: round(spot.cpu, 6) for spot in found.spots} == {"pace": 0.02, "poll": 0.0}


# ---- what else may stand in a directory


def test_lines_that_are_no_samples_are_left_out(samples: Samples, tree: Path) -> None:
    samples.tick([0, samples.stack([(f"{tree}/app.py", "pace", 5)]), 1], times=10)
    samples.write(
        '["tick", 1', "[]", "7", '["tick", "a", {}, []]', '["node", 9, 9, 9, 9]', f'["tick", {10**400}, 1, 1]'
    )
    (samples.path.parent / "8-0.jsonl").write_bytes(b"\xff\xfe[[[[")
    found = read(samples.path.parent, [(0.0, 0.02)], tree, requests=1, idle=[])
    assert spots(found) == [("app.py", 5, "pace")]


def test_no_samples_are_an_empty_profile_that_says_so(tmp_path: Path, tree: Path) -> None:
    found = read(tmp_path, [(0.0, 1.0)], tree, requests=1, idle=[])
    assert found.spots == ()
    assert found.caveats == ("no interpreter left samples: not CPython, or started with -I, -E or -S",)


def test_a_note_of_the_sampler_is_a_caveat(samples: Samples, tree: Path) -> None:
    samples.tick([0, samples.stack([(f"{tree}/app.py", "pace", 5)]), 1], times=10)
    samples.lines.append(["note", "stopped after 120 s of samples"])
    found = profile(samples, tree, [(0.0, 0.02)])
    assert found.caveats == ("samples of a process end early: stopped after 120 s of samples",)


# ---- base and head


def of(
    function: str, cpu: float, wait: float = 0.0, *, file: str = "app.py", error: float = 1e-5
) -> Function:
    return Function(
        file=file,
        function=function,
        wall=cpu + wait,
        cpu=cpu,
        wall_error=error,
        cpu_error=error,
        wait_error=error,
        samples=100,
    )


def side(*functions: Function, lines: Sequence[Spot] = ()) -> Profile:
    default = [
        Spot(file=f.file, function=f.function, line=1, text="x", wall=f.wall, cpu=f.cpu) for f in functions
    ]
    spots = tuple(lines or default)
    return Profile(requests=1, seconds=1.0, samples=100, spots=spots, functions=functions)


def test_the_function_that_grew_is_a_gain() -> None:
    (gain,) = gained(side(of("f", 1e-3), of("g", 1e-3)), side(of("f", 1e-3), of("g", 1.5e-3)))
    assert (gain.function, gain.cpu, gain.wait) == ("g", pytest.approx(5e-4), pytest.approx(0.0))


def test_a_gain_within_three_standard_errors_is_none() -> None:
    assert gained(side(of("g", 1e-3, error=2e-4)), side(of("g", 1.5e-3, error=2e-4))) == ()


def test_a_gain_below_a_twentieth_of_all_is_left_out() -> None:
    base = side(of("f", 1e-3), of("g", 1e-3))
    head = side(of("f", 1.04e-3), of("g", 2e-3))
    assert [gain.function for gain in gained(base, head)] == ["g"]


def test_a_function_that_moved_to_another_file_is_compared_with_itself() -> None:
    base = side(of("f", 1e-3), of("g", 1e-3))
    head = side(of("f", 1e-3, file="lib/f.py"), of("g", 2e-3))
    assert [gain.function for gain in gained(base, head)] == ["g"]


def test_a_function_that_base_has_not_is_new() -> None:
    (gain,) = gained(side(of("f", 1e-3)), side(of("f", 1e-3), of("g", 1e-3)))
    assert (gain.function, gain.new) == ("g", True)


def test_the_line_of_a_gain_is_the_one_that_grew_and_not_the_longest() -> None:
    def line(number: int, text: str, cpu: float) -> Spot:
        return Spot(file="app.py", function="f", line=number, text=text, wall=cpu, cpu=cpu)

    base = side(of("f", 3e-3), lines=[line(4, "long()", 3e-3)])
    head = side(of("f", 4e-3), lines=[line(5, "long()", 3e-3), line(4, "planted()", 1e-3)])
    (gain,) = gained(base, head)
    assert (gain.line, gain.text) == (4, "planted()")


def test_without_samples_of_one_side_nothing_is_said() -> None:
    empty = Profile(requests=1, seconds=1.0)
    assert gained(empty, side(of("f", 1e-3))) == gained(side(of("f", 1e-3)), empty) == ()


def test_a_function_that_has_all_the_time_has_no_sampling_error(samples: Samples, tree: Path) -> None:
    samples.tick([0, samples.stack([(f"{tree}/app.py", "pace", 5)]), 1], times=500)
    (function,) = profile(samples, tree, [(0.0, 1.0)]).functions
    assert function.cpu_error == pytest.approx(0.002)  # one look


def test_half_of_the_looks_are_as_uncertain_as_a_coin(samples: Samples, tree: Path) -> None:
    both = [samples.stack([(f"{tree}/app.py", name, 5)]) for name in ("f", "g")]
    for _ in range(250):
        for stack in both:
            samples.tick([0, stack, 1])
    (function, _) = profile(samples, tree, [(0.0, 1.0)]).functions
    assert function.cpu_error == pytest.approx(0.002 * (500 * 0.5 * 0.5) ** 0.5)


def test_windows_that_differ_make_a_function_less_certain(samples: Samples, tree: Path) -> None:
    fast, slow = (samples.stack([(f"{tree}/app.py", name, 5)]) for name in ("f", "g"))
    for window in range(10):
        samples.tick([0, slow if window == 0 else fast, 1], times=50)
    windows = [(0.1 * n, 0.1 * n + 0.099) for n in range(10)]
    errors = {f.function: f.cpu_error for f in profile(samples, tree, windows).functions}
    assert errors["g"] == pytest.approx(0.099, rel=0.05)


GAIN = Gain(
    file="library/lyrics.py",
    function="themes",
    line=57,
    text="re.compile(word)",
    into="re.compile",
    caller="",
    wall=3.1e-4,
    cpu=3.1e-4,
    error=1e-5,
)


@pytest.mark.parametrize(
    ("gain", "text"),
    [
        (GAIN, "library/lyrics.py:57 themes: +0.31 ms of processor time (in re.compile)"),
        (
            dataclasses.replace(GAIN, wall=3e-3, cpu=0.0, into="time.sleep"),
            "library/lyrics.py:57 themes: +3.0 ms waiting (in time.sleep)",
        ),
        (
            dataclasses.replace(GAIN, wall=0.12, cpu=0.03, into="redis", new=True),
            "library/lyrics.py:57 themes: +90 ms waiting and +30 ms of processor time"
            " (in redis), new on head",
        ),
        (
            dataclasses.replace(GAIN, file="", function="werkzeug", line=0, into="werkzeug"),
            "outside the project's code: +0.31 ms of processor time (in werkzeug)",
        ),
        (
            dataclasses.replace(GAIN, file="t/page.html", function="", line=3, into=""),
            "t/page.html:3: +0.31 ms of processor time",
        ),
        (
            dataclasses.replace(GAIN, wall=8.84e-6, cpu=8.84e-6, into=""),
            "library/lyrics.py:57 themes: +8.8 us of processor time",
        ),
    ],
)
def test_a_gain_is_said_in_a_sentence(gain: Gain, text: str) -> None:
    assert longer(gain) == text


# ---- real programs

SERVER = """
import hashlib, json, queue, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

pool = ThreadPoolExecutor(3)
jobs = queue.Queue()

def worker():
    while True:
        done = jobs.get()
        time.sleep(0.002)
        done.set()

def compute():
    until = time.thread_time() + 0.004
    while time.thread_time() < until:
        sum(range(50))

def pause():
    time.sleep(0.006)

def ask():
    done = threading.Event()
    jobs.put(done)
    done.wait()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        compute()
        pause()
        ask()
        pool.submit(compute).result()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass

def main():
    for _ in range(2):
        threading.Thread(target=worker, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()

main()
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """40 requests to a threaded server with a pool and workers of its own, in 4 windows, then idle."""
    directory = tmp_path_factory.mktemp("served")
    (directory / "server.py").write_text(SERVER)
    environment = stacks.injected(os.environ, directory / "samples")
    windows = []
    with subprocess.Popen(
        [sys.executable, directory / "server.py"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/"
            for _ in range(4):
                start = time.monotonic()
                for _ in range(10):
                    urllib.request.urlopen(url, timeout=10).close()
                windows.append((start, time.monotonic()))
            idle = time.monotonic()
            time.sleep(0.6)
            idle_windows = [(idle, time.monotonic())]
            time.sleep(stacks.SETTLED)
        finally:
            process.kill()
    return read(directory / "samples", windows, directory, requests=40, idle=idle_windows)


def test_a_server_s_loop_and_idle_workers_are_not_in_its_profile(served: Profile) -> None:
    """Of about 20 ms a request, the loop would have all, and the two workers twice all but 2 ms."""
    waits = {f.function: f.wait for f in served.functions}
    assert waits["main"] < 0.004  # it waits for the thread that it starts
    assert 0.001 < waits["worker"] < 0.006  # the job it does


def test_a_line_that_waits_and_one_that_computes_are_told_apart(served: Profile) -> None:
    functions = {f.function: f for f in served.functions}
    compute, pause = functions["compute"], functions["pause"]
    assert compute.cpu > 0.003
    assert compute.cpu > compute.wait
    assert pause.wait > 0.004
    assert pause.wait > pause.cpu


def test_a_waiting_line_names_the_function_it_waits_in(served: Profile) -> None:
    spot = next(spot for spot in served.spots if spot.function == "pause")
    assert (spot.into, spot.text) == ("time.sleep", "time.sleep(0.006)")
    assert spot.caller == f"server.py:{SERVER.splitlines().index('        pause()') + 1} Handler.do_GET"


def test_a_template_s_lines_are_its_own(tmp_path: Path) -> None:
    templates = tmp_path / "tree" / "templates"
    templates.mkdir(parents=True)
    (templates / "page.html").write_text("<p>\n\n{% for n in range(400000) %}\n{{ n * 3 }}\n{% endfor %}\n")
    assert Environment(loader=FileSystemLoader(templates)).get_template("page.html")
    program = (
        "import time\nfrom jinja2 import Environment, FileSystemLoader\n"
        f"page = Environment(loader=FileSystemLoader({str(templates)!r})).get_template('page.html')\n"
        "start = time.monotonic(); page.render(); print(start, time.monotonic())"
    )
    environment = stacks.injected(os.environ, tmp_path / "samples")
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    start, end = map(float, done.stdout.split())
    found = read(tmp_path / "samples", [(start, end)], tmp_path / "tree", requests=1, idle=[])
    lines = {spot.line for spot in found.spots if (spot.file, spot.function) == ("templates/page.html", "")}
    assert lines & {3, 4}


def test_a_short_computing_stretch_between_waits_is_seen(tmp_path: Path) -> None:
    """Who waits for the interpreter's lock gets it at the next wait: without care none of it would be."""
    (tmp_path / "app.py").write_text(
        "import time\n"
        "def compute():\n"
        "    until = time.perf_counter() + 0.001\n"
        "    while time.perf_counter() < until: pass\n"
        "def wait(): time.sleep(0.001)\n"
        "start = time.monotonic()\n"
        "for _ in range(300): compute(); wait()\n"
        "print(start, time.monotonic())\n"
    )
    environment = stacks.injected(os.environ, tmp_path / "samples")
    done = subprocess.run(
        [sys.executable, tmp_path / "app.py"], env=environment, capture_output=True, text=True, check=True
    )
    start, end = map(float, done.stdout.split())
    found = read(tmp_path / "samples", [(start, end)], tmp_path, requests=300, idle=[])
    samples = {f.function: f.samples for f in found.functions}
    assert samples["compute"] > 0.2 * sum(samples.values())
