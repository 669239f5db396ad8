"""A database of the user's: filled whole or not at all, verified, and nothing else of it touched."""

from __future__ import annotations

import dataclasses

import pytest

from gate import dataset, db
from gate.dataset.verify import verify
from gate.errors import ConfigError, EnvironmentFailure

pytestmark = pytest.mark.services

SHOP = """
CREATE TABLE customers (id serial PRIMARY KEY, email text NOT NULL UNIQUE, joined_at timestamptz NOT NULL);
CREATE TABLE orders (
    id serial PRIMARY KEY,
    customer_id integer NOT NULL CONSTRAINT placed_by REFERENCES customers (id),
    total numeric(8, 2) NOT NULL CHECK (total >= 0)
);
CREATE INDEX orders_total ON orders (total);
CREATE TABLE countries (code text PRIMARY KEY);
CREATE TABLE notes (id serial PRIMARY KEY, customer_id integer REFERENCES customers (id), body text);
COMMENT ON CONSTRAINT placed_by ON orders IS 'who pays';
COMMENT ON INDEX orders_total IS 'for the list';
ALTER TABLE orders CLUSTER ON orders_total;
CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no triggers'; END $$;
CREATE TRIGGER loud BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION loud();
CREATE TRIGGER off BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION loud();
ALTER TABLE orders DISABLE TRIGGER off;
INSERT INTO countries VALUES ('de'), ('fr');
"""
ROWS = {"customers": {"rows": 200}, "orders": {"rows": 900}, "notes": {"rows": 0}}
STATE = (
    """
SELECT c.oid::regclass::text, obj_description(c.oid), pg_get_indexdef(c.oid), i.indisclustered
FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid WHERE i.indrelid::bigint > 16384 ORDER BY 1
""",
    """
SELECT conname, pg_get_constraintdef(oid), obj_description(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace ORDER BY 1
""",
    """
SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1
""",
)


@pytest.fixture
def shop(migrated):
    return migrated("shop", SHOP)


@pytest.fixture
def planned(server, shop, spec):
    """planned() -> the plan of ROWS for the shop."""
    return lambda **options: dataset.describe(server, shop, spec(tables=ROWS), scale=1.0, **options)


def rows(server, database, statement):
    with db.connect(server, database) as conn:
        return conn.execute(statement).fetchall()


def state(server, database):
    return [rows(server, database, statement) for statement in STATE]


def run(server, database, statement):
    with db.connect(server, database) as conn:
        conn.execute(statement)


def test_a_database_is_filled_and_all_else_is_as_it_was(server, shop, planned, quiet):
    """Indexes, constraints with their comments, triggers that were on and off, tables with rows."""
    before = state(server, shop)
    plan = planned()
    tables = dataset.fill(server, shop, plan, notify=quiet)
    assert [(name, count) for name, count, _ in tables] == [("customers", 200), ("orders", 900)]
    assert state(server, shop) == before
    assert rows(server, shop, "SELECT count(*), max(id), nextval('orders_id_seq') FROM orders") == [
        (900, 900, 901)
    ]
    assert rows(server, shop, "SELECT count(*) FROM countries") == [(2,)]
    assert rows(server, shop, "SELECT reltuples FROM pg_class WHERE relname = 'orders'") == [(900.0,)]


def test_it_holds_what_a_template_of_it_would(server, shop, planned, quiet):
    """The same digest."""
    plan = planned()
    tables = dataset.fill(server, shop, plan, notify=quiet)
    found = verify(server, shop, planned(over=frozenset(ROWS)), notify=quiet)
    assert found.problems == ()
    assert found.digest == dataset.digest_of(tables)
    assert found.left == (("countries", 2),)
    dataset.create(server, "template_of_it")
    run(server, "template_of_it", SHOP)
    assert dataset.build(server, "template_of_it", plan, notify=quiet).digest == found.digest


def test_a_failure_leaves_everything_as_it_was(server, shop, planned, quiet):
    """Rows that nobody asked to remove are still there, and so is every index."""
    run(server, shop, "INSERT INTO customers (email, joined_at) VALUES ('a@b', now()); ")
    plan = planned(over=frozenset({"customers"}))
    run(server, shop, "ALTER TABLE orders ADD CONSTRAINT late CHECK (id <> 800)")
    before = state(server, shop)
    with pytest.raises(EnvironmentFailure, match="late"):
        dataset.fill(server, shop, plan, over=frozenset({"customers"}), notify=quiet)
    assert state(server, shop) == before
    assert rows(server, shop, "SELECT email FROM customers") == [("a@b",)]
    assert rows(server, shop, "SELECT count(*) FROM orders") == [(0,)]


