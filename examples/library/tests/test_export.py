from __future__ import annotations

import csv
import json

import pytest

from library.services import export


@pytest.mark.parametrize("count", [0, 1, export.CHUNK, export.CHUNK + 1])
def test_csv_in_pieces(count: int) -> None:
    """The pieces together are the file, whatever the number of rows."""
    rows = [(str(n), 'a "quoted", text') for n in range(count)]
    pieces = list(export.csv_text(("id", "title"), rows))
    assert list(csv.reader("".join(pieces).splitlines())) == [["id", "title"], *map(list, rows)]
    assert len(pieces) == max(1, -(-count // export.CHUNK))


@pytest.mark.parametrize("count", [0, 1, export.CHUNK, export.CHUNK + 1])
def test_json_in_pieces(count: int) -> None:
    """The pieces together are one JSON list."""
    values = [{"n": n} for n in range(count)]
    assert values == json.loads("".join(export.json_list(values)))
