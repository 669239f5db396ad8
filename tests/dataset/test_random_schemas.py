"""Random schemas: every one is loaded with all constraints valid, or refused with the reason."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from gate import config, dataset, db
from gate.dataset import load
from gate.dataset.texts import Span
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
ORDERED = ("integer", "bigint", "date", "timestamptz", "numeric(6,2)", "real")
NAMES = ["a", "b", "name", "email", "position", "created_at", "status", "Total", "slug", "score"]
KEYS = ["bigint", "integer", "uuid", "varchar(9)"]
TYPES = """
CREATE TYPE colour AS ENUM ('red', 'green', 'blue');
CREATE DOMAIN score AS integer CHECK (VALUE BETWEEN 0 AND 100);
"""


@dataclass(frozen=True)
class Drawn:
    sql: str
    rows: dict[str, dict[str, int]]


@st.composite
def schemas(draw) -> Drawn:
    """Up to four tables; each may refer to itself and to those before it."""
    keys: dict[str, str] = {}
    statements, rows = [TYPES], {}
    for number in range(draw(st.integers(1, 4))):
        name = f"t{number}"
        keys[name] = draw(st.sampled_from(KEYS))
        statements.append(draw(tables(name, keys)))
        rows[name] = {"rows": draw(st.sampled_from([0, 1, 2, 3, 40, 250]))}
    return Drawn("\n".join(statements), rows)


@st.composite
def tables(draw, name: str, keys: dict[str, str]) -> str:
    types = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(PLAIN), max_size=5))
    lines = [f"id {keys[name]} PRIMARY KEY"]
    lines += [
        f'"{column}" {kind} {draw(st.sampled_from(["", "NOT NULL"]))}' for column, kind in types.items()
    ]
    lines += [line for column, kind in types.items() for line in draw(checks(column, kind))]
    references = draw(st.lists(st.sampled_from(sorted(keys)), max_size=3))
    for place, parent in enumerate(references):
        required = draw(st.sampled_from(["", "NOT NULL"]))
        lines.append(f"r{place} {keys[parent]} {required} REFERENCES {parent}")
    pairs = [(a, b) for a in types for b in types if a < b and types[a] == types[b] and types[a] in ORDERED]
    if pairs:
        left, right = draw(st.sampled_from(pairs))
        lines.append(f'CHECK ("{left}" {draw(st.sampled_from(["<", "<=", ">"]))} "{right}")')
    able = [column for column, kind in types.items() if kind not in ("jsonb", "bytea")]
    able += [f"r{place}" for place in range(len(references))]
    if able:
        members = st.lists(st.sampled_from(able), min_size=1, max_size=3, unique=True)
        for unique in draw(st.lists(members, max_size=2)):
            lines.append("UNIQUE (" + ", ".join(f'"{member}"' for member in unique) + ")")
    return f"CREATE TABLE {name} (" + ", ".join(lines) + ");"


@st.composite
def checks(draw, column: str, kind: str) -> list[str]:
    if kind in ("integer", "numeric(6,2)") and draw(st.booleans()):
        low, size = draw(st.integers(-50, 50)), draw(st.integers(1, 400))
        return [f'CHECK ("{column}" >= {low} AND "{column}" < {low + size})']
    if kind in ("text", "varchar(7)") and draw(st.booleans()):
        listed = f"CHECK (\"{column}\" IN ('x', 'yy', 'zzz'))"
        return [draw(st.sampled_from([listed, f'CHECK (length("{column}") >= 4)']))]
    return []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=schemas(), chunk=st.integers(1, 90))
def test_a_random_schema_is_loaded_whole_or_refused(server, drawn, chunk):
    """And its bytes do not depend on the size of the chunks."""
    note(drawn.sql)
    note(str(drawn.rows))
    wanted = config.Dataset.model_validate({"tables": drawn.rows})
    dataset.create(server, "random")
    try:
        with db.connect(server, "random") as conn:
            conn.execute(drawn.sql.encode())
        plan = described(server, wanted)
        if plan is not None:
            cut = {table.name: in_chunks(table, chunk) for table in plan.tables}
            template = dataset.build(server, "random", plan, notify=lambda _: None)
            dataset.drop(server, template.database)
            whole = {t.name: b"".join(stable for _, stable in load.encoded(t)) for t in plan.tables}
            assert whole == cut
    finally:
        dataset.drop(server, "random")


def described(server, wanted):
    """The plan, or None where it is refused with reasons."""
    try:
        return dataset.describe(server, "random", wanted, scale=1.0)
    except ConfigError as error:
        if not error.problems:
            raise
        note("\n".join(error.problems))
        return None


def in_chunks(table, chunk) -> bytes:
    spans = (Span(at, min(at + chunk, table.rows), stable=True) for at in range(0, table.rows, chunk))
    return b"".join(table.encoded(span).tobytes() for span in spans)
