"""Plans: from the log to a shape, and what is said where the shape changes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from gate import services
from gate.config import Services
from gate.db import connect, statement_counts
from gate.errors import MeasurementError
from gate.explain.plans import changed, summed, unstable
from gate.model import PostgresServer
from gate.probes.fingerprint import identify
from gate.probes.plans import Explained, explaining, query_plan, read

live = pytest.mark.services

TOKEN = "plans-0123"
TEXT = "SELECT title FROM songs WHERE status = 'analysed'"


def node(kind: str, *plans, loops=1, rows=1.0, **more):
    """A node as auto_explain writes it; names of fields with _ for the blank."""
    return {
        "Node Type": kind,
        "Parallel Aware": False,
        "Plan Rows": 1,
        "Actual Rows": rows,
        "Actual Loops": loops,
        "Shared Hit Blocks": 3,
        "Shared Read Blocks": 1,
        "Temp Read Blocks": 0,
        "Temp Written Blocks": 0,
        **{name.replace("_", " "): value for name, value in more.items()},
        **({"Plans": list(plans)} if plans else {}),
    }


def scan(table: str, alias: str = "", kind="Seq Scan", **more):
    return node(kind, Relation_Name=table, Alias=alias or table, **more)


def by_index(table: str, index: str, alias: str = "", **more):
    return scan(table, alias, "Index Scan", Index_Name=index, Scan_Direction="Forward", **more)


def planned(top, text=TEXT, triggers=()):
    return query_plan({"Query Text": text, "Plan": top, "Triggers": list(triggers)})


def tree(top, **more) -> str:
    return "\n".join(planned(top, **more).tree)


def logged(entry, *, database="app", application="web", token=TOKEN) -> str:
    """As the server writes a message of several lines."""
    body = json.dumps(entry, indent=2) if isinstance(entry, dict) else entry
    text = f"{token}|17|{database}|{application}| LOG:  duration: 0.504 ms  plan:\n{body}"
    return text.replace("\n", "\n\t") + "\n"


ENTRY = {"Query Text": TEXT, "Plan": scan("songs", Filter="(status = 'analysed'::text)"), "Triggers": []}


# --- The shape ---


@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        ("(id = 42)", "id = ?"),
        ("(id = $1)", "id = ?"),
        ("(id = '42'::bigint)", "id = ?"),
        ("(id = ANY ('{1,2}'::integer[]))", "id = ?"),
        ("(id = ANY (ARRAY[$1, $2]))", "id = ?"),
        ("(id <> ALL (($1)::integer[]))", "id <> ?"),
        ("((status)::text = 'it''s'::text)", "status::text = ?"),
        ("(at > '2024-01-01 00:00:00'::timestamp without time zone)", "at > ?"),
        ("(name = ('x'::character varying(20))::text)", "name = ?"),
        ("((a = 1.5e-07) OR (b2 IS NULL))", "(a = ?) OR (b2 IS NULL)"),
        ("(id = (InitPlan 1).col1)", "id = (InitPlan 1).col1"),
        ("(\"4 u\" = lower('X'::text))", '"4 u" = lower(?)'),
        ("((a + 1) = (b - 2))", "(a + ?) = (b - ?)"),
    ],
)
def test_a_condition_is_shown_without_its_values(condition, shown):
    """Literals, parameters, lists and their casts are all one; names and numbers in names stay."""
    assert tree(scan("t", Filter=condition)) == f"Seq Scan on t\n  Filter: {shown}"


def test_a_table_goes_by_its_name_and_by_its_alias_where_it_occurs_twice():
    """Conditions name columns as the lines above name tables."""
    top = node(
        "Nested Loop",
        scan("songs", "songs_1", Filter="(songs_1.id > 3)"),
        node(
            "Hash Join",
            scan("artists", "a", Filter="(a.id = songs_1.artist_id)"),
            node("Hash", scan("songs", "s")),
            Join_Type="Left",
            Hash_Cond="(a.id = s.artist_id)",
        ),
        Join_Type="Inner",
    )
    assert (
        tree(top)
        == """\
