from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from gate.errors import EnvironmentFailure
from gate.services import place
from gate.services.account import Account, choose_account
from gate.services.place import check_room, identity, reap, run_directory

MYSELF = Account(name="me", uid=os.getuid(), gid=os.getgid(), other=False)


def ignore(_: str) -> None:
    pass


@pytest.fixture
def ended() -> dict[str, object]:
    """The identity of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    found = identity(process.pid)
    process.communicate(b"\n")
    return found


def left_behind(tmp_path, owner, name="perf-gate-0123456789abcdef"):
    directory = tmp_path / name
    directory.mkdir()
    (directory / "data").touch()
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    record = state / f"{name}.json"
    record.write_text(json.dumps({"directory": str(directory), "docker": "", "owner": owner}))
    return state, directory, record


def test_a_run_has_a_private_directory_and_leaves_neither_it_nor_a_record(tmp_path):
    """While it lives there is one record naming the directory; afterwards nothing."""
    with run_directory(tmp_path, choose_account(), needed=0, notify=ignore) as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        (record,) = tmp_path.iterdir()
        assert json.loads(record.read_text())["directory"] == str(directory)
    assert not directory.exists()
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_run_passes_through_unchanged(tmp_path):
    """Even an OSError, which making the directory could have raised too."""
    with (
        pytest.raises(OSError, match="of the run"),
        run_directory(tmp_path, choose_account(), needed=0, notify=ignore) as directory,
    ):
        raise OSError("of the run")
    assert not directory.exists()


def test_what_an_ended_run_left_is_removed_and_said(tmp_path, ended):
    """The directory and its record go."""
    state, directory, record = left_behind(tmp_path, ended)
    said: list[str] = []
    reap(state, said.append)
    assert not directory.exists()
    assert not record.exists()
    assert str(directory) in said[0]


def test_what_a_run_before_the_last_boot_left_is_removed(tmp_path):
    """Process numbers start over at boot: a living process with the number proves nothing."""
    owner = identity(os.getpid()) | {"boot": "another"}
    state, directory, _ = left_behind(tmp_path, owner)
    reap(state, ignore)
    assert not directory.exists()


@pytest.mark.parametrize("namespace", [None, "pid:[1]"])
def test_a_living_run_is_left_alone(tmp_path, namespace):
    """Also one of another container, whose processes cannot be seen from here."""
    owner = identity(os.getpid()) | ({"namespace": namespace, "pid": 99999999} if namespace else {})
    state, directory, record = left_behind(tmp_path, owner)
    reap(state, ignore)
    assert directory.exists()
    assert record.exists()


def test_a_record_can_only_name_a_directory_of_our_own_kind(tmp_path, ended):
    """Whoever writes into the state directory cannot have anything else removed."""
    state, directory, _ = left_behind(tmp_path, ended, name="documents")
    (state / "documents.json").rename(state / "perf-gate-0123456789abcdef.json")
    (state / "perf-gate-fedcba9876543210.json").write_text("not json")
    reap(state, ignore)
    assert (directory / "data").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_state_directory_that_cannot_be_written_is_said(tmp_path):
    """The error names the directory."""
    tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentFailure) as caught:
        reap(tmp_path / "state", ignore)
    assert caught.value.where == str(tmp_path / "state")


def test_a_state_path_that_is_a_file_is_said(tmp_path):
    """The error names the path."""
    (tmp_path / "state").touch()
    with pytest.raises(EnvironmentFailure) as caught:
        reap(tmp_path / "state", ignore)
    assert caught.value.where == str(tmp_path / "state")


def test_too_little_room_is_said_with_both_figures(tmp_path):
    """The error names the place, what is free and what is needed."""
    with pytest.raises(EnvironmentFailure, match=r"MB free, 1,000,000,000,000 MB needed") as caught:
        check_room(tmp_path, 10**18)
    assert caught.value.where == str(tmp_path)


def test_memory_is_used_only_where_there_is_plenty(monkeypatch):
    """A small tmpfs, or little memory behind it, sends the data to disk."""
    monkeypatch.setattr(place, "_available_memory", lambda: 2_500_000_000)
    assert place.choose(MYSELF, 0) != place._MEMORY


def test_room_in_memory_is_bounded_by_what_is_available(monkeypatch):
    """A tmpfs promises half of all memory, whether or not it is there."""
    monkeypatch.setattr(place, "_available_memory", lambda: 1_300_000_000)
    if place._MEMORY.is_dir():
        assert place.room(place._MEMORY) == (
            min(300_000_000, shutil.disk_usage(place._MEMORY).free),
            "memory",
        )


def test_room_on_disk_is_what_the_file_system_says(tmp_path, monkeypatch):
    """Memory has no part in it."""
    monkeypatch.setattr(place, "_in_memory", lambda _: False)
    free, runs_out = place.room(tmp_path)
    assert runs_out == "disk"
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)


def test_a_process_that_has_ended_is_dead_before_it_is_reaped():
    """A keeper's parent may be gone, and nobody else may ask for its exit status."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    owner = identity(process.pid)
    assert place.lives(owner)
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not place.lives(owner)
    process.wait()
