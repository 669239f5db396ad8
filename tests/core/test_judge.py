"""From counts to a verdict: the rules of the table, end to end through the pure rooms."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from build import KEY, LIST, SAVE, run, side, statement

from gate.judge import Context, held_against, judge
from gate.model import SKIPPED, Case, Caveat, Level, Outcome, Report, SideRun, State

LOOP = "SELECT s.id, s.title, s.artist_id FROM songs s WHERE s.id = $1"
GOOD = {"errors": [0, 0], "sql.calls": [3, 3], "sql.blocks": [100, 100], "sql.rows": [25, 25]}


def judged(
    head: dict[str, list[float]], base: dict[str, list[float]] = GOOD, *, case: Case = LIST, **context: object
) -> Report:
    stored = side("base", {case: base}, stored=True)
    measured = side("head", {case: head})
    settings = {"config": None, "stored": stored, "ref": "abc"} | context
    return judge(run(measured, known=(case,)), Context(**settings))  # type: ignore[arg-type]


def row(report: Report, metric: str) -> object:
    return next(r for r in report.comparisons if r.metric == metric)


def test_equal_counts_pass() -> None:
    """Nothing worse is a pass, and the reason says how much was compared."""
    report = judged(dict(GOOD))
    assert report.verdict.state is State.PASS
    assert report.verdict.reasons == ("1 case compared, none got worse",)
    assert report.coverage.rows == 4


def test_one_more_query_blocks() -> None:
    """Totals of work allow nothing: 3 -> 4 queries is exit 1."""
    report = judged(GOOD | {"sql.calls": [4, 4]})
    assert report.verdict.state is State.BLOCKED
    assert report.verdict.exit_code == 1


def test_fewer_queries_are_an_improvement_and_never_fail() -> None:
    """A decrease passes and is counted as improved."""
    report = judged(GOOD | {"sql.calls": [1, 1]})
    assert report.verdict.state is State.PASS
    assert "1 improved" in report.verdict.reasons[0]


@pytest.mark.parametrize(("blocks", "state"), [(102, State.PASS), (103, State.BLOCKED)])
def test_blocks_of_a_reading_case_may_grow_by_two_percent(blocks: float, state: State) -> None:
    """Exactly the allowed share passes, one block more does not."""
    assert judged(GOOD | {"sql.blocks": [blocks, blocks]}).verdict.state is state


def test_temporary_blocks_from_none_to_any_block() -> None:
    """A share of nothing is nothing: a first spill to disk is a regression."""
    report = judged(GOOD | {"sql.temp_blocks": [1, 1]}, GOOD | {"sql.temp_blocks": [0, 0]})
    assert report.verdict.state is State.BLOCKED


def test_blocks_of_a_writing_case_only_warn() -> None:
    """Pages are extended: a writer's sizes warn beyond 10 % and never block."""
    report = judged(GOOD | {"sql.blocks": [150, 150]}, case=SAVE)
    assert report.verdict.state is State.PASS
    found = next(r for r in report.comparisons if r.metric == "sql.blocks")
    assert (found.level, found.blocking) == (Level.WARN, False)


def test_a_writer_made_slower_by_an_index_that_helps_a_reader_is_a_note() -> None:
    """More blocks of a writer are noted, not warned about, when a reader improved in the same run."""
    stored = side("base", {LIST: GOOD, SAVE: GOOD}, stored=True)
    head = side("head", {LIST: GOOD | {"sql.blocks": [50, 50]}, SAVE: GOOD | {"sql.blocks": [150, 150]}})
    report = judge(run(head, known=(LIST, SAVE)), Context(config=None, stored=stored))
    found = next(r for r in report.comparisons if r.case == SAVE and r.metric == "sql.blocks")
    assert (found.outcome, found.level) == (Outcome.REGRESSED, Level.NOTE)


