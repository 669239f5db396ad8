"""Rows that a file of the project gives, for tables whose contents matter one by one."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

_LARGEST = 50_000_000  # bytes; more is a data set of its own, to be loaded by a migration


@dataclass(frozen=True, slots=True)
class Rows:
    """columns: in the order of the file's header. rows: one text for each column. text: the whole file."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    text: str = ""

    def column(self, name: str, *, nullable: bool) -> tuple[str | None, ...]:
        """One column's values; an empty field is NULL where that is allowed."""
        place = self.columns.index(name)
        return tuple((row[place] or None) if nullable else row[place] for row in self.rows)


NO_ROWS = Rows()


def read(file: Path, *, ignore: tuple[str, ...] = ()) -> Rows:
    """The rows of a CSV file in UTF-8 whose first line names the columns, without those ignored.

    Raises ValueError, in words for the author of the file, where it cannot be read or a row has more or
    fewer fields than the header.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"{file} is larger than {_LARGEST:,} bytes")
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    return parsed(text, name=str(file), ignore=ignore)


def parsed(text: str, *, name: str, ignore: tuple[str, ...] = ()) -> Rows:
    """As `read`, of text that is there already."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[tuple[str, ...]] = []
    try:
        header = next(lines, [])
        for row in lines:
            if row and len(row) != len(header):
                raise ValueError(f"{name}:{lines.line_num} has {len(row)} fields, its header {len(header)}")
            if row:
                found.append(tuple(row))
    except csv.Error as error:
        raise ValueError(f"{name}:{lines.line_num}: {error}") from None
    columns = tuple(column.strip() for column in header)
    if not columns or not all(columns) or len(set(columns)) < len(columns):
        raise ValueError(f"{name}: the first line must name every column once")
    kept = [place for place, column in enumerate(columns) if column not in ignore]
    return Rows(
        columns=tuple(columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in found),
        text=text,
    )
