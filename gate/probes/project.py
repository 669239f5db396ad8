"""The files of a project's worktree, as a running program names them."""

from __future__ import annotations

import ast
import contextlib
import filecmp
import os
import re
from pathlib import Path


def clean(name: str) -> str:
    """A name as it may stand in a report: the program writes what it likes."""
    return "".join(c if c.isprintable() else "?" for c in name[:200])


class Project:
    """The files of a worktree: which of a program's they are, and what stands in them."""

    def __init__(self, worktree: Path) -> None:
        self.root = Path(os.path.realpath(worktree))
        self._files: dict[tuple[str, str], str] = {}
        self._sources: dict[str, Source] = {}
        self._environments: dict[Path, bool] = {}

    def file(self, name: str, directory: str) -> str:
        """The path in the worktree; empty for a file that is not the project's.

        A project that is installed into its environment runs from a copy there: where it is the same as
        in the worktree, it is taken for that.
        """
        key = (name, directory)
        if key not in self._files:
            self._files[key] = self._find(name, directory)
        return self._files[key]

    def _find(self, name: str, directory: str) -> str:
        if not name or name.startswith("<") or "\0" in name:
            return ""
        try:
            path = Path(os.path.realpath(os.path.join(directory, name)))
        except ValueError:  # surrogates that stand for no byte
            return ""
        parts = path.parts
        for place in range(len(parts) - 1, 0, -1):
            if parts[place] in {"site-packages", "dist-packages"}:
                return self._original(path, Path(*parts[place + 1 :]))
        if not path.is_relative_to(self.root):
            return ""
        inside = path.relative_to(self.root)
        if any(self._environment(self.root / parent) for parent in inside.parents):
            return ""
        return clean(inside.as_posix())

    def _original(self, copy: Path, inside: Path) -> str:
        for source in (inside, "src" / inside):
            with contextlib.suppress(OSError):
                if filecmp.cmp(copy, self.root / source, shallow=False):
                    return clean(source.as_posix())
        return ""

    def _environment(self, directory: Path) -> bool:
        if directory not in self._environments:
            self._environments[directory] = (directory / "pyvenv.cfg").is_file()
        return self._environments[directory]

    def source(self, file: str) -> Source:
        if file not in self._sources:
            try:
                data = (self.root / file).read_bytes()
            except OSError:
                data = b""
            self._sources[file] = Source(file, data)
        return self._sources[file]


class Source:
    """One file of the project: its lines, the names of its functions, the calls on a line."""

    def __init__(self, file: str, data: bytes) -> None:
        self.python = file.endswith(".py")
        self.lines = data.decode("utf-8", "replace").splitlines()
        self._names: dict[tuple[int, str], str] = {}
        self._calls: dict[int, list[ast.Call]] = {}
        self._spans: list[tuple[int, int, str]] = []  # functions, each before those inside it
        if self.python:
            with contextlib.suppress(SyntaxError, ValueError, RecursionError):
                self._visit(ast.parse(data), "")

    def _visit(self, node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = prefix + child.name
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                self._names[first, child.name] = name
                if not isinstance(child, ast.ClassDef):
                    self._spans.append((child.lineno, child.end_lineno or child.lineno, name))
                inner = name + ("." if isinstance(child, ast.ClassDef) else ".<locals>.")
                self._visit(child, inner)
                continue
            if isinstance(child, ast.Call):
                for line in range(child.lineno, (child.end_lineno or child.lineno) + 1):
                    self._calls.setdefault(line, []).append(child)
            self._visit(child, prefix)

    def text(self, line: int) -> str:
        return self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""

    def qualified(self, first: int, name: str) -> str:
        """The name as 3.11 tells it, for a version that only tells its last part."""
        return self._names.get((first, name), name)

    def enclosing(self, line: int) -> str:
        """The innermost function in which a line stands; empty outside of any."""
        return next((name for first, last, name in reversed(self._spans) if first <= line <= last), "")

    def called(self, line: int, span: tuple[int, int, int, int] | None) -> str:
        """The function called at a place, as it is written: "time.sleep"; empty where it is not sure."""
        calls = self._calls.get(line, [])
        if span is not None:
            place = (span[0], span[2], span[1], span[3])
            calls = [c for c in calls if (c.lineno, c.col_offset, c.end_lineno, c.end_col_offset) == place]
        names = {ast.unparse(call.func) for call in calls}
        name = names.pop() if len(names) == 1 else ""
        return name if re.fullmatch(r"[\w.]{1,60}", name) else ""
