"""Lyrics to measure with: always the same ones, made up from a fixed seed."""

from __future__ import annotations

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VERBS = _words(
    """
    love hold leave follow remember dance kiss fight lose find hear break carry chase forgive
    """
)
NOUNS = _words(
    """
    night heart river road moon fire rain city street star window summer winter train ocean shadow
    morning money angel dream silence mirror garden thunder mountain letter promise stranger highway
    candle
    """
)
MOODS = _words(
    """
    lonely golden broken tender wild happy bitter young quiet dark sweet cold beautiful damn lost
    """
)
ENDS = _words(
    """
    light fight night sight alone stone phone home day way stay say rain pain again train
    """
)
FILLERS = _words(
    """
    and but when never always oh i'm don't you're the my your we in of through under
    """
)


def song(seed: int, verses: int = 4) -> str:
    """Verses of four lines with a chorus after each, about 200 words at 4 verses."""
    source = random.Random(seed)
    chorus = _stanza(source)
    parts = []
    for _ in range(verses):
        parts += ["[verse]", *_stanza(source), "", "[chorus]", *chorus, ""]
    return "\n".join(parts)


def songs(count: int) -> list[str]:
    return [song(seed) for seed in range(count)]


def timed_song(seed: int, verses: int = 4) -> str:
    """A song as LRC, a line every three seconds."""
    numbered = enumerate(line for line in song(seed, verses).splitlines() if line)
    return "\n".join(f"[{3 * n // 60:02}:{3 * n % 60:02}.{n % 100:02}] {line}" for n, line in numbered)


def _stanza(source: random.Random) -> list[str]:
    return [_line(source) for _ in range(4)]


def _line(source: random.Random) -> str:
    choose = source.choice
    return (
        f"{choose(FILLERS)} {choose(MOODS)} {choose(NOUNS)} {choose(VERBS)} "
        f"{choose(FILLERS)} {choose(NOUNS)} {choose(ENDS)}"
    ).capitalize()
