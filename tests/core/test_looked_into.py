"""What plans and sampled stacks add to the cause of a row."""

from __future__ import annotations

import dataclasses

import pytest

from gate.explain import holds, longer, to_look_into
from gate.explain.causes import deepened, indexed, new_indexes
from gate.explain.growth import grown
from gate.model import (
    Case,
    Cause,
    Comparison,
    Difference,
    Evidence,
    Explanation,
    Gain,
    Holding,
    Index,
    Kind,
    Level,
    Outcome,
    PlanChange,
    SideName,
    Statement,
    Storage,
)

CASE = Case(suite="endpoints", name="page")
SQL = "SELECT id FROM songs WHERE status = $1"
PLAN = PlanChange(
    fingerprint="a",
    text=SQL,
    lines=("- Index Scan using by_status on songs", "+ Seq Scan on songs"),
    sentence="Index Scan using by_status on songs became Seq Scan on songs (300,000 rows read)",
)
OTHER = dataclasses.replace(PLAN, fingerprint="0", text="SELECT 1 FROM t", sentence="Sort was added")
WAITS = Gain(file="app/pages.py", function="page", line=7, into="psycopg", wall=0.004, cpu=0.001, caller="")
WORKS = Gain(file="app/words.py", function="words", line=9, into="re.compile", wall=0.002, cpu=0.002)
FOUND = Cause(
    summary="SELECT ... FROM songs: 3,000 blocks (was 3)",
    differences=(Difference(what="statement", text=SQL, measure="blocks", before=3, after=3000),),
)


def row(metric: str, *, kind: Kind = Kind.EXACT, outcome: Outcome = Outcome.REGRESSED) -> Comparison:
    return Comparison(
        case=CASE,
        label="GET /page",
        metric=metric,
        unit="",
        kind=kind,
        base=1.0,
        head=2.0,
        delta=1.0,
        outcome=outcome,
        blocking=outcome is Outcome.REGRESSED,
    )


def look(
    *,
    plans: tuple[PlanChange, ...] = (),
    gains: tuple[Gain, ...] = (),
    calls: tuple[Difference, ...] = (),
) -> Explanation:
    return Explanation(case=CASE, plans=plans, gains=gains, calls=calls)


def test_more_blocks_are_explained_by_the_plan_of_the_statement_that_reads_them() -> None:
    """Another statement's new plan stands behind it."""
    found = deepened(row("sql.blocks"), FOUND, look(plans=(OTHER, PLAN)))
    assert found is not None
    assert found.summary == f"{FOUND.summary}; {PLAN.sentence}"
    assert found.plans == (PLAN, OTHER)
    assert found.differences == FOUND.differences


def test_parameters_may_be_numbered_otherwise_in_a_plan() -> None:
    """A server that squashes a list counts the parameters after it from two."""
    listed = "SELECT id FROM songs WHERE id IN ($1, ...) AND b = $2"
    cause = dataclasses.replace(FOUND, differences=(dataclasses.replace(FOUND.differences[0], text=listed),))
    plan = dataclasses.replace(PLAN, text=listed.replace("$2", "$4"))
    found = deepened(row("sql.blocks"), cause, look(plans=(OTHER, plan)))
    assert found is not None
    assert found.plans == (plan, OTHER)
    assert found.summary.endswith(PLAN.sentence)


def test_the_plan_of_another_statement_is_kept_and_not_said() -> None:
    """What a loop has added is not explained by how its neighbour reads now."""
    found = deepened(row("sql.calls"), FOUND, look(plans=(OTHER,)))
    assert found is not None
    assert (found.summary, found.plans) == (FOUND.summary, (OTHER,))


def test_a_count_names_who_asks_and_not_who_computes() -> None:
    found = deepened(row("sql.calls"), FOUND, look(gains=(WORKS, WAITS)))
    assert found is not None
    assert found.summary.endswith("; from app/pages.py:7 page")
    assert found.gains == (WAITS,)


def test_commands_are_not_explained_by_plans() -> None:
    found = deepened(row("redis.commands"), None, look(plans=(PLAN,), gains=(WAITS,)))
    assert found is not None
    assert (found.plans, found.summary) == ((), "from app/pages.py:7 page")


def test_a_time_names_the_function_that_gained_most() -> None:
    spent = Cause(summary="+2.00 ms, of it +2.00 ms processor time of the program")
    found = deepened(row("latency", kind=Kind.TIMING), spent, look(gains=(WORKS, WAITS)))
    assert found is not None
    assert (
        found.summary == f"{spent.summary}; app/words.py:9 words: +2.0 ms of processor time (in re.compile)"
    )


CALLS = Difference(
    what="function",
    text="rhymes, called at app/words.py:12 analyse (changed here),",
    measure="calls",
    before=100,
    after=200,
)


