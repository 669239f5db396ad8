"""A side's own environment, made with real virtual environments and a local package; no network."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gate.config import Target
from gate.errors import ConfigError, EnvironmentFailure
from gate.target.environment import Installed, install

ENVIRON = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "HOME": os.environ.get("HOME", "/"),
    "PIP_NO_INDEX": "1",
    "GITHUB_TOKEN": "ghp_planted",
}
PIP = ("{python}", "-m", "pip", "install", "-q", "--root-user-action=ignore")

# A build backend that needs nothing, so that a project can be installed without a network.
BACKEND = """
import pathlib, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None, path="project.py"):
    name = "the_project-2.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        info = "the_project-2.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: the-project\\nVersion: 2.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\nRoot-Is-Purelib: true\\n")
        wheel.writestr(info + "RECORD", "")
        if path == "project.py":
            wheel.write(path)
        else:
            wheel.writestr(path, str(pathlib.Path.cwd()))
    return name
def build_editable(directory, config_settings=None, metadata_directory=None):
    return build_wheel(directory, path="the_project.pth")
"""


def make_wheel(directory: Path, version: str) -> Path:
    """A package "Tiny.Package" with one module and one script."""
    path = directory / f"tiny_package-{version}-py3-none-any.whl"
    info = f"tiny_package-{version}.dist-info/"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny.py", f"VERSION = {version!r}\ndef main():\n    import sys; print(sys.prefix)\n")
        wheel.writestr(info + "METADATA", f"Metadata-Version: 2.1\nName: Tiny.Package\nVersion: {version}\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n")
        wheel.writestr(info + "entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        wheel.writestr(info + "RECORD", "")
    return path


def checkout(root: Path, name: str, version: str = "1.0") -> Path:
    """A worktree with a requirements file, a wheel to satisfy it, and a project to install."""
    worktree = root / name
    worktree.mkdir(parents=True)
    wheel = make_wheel(worktree, version)
    (worktree / "requirements.txt").write_text(f"./{wheel.name}\n")
    (worktree / "backend.py").write_text(BACKEND)
    (worktree / "project.py").write_text(f"SIDE = {name!r}\n")
    (worktree / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    return worktree


def target(**fields: Any) -> Target:
    return Target.model_validate(
        {
            "python": sys.executable,
            "start": ["x"],
            "install": [[*PIP, "-r", "requirements.txt"]],
            "key_files": ["requirements.txt"],
            "project": [[*PIP, "-e", "."]],
            **fields,
        }
    )


class Room:
    """A place for worktrees, environments and one cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / "cache"
        self.said: list[str] = []

    def install(self, what: Target, worktree: Path, env: str = "", **given: Any) -> Installed:
        self.said.clear()
        arguments = {"environ": ENVIRON, "notify": self.said.append, "cache": self.cache, **given}
        return install(
            what, worktree=worktree, env_dir=self.root / (env or f"env-{worktree.name}"), **arguments
        )

    def entries(self) -> list[str]:
        return sorted(path.name for path in (self.cache / "environments").iterdir() if path.is_dir())


