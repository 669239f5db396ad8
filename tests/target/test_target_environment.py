"""A side's own environment, made with real virtual environments and a local package; no network."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from gate.config import Target
from gate.errors import ConfigError, EnvironmentFailure
from gate.target.environment import Installed, install, installed

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

    def installed(self, what: Target, worktree: Path, env: str) -> AbstractContextManager[Installed]:
        return installed(
            what,
            worktree=worktree,
            env_dir=self.root / env,
            cache=self.cache,
            environ=ENVIRON,
            notify=self.said.append,
        )

    def spares(self) -> list[Path]:
        return sorted((self.cache / "spares").glob("*"))

    def cached(self) -> Path:
        """The only environment in the cache."""
        (name,) = self.entries()
        return self.cache / "environments" / name / "venv"

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


def site(env: Path) -> Path:
    (found,) = env.glob("lib/python*/site-packages")
    return found


def content(env: Path) -> dict[str, bytes | str]:
    """Every file of an environment, its own path aside; a link by where it leads."""
    return {
        str(path.relative_to(env)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes().replace(os.fsencode(env), b"HERE")
        for path in env.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one environment, without pip: a copy of it has few files."""
    room = Room(tmp_path_factory.mktemp("dependencies"))
    room.install(target(project=[]), checkout(room.root, "side"))
    for path in site(room.cached()).iterdir():
        if path.is_dir() and not path.name.startswith(("tiny", "__pycache__")):
            shutil.rmtree(path)
    return room.cache


@pytest.fixture
def used(tmp_path: Path, dependencies: Path) -> Room:
    """A cache of one's own with one environment, of which one copy was given back."""
    room = Room(tmp_path)
    shutil.copytree(dependencies, room.cache, symlinks=True)
    with room.installed(target(project=[]), checkout(tmp_path, "first"), "env-first"):
        pass
    return room


def test_a_copy_given_back_is_used_again(used: Room) -> None:
    """The next side has the same files, not copies, and they name its own place only."""
    (spare,) = used.spares()
    file = site(spare) / "tiny.py"
    before = file.stat().st_ino
    assert not (used.root / "env-first").exists()
    with used.installed(target(project=[]), checkout(used.root, "again"), "env-again") as side:
        assert used.spares() == []
        env = used.root / "env-again"
        assert (site(env) / "tiny.py").stat().st_ino == before
        assert ask(side, "import sys, tiny; print(sys.prefix)") == str(env)
        script = subprocess.run([env / "bin" / "tiny"], env={}, capture_output=True, text=True, check=True)
        assert script.stdout.strip() == str(env)
        assert b"env-first" not in b"".join(
            path.read_bytes() for path in env.rglob("*") if path.is_file() and path.suffix != ".pyc"
        )
    assert len(used.spares()) == 1


def test_a_copy_used_again_is_the_same_as_a_new_one(used: Room) -> None:
    """File for file, with the same search path, so that neither side is faster for how it was made."""
    what = target(project=[])
    with (
        used.installed(what, checkout(used.root, "head"), "env-head") as again,
        used.installed(what, checkout(used.root, "base"), "env-base") as new,
    ):
        assert content(used.root / "env-head") == content(used.root / "env-base")
        paths = [ask(side, "import sys; print(*sys.path, sep='|')") for side in (again, new)]
        assert paths[0].replace("env-head", "env-base") == paths[1]
        assert len(paths[0]) == len(paths[1])
        assert again.packages == new.packages


