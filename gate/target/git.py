"""Git as a program: run with settings that keep it out of the user's way, its errors made plain."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gate.errors import EnvironmentFailure, RepositoryError
from gate.redact import redact

_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",  # would start a daemon
    "core.splitIndex": "false",  # would leave a shared index file in the user's .git
    "core.quotePath": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.addEmbeddedRepo": "false",
    "i18n.commitEncoding": "UTF-8",
}
_SETTINGS = tuple(part for key, value in _CONFIG.items() for part in ("-c", f"{key}={value}"))
# Which git and which configuration; every other GIT_* variable (GIT_DIR, GIT_INDEX_FILE, ... as set inside
# a hook) would point git somewhere else than where it is run.
_KEPT = ("GIT_CONFIG_", "GIT_EXEC_PATH", "GIT_SSL_", "GIT_LFS_SKIP_SMUDGE", "GIT_TEST_ASSUME_DIFFERENT_OWNER")
_ASK_NOTHING = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment as git may see it: English, silent, and about no other repository."""
    kept = {k: v for k, v in environ.items() if not k.startswith("GIT_") or k.startswith(_KEPT)}
    return kept | _ASK_NOTHING


@dataclass(frozen=True, slots=True)
class Git:
    """Git in one directory. env: complete, from `environment`."""

    directory: Path
    env: Mapping[str, str] = field(repr=False)

    def attempt(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git whether it succeeds or not. env: added. Raises RepositoryError only without git."""
        command = ["git", "--no-pager", "-C", str(self.directory), *_SETTINGS, *arguments]
        try:
            return subprocess.run(
                command, env={**self.env, **(env or {})}, input=stdin, capture_output=True, check=False
            )
        except FileNotFoundError as error:
            message = "git is not installed, or not on PATH"
            raise RepositoryError(message, where=str(self.directory), hint="install git") from error

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> bytes:
        """What git printed. Raises RepositoryError with git's reason, EnvironmentFailure for a full disk."""
        done = self.attempt(*arguments, env=env, stdin=stdin)
        if done.returncode != 0:
            where = f"git {' '.join(arguments)} (in {self.directory})"
            kind = EnvironmentFailure if b"No space left on device" in done.stderr else RepositoryError
            raise kind(f"git {arguments[0]} failed: {reason(done)}", where=where)
        return done.stdout

    def line(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        return os.fsdecode(self.run(*arguments, env=env)).strip()

    def names(self, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """The entries of an answer to a command with -z; file names of any bytes survive."""
        return tuple(name for name in os.fsdecode(self.run(*arguments, env=env)).split("\0") if name)

    def resolve(self, ref: str) -> str | None:
        """The commit of a ref, or None where there is none of that name."""
        done = self.attempt("rev-parse", "-q", "--verify", "--end-of-options", f"{ref}^{{commit}}")
        return os.fsdecode(done.stdout).strip() if done.returncode == 0 else None


def reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """The line in which git says what is wrong, else its first one."""
    lines = [line for line in redact(done.stderr.decode("utf-8", "replace")).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (telling or lines or [f"exit code {done.returncode}"])[0]