def ask(installed: Installed, code: str) -> str:
    done = subprocess.run(
        [installed.interpreter, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return done.stdout.strip()


Sides = tuple[Installed, Installed, list[str], list[str]]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return Room(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def sides(room: Room) -> Sides:
    """Both sides with the same dependencies, and what was said while installing them."""
    base = room.install(target(), checkout(room.root, "base"))
    said = list(room.said)
    head = room.install(target(), checkout(room.root, "head"))
    return base, head, said, list(room.said)


def test_dependencies_are_installed_once_and_the_project_for_each_side(room: Room, sides: Sides) -> None:
    """The second side's dependencies come from the cache; each side runs its own project."""
    base, head, first, second = sides
    assert [text.partition(" for ")[0] for text in first] == [
        "installing dependencies",
        "installing the project",
    ]
    assert second == ["installing the project"]
    assert [ask(side, "import project; print(project.SIDE)") for side in (base, head)] == ["base", "head"]
    assert len(room.entries()) == 1


def test_what_is_installed_is_known(sides: Sides) -> None:
    """Names are normalised; the project itself and pip's tools are no part of the data key."""
    base, head, _, _ = sides
    assert base.packages == head.packages == (("tiny-package", "1.0"),)
    assert base.python == ".".join(map(str, sys.version_info[:2]))


def test_every_side_uses_its_own_copy_alone(room: Room, sides: Sides) -> None:
    """Interpreter, scripts, pip and modules are the side's, and no file names the cache."""
    for side, name in zip(sides[:2], ("base", "head"), strict=True):
        env = room.root / f"env-{name}"
        assert side.interpreter == str(env / "bin" / "python")
        assert side.path.split(":")[0] == str(env / "bin")
        assert (
            ask(side, "import sys, tiny; print(sys.prefix, tiny.__file__.split('/lib/')[0])")
            == f"{env} {env}"
        )
        for command in (
            ["tiny"],
            ["python", "-m", "tiny"],
            ["pip", "--version"],
            ["python", "-m", "pip", "--version"],
        ):
            done = subprocess.run(
                command, env={"PATH": side.path}, capture_output=True, text=True, check=True
            )
            assert str(env) in done.stdout or command[-1] == "tiny"
        script = subprocess.run([env / "bin" / "tiny"], env={}, capture_output=True, text=True, check=True)
        assert script.stdout.strip() == str(env)
    needle = str(room.cache).encode()
    naming = [
        path
        for name in ("base", "head")
        for path in (room.root / f"env-{name}").rglob("*")
        if path.is_file() and path.suffix != ".pyc" and needle in path.read_bytes()
    ]
    assert naming == []


def test_a_changed_key_file_is_another_environment(room: Room, sides: Sides) -> None:
    """A new version in the key file is installed, and the old environment is still there."""
    installed = room.install(target(), checkout(room.root, "newer", "1.1"))
    assert installed.packages == (("tiny-package", "1.1"),)
    assert ask(installed, "import tiny; print(tiny.VERSION)") == "1.1"
    assert len(room.entries()) == 2


def test_the_key_does_not_depend_on_the_place(room: Room, sides: Sides) -> None:
    """The same files elsewhere, a file that is no key file, and another order of variables change nothing."""
    worktree = checkout(room.root / "else" / "where", "side")
    (worktree / "readme").write_text("changed")
    environ = dict(reversed([*ENVIRON.items(), ("TERM", "x")]))
    room.install(target(key_files=["req*.txt"]), worktree, environ=environ)
    assert room.said == ["installing the project"]


def test_a_file_that_an_install_command_names_is_a_key_file(room: Room, sides: Sides) -> None:
    """Forgetting to declare requirements.txt does not give a stale environment."""
    room.install(target(key_files=[]), checkout(room.root, "forgot"))
    assert room.said == ["installing the project"]


def test_the_project_among_the_cached_dependencies_is_refused(room: Room) -> None:
    """Cached, both sides would run the same code and every regression would pass."""
    worktree = checkout(room.root, "mixed")
    for number, how in enumerate((["-e", "."], ["."])):
        with pytest.raises(ConfigError, match="from the checkout itself: the-project") as caught:
            room.install(target(install=[[*PIP, *how]], project=[]), worktree, f"env-mixed-{number}")
        assert "target.project" in caught.value.hint
        assert not (room.root / f"env-mixed-{number}").exists()


def test_a_failing_install_is_never_taken_for_a_complete_one(room: Room) -> None:
    """The error has the command's last words without secrets; the next run starts from nothing."""
    worktree = checkout(room.root, "failing")
    before = room.entries() if room.cache.exists() else []
    code = "import os, sys; print('index', os.environ['PIP_INDEX_URL']); print('bad \\udcff'); sys.exit(5)"
    wrong = target(install=[["{python}", "-c", code.replace("{", "{{")]])
    environ = {**ENVIRON, "PIP_INDEX_URL": "https://me:hunter2@index.example.org/simple"}
    for _ in range(2):
        with pytest.raises(EnvironmentFailure, match=r"target\.install\[1\] failed with exit code") as caught:
            room.install(wrong, worktree, environ=environ)
        assert "hunter2" not in str(caught.value.tail) + caught.value.where
        assert "index https://***@index.example.org/simple" in caught.value.tail
        assert room.said == [f"installing dependencies for Python {sys.version.split()[0]}"]
        assert room.entries() == before


def test_a_failing_project_install_is_an_error(room: Room, sides: Sides) -> None:
    """It is named as what it is."""
    worktree = checkout(room.root, "unbuildable")
    (worktree / "backend.py").write_text("1/0\n")
    with pytest.raises(EnvironmentFailure, match=r"target\.project\[1\]") as caught:
        room.install(target(), worktree)
    assert any("ZeroDivisionError" in line for line in caught.value.tail)


def test_two_runs_at_once_install_once(tmp_path: Path) -> None:
    """The second waits for the first, says so, and takes what the first made."""
    room = Room(tmp_path)
    worktrees = [checkout(tmp_path, name) for name in ("one", "two")]
    results: list[Installed] = []
    said: list[str] = []

    def one(worktree: Path) -> None:
        results.append(room.install(target(project=[]), worktree, notify=said.append))

    threads = [threading.Thread(target=one, args=(worktree,)) for worktree in worktrees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.packages for result in results] == [(("tiny-package", "1.0"),)] * 2
    assert sorted(text.partition(" for ")[0] for text in said) == ["installing dependencies", "waiting"]
    assert len(room.entries()) == 1


def test_installers_see_their_settings_and_no_secrets_of_the_gate(room: Room, sides: Sides) -> None:
    """pip's variables are passed, with prompts and version checks off; the gate's token is not."""
    worktree = checkout(room.root, "variables")
    code = "import json, os; json.dump(dict(os.environ), open('env.json', 'w'))"
    what = target(
        project=[["python", "-c", code]],
        env={"MODE": "x{{}}", "WHERE": "{worktree}", "URL": "{postgres.url}"},
    )
    room.install(what, worktree)
    env = json.loads((worktree / "env.json").read_text())
    assert (env["MODE"], env["WHERE"]) == ("x{}", str(worktree))
    assert (env["PIP_NO_INDEX"], env["PIP_NO_INPUT"], env["PIP_DISABLE_PIP_VERSION_CHECK"]) == ("1", "1", "1")
    assert env["VIRTUAL_ENV"] == str(room.root / "env-variables")
    assert not {"URL", "GITHUB_TOKEN"} & env.keys()


def test_a_missing_key_file_is_an_error(room: Room) -> None:
    """Its place and what it is relative to are said before anything is installed."""
    worktree = checkout(room.root, "missing")
    for name in ("poetry.lock", "locks/*.lock"):
        with pytest.raises(ConfigError, match="does not exist") as caught:
            room.install(target(key_files=[name]), worktree)
        assert caught.value.where == f"target.key_files, in {worktree}"
    assert room.said == []


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    """A full disk or a wrong owner is a failure of the environment with the cache's place."""
    room = Room(tmp_path)
    room.cache.write_text("a file")
    with pytest.raises(
        EnvironmentFailure, match="cache of dependencies cannot be used: Not a directory"
    ) as caught:
        room.install(target(), checkout(tmp_path, "side"))
    assert caught.value.where == str(room.cache / "environments")


def test_another_language_is_installed_in_its_worktree(tmp_path: Path) -> None:
    """Without target.python the commands run in the checkout and the key files are the packages."""
    room = Room(tmp_path)
    worktree = tmp_path / "side"
    (worktree / "web").mkdir(parents=True)
    (worktree / "web" / "package-lock.json").write_text("{}")
    what = Target(
        directory="web",
        start=("node", "x.js"),
        install=(("touch", "installed"),),
        project=(("cp", "installed", "{worktree}/built"),),
        key_files=("package-lock.json",),
    )
    installed = room.install(what, worktree)
    assert installed == Installed(
        interpreter="",
        python="",
        packages=(("package-lock.json", hashlib.sha256(b"{}").hexdigest()[:16]),),
        path=ENVIRON["PATH"],
    )
    assert (worktree / "built").exists()
    assert not room.cache.exists()
