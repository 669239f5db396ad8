"""A moved virtual environment has scripts the kernel can start, however long or odd its path."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gate.target.venv import settle

TRAMPOLINE = "#!/bin/sh\n'''exec' {} \"$0\" \"$@\"\n' '''\n"


def environment(origin: Path, first: str) -> Path:
    """Something like a virtual environment, with one script that prints its interpreter."""
    binaries = origin / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (binaries / "python3").symlink_to(binaries / "python")
    (binaries / "tool").write_text(first + "import sys; print(sys.executable, *sys.argv[1:])\n")
    (binaries / "tool").chmod(0o755)
    (binaries / "program").write_bytes(b"\x7fELF\0" + bytes(origin))
    (origin / "pyvenv.cfg").write_text(f"command = python -m venv {origin}\n")
    site = origin / "lib" / "python3" / "site-packages"
    site.mkdir(parents=True)
    (site / "more.pth").write_text(f"{origin}/more\n")
    (site / "data.txt").write_text(str(origin))
    return origin


def move(origin: Path, place: Path) -> tuple[str, ...]:
    shutil.copytree(origin, place, symlinks=True)
    return settle(place, origin=str(origin))


def run_tool(env: Path) -> str:
    done = subprocess.run([env / "bin" / "tool", "a b"], capture_output=True, text=True, check=True, env={})
    return done.stdout.strip()


@pytest.mark.parametrize("first", ["#!{}\n", TRAMPOLINE, TRAMPOLINE.replace("{}", '"{}"')])
@pytest.mark.parametrize("name", ["short", "with space", "long-" + "x" * 150])
def test_scripts_run_with_the_copys_interpreter(tmp_path: Path, first: str, name: str) -> None:
    """From a plain first line or through a shell, to a short path, one with a space and a long one."""
    origin = tmp_path / "o"
    environment(origin, first.format(origin / "bin" / "python"))
    move(origin, tmp_path / name)
    (tmp_path / "o").rename(tmp_path / "gone")
    assert run_tool(tmp_path / name) == f"{tmp_path / name}/bin/python a b"
    assert (tmp_path / name / "bin" / "tool").stat().st_mode & 0o111


def test_only_what_names_the_environment_is_rewritten(tmp_path: Path) -> None:
    """Settings, path files and links follow; programs and packages' own files stay byte for byte."""
    origin = environment(tmp_path / "o", "#!/bin/sh\n")
    copy = tmp_path / "copy"
    changed = move(origin, copy)
    site = copy / "lib" / "python3" / "site-packages"
    assert (copy / "pyvenv.cfg").read_text() == f"command = python -m venv {copy}\n"
    assert (site / "more.pth").read_text() == f"{copy}/more\n"
    assert (site / "data.txt").read_text() == str(origin)
    assert (copy / "bin" / "program").read_bytes() == b"\x7fELF\0" + bytes(origin)
    assert (copy / "bin" / "python3").readlink() == copy / "bin" / "python"
    assert (copy / "bin" / "python").readlink() == Path(sys.executable)
    assert sorted(changed) == ["bin/python3", "lib/python3/site-packages/more.pth", "pyvenv.cfg"]
