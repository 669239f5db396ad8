"""The sampler in a strange program: it leaves samples, and nothing else of it is to be seen.

Each program is a real interpreter; what it prints is compared whole.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gate.probes import sampler, stacks

BUSY = """
import time

def burn():
    until = time.thread_time() + 0.1
    while time.thread_time() < until: pass

"""


def run(
    directory: Path, program: str, *options: str, python: str = sys.executable, **env: str
) -> subprocess.CompletedProcess[str]:
    """The program with the sampler in it. It must end well, and say nothing on stderr."""
    environment = stacks.injected({"PATH": os.environ["PATH"], **env}, directory)
    done = subprocess.run(
        [python, *options, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done


def lines(directory: Path) -> list[list[object]]:
    """Of the samples of all processes."""
    return [
        json.loads(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_text("ascii").splitlines()
        if line
    ]


def names(directory: Path) -> set[object]:
    return {line[3] for line in lines(directory) if line[0] == "code"}


def interpreters() -> list[str]:
    """One of each version that is on this machine, besides ours."""
    found = [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin/python"))]
    return [path for path in found if int(path.split("/3.")[1].split(".")[0]) >= 9] or [sys.executable]


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).parent.parent.name)
def test_a_computing_function_is_seen_in_every_version(tmp_path: Path, python: str) -> None:
    run(tmp_path, BUSY + "burn()", python=python)
    assert "burn" in names(tmp_path)


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).parent.parent.name)
def test_forking_warns_of_no_thread(tmp_path: Path, python: str) -> None:
    program = BUSY + "import os\nif os.fork() == 0: os._exit(0)\nos.wait()\nburn()"
    run(tmp_path, program, "-W", "error", python=python)
    assert "burn" in names(tmp_path)


def test_the_program_finds_nothing_of_the_sampler_but_its_environment(tmp_path: Path) -> None:
    program = """
import sys, threading
print(sorted({"sitecustomize", "perf_gate_sampler", "json", "random"} & set(sys.modules)))
print([path for path in sys.path if "hook" in path], threading.enumerate() == [threading.main_thread()])
"""
    assert run(tmp_path, program).stdout == "[]\n[] True\n"


def test_the_next_sitecustomize_runs_as_without_us(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("print('theirs', __file__, __name__)\nX = 1\n")
    program = "import sitecustomize\nprint(sitecustomize.X)"
    done = run(tmp_path / "samples", program, PYTHONPATH=str(other))
    assert done.stdout == f"theirs {other}/sitecustomize.py sitecustomize\n1\n"


def test_a_module_of_the_project_is_not_shadowed_by_one_we_need(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "json.py").write_text("mine = 1\n")
    done = run(tmp_path / "samples", "import json; print(json.mine)", PYTHONPATH=str(project))
    assert done.stdout == "1\n"


def test_a_forked_child_leaves_samples_of_its_own(tmp_path: Path) -> None:
    program = BUSY + "import os\nif os.fork() == 0:\n    burn(); os._exit(0)\nos.wait()"
    run(tmp_path, program)
    processes = [line[1] for line in lines(tmp_path) if line[0] == "process"]
    assert len(processes) == 2
    assert processes[1]["parent"] == processes[0]["pid"] or processes[0]["parent"] == processes[1]["pid"]
    assert "burn" in names(tmp_path)  # the parent only waits


def test_an_interpreter_started_by_the_program_is_sampled_too(tmp_path: Path) -> None:
    program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY + 'burn()'!r}])"
    run(tmp_path, program)
    assert "burn" in names(tmp_path)


def test_samples_go_on_when_a_program_replaces_sleep_and_threads(tmp_path: Path) -> None:
    program = BUSY + (
        "import _thread, time\n"
        "def never(*a): raise SystemExit(9)\n"
        "time.sleep = _thread.start_new_thread = _thread.allocate_lock = time.monotonic_ns = never\n"
        "burn()"
    )
    run(tmp_path, program)
    assert "burn" in names(tmp_path)


def test_closing_every_descriptor_does_not_mix_samples_into_the_programs_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    program = (
        BUSY + f"import os\nos.closerange(3, 64)\nfile = open({str(mine)!r}, 'w')\nburn(); burn(); burn()"
    )
    run(tmp_path, program)
    assert mine.read_bytes() == b""
    assert "burn" in names(tmp_path)


def test_a_full_disk_ends_the_samples_and_not_the_program(tmp_path: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
    done = run(tmp_path, BUSY + limit + "burn(); burn(); burn(); print('done')")
    assert done.stdout == "done\n"
    assert all(path.stat().st_size <= 600 for path in tmp_path.glob("*.jsonl"))


def test_a_directory_that_is_gone_changes_nothing_for_the_program(tmp_path: Path) -> None:
    environment = stacks.injected({}, tmp_path) | {sampler.DIRECTORY: str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", BUSY + "burn(); print('done')"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_after_its_share_the_sampler_says_why_it_stops_and_gives_the_interval_back(tmp_path: Path) -> None:
    environment = stacks.injected({}, tmp_path)
    hook = tmp_path / "hook" / "perf_gate_sampler.py"
    hook.write_text(hook.read_text().replace("MOST_TICKS = 120.0", "MOST_TICKS = 0.02"))
    program = "import sys\nfor _ in range(4): burn()\nprint(sys.getswitchinterval())"
    done = subprocess.run(
        [sys.executable, "-c", BUSY + program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "0.005\n"
    assert lines(tmp_path)[-1][0] == "note"


def test_paths_may_hold_any_character(tmp_path: Path) -> None:
    directory = tmp_path / "Größe \U0001f40d"
    program = directory / "ä\udcff.py"
    directory.mkdir()
    program.write_text(BUSY + "burn()")
    environment = stacks.injected({}, directory / "samples")
    subprocess.run([sys.executable, program], env=environment, check=True, timeout=60)
    assert str(program) in {line[2] for line in lines(directory / "samples") if line[0] == "code"}


def test_isolated_interpreters_leave_nothing(tmp_path: Path) -> None:
    run(tmp_path, BUSY + "burn()", "-I")
    assert list(tmp_path.glob("*.jsonl")) == []


def test_a_free_threaded_interpreter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert "free-threaded" in sampler.refusal()


def test_the_file_can_be_compiled_by_the_oldest_version() -> None:
    ast.parse(Path(sampler.__file__).read_text(), feature_version=(3, 9))
