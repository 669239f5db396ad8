"""Findings that need no baseline, from counts made by hand."""

from __future__ import annotations

import dataclasses

import pytest

from gate.config import Policy
from gate.model import (
    Case,
    Command,
    Evidence,
    Finding,
    Index,
    Level,
    Plan,
    Production,
    SideInfo,
    SideName,
    SideRun,
    Statement,
    Storage,
    Warmth,
)
from gate.structure import structural as _structural
from tests.core.build import planned, statement

ARTIST = "SELECT name FROM artists WHERE id = $1"
SONGS = "SELECT id, title FROM songs WHERE playlist_id = $1 LIMIT $2"


PLAN = Plan(against="auto", cases=())


def structural(
    head: SideRun,
    base: SideRun | None,
    policy: Policy,
    *,
    plan: Plan = PLAN,
    storage: tuple[Storage, ...] = (),
) -> tuple[Finding, ...]:
    return _structural(head, base, policy, plan=plan, storage=storage)


def page(size: int) -> Case:
    return Case(suite="endpoints", name="page", parameters=f"per_page={size}")


def side(name: SideName, seen: dict[Case, list[Statement]], *, commands: tuple[Command, ...] = ()) -> SideRun:
    return SideRun(
        side=SideInfo(name=name, ref=name),
        cases=tuple(planned(case) for case in seen),
        samples=(),
        evidence=tuple(
            Evidence(case=case, side=name, statements=tuple(several), commands=commands)
            for case, several in seen.items()
        ),
    )


def loop(name: SideName, *, text: str = ARTIST) -> SideRun:
    return side(
        name,
        {page(n): [statement(SONGS, 1, rows=n), statement(text, n, rows=n)] for n in (10, 40)},
    )


def clean(name: SideName) -> SideRun:
    return side(name, {page(n): [statement(SONGS, 1, rows=n)] for n in (10, 40)})


def told(head: SideRun, base: SideRun | None, policy: Policy | None = None) -> list[tuple[str, Level]]:
    return [(each.name, each.level) for each in structural(head, base, policy or Policy())]


def test_a_statement_that_runs_once_for_each_row_warns_and_is_named() -> None:
    (found,) = structural(loop("head"), clean("base"), Policy())
    assert (found.name, found.level, found.case) == ("n+1", Level.WARN, page(40))
    assert "FROM artists WHERE id = $1 runs 10 times at size 10 and 40 times at 40" in found.text


def test_what_base_does_as_well_is_a_note() -> None:
    """Also where the statement is merely written in another way: nothing got worse."""
    assert told(loop("head"), loop("base")) == [("n+1", Level.NOTE)]
    assert told(loop("head", text=ARTIST + " AND true"), loop("base")) == [("n+1", Level.NOTE)]


def test_without_a_base_nothing_is_known_to_be_new() -> None:
    assert told(loop("head"), None) == [("n+1", Level.NOTE)]


def test_a_page_that_is_larger_alone_is_no_loop() -> None:
    """More rows from the same number of statements, and a second statement from some size on."""
    grows = {page(n): [statement(SONGS, 1 + (n > 10), rows=n)] for n in (10, 40)}
    assert told(side("head", grows), clean("base")) == []


def test_only_numbers_are_sizes() -> None:
    cases = [Case(suite="endpoints", name="page", parameters=f"sort={key}") for key in ("title", "date")]
    seen = {case: [statement(ARTIST, calls, rows=calls)] for case, calls in zip(cases, (1, 9), strict=True)}
    assert told(side("head", seen), clean("base")) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("INSERT INTO songs VALUES ($1)", "row-by-row"),
        ("UPDATE songs SET a = $1", "row-by-row"),
        (ARTIST, "loop"),
    ],
)
def test_a_hundred_statements_for_a_row_each(text: str, name: str) -> None:
    case = Case(suite="endpoints", name="sync")
    head = side("head", {case: [statement(text, 100, rows=100)]})
    base = side("base", {case: [statement(text, 1, rows=100)]})
    (found,) = structural(head, base, Policy())
    assert (found.name, found.level) == (name, Level.WARN)
    assert "100 times a request" in found.text


def test_many_rows_for_each_statement_are_no_loop() -> None:
    case = Case(suite="endpoints", name="sync")
    assert told(side("head", {case: [statement(ARTIST, 20, rows=2000)]}), side("base", {case: []})) == []


def test_redis_commands_in_a_loop_name_the_one_that_would_do() -> None:
    case = Case(suite="endpoints", name="cached")
    head = side("head", {case: []}, commands=(Command(name="GET", calls=25.0),))
    (found,) = structural(head, side("base", {case: []}), Policy())
    assert found.name == "loop"
    assert "MGET" in found.text


