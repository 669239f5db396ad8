"""Data directories on disk by template key."""

from __future__ import annotations

import os

import pytest

from gate.dataset import Cache

KEYS = [f"{number:040x}" for number in range(7)]


def filled(cache: Cache, sizes: dict[str, int]) -> Cache:
    """Directories of these sizes in bytes (whole blocks of 4096), used one after the other."""
    for age, (key, size) in enumerate(sizes.items()):
        cache.place(key).mkdir()
        (cache.place(key) / "base").write_bytes(os.urandom(size))
        os.utime(cache.place(key), (1_000 + age, 1_000 + age))
    return cache


def kept(cache: Cache) -> set[str]:
    return {saved.key for saved in cache.saved()}


def test_a_saved_directory_is_found(tmp_path):
    """Under the path that `place` gave, and only there."""
    cache = Cache(tmp_path / "datasets")
    assert cache.find(KEYS[0]) is None
    cache.place(KEYS[0]).mkdir()
    assert cache.find(KEYS[0]) == tmp_path / "datasets" / KEYS[0]
    assert cache.find(KEYS[1]) is None
    cache.release()


def test_the_ones_used_last_are_kept(tmp_path):
    """Finding a directory counts as use; others and unfinished copies are not touched."""
    cache = filled(Cache(tmp_path), dict.fromkeys(KEYS, 10))
    (tmp_path / f"{KEYS[0]}.partial").mkdir()
    cache.find(KEYS[0])
    cache.release()
    removed = cache.prune(keep=3)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {KEYS[0], KEYS[5], KEYS[6], f"{KEYS[0]}.partial"}
    assert {saved.key for saved in removed} == set(KEYS[1:5])


def test_the_oldest_go_until_the_rest_fits(tmp_path):
    """By bytes on disk; what is smaller and older than one that does not fit may stay."""
    cache = filled(Cache(tmp_path), {KEYS[0]: 4096, KEYS[1]: 81_920, KEYS[2]: 8192, KEYS[3]: 8192})
    total = sum(saved.size for saved in cache.saved())
    assert total >= 102_400
    assert cache.prune(limit=total) == ()
    (removed,) = cache.prune(limit=total - 1)
    assert (removed.key, removed.size >= 4096) == (KEYS[0], True)
    (removed,) = cache.prune(limit=40_000)
    assert removed.key == KEYS[1]
    assert kept(cache) == {KEYS[2], KEYS[3]}


def test_the_newest_stays_even_if_it_is_too_large(tmp_path):
    """Else a data set above the limit would be saved and removed in every run; 0 means nothing stays."""
    cache = filled(Cache(tmp_path), {KEYS[0]: 10, KEYS[1]: 40_960})
    cache.prune(limit=8_192)
    assert kept(cache) == {KEYS[1]}
    cache.prune(limit=0)
    assert kept(cache) == set()


def test_what_a_run_holds_is_not_removed(tmp_path):
    """From `find` until that run ends; another one may find it at the same time."""
    run, other = filled(Cache(tmp_path), dict.fromkeys(KEYS[:2], 10)), Cache(tmp_path)
    held = run.find(KEYS[0])
    assert other.prune(limit=0)[0].key == KEYS[1]
    assert [(saved.key, saved.busy) for saved in other.saved()] == [(KEYS[0], True)]
    assert other.find(KEYS[0]) == held
    run.release()
    assert not run.remove(KEYS[0])
    other.release()
    assert run.remove(KEYS[0])
    assert kept(run) == set()


def test_what_was_removed_is_not_found(tmp_path):
    """Nor removed a second time; nothing of it is left."""
    cache = filled(Cache(tmp_path), {KEYS[0]: 10})
    assert cache.remove(KEYS[0])
    assert cache.find(KEYS[0]) is None
    assert not cache.remove(KEYS[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(b"\0" + file.read_bytes()[1:]),
        lambda file: file.unlink(),
        lambda file: file.with_name("more").write_bytes(b""),
    ],
    ids=["cut short", "changed", "gone", "one more"],
)
def test_a_damaged_directory_is_removed_and_not_found(tmp_path, damage):
    """So that it is built again; an undamaged one beside it is found."""
    cache = Cache(tmp_path)
    for key in KEYS[:2]:
        cache.place(key).mkdir()
        (cache.place(key) / "base").write_bytes(b"rows" * 1_000)
        cache.seal(key)
    damage(cache.place(KEYS[0]) / "base")
    assert cache.find(KEYS[0]) is None
    assert cache.find(KEYS[1]) == tmp_path / KEYS[1]
    cache.release()
    assert {path.name for path in tmp_path.iterdir()} == {KEYS[1], f"{KEYS[1]}.sums"}


def test_what_was_noted_first_stays(tmp_path):
    """Whoever saves the same key again finds the other run's directory, and must not bless its damage."""
    cache = filled(Cache(tmp_path), {KEYS[0]: 10})
    cache.seal(KEYS[0])
    (cache.place(KEYS[0]) / "base").write_bytes(b"damaged")
    cache.seal(KEYS[0])
    assert cache.find(KEYS[0]) is None


def test_a_directory_without_notes_is_found(tmp_path):
    """Its run was killed after the directory was whole and before it was noted."""
    cache = filled(Cache(tmp_path), {KEYS[0]: 10})
    assert cache.find(KEYS[0]) == tmp_path / KEYS[0]
    cache.release()


def test_a_key_is_no_path(tmp_path):
    """Nothing outside the directory can be named."""
    with pytest.raises(ValueError, match="template key"):
        Cache(tmp_path).place("../etc")


def test_nothing_to_prune_is_no_error(tmp_path):
    """Before the first save there is no directory."""
    assert Cache(tmp_path / "none").prune() == ()
