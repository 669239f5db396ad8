"""A spare has one owner at a time, is whole or absent, and there are never many."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gate.target.spares import Spares
from gate.target.trees import Mark, marks_of

MARKS: dict[str, Mark] = {"file": (1, 2, 3, 4, 5), "directory": (6,), "odd\udcff": ()}


@pytest.fixture
def spares(tmp_path: Path) -> Spares:
    return Spares(tmp_path / "spares", kept=3)


def given(spares: Spares, place: Path, kind: str = "k", used: float | None = None) -> None:
    place.mkdir(parents=True)
    (place / "file").write_text(place.name)
    spares.give(kind, place, MARKS)
    if used is not None:
        newest = max(spares.home.iterdir(), key=lambda spare: spare.stat().st_mtime)
        os.utime(newest, (used, used))


def test_what_is_given_can_be_taken_once(spares: Spares, tmp_path: Path) -> None:
    """At another place, with its content and its marks; the second to ask gets nothing."""
    given(spares, tmp_path / "one")
    assert not (tmp_path / "one").exists()
    assert spares.take("k", tmp_path / "two") == MARKS
    assert (tmp_path / "two" / "file").read_text() == "one"
    assert spares.take("k", tmp_path / "three") is None
    assert not (tmp_path / "three").exists()


def test_nothing_of_another_kind_is_taken(spares: Spares, tmp_path: Path) -> None:
    """Other dependencies are other directories, also where a name begins with the other."""
    given(spares, tmp_path / "one", kind="kk")
    assert spares.take("k", tmp_path / "two") is None


def test_there_are_never_more_than_are_kept(spares: Spares, tmp_path: Path) -> None:
    """Those given back longest ago go, of whatever kind, and lie where the last owner removes them."""
    for number in range(4):
        given(spares, tmp_path / "run" / f"env{number}", kind=f"k{number}", used=1000 + number)
    assert sorted(spare.name[:2] for spare in spares.home.iterdir()) == ["k1", "k2", "k3"]
    left = [path.name for path in (tmp_path / "run").iterdir()]
    assert [name[:7] for name in left] == ["env3-k0"]


def test_many_at_once_get_one_each(spares: Spares, tmp_path: Path) -> None:
    """Runs that ask at the same moment never share one, and none is lost."""
    for number in range(3):
        given(spares, tmp_path / f"given{number}")
    taken: list[str] = []

    def take(number: int) -> None:
        if spares.take("k", place := tmp_path / f"taken{number}") is not None:
            taken.append((place / "file").read_text())

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == ["given0", "given1", "given2"]


@pytest.mark.parametrize("note", [None, b"", b'{"file": [1, 2'])
def test_a_spare_without_its_marks_is_not_taken(spares: Spares, tmp_path: Path, note: bytes | None) -> None:
    """After a crash of the machine the note may be missing or cut short; what is in the copy is unknown."""
    given(spares, tmp_path / "one")
    (file,) = spares.home.glob("*/perf-gate-marks.json")
    file.unlink()
    if note is not None:
        file.write_bytes(note)
    assert spares.take("k", tmp_path / "two") is None


def test_a_copy_that_is_now_a_link_is_not_taken_back(spares: Spares, tmp_path: Path) -> None:
    """What it leads to belongs to somebody else."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "one").symlink_to(tmp_path / "theirs")
    spares.give("k", tmp_path / "one", MARKS)
    assert not spares.home.exists()
    assert list((tmp_path / "theirs").iterdir()) == []


def test_the_marks_are_written_beside_a_trap(spares: Spares, tmp_path: Path) -> None:
    """A link under their name, left by what ran in the copy, is not followed."""
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "perf-gate-marks.json").symlink_to(tmp_path / "theirs")
    spares.give("k", tmp_path / "one", MARKS)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert spares.take("k", tmp_path / "two") == MARKS


def test_moving_changes_no_marks(spares: Spares, tmp_path: Path) -> None:
    """Otherwise every file would be copied again each time."""
    place = tmp_path / "one"
    (place / "directory").mkdir(parents=True)
    (place / "directory" / "file").write_text("x")
    before = marks_of(place)
    spares.give("k", place, before)
    assert spares.take("k", tmp_path / "two") == before
    (tmp_path / "two" / "perf-gate-marks.json").unlink()
    assert marks_of(tmp_path / "two") == before
