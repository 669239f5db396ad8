"""target.python finds an interpreter that runs and has the version asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gate.errors import EnvironmentFailure
from gate.target.interpreter import Interpreter, resolve

VERSION = ".".join(map(str, sys.version_info[:3]))
MINOR = ".".join(map(str, sys.version_info[:2]))


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def pretending(path: Path, version: str) -> Path:
    return program(path, f'echo \'["{path}", "{version}", "x"]\'')


def find(python: str, directory: Path, **environ: str) -> Interpreter:
    return resolve(python, directory=directory, environ=environ)


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    """Absolute, or relative to where the commands run; the version is the interpreter's own word."""
    assert find(sys.executable, tmp_path).version == VERSION
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "py").symlink_to(sys.executable)
    assert find("./bin/py", tmp_path).version == VERSION


def test_a_virtual_environment_stands_for_its_base(tmp_path: Path) -> None:
    """The same Python inside and outside an environment is the same key."""
    base = getattr(sys, "_base_executable", sys.executable)
    assert find(sys.executable, tmp_path) == find(base, tmp_path)


def test_a_name_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    """A pyenv shim without a version is on PATH and fails; the next of that name is taken."""
    program(tmp_path / "shims" / "python3", "echo 'pyenv: version not set' >&2; exit 127")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    assert find("python3", tmp_path, PATH=f"{tmp_path}/shims:{tmp_path}/bin:/bin").version == VERSION


def test_a_version_is_the_interpreters_own_word(tmp_path: Path) -> None:
    """A program called python3.99 that is another version is not taken, nor is 3.991 for 3.99."""
    pretending(tmp_path / "bin" / "python3.99", "3.98.1")
    pretending(tmp_path / ".pyenv" / "versions" / "3.991.0" / "bin" / "python", "3.991.0")
    with pytest.raises(
        EnvironmentFailure, match=r"no working interpreter for target\.python = '3\.99'"
    ) as caught:
        find("3.99", tmp_path, PATH=f"{tmp_path}/bin:/bin", HOME=str(tmp_path))
    assert f"{tmp_path}/bin/python3.99" in caught.value.where
    assert "install Python 3.99" in caught.value.hint


def test_a_version_is_found_where_tools_keep_them(tmp_path: Path) -> None:
    """pyenv, uv and the tool cache of hosted runners; the newest of a kind first."""
    for place, variables in (
        ("pyenv/versions/{}/bin/python", {"PYENV_ROOT": f"{tmp_path}/pyenv"}),
        (".local/share/uv/python/cpython-{}-linux/bin/python3.99", {"HOME": str(tmp_path)}),
        ("tools/Python/{}/x64/bin/python", {"RUNNER_TOOL_CACHE": f"{tmp_path}/tools"}),
    ):
        for version in ("3.99.2", "3.99.10"):
            pretending(tmp_path / place.format(version), version)
        assert find("3.99", tmp_path, PATH="/bin:/usr/bin", **variables).version == "3.99.10"
        assert find("3.99.2", tmp_path, PATH="/bin:/usr/bin", **variables).version == "3.99.2"


def test_the_gates_own_version_needs_no_path(tmp_path: Path) -> None:
    """The gate's interpreter is a candidate too."""
    assert find(MINOR, tmp_path, PATH="/nonexistent").version == VERSION


def test_a_missing_name_is_an_error(tmp_path: Path) -> None:
    """The hint says what can be written instead."""
    with pytest.raises(EnvironmentFailure) as caught:
        find("pypy-nightly", tmp_path, PATH="/nonexistent")
    assert caught.value.where == "nothing of that name on PATH"
