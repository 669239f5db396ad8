"""The part of a specification that a schema has.

Base is seeded by head's specification, so that both sides hold the same rows and differ only where
their schemas do; what head's specification says about tables and columns that base lacks is left out.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from gate import config, db
from gate.dataset.given import read
from gate.dataset.schema import Table, reflect
from gate.model import PostgresServer


def fitting(
    server: PostgresServer, database: str, spec: config.Dataset, *, directory: Path | None = None
) -> config.Dataset:
    """`spec` without the tables and columns that the migrated database does not have.

    What depends on a column or a foreign key that is not there is left out too: rows by a parent become
    the number that the specification alone comes to.
    """
    with db.connect(server, database) as conn:
        tables = {table.name: table for table in reflect(conn).tables}
    fitted = {
        name: _fitted(given, tables[name], directory or Path())
        for name, given in spec.tables.items()
        if name in tables
    }
    ignore = tuple(name for name in spec.ignore if name in tables)
    return spec.model_copy(update={"tables": fitted, "ignore": ignore})


def _fitted(given: config.DatasetTable, table: Table, directory: Path) -> config.DatasetTable:
    columns = {column.name for column in table.columns}
    changed: dict[str, object] = {
        "columns": {c: _column(how, columns) for c, how in given.columns.items() if c in columns}
    }
    if given.per is not None and not any(key.target == given.per.table for key in table.keys):
        changed["per"] = None
    if given.csv is not None:
        # What is wrong with the file is said where it is used.
        with contextlib.suppress(ValueError):
            named = read(directory / given.csv).columns
            changed["csv_ignore"] = (*given.csv_ignore, *(c for c in named if c not in columns))
    return given.model_copy(update=changed)


def _column(how: config.Column, known: set[str]) -> config.Column:
    changed: dict[str, object] = {}
    if how.after is not None and how.after not in known:
        changed |= {"after": None, "delay": None}
    if how.follows is not None and how.follows not in known:
        changed |= {"follows": None, "correlation": None}
    if how.when.keys() - known:
        changed["when"] = {c: values for c, values in how.when.items() if c in known}
    return how.model_copy(update=changed) if changed else how
