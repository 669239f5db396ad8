"""A share of a data set, built over a clone of the whole: as if built afresh, and gone after the run."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from gate import dataset, db
from gate.cli.clock import Clock
from gate.cli.prepared import Prepared
from gate.cli.served import fresh_data
from gate.cli.sides import Workshop
from gate.errors import GateError
from gate.experiment import Visits

pytestmark = pytest.mark.services

# Of a quarter of the people nobody is an officer, and visits end within the first partition.
SCHEMA = """
CREATE TABLE people (id serial PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE officers (id serial PRIMARY KEY, person_id integer NOT NULL REFERENCES people (id), post text);
CREATE INDEX officers_post ON officers (lower(post));
CREATE STATISTICS officers_together ON person_id, post FROM officers;
CREATE TABLE visits (id bigserial PRIMARY KEY, place text NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE visits_first PARTITION OF visits FOR VALUES FROM (1) TO (101);
CREATE TABLE visits_later PARTITION OF visits FOR VALUES FROM (101) TO (10001);
"""
TABLES = {
    "people": {"rows": 100},
    "officers": {"per": {"table": "people", "mean": 0.012}},
    "visits": {"rows": 400},
}
SHARE = 0.25

STATE = {
    "sequences": "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
    "sizes": """
        SELECT relname, reltuples, relpages, relallvisible FROM pg_class
        WHERE relkind IN ('r', 'i', 'p') AND relnamespace = 'public'::regnamespace ORDER BY 1""",
    "columns": """
        SELECT tablename, attname, inherited, null_frac, avg_width, n_distinct, most_common_vals::text,
               most_common_freqs::text, histogram_bounds::text, correlation
        FROM pg_stats WHERE schemaname = 'public' ORDER BY 1, 2, 3""",
    "together": """
        SELECT statistics_name, n_distinct::text, dependencies::text, most_common_vals::text
        FROM pg_stats_ext WHERE n_distinct IS NOT NULL ORDER BY 1""",
}


def rows(server, database, statement):
    with db.connect(server, database) as conn:
        return conn.execute(statement).fetchall()


def state(server, template):
    with dataset.cloned(server, template, "looked_at") as name:
        return {what: rows(server, name, statement) for what, statement in STATE.items()}


@pytest.fixture
def whole(server, migrated, spec, quiet):
    """The whole data set's template; of it there is all that a share must not have."""
    plan = dataset.describe(server, migrated("whole", SCHEMA), spec(tables=TABLES), scale=1.0)
    template = dataset.build(server, "whole", plan, notify=quiet)
    assert {name: count for name, count, _ in template.tables}["officers"] == 1
    return template


def test_sequences_and_statistics_of_a_share_are_those_of_one_built_afresh(
    server, migrated, spec, quiet, whole
):
    """Tables, partitions and statistics objects that have rows in the whole and none in the share."""
    full = state(server, whole)
    migrated("fresh", SCHEMA)
    dataset.clone(server, whole, "share")
    keys, states = [], []
    for name, over in (("fresh", frozenset()), ("share", frozenset(name for name, _, _ in whole.tables))):
        plan = dataset.describe(server, name, spec(tables=TABLES), scale=SHARE, over=over)
        template = dataset.build(server, name, plan, over=over, notify=quiet)
        keys.append(template.key)
        states.append(state(server, template))
    fresh, share = states
    assert share == fresh
    assert ("officers_id_seq", None) in fresh["sequences"]
    assert full["together"]
    assert not fresh["together"]
    known = [{table for table, *_ in found["columns"]} for found in (full, fresh)]
    assert known[0] - known[1] == {"officers", "officers_post", "visits_later"}
    assert keys[0] != keys[1], "what migrations left in sequences is in neither key"


@pytest.fixture
def run(tmp_path, spec):
    """run() -> a run's Workshop, without services of its own; closing its `stack` ends the run."""
    with ExitStack() as runs:

        def begin(notify=lambda _: None):
            options = SimpleNamespace(cache=tmp_path, scale=None)
            config = SimpleNamespace(dataset=spec(tables=TABLES))
            sources = SimpleNamespace(config=config, path="perf-gate.toml")
            return Workshop(options, sources, Clock(notify), runs.enter_context(ExitStack()))

        yield begin


@pytest.fixture
def side(server, spec, whole):
    """side(name) -> a side on the whole data set."""

    def make(name, **changes):
        return Prepared(
            name=name,
            ref="",
            worktree=Path(),
            config=SimpleNamespace(dataset=spec(**{"tables": TABLES, **changes})),
            installed=None,
            logs=Path(),
            environ={},
            running=SimpleNamespace(postgres=server, redis=lambda _: None),
            template=whole,
        )

    return make


def ours(server):
    """Databases that a run makes."""
    found = rows(server, "postgres", "SELECT datname FROM pg_database ORDER BY 1")
    return {name for (name,) in found if name.startswith(("migrated_", "perf_gate_template_"))}


def test_both_sides_have_one_share_and_nothing_is_left_of_it(server, whole, run, side):
    """One template beside the whole, no clone; after the run the whole alone."""
    workshop = run()
    base, head = (workshop.on_share(side(name), SHARE) for name in ("base", "head"))
    assert base.sealed == head.sealed != whole
    assert {name: count for name, count, _ in head.sealed.tables} == {"people": 25, "visits": 100}
    assert ours(server) == {whole.database, head.sealed.database}
    workshop.stack.close()
    assert ours(server) == {whole.database}


def test_a_share_that_a_killed_run_left_is_found_and_dropped(server, whole, run, side):
    """It is not built again, and the clone of the whole goes at once."""
    left = run().on_share(side("head"), SHARE).sealed
    said = []
    workshop = run(said.append)
    assert workshop.on_share(side("head"), SHARE).sealed == left
    assert not [line for line in said if " rows in " in line]
    assert ours(server) == {whole.database, left.database}
    workshop.stack.close()
    assert ours(server) == {whole.database}


def test_a_share_that_cannot_be_built_leaves_no_clone(server, whole, run, side):
    """Here its specification is refused."""
    with pytest.raises(GateError, match="cannot be generated as configured"):
        run().on_share(side("head", ignore=["people"]), SHARE)
    assert ours(server) == {whole.database}


def test_an_interrupt_while_clones_are_made_leaves_none(server, whole, side):
    """Both servers go on copying: what they copy is dropped once it is there."""

    def interrupted(*_):
        raise KeyboardInterrupt

    def make():
        with ExitStack() as stack:
            sides = {"base": side("base"), "head": side("head")}
            fresh_data(Visits(pair=7), sides, "", rig=SimpleNamespace(whole=False), account=None, stack=stack)

    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            make()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    copying = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND state = 'active'"
    while rows(server, "postgres", copying):
        time.sleep(0.02)
    assert rows(server, "postgres", "SELECT datname FROM pg_database WHERE datname LIKE '%\\_7'") == []