Nested Loop
  Seq Scan on songs songs_1
    Filter: songs_1.id > ?
  Hash Left Join
    Hash Cond: artists.id = s.artist_id
    Seq Scan on artists
      Filter: artists.id = songs_1.artist_id
    Hash
      Seq Scan on songs s"""
    )


def test_nodes_are_named_as_postgres_names_them():
    """Strategy, direction, part of a parallel plan, CTEs, subplans, writing, triggers by constraint."""
    top = node(
        "ModifyTable",
        node("Aggregate", scan("a", Parallel_Aware=True), Strategy="Hashed", Partial_Mode="Partial"),
        scan("b", kind="Seq Scan", Subplan_Name="CTE q"),
        scan("c", "c", "Index Only Scan", Index_Name="ix", Scan_Direction="Backward"),
        node("CTE Scan", CTE_Name="q", Alias="q"),
        node("Aggregate", Strategy="Plain", Partial_Mode="Simple", Subplan_Name="InitPlan 1 (returns $0)"),
        Operation="Update",
        Relation_Name="a",
        Alias="a",
    )
    trigger = {"Trigger Name": "RI_Constraint_1", "Constraint Name": "fk", "Relation": "a", "Calls": 1}
    assert (
        tree(top, triggers=[trigger])
        == """\
Update on a
  Partial HashAggregate
    Parallel Seq Scan on a
  CTE q: Seq Scan on b
  Index Only Scan Backward using ix on c
  CTE Scan on q
  InitPlan 1: Aggregate
  Trigger fk on a"""
    )


def test_partitions_that_are_read_alike_are_one_line():
    """With their number; numbers are summed; one that is read in another way has its own."""
    parts = [
        scan(
            f"events_{year}",
            f"events_{n}",
            "Bitmap Heap Scan",
            rows=10.0,
            Filter=f"(events_{n}.kind = 'x'::text)",
            Plans=[node("Bitmap Index Scan", Index_Name=f"events_{year}_at_idx", Index_Cond="(at > 1)")],
        )
        for n, year in enumerate((2022, 2023, 2024), start=1)
    ]
    plan = planned(node("Append", *parts, scan("events_2025", "events_4")))
    assert (
        "\n".join(plan.tree)
        == """\
