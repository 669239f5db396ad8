"""What lyrics are about and how they are made. Pure functions of text: no services, clock or randomness."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
VOWELS = re.compile(r"[aeiouy]+")
# The last vowels of a word and all that follows them, but for a silent e: "light" -> "ight".
RHYME = re.compile(r"[aeiouy]+[^aeiouy]*e?$")
TIMED_LINE = re.compile(r"^\[(\d{1,3}):(\d{2})(?:\.(\d{1,3}))?\](.*)$")

STRONG_WORDS = re.compile(r"\b(?:bastards?|bitch(?:es)?|shit(?:ty)?|whores?)\b")
MILD_WORDS = re.compile(r"\b(?:arse|bloody|crap(?:py)?|damn(?:ed)?|hell|piss(?:ed)?|screw(?:ed)?)\b")

THEMES: Mapping[str, re.Pattern[str]] = {
    "love": re.compile(r"\b(?:love[ds]?|lovers?|kiss(?:es|ed)?|hearts?|darling|baby|tender(?:ly)?)\b"),
    "loss": re.compile(r"\b(?:lost|gone|goodbye|lonely|alone|tears?|cr(?:y|ied|ying)|miss(?:ed|ing)?)\b"),
    "night": re.compile(r"\b(?:nights?|moon(?:light)?|stars?|dark(?:ness)?|midnight|dreams?|sleep)\b"),
    "party": re.compile(r"\b(?:dance[ds]?|dancing|party|drinks?|floor|dj|club|tonight|music)\b"),
    "road": re.compile(r"\b(?:roads?|highway|driv(?:e|ing)|miles?|car|train|wheels?|leaving|journey)\b"),
    "nature": re.compile(r"\b(?:rain|rivers?|sun(?:shine|light)?|sea|ocean|mountains?|wind|sky|trees?)\b"),
    "struggle": re.compile(r"\b(?:fight(?:ing)?|pain|war|broken|fall(?:ing)?|hurt|money|hustle|street)\b"),
    "faith": re.compile(r"\b(?:god|lord|heaven|pray(?:er|ing)?|angels?|soul|believe|hallelujah)\b"),
}

POSITIVE = _words(
    """
    alive baby beautiful best bright dance dream easy free friend fun glad glory gold good happy
    heaven hero home hope joy kiss laugh light love lovely lucky magic nice paradise peace perfect
    play pretty proud shine smile strong sun sunshine sweet tender together true trust warm win
    wonderful young
    """
)
NEGATIVE = _words(
    """
    afraid alone angry bad bitter bleed blind blue broken burn cold cruel cry damn dark dead death
    devil die evil fall fear fight gone hate heartache hell hurt lie lonely lose lost mad mean miss
    pain poison poor sad scared shame sick sorrow tears tired trouble ugly war waste weak wicked
    worry wrong
    """
)
NEGATIONS = _words(
    """
    ain't can't don't isn't never no nobody not nothing won't without
    """
)
STOP_WORDS = _words(
    """
    a about all am an and are as at be been but by can do for from get go got had has have he her
    him his how i i'm if in into is it it's its just know let like me my no not of oh on one or our
    out said she so than that the their them then there they this to up was we were what when where
    who will with yeah you your
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What is known about one text.

    sentiment: from -1 (sad) to 1 (happy); 0 also where no word has a mood.
    readability: Flesch's reading ease, cut to 0 (hard) to 100 (easy).
    repetition, rhyme, variety: shares from 0 to 1.
    score: 0 to 100; what a curator's list is ordered by.
    """

    word_count: int
    line_count: int
    sentiment: float
    explicit_level: str
    readability: float
    repetition: float
    rhyme: float
    variety: float
    themes: dict[str, int]
    keywords: list[str]
    score: float


@dataclass(frozen=True, slots=True)
class TimedLine:
    """A line of synchronised lyrics. at: seconds from the start of the song."""

    at: float
    text: str


def analyse(lyrics: str) -> Analysis:
    text = normalised(plain_text(lyrics))
    verse = lines(text)
    words = tokens(text)
    facts = {
        "sentiment": sentiment(words),
        "readability": readability(words, len(verse)),
        "repetition": repetition(verse),
        "rhyme": rhyme_share(verse),
        "variety": variety(words),
    }
    level = explicit_level(text)
    found = themes(text)
    return Analysis(
        word_count=len(words),
        line_count=len(verse),
        explicit_level=level,
        themes=found,
        keywords=keywords(words, most=8),
        score=score(facts, level, len(found)),
        **facts,
    )


def analyse_all(texts: Iterable[str]) -> list[Analysis]:
    return [analyse(text) for text in texts]


def normalised(lyrics: str) -> str:
    return lyrics.replace("\r\n", "\n").replace("’", "'").lower()


def lines(text: str) -> list[str]:
    """The lines that hold something, without section marks such as [chorus]."""
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not (line[0] == "[" and line[-1] == "]")]


def tokens(text: str) -> list[str]:
    """Words in lower case; an apostrophe inside a word belongs to it."""
    return WORD.findall(text)


def sentiment(words: Sequence[str]) -> float:
    """The balance of happy and sad words; a negation turns the next two words around."""
    positive = negative = turned = 0
    for word in words:
        if word in NEGATIONS:
            turned = 2
            continue
        if word in POSITIVE or word in NEGATIVE:
            if (word in POSITIVE) != (turned > 0):
                positive += 1
            else:
                negative += 1
        turned = max(turned - 1, 0)
    moods = positive + negative
    return round((positive - negative) / moods, 3) if moods else 0.0


def explicit_level(text: str) -> str:
    if STRONG_WORDS.search(text):
        return "strong"
    return "mild" if MILD_WORDS.search(text) else "clean"


def themes(text: str) -> dict[str, int]:
    """How often each theme is touched; themes that are not touched are left out."""
    counts = {name: len(pattern.findall(text)) for name, pattern in THEMES.items()}
    return {name: count for name, count in counts.items() if count}


def keywords(words: Sequence[str], *, most: int) -> list[str]:
    """The most frequent words that carry a meaning; the earlier one first where two are as frequent."""
    counts = Counter(word for word in words if len(word) > 2 and word not in STOP_WORDS)
    return [word for word, _ in counts.most_common(most)]


def syllables(word: str) -> int:
    """Groups of vowels, less a silent e; at least one. Right for about nine words of ten."""
    count = len(VOWELS.findall(word))
    if word.endswith("e") and not word.endswith("le") and count > 1:
        count -= 1
    return max(count, 1)


def readability(words: Sequence[str], line_count: int) -> float:
    """Flesch, A new readability yardstick, 1948; a line stands for a sentence."""
    if not words or not line_count:
        return 0.0
    per_line = len(words) / line_count
    per_word = sum(map(syllables, words)) / len(words)
    return round(min(max(206.835 - 1.015 * per_line - 84.6 * per_word, 0.0), 100.0), 1)


def repetition(verse: Sequence[str]) -> float:
    """The share of lines that were sung before."""
    return round(1 - len(set(verse)) / len(verse), 3) if verse else 0.0


def variety(words: Sequence[str]) -> float:
    """The share of different words."""
    return round(len(set(words)) / len(words), 3) if words else 0.0


def rhyme_key(line: str) -> str:
    """What a line rhymes on; empty where its end has no vowel."""
    words = tokens(line)
    found = RHYME.search(words[-1]) if words else None
    return found.group().removesuffix("e") if found else ""


def rhyme_scheme(verse: Sequence[str]) -> str:
    """One letter per line as poets write it, ABAB; after 26 rhymes the letters begin again."""
    letters: dict[str, str] = {}
    scheme = []
    for line in verse:
        key = rhyme_key(line)
        if key not in letters:
            letters[key] = chr(ord("A") + len(letters) % 26)
        scheme.append(letters[key])
    return "".join(scheme)


def rhyme_share(verse: Sequence[str]) -> float:
    """The share of lines that rhyme with one of the two lines before, or are rhymed with."""
    keys = [rhyme_key(line) for line in verse]
    rhymed = set()
    for index, key in enumerate(keys):
        for earlier in range(max(index - 2, 0), index):
            if key and key == keys[earlier]:
                rhymed.update((earlier, index))
    return round(len(rhymed) / len(verse), 3) if verse else 0.0


def score(facts: Mapping[str, float], level: str, theme_count: int) -> float:
    """A weighted sum; the weights are the curators' and add up to 100."""
    total = (
        25 * facts["variety"]
        + 25 * facts["rhyme"]
        + 20 * (1 - abs(facts["repetition"] - 0.3))  # a chorus is good, nothing but a chorus is not
        + 0.15 * facts["readability"]
        + 3 * min(theme_count, 5)
    )
    penalty = {"clean": 0.0, "mild": 2.0, "strong": 10.0}[level]
    return round(min(max(total - penalty, 0.0), 100.0), 2)


