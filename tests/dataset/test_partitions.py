"""Partitioned tables: rows fall into the partitions, and these are as they were before the load."""

from __future__ import annotations

import datetime
import itertools
import tomllib

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from gate import config, dataset, db
from gate.dataset.checks import Bound, OneOf, Present
from gate.dataset.partitions import EPOCH, rules, windows
from gate.dataset.preview import preview
from gate.dataset.schema import Column, Leaf, Partitioning, Table
from gate.dataset.shape import shape
from gate.dataset.verify import verify
from gate.errors import ConfigError

SPEC = {
    "customers": {"rows": 300},
    "orders": {"rows": 4_000},
    "order_lines": {"per": {"table": "orders", "mean": 2, "max": 9}},
    "events": {"rows": 2_000},
    "readings": {"rows": 3_000},
}


def microseconds(text):
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


ORIGIN = microseconds("2026-01-01")


def parted(kind, *conditions, name="k"):
    """A table of one column, parted by it into leaves with these conditions."""
    category = "D" if kind.startswith(("date", "timestamp")) else "N"
    column = Column(name=name, type=kind, cast=kind, modifier=-1, declared=kind, category=category)
    leaves = tuple(Leaf(name=f"p{n}", bound="", condition=text) for n, text in enumerate(conditions))
    return Table(
        oid=1,
        name="t",
        quoted='"public"."t"',
        occupied=False,
        columns=(column,),
        keys=(),
        uniques=(),
        checks=(),
        exclusions=(),
        indexes=(),
        partitioning=Partitioning(key=f"RANGE ({name})", columns=(name,), leaves=leaves),
    )


def years(*pairs):
    return [
        f"((k IS NOT NULL) AND (k >= '{low}-01-01 00:00:00+00'::timestamp with time zone) "
        f"AND (k < '{high}-01-01 00:00:00+00'::timestamp with time zone))"
        for low, high in pairs
    ]


def day(window):
    return tuple((EPOCH + datetime.timedelta(microseconds=end)).date().isoformat() for end in window)


def test_times_lie_in_the_partitions_before_as_of():
    """Partitions made for the time to come stay empty."""
    table = parted("timestamptz", *years((2024, 2025), (2025, 2026), (2026, 2027)))
    assert day(windows(table, ORIGIN)["k"]) == ("2024-01-01", "2025-12-31")


def test_times_take_the_longest_run_without_a_gap():
    """A row in the gap would have no partition."""
    table = parted("timestamptz", *years((2019, 2020), (2022, 2023), (2023, 2025)))
    assert day(windows(table, ORIGIN)["k"]) == ("2022-01-01", "2024-12-31")


def test_partitions_wholly_in_the_future_are_used():
    """There is no other place."""
    table = parted("timestamptz", *years((2030, 2031)))
    assert day(windows(table, ORIGIN)["k"]) == ("2030-01-01", "2030-12-31")


def test_numbers_lie_in_the_longest_run_and_are_limited_by_all():
    """The upper end of a partition is not part of it."""
    table = parted("int4", "(k >= 0) AND (k < 10)", "(k >= 20) AND (k < 80)")
    assert windows(table, ORIGIN) == {"k": (20.0, 79.0)}
    assert rules(table) == (Present("k"), Bound("k", ">=", 0), Bound("k", "<", 80))


def test_a_default_partition_lifts_the_limits_and_not_the_window():
    """Rows go where partitions were made for them; a user's own may lie outside."""
    table = parted("int4", "(k >= 0) AND (k < 10)", "(NOT ((k IS NOT NULL) AND (k >= 0) AND (k < 10)))")
    assert windows(table, ORIGIN) == {"k": (0.0, 9.0)}
    assert rules(table) == (Present("k"),)


def test_lists_are_values():
    """Of all partitions together; NULL is none of them, and what a default partition excludes is not."""
    table = parted(
        "text",
        "((k IS NOT NULL) AND (k = ANY (ARRAY['a'::text, 'b'::text])))",
        "((k IS NULL) OR (k = 'c'::text))",
        "(NOT ((k IS NOT NULL) AND (k = ANY (ARRAY['a'::text, 'b'::text]))))",
    )
    assert rules(table) == (Present("k"), OneOf("k", ("a", "b", "c")))


