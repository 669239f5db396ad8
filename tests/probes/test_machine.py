"""The machine's facts."""

from __future__ import annotations

import dataclasses
import getpass
import os
import platform
import socket
from pathlib import Path

import pytest

from gate.probes import machine
from gate.probes.machine import machine_facts


def test_the_facts_are_complete_and_name_nobody():
    """System, architecture, cores and Python are known; host, user and paths are not among them."""
    facts = machine_facts()
    assert facts.os.startswith(platform.system())
    assert facts.arch == platform.machine()
    assert facts.cores == len(os.sched_getaffinity(0))
    assert platform.python_version().startswith(facts.python + ".")
    text = " ".join(str(value) for value in dataclasses.asdict(facts).values())
    assert socket.gethostname() not in text
    assert os.getcwd() not in text
    assert getpass.getuser() not in text.split()


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("processor\t: 0\nmodel name\t: Intel(R)  Xeon(R) CPU\n", "Intel(R) Xeon(R) CPU"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n", "0x41 0xd40"),
    ],
)
def test_the_cpu_is_named_on_x86_and_on_arm(tmp_path: Path, text, model):
    """Where the kernel gives no name, the numbers of maker and part stand for it."""
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    assert machine._cpu(file) == model