Append
  Bitmap Heap Scan on events x 3
    Filter: events.kind = ?
    Bitmap Index Scan on events_at_idx
      Index Cond: at > ?
  Seq Scan on events"""
    )
    folded = plan.nodes[1]
    assert (folded.name, folded.rows, folded.loops) == (
        "Bitmap Heap Scan using events_at_idx on events",
        30,
        3,
    )
    assert plan.relations == ("events_2022", "events_2023", "events_2024", "events_2025")


def test_the_halves_of_a_union_are_not_folded_unless_they_read_the_same():
    """Two tables are two lines."""
    top = node("Append", scan("songs"), scan("artists"), scan("songs", "songs_1"))
    assert tree(top) == "Append\n  Seq Scan on songs\n  Seq Scan on artists\n  Seq Scan on songs songs_1"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"Sort_Method": "external merge", "Sort_Space_Type": "Disk"}, "Sort Method: external merge on disk"),
        ({"Full-sort_Groups": {"Sort Space Disk": {}}}, "Sort Method: external merge on disk"),
        ({"Hash_Batches": 4}, "Spills: to disk"),
        ({"HashAgg_Batches": 5}, "Spills: to disk"),
        ({"Storage": "Disk"}, "Spills: to disk"),
    ],
)
def test_what_does_not_fit_into_memory_is_part_of_the_shape(fields, line):
    """As the one thing that is known at run time only."""
    plan = planned(node("Sort", **fields))
    assert plan.tree == ("Sort", f"  {line}")
    assert plan.nodes[0].spills


def test_how_few_rows_are_sorted_is_no_part_of_the_shape():
    """In memory, the method follows their number."""
    quick, top = ("quicksort", "Memory"), ("top-N heapsort", "Memory")
    trees = {tree(node("Sort", Sort_Method=method, Sort_Space_Type=kind)) for method, kind in (quick, top)}
    assert trees == {"Sort"}


def test_numbers_are_of_all_loops_and_stand_beside_the_shape():
    """Postgres gives rows and what was removed per loop, blocks in all."""
    inner = by_index("b", "ix", rows=2.5, loops=4, Rows_Removed_by_Filter=10, Rows_Removed_by_Index_Recheck=1)
    plan = planned(node("Nested Loop", scan("a"), inner, Join_Type="Inner", rows=10.0, Temp_Written_Blocks=7))
    last = plan.nodes[-1]
    assert (last.line, last.depth, last.loops, last.rows, last.estimated, last.removed) == (
        2,
        1,
        4,
        10,
        4,
        44,
    )
    assert (plan.calls, plan.rows, plan.removed, plan.blocks, plan.temp_blocks) == (1, 10, 44, 4, 7)


def test_the_text_is_that_of_the_statement_without_values():
    """So that it can be shown, and found among the counted statements."""
    plan = planned(
        scan("songs"), text="SELECT title /* who */ FROM songs\nWHERE id IN (1, 2, 3) AND name = 'me'"
    )
    assert plan.text == "SELECT title FROM songs WHERE id IN ($1, ...) AND name = $4"
    assert plan.fingerprint == identify("SELECT title FROM songs WHERE id IN ($1) AND name = $2").fingerprint


def test_values_do_not_get_out_of_a_text_that_cannot_be_parsed():
    """The syntax of a newer server."""
    assert planned(scan("songs"), text="FROBNICATE songs 'secret' 4711").text == "FROBNICATE songs ? ?"


def test_executions_of_one_shape_are_one_entry():
    """Summed, node by node; another shape of the same statement is another entry."""
    plans = [planned(scan("songs", rows=float(rows), Filter=f"(id = {rows})")) for rows in (1, 2)]
    other = planned(by_index("songs", "ix"))
    one, two = summed([*plans, other, plans[0]])
    assert (one.tree[0], one.calls) == ("Index Scan using ix on songs", 1)
    assert (two.calls, two.rows, two.blocks, two.nodes[0].rows) == (3, 4, 12, 4)


# --- The log ---


def test_plans_are_read_out_of_a_log():
    """Whatever stands between them."""
    foreign = "a line of nobody\n\tand its second\n"
    statement = f"{TOKEN}|18|app|web| LOG:  duration: 3.1 ms  statement: SELECT 1\n\tFROM t\n"
    found = read(logged(ENTRY) + foreign + logged(ENTRY) + statement, TOKEN, "app")
    assert [(plan.calls, plan.tree[0]) for plan in found.plans] == [(2, "Seq Scan on songs")]
    assert found.skipped == 0


@pytest.mark.parametrize(
    "whose", [{"database": "base_1"}, {"application": "perf-gate"}, {"token": "plans-9999"}]
)
def test_plans_of_others_are_passed_over(whose):
    """Of another database, of the gate's own sessions, of another pass."""
    found = read(logged(ENTRY, **whose), TOKEN, "app")
    assert (found.plans, found.skipped) == ((), 0)


def test_an_application_may_have_any_name():
    """Also one with the separator in it, or none."""
    found = read(logged(ENTRY, application="a| b|") + logged(ENTRY, application=""), TOKEN, "app")
    assert found.plans[0].calls == 2


def test_what_is_cut_off_or_mixed_up_is_counted():
    """And what stands around it is read."""
    cut = logged(ENTRY)[:200] + "\n"
    mixed = logged(ENTRY).replace('"Plan"', "LOG:  something else\n\t")
    other = logged({"Query Text": TEXT})
    several = logged(ENTRY | {"Query Text": "SELECT 1; SELECT 2"})
    found = read(cut + mixed + logged(ENTRY) + other + several + logged(ENTRY)[:300], TOKEN, "app")
    assert (len(found.plans), found.plans[0].calls, found.skipped) == (1, 1, 5)


# --- Two shapes ---