def test_a_spill_is_found() -> None:
    case = Case(suite="endpoints", name="report")
    spills = Statement(
        fingerprint="s", text="SELECT 1 FROM t ORDER BY 1", calls=1, rows=1, blocks=1, temp_blocks=9
    )
    assert told(side("head", {case: [spills]}), side("base", {case: []})) == [("spill", Level.WARN)]


def cached(
    name: SideName, cold: float, warm: float, crowd: float, *, hits: float = 1.0, looked: bool = True
) -> SideRun:
    plain = side(name, {page(10): [statement(SONGS, 1, rows=10)]})
    seen = Warmth(cold=cold, warm=warm, crowd=crowd, size=10, found=hits) if looked else None
    evidence = [dataclasses.replace(each, warmth=seen, hits=hits) for each in plain.evidence]
    return dataclasses.replace(plain, evidence=tuple(evidence))


def test_a_cache_that_saves_no_query_is_found() -> None:
    """It is new where base's cache works, and where base has none; else nothing is known of base's."""
    useless = cached("head", 3, 3, 30)
    (found,) = structural(useless, cached("base", 3, 0, 3), Policy())
    assert (found.name, found.level) == ("useless-cache", Level.WARN)
    assert "the same request once more still runs 3 queries" in found.text
    assert told(useless, cached("base", 3, 3, 30)) == [("useless-cache", Level.NOTE)]
    assert told(useless, cached("base", 3, 3, 30, hits=0, looked=False)) == [("useless-cache", Level.WARN)]
    assert told(useless, cached("base", 3, 3, 30, looked=False)) == [("useless-cache", Level.NOTE)]


@pytest.mark.parametrize(
    ("base", "level"),
    [(cached("base", 3, 0, 3), Level.WARN), (cached("base", 3, 0, 9), Level.NOTE)],
    ids=["protected", "half protected is chance"],
)
def test_ten_at_once_on_an_empty_cache(base: SideRun, level: Level) -> None:
    """A cache that lets all of them through while it is empty protects from nothing."""
    (found,) = structural(cached("head", 3, 0, 30), base, Policy())
    assert (found.name, found.level) == ("stampede", level)
    assert "10 requests at once on an empty cache run 30 queries, one alone 3" in found.text


def test_a_session_is_no_cache() -> None:
    """It is looked up alike each time, and saves nothing that it promised."""
    session = cached("head", 3, 3, 30)
    evidence = [
        dataclasses.replace(each, warmth=Warmth(cold=3, warm=3, crowd=30, size=10))
        for each in session.evidence
    ]
    assert told(dataclasses.replace(session, evidence=tuple(evidence)), None) == []


def test_a_new_cache_without_protection_is_no_worse_than_none() -> None:
    """Before it was there, ten requests did as much."""
    assert told(cached("head", 3, 0, 30), cached("base", 3, 0, 30, hits=0, looked=False)) == [
        ("stampede", Level.NOTE)
    ]


def took(name: SideName, seconds: float) -> SideRun:
    slow = dataclasses.replace(statement(SONGS, 1, rows=10), seconds=seconds)
    return side(name, {page(10): [slow]})


def test_a_slow_statement_is_found() -> None:
    """New only where base's is clearly faster; a stored base has no seconds."""
    (found,) = structural(took("head", 0.23), took("base", 0.01), Policy())
    assert (found.name, found.level) == ("slow-statement", Level.WARN)
    assert found.text.endswith("takes 230 ms a time")
    assert told(took("head", 0.101), took("base", 0.099)) == [("slow-statement", Level.NOTE)]
    assert told(took("head", 0.23), took("base", 0.0)) == [("slow-statement", Level.NOTE)]
    assert told(took("head", 0.23), took("base", 0.01), Policy(slow_statement=1.0)) == []


def test_a_finding_can_be_accepted_and_its_level_set() -> None:
    accepted = Policy.model_validate(
        {"accepted": [{"finding": "n+1", "case": "endpoints/page*", "reason": "three rows at most"}]}
    )
    (found,) = structural(loop("head"), clean("base"), accepted)
    assert found.level is Level.NOTE
    assert "three rows at most" in found.text
    assert told(loop("head"), clean("base"), Policy.model_validate({"findings": {"n+1": "block"}})) == [
        ("n+1", Level.BLOCK)
    ]
    with pytest.raises(ValueError, match="unknown finding"):
        Policy.model_validate({"findings": {"n+2": "block"}})


