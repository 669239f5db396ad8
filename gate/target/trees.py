"""Trees of files that are to stay as they were made: whether they did, and mending them from the original."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

Mark = tuple[int, ...]
UNKNOWN: Mark = ()  # equals no mark of an entry


def marks_of(root: Path) -> dict[str, Mark]:
    """How every entry below a directory is now, by its path relative to it.

    A file or a link: mode, size, times of change of content and of inode, inode. Whoever writes moves one of
    them: the first time can be set back, but that moves the second. A directory: its mode, since what it
    holds is here itself. Raises OSError for a directory that may not be read.
    """
    top = os.fspath(root)
    return {e.path[len(top) + 1 :]: _mark(e.stat(follow_symlinks=False)) for e in _entries(top)}


def mend(root: Path, source: Path, marks: Mapping[str, Mark]) -> dict[str, Mark]:
    """Make a tree again what `source` is, and it was when it had these marks, whatever was done to it since.

    Returns its marks then. An entry that differs is removed, never written to: it may be a link by now, or
    have a second name.
    Raises OSError where that is not possible; the tree is then neither the one nor the other.
    """
    now = marks_of(root)
    changed = {name: mark for name, mark in now.items() if mark != marks.get(name)}
    for name in sorted(changed, reverse=True):  # what a directory holds before the directory
        wanted = marks.get(name, UNKNOWN)
        if not _is_directory(changed[name]):
            os.unlink(root / name)
            del now[name]
        elif _is_directory(wanted):
            os.chmod(root / name, stat.S_IMODE(wanted[0]))
            now[name] = wanted
        else:
            os.rmdir(root / name)
            del now[name]
    for name in sorted(marks.keys() - now.keys()):  # a directory before what it holds
        now[name] = _copied(source / name, root / name)
    return now


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as found:
        for entry in found:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)


def _mark(found: os.stat_result) -> Mark:
    if stat.S_ISDIR(found.st_mode):
        return (found.st_mode,)
    return (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _is_directory(mark: Mark) -> bool:
    return mark != UNKNOWN and stat.S_ISDIR(mark[0])


def _copied(source: Path, path: Path) -> Mark:
    if source.is_dir() and not source.is_symlink():
        path.mkdir()
        path.chmod(stat.S_IMODE(source.stat().st_mode))
    else:
        shutil.copy2(source, path, follow_symlinks=False)
    return _mark(path.lstat())
