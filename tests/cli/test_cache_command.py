"""`perf-gate cache` as a user meets it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gate.cli import entry
from gate.dataset import Cache
from gate.services import programs

KEYS = ("a" * 40, "b" * 40, "c" * 40)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with three data sets of 100 kB, the last one used last, and a set of dependencies."""
    monkeypatch.setenv("PERF_GATE_CACHE", str(tmp_path))
    # Never this machine's own copies of programs, which other tests run.
    monkeypatch.setattr(programs, "_places", lambda: (tmp_path.with_name("programs"),))
    for age, key in enumerate(KEYS):
        place = Cache(tmp_path / "datasets").place(key)
        place.mkdir()
        (place / "base").write_bytes(os.urandom(100_000))
        os.utime(place, (1_000 + age, 1_000 + age))
    entry_ = tmp_path / "environments" / "deps"
    entry_.mkdir(parents=True)
    (entry_ / "lib").write_bytes(os.urandom(50_000))
    return tmp_path


def kept(home: Path) -> set[str]:
    return {saved.key for saved in Cache(home / "datasets").saved()}


def test_list_names_everything_with_its_size(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data sets, the one used last first, and what else lies there and what for."""
    (home / "notes.txt").write_text("mine")
    assert entry(["cache", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{home}: ")
    assert [line.split()[0] for line in lines if line.startswith("  ")] == ["c" * 12, "b" * 12, "a" * 12]
    assert "3 data sets; the oldest go above 5.0 GB" in lines[1]
    assert "used 1970-01-01 00:16 UTC" in lines[2]
    assert any(line.startswith("environments") and "dependencies" in line for line in lines)
    assert lines[-1].endswith("notes.txt")


def test_clean_removes_the_oldest_above_the_size(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing where all fits."""
    assert entry(["cache", "clean"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    assert entry(["cache", "clean", "--max-size", "250kB"]) == 0
    assert f"removed data set {'a' * 12}" in capsys.readouterr().out
    assert kept(home) == set(KEYS[1:])
    assert (home / "environments" / "deps" / "lib").exists()


def test_one_data_set_is_named_by_its_first_digits(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is none, or several, is refused before anything is removed."""
    assert entry(["cache", "clean", "--key", "bb", "--key", "zz"]) == 2
    assert "no data set of the cache begins with 'zz'" in capsys.readouterr().err
    assert kept(home) == set(KEYS)
    assert entry(["cache", "clean", "--key", "bb"]) == 0
    assert kept(home) == {KEYS[0], KEYS[2]}


def test_all_removes_what_can_be_made_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Except what a run holds, and what is not ours."""
    (home / "notes.txt").write_text("mine")
    run = Cache(home / "datasets")
    run.find(KEYS[0])
    assert entry(["cache", "clean", "--all"]) == 0
    assert kept(home) == {KEYS[0]}
    assert not (home / "environments" / "deps").exists()
    assert (home / "notes.txt").exists()
    assert entry(["cache", "clean", "--key", "aa"]) == 0
    assert "is in use and stays" in capsys.readouterr().out
    run.release()


def test_copies_of_programs_are_listed_and_go_unless_something_runs_them(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They lie outside of the cache, where another user can run them."""
    idle, busy, other = (home.with_name("programs") / name for name in ("0" * 16, "1" * 16, "datasets"))
    for copy in (idle, busy, other):
        copy.mkdir(parents=True)
        shutil.copy("/bin/sleep", copy / "server")
    assert entry(["cache", "list"]) == 0
    said = capsys.readouterr().out
    assert f"copies of server programs, where their user can run them: {idle.parent}" in said
    with subprocess.Popen([busy / "server", "60"]) as started:
        try:
            assert entry(["cache", "clean", "--all"]) == 0
        finally:
            started.kill()
    said = capsys.readouterr().out
    assert f"{busy} is in use and stays" in said
    assert "removed copies of server programs" in said
    assert (idle.exists(), busy.exists(), other.exists()) == (False, True, True)