@pytest.mark.parametrize(
    ("calls", "level"), [(3.0, Level.BLOCK), (2.0, Level.WARN)], ids=["no relief", "relieves the database"]
)
def test_more_redis_commands_block_unless_they_take_work_off_the_database(calls: float, level: Level) -> None:
    """A new cache costs Redis commands; with fewer queries in the same case they warn."""
    base = GOOD | {"redis.commands": [0, 0]}
    report = judged(GOOD | {"redis.commands": [2, 2], "sql.calls": [calls, calls]}, base)
    assert next(r for r in report.comparisons if r.metric == "redis.commands").level is level


BENCH = Case(suite="benchmarks", name="report")


def test_a_benchmark_that_begins_to_ask_the_database_blocks() -> None:
    """One that leaves the services alone has no counts of them; its first query is one more than none."""
    report = judged({"errors": [0, 0], "sql.calls": [1, 1]}, {"errors": [0, 0]}, case=BENCH)
    assert report.verdict.state is State.BLOCKED
    assert "0 -> 1 queries" in report.verdict.reasons[0]


def test_a_benchmark_that_no_longer_asks_the_database_is_better() -> None:
    """The other way round, too, what is not there is 0."""
    report = judged({"errors": [0, 0]}, {"errors": [0, 0], "sql.calls": [1, 1]}, case=BENCH)
    assert (report.verdict.state, row(report, "sql.calls").outcome) == (State.PASS, Outcome.IMPROVED)


def test_a_benchmark_that_failed_did_not_ask_less() -> None:
    """The counts that a failure has none of are no zeros."""
    report = judged({"errors": [1, 1]}, {"errors": [0, 0], "sql.calls": [1, 1]}, case=BENCH)
    assert [r.metric for r in report.comparisons] == ["errors"]


def test_a_benchmark_that_asks_in_one_pass_only_is_not_worse_each_time() -> None:
    """The pass without a query counts as none: its smallest value is 0, as base's."""
    report = judged({"errors": [0, 0], "sql.calls": [5]}, {"errors": [0, 0]}, case=BENCH)
    assert report.verdict.state is State.PASS
    assert [f.name for f in report.findings] == ["became-nondeterministic"]


def test_keys_that_an_older_file_does_not_hold_are_unknown() -> None:
    """And nothing is said of them."""
    report = judged(GOOD | {"redis.keys": [0, 0]}, GOOD)
    assert (report.verdict.state, report.coverage.rows) == (State.PASS, 4)


def test_blocks_of_a_benchmark_that_writes_only_warn() -> None:
    """No table says that it writes; its WAL does."""
    base = {"errors": [0, 0], "sql.blocks": [100, 100], "sql.wal_records": [9, 9]}
    report = judged(base | {"sql.blocks": [200, 200]}, base, case=BENCH)
    assert (report.verdict.state, row(report, "sql.blocks").level) == (State.PASS, Level.WARN)


def test_python_calls_are_compared_within_the_run_only() -> None:
    """More of them are a note; a file that holds none is nothing to miss."""
    counted = {"errors": [0, 0], "python.calls": [10, 10]}
    base, head = side("base", {BENCH: counted}), side("head", {BENCH: counted | {"python.calls": [20, 20]}})
    found = row(judge(run(head, base, known=(BENCH,)), Context(config=None)), "python.calls")
    assert (found.outcome, found.level, found.blocking) == (Outcome.REGRESSED, Level.NOTE, False)
    report = judged(counted, {"errors": [0, 0]}, case=BENCH)
    assert [r.metric for r in report.comparisons] == ["errors"]


def test_keys_left_behind_block() -> None:
    """A cache whose keys are never asked for again grows with every request; one that saves queries warns."""
    base = GOOD | {"redis.keys": [0, 0], "sql.calls": [5, 5]}
    report = judged(GOOD | {"redis.keys": [1, 1], "sql.calls": [5, 5]}, base)
    assert (report.verdict.state, row(report, "redis.keys").level) == (State.BLOCKED, Level.BLOCK)
    report = judged(GOOD | {"redis.keys": [1, 1], "sql.calls": [4, 4]}, base)
    assert (report.verdict.state, row(report, "redis.keys").level) == (State.PASS, Level.WARN)