def said(before, after) -> str:
    (change,) = changed([planned(before)], [planned(after)])
    return change.sentence


def test_an_index_that_is_gone_is_said_with_what_is_read_instead():
    """And the lines that differ are marked."""
    before = node("Limit", by_index("songs", "ix_songs_status", Index_Cond="(status = 'a'::text)"))
    seq = scan("songs", Filter="(status = 'a'::text)", rows=100.0, Rows_Removed_by_Filter=299900)
    (change,) = changed([planned(before)], [planned(node("Limit", seq))])
    assert change.lines == (
        "  Limit",
        "-   Index Scan using ix_songs_status on songs",
        "-     Index Cond: status = ?",
        "+   Seq Scan on songs",
        "+     Filter: status = ?",
    )
    assert change.sentence == (
        "Index Scan using ix_songs_status on songs became Seq Scan on songs"
        " (300,000 rows read, 299,900 removed by filter)"
    )


def test_lines_that_have_only_moved_to_another_level_are_not_marked():
    """A node put on top of others is one line."""
    (change,) = changed(
        [planned(scan("songs", Filter="(id = 1)"))],
        [planned(node("Sort", scan("songs", Filter="(id = 1)", rows=20.0), Sort_Key=["title", "id DESC"]))],
    )
    assert change.lines == (
        "+ Sort",
        "+   Sort Key: title, id DESC",
        "    Seq Scan on songs",
        "      Filter: id = ?",
    )
    assert change.sentence == "Sort by title, id DESC was added (20 rows sorted)"


def test_a_change_of_nothing_but_levels_is_marked():
    """Equal lines in another nesting are another plan."""
    flat = node("Append", node("Limit"), node("Unique"))
    nested = node("Append", node("Limit", node("Unique")))
    (change,) = changed([planned(flat)], [planned(nested)])
    assert change.lines == ("  Append", "    Limit", "-   Unique", "+     Unique")
    assert change.sentence == "the plan has another shape"


def test_another_way_to_join_is_said():
    """With the tables."""
    before = node("Nested Loop", scan("artists"), scan("songs"), Join_Type="Inner")
    after = node("Hash Join", scan("artists"), node("Hash", scan("songs")), Join_Type="Inner")
    assert said(before, after) == "Nested Loop of artists and songs became Hash Join"


def test_a_sort_that_spills_is_said():
    """With what it sorts by."""
    before = node("Sort", scan("songs"), Sort_Key=["songs.title"], Sort_Space_Type="Memory", Sort_Method="q")
    after = node(
        "Sort",
        scan("songs"),
        Sort_Key=["songs.title"],
        Sort_Space_Type="Disk",
        Sort_Method="external merge",
    )
    assert said(before, after) == "Sort by songs.title spills to disk"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (node("Limit", scan("a")), scan("a"), "Limit is gone"),
        (
            by_index("a", "ix", Index_Cond="((x = 1) AND (y = 2))"),
            by_index("a", "ix", Index_Cond="(x = 1)", Filter="(y = 2)"),
            "Index Scan using ix on a has other conditions",
        ),
        (
            node("Nested Loop", scan("a"), scan("b"), Join_Type="Inner"),
            node("Nested Loop", scan("b"), scan("a"), Join_Type="Inner"),
            "the tables are joined in another order",
        ),
        (
            by_index("a", "ix", loops=10),
            by_index("a", "ix2", loops=10),
            "Index Scan using ix on a became Index Scan using ix2 on a (10 rows read, in 10 loops)",
        ),
        (scan("a"), node("Limit", scan("a"), scan("b")), "Seq Scan on b was added (1 row read); "
         "Limit was added (1 row)"),
    ],
)  # fmt: skip
def test_other_changes_are_said_too(before, after, sentence):
    """What is gone, conditions, order, another index, another table."""
    assert said(before, after) == sentence


def test_a_trigger_that_was_added_is_said():
    """It is not in the tree of nodes."""
    trigger = {"Trigger Name": "audit", "Relation": "a", "Calls": 1}
    top = node("ModifyTable", node("Result"), Operation="Insert", Relation_Name="a", Alias="a")
    (change,) = changed([planned(top)], [planned(top, triggers=[trigger])])
    assert change.sentence == "Trigger audit on a was added"