@pytest.mark.parametrize("text", ["satisfies_hash_partition('1'::oid, 3, 0, k)", "true", "(lower(k) = 'x')"])
def test_what_says_nothing_of_a_column_leaves_it(text):
    """Hash, a lone default, an expression."""
    table = parted("text", text)
    assert (windows(table, ORIGIN), rules(table)) == ({}, (Present("k"),))


# On a server


def rows(conn, statement):
    return conn.execute(statement).fetchall()


@pytest.fixture
def seed(server, quiet):
    def build(database, spec):
        plan = dataset.describe(server, database, spec, scale=1.0)
        return dataset.build(server, database, plan, notify=quiet)

    return build


EVERYTHING = (
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), confrelid::regclass::text "
    "FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 4, 2",
    "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid FROM pg_index "
    "WHERE indrelid::bigint > 16384 ORDER BY 1",
    "SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits ORDER BY 1",
    "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition ORDER BY 1",
)


@pytest.mark.services
def test_every_partition_key_index_and_attachment_is_as_before(server, migrated, seed, spec):
    """Names too, also of what the server makes for each partition."""
    database = migrated("parted", "partitions.sql")
    with db.connect(server, database) as conn:
        before = [rows(conn, statement) for statement in EVERYTHING]
    template = seed(database, spec(tables=SPEC))
    with dataset.cloned(server, template, "copy") as name, db.connect(server, name) as conn:
        for statement, found in zip(EVERYTHING, before, strict=True):
            assert rows(conn, statement) == found
        for table, count, _ in template.tables:
            assert rows(conn, f"SELECT count(*) FROM {table}") == [(count,)]


@pytest.mark.services
def test_rows_lie_where_partitions_were_made_for_them(server, migrated, seed, spec):
    """By time up to as_of, by list, by hash, by range of numbers; nothing in the default one."""
    template = seed(migrated("places", "partitions.sql"), spec(tables=SPEC))
    with dataset.cloned(server, template, "copy") as name, db.connect(server, name) as conn:
        found = {
            table: rows(conn, f"SELECT count(*) FROM {table}")[0][0]
            for (table,) in rows(
                conn, "SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r'"
            )
        }
        first, last = rows(conn, "SELECT min(placed_at)::date, max(placed_at)::date FROM orders")[0]
    assert {table for table, count in found.items() if not count} == {
        "orders_2026",
        "events_rest",
        "readings_far",
    }
    assert min(found[f"customers_{n}"] for n in range(3)) > 60
    assert min(found[f"orders_{year}"] for year in (2023, 2024, 2025)) > 200
    assert first.year == 2023
    assert last >= datetime.date(2025, 12, 1)


@pytest.mark.services
def test_a_parted_table_is_verified(server, migrated, spec, quiet):
    """Counted, compared and its foreign keys asked about, in both directions; a row more is seen."""
    database = migrated("verified", "partitions.sql")
    plan = dataset.describe(server, database, spec(tables=SPEC), scale=1.0)
    tables = dataset.fill(server, database, plan, notify=quiet)
    found = verify(server, database, plan, notify=quiet)
    assert not found.problems
    assert found.digest == dataset.digest_of(tables)
    with db.connect(server, database) as conn:
        conn.execute("INSERT INTO readings VALUES (5050, 1, 1)")
    (problem,) = verify(server, database, plan, notify=quiet).problems
    assert problem == "readings: 3,001 rows, the specification has 3,000"


