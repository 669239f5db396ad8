"""Which statement of base became which one of head: a rewritten one is gone there and new here.

Pure, and linear in the texts, which may be a stranger's.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
_LONG = 8_000  # characters of a statement that are looked at
_MANY = 64  # pairs of candidates that are compared by their words; of more, the first in order are taken
_PARENTHESIS = re.compile(r"[()]")
_TABLE = re.compile(r"(?<!distinct )\b(?:from|into|update)\s+(?:only\s+)?(?!as\b)([\w.\"]+)")
_WORD = re.compile(r"[\w.]+|[^\w\s]")


def successors(
    gone: Iterable[T], new: Iterable[T], *, text: Callable[[T], str], calls: Callable[[T], float]
) -> list[tuple[T, T]]:
    """Pairs of one that is gone and the one that it became, each in one pair at most.

    They are of the same verb and table and ran as often; of several such the most alike, word by word.
    """
    groups: dict[tuple[float, tuple[str, str]], tuple[list[T], list[T]]] = defaultdict(lambda: ([], []))
    for which, several in enumerate((gone, new)):
        for one in sorted(several, key=text):
            groups[calls(one), reads(text(one))][which].append(one)
    return [pair for olds, news in groups.values() for pair in _alike(olds, news, text)]


def _alike(olds: list[T], news: list[T], text: Callable[[T], str]) -> list[tuple[T, T]]:
    if len(olds) * len(news) > _MANY:
        return list(zip(olds, news, strict=False))
    words = [[_words(text(one)) for one in side] for side in (olds, news)]
    ranked = sorted(
        ((i, j) for i in range(len(olds)) for j in range(len(news))),
        key=lambda pair: -_likeness(words[0][pair[0]], words[1][pair[1]]),
    )
    found: dict[int, int] = {}
    for i, j in ranked:
        if i not in found and j not in found.values():
            found[i] = j
    return [(olds[i], news[j]) for i, j in found.items()]


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(unnumbered(text[:_LONG].lower())))


def _likeness(one: Counter[str], other: Counter[str]) -> float:
    """0 to 1, of the words that both have (Dice)."""
    return 2 * (one & other).total() / max(1, one.total() + other.total())


def unnumbered(text: str) -> str:
    """Without the numbers of parameters: servers count those of a squashed list, or do not."""
    return re.sub(r"\$\d+", "$", text)


def reads(text: str) -> tuple[str, str]:
    """The verb of a statement and the first table it is about, in lower case and without quotes."""
    lower = text[:_LONG].lower()
    table = _TABLE.search(_outer(lower)) or _TABLE.search(lower)
    return lower.split(" ", 1)[0], table[1].replace('"', "") if table else ""


def _outer(text: str) -> str:
    """What stands in no parenthesis: what a subquery in its columns reads is not what it is about."""
    parts, depth, start = [], 0, 0
    for found in _PARENTHESIS.finditer(text):
        if found.group() == "(":
            if depth == 0:
                parts.append(text[start : found.start()])
            depth += 1
        elif depth:
            depth -= 1
            start = found.end()
    return "".join([*parts, "" if depth else text[start:]])