def test_a_redis_loop_is_not_excused_by_a_hair_fewer_blocks() -> None:
    """Relief is a whole query or more than 2 % of the blocks; anything less excuses nothing."""
    base = GOOD | {"redis.commands": [1, 1], "sql.blocks": [1000, 1000]}
    head = GOOD | {"redis.commands": [1000, 1000], "sql.blocks": [999, 999]}
    assert judged(head, base).verdict.state is State.BLOCKED


def test_a_pass_beside_warnings_does_not_say_that_nothing_got_worse() -> None:
    """A writer's blocks rose ninefold: allowed to pass, not to be called equal."""
    report = judged(GOOD | {"sql.blocks": [900, 900]}, case=SAVE)
    assert report.verdict.reasons == ("1 case compared, 1 got worse in ways that only warn",)


def test_a_count_that_varies_is_gated_on_its_smallest_value() -> None:
    """Head's minimum must exceed base's maximum; otherwise it is a warning, not a block."""
    report = judged(GOOD | {"sql.calls": [3, 4]})
    assert report.verdict.state is State.PASS
    assert [(f.name, f.level) for f in report.findings] == [("became-nondeterministic", Level.WARN)]
    assert judged(GOOD | {"sql.calls": [4, 5]}).verdict.state is State.BLOCKED


def test_a_failure_that_base_did_not_have_blocks() -> None:
    """A failing request is a regression however fast it fails."""
    report = judged({"errors": [1, 1]})
    assert report.verdict.state is State.BLOCKED
    assert report.verdict.reasons[0].startswith("GET /list: fails, and did not on base")


def test_a_failure_in_one_pass_only_blocks_all_the_same() -> None:
    """Any failure counts: one in twenty requests may not show in both passes."""
    report = judged(GOOD | {"errors": [0.1, 0]})
    assert report.verdict.state is State.BLOCKED
    head = side("head", {LIST: GOOD, SAVE: {"errors": [0, 0.1]}})
    stored = side("base", {LIST: GOOD}, stored=True)
    flaky = judge(run(head, known=(LIST,)), Context(config=None, stored=stored))
    assert flaky.verdict.state is State.ERROR


def test_a_change_that_mends_a_failing_case_passes() -> None:
    """Base failed and has no counts; head's are the first, not incomparable."""
    base = side("base", {LIST: {"errors": [1, 1]}})
    head = side("head", {LIST: GOOD})
    report = judge(run(head, base, known=(LIST,)), Context(config=None))
    assert report.verdict.state is State.PASS


def test_a_failure_on_both_sides_is_no_verdict() -> None:
    """Exit 4: what fails on base as well was not measured."""
    report = judged({"errors": [1, 1]}, {"errors": [1, 1]})
    assert report.verdict.state is State.ERROR
    assert report.verdict.exit_code == 4


def test_a_new_case_that_fails_is_no_verdict() -> None:
    """With nothing that once worked a failure is an error, not a pass."""
    head = side("head", {LIST: GOOD, SAVE: {"errors": [1, 1]}})
    stored = side("base", {LIST: GOOD}, stored=True)
    report = judge(run(head, known=(LIST,)), Context(config=None, stored=stored))
    assert report.verdict.state is State.ERROR


def test_a_case_that_is_gone_blocks() -> None:
    """Missing is never a silent pass."""
    stored = side("base", {LIST: GOOD, SAVE: GOOD}, stored=True)
    report = judge(run(side("head", {LIST: GOOD}), known=(LIST, SAVE)), Context(config=None, stored=stored))
    assert report.verdict.state is State.BLOCKED
    assert report.verdict.reasons == ("endpoints/save: was measured on base and is missing on head",)


def test_a_case_that_was_planned_and_never_measured_is_missing() -> None:
    """A run without a sample of it is no run in which it did not get worse."""
    stored = side("base", {LIST: GOOD}, stored=True)
    empty = dataclasses.replace(side("head", {LIST: GOOD}), samples=())
    report = judge(run(empty, known=(LIST,)), Context(config=None, stored=stored))
    assert (report.verdict.state, report.comparisons[0].outcome) == (State.BLOCKED, Outcome.MISSING)


