"""Numbers and foreign text as people read them."""

from __future__ import annotations

import dataclasses
import math

import pytest
from example_reports import PLAYLIST, timed
from hypothesis import given
from hypothesis import strategies as st

from gate.report import format as f


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (202.0, "202"),
        (12345.0, "12,345"),
        (0.5, "0.5"),
        (1 / 3, "0.333"),
        (8420.5, "8,420.5"),
        (0.00123456, "0.00123"),
        (0.0, "0"),
        (-3.0, "-3"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_counts(value: float, expected: str) -> None:
    """Whole numbers have no decimals, others at most three that say something."""
    assert f.count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0012, "1.2 ms"),
        (0.00085, "850 us"),
        (0.00099996, "1 ms"),
        (0.9996, "1 s"),
        (64.0, "64 s"),
        (119.9, "120 s"),
        (312.0, "5 min 12 s"),
        (360.0, "6 min"),
        (359.7, "6 min"),
        (5e-8, "50 ns"),
        (0.0, "0 ns"),
        (math.nan, "-"),
    ],
)
def test_seconds(value: float, expected: str) -> None:
    """The largest unit that leaves a whole part, three digits."""
    assert f.seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (512, "512 B"),
        (24312, "24.3 kB"),
        (999_960, "1 MB"),
        (1_050_000, "1.05 MB"),
        (0, "0 B"),
        (2.5e9, "2.5 GB"),
    ],
)
def test_octets(value: float, expected: str) -> None:
    """Decimal units, as a budget is written."""
    assert f.octets(value) == expected


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (1.053, "+5.3 %"),
        (202 / 3, "+6,633 %"),
        (1.0, "0 %"),
        (0.5, "-50 %"),
        (1.0004, "+0.04 %"),
        (0.0, "-100 %"),
        (1.9999, "+100 %"),
        (math.inf, "-"),
    ],
)
def test_change_has_a_sign_and_plus_is_worse(ratio: float, expected: str) -> None:
    """A ratio above 1 is plus, whatever the metric."""
    assert f.percent(ratio) == expected


def test_a_difference_is_never_rounded_away() -> None:
    """Two counts or sizes that differ look different."""
    assert f.both(24_312, 24_298, "bytes") == ("24,312 B", "24,298 B")
    assert f.both(24_312, 30_000, "bytes") == ("24.3 kB", "30 kB")
    assert f.both(None, 3, "") == ("-", "3")


def test_times_have_three_digits_even_where_they_look_the_same() -> None:
    """The fourth digit of a time is noise; what the pairs say stands in the change."""
    assert f.both(0.00576599225, 0.00576984975, "s") == ("5.77 ms", "5.77 ms")


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (1.0934, "+9.3 %"),
        (0.9996, "0.0 %"),
        (0.99927, "-0.1 %"),
        (2.2076, "+121 %"),
        (1.0, "0.0 %"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_a_change_of_time_is_shown_to_a_tenth_of_a_percent(ratio: float, expected: str) -> None:
    """The same number of decimals in every row of a column."""
    assert f.tenths(ratio) == expected


def test_change_of_a_time_is_that_of_its_pairs() -> None:
    """Not head over base: those are medians of their own."""
    row = timed(PLAYLIST, 0.0041, 0.123, 0.025)
    assert f.change(dataclasses.replace(row, base=0.004, head=0.004)) == "+12.3 %"


LONG = (
    "SELECT songs.id, songs.title, (SELECT count(*) FROM plays) FROM songs "
    "WHERE songs.status IN ($1, $2, $3, $4) AND songs.user_id = $5 ORDER BY songs.created_at"
)


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("SELECT ... FROM songs WHERE id = $1 ran 200 times (was 1)", 88, None),
        (
            "SELECT songs.id, songs.title, songs.artist FROM songs WHERE songs.id = $1 ran 2 times (was 1)",
            60,
            "SELECT ... FROM songs WHERE id = $1 ran 2 times (was 1)",
        ),
        (
            "INSERT INTO plays (song_id, user_id, played_at) VALUES ($1, $2, $3) ran 100 times (was 1)",
            60,
            "INSERT INTO plays (...) VALUES (...) ran 100 times (was 1)",
        ),
        (
            "UPDATE a_rather_long_table SET one_column = $1, other = $2 WHERE third = $3: 812 blocks (was 4)",
            60,
            "UPDATE a_rather_long_table SET ...: 812 blocks (was 4)",
        ),
    ],
)
def test_sql_is_shortened_where_it_says_least(text: str, limit: int, expected: str | None) -> None:
    """Lists go before conditions, and what it cost stays."""
    assert f.shortened(text, limit) == (expected or text)


