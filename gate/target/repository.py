"""The repository: what is judged (a snapshot), with what (the base commit), and both as worktrees.

Nothing here changes the user's index, refs or working tree; objects are added, which git collects later.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.errors import EnvironmentFailure, RepositoryError
from gate.target import base, worktrees
from gate.target.base import Event
from gate.target.git import Git, environment, reason

__all__ = ["Event", "Repository", "Snapshot"]

# The same tree on the same HEAD gives the same commit, whoever asks and whenever.
_IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "perf-gate"), ("EMAIL", "perf-gate@localhost"), ("DATE", "@946684800 +0000"))
}
_MESSAGE = "perf-gate: the working tree as it was measured"
_GITLINK = "160000"  # the mode of a submodule's entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A commit of the working tree. dirty: it differs from HEAD, its parent, and is on no branch."""

    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A clone with a working tree.

    root: of the working tree. private: for our own files, inside the git directory that all worktrees
    of the clone share, so never in the working tree.
    """

    root: Path
    private: Path
    git: Git

    @classmethod
    def discover(cls, start: Path, *, environ: Mapping[str, str]) -> Repository:
        """The repository around a directory. environ: the caller's. Raises RepositoryError."""
        start = start.resolve()
        env = environment(environ)
        question = ("rev-parse", "--git-common-dir", "--show-toplevel")
        done = Git(start, env).attempt(*question)
        if done.returncode != 0:
            raise _undiscovered(start, reason(done))
        common, root, _ = os.fsdecode(done.stdout).split("\n")
        private = (start / common).resolve() / "perf-gate"
        return cls(root=Path(root), private=private, git=Git(Path(root), env))

    def snapshot(self) -> Snapshot:
        """The working tree as a commit: tracked and unignored files as they are on the disk now.

        HEAD itself where nothing differs. Submodules stay at the commit the user's index has.
        """
        head = self._head()
        with self._index() as index:
            tree = self._add_all({"GIT_INDEX_FILE": str(index)})
        if tree == self.git.line("rev-parse", f"{head}^{{tree}}"):
            return Snapshot(commit=head, dirty=False)
        commit = self.git.line("commit-tree", tree, "-p", head, "-m", _MESSAGE, env=_IDENTITY)
        return Snapshot(commit=commit, dirty=True)

    def base_of(
        self, head: Snapshot, *, against: str, default_branch: str | None, event: Event | None
    ) -> str | None:
        """The commit that head is compared with, or None for "none".

        against: "auto" (also "stored": there the stored baseline is read), "none" or any ref.
        event: what GitHub Actions runs for, None elsewhere. None too for a push of the first commit.
        Raises RepositoryError for a shallow checkout, an unknown ref, or no common ancestor.
        """
        if against == "none":
            return None
        base.refuse_shallow(self.git)
        if against not in ("auto", "stored"):
            return base.named(self.git, against)
        commit = self.git.line("rev-parse", f"{head.commit}^1") if head.dirty else head.commit
        if event is None:
            return base.fork(self.git, commit, default_branch)
        return base.of_event(self.git, commit, default_branch, event)

    def show(self, ref: str, path: str) -> str | None:
        """The text of a file at a commit, None where it has none. path: relative to the root."""
        done = self.git.attempt("cat-file", "blob", f"{ref}:{path}")
        if done.returncode != 0:
            base.named(self.git, ref)  # an unknown commit is an error, a missing file is not
            return None
        try:
            return done.stdout.decode()
        except UnicodeDecodeError as error:
            message = f"{path} is not UTF-8 text"
            raise RepositoryError(message, where=f"{path} at {ref}, byte {error.start}") from error

    def named(self, ref: str) -> str:
        """The commit of a ref. Raises RepositoryError with the nearest one."""
        return base.named(self.git, ref)

    def changed(self, before: str, after: str) -> tuple[str, ...]:
        """The paths, from the root, that differ between two commits; a renamed file is two of them."""
        return tuple(self.git.names("diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after))

    @contextlib.contextmanager
    def worktree(self, ref: str, path: Path) -> Iterator[Path]:
        """A detached checkout of a commit at `path`, which must not exist; removed when the block ends."""
        self.prune()
        with worktrees.worktree(self.git, self._records, ref, path):
            yield path

    def prune(self) -> None:
        """Remove worktrees left behind by runs that were killed."""
        worktrees.prune(self.git, self._records)

    def left_behind(self) -> tuple[Path, ...]:
        """Worktrees that `prune` would remove now, whether or not their directory is still there."""
        return worktrees.left_behind(self._records)

    @property
    def _records(self) -> Path:
        return self.private / "worktrees"

    def _head(self) -> str:
        if commit := self.git.resolve("HEAD"):
            return commit
        message = "the repository has no commit yet"
        raise RepositoryError(
            message, where=str(self.root), hint="commit something; there is nothing to judge"
        )

    @contextlib.contextmanager
    def _index(self) -> Iterator[Path]:
        """A copy of the user's index: starting from it, git reads only files that changed since.

        The copy keeps the time of the original: git compares it with the files' times to tell which of
        them might have changed unseen in the same instant.
        """
        own = self.root / self.git.line("rev-parse", "--git-path", "index")
        with contextlib.ExitStack() as stack:
            try:
                self.private.mkdir(parents=True, exist_ok=True)
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="index-", dir=self.private))
                if own.exists():
                    shutil.copy2(own, Path(scratch, "index"))
            except OSError as error:
                message = f"cannot write into the git directory: {error.strerror}"
                raise EnvironmentFailure(message, where=str(self.private)) from error
            yield Path(scratch, "index")

    def _add_all(self, env: Mapping[str, str]) -> str:
        """The tree of the working tree, by way of the index that `env` names."""
        before = self._submodules(env)
        self.git.run("add", "-A", "--", ".", env=env)
        after = self._submodules(env)
        if after != before:
            self._restore(before, after, env)
        return self.git.line("write-tree", env=env)

    def _submodules(self, env: Mapping[str, str]) -> dict[str, str]:
        """Submodules in an index: path -> index line."""
        entries = self.git.names("ls-files", "--stage", "-z", env=env)
        return {entry.partition("\t")[2]: entry for entry in entries if entry.startswith(_GITLINK)}

    def _restore(self, before: Mapping[str, str], after: Mapping[str, str], env: Mapping[str, str]) -> None:
        """Undo what `add` did to submodules, and to clones that lie about; no worktree has their files."""
        nothing = "0" * len(self._head())
        lines = [f"0 {nothing}\t{path}" for path in after.keys() - before.keys()]
        lines += [entry for path, entry in before.items() if after.get(path) != entry]
        told = "".join(f"{line}\0" for line in lines)
        self.git.run("update-index", "-z", "--index-info", env=env, stdin=os.fsencode(told))


def _undiscovered(start: Path, said: str) -> RepositoryError:
    if "dubious ownership" in said:
        return RepositoryError(
            "git refuses this repository, which belongs to another user",
            where=str(start),
            hint=f"if you trust it: git config --global --add safe.directory {start}",
        )
    if "must be run in a work tree" in said:
        message = "this repository is bare; there is no working tree to judge"
        return RepositoryError(message, where=str(start), hint="run perf-gate in a clone with files")
    if "not a git repository" in said:
        message = f"{start} is in no git repository"
        return RepositoryError(message, hint="run perf-gate inside a clone of your project")
    return RepositoryError(f"git cannot read this repository: {said}", where=str(start))