@pytest.mark.services
def test_filling_leaves_triggers_of_table_and_partition_as_they_were(server, migrated, spec, quiet):
    """They do not fire meanwhile, and do afterwards."""
    database = migrated("triggered", "partitions.sql")
    triggers = """
        CREATE TABLE seen (t text);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO seen VALUES (TG_NAME); RETURN NEW; END $$;
        CREATE TRIGGER every AFTER INSERT ON readings FOR EACH ROW EXECUTE FUNCTION see();
        CREATE TRIGGER low AFTER INSERT ON readings_low FOR EACH ROW EXECUTE FUNCTION see();
    """
    with db.connect(server, database) as conn:
        conn.execute(triggers.encode())
    wanted = spec(tables={**SPEC, "seen": {"rows": 0}})
    plan = dataset.describe(server, database, wanted, scale=1.0)
    dataset.fill(server, database, plan, notify=quiet)
    with db.connect(server, database) as conn:
        assert rows(conn, "SELECT count(*) FROM seen") == [(0,)]
        conn.execute("INSERT INTO readings VALUES (1, 1, 1)")
        assert rows(conn, "SELECT t FROM seen ORDER BY 1") == [("every",), ("low",)]


@pytest.mark.services
def test_the_digest_is_that_of_the_same_table_unparted(server, migrated, spec):
    """Partitions decide where rows lie, not what is in them, where they ask for nothing."""
    columns = "id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, title text NOT NULL"
    parts = "; ".join(
        f"CREATE TABLE t{n} PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER {n})" for n in range(2)
    )
    digests = set()
    for name, sql in (
        ("plain", f"CREATE TABLE t ({columns})"),
        ("hashed", f"CREATE TABLE t ({columns}) PARTITION BY HASH (id); {parts}"),
    ):
        plan = dataset.describe(server, migrated(name, sql), spec(tables={"t": {"rows": 500}}), scale=1.0)
        digests.add(dataset.build(server, name, plan, notify=lambda _: None).digest)
    assert len(digests) == 1


@pytest.mark.services
def test_bounds_are_part_of_the_key(server, migrated, spec):
    """Another partition, another template."""
    database = migrated("bounds", "partitions.sql")
    wanted = spec(tables=SPEC)
    key = dataset.describe(server, database, wanted, scale=1.0).key
    with db.connect(server, database) as conn:
        conn.execute("ALTER TABLE readings DETACH PARTITION readings_far")
        conn.execute("ALTER TABLE readings ATTACH PARTITION readings_far FOR VALUES FROM (5000) TO (5200)")
    assert dataset.describe(server, database, wanted, scale=1.0).key != key


@pytest.mark.services
def test_the_statistics_cover_the_parents(server, migrated, seed, spec):
    """Of every row: the planner asks the parent for what its query is about."""
    template = seed(migrated("known", "partitions.sql"), spec(tables=SPEC))
    assert template.statistics == "full"
    with dataset.cloned(server, template, "copy") as name, db.connect(server, name) as conn:
        parents = rows(conn, "SELECT relname, reltuples::int FROM pg_class WHERE relkind = 'p' ORDER BY 1")
        known = rows(
            conn, "SELECT DISTINCT tablename FROM pg_stats WHERE schemaname = 'public' AND inherited"
        )
        assert rows(conn, "SELECT count(*) FROM pg_statistic_ext") == [(0,)]
    assert dict(parents)["orders"] == 4_000
    assert {table for (table,) in known} == {name for name, _ in parents}


@pytest.mark.services
def test_shape_and_preview_know_parted_tables(server, migrated, seed, spec, quiet):
    """Rows of all partitions; the specification that shape writes is accepted."""
    database = migrated("shaped", "partitions.sql")
    plan = dataset.describe(server, database, spec(tables=SPEC), scale=1.0)
    looks = {table.table: table for table in preview(server, database, plan)}
    assert looks["orders"].rows == 4_000
    dataset.fill(server, database, plan, notify=quiet)
    found = shape(server, database)
    assert {name: found.rows[name] for name in ("customers", "orders", "events")} == {
        "customers": 300,
        "orders": 4_000,
        "events": 2_000,
    }
    assert "orders" in found.text
    again = config.Dataset.model_validate(tomllib.loads(found.text)["dataset"])
    empty = migrated("shaped_again", "partitions.sql")
    assert dataset.describe(server, empty, again, scale=1.0).rows >= 9_000


