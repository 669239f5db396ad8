"""How a value grows with the size of what a case works on."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping

from gate.explain.words import number
from gate.model import PYTHON_CALLS, TIME, WORSE, Cause, Comparison

STEEPER = 0.3  # by which an exponent must have grown to be told: two sizes and noise make a tenth or two


def grown(row: Comparison, found: Cause | None, rows: Iterable[Comparison]) -> Cause | None:
    """The cause with how the value grows with the size of the input, where that has got worse.

    rows: all of the report, among them those of the same benchmark for other sizes: cases that differ in
    one number alone. The exponent is the slope of log(value) over log(size).
    """
    if row.outcome not in WORSE or row.metric not in (TIME.name, PYTHON_CALLS.name):
        return found
    for rest, size in sizes(row.case.parameters):
        family = {size: row}
        for other in rows:
            if (other.case.name, other.metric) == (row.case.name, row.metric) and other is not row:
                family |= {n: other for others, n in sizes(other.case.parameters) if others == rest}
        before = exponent({n: each.base for n, each in family.items()})
        after = exponent({n: each.head for n, each in family.items()})
        if before is None or after is None or after - before < STEEPER:
            continue
        least, most = number(min(family)), number(max(family))
        text = f"from size {least} to {most} it grows with exponent {after:.1f} (was {before:.1f})"
        said = [found.summary] if found else []
        return dataclasses.replace(found or Cause(summary=""), summary="; ".join((*said, text)))
    return found


def exponent(values: Mapping[float, float | None]) -> float | None:
    """The slope of log(value) over log(size) by least squares; None where fewer than two sizes are known."""
    points = [
        (math.log(size), math.log(value))
        for size, value in values.items()
        if size > 0 and value is not None and value > 0
    ]
    if len({x for x, _ in points}) < 2:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def sizes(parameters: str) -> Iterator[tuple[str, float]]:
    """Each numeric parameter as the size, with the others as they stand: "sort=date,page=10", "10"."""
    parts = parameters.split(",") if parameters else []
    for index, part in enumerate(parts):
        name, _, text = part.rpartition("=")
        if re.fullmatch(r"\d+(\.\d+)?", text):
            yield ",".join((*parts[:index], f"{name}=", *parts[index + 1 :])), float(text)