def test_of_many_changes_the_one_that_reads_most_comes_first():
    """And no more than two are said."""
    before = node("Append", by_index("a", "ia"), by_index("b", "ib"), by_index("c", "ic"))
    after = node("Append", scan("a", rows=10.0), scan("b", rows=1000.0), scan("c", rows=1.0))
    assert said(before, after) == (
        "Index Scan using ib on b became Seq Scan on b (1,000 rows read); "
        "Index Scan using ia on a became Seq Scan on a (10 rows read)"
    )


def test_equal_shapes_are_no_change():
    """Whatever their numbers and values; and a statement of one side alone is none."""
    one = planned(scan("songs", Filter="(id = 1)"))
    other = planned(scan("songs", Filter="(id = $1)", rows=5.0))
    alone = planned(scan("artists"), text="SELECT 1 FROM artists")
    assert changed([one], [other, other, alone]) == ()


LIKE = "SELECT title FROM songs WHERE lower(title) LIKE $1"
ILIKE = "SELECT title FROM songs WHERE title ILIKE $1"


def test_a_rewritten_statement_is_beside_what_it_was():
    """It reads the same table as often, in another way."""
    before = planned(by_index("songs", "ix_title", Filter="(lower(title) ~~ 'a%'::text)"), text=LIKE)
    after = planned(scan("songs", Filter="(title ~~* 'a%'::text)", rows=9.0), text=ILIKE)
    (change,) = changed([before], [after])
    assert change.text == after.text
    assert change.sentence == "Index Scan using ix_title on songs became Seq Scan on songs (9 rows read)"


def test_an_index_that_only_sorts_now_is_said_with_what_it_reads():
    """It is the same scan, and its condition has become a filter."""
    before = planned(by_index("songs", "ix", Index_Cond="(a = 1)", rows=3.0), text=LIKE)
    rest = by_index("songs", "ix", Filter="(a ~~* 'x'::text)", rows=1.0, Rows_Removed_by_Filter=999)
    (change,) = changed([before], [planned(rest, text=ILIKE)])
    assert change.sentence == "Index Scan using ix on songs: 1,000 rows read, 999 removed by filter (was 3)"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Its conditions alone are what was rewritten.
        ([planned(scan("songs"), text=LIKE)], [planned(scan("songs", Filter="(a = 1)"), text=ILIKE)]),
        # Another table, or another number of executions: a new statement.
        ([planned(scan("albums"), text="SELECT 1 FROM albums")], [planned(scan("songs"), text=ILIKE)]),
        ([planned(by_index("songs", "ix"), text=LIKE)], [planned(scan("songs"), text=ILIKE)] * 2),
        # One of several shapes is as it was.
        (
            [planned(by_index("songs", "ix"), text=LIKE), planned(scan("songs"), text=LIKE)],
            [planned(scan("songs"), text=ILIKE)] * 2,
        ),
    ],
)
def test_a_statement_that_replaces_none_is_no_change_of_a_plan(before, after):
    """Nor one that is read as before."""
    assert changed(before, after) == ()


def test_of_several_shapes_the_new_one_is_shown_with_its_share():
    """What both sides do is no news."""
    seq, index = planned(scan("songs")), planned(by_index("songs", "ix"))
    (change,) = changed([index], [index, seq, index, index])
    assert change.sentence.endswith("became Seq Scan on songs (1 row read) (in 1 of 4 executions)")


def test_a_statement_with_several_shapes_is_unstable():
    """Over all executions and passes of one side."""
    seq, index = planned(scan("songs")), planned(by_index("songs", "ix"))
    other = planned(scan("artists"), text="SELECT 1 FROM artists")
    assert unstable([seq, other, index, other]) == (seq.fingerprint,)
    assert unstable([seq, seq, other]) == ()


# --- A real server ---