def test_what_a_side_does_to_its_copy_reaches_nobody(used: Room) -> None:
    """Its project, edits, path files and compiled files are not in the cache, nor in any later copy."""
    before = content(used.cached())
    worktree = checkout(used.root, "vandal")
    editable = "import sys; open(sys.prefix + sys.argv[1] % sys.version_info[:2], 'w').write(sys.argv[2])"
    path = "/lib/python%d.%d/site-packages/project.pth"
    what = target(project=[["{python}", "-c", editable, path, "{worktree}"]])
    with used.installed(what, worktree, "env-vandal") as side:
        assert ask(side, "import project; print(project.SIDE)") == "vandal"
        packages = site(used.root / "env-vandal")
        times = (packages / "tiny.py").stat()
        text = (packages / "tiny.py").read_text()
        (packages / "tiny.py").write_text(text.replace("1.0", "6.6"))
        os.utime(packages / "tiny.py", ns=(times.st_atime_ns, times.st_mtime_ns))
        (packages / "more.pth").write_text("import sys; sys.more = True\n")
        (packages / "__pycache__").mkdir(exist_ok=True)
        (packages / "__pycache__" / "tiny.other.pyc").write_bytes(b"x")
        (used.root / "env-vandal" / "bin" / "tiny").write_text("exit 1\n")
        (used.root / "env-vandal" / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
        shutil.rmtree(next(packages.glob("tiny*.dist-info")))
    assert len(used.spares()) == 1
    with (
        used.installed(target(project=[]), checkout(used.root, "next"), "env-next") as side,
        used.installed(target(project=[]), checkout(used.root, "anew"), "env-anew"),
    ):
        assert used.spares() == []
        assert ask(side, "import sys, tiny; print(tiny.VERSION, hasattr(sys, 'more'))") == "1.0 False"
        assert side.packages == (("tiny-package", "1.0"),)
        assert content(used.root / "env-next") == content(used.root / "env-anew")
    assert content(used.cached()) == before


def test_a_copy_of_dependencies_installed_anew_is_not_used(used: Room) -> None:
    """The same key may stand for other versions then: what the old copies hold is no longer in the cache."""
    (old,) = used.spares()
    shutil.rmtree(used.cached().parent)
    with used.installed(target(project=[]), checkout(used.root, "later"), "env-later"):
        assert used.spares() == [old]


def test_a_copy_that_cannot_be_mended_is_replaced(used: Room) -> None:
    """A new one is made, and the other is left beside it for the caller to remove."""
    (spare,) = used.spares()
    note = spare / "perf-gate-marks.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"lib/never-there.py": [1, 2, 3, 4, 5]}))
    worktree = checkout(used.root, "after")
    with used.installed(target(project=[]), worktree, "env-after") as side:
        assert ask(side, "import tiny; print(tiny.VERSION)") == "1.0"
        assert (used.root / "env-after-spoilt").is_dir()


def test_a_killed_run_leaves_only_what_its_caller_removes(used: Room) -> None:
    """Its copy is gone with its own directory; no part of it is in the cache, where the next run starts."""
    code = re.sub(
        r"^ {8}",
        "",
        f"""
        import os, signal, sys
        from pathlib import Path
        from gate.config import Target
        from gate.target.environment import installed
        told = dict(worktree=Path(sys.argv[2]), env_dir=Path(sys.argv[3]), cache=Path(sys.argv[4]))
        what = Target.model_validate_json(sys.argv[1])
        with installed(what, **told, environ={ENVIRON!r}, notify=print):
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        flags=re.MULTILINE,
    )
    what = target(project=[])
    worktree, env = checkout(used.root, "killed"), used.root / "run" / "env-killed"
    env.parent.mkdir()
    arguments = (what.model_dump_json(), str(worktree), str(env), str(used.cache))
    before = content(used.cached())
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-9, "", "")
    assert [path.name for path in env.parent.iterdir()] == ["env-killed"]
    assert used.spares() == []
    shutil.rmtree(env.parent)
    with used.installed(what, checkout(used.root, "next"), "env-next") as side:
        assert ask(side, "import tiny; print(tiny.VERSION)") == "1.0"
    assert content(used.cached()) == before
    assert len(used.spares()) == 1


def test_runs_at_once_have_a_copy_each(used: Room) -> None:
    """One takes what was given back, the other gets a new copy, and both are given back."""
    what = target(project=[])
    worktrees = [checkout(used.root, name) for name in ("one", "two")]
    both = threading.Barrier(2, timeout=60)
    seen: list[tuple[str, int]] = []

    def one(worktree: Path) -> None:
        with used.installed(what, worktree, f"env-{worktree.name}") as side:
            (site(used.root / f"env-{worktree.name}") / "tiny.py").write_text(
                f"VERSION = {worktree.name!r}\n"
            )
            both.wait()
            inode = (site(used.root / f"env-{worktree.name}") / "tiny.py").stat().st_ino
            seen.append((ask(side, "import tiny; print(tiny.VERSION)"), inode))

    threads = [threading.Thread(target=one, args=(worktree,)) for worktree in worktrees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(version for version, _ in seen) == ["one", "two"]
    assert len({inode for _, inode in seen}) == 2
    assert len(used.spares()) == 2


def test_an_existing_place_is_refused(used: Room) -> None:
    """A copy never mixes with something that is there, even an empty directory."""
    (used.root / "env-there").mkdir()
    refused = pytest.raises(EnvironmentFailure, match="File exists")
    with refused, used.installed(target(project=[]), checkout(used.root, "there"), "env-there"):
        pass
    assert len(used.spares()) == 1