@pytest.mark.services
def test_the_estimate_counts_every_partition(server, migrated, seed, spec):
    """Each has pages of its own."""
    database = migrated("sized", "partitions.sql")
    plan = dataset.describe(server, database, spec(tables=SPEC), scale=10.0)
    template = dataset.build(server, database, plan, notify=lambda _: None)
    with db.connect(server, "postgres") as conn:
        size = rows(conn, f"SELECT pg_database_size('{template.database}')")[0][0]
    assert 0.7 * size < plan.estimated_bytes < 2.0 * size


# Refusals


@pytest.fixture
def refused(server, migrated, spec):
    """refused(sql, tables) -> the one problem that describe raises."""

    def describe(sql, tables):
        database = migrated("refused", sql)
        with pytest.raises(ConfigError) as caught:
            dataset.describe(server, database, spec(tables=tables), scale=1.0)
        (problem,) = caught.value.problems
        return problem

    return describe


@pytest.mark.services
def test_a_table_without_partitions_is_refused(refused):
    """No row has a place."""
    problem = refused("CREATE TABLE t (d date) PARTITION BY RANGE (d)", {"t": {"rows": 5}})
    assert problem.startswith("t is partitioned by RANGE (d) and has no partition")
    assert "dataset.ignore" in problem


YEARS = """
CREATE TABLE t (id int, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE t24 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE t25 PARTITION OF t FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
"""


@pytest.mark.services
def test_a_window_of_the_users_outside_the_partitions_is_refused(refused, server, migrated, spec):
    """With the bounds, and low and high that solve it."""
    problem = refused(YEARS, {"t": {"rows": 900, "columns": {"at": {"low": 2000}}}})
    assert "generated rows have no partition" in problem
    assert "t24 FOR VALUES FROM ('2024-01-01 00:00:00+00') TO" in problem
    assert "set dataset.tables.t.columns.at.low = 731 and .high = 1 (days before as_of)" in problem
    solved = {"t": {"rows": 900, "columns": {"at": {"low": 731, "high": 1}}}}
    assert dataset.describe(server, migrated("solved", YEARS), spec(tables=solved), scale=1.0).rows == 900


@pytest.mark.services
def test_rows_in_a_gap_are_refused(refused):
    """A user's own range over it."""
    sql = """
        CREATE TABLE t (k int NOT NULL) PARTITION BY RANGE (k);
        CREATE TABLE a PARTITION OF t FOR VALUES FROM (0) TO (40);
        CREATE TABLE b PARTITION OF t FOR VALUES FROM (60) TO (100);
    """
    problem = refused(sql, {"t": {"rows": 900, "columns": {"k": {"low": 10, "high": 90}}}})
    assert "partitioned by RANGE (k): a FOR VALUES FROM (0) TO (40), b FOR VALUES" in problem
    assert "set dataset.tables.t.columns.k.low = 0 and .high = 39" in problem


@pytest.mark.services
def test_values_that_no_list_holds_are_refused(refused):
    """With those that are listed."""
    sql = """
        CREATE TABLE t (k text) PARTITION BY LIST (k);
        CREATE TABLE a PARTITION OF t FOR VALUES IN ('x', 'y');
    """
    problem = refused(sql, {"t": {"rows": 90, "columns": {"k": {"values": ["x", "z"]}}}})
    assert "(k) = (z)" in problem
    assert "set dataset.tables.t.columns.k.values to some of x, y" in problem


@pytest.mark.services
def test_ranges_of_several_columns_are_judged(refused, server, migrated, spec):
    """What nobody can guess is refused, and the user's own values are taken."""
    sql = """
        CREATE TABLE t (a int NOT NULL, b int NOT NULL) PARTITION BY RANGE (a, b);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1, 5) TO (3, 2);
    """
    assert "partitioned by RANGE (a, b): t1 FOR VALUES FROM (1, 5) TO (3, 2)" in refused(
        sql, {"t": {"rows": 90}}
    )
    columns = {"a": {"constant": 2}}
    plan = dataset.describe(
        server, migrated("solved", sql), spec(tables={"t": {"rows": 90, "columns": columns}}), scale=1.0
    )
    assert plan.rows == 90


