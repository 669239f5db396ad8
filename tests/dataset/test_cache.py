"""Data directories on disk by template key."""

from __future__ import annotations

import os

import pytest

from gate.dataset import Cache

KEYS = [f"{number:040x}" for number in range(7)]


def test_a_saved_directory_is_found(tmp_path):
    """Under the path that `place` gave, and only there."""
    cache = Cache(tmp_path / "datasets")
    assert cache.find(KEYS[0]) is None
    cache.place(KEYS[0]).mkdir()
    assert cache.find(KEYS[0]) == tmp_path / "datasets" / KEYS[0]
    assert cache.find(KEYS[1]) is None


def test_the_ones_used_last_are_kept(tmp_path):
    """Finding a directory counts as use; others and unfinished copies are not touched."""
    cache = Cache(tmp_path)
    for age, key in enumerate(KEYS):
        cache.place(key).mkdir()
        os.utime(cache.place(key), (1_000 + age, 1_000 + age))
    (tmp_path / f"{KEYS[0]}.partial").mkdir()
    cache.find(KEYS[0])
    removed = cache.prune(keep=3)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {KEYS[0], KEYS[5], KEYS[6], f"{KEYS[0]}.partial"}
    assert {path.name for path in removed} == set(KEYS[1:5])


def test_a_key_is_no_path(tmp_path):
    """Nothing outside the directory can be named."""
    with pytest.raises(ValueError, match="template key"):
        Cache(tmp_path).place("../etc")


def test_nothing_to_prune_is_no_error(tmp_path):
    """Before the first save there is no directory."""
    assert Cache(tmp_path / "none").prune() == ()