TOLD = "GET /a: 12 % slower; library/services/rows.py:30 song_row, called at library/pages/list.py:7 show"


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (len(TOLD), TOLD),
        (len(TOLD) - 1, f"{TOLD.removesuffix('show')}..."),
        (95, "GET /a: 12 % slower; library/services/rows.py:30 song_row, called at .../pages/list.py:7 ..."),
        (91, "GET /a: 12 % slower; library/services/rows.py:30 song_row, called at .../list.py:7 ..."),
        (60, "GET /a: 12 % slower; library/services/rows.py:30 ..."),
        (45, "GET /a: 12 % slower; .../rows.py:30 ..."),
        (30, "GET /a: 12 % slower; ..."),
    ],
)
def test_prose_is_cut_between_words_and_a_path_at_its_front(limit: int, expected: str) -> None:
    """The end of a path says where to look, half of one nothing."""
    assert f.reason(TOLD, limit) == expected


@given(st.text(st.sampled_from("ab /.:;"), max_size=300), st.integers(0, 120))
def test_prose_fits(text: str, limit: int) -> None:
    """Whatever its words are; three dots where there is room for nothing else."""
    assert len(f.worded(text, limit)) <= max(limit, 3)


@given(st.text(), st.integers(20, 200))
def test_shortened_text_fits(text: str, limit: int) -> None:
    """Whatever the text is."""
    assert len(f.shortened(text, limit)) <= limit
    assert len(f.shortened(LONG + text, limit)) <= limit


QUERIES = "GET /api/users/{id}/progress: 118 -> 8,420 blocks; "
STATEMENT = (
    "SELECT ... FROM analysis_results WHERE analysis_results.user_id = $1 AND "
    "analysis_results.status IN ($2, $3, $4) ORDER BY analysis_results.analysed_at DESC LIMIT $5"
)


def test_a_reason_gives_up_sql_before_its_case_and_its_cost() -> None:
    """Who did what and how often stay; of the statement as much as there is room for."""
    shown = f.reason(f"{QUERIES}{STATEMENT}: 8,312 blocks (was 9); cache hits 2 -> 0", 160)
    assert len(shown) <= 160
    assert shown.startswith(f"{QUERIES}SELECT ... FROM analysis_results WHERE user_id = $1")
    assert shown.endswith(": 8,312 blocks (was 9); cache hits 2 -> 0")


def test_a_short_reason_is_left_alone() -> None:
    """Nothing is shortened that fits."""
    assert f.reason(f"{QUERIES}{STATEMENT}", 400) == f"{QUERIES}{STATEMENT}"


@given(st.text(), st.integers(80, 300))
def test_a_reason_fits(text: str, limit: int) -> None:
    """Whatever it says."""
    for reason in (text, QUERIES + text, f"{QUERIES}{STATEMENT}{text}", f"{text}; {STATEMENT} ran 9 times"):
        assert len(f.reason(reason, limit)) <= limit


HIDDEN = "\x00\x1b\x9b\n\r\t\u200b\u202e\u2066\u2028\ufeff\u00ad\ud800\u3164\U000e0041"


@pytest.mark.parametrize("hidden", list(HIDDEN), ids=ascii)
def test_what_is_not_seen_is_marked(hidden: str) -> None:
    """Control, format and blank characters and lone surrogates become U+FFFD."""
    assert f.clean(f"a{hidden}b") == "a\ufffdb"


def test_names_are_cut() -> None:
    """A name has at most 120 characters, and shows that it was longer."""
    assert len(f.clean("x" * 500)) == 120
    assert f.clean("x" * 500).endswith("...")


def test_a_command_is_only_given_where_it_means_what_it_shows() -> None:
    """A name with something unseen in it is not offered for copying, nor one that would be an option."""
    assert f.quoted("endpoints/a b;rm") == "'endpoints/a b;rm'"
    assert f.quoted("endpoints/a\u202eb") is None
    assert f.quoted("x" * 300) == "x" * 300
    assert f.quoted("x" * 600) is None
    assert f.quoted("--help") is None


LOOP = "SELECT ... FROM songs WHERE id = $1"
SAME = "the same statement"


@pytest.mark.parametrize(
    ("text", "before", "said"),
    [
        (f"{LOOP}: 603 blocks (was 3)", f"{LOOP} ran 2 times (was 1)", f"{SAME}: 603 blocks (was 3)"),
        (f"{LOOP} ran 200 times (was 1)", f"{LOOP}: 5 rows (was 1)", f"{SAME}: ran 200 times (was 1)"),
        (
            f"{LOOP}: 6 rows (was 3); in a.py:3",
            f"{LOOP}: 5 rows (was 1); in a.py:3",
            f"{SAME}: 6 rows (was 3)",
        ),
        (f"{LOOP}: 6 rows (was 3); Seq Scan", f"{LOOP}: 5 rows (was 1)", f"{SAME}: 6 rows (was 3); Seq Scan"),
        (f"{LOOP}: 603 blocks (was 3)", f"{LOOP}0 ran 200 times (was 1)", None),
        (f"{LOOP}: 603 blocks (was 3)", "", None),
        ("GET ran 4 times (was 1)", "GET ran 3 times (was 1)", None),
        ("+1 ms waiting", "+1 ms waiting", None),
    ],
)
def test_a_statement_is_said_once_of_neighbours(text: str, before: str, said: str | None) -> None:
    """Below the row that names it, another count of the same statement is only what it costs."""
    assert f.continued(text, [before] if before else []) == (said or text)
