"""Texts: limits, uniqueness, lengths, and the same in every chunk."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.dataset import names
from gate.dataset.encode import Field
from gate.dataset.streams import Stream
from gate.dataset.texts import (
    Code,
    Digits,
    Hexadecimal,
    Letters,
    Literal,
    OwnWord,
    Padded,
    Phrase,
    RowNumber,
    Running,
    Span,
    Text,
    Word,
    pattern,
)
from gate.dataset.words import lists

STREAM = Stream(1, "t", "c")
PIECES = [
    Word(STREAM, "titled"),
    Phrase(STREAM),
    Code(4),
    Hexadecimal(STREAM, 40),
    RowNumber(),
    Digits(STREAM, 1, 99),
    Running(STREAM, 80, 200, 5),
    Running(STREAM, 80, 900, 5, "lognormal", 1.0),
    Running(STREAM, 1, 90, 20, "uniform"),
    Running(STREAM, 40, words=("alpha", "beta", "gamma")),
    OwnWord(STREAM, ("rot", "grün", "blau")),
    Padded(5),
    Letters(STREAM, b"xyz", 3),
    Text((Phrase(STREAM), Literal(b"!")), (RowNumber(),), most=14),
]


def texts(piece, start, stop):
    part = Field(tuple(piece.parts(Span(start, stop)))).joined(stop - start)
    sizes = np.broadcast_to(part.sizes(), stop - start)
    return [bytes(row[:n]).decode() for row, n in zip(part.data, sizes, strict=True)]


@pytest.mark.parametrize("piece", PIECES, ids=lambda each: type(each).__name__)
def test_texts_are_the_same_in_every_chunk(piece):
    """Cut anywhere, also where the widest value falls into the other chunk."""
    whole = texts(piece, 0, 120)
    for cut in (1, 9, 50, 99, 119):
        assert whole == texts(piece, 0, cut) + texts(piece, cut, 120)


@given(st.integers(1, 4), st.integers(0, 1_000))
def test_codes_are_never_shared(width, start):
    """Within the capacity of their width."""
    stop = min(start + 500, 36**width)
    found = texts(Code(width), min(start, stop), stop)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("most", [5, 6, 12, 30])
def test_a_limit_cuts_the_stem_and_keeps_the_suffix(most):
    """A unique code at the end survives a narrow column."""
    found = texts(Text((Phrase(STREAM), Literal(b" ")), (Code(5),), most=most), 0, 500)
    assert max(map(len, found)) <= most
    assert len(set(found)) == 500


def test_running_text_varies_in_length_around_its_mean():
    """Half to twice the mean for most, within least and most."""
    sizes = [len(text) for text in texts(Running(STREAM, 100, 250, 10), 0, 3_000)]
    assert 85 < np.mean(sizes) < 115
    assert min(sizes) >= 10
    assert max(sizes) <= 250
    assert np.std(sizes) > 20


def test_running_text_longer_than_the_corpus_is_possible():
    """A document of half a megabyte."""
    (text,) = texts(Running(STREAM, 500_000, 500_000, 500_000), 0, 1)
    assert len(text) == 500_000


def test_prefixes_match_few_to_many_rows():
    """A search by prefix has frequent and rare answers."""
    first = [title.split()[0] for title in texts(Phrase(STREAM), 0, 20_000)]
    counts = sorted((first.count(word) for word in set(first)), reverse=True)
    assert counts[0] > 400
    assert counts[-1] < 60


def test_every_word_is_plain_and_stands_once():
    """ASCII, so that characters are bytes; a list without repeats keeps weights what they seem."""
    for name, words in lists().items():
        assert all(word.isascii() and word for word in words), name
        if name in ("first", "last", "countries", "languages", "kinds", "genres"):
            assert len(set(words)) == len(words), name


@pytest.mark.parametrize(
    ("column", "table", "expected"),
    [
        ("email", "users", r"[a-z]+\.[a-z]+\.[0-9a-z]+@example\.com"),
        ("userName", "people", r"[a-z]+[0-9a-z]{2}"),
        ("password_hash", "users", r"[0-9a-f]{64}"),
        ("cover_url", "albums", r"https://example\.com/.+"),
        ("country", "artists", r"[A-Z]{2}"),
        ("name", "customers", r"[A-Z][a-z]+ [A-Z][a-z]+"),
        ("title", "songs", r"[A-Z][a-z]+( [A-Z][a-z]+){0,4}"),
        ("isrc", "songs", r"[0-9A-Z]{6}"),
    ],
)
def test_the_name_of_a_column_says_what_it_holds(column, table, expected):
    """By words of the name, in snake or camel case."""

    stem, suffix = names.text(column, table, STREAM, rows=1_000, most=None)
    assert all(re.fullmatch(expected, text) for text in texts(Text(stem, suffix), 0, 200))


def test_lengths_follow_the_law_that_is_asked_for():
    """Lognormal: the mean, and a long tail; uniform: all lengths between the ends alike."""
    long = [len(text) for text in texts(Running(STREAM, 100, 800, 3, "lognormal", 0.8), 0, 20_000)]
    assert np.mean(long) == pytest.approx(97, abs=8)
    assert np.median(long) == pytest.approx(71, abs=6)
    assert max(long) > 500
    assert min(long) >= 3
    even = [len(text) for text in texts(Running(STREAM, 1, 60, 20, "uniform"), 0, 20_000)]
    assert min(even) >= 20
    assert max(even) <= 60
    assert np.mean(even) == pytest.approx(38, abs=3)


def test_running_text_is_made_of_the_given_words():
    """Capitalised or followed by a full stop, where a sentence begins or ends; cut at words' ends."""
    words = {"alpha", "beta", "gamma"}
    found = {
        word
        for text in texts(Running(STREAM, 60, words=tuple(sorted(words))), 0, 200)
        for word in text.split()
    }
    assert {word.lower().strip(".") for word in found} == words


def test_the_first_words_of_a_vocabulary_are_frequent():
    """And every one occurs."""
    found = texts(OwnWord(STREAM, ("a", "b", "c")), 0, 3_000)
    assert found.count("a") > found.count("b") > found.count("c") > 300


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("INV-{n}", r"INV-\d{1,3}"),
        ("INV-{n:6}", r"INV-\d{6}"),
        ("{n:2}", r"\d{3}"),  # 200 rows need three digits
        ("DE{digits:9}", r"DE\d{9}"),
        ("{upper:2}-{hex:4}-{lower:1}", r"[A-Z]{2}-[0-9a-f]{4}-[a-z]"),
        ("{first} {last}", r"[A-Z][a-z]+ [A-Z][a-z]+"),
        ('{"{word}": {n}}', r'\{"[a-z]+": \d+\}'),
        ("{code:3}{unknown}", r"[0-9a-z]{3}\{unknown\}"),
    ],
)
def test_patterns_are_filled(given_, expected):
    """Placeholders that are known; other braces stay, as they did before there were placeholders."""
    found = texts(Text(pattern(given_, STREAM, 200)), 0, 200)
    assert all(re.fullmatch(expected, text) for text in found), found[:3]


def test_codes_and_numbers_of_a_pattern_tell_rows_apart():
    """The others do not have to."""
    for given_ in ("{n}", "x{n:4}", "{code:3}"):
        assert len(set(texts(Text(pattern(given_, STREAM, 2_000)), 0, 2_000))) == 2_000
