"""A side while its application answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gate.cli.served import Served
from gate.model import Side

FORKS_WHEN_ASKED = """\
import subprocess, sys
print("ready", flush=True)
sys.stdin.readline()
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.readline()
child.communicate(b"\\n")
"""


def test_a_process_started_after_the_first_answer_is_one_of_the_application() -> None:
    """Else its time and memory would be nobody's, and it would stay on the cores it was born on."""
    unknown: Any = SimpleNamespace()
    with subprocess.Popen(
        [sys.executable, "-c", FORKS_WHEN_ASKED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdin
        assert started.stdout
        started.stdout.readline()
        side = cast(Side, SimpleNamespace(name="head", pids=(started.pid,)))
        served = Served(prepared=unknown, side=side, counter=unknown, log=Path())
        assert served.pids == (started.pid,)
        started.stdin.write("\n")
        started.stdin.flush()
        child = int(started.stdout.readline())
        assert served.pids == (started.pid, child)
        started.stdin.write("\n")