def test_rows_that_came_in_since_the_plan_are_not_removed(server, shop, planned, quiet):
    """Looked at again under a lock."""
    plan = planned()
    run(server, shop, "INSERT INTO customers (email, joined_at) VALUES ('a@b', now())")
    with pytest.raises(EnvironmentFailure, match="customers holds rows by now; nothing was changed"):
        dataset.fill(server, shop, plan, notify=quiet)
    assert rows(server, shop, "SELECT email FROM customers") == [("a@b",)]


def test_a_foreign_key_of_another_table_must_still_hold(server, shop, planned, quiet):
    """A note refers to a customer that would go: refused, and the note and the customer stay."""
    run(server, shop, "INSERT INTO customers (id, email, joined_at) VALUES (5000, 'a@b', now())")
    run(server, shop, "INSERT INTO notes (customer_id, body) VALUES (5000, 'hello')")
    with pytest.raises((EnvironmentFailure, ConfigError)):
        dataset.fill(
            server, shop, planned(over=frozenset({"customers"})), over=frozenset({"customers"}), notify=quiet
        )
    assert rows(server, shop, "SELECT email FROM customers") == [("a@b",)]
    assert rows(server, shop, "SELECT body FROM notes") == [("hello",)]


def test_a_table_that_is_to_be_empty_loses_its_rows(server, shop, planned, quiet):
    """`rows = 0` of a table whose rows may go; its sequence begins anew, its parents are others."""
    run(server, shop, "INSERT INTO customers (id, email, joined_at) VALUES (5000, 'a@b', now())")
    run(server, shop, "INSERT INTO notes (customer_id, body) VALUES (5000, 'hello')")
    over = frozenset({"customers", "notes"})
    tables = dataset.fill(server, shop, planned(over=over), over=over, notify=quiet)
    assert [name for name, _, _ in tables] == ["customers", "orders"]
    assert rows(server, shop, "SELECT count(*), nextval('notes_id_seq') FROM notes") == [(0, 1)]
    assert verify(server, shop, planned(over=frozenset(ROWS)), notify=quiet).problems == ()


def test_an_owner_who_is_no_superuser_can_fill(server, shop, planned, quiet):
    """Triggers are silenced one by one."""
    run(server, shop, "CREATE ROLE plain LOGIN PASSWORD 'plain'")
    try:
        for table in ("customers", "orders", "notes", "countries"):
            run(server, shop, f"ALTER TABLE {table} OWNER TO plain")
        run(server, shop, "GRANT TEMPORARY ON DATABASE shop TO plain; GRANT ALL ON SCHEMA public TO plain")
        plan = planned()
        owner = dataclasses.replace(server, user="plain", password="plain", pid=0, data_directory="")
        dataset.fill(owner, shop, plan, notify=quiet)
        assert rows(server, shop, "SELECT count(*) FROM orders") == [(900,)]
    finally:
        run(server, shop, "REASSIGN OWNED BY plain TO CURRENT_USER; DROP OWNED BY plain")
        run(server, shop, "DROP ROLE plain")


# Verified


@pytest.fixture
def problems(server, shop, planned, quiet):
    """problems(statement) -> what is wrong with the filled shop after it."""

    def found(statement):
        dataset.fill(server, shop, planned(), notify=quiet)
        run(server, shop, statement)
        return verify(server, shop, planned(over=frozenset(ROWS)), notify=quiet).problems

    return found


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM orders WHERE id = 7", "orders: 899 rows, the specification has 900"),
        (
            "UPDATE orders SET total = total + 1 WHERE id = 7",
            "orders: its rows are not those of the specification",
        ),
        ("INSERT INTO notes (body) VALUES ('x')", "notes: 1 rows, the specification has 0"),
        (
            "SET session_replication_role = replica; UPDATE orders SET customer_id = 9999 WHERE id = 7",
            "orders: 1 rows break placed_by",
        ),
        (
            "ALTER TABLE orders ADD CONSTRAINT low CHECK (total < 900000) NOT VALID",
            "orders: low was never validated",
        ),
    ],
)
def test_what_is_wrong_is_said(problems, statement, said):
    """One row less, one changed, one that refers to nothing, a constraint that was never checked."""
    assert said in problems(statement)


def test_the_order_of_rows_does_not_matter(problems):
    """An UPDATE that changes nothing moves the row."""
    assert problems("UPDATE orders SET total = total WHERE id < 100") == ()


def test_verifying_leaves_no_trace(server, shop, planned, quiet):
    """No table, no row."""
    dataset.fill(server, shop, planned(), notify=quiet)
    count = (
        "SELECT count(*) FROM pg_class",
        "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables",
    )
    before = rows(server, shop, count[0])
    verify(server, shop, planned(over=frozenset(ROWS)), notify=quiet)
    assert rows(server, shop, count[0]) == before
    assert rows(server, shop, "SELECT count(*) FROM orders") == [(900,)]
