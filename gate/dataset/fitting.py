"""The part of a specification that a schema has.

Base is seeded by head's specification, so that both sides hold the same rows and differ only where
their schemas do; what head's specification says about tables and columns that base lacks is left out.
"""

from __future__ import annotations

from gate import config, db
from gate.dataset.schema import reflect
from gate.model import PostgresServer


def fitting(server: PostgresServer, database: str, spec: config.Dataset) -> config.Dataset:
    """`spec` without the tables and columns that the migrated database does not have."""
    with db.connect(server, database) as conn:
        columns = {table.name: {c.name for c in table.columns} for table in reflect(conn).tables}
    tables = {
        name: given.model_copy(
            update={"columns": {c: how for c, how in given.columns.items() if c in columns[name]}}
        )
        for name, given in spec.tables.items()
        if name in columns
    }
    ignore = tuple(name for name in spec.ignore if name in columns)
    return spec.model_copy(update={"tables": tables, "ignore": ignore})
