"""Moving a virtual environment: a copy at another place that knows only its own place.

Virtual environments hold their own path in the first lines of scripts, in pyvenv.cfg and in the
activation scripts. Compiled files hold it too, but Python corrects theirs when it loads them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_SHEBANG_LIMIT = 127  # bytes the kernel reads of a first line, before 5.1
_PLAIN = re.compile(rb"\A#!([^\n]+?/bin/python[0-9.]*)((?: [^\n]*)?)\n")
_TRAMPOLINE = re.compile(
    rb"""\A#!/bin/sh\n'''exec' (?:"([^"\n]+)"|'([^'\n]+)'|([^\s"']+))((?: [^\n]*)?) "\$0" "\$@"\n' '''\n"""
)
_LARGEST = 4_000_000  # bytes; a script is smaller, and programs are told by their zero bytes


def settle(place: Path, *, origin: str) -> tuple[str, ...]:
    """Make an environment's files and links name the place it is at, not `origin`. Says which it changed."""
    old, new = os.fsencode(origin), os.fsencode(place)
    changed = [
        path
        for path in _files(place)
        if (_relink(path, origin, str(place)) if path.is_symlink() else _rewrite(path, old, new))
    ]
    return tuple(str(path.relative_to(place)) for path in changed)


def _files(root: Path) -> Iterator[Path]:
    """What may name the environment: everything outside lib, and the .pth files inside it."""
    for directory, folders, names in os.walk(root):
        if Path(directory) == root:
            folders[:] = [name for name in folders if name not in ("lib", "lib64")]
        yield from (Path(directory, name) for name in names)
    yield from root.glob("lib/*/site-packages/*.pth")


def _relink(path: Path, origin: str, destination: str) -> bool:
    target = os.readlink(path)
    if not target.startswith(f"{origin}/"):
        return False
    path.unlink()
    path.symlink_to(destination + target.removeprefix(origin))
    return True


def _rewrite(path: Path, old: bytes, new: bytes) -> bool:
    times = path.stat()
    if times.st_size > _LARGEST:
        return False
    before = path.read_bytes()
    if b"\0" in before or old not in before:
        return False
    path.write_bytes(_first_line(before, old, new) + _body(before).replace(old, new))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return True


def _first_line(script: bytes, old: bytes, new: bytes) -> bytes:
    """What starts the script at its new place: a line the kernel can follow, however long the path is."""
    found = _started_by(script)
    if found is None:
        return b""
    *interpreters, arguments = (part or b"" for part in found.groups())
    interpreter = b"".join(interpreters).replace(old, new)  # one of them, by the kind of quotes
    line = b"#!" + interpreter + arguments
    if len(line) <= _SHEBANG_LIMIT and b" " not in interpreter:
        return line + b"\n"
    # Both a shell and a Python script: a shell sees exec, Python a string.
    return b"#!/bin/sh\n'''exec' \"" + interpreter + b'"' + arguments + b" \"$0\" \"$@\"\n' '''\n"


def _body(script: bytes) -> bytes:
    found = _started_by(script)
    return script[found.end() :] if found else script


def _started_by(script: bytes) -> re.Match[bytes] | None:
    return _TRAMPOLINE.match(script) or _PLAIN.match(script)