@pytest.mark.parametrize(("metric", "kind"), [("time", Kind.TIMING), ("python.calls", Kind.EXACT)])
def test_a_function_called_more_often_is_named_before_what_samples_show(metric: str, kind: Kind) -> None:
    said = "rhymes, called at app/words.py:12 analyse (changed here), ran 200 times (was 100)"
    found = deepened(row(metric, kind=kind), None, look(calls=(CALLS,)))
    assert found is not None
    assert (found.summary, found.differences) == (said, (CALLS,))
    sampled = deepened(row("time", kind=Kind.TIMING), None, look(gains=(WORKS,), calls=(CALLS,)))
    assert sampled is not None
    assert (sampled.summary, sampled.differences) == (f"{said}; {longer(WORKS)}", (CALLS,))


LOOP = Cause(
    summary="SELECT ... FROM tags ran 11 times (was 1)",
    differences=(Difference(what="statement", text=SQL, measure="calls", before=1, after=11),),
)


def rising(name: str, before: float, after: float) -> Difference:
    return Difference(what="function", text=name, measure="calls", before=before, after=after)


def test_a_count_names_the_call_that_rose_as_much_as_its_statement() -> None:
    """Ten more of both, in a file that the change edits."""
    calls = (
        rising("a.parse, called at a.py:1 each,", 0, 200),
        rising("a.tags, called at a.py:7 page,", 5, 15),
        rising("b.tags, called at b.py:9 page (changed here),", 0, 10),
    )
    found = deepened(row("sql.calls"), LOOP, look(calls=calls))
    assert found is not None
    assert (
        found.summary == f"{LOOP.summary}; b.tags, called at b.py:9 page (changed here), ran 10 times (was 0)"
    )
    none = deepened(row("sql.calls"), LOOP, look(calls=calls[:1]))
    assert none is not None
    assert none.summary == LOOP.summary
    assert deepened(row("sql.blocks"), FOUND, look(calls=calls)) == FOUND


def test_who_sends_a_statement_is_named_once() -> None:
    """Samples that saw it sent from what the change edits are nearer to it than any call above."""
    seen = dataclasses.replace(WAITS, touched=True)
    calls = (rising("b.tags, called at b.py:9 page (changed here),", 0, 10),)
    found = deepened(row("sql.calls"), LOOP, look(gains=(seen,), calls=calls))
    assert found is not None
    assert "called at" not in found.summary
    assert "app/pages.py:7" in found.summary


@pytest.mark.parametrize("rise", [1, 10])
def test_what_rises_as_much_by_chance_is_not_named(rise: int) -> None:
    """Many calls rise by one; of several alike none is known to send the statement."""
    loop = dataclasses.replace(
        LOOP, differences=(dataclasses.replace(LOOP.differences[0], before=1, after=1 + rise),)
    )
    calls = tuple(rising(f"{name}.f, called at a.py:1 page (changed here),", 0, rise) for name in "ab")
    found = deepened(row("sql.calls"), loop, look(calls=calls if rise > 1 else calls[:1]))
    assert found is not None
    assert found.summary == loop.summary


def test_the_time_of_a_request_names_no_calls() -> None:
    """They are counted, not timed: which of them takes it is not known."""
    calls = (rising("a.parse, called at a.py:1 each,", 0, 200),)
    assert deepened(row("latency", kind=Kind.TIMING), None, look(calls=calls)) is None


@pytest.mark.parametrize("metric", ["errors", "response.bytes", "case"])
def test_what_explains_itself_is_left_alone(metric: str) -> None:
    assert deepened(row(metric), FOUND, look(plans=(PLAN,), gains=(WAITS,))) is FOUND


def test_a_look_that_showed_nothing_takes_nothing_away() -> None:
    found = deepened(row("sql.calls"), FOUND, look())
    assert found is not None
    assert found.summary == FOUND.summary
    assert deepened(row("sql.calls"), None, look()) is None


def test_a_place_says_that_the_change_is_there_and_who_calls_it() -> None:
    gain = dataclasses.replace(WAITS, touched=True, caller="app/views.py:3 view")
    where = "app/pages.py:7 page, called at app/views.py:3 view (changed here)"
    assert longer(gain) == f"{where}: +3.0 ms waiting and +1.0 ms of processor time (in psycopg)"
    assert longer(dataclasses.replace(WORKS, file="", line=0)).startswith("outside the project's code: ")


def test_only_what_got_worse_is_looked_into_and_what_blocks_first() -> None:
    first = dataclasses.replace(row("sql.calls"), case=Case(suite="endpoints", name="z"))
    warned = dataclasses.replace(row("sql.blocks"), blocking=False, level=Level.WARN)
    noted = dataclasses.replace(row("sql.wal_records"), blocking=False)
    rows = [
        warned,
        noted,
        first,
        dataclasses.replace(
            row("sql.rows", outcome=Outcome.IMPROVED), case=Case(suite="endpoints", name="b")
        ),
        dataclasses.replace(row("errors"), case=Case(suite="endpoints", name="c")),
    ]
    assert to_look_into(rows) == (first, warned)


