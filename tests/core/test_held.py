"""Which lines hold more on head than on base, from bytes by line."""

from __future__ import annotations

import pytest

from gate.cli.held import _gained
from gate.probes.heap import Line


def line(text: str, *, function: str = "f", number: int = 1, file: str = "a.py") -> Line:
    return Line(file, function, number, text)


LEAK = line("seen.append(row)")


@pytest.mark.parametrize(
    ("base", "head", "more"),
    [
        ({}, {LEAK: 1200.0}, {LEAK: 1200.0}),
        (
            {LEAK: 200.0},
            {line("seen.append(row)", number=9): 1200.0},
            {line("seen.append(row)", number=9): 1000.0},
        ),
        ({line("r = get()"): 1500.0}, {line("row = get()"): 1500.0, LEAK: 1200.0}, {LEAK: 1200.0}),
        ({line("x", function="g"): 1500.0}, {line("x", function="h"): 1500.0, LEAK: 1200.0}, {LEAK: 1200.0}),
        ({line("x", file="b.py"): 1500.0}, {LEAK: 1200.0}, {LEAK: 1200.0}),
        ({LEAK: 1200.0}, {}, {}),
    ],
)
def test_a_line_that_is_merely_written_anew_gains_nothing(
    base: dict[Line, float], head: dict[Line, float], more: dict[Line, float]
) -> None:
    assert _gained(base, head) == more


def test_what_was_not_asked_is_not_known() -> None:
    assert _gained(None, {LEAK: 1.0}) == {}
    assert _gained({}, None) == {}
