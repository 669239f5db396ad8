"""A tree is mended to what it was, whatever was done to it, and nothing else is touched on the way."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.target.trees import UNKNOWN, marks_of, mend

Change = Callable[[Path], object]


def make(root: Path) -> Path:
    """Files, an empty directory, a compiled file and links, all of another time than now."""
    package = root / "lib" / "package"
    (package / "__pycache__").mkdir(parents=True)
    (root / "empty").mkdir()
    (package / "a.py").write_text("A = 1\n" * 1000)
    (package / "b.py").write_text("B = 1\n")
    (package / "__pycache__" / "a.pyc").write_bytes(b"\1\2\3")
    (root / "script").write_text("#!/bin/sh\n")
    (root / "script").chmod(0o755)
    (root / "link").symlink_to("lib")
    (root / "odd\udcff name").write_text("x")
    for path in root.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    return root


def shown(root: Path) -> dict[str, object]:
    """What a program can see of a tree; the times of files too, for compiled files hold them."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        name, stat = str(path.relative_to(root)), path.lstat()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = stat.st_mode
        else:
            found[name] = (stat.st_mode, stat.st_mtime_ns, path.read_bytes())
    return found


def edit_unseen(path: Path) -> None:
    """Another text of the same size and with the old time of change."""
    before = path.stat()
    path.write_text(path.read_text().replace("1", "2"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def edit_mapped(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:1] = b"X"


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_name("aside"))
    other.rename(one)
    one.with_name("aside").rename(other)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "file").write_text("x")


def replace_by_link(path: Path) -> None:
    shutil.move(path, path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


CHANGES: dict[str, Change] = {
    "nothing": lambda root: None,
    "an edit": lambda root: (root / "lib/package/a.py").write_text("A = 2\n"),
    "an edit of the same size and time": lambda root: edit_unseen(root / "lib/package/b.py"),
    "an edit through memory": lambda root: edit_mapped(root / "lib/package/a.py"),
    "a new file": lambda root: (root / "lib/package/new.py").write_text("x"),
    "a compiled file": lambda root: (root / "lib/package/__pycache__/b.pyc").write_bytes(b"\4"),
    "a new directory": lambda root: shutil.copytree(root / "lib", root / "empty" / "more"),
    "a removed file": lambda root: (root / "script").unlink(),
    "a removed directory": lambda root: shutil.rmtree(root / "lib"),
    "a removed link": lambda root: (root / "link").unlink(),
    "another target of a link": lambda root: replace_by_link(root / "link"),
    "two files swapped": lambda root: swap(root / "lib/package/a.py", root / "lib/package/b.py"),
    "a directory for a file": lambda root: replace_by_directory(root / "script"),
    "a link for a directory": lambda root: replace_by_link(root / "lib"),
    "a link for a file": lambda root: replace_by_link(root / "script"),
    "a mode of a file": lambda root: (root / "script").chmod(0o600),
    "a mode of a directory": lambda root: (root / "empty").chmod(0o700),
    "a pipe": lambda root: os.mkfifo(root / "lib" / "pipe"),
    "everything removed": lambda root: [
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in root.iterdir()
    ],
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make(tmp_path / "source")


@pytest.fixture
def copy(tmp_path: Path, source: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "copy", symlinks=True))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_tree_is_mended(source: Path, copy: Path, change: Change) -> None:
    """It shows what its source shows, its marks are those it has, and they serve for the next time."""
    before, marks = shown(source), marks_of(copy)
    for _ in range(2):
        change(copy)
        marks = mend(copy, source, marks)
        assert shown(copy) == before
        assert marks == marks_of(copy)
    assert shown(source) == before


def test_what_is_unchanged_is_not_copied_again(source: Path, copy: Path) -> None:
    """Only the edited file is another one; this is what makes mending quick."""
    before = marks_of(copy)
    (copy / "script").write_text("#!/bin/sh\nexit 1\n")
    after = mend(copy, source, before)
    assert [name for name in before if before[name] != after[name]] == ["script"]


def test_a_file_of_unknown_state_is_copied_again(source: Path, copy: Path) -> None:
    """Whatever it is now."""
    (copy / "script").write_text("#!/bin/sh\nexit 1\n")
    mend(copy, source, marks_of(copy) | {"script": UNKNOWN})
    assert shown(copy) == shown(source)


def test_another_name_of_a_file_keeps_its_content(tmp_path: Path, source: Path, copy: Path) -> None:
    """A file that was linked to, or that a link now leads to, is left to whoever has the other name."""
    marks = marks_of(copy)
    os.link(copy / "script", tmp_path / "theirs")
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "mine").write_text("mine")
    (copy / "lib/package/b.py").unlink()
    (copy / "lib/package/b.py").symlink_to(tmp_path / "mine")
    mend(copy, source, marks)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "mine").read_text() == "mine"
    assert shown(copy) == shown(source)
