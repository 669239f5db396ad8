"""Times of both sides in a report: which rows, in which words, and each thing once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from example_reports import (
    BASE,
    CASES,
    FEW,
    HEAD,
    KEY,
    PLAYLIST,
    SEARCH,
    SYNC,
    n_plus_one,
    pairs,
    regressed,
    side_by_side,
    slower,
    timed,
    timed_clean,
    too_noisy,
    too_short,
    untimed,
    void,
)

from gate.model import BudgetState, Case, Caveat, Outcome, Report, Setting, SideInfo, Sides
from gate.report import markdown, text


def block(rendered: str, name: str) -> list[str]:
    """The lines of the part of a text that begins with this word."""
    parts = [part.splitlines() for part in rendered.split("\n\n")]
    return next(lines for lines in parts if lines[0].split()[0] == name)


def test_worst_time_comes_first() -> None:
    """Where a time is what blocks, the times stand above the counts, the blocked one on top."""
    rendered = text(slower())
    assert rendered.index("BLOCKED       GET /api/playlists/{id}") < rendered.index(
        "equal         7 cases x 9"
    )
    assert block(rendered, "times")[1].startswith("BLOCKED       GET /api/playlists/{id}")


def test_times_that_are_equal_stand_below_the_counts() -> None:
    """A screen is for what changed."""
    rendered = text(timed_clean())
    assert rendered.index("equal         8 cases x 9 metrics") < rendered.index("\ntimes ")


def test_counts_that_block_stand_above_times() -> None:
    """The first row is what the first line speaks of."""
    made = side_by_side(
        [timed(SEARCH, 0.01, 0.2, 0.02, Outcome.REGRESSED, pairs=24, stage="confirm")],
        [regressed(PLAYLIST, "sql.calls", 3, 202)],
        measured=pairs(),
    )
    for rendered in (text(made), markdown(made)):
        assert rendered.index("sql.calls") < rendered.index("+20.0")


def test_row_that_is_not_equal_says_what_it_rests_on() -> None:
    """Bounds, confidence, how many pairs, and of which stage."""
    below = block(text(slower()), "times")
    assert below[2].strip() == "+9.8 % to +14.8 % at 99 %, 24 confirm pairs"
    assert "-18.2 % to -10.2 % at 90 %, 8 screen pairs" in "".join(below)


def test_inconclusive_row_says_what_would_have_been_caught_and_what_it_takes() -> None:
    """Estimate, interval, smallest slowdown caught, pairs needed."""
    below = " ".join(" ".join(block(text(too_noisy()), "times")).split())
    assert (
        "+0.9 % to +13.3 % at 90 %, 24 confirm pairs; from +15.2 % it would have been caught; "
        "about 58 confirm pairs needed" in below
    )


@pytest.mark.parametrize("render", [text, markdown])
def test_doubt_of_all_times_is_said_once(render: object) -> None:
    """Fixed work that moved voids every row; one sentence says so."""
    rendered = render(void())  # type: ignore[operator]
    assert rendered.count("fixed work differed by 4.2%") == 1
    assert rendered.count("a quieter machine would tell") == 1


def test_doubt_of_times_is_said_where_the_verdict_is_about_something_else() -> None:
    """A blocked count does not silence what times could not tell."""
    made = side_by_side(
        [row for row in void().comparisons if row.metric == "latency"],
        [regressed(PLAYLIST, "sql.calls", 3, 202)],
        measured=pairs(),
    )
    caveats = " ".join(" ".join(block(text(made), "caveats")).split())
    assert caveats.startswith(
        "caveats 8 times cannot be trusted: fixed work differed by 4.2% between the sides"
    )


def test_what_the_first_line_cuts_of_the_reasons_is_said_below() -> None:
    """Three reasons do not fit into one line; none of them is lost."""
    rendered = text(too_noisy())
    for why in (
        "varied too much",
        "did not fit the time budget",
        "changed from visit to visit of one side (",
    ):
        assert rendered.count(why) == 1


def test_doubts_of_one_row_stand_below_it() -> None:
    """What only one case has is said there."""
    rendered = text(too_noisy())
    assert "caveat: head's odd visits differ from its even ones by 6.1%" in rendered
    assert "caveat: 24 pairs show neither" not in rendered


def many_inconclusive() -> Report:
    cases = [Case(suite="endpoints", name=f"case-{index:02}") for index in range(25)]
    why = (Caveat(code="time-budget", text="0 of 34 confirm pairs fitted the time budget"),)
    rows = [
        timed(case, 0.004, 0.001 * index, 0.2, Outcome.INCONCLUSIVE, label=case.name, caveats=why, needed=34)
        for index, case in enumerate(cases)
    ]
    made = side_by_side((), measured=pairs())
    return dataclasses.replace(made, comparisons=tuple(rows), timings=())


@pytest.mark.parametrize("render", [text, markdown])
def test_pairs_that_all_inconclusive_times_need_are_said_once(render: Callable[[Report], str]) -> None:
    """Below the table; a row says what only it needs."""
    made = many_inconclusive()
    said = "about 34 confirm pairs needed for each inconclusive time"
    assert " ".join(render(made).split()).count(said) == 1
    assert render(made).count("confirm pairs needed") == 1
    *rest, last = made.comparisons
    other = dataclasses.replace(made, comparisons=(*rest, dataclasses.replace(last, needed=60)))
    assert said.replace("each inconclusive time", "24 of the inconclusive times") in " ".join(
        render(other).split()
    )
    assert render(other).count("about 60 confirm pairs needed") == 1


def spent(made: Report) -> str:
    return " ".join(text(made).partition("\ntiming")[2].partition("\nreproduce")[0].split())


def test_a_time_budget_too_short_for_a_screen_says_what_would_do() -> None:
    """What a screen takes in all, and how to leave timing out."""
    assert spent(too_short()).endswith(
        "40.2 s, more than the time budget of 5 s too short for any time to be decided: the time budget "
        "ended the screen after 2 pairs of 8; 8 pairs take about 2 min 41 s (--time-budget), and 0 "
        "leaves timing out"
    )
    assert "confirm pairs needed" not in text(too_short())
    assert "they got only 2 pairs into the time budget, too few to decide" in text(too_short())


def budgeted(made: Report, seconds: float) -> Report:
    plan = dataclasses.replace(made.run.plan, time_budget=seconds)
    return dataclasses.replace(made, run=dataclasses.replace(made.run, plan=plan))


def test_time_that_was_left_of_a_cut_screen_is_explained() -> None:
    """The next pair may be as long as the longest."""
    assert (
        "ended the screen after 2 pairs of 8, for the next one might not have fitted the 15 s left; "
        in spent(budgeted(too_short(), 55.2))
    )


def test_time_that_was_left_after_the_screen_is_explained() -> None:
    """A confirm has a least number of pairs, which fit or do not."""
    made = dataclasses.replace(too_short(), run=timed_clean().run)
    assert spent(budgeted(made, 200.0)).endswith(
        "39.2 s of the time budget were left, too few for another confirm: 12 pairs of at least 4.18 s, "
        "50.1 s in all"
    )
    assert "another confirm" not in spent(budgeted(made, 360.0))
    assert "another confirm" not in spent(budgeted(timed_clean(), 200.0))


def test_many_inconclusive_times_leave_the_screen_to_the_slowest() -> None:
    """A dozen in a terminal, eight in a comment; the fold has them all."""
    listed = [line for line in block(text(many_inconclusive()), "times") if line.startswith("inconclusive")]
    assert [line.split()[1] for line in listed] == [f"case-{index:02}" for index in range(24, 12, -1)]
    assert "13 more in the JSON and the Markdown report" in text(many_inconclusive())
    visible, _, folded = markdown(many_inconclusive()).partition("<details>")
    assert visible.count("| `case-") == 8
    assert folded.count("| `case-") == 25


def test_a_blocked_time_is_never_left_out_for_room() -> None:
    """The terminal's dozen bounds what is inconclusive and equal, not what changed."""
    made = many_inconclusive()
    blocked = tuple(
        dataclasses.replace(row, outcome=Outcome.REGRESSED, blocking=True) for row in made.comparisons
    )
    rendered = text(dataclasses.replace(made, comparisons=blocked))
    assert sum(line.startswith("BLOCKED") for line in rendered.splitlines()) == 25


