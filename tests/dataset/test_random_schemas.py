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


SPECIFIED = """
CREATE TABLE parents (id serial PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE children (
    id serial PRIMARY KEY,
    parent_id integer NOT NULL REFERENCES parents (id),
    other_id integer REFERENCES parents (id),
    place integer NOT NULL,
    state text,
    flag boolean,
    first timestamptz,
    second timestamptz,
    day date,
    low integer,
    high bigint,
    ratio real,
    price numeric(9, 2),
    label varchar(30),
    token uuid,
    UNIQUE (parent_id, place)
);
"""
TEXTS = st.one_of(
    st.fixed_dictionaries({"pattern": st.sampled_from(["a-{n}", "{n:5}{upper:2}", "{word} {code:4}"])}),
    st.fixed_dictionaries({"vocabulary": st.sampled_from([["x", "yy"], "genres", ["größe"]])}),
    st.fixed_dictionaries(
        {"length": st.sampled_from([5, {"mean": 9}, {"low": 2, "high": 60, "distribution": "uniform"}])}
    ),
    st.fixed_dictionaries({"distinct": st.integers(1, 40)}),
    st.fixed_dictionaries({"values": st.just({"on": 2, "off": 1})}),
)
NUMBERS = st.one_of(
    st.fixed_dictionaries({"distinct": st.integers(1, 40)}),
    st.fixed_dictionaries({"after": st.sampled_from(["low", "high", "ratio", "first"])}),
    st.fixed_dictionaries(
        {"follows": st.sampled_from(["low", "ratio", "price"]), "correlation": st.sampled_from([1, -1, 0.3])}
    ),
    st.fixed_dictionaries(
        {
            "low": st.just(2),
            "high": st.just(90),
            "distribution": st.sampled_from(["zipf", "lognormal", "uniform"]),
        }
    ),
)
TIMES = st.one_of(
    st.fixed_dictionaries(
        {"after": st.sampled_from(["first", "second", "day"]), "delay": st.sampled_from([1.0, 9e6])}
    ),
    st.fixed_dictionaries({"distribution": st.just("recent"), "half_life": st.sampled_from([0.5, 400])}),
    st.fixed_dictionaries({"follows": st.sampled_from(["first", "low"])}),
    st.fixed_dictionaries({"low": st.just(30), "high": st.just(3), "relative": st.booleans()}),
)
WHEN = st.sampled_from([{}, {}, {"state": ["on"]}, {"flag": [True]}, {"label": ["on", "off"]}])
KINDS = {
    **dict.fromkeys(("state", "label"), TEXTS),
    **dict.fromkeys(("low", "high", "ratio", "price"), NUMBERS),
    **dict.fromkeys(("first", "second", "day"), TIMES),
    "other_id": st.fixed_dictionaries({"distribution": st.sampled_from(["uniform", "zipf", "sequence"])}),
    "token": st.fixed_dictionaries({"distinct": st.integers(1, 40)}),
}


@st.composite
def specifications(draw):
    columns = {}
    for name in draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True, max_size=6)):
        columns[name] = draw(KINDS[name]) | ({"when": when} if (when := draw(WHEN)) else {})
    for when in [column.get("when", {}) for column in columns.values()]:
        for name in when.keys() & {"state", "label"}:  # else nearly all would be refused for this alone
            columns[name] = {"values": {"on": 2, "off": 1}}
    column = draw(st.sampled_from(["parent_id", "other_id"]))
    law = draw(st.sampled_from(["zipf", "uniform", "lognormal"]))
    per = {"table": "parents", "column": column, "mean": 7.5, "min": draw(st.integers(0, 3)), "max": 40}
    children = draw(st.sampled_from([{"rows": 300}, {"per": {**per, "distribution": law}}]))
    return {"parents": {"rows": draw(st.integers(1, 60))}, "children": {**children, "columns": columns}}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables_=specifications(), chunk=st.integers(1, 90))
def test_a_random_specification_is_loaded_whole_or_refused(server, tables_, chunk):
    """Whatever is asked of a column, and in whatever chunks."""
    note(str(tables_))
    wanted = config.Dataset.model_validate({"tables": tables_})
    dataset.create(server, "random")
    try:
        with db.connect(server, "random") as conn:
            conn.execute(SPECIFIED.encode())
        plan = described(server, wanted)
        if plan is not None:
            cut = {table.name: in_chunks(table, chunk) for table in plan.tables}
            template = dataset.build(server, "random", plan, notify=lambda _: None)
            dataset.drop(server, template.database)
            assert {t.name: b"".join(stable for _, stable in load.encoded(t)) for t in plan.tables} == cut
    finally:
        dataset.drop(server, "random")