SCHEMA = """
CREATE TABLE artists (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE songs (id int PRIMARY KEY, artist_id int REFERENCES artists, title text, at timestamptz);
INSERT INTO artists SELECT n, 'artist ' || n FROM generate_series(1, 500) n;
INSERT INTO songs SELECT n, 1 + n * 7 % 500, 'song ' || n, '2024-01-01'::timestamptz + n * interval '1 min'
FROM generate_series(1, 20000) n;
CREATE INDEX songs_artist ON songs (artist_id);
CREATE FUNCTION many() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM songs); END';
"""
QUERY = "SELECT title FROM songs WHERE artist_id = %s"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Running]:
    config = Services.model_validate({"postgres": {"version": 18}})
    state = tmp_path_factory.mktemp("state")
    with services.start(config, provider="embedded", state=state, notify=lambda _: None) as started:
        with closing(connect(started.postgres, "postgres")) as admin:
            admin.execute("CREATE DATABASE app")
            admin.execute("CREATE DATABASE other")
        with closing(connect(started.postgres, "app")) as inside:
            inside.execute(SCHEMA)
            inside.execute("VACUUM (ANALYZE)")
        yield started


@pytest.fixture
def pooled(running) -> Iterator[psycopg.Connection]:
    """A session of the application that was there before anybody asked for plans."""
    with psycopg.connect(running.postgres.url("app"), autocommit=True) as connection:
        connection.execute("SELECT 1")
        yield connection


def settings_left(running) -> tuple[object, ...]:
    with closing(connect(running.postgres, "postgres")) as admin:
        row = admin.execute(
            "SELECT current_setting('log_line_prefix'), current_setting('auto_explain.log_min_duration'),"
            " pg_read_file('postgresql.auto.conf') LIKE '%auto_explain%'"
        ).fetchone()
        assert row
        return row


@live
def test_sessions_that_were_there_before_are_explained_and_then_no_more(running, pooled):
    """From the mark to where it is read; nothing is logged after the context, and no setting is left."""
    with explaining(running, "app") as explainer:
        assert explainer.missing == ""
        pooled.execute(QUERY, (1,))
        mark = explainer.mark()
        pooled.execute(QUERY, (2,))
        pooled.execute(QUERY, (3,))
        found = explainer.since(mark)
        assert explainer.since(explainer.mark()).plans == ()
    (plan,) = found.plans
    assert (plan.calls, plan.rows, plan.relations, found.skipped) == (2, 80, ("songs",), 0)
    end = running.log_end()
    pooled.execute(QUERY, (4,))
    assert running.log_since(end) == ""
    assert settings_left(running) == ("%m [%p] ", "-1", False)


@live
def test_logging_is_off_again_after_an_error(running, pooled):
    """Whatever ended the context."""
    with pytest.raises(ZeroDivisionError), explaining(running, "app"):
        raise ZeroDivisionError
    assert settings_left(running) == ("%m [%p] ", "-1", False)


@live
def test_logging_is_off_again_though_the_gates_own_session_was_ended(running, pooled):
    """Which is a fault of its own, said as one."""
    with explaining(running, "app") as explainer:
        pooled.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'perf-gate'"
        )
        with pytest.raises(MeasurementError, match="the plans cannot be read: "):
            explainer.mark()
    assert settings_left(running) == ("%m [%p] ", "-1", False)


@live
def test_only_the_database_asked_for_and_not_the_gate_itself(running, pooled):
    """The server logs them all; and statements inside of a function are their caller's."""
    with explaining(running, "app") as explainer:
        mark = explainer.mark()
        with psycopg.connect(running.postgres.url("other")) as elsewhere:
            elsewhere.execute("SELECT 'elsewhere'")
        with closing(connect(running.postgres, "app")) as ours:
            ours.execute("SELECT 'ours'")
        pooled.execute("SELECT many()")
        found = explainer.since(mark)
    assert [plan.text for plan in found.plans] == ["SELECT many()"]