def test_picture_gives_way_before_names_and_numbers() -> None:
    """At 80 columns the change is still there, and what is allowed in a word."""
    narrow = block(text(slower(), width=80), "times")
    assert narrow[0].split() == ["times", "case", "base", "head", "change"]
    assert "#" not in "".join(narrow)
    assert narrow[-1].strip() == "5 % allowed"


def test_short_names_leave_room_for_pairs_and_more() -> None:
    """What there is room for is shown, the number of pairs first."""
    made = slower()
    named = {case: f"GET /{index}" for index, case in enumerate(CASES)}
    short = dataclasses.replace(
        made,
        comparisons=tuple(dataclasses.replace(row, label=named[row.case]) for row in made.comparisons),
    )
    assert block(text(short), "times")[0].split()[-3:] == ["pairs", "p95", "cpu"]


def test_a_case_timed_on_head_alone_has_no_change() -> None:
    """A new endpoint is in the table, with nothing to compare it with."""
    made = timed_clean()
    kept = tuple(row for row in made.comparisons if row.case != SYNC)
    (line,) = [
        line for line in block(text(dataclasses.replace(made, comparisons=kept)), "times") if "/sync" in line
    ]
    assert line.split()[-4:] == ["-", "16.7", "ms", "-"]


def test_where_nothing_was_timed_side_by_side_times_are_those_of_head() -> None:
    """No base, no change, no picture; and why is said once."""
    for rendered in (text(untimed()), markdown(untimed())):
        assert rendered.count("not timed side by side: nothing that runs has changed (README.md)") == 1
        assert "base p50" not in rendered
    assert block(text(untimed()), "times")[0].split() == ["times", "case", "p50", "p95", "p99", "spread", "n"]


