"""The machine's facts and the key made of them."""

from __future__ import annotations

import dataclasses
import getpass
import os
import platform
import socket
from pathlib import Path

import pytest

from gate.model import Environment
from gate.probes import machine
from gate.probes.machine import machine_facts, runner_key

HERE = Environment(
    os="Linux (debian 12)",
    arch="x86_64",
    cpu="AMD EPYC 7B13 64-Core Processor",
    cores=2,
    python="3.11",
    provider="embedded",
    postgres="18.6",
    redis="valkey 9.1.2",
)


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


def test_the_key_is_a_readable_slug_with_eight_hex_digits():
    """A directory name that says what the machine is."""
    slug, _, digits = runner_key(HERE).rpartition("-")
    assert slug == "linux-x86-64-amd-epyc-7b13-64-core-processor-2c-embedded-pg18"
    assert len(digits) == 8
    assert int(digits, 16) >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"os": "Linux (debian 13)"},
        {"arch": "aarch64"},
        {"cpu": "other"},
        {"cores": 4},
        {"python": "3.12"},
        {"provider": "docker"},
        {"postgres": "17.2"},
        {"redis": "redis 9.1.2"},
    ],
)
def test_what_changes_timings_changes_the_key(change):
    """Timings of another machine, provider, service major or Python are kept apart."""
    assert runner_key(dataclasses.replace(HERE, **change)) != runner_key(HERE)


def test_minor_versions_and_runner_class_keep_the_key():
    """A patch release of a service does not throw stored timings away."""
    other = dataclasses.replace(HERE, postgres="18.9", redis="valkey 9.2.0", runner_class="large", rows=5)
    assert runner_key(other) == runner_key(HERE)


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
