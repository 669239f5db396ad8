"""The direction of imports (DESIGN: the house), read from the source."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

GATE = Path(__file__).parent.parent / "gate"
EFFECTS = {"services", "dataset", "target", "suites", "probes", "github"}
PURE = {
    "experiment",
    "plan",
    "stats",
    "policy",
    "budget",
    "explain",
    "structure",
    "report",
    "config",
    "baseline",
    "judge",
    "timing",
    "gauge",
    "redact",
    "schema",
    "toml",
}
NOUNS = {"model", "errors"}
DOORS = {
    "docker": {"services"},
    "psycopg": {"db"},
    "redis": {"db"},
    "github": {"github"},
    "pycurl": {"suites"},
    "jinja2": {"report"},
    "click": {"cli"},
    "tree_sitter": {"toml"},
    "tree_sitter_toml": {"toml"},
    "postgast": {"probes"},
    "scipy": {"stats"},
    "pydantic": {"config", "schema", "toml"},
}


def room(path: Path) -> str:
    return path.relative_to(GATE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """Absolute names of the modules a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            if node.module == "gate":
                found |= {f"gate.{alias.name}" for alias in node.names}
    return found


FILES = sorted(path for path in GATE.rglob("*.py"))


def allowed(mine: str) -> set[str]:
    if mine == "cli":
        return EFFECTS | PURE | NOUNS | {"cli", "db"}
    if mine in EFFECTS:
        with_database = {"db"} if mine in {"services", "dataset", "probes"} else set()
        return PURE | NOUNS | {mine} | with_database
    if mine in PURE:
        return PURE | NOUNS
    if mine == "db":
        return NOUNS | {"db"}
    if mine in {"__main__", "__init__"}:
        return {"cli"}
    return NOUNS


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(GATE)))
def test_rooms_import_only_downwards(path: Path) -> None:
    """A room imports itself, the rooms below it, and never a sibling."""
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("gate.")} - {"__version__"}
    assert rooms <= allowed(room(path)), f"{room(path)} may not import {rooms - allowed(room(path))}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(GATE)))
def test_each_third_party_library_has_one_door(path: Path) -> None:
    """A library with a door of its own is imported behind that door only."""
    for name in imported(path):
        doors = DOORS.get(name.split(".")[0])
        if doors is not None:
            assert room(path) in doors, f"{name} belongs behind {sorted(doors)}"


@pytest.mark.parametrize("name", sorted(NOUNS))
def test_the_nouns_need_the_standard_library_only(name: str) -> None:
    """model and errors import nothing that would have to be installed."""
    for module in imported(GATE / f"{name}.py"):
        assert module.split(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_rooms_do_not_touch_the_world(name: str) -> None:
    """No clock, no environment, no process, no socket, and random numbers by a given generator only."""
    forbidden = {
        "os",
        "time",
        "datetime",
        "subprocess",
        "socket",
        "secrets",
        "tempfile",
        "threading",
    }
    paths = [path for path in FILES if room(path) == name]
    assert paths
    for path in paths:
        assert not {module.split(".")[0] for module in imported(path)} & forbidden
        used = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "random"
        }
        assert used <= {"Random"}