def test_a_case_that_is_gone_from_the_edited_baseline_too_is_accepted() -> None:
    """Removing the stored row in the same change is the reviewed way to remove a case."""
    stored = side("base", {LIST: GOOD, SAVE: GOOD}, stored=True)
    context = Context(config=None, stored=stored, edited=side("base", {LIST: GOOD}, stored=True))
    report = judge(run(side("head", {LIST: GOOD}), known=(LIST, SAVE)), context)
    assert report.verdict.state is State.ACCEPTED


def test_a_case_that_head_skips_is_missing_where_base_ran_it() -> None:
    """A skip mark is no way past the gate; where base never ran it, it is a note."""
    head = side("head", {LIST: GOOD, SAVE: {"errors": [0, 0]}})
    caveat = Caveat(code=SKIPPED, text="needs a licence")
    samples = tuple(dataclasses.replace(s, caveats=(caveat,)) if s.case == SAVE else s for s in head.samples)
    head = dataclasses.replace(head, samples=samples)
    stored = side("base", {LIST: GOOD, SAVE: GOOD}, stored=True)
    blocked = judge(run(head, known=(LIST, SAVE)), Context(config=None, stored=stored))
    assert blocked.verdict.reasons == (
        "endpoints/save: was measured on base and is missing on head (needs a licence)",
    )
    stored = side("base", {LIST: GOOD}, stored=True)
    noted = judge(run(head, known=(LIST,)), Context(config=None, stored=stored))
    assert noted.verdict.state is State.PASS
    assert [(f.name, f.level) for f in noted.findings] == [("skipped", Level.NOTE)]


def test_a_new_case_passes_with_a_note() -> None:
    """Nothing to compare with is not a regression."""
    stored = side("base", {LIST: GOOD}, stored=True)
    report = judge(
        run(side("head", {LIST: GOOD, SAVE: GOOD}), known=(LIST,)), Context(config=None, stored=stored)
    )
    assert report.verdict.state is State.PASS
    assert {r.outcome for r in report.comparisons if r.case == SAVE} == {Outcome.NEW}


def test_other_data_makes_a_stored_count_incomparable() -> None:
    """Stored counts of another data set are not used, and the reason names what differs."""
    other = dataclasses.replace(KEY, dataset="d2")
    stored = side("base", {LIST: GOOD}, stored=True, key=other)
    report = judge(run(side("head", {LIST: GOOD}), known=(LIST,)), Context(config=None, stored=stored))
    assert report.verdict.state is State.INCONCLUSIVE
    assert "data set d2 -> d1" in report.verdict.reasons[0]


def test_measured_base_is_used_where_stored_counts_cannot_be() -> None:
    """Base measured in the same run is compared with, whatever is stored."""
    stored = side("base", {LIST: GOOD}, stored=True, key=dataclasses.replace(KEY, dataset="d2"))
    base = side("base", {LIST: GOOD})
    head = side("head", {LIST: GOOD | {"sql.calls": [4, 4]}})
    report = judge(run(head, base, known=(LIST,)), Context(config=None, stored=stored))
    assert report.verdict.state is State.BLOCKED


@pytest.mark.parametrize(("value", "state"), [(4, State.ACCEPTED), (5, State.BLOCKED)])
def test_an_edited_baseline_unblocks_only_the_value_that_was_measured(value: float, state: State) -> None:
    """Accepting means naming the value; another one accepts nothing."""
    edited = side("base", {LIST: GOOD | {"sql.calls": [value, value]}}, stored=True)
    report = judged(GOOD | {"sql.calls": [4, 4]}, edited=edited)
    assert report.verdict.state is state
    if state is State.ACCEPTED:
        found = next(r for r in report.comparisons if r.metric == "sql.calls")
        assert (found.outcome, found.blocking, report.verdict.exit_code) == (Outcome.ACCEPTED, False, 0)


