"""Rows from CSV files."""

from __future__ import annotations

import pytest

from gate.dataset.given import parsed, read

TEXT = 'code,name,rank\nrock,Rock,1\n"a,b","say ""hi""",\n\n'


def test_the_header_names_the_columns():
    """Quoted fields may hold commas, quotes and line breaks; empty lines are no rows."""
    rows = parsed(TEXT, name="genres.csv")
    assert rows.columns == ("code", "name", "rank")
    assert rows.rows == (("rock", "Rock", "1"), ("a,b", 'say "hi"', ""))


def test_an_empty_field_is_null_where_that_is_allowed():
    """Else it is empty text."""
    rows = parsed(TEXT, name="genres.csv")
    assert rows.column("rank", nullable=True) == ("1", None)
    assert rows.column("rank", nullable=False) == ("1", "")


def test_ignored_columns_are_not_read():
    """But they are part of what the data set's key is made of."""
    rows = parsed(TEXT, name="genres.csv", ignore=("name",))
    assert rows.columns == ("code", "rank")
    assert rows.rows[0] == ("rock", "1")
    assert rows.text == TEXT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1\n", "x.csv:2 has 1 fields, its header 2"),
        ("a,a\n1,2\n", "the first line must name every column once"),
        ("", "the first line must name every column once"),
        ('a\n"open', "x.csv:2: unexpected end of data"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(text, said):
    """In words for whoever wrote the file."""
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        parsed(text, name="x.csv")


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    """Missing, or in another encoding; the mark that some programs put first is no part of a name."""
    with pytest.raises(ValueError, match=r"none\.csv cannot be read: No such file"):
        read(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        read(tmp_path / "latin.csv")
    (tmp_path / "marked.csv").write_bytes(b"\xef\xbb\xbfa\n1\n")
    assert read(tmp_path / "marked.csv").columns == ("a",)
