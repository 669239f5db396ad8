"""How statements, numbers and places in the code are written in a sentence."""

from __future__ import annotations

import math
import re

from gate.model import Gain


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


def place(gain: Gain) -> str:
    place = f"{gain.file}:{gain.line}" + (f" {gain.function}" if gain.function else "")
    place = place if gain.file else "outside the project's code"
    place += f", called at {gain.caller}" if gain.caller else ""
    return place + (" (changed here)" if gain.touched else "")


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