def test_faster_case_whose_counts_block_says_so() -> None:
    """Two answers about one case must not look like a contradiction."""
    made = side_by_side(
        [timed(PLAYLIST, 0.004, -0.2, 0.02, Outcome.IMPROVED)],
        [regressed(PLAYLIST, "sql.calls", 3, 202)],
        measured=pairs(),
    )
    assert "blocked all the same, by its counts" in text(made)


def test_how_the_time_was_spent() -> None:
    """Stage by stage: pairs, cases, wall time, what of it measured and what warmed up; the budget."""
    said = " ".join(text(slower()).partition("\ntiming")[2].partition("\nreproduce")[0].split())
    assert said == (
        "screen: 8 pairs of 8 cases in 2 min 41 s, 64 % inside measured work, 12 % warm-up; "
        "confirm: 24 pairs of 3 cases in 2 min 12 s, 64 % inside measured work, 3 % warm-up; "
        "4 min 53 s of the time budget of 6 min"
    )


def test_lost_pairs_are_named_with_their_reason() -> None:
    """Pairs lost for one reason share a sentence."""
    made = side_by_side((), measured=pairs(lost=(3, 7)))
    assert "lost 2 pairs (3, 7): head's process ended: exit code 137" in text(made)
    assert "screen: 6 pairs of 8 cases" in text(made)


def test_a_slower_time_can_be_accepted() -> None:
    """As a count can: its ratio goes into the baseline."""
    report = slower()
    for rendered in (text(report), markdown(report)):
        assert "perf-gate accept endpoints/playlist endpoints/progress" in rendered


def flagged(**flags: str) -> Report:
    settings = tuple(
        Setting(name=f"--{name.replace('_', '-')}", value=value, origin="flag")
        for name, value in flags.items()
    )
    return dataclasses.replace(slower(), config=settings)


def reproduced(made: Report) -> str:
    (line,) = [line for line in text(made).splitlines() if line.startswith("reproduce")]
    return line.removeprefix("reproduce").strip()


def test_reproducing_keeps_the_flags_that_were_given() -> None:
    """Another suite, provider or budget is another run."""
    made = flagged(suite="('endpoints', 'benchmarks')", services="embedded", time_budget="90.0", only="a b*")
    assert reproduced(made) == (
        f"perf-gate run --against {BASE[:10]} --services embedded --suite endpoints --suite benchmarks "
        "--time-budget 90 --only 'a b*'"
    )


