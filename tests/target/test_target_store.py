"""The cache holds whole entries only, and never grows without end."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gate.target.store import Store


def ignore(_: str) -> None:
    """Nobody listens."""


def fill(store: Store, key: str, used: int) -> Path:
    with store.alone_with(key, ignore) as entry:
        with store.building(entry) as place:
            (place / "content").write_text(key)
        os.utime(entry, (used, used))
    return entry


def test_an_entry_appears_whole(tmp_path: Path) -> None:
    """Until the block has succeeded there is nothing under the key."""
    store = Store(tmp_path / "cache", kept=3)
    with store.alone_with("k", ignore) as entry:
        with store.building(entry) as place:
            (place / "content").write_text("x")
            assert not entry.exists()
        assert (entry / "content").read_text() == "x"


def test_a_failed_entry_leaves_nothing(tmp_path: Path) -> None:
    """An interrupted installation is not there afterwards, and the old entry still is."""
    store = Store(tmp_path, kept=3)
    fill(store, "k", 1)
    interrupted = contextlib.suppress(KeyboardInterrupt)
    with interrupted, store.alone_with("k", ignore) as entry, store.building(entry) as place:
        (place / "content").write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["k"]
    assert (tmp_path / "k" / "content").read_text() == "k"


def test_the_rest_of_a_killed_run_is_not_reused(tmp_path: Path) -> None:
    """What a killed installation left is removed before the next one starts."""
    store = Store(tmp_path, kept=3)
    (tmp_path / "k.partial").mkdir()
    (tmp_path / "k.partial" / "half").write_text("x")
    assert [path.name for path in fill(store, "k", 1).iterdir()] == ["content"]


def test_the_least_recently_used_entries_go(tmp_path: Path) -> None:
    """`kept` entries stay, and one that another run is using stays too."""
    store = Store(tmp_path, kept=2)
    for used, key in enumerate("abcde", start=1):
        fill(store, key, used)
    with store.alone_with("a", ignore):
        store.prune()
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["a", "d", "e"]
    store.prune()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["d", "e"]
