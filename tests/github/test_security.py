"""SECURITY.md promises a test for every threat: each one that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = [
    row.strip("|").split(" | ")
    for row in (ROOT / "SECURITY.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", row)
]


def test_every_threat_names_its_tests() -> None:
    """No row without a file of tests, and no number twice."""
    assert [int(row[0]) for row in TABLE] == list(range(1, len(TABLE) + 1))
    assert [row[0] for row in TABLE if not re.search(r"`(tests/[\w/]+/)?test_\w+\.py`", row[-1])] == []


def test_every_test_that_is_named_exists() -> None:
    """Each file is there, and each test stands in the file that is named before it."""
    missing = []
    for row in TABLE:
        text = ""
        for name in re.findall(r"`((?:tests/\w+/)?test_\w+(?:\.py)?)`", row[-1]):
            if not name.endswith(".py"):
                missing += [] if f"def {name}(" in text else [name]
                continue
            file = ROOT / name if "/" in name else ROOT / "tests/github" / name
            text = file.read_text() if file.exists() else ""
            missing += [] if text else [name]
    assert missing == []