def sized(parameters: str, base: float, head: float, metric: str = "time") -> Comparison:
    case = Case(suite="benchmarks", name="t.near", parameters=parameters)
    return dataclasses.replace(row(metric, kind=Kind.TIMING), case=case, base=base, head=head)


@pytest.mark.parametrize("names", [("10", "50", "100"), ("n=10,x", "n=50,x", "n=100,x")])
def test_a_benchmark_of_several_sizes_says_how_it_grows_now(names: tuple[str, ...]) -> None:
    """Linear on base and quadratic on head: the exponents are the slopes of logarithms."""
    rows = [sized(name, n / 1000, n * n / 1000) for name, n in zip(names, (10, 50, 100), strict=True)]
    found = grown(rows[1], FOUND, rows)
    assert found is not None
    assert found.summary == f"{FOUND.summary}; from size 10 to 100 it grows with exponent 2.0 (was 1.0)"
    assert found.differences == FOUND.differences


def test_one_that_is_slower_at_every_size_alike_says_nothing_of_growth() -> None:
    """Twice as slow is no steeper."""
    rows = [sized(str(n), n / 1000, 2 * n / 1000) for n in (10, 50, 100)]
    assert grown(rows[0], None, rows) is None


def test_sizes_beside_other_parameters_are_not_mixed() -> None:
    """What differs in something else too is another benchmark."""
    rows = [sized("n=10,x", 0.01, 0.1), sized("n=100,y", 0.1, 10.0)]
    assert grown(rows[0], FOUND, rows) == FOUND


def table(side: SideName, *names: str) -> Storage:
    several = (
        Index(name=name, definition=f"USING btree ({name})", bytes=8192, scans=0, unique=False)
        for name in names
    )
    return Storage(side=side, table="downloads", bytes=8192, indexes=tuple(several))


@pytest.mark.parametrize(
    ("sql", "metric", "said"),
    [
        ("INSERT INTO downloads (id) VALUES ($1)", "sql.wal_records", True),
        ("UPDATE downloads SET status = $1", "sql.blocks", True),
        ("SELECT id FROM downloads", "sql.blocks", False),
        ("INSERT INTO songs (id) VALUES ($1)", "sql.wal_records", False),
        ("INSERT INTO downloads (id) VALUES ($1)", "sql.rows", False),
    ],
)
def test_a_writer_of_a_table_with_a_new_index_says_so(sql: str, metric: str, said: bool) -> None:
    """An index that has only another name is not new."""
    new = new_indexes((table("base", "status"), table("head", "status", "format")))
    seen = Evidence(
        case=CASE, side="head", statements=(Statement(fingerprint="f", text=sql, calls=1, rows=1, blocks=1),)
    )
    found = indexed(row(metric), FOUND, seen, new)
    assert found is not None
    assert found.summary.endswith("; new index format on downloads") is said


def test_without_tables_of_base_no_index_is_new() -> None:
    assert new_indexes((table("head", "status"),)) == {}


def holding(
    metric: str = "memory.growth", *, repeated: float | None = None, touched: bool = False
) -> Holding:
    return Holding(
        metric=metric,
        file="app/users.py",
        function="known",
        line=31,
        text="_seen[key] = user",
        size=2310.0 if metric == "memory.growth" else 3 * 2.0**20,
        repeated=repeated,
        touched=touched,
    )


def test_memory_that_stays_names_the_line_that_allocates_it() -> None:
    """That of the change before one of not twice its size, and none of the other gauge."""
    other = dataclasses.replace(holding(), file="app/other.py", size=4000.0)
    explained = Explanation(
        case=CASE, holdings=(holding("memory.peak"), other, holding(repeated=0.0, touched=True))
    )
    found = deepened(row("memory.growth", kind=Kind.GAUGE), Cause(summary="2,400 more bytes"), explained)
    assert found is not None
    assert found.summary == (
        "2,400 more bytes; allocated at app/users.py:31 known (changed here): 2,310 bytes per request,"
        " none when the same one is made again: each different one is kept"
    )
    assert [each.file for each in found.holdings] == ["app/users.py", "app/other.py"]
    peak = deepened(row("memory.peak", kind=Kind.GAUGE), Cause(summary="3 MB more"), explained)
    assert peak is not None
    assert peak.summary == "3 MB more; allocated at app/users.py:31 known: 3 MB"


def test_memory_without_a_line_is_said_as_before() -> None:
    told = Cause(summary="2,400 more bytes")
    assert deepened(row("memory.growth", kind=Kind.GAUGE), told, look()) == told


@pytest.mark.parametrize(
    ("repeated", "said"),
    [
        (None, "2,310 bytes per request"),
        (2300.0, "2,310 bytes per request, also when the same one is made again"),
        (600.0, "2,310 bytes per request, 600 when the same one is made again"),
    ],
)
def test_what_the_same_request_again_leaves_is_said(repeated: float | None, said: str) -> None:
    assert holds(holding(repeated=repeated)) == f"app/users.py:31 known: {said}"