def test_reproducing_a_comparison_of_two_refs() -> None:
    """`ab` is repeated as `ab`, its changes included."""
    made = flagged(a="main", b="None", env="()", postgres="(('work_mem', '8MB'),)", redis="()")
    assert reproduced(made) == "perf-gate ab main --postgres work_mem=8MB"


def test_snapshot_of_a_working_tree_is_not_named() -> None:
    """It is on no branch: nobody can check it out, and it may be collected."""
    made = slower()
    dirty = SideInfo(name="head", ref=HEAD, data_key=KEY, dirty=True)
    same = SideInfo(name="base", ref=HEAD, data_key=KEY)
    edited = dataclasses.replace(made, sides=Sides(base=same, head=dirty))
    for rendered in (text(edited), markdown(edited)):
        assert HEAD[:10] not in rendered
        assert "base the working tree (measured in this run), head the working tree" in rendered


def test_markdown_pictures_keep_their_columns() -> None:
    """Spaces of code may fold, and a line may break at them: these are no-break spaces."""
    made = markdown(slower())
    assert "`\u00a0\u00a0\u00a0\u00a0\u00a0\u00a0\u00a0\u00a0\u00a0\u00a00\u00a0\u00a0:\u00a0=#=" in made


@pytest.mark.parametrize("number", [2, 6])
def test_several_budgets_with_too_few_values_are_counted(number: int) -> None:
    """A time budget that ended early must not fill the screen with budgets."""
    few = n_plus_one().budgets[3]
    assert few.state is BudgetState.TOO_FEW
    made = dataclasses.replace(timed_clean(), budgets=(few,) * number)
    said = " ".join(" ".join(block(text(made), "inconclusive")).split())
    assert said == (
        f"inconclusive {number} budgets: n too small; "
        f"GET /api/users/{{id}}/analysis/progress latency.p99: {FEW}"
    )
    assert f"Budgets met or with too few values ({number})" in markdown(made)
    assert "n too small" not in markdown(made).partition("<details>")[0]


def test_first_line_names_the_case_and_what_it_costs() -> None:
    """The whole verdict in a list of checks."""
    assert text(slower()).splitlines()[0] == (
        "blocked: GET /api/playlists/{id}: 12.3 % slower (4.1 -> 4.6 ms), at least 9.8 %; "
        "+0.50 ms, of it +0.44 ms processor time of the program"
    )


def test_a_saved_run_of_uncommitted_edits_is_not_called_stored_counts() -> None:
    """`compare` may hold head against it; a baseline is never dirty."""
    made = timed_clean()
    base = SideInfo(name="base", ref=BASE, data_key=KEY, stored=True, dirty=True)
    held = dataclasses.replace(made, sides=dataclasses.replace(made.sides, base=base))
    assert text(held).splitlines()[1] == f"base a saved run of uncommitted edits, head {HEAD[:10]}"


def compared(*, files: tuple[str, str] = ("a.json", "b.json")) -> Report:
    """As `compare` makes it of two saved reports."""
    made = n_plus_one()
    base = SideInfo(name="base", ref=BASE, data_key=KEY, stored=True)
    settings = (
        Setting(name=f"--{n}", value=v, origin="flag") for n, v in zip(("base", "head"), files, strict=True)
    )
    return dataclasses.replace(made, config=tuple(settings), sides=dataclasses.replace(made.sides, base=base))


@pytest.mark.parametrize("render", [text, markdown])
def test_a_comparison_of_saved_runs_speaks_of_saved_runs(render: Callable[[Report], str]) -> None:
    """Nothing was read from baselines/, and nothing can be accepted from it."""
    rendered = render(compared(files=("a b.json", "c.json")))
    assert "(a saved run)" in rendered
    assert "stored counts" not in rendered
    assert "perf-gate compare 'a b.json' c.json" in rendered
    assert "perf-gate run" not in rendered
    assert "perf-gate accept" not in rendered


def test_pairs_that_nothing_was_judged_by_are_not_told() -> None:
    """`compare` of saved runs looks at counts alone."""
    made = timed_clean()
    plan = dataclasses.replace(made.run.plan, timed=())
    assert "time budget" not in text(dataclasses.replace(made, run=dataclasses.replace(made.run, plan=plan)))