@live
def test_a_statement_is_waited_for_until_its_transaction_ends(running, pooled):
    """An answer may leave first; the plan is logged with the commit."""
    pooled.autocommit = False
    with explaining(running, "app") as explainer:
        mark = explainer.mark()
        pooled.execute(QUERY, (1,))
        late = threading.Timer(0.2, pooled.commit)
        late.start()
        found = explainer.since(mark)
        late.join()
    assert [plan.calls for plan in found.plans] == [1]


STATEMENTS = [
    ("SELECT title FROM songs WHERE id = 5 AND title = 'it''s' LIMIT 10", ()),
    ("SELECT id FROM songs WHERE id IN (1, 2, 3)", ()),
    ("SELECT title FROM songs WHERE id IN (%s, %s)", (1, 2)),
    ("SELECT artist_id FROM songs WHERE id = ANY(%s)", ([1, 2],)),
    ("SELECT id FROM songs WHERE at > now() - interval '1 day' AND at < timestamptz '2024-05-05'", ()),
    ("SELECT count(*), %s::text FROM songs -- why\n", ("x",)),
    ("INSERT INTO artists (id, name) VALUES (9001, 'a'), (9002, 'b'), (9003, 'c')", ()),
    ("UPDATE songs SET title = title || '!' WHERE id = %s", (3,)),
    ("WITH a AS (SELECT id FROM artists WHERE name LIKE 'artist 1%%') SELECT count(*) FROM a", ()),
    ("DELETE FROM artists WHERE id > 9000;", ()),
    ("COPY (SELECT id FROM songs WHERE id < 4) TO STDOUT", ()),
    ("DECLARE c CURSOR FOR SELECT id FROM songs WHERE id < 7", ()),
    ("SELECT E'a\\tb', 1.5e3, -4, true, NULL FROM songs WHERE (id, artist_id) = (1, 2)", ()),
]


@live
@pytest.mark.parametrize("prepared", [False, True])
def test_a_plan_is_found_by_the_fingerprint_of_the_counted_statement(running, pooled, prepared):
    """The log has the text as it was sent, the counters have it normalised."""
    pooled.autocommit = False
    with explaining(running, "app") as explainer:
        mark = explainer.mark()
        for text, values in STATEMENTS:
            if text.startswith("COPY"):
                with pooled.cursor().copy(text) as copy:
                    list(copy)
            else:
                pooled.execute(text, values, prepare=prepared if values else None)
        pooled.commit()
        found = explainer.since(mark)
    with closing(connect(running.postgres, "postgres")) as admin:
        counted = {identify(row.text).fingerprint for row in statement_counts(admin, "app")}
    assert {plan.fingerprint for plan in found.plans} <= counted
    assert (sum(plan.calls for plan in found.plans), found.skipped) == (len(STATEMENTS), 0)


@live
def test_a_dropped_index_is_seen(running, pooled):
    """From the log of a real server to the sentence."""
    with explaining(running, "app") as explainer:
        sides = []
        for change in ("SELECT 1", "DROP INDEX songs_artist"):
            with closing(connect(running.postgres, "app")) as inside:
                inside.execute(change)
            mark = explainer.mark()
            for artist in (1, 2):
                pooled.execute(QUERY, (artist,))
            sides.append(explainer.since(mark).plans)
    (change,) = changed(*sides)
    assert change.lines[-1] == "+   Filter: artist_id = ?"
    assert (
        "songs_artist on songs became Seq Scan on songs (20,000 rows read, 19,960 removed" in change.sentence
    )


class WithoutLog:
    """A server that the user gave."""

    def __init__(self, postgres: PostgresServer) -> None:
        self.postgres = postgres

    def log_end(self) -> None:
        return None

    def log_since(self, end: int) -> str:
        raise AssertionError("there is none")


@live
def test_where_the_log_is_out_of_reach_that_is_said_and_nothing_is_changed(running, pooled):
    """Of a server that is not ours."""
    with explaining(WithoutLog(running.postgres), "app") as explainer:
        assert settings_left(running) == ("%m [%p] ", "-1", False)
        assert explainer.missing == "plans are not available: the server's log is not ours"
        assert explainer.since(explainer.mark()) == Explained()
