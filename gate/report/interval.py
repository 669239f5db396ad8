"""An interval drawn in characters, all rows of a report on one scale, so that the eye can compare them.

`0   =:==#==>`: 0 stands at no change, a colon at what is allowed, # at the estimate, = along the interval,
and an arrow where it goes on beyond the scale (two where the estimate itself does). None of these
characters lets a line break, and none means anything in a Markdown table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from gate.model import Comparison, Kind

CELLS = 10  # on either side of no change
WIDTH = 2 * CELLS + 1
_SCALES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
_NARROWEST, _WIDEST = 2, 6  # times the share that is allowed
_ALLOWED = 0.05  # where no row says what is allowed


def scale(rows: Iterable[Comparison]) -> float:
    """The share at the right end, of which the left end is the opposite: 0.2 is from -20 % to +20 %.

    Wide enough for every bound within six times what is allowed; what lies farther out, as the times of a
    noisy case do, leaves the scale rather than squeezing all other rows onto their zero.
    """
    timed = [row for row in rows if row.kind is Kind.TIMING]
    allowed = max((a for row in timed if (a := _share(row.allowed)) > 0), default=_ALLOWED)
    shares = [abs(share) for row in timed for share in _drawn(row)]
    needed = max((share for share in shares if share <= _WIDEST * allowed), default=0.0)
    needed = max(needed, _NARROWEST * allowed)
    return next((end for end in _SCALES if end >= needed - 1e-9), _SCALES[-1])


def ruler(end: float) -> str:
    """The heading of the column: where its ends and its middle are."""
    percent = f"{end * 100:g}"
    left, right = f"-{percent} %", f"+{percent} %"
    return f"{left:<{CELLS}}0{right:>{CELLS}}"


def picture(row: Comparison, end: float) -> str:
    """The row's interval on a scale from `-end` to `end`, `WIDTH` characters; empty where there is none."""
    drawn = _drawn(row)
    if not drawn:
        return ""
    low, estimate, high = min(drawn), drawn[0], max(drawn)
    cells = [" "] * WIDTH
    for index in range(_cell(low, end), _cell(high, end) + 1):
        cells[index] = "="
    if 0 < (allowed := _share(row.allowed)) <= end:
        cells[max(_cell(allowed, end), CELLS + 1)] = ":"
    cells[CELLS] = "0"
    cells[min(max(_cell(estimate, end), low < -end), WIDTH - 1 - (high > end))] = "#"
    if high > end:
        cells[-1] = ">"
    if low < -end:
        cells[0] = "<"
    if estimate > end:
        cells[-2] = ">"
    if estimate < -end:
        cells[1] = "<"
    return "".join(cells)


def _drawn(row: Comparison) -> tuple[float, ...]:
    """The estimate and the bounds as shares, the estimate first; none where it is unknown."""
    if row.kind is not Kind.TIMING or row.ratio is None or not math.isfinite(row.ratio):
        return ()
    bounds = (row.interval.low, row.interval.high) if row.interval is not None else ()
    return tuple(ratio - 1 for ratio in (row.ratio, *bounds) if math.isfinite(ratio))


def _share(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0


def _cell(share: float, end: float) -> int:
    """Which character a share falls on; the outermost ones take what lies beyond."""
    return CELLS + math.floor(max(-1.0, min(1.0, share / end)) * CELLS + 0.5)
