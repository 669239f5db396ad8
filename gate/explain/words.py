"""How statements, numbers and places in the code are written in a sentence."""

from __future__ import annotations

import math
import re

from gate.model import MEMORY_GROWTH, Gain, Holding


def longer(gain: Gain) -> str:
    """ "library/lyrics.py:57 themes: +0.31 ms of processor time (in re.compile)"."""
    computes = gain.cpu >= gain.wait
    large, small = (gain.cpu, gain.wait) if computes else (gain.wait, gain.cpu)
    words = ("of processor time", "waiting") if computes else ("waiting", "of processor time")
    text = f"{place(gain)}: {_short(large)} {words[0]}"
    if small >= large / 4:
        text += f" and {_short(small)} {words[1]}"
    if gain.into:
        text += f" (in {gain.into})"
    return text + (", new on head" if gain.new else "")


def _short(seconds: float) -> str:
    """Two figures: +0.31 ms, +3.0 ms, +120 ms, +8.8 us."""
    scale, unit = (1e3, "ms") if abs(seconds) >= 1e-5 else (1e6, "us")
    value = seconds * scale
    if not math.isfinite(value):
        return f"{value} {unit}"
    digits = max(0, 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:+.{min(digits, 3)}f} {unit}"


def place(found: Gain | Holding) -> str:
    line = f":{found.line}" if found.line else ""  # of a template only the file is known
    place = f"{found.file}{line}" + (f" {found.function}" if found.function else "")
    place = place if found.file else "outside the project's code"
    if isinstance(found, Gain) and found.caller:
        place += f", called at {found.caller}"
    return place + (" (changed here)" if found.touched else "")


def holds(holding: Holding) -> str:
    """ "library/users.py:31 known: 2,310 bytes per request, none when the same one is made again"."""
    if holding.metric != MEMORY_GROWTH.name:
        return f"{place(holding)}: {number(round(holding.size / 2**20, 1))} MB"
    text = f"{place(holding)}: {number(round(holding.size))} bytes per request"
    if holding.repeated is None:
        return text
    if holding.repeated < holding.size / 10:
        return f"{text}, none when the same one is made again: each different one is kept"
    if holding.repeated > holding.size / 2:
        return f"{text}, also when the same one is made again"
    return f"{text}, {number(round(holding.repeated))} when the same one is made again"


def brief(sql: str) -> str:
    """SQL with its select list left out: `SELECT ... FROM songs WHERE id = $1`."""
    flat = re.sub(r"\s+", " ", sql).strip()
    if not re.match(r"select\b", flat, re.IGNORECASE):
        return flat
    depth = 0
    for found in re.finditer(r"[()]| from ", flat, re.IGNORECASE):
        mark = found.group()
        if mark == "(":
            depth += 1
        elif mark == ")":
            depth -= 1
        elif depth == 0:
            return flat[:6] + " ..." + flat[found.start() :] if found.start() > 20 else flat
    return flat


def number(value: float) -> str:
    """A count for a sentence: 200, 5,231, 0.5."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def plural(value: float, word: str) -> str:
    return word if value == 1 else word + "s"
