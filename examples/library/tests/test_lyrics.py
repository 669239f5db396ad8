from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks import corpus
from library import lyrics


def test_tokens_keep_apostrophes() -> None:
    """An apostrophe inside a word belongs to it, one outside does not."""
    assert lyrics.tokens("don't 'cause rock'n'roll") == ["don't", "cause", "rock'n'roll"]


def test_lines_leave_out_marks() -> None:
    """Section marks and empty lines are not lines of the song."""
    assert lyrics.lines("[chorus]\n\n la la \n") == ["la la"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("table chair", 0.0),
        ("love and joy", 1.0),
        ("love and tears", 0.0),
        ("never happy", -1.0),
        ("not so sad", 1.0),
        ("no one is ever happy", 1.0),
    ],
)
def test_sentiment(text: str, expected: float) -> None:
    """Moods are balanced, and a negation turns only the next two words around."""
    assert expected == lyrics.sentiment(lyrics.tokens(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("hello", "clean"), ("damned", "mild"), ("damn shit", "strong"), ("shell", "clean")],
)
def test_explicit_level(text: str, expected: str) -> None:
    """The strongest word decides; parts of other words do not count."""
    assert expected == lyrics.explicit_level(text)


@pytest.mark.parametrize(
    ("word", "expected"), [("love", 1), ("table", 2), ("the", 1), ("melody", 3), ("rhythm", 1), ("hmm", 1)]
)
def test_syllables(word: str, expected: int) -> None:
    """Groups of vowels, less a silent e."""
    assert expected == lyrics.syllables(word)


def test_rhyme_scheme() -> None:
    """Lines that end alike have the same letter."""
    verse = ["in the night", "we can see", "holding tight", "you and me"]
    assert lyrics.rhyme_scheme(verse) == "ABAC"
    assert lyrics.rhyme_share(verse) == 0.5


def test_themes() -> None:
    """Only themes that are touched are named."""
    assert lyrics.themes("we dance in the rain, love, love") == {"love": 2, "party": 1, "nature": 1}


def test_keywords_order() -> None:
    """The more frequent word first, then the earlier one."""
    assert lyrics.keywords(["zebra", "apple", "moon", "moon", "the"], most=2) == ["moon", "zebra"]


def test_phrases() -> None:
    """Runs of three words that come twice."""
    assert lyrics.phrases(["one", "two", "three", "four", "one", "two", "three"]) == [("one two three", 2)]


def test_near_duplicates() -> None:
    """A text and its slightly changed copy are a pair; other texts are not."""
    first, second = corpus.song(1), corpus.song(2)
    assert lyrics.near_duplicates([first, second, first + " and more", ""]) == [(0, 2)]


def test_timed_lines() -> None:
    """Lines come in the order of time, and those without a time are left out."""
    text = "[ar:Somebody]\n[01:02.5]second\n[00:01.25] first\nno time"
    assert lyrics.timed_lines(text) == [lyrics.TimedLine(1.25, "first"), lyrics.TimedLine(62.5, "second")]
    assert lyrics.plain_text(text) == "first\nsecond"


def test_plain_text_of_plain_text() -> None:
    """Lyrics without times are left as they are, section marks too."""
    assert lyrics.plain_text("[verse]\nla") == "[verse]\nla"


def test_theme_profile() -> None:
    """Shares of texts, most frequent first, the alphabet where equal."""
    found = [{"night": 2, "love": 9}, {"love": 1}, {}, {"love": 1}]
    assert list(lyrics.theme_profile(found).items()) == [("love", 0.75), ("night", 0.25)]
    assert lyrics.theme_profile([]) == {}


def test_nothing_to_analyse() -> None:
    """A text without words has no facts, and a score all the same."""
    analysis = lyrics.analyse("")
    assert (analysis.word_count, analysis.readability, analysis.rhyme, analysis.themes) == (0, 0.0, 0.0, {})


def test_analysis_within_bounds() -> None:
    """All shares and scores keep what their documentation promises."""
    for analysis in lyrics.analyse_all(corpus.songs(20)):
        assert -1 <= analysis.sentiment <= 1
        assert 0 <= analysis.readability <= 100
        assert 0 <= analysis.score <= 100
        assert all(0 <= share <= 1 for share in (analysis.repetition, analysis.rhyme, analysis.variety))


def test_same_for_every_hash_seed() -> None:
    """The order of sets never reaches a result."""
    program = (
        "from benchmarks import corpus; from library import lyrics;"
        "print(lyrics.analyse_all(corpus.songs(5)), lyrics.near_duplicates(corpus.songs(9) * 2))"
    )
    outputs = {
        subprocess.check_output([sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
