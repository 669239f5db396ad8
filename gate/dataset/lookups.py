"""Values from the seeded data: anchors and the SQL of request parameters."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Sequence
from typing import Any

from gate import config, db
from gate.dataset.schema import said
from gate.errors import ConfigError
from gate.model import PostgresServer

_TIMEOUT = "60s"


def anchors(
    server: PostgresServer, database: str, spec: config.Dataset
) -> dict[str, dict[str, config.Scalar]]:
    """{anchor: {column: value}} of the first row that each anchor names; NULL columns are left out.

    Raises ConfigError, with every anchor at fault, where a statement fails or finds no row.
    """
    found: dict[str, dict[str, config.Scalar]] = {}
    problems: list[str] = []
    with db.connect(server, database) as conn:
        for name, anchor in spec.anchors.items():
            order = f" ORDER BY {anchor.order}" if anchor.order else ""
            statement = f"SELECT * FROM {anchor.table} WHERE {anchor.where}{order} LIMIT 1"  # noqa: S608 - the user's own SQL
            try:
                columns, rows = _read(conn, statement)
            except db.Error as error:
                problems.append(f"dataset.anchors.{name}: {said(error)}")
                continue
            if not rows:
                problems.append(f"dataset.anchors.{name}: no row of {anchor.table} where {anchor.where}")
            else:
                found[name] = {c: scalar(v) for c, v in zip(columns, rows[0], strict=True) if v is not None}
    if problems:
        raise ConfigError("anchors cannot be resolved", where="[dataset.anchors]", problems=tuple(problems))
    return found


def sql_values(server: PostgresServer, database: str, sql: str, *, where: str) -> tuple[config.Scalar, ...]:
    """One column of values in the order the statement gives.

    where: the place in the configuration, for the ConfigError where the statement fails, has several
    columns, gives no rows, or a NULL.
    """
    with db.connect(server, database) as conn:
        try:
            columns, rows = _read(conn, sql)
        except db.Error as error:
            raise ConfigError(f"the statement failed: {said(error)}", where=where) from error
    if len(columns) != 1:
        raise ConfigError(f"the statement gives {len(columns)} columns; one is needed", where=where)
    if not rows:
        raise ConfigError(
            "the statement gives no rows", where=where, hint="loosen its condition, or seed more rows"
        )
    if any(value is None for (value,) in rows):
        raise ConfigError("the statement gives NULL", where=where, hint=f"add WHERE {columns[0]} IS NOT NULL")
    return tuple(scalar(value) for (value,) in rows)


def _read(conn: db.Connection, statement: str) -> tuple[list[str], Sequence[tuple[Any, ...]]]:
    """Columns and rows of a statement that may change nothing and take a minute at most."""
    with conn.transaction(force_rollback=True):
        conn.execute("SET TRANSACTION READ ONLY")
        conn.execute(f"SET LOCAL statement_timeout = '{_TIMEOUT}'".encode())
        cursor = conn.execute(statement.encode())
        if cursor.description is None:
            return [], []
        return [column.name for column in cursor.description], cursor.fetchall()


def scalar(value: Any) -> config.Scalar:
    """A value of the database as a request may carry it; dates in ISO form, exact numbers as text."""
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    return str(value)
