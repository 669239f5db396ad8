"""Sealed templates and their clones.

What a template is stands in the comment on its database, so it travels with the data directory. The
comment, the seal and the name are given in one transaction after everything else: a database half
filled has none of them and is never taken for a template.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from gate import db
from gate.dataset.schema import quoted, said
from gate.errors import EnvironmentFailure
from gate.model import PostgresServer

PREFIX = "perf_gate_template_"
_FORMAT = 1
_HOME = "postgres"  # the database from which others are created and dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A sealed database to clone from.

    database: its name. digest: of every generated row of all tables. tables: (name, rows, digest),
    sorted. statistics: "full" where the planner's statistics come from every row and so are the same
    on every machine, else "sampled: " and the tables too large for that.
    """

    key: str
    database: str
    digest: str
    rows: int
    tables: tuple[tuple[str, int, str], ...]
    statistics: str = "full"


def templates(server: PostgresServer) -> tuple[Template, ...]:
    """Every sealed template of the server, sorted by name."""
    with db.connect(server, _HOME) as conn:
        found = conn.execute(
            "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database "
            "WHERE datistemplate AND NOT datallowconn ORDER BY datname"
        ).fetchall()
    read = [_read(name, comment) for name, comment in found if name.startswith(PREFIX)]
    return tuple(template for template in read if template is not None)


def find(server: PostgresServer, key: str) -> Template | None:
    """The sealed template with this key, if this server has it."""
    return next((template for template in templates(server) if template.key == key), None)


def _read(name: str, comment: str | None) -> Template | None:
    """A template from its comment; None for what another version or another hand wrote."""
    try:
        value = json.loads(comment or "")
        if value["format"] != _FORMAT:
            return None
        return Template(
            key=str(value["key"]),
            database=name,
            digest=str(value["digest"]),
            rows=int(value["rows"]),
            tables=tuple((str(t), int(rows), str(digest)) for t, rows, digest in value["tables"]),
            statistics=str(value["statistics"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def seal(server: PostgresServer, database: str, template: Template) -> None:
    """Turn a filled database into the template: no session stays, none may come, none may change it."""
    comment = json.dumps(
        {
            "format": _FORMAT,
            "key": template.key,
            "digest": template.digest,
            "rows": template.rows,
            "tables": [list(table) for table in template.tables],
            "statistics": template.statistics,
        }
    )
    old, new = quoted(database), quoted(template.database)
    with db.connect(server, _HOME) as conn:
        drop(server, template.database)
        conn.execute("CHECKPOINT")
        _disconnect(conn, database)
        with conn.transaction():
            conn.execute(f"ALTER DATABASE {old} RENAME TO {new}".encode())
            conn.execute(f"COMMENT ON DATABASE {new} IS {_text(comment)}".encode())
            conn.execute(f"ALTER DATABASE {new} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false".encode())


def _text(value: str) -> str:
    """A string literal; COMMENT takes no parameters."""
    return "'" + value.replace("'", "''") + "'"


def _disconnect(conn: db.Connection, database: str) -> None:
    """End every other session, such as a migration tool's pool; waits until they are gone."""
    conn.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = %s AND pid <> pg_backend_pid()",
        (database,),
    )


def create(server: PostgresServer, name: str) -> None:
    """An empty database, replacing one of that name."""
    drop(server, name)
    with db.connect(server, _HOME) as conn:
        conn.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE template0".encode())


def clone(server: PostgresServer, template: Template, name: str) -> None:
    """A database with the template's files; the template stays sealed.

    FILE_COPY keeps planner statistics, hint bits and visibility map, and writes no WAL for the pages.
    """
    drop(server, name)
    statement = f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(template.database)}"
    # Before 15 there was no other strategy, and no word for it.
    statement += " STRATEGY FILE_COPY" if server.major >= 15 else ""
    with db.connect(server, _HOME) as conn:
        try:
            conn.execute(statement.encode())
        except db.Error as error:
            message = f"cannot clone the data set: {said(error)}"
            raise EnvironmentFailure(message, where=f"database {name}") from error


def drop(server: PostgresServer, name: str) -> None:
    """Drop a clone or a template; sessions in it are ended. Nothing happens where there is none."""
    with db.connect(server, _HOME) as conn:
        found = conn.execute("SELECT datistemplate FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if found is None:
            return
        if found[0]:
            conn.execute(f"ALTER DATABASE {quoted(name)} WITH IS_TEMPLATE false".encode())
        conn.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)".encode())


@contextlib.contextmanager
def cloned(server: PostgresServer, template: Template, name: str) -> Iterator[str]:
    """A clone for as long as the context lasts; gives its name."""
    clone(server, template, name)
    try:
        yield name
    finally:
        drop(server, name)
