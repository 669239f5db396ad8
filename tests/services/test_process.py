"""Processes of a server, whatever it has started."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from gate.services import process
from gate.services.process import with_descendants

FAMILY = "sh -c 'sh -c \"echo ready; read line; :\"; :'; :"


@pytest.fixture
def family():
    """The pid of a shell whose child has a child."""
    with subprocess.Popen(["sh", "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdin is not None
        started.stdout.readline()
        yield started.pid
        started.stdin.write(b"\n")


@pytest.mark.parametrize("kernel", ["lists children", "does not"])
def test_descendants_of_every_generation_are_found(family, kernel, monkeypatch):
    """Each behind its parent, and nobody else; on a kernel without such lists it takes longer."""
    if kernel == "does not":
        monkeypatch.setattr(process, "_KERNELS_LIST", "/nowhere")
    found = with_descendants(family)
    assert found[0] == family
    assert len(found) == 3
    for parent, child in itertools.pairwise(found):
        with open(f"/proc/{child}/stat") as file:
            assert int(file.read().rpartition(")")[2].split()[1]) == parent


def test_a_process_that_has_ended_has_none():
    """Its number may be another's soon."""
    with subprocess.Popen(["true"]) as started:
        started.wait()
    assert with_descendants(started.pid) == ()