def phrases(words: Sequence[str], *, size: int = 3, most: int = 5) -> list[tuple[str, int]]:
    """The runs of `size` words that come at least twice, most frequent first."""
    runs = zip(*(words[start:] for start in range(size)), strict=False)
    counts = Counter(" ".join(run) for run in runs)
    return [(phrase, count) for phrase, count in counts.most_common(most) if count > 1]


def shingles(words: Sequence[str], *, size: int = 4) -> frozenset[tuple[str, ...]]:
    return frozenset(zip(*(words[start:] for start in range(size)), strict=False))


def similarity(first: frozenset[tuple[str, ...]], second: frozenset[tuple[str, ...]]) -> float:
    """Jaccard's index: the shared part of two sets, 0 to 1; two empty texts are not alike."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0


def near_duplicates(texts: Sequence[str], *, threshold: float = 0.6) -> list[tuple[int, int]]:
    """Pairs of texts that are nearly the same, as indexes in order.

    Only texts that share a shingle are compared: the work grows with the number of texts and not with
    its square, unless they really are alike.
    """
    sets = [shingles(tokens(normalised(text))) for text in texts]
    seen_in: dict[tuple[str, ...], list[int]] = {}
    candidates: set[tuple[int, int]] = set()
    for index, own in enumerate(sets):
        for shingle in own:
            earlier = seen_in.setdefault(shingle, [])
            candidates.update((other, index) for other in earlier)
            earlier.append(index)
    return sorted(pair for pair in candidates if similarity(sets[pair[0]], sets[pair[1]]) >= threshold)


def timed_lines(text: str) -> list[TimedLine]:
    """Synchronised lyrics (LRC) in the order of time; lines without a time are left out."""
    found = (TIMED_LINE.match(line) for line in text.splitlines())
    timed = [
        TimedLine(60 * int(match[1]) + int(match[2]) + _fraction(match[3]), match[4].strip())
        for match in found
        if match
    ]
    return sorted(timed, key=lambda line: line.at)


def plain_text(lyrics: str) -> str:
    """The text alone, where the lyrics are synchronised."""
    timed = timed_lines(lyrics) if lyrics.startswith("[") else []
    return "\n".join(line.text for line in timed) if timed else lyrics


def _fraction(digits: str | None) -> float:
    return int(digits) / 10 ** len(digits) if digits else 0.0


def theme_profile(found: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """The share of texts that touch each theme, most frequent first: what a playlist is about.

    found: what `themes` returned for each text.
    """
    counts: Counter[str] = Counter()
    total = 0
    for touched in found:
        counts.update(touched.keys())
        total += 1
    by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {name: round(count / total, 3) for name, count in by_count}