@pytest.mark.services
def test_parents_that_no_partition_takes_are_refused(refused):
    """A table parted by its foreign key, with more parents than partitions."""
    sql = """
        CREATE TABLE tenants (id int PRIMARY KEY, name text);
        CREATE TABLE t (tenant_id int NOT NULL REFERENCES tenants (id), x text) PARTITION BY LIST (tenant_id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);
        CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);
    """
    problem = refused(sql, {"tenants": {"rows": 5}, "t": {"rows": 200}})
    assert "give tenants rows whose id lie in them (dataset.tables.tenants)" in problem


# Any scheme


@st.composite
def schemes(draw):
    """A table parted in one or two steps, and its partitions, with gaps or without."""
    statements = [
        "CREATE TABLE t (id bigint GENERATED BY DEFAULT AS IDENTITY, at timestamptz NOT NULL, day date, "
        f"region text, size int, ref int REFERENCES p (id)) PARTITION BY {draw(keys)}"
    ]
    first = statements[0].rpartition(" BY ")[2]
    for number, bound in enumerate(draw(bounds(first))):
        inner = draw(st.one_of(st.none(), keys)) if number == 0 else None
        parting = "" if inner is None else f" PARTITION BY {inner}"
        statements.append(f"CREATE TABLE t{number} PARTITION OF t {bound}{parting}")
        for place, under in enumerate(draw(bounds(inner)) if inner else ()):
            statements.append(f"CREATE TABLE t{number}_{place} PARTITION OF t{number} {under}")
    return "CREATE TABLE p (id int PRIMARY KEY, name text);" + ";".join(statements)


keys = st.sampled_from(
    ["HASH (id)", "RANGE (at)", "RANGE (day)", "LIST (region)", "RANGE (size)", "LIST (size)", "RANGE (id)"]
)


@st.composite
def bounds(draw, key):
    kind, _, column = key[:-1].partition(" (")
    default = ["DEFAULT"] if kind != "HASH" and draw(st.booleans()) else []
    if kind == "HASH":
        parts = draw(st.integers(1, 3))
        return [f"FOR VALUES WITH (MODULUS {parts}, REMAINDER {n})" for n in range(parts)]
    if kind == "LIST":
        values = [1, 5, 7] if column == "size" else ["'eu'", "'us'", "'x y'"]
        count = draw(st.integers(0 if default else 1, 3))
        return [f"FOR VALUES IN ({value})" for value in values[:count]] + default
    edges = draw(st.lists(st.integers(0, 40), min_size=2, max_size=5, unique=True).map(sorted))
    if column in ("at", "day"):
        months = [datetime.date(2023 + edge // 12, edge % 12 + 1, 1) for edge in edges]
        ends = [f"'{month}'" for month in months]
    else:
        ends = [str(edge * 100) for edge in edges]
    pairs = list(itertools.pairwise(ends))
    left = draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))
    return [f"FOR VALUES FROM ({low}) TO ({high})" for low, high in left] + default


@pytest.mark.services
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(sql=schemes(), count=st.sampled_from([1, 30, 700]))
def test_a_random_scheme_is_loaded_whole_or_refused(server, sql, count):
    """Never a COPY that fails for want of a partition."""
    note(sql)
    dataset.create(server, "scheme")
    wanted = config.Dataset.model_validate({"tables": {"t": {"rows": count}, "p": {"rows": 20}}})
    try:
        with db.connect(server, "scheme") as conn:
            conn.execute(sql.encode())
        try:
            plan = dataset.describe(server, "scheme", wanted, scale=1.0)
        except ConfigError as error:
            if not error.problems:
                raise
            note("\n".join(error.problems))
            return
        template = dataset.build(server, "scheme", plan, notify=lambda _: None)
        dataset.drop(server, template.database)
        assert {name: rows for name, rows, _ in template.tables}["t"] == count
    finally:
        dataset.drop(server, "scheme")