def table(name: SideName, size: int, *indexes: Index) -> Storage:
    return Storage(side=name, table="songs", bytes=size, indexes=indexes)


def index(name: str, scans: int, *, unique: bool = False) -> Index:
    return Index(name=name, definition=f"USING btree ({name})", bytes=8_000_000, scans=scans, unique=unique)


def test_a_new_index_that_nothing_uses_warns_with_sizes() -> None:
    """Not one that base has as well, one that is used, or one that keeps rows apart."""
    storage = (
        table("base", 80_000_000, index("old", 0)),
        table(
            "head",
            96_000_000,
            index("idle", 0),
            index("old", 0),
            index("used", 7),
            index("key", 0, unique=True),
        ),
    )
    (found,) = structural(clean("head"), clean("base"), Policy(), storage=storage)
    assert (found.name, found.level, found.case) == ("unused-index", Level.WARN, None)
    assert "index idle on songs" in found.text
    assert "80.0 MB -> 96.0 MB" in found.text


def test_without_base_s_tables_no_index_is_called_new() -> None:
    storage = (table("head", 96_000_000, index("idle", 0)),)
    assert structural(clean("head"), clean("base"), Policy(), storage=storage) == ()


def growing(name: SideName, small: float, large: float, *, rows: float = 10) -> SideRun:
    """SONGS read so many blocks in a quarter of the data and in all of it."""
    several = [
        side(name, {page(10): [dataclasses.replace(statement(SONGS, 1, rows=n, blocks=b), seconds=0.2)]})
        for b, n in ((large, 10), (small, rows))
    ]
    return dataclasses.replace(several[0], smaller=several[1].evidence)


def failing(run: SideRun) -> SideRun:
    return dataclasses.replace(
        run, smaller=tuple(dataclasses.replace(each, failure="status 500") for each in run.smaller)
    )


GROWTH = Plan(
    against="auto",
    cases=(),
    growth=0.25,
    production=(Production(table="songs", rows=1_000_000, production=20_000_000),),
)


def test_a_statement_that_reads_more_of_more_data_is_found_and_predicted() -> None:
    """Four times the blocks for four times the data, and so twenty times for twenty times."""
    (found,) = structural(
        growing("head", 100, 400), growing("base", 12, 13), Policy(slow_statement=1), plan=GROWTH
    )
    assert (found.name, found.level) == ("grows-with-data", Level.WARN)
    assert found.text.endswith(
        "reads 400 blocks for 10 rows, and more the more data there is (exponent 1.0)"
        "; at 20,000,000 songs: 4.0 s"
    )


@pytest.mark.parametrize(
    ("head", "base", "levels"),
    [
        (growing("head", 100, 400), growing("base", 100, 400), [Level.NOTE]),
        (growing("head", 100, 400), clean("base"), [Level.NOTE]),
        (growing("head", 100, 400), failing(growing("base", 30, 30)), [Level.NOTE]),
        (growing("head", 30, 34), growing("base", 30, 30), []),
        (growing("head", 1, 4), growing("base", 1, 1), []),
        (growing("head", 100, 400, rows=3), growing("base", 30, 30), []),
    ],
    ids=[
        "as on base",
        "base not counted on less",
        "base failed there",
        "an index",
        "a handful of blocks",
        "a larger result",
    ],
)
def test_growth_that_is_none_or_not_new(head: SideRun, base: SideRun, levels: list[Level]) -> None:
    found = structural(head, base, Policy(slow_statement=1), plan=GROWTH)
    assert [each.level for each in found] == levels


def kept(name: SideName, *, browser: bool, failure: str = "") -> SideRun:
    evidence = Evidence(case=page(10), side=name, caching=(("browser", browser),), failure=failure)
    return dataclasses.replace(side(name, {page(10): []}), evidence=(evidence,))


def test_answers_that_browsers_keep_less_warn() -> None:
    """Only where both sides' headers are known, and both answered."""
    base, head = kept("base", browser=True), kept("head", browser=False)
    (found,) = structural(head, base, Policy())
    assert (found.name, found.level) == ("kept-less", Level.WARN)
    assert found.text.startswith("endpoints/page[per_page=10]: browsers kept the answers")
    assert structural(kept("head", browser=True), base, Policy()) == ()
    assert structural(kept("head", browser=True), kept("base", browser=False), Policy()) == ()
    assert structural(kept("head", browser=False, failure="status 500"), base, Policy()) == ()
    assert structural(head, clean("base"), Policy()) == ()
    assert structural(clean("head"), base, Policy()) == ()
