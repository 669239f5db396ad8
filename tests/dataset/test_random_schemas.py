"""Random schemas: every one is loaded with all constraints valid, or refused with the reason."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from gate import config, dataset, db
from gate.dataset import load
from gate.errors import ConfigError

pytestmark = pytest.mark.services

PLAIN = [
    "integer",
    "smallint",
    "bigint",
    "text",
    "varchar(7)",
    "char(5)",
    "boolean",
    "date",
    "timestamptz",
    "numeric(6,2)",
    "numeric",
    "double precision",
    "real",
    "uuid",
    "jsonb",
    "bytea",
    "interval",
    "time",
    "inet",
    "text[]",
    "integer[]",
    "colour",
    "score",
]
ORDERED = ["integer", "bigint", "date", "timestamptz", "numeric(6,2)", "double precision"]
NAMES = ["a", "b", "name", "email", "position", "created_at", "status", "Total", "slug", "score"]
TYPES = "CREATE TYPE colour AS ENUM ('red', 'green', 'blue'); CREATE DOMAIN score AS integer CHECK (VALUE BETWEEN 0 AND 100);"


@dataclass(frozen=True)
class Drawn:
    sql: str
    rows: dict[str, dict[str, int]]


@st.composite
def schemas(draw) -> Drawn:
    statements, rows = [TYPES], {}
    for number in range(draw(st.integers(1, 4))):
        name = f"t{number}"
        statements.append(draw(tables(name, [f"t{parent}" for parent in range(number)])))
        rows[name] = {"rows": draw(st.sampled_from([0, 1, 2, 3, 40, 250]))}
    return Drawn("\n".join(statements), rows)


@st.composite
def tables(draw, name: str, parents: list[str]) -> str:
    key = draw(st.sampled_from(["bigint GENERATED ALWAYS AS IDENTITY", "serial", "uuid", "varchar(9)", "integer"]))
    lines = [f"id {key} PRIMARY KEY"]
    columns = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    types = {column: draw(st.sampled_from(PLAIN)) for column in columns}
    for column, kind in types.items():
        lines.append(f'"{column}" {kind}{draw(st.sampled_from(["", " NOT NULL"]))}')
        if kind in ("integer", "numeric(6,2)") and draw(st.booleans()):
            low = draw(st.integers(-50, 50))
            lines.append(f'CHECK ("{column}" >= {low} AND "{column}" < {low + draw(st.integers(1, 400))})')
        if kind in ("text", "varchar(7)") and draw(st.booleans()):
            lines.append(draw(st.sampled_from([f"CHECK (\"{column}\" IN ('x', 'yy', 'zzz'))", f'CHECK (length("{column}") >= 4)'])))
    same = [(a, b) for a in columns for b in columns if a < b and types[a] == types[b] and types[a] in ORDERED]
    if same:
        a, b = draw(st.sampled_from(same))
        lines.append(f'CHECK ("{a}" {draw(st.sampled_from(["<", "<=", ">"]))} "{b}")')
    references = draw(st.lists(st.sampled_from([*parents, name]), max_size=3))
    for place, parent in enumerate(references):
        lines.append(f"r{place} {'%s'} {draw(st.sampled_from(['', 'NOT NULL']))}".replace("%s", f"/*{parent}*/"))
    sets = draw(st.lists(st.lists(st.sampled_from([*columns, *(f"r{p}" for p in range(len(references)))] or ["id"]), min_size=1, max_size=3, unique=True), max_size=2))
    for members in sets:
        if not any(types.get(member) in ("jsonb", "bytea") for member in members):
            lines.append("UNIQUE (" + ", ".join(f'"{member}"' for member in members) + ")")
    body = ", ".join(lines)
    return f"CREATE TABLE {name} ({body});\n" + "".join(
        f"ALTER TABLE {name} ADD FOREIGN KEY (r{place}) REFERENCES {parent};" for place, parent in enumerate(references)
    )


def resolved(sql: str) -> str:
    """References take the type of the key they refer to."""
    import re

    keys = {
        table: kind.replace("serial", "integer").replace(" GENERATED ALWAYS AS IDENTITY", "")
        for table, kind in re.findall(r"CREATE TABLE (t\d) \(id ([a-zA-Z0-9() ]+?) PRIMARY KEY", sql)
    }
    return re.sub(r"/\*(t\d)\*/", lambda found: keys[found[1]], sql)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=schemas(), chunk=st.integers(1, 90))
def test_a_random_schema_is_loaded_whole_or_refused(server, drawn, chunk):
    """And its digest does not depend on the size of the chunks."""
    sql = resolved(drawn.sql)
    note(sql)
    note(str(drawn.rows))
    wanted = config.Dataset.model_validate({"tables": drawn.rows})
    dataset.create(server, "random")
    try:
        with db.connect(server, "random") as conn:
            conn.execute(sql.encode())
        try:
            plan = dataset.describe(server, "random", wanted, scale=1.0)
        except ConfigError as error:
            assert error.problems
            assume(False)
        digests = {}
        for table in plan.tables:
            cut = [Part(table, start, min(start + chunk, table.rows)) for start in range(0, table.rows, chunk)]
            digests[table.name] = b"".join(part.bytes() for part in cut)
        template = dataset.build(server, "random", plan, notify=lambda _: None)
        for table in plan.tables:
            assert b"".join(stable for _, stable in load.encoded(table)) == digests[table.name]
        dataset.drop(server, template.database)
    finally:
        dataset.drop(server, "random")


@dataclass(frozen=True)
class Part:
    table: object
    start: int
    stop: int

    def bytes(self) -> bytes:
        from gate.dataset.texts import Span

        return self.table.encoded(Span(self.start, self.stop, stable=True)).tobytes()
