"""The packaged vocabulary: plain words from which names, titles, texts and codes are composed.

ASCII only, so that a limit in characters is a limit in bytes.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gate.dataset.encode import Bytes, Part, pool
from gate.dataset.streams import Stream, Zipf, below

_CORPUS_WORDS = 60_000
_SENTENCE = 11  # mean words in a sentence


@functools.cache
def lists() -> dict[str, tuple[str, ...]]:
    """Every list of words.txt by its name, and those made of them: "lower", "titled", "first-lower"..."""
    found: dict[str, tuple[str, ...]] = {}
    for section in Path(__file__).with_name("words.txt").read_text(encoding="ascii").split("\n["):
        name, bracket, text = section.partition("]\n")
        if bracket:
            found[name] = tuple(text.split())
    mixed = _interleaved(found["nouns"], found["adjectives"])
    return found | {
        "lower": mixed,
        "titled": tuple(word.capitalize() for word in mixed),
        "first-lower": tuple(word.lower() for word in found["first"]),
        "last-lower": tuple(word.lower() for word in found["last"]),
    }


@functools.cache
def words(name: str) -> Part:
    """One list as a pool of bytes to take from."""
    return pool([word.encode() for word in lists()[name]])


def _interleaved(nouns: tuple[str, ...], adjectives: tuple[str, ...]) -> tuple[str, ...]:
    """Adjectives among the nouns, so that both are found among the frequent words."""
    pairs = itertools.zip_longest(nouns, adjectives)
    return tuple(word for pair in pairs for word in pair if word is not None)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Running text to cut pieces from. starts: where a word begins; ends: the last word end before."""

    text: Bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


@functools.cache
def corpus() -> Corpus:
    """About 350 kB of sentences over the vocabulary; the same for every seed."""
    return written(lists()["common"] + lists()["nouns"] + lists()["adjectives"])


@functools.lru_cache(maxsize=8)
def given(words_: tuple[str, ...]) -> Part:
    """Words of a specification as a pool of bytes to take from."""
    return pool([word.encode() for word in words_])


@functools.lru_cache(maxsize=8)
def written(vocabulary: tuple[str, ...]) -> Corpus:
    """Sentences over a vocabulary; the same for every seed."""
    stream = Stream("corpus")
    ranks = Zipf(len(vocabulary), 0.9).ranks(stream.uniform(0, _CORPUS_WORDS))
    stops = below(stream.sub("stops").uniform(0, _CORPUS_WORDS), _SENTENCE) == 0
    pieces: list[str] = []
    fresh = True
    for rank, stop in zip(ranks.tolist(), stops.tolist(), strict=True):
        word = vocabulary[rank]
        pieces.append((word.capitalize() if fresh else word) + ("." if stop else ""))
        fresh = stop
    text = np.frombuffer(" ".join(pieces).encode(), dtype=np.uint8)
    gaps = np.flatnonzero(text == ord(" "))
    ends = np.zeros(len(text) + 1, dtype=np.int64)
    ends[gaps] = gaps
    return Corpus(text, np.concatenate(([0], gaps + 1)), np.maximum.accumulate(ends))
