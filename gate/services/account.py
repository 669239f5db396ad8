"""As whom the servers run: Postgres refuses to be root."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.services.running import Unavailable

# Postgres's own account where the machine has one; nobody exists everywhere and owns nothing.
_FOR_ROOT = ("postgres", "nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of this machine. other: not the one we run as, so processes and files must be handed over."""

    name: str
    uid: int
    gid: int
    other: bool

    @property
    def process(self) -> Mapping[str, Any]:
        """The arguments of Popen that start a process as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.other else {}

    def own(self, path: Path) -> None:
        """Hand a path over; nothing to do where we are that user already."""
        if self.other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def own_tree(self, root: Path) -> None:
        """Hand over a directory and everything in it."""
        if not self.other:
            return
        self.own(root)
        for directory, names, files in os.walk(root):
            for name in names + files:
                self.own(Path(directory, name))

    def can_reach(self, path: Path) -> bool:
        """Whether every directory above the path may be entered, by mode bits. Access lists are not read."""
        if not self.other:
            return True
        return all(self._can_enter(directory) for directory in path.resolve().parents)

    def _can_enter(self, directory: Path) -> bool:
        status = directory.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def choose_account(*, listed: bool = True) -> Account:
    """The user we are; for root, one that exists already (accounts are never added).

    listed: whether our own user must be in the user database, as initdb demands outside of a container.
    """
    uid = os.geteuid()
    if uid != 0:
        return _myself(uid, listed=listed)
    for name in _FOR_ROOT:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid, other=True)
    raise Unavailable(
        f"Postgres does not run as root, and there is no user {' or '.join(_FOR_ROOT)} to run it as",
        hint="run perf-gate as an ordinary user",
    )


def _myself(uid: int, *, listed: bool) -> Account:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError as error:
        if listed:
            raise Unavailable(
                f"user id {uid} has no entry in the user database, "
                "without which Postgres cannot be initialised",
                hint="run as a named user or as root (docker run --user), or use --services docker",
            ) from error
        name = f"user{uid}"
    return Account(name=name, uid=uid, gid=os.getegid(), other=False)
