"""The analysis of lyrics: processor only."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import corpus
from library import lyrics

SIZES = [10, 50, 100]
LONG = corpus.song(seed=1, verses=20)
TEXT = lyrics.normalised(LONG)
WORDS = lyrics.tokens(TEXT)
LINES = lyrics.lines(TEXT)


def test_tokens(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lyrics.tokens, TEXT) == WORDS


def test_sentiment(benchmark: BenchmarkFixture) -> None:
    assert -1 <= benchmark(lyrics.sentiment, WORDS) <= 1


def test_themes(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lyrics.themes, TEXT)


def test_readability(benchmark: BenchmarkFixture) -> None:
    assert 0 < benchmark(lyrics.readability, WORDS, len(LINES)) <= 100


def test_keywords(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(lyrics.keywords, WORDS, most=8)) == 8


def test_phrases(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lyrics.phrases, WORDS)


def test_rhyme_scheme(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(lyrics.rhyme_scheme, LINES)) == len(LINES)


def test_timed_lines(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lyrics.timed_lines, corpus.timed_song(seed=1, verses=20))


def test_analyse_one(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lyrics.analyse, corpus.song(seed=2)).word_count > 100


@pytest.mark.parametrize("size", SIZES)
def test_analyse_all(benchmark: BenchmarkFixture, size: int) -> None:
    assert len(benchmark(lyrics.analyse_all, corpus.songs(size))) == size


@pytest.mark.parametrize("size", SIZES)
def test_near_duplicates(benchmark: BenchmarkFixture, size: int) -> None:
    texts = corpus.songs(size - 1)
    assert benchmark(lyrics.near_duplicates, [*texts, texts[0]]) == [(0, size - 1)]


def test_theme_profile(benchmark: BenchmarkFixture) -> None:
    found = [lyrics.themes(lyrics.normalised(text)) for text in corpus.songs(100)]
    assert benchmark(lyrics.theme_profile, found)["love"] > 0.5