def test_an_edit_that_spans_a_range_accepts_nothing() -> None:
    """A stored pair that holds every value is not the value that was measured."""
    edited = side("base", {LIST: GOOD | {"sql.calls": [0, 1e9]}}, stored=True)
    report = judged(GOOD | {"sql.calls": [500, 500]}, edited=edited)
    assert report.verdict.state is State.BLOCKED


def test_a_baseline_left_as_it_was_accepts_nothing() -> None:
    """The stored file that base already has is no edit."""
    stored = side("base", {LIST: GOOD | {"sql.calls": [4, 4]}}, stored=True)
    head = side("head", {LIST: GOOD | {"sql.calls": [4, 4]}})
    base = side("base", {LIST: GOOD})
    context = Context(config=None, stored=stored, edited=stored)
    assert judge(run(head, base, known=(LIST,)), context).verdict.state is State.BLOCKED


def test_the_first_line_names_the_endpoint_the_statement_and_the_calls() -> None:
    """An N+1 reads as a review comment."""
    stored = side("base", {LIST: GOOD}, stored=True, statements={LIST: [statement(LOOP, 1)]})
    head = side("head", {LIST: GOOD | {"sql.calls": [202, 202]}}, statements={LIST: [statement(LOOP, 200)]})
    report = judge(run(head, known=(LIST,)), Context(config=None, stored=stored))
    assert report.verdict.reasons[0] == (
        "GET /list: 3 -> 202 queries; SELECT ... FROM songs s WHERE s.id = $1 ran 200 times (was 1)"
    )


def test_a_rewritten_statement_does_not_hide_the_loop_that_came_with_it() -> None:
    """The join lost a column and reads as often as before; the cause is the statement that is new."""
    joined = "SELECT p.id, a.name FROM playlist_songs p JOIN artists a ON a.id = p.artist_id"
    alone = "SELECT p.id FROM playlist_songs p"
    loop = "SELECT name FROM artists WHERE id = $1"
    stored = side(
        "base", {LIST: GOOD}, stored=True, statements={LIST: [statement(joined, 1, rows=25, blocks=90)]}
    )
    head = side(
        "head",
        {LIST: GOOD | {"sql.rows": [50, 50]}},
        statements={LIST: [statement(alone, 1, rows=25, blocks=30), statement(loop, 25, rows=25)]},
    )
    report = judge(run(head, known=(LIST,)), Context(config=None, stored=stored))
    assert report.verdict.reasons[0].endswith("SELECT name FROM artists WHERE id = $1: 25 rows (was 0)")


def test_first_adoption_passes_and_says_what_to_commit() -> None:
    """Neither configuration nor baseline on base: everything is new."""
    report = judge(run(side("head", {LIST: GOOD})), Context(config=None, adoption=True))
    assert report.verdict.state is State.PASS
    assert "perf-gate baseline update" in report.verdict.reasons[0]


def test_against_none_compares_nothing_and_passes() -> None:
    """No comparison was asked for."""
    report = judge(run(side("head", {LIST: GOOD}), against="none"), Context(config=None))
    assert (report.verdict.state, report.coverage.rows) == (State.PASS, 0)


def test_the_order_of_cases_changes_no_verdict() -> None:
    """Permuting the cases gives the same rows, verdict and reasons."""
    cases = [Case(suite="endpoints", name=name) for name in "abc"]
    counts = {case: GOOD | {"sql.calls": [3 + i, 3 + i]} for i, case in enumerate(cases)}
    seen = set()
    for order in itertools.permutations(cases):
        stored: SideRun = side("base", dict.fromkeys(order, GOOD), stored=True)
        head = side("head", {case: counts[case] for case in order})
        report = judge(run(head, known=order), Context(config=None, stored=stored))
        seen.add((report.verdict, frozenset(report.comparisons)))
    assert len(seen) == 1


def test_two_saved_reports_are_compared_without_measuring() -> None:
    """The measurement of one report is held against that of another."""
    before = judged(dict(GOOD))
    after = judged(GOOD | {"sql.calls": [9, 9]})
    report = held_against(after, before, Context(config=None))
    assert report.verdict.reasons == ("GET /list: 3 -> 9 queries",)
