"""Reports of every kind, as the gate would make them of a music library."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from gate.model import (
    LATENCY,
    METRICS,
    Accept,
    BudgetCheck,
    BudgetState,
    Case,
    Cause,
    Caveat,
    Comparison,
    Coverage,
    DataKey,
    Difference,
    Environment,
    Evidence,
    Finding,
    Interval,
    Kind,
    Level,
    Measured,
    Outcome,
    Pair,
    Phase,
    Plan,
    PlannedCase,
    Point,
    Report,
    Sample,
    Setting,
    SideInfo,
    SideRun,
    Sides,
    Stage,
    State,
    Statement,
    TimedCase,
    Timing,
    TimingRule,
    Verdict,
)
from gate.policy import decide

CASES = {
    Case(suite="endpoints", name="dashboard"): "GET /",
    Case(suite="endpoints", name="playlist"): "GET /api/playlists/{id}",
    Case(suite="endpoints", name="songs", parameters="per_page=10"): "GET /api/songs",
    Case(suite="endpoints", name="songs", parameters="per_page=40"): "GET /api/songs",
    Case(suite="endpoints", name="search"): "GET /api/search",
    Case(suite="endpoints", name="progress"): "GET /api/users/{id}/analysis/progress",
    Case(suite="endpoints", name="settings"): "GET /api/settings",
    Case(suite="endpoints", name="sync"): "POST /api/playlists/{id}/sync",
}
DASHBOARD, PLAYLIST, SONGS, SONGS_40, SEARCH, PROGRESS, SETTINGS, SYNC = CASES
GONE = Case(suite="benchmarks", name="test_lyrics", parameters="long|short")
VALUES = {
    "errors": 0.0,
    "sql.calls": 3.0,
    "sql.rows": 27.0,
    "sql.blocks": 118.0,
    "sql.temp_blocks": 0.0,
    "sql.wal_records": 0.0,
    "sql.transactions": 2.0,
    "redis.commands": 2.0,
    "response.bytes": 24_312.0,
}
SONG = "SELECT songs.id, songs.title, songs.artist_id, songs.duration\nFROM songs\nWHERE songs.id = $1"
LOOP = (
    "GET /api/playlists/{id}: 3 -> 202 queries; "
    "SELECT ... FROM songs WHERE songs.id = $1 ran 200 times (was 1)"
)
STATUS = (
    "SELECT analysis_results.id, analysis_results.song_id, analysis_results.status FROM analysis_results "
    "WHERE analysis_results.user_id = $1 AND analysis_results.status IN ($2, $3, $4) "
    "ORDER BY analysis_results.analysed_at DESC LIMIT $5"
)
KEY = DataKey(dataset="5d41402abc4b2a76b9719d911017c592", postgres=18, initdb=("--locale=C",), python="3.11")
BASE = "3f9ac21d04b1e7f0a2c35d6e8f90123456789abc"
HEAD = "91d2e4f1aab0c1d2e3f405162738495a6b7c8d9e"


def row(
    case: Case, metric: str, base: float | None, head: float | None, outcome: Outcome, **more: object
) -> Comparison:
    """A comparison with what follows from its two values filled in."""
    both = base is not None and head is not None
    facts = {
        "case": case,
        "label": CASES.get(case, str(case)),
        "metric": metric,
        "unit": METRICS[metric].unit if metric in METRICS else "",
        "kind": Kind.EXACT,
        "base": base,
        "head": head,
        "delta": head - base if base is not None and head is not None else None,
        "ratio": head / base if both and base and head is not None else None,
        "outcome": outcome,
        "allowed": 0.02 if metric in ("sql.blocks", "response.bytes") else 0.0,
        "pairs": 2,
    }
    return Comparison(**{**facts, **more})  # type: ignore[arg-type]


def regressed(case: Case, metric: str, base: float, head: float, **more: object) -> Comparison:
    return row(
        case, metric, base, head, Outcome.REGRESSED, **{"level": Level.BLOCK, "blocking": True, **more}
    )


def equal_rows(cases: Iterable[Case] = CASES) -> list[Comparison]:
    return [
        row(case, name, value, value, Outcome.EQUIVALENT) for case in cases for name, value in VALUES.items()
    ]


def with_rows(changed: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """All rows equal, but for these."""
    rows = {(each.case, each.metric): each for each in equal_rows()}
    rows |= {(each.case, each.metric): each for each in changed}
    return tuple(rows.values())


def ran(
    text: str, before: float, after: float, measure: str = "calls", more: tuple[Difference, ...] = ()
) -> Cause:
    flat = " ".join(text.split())
    brief = "SELECT ..." + flat[flat.index(" FROM ") :]
    said = f"{brief} ran {after:g} times" if measure == "calls" else f"{brief}: {after:,.0f} {measure}"
    difference = Difference(what="statement", text=text, measure=measure, before=before, after=after)
    return Cause(summary=f"{said} (was {before:g})", differences=(difference, *more))


def timings() -> tuple[Timing, ...]:
    return tuple(
        Timing(
            case=case,
            label=label,
            n=400,
            p50=0.0021 * (index + 1),
            p95=0.0034 * (index + 1),
            p99=None,
            mean=0.0023 * (index + 1),
            spread=0.031,
        )
        for index, (case, label) in enumerate(CASES.items())
    )


def report(
    state: State, reasons: tuple[str, ...], comparisons: Iterable[Comparison], **more: object
) -> Report:
    rows = tuple(comparisons)
    plan = Plan(
        against="auto",
        cases=tuple(
            PlannedCase(case=case, label=label, definition=f"{index:08x}", writes=case == SYNC)
            for index, (case, label) in enumerate(CASES.items())
        ),
        known=tuple(CASES),
    )
    sample = Sample(
        case=PLAYLIST,
        metric=METRICS["sql.calls"],
        side="head",
        points=(
            Point(pair=1, visit=1, position=1, value=202.0),
            Point(pair=2, visit=1, position=1, value=202.0),
        ),
    )
    statement = Statement(fingerprint="a1b2c3", text=SONG, calls=200, rows=200, blocks=600)
    facts = {
        "tool": "perf-gate 0.1.0",
        "verdict": Verdict(state=state, reasons=reasons),
        "environment": Environment(
            os="Linux",
            arch="x86_64",
            cpu="AMD EPYC 7B13",
            cores=2,
            python="3.11.9",
            provider="embedded",
            postgres="18.6",
            redis="8.1.4",
            rows=1_800_000,
        ),
        "sides": Sides(
            base=SideInfo(name="base", ref=BASE, data_key=KEY, stored=True),
            head=SideInfo(name="head", ref=HEAD, data_key=KEY, dirty=True),
        ),
        "run": Measured(
            plan=plan,
            samples=(sample,),
            evidence=(Evidence(case=PLAYLIST, side="head", statements=(statement,)),),
        ),
        "config": (
            Setting(name="baselines", value="baselines", origin="default"),
            Setting(name="suites.endpoints.requests", value="10", origin="file"),
        ),
        "comparisons": rows,
        "timings": timings(),
        "coverage": Coverage(
            cases=len(CASES),
            compared=len({r.case for r in rows if r.base is not None}),
            rows=sum(r.base is not None for r in rows),
            exact_per_case=len(VALUES),
        ),
        "timeline": (
            Phase(name="services", seconds=2.13),
            Phase(name="install", seconds=4.4),
            Phase(name="seed", seconds=31.25),
            Phase(name="count", seconds=9.02),
            Phase(name="timing", seconds=18.4),
        ),
    }
    return Report(**{**facts, **more})  # type: ignore[arg-type]


def n_plus_one() -> Report:
    cause = ran(SONG, 1, 200)
    changed = [
        regressed(PLAYLIST, "sql.calls", 3, 202, cause=cause),
        regressed(PLAYLIST, "sql.rows", 27, 226, cause=ran(SONG, 1, 200, "rows")),
        regressed(PLAYLIST, "sql.blocks", 118, 718, cause=ran(SONG, 3, 603, "blocks")),
        row(PLAYLIST, "response.bytes", 24_312, 24_298, Outcome.IMPROVED),
        row(SYNC, "sql.wal_records", 100, 113, Outcome.REGRESSED, level=Level.WARN, allowed=0.1),
        row(SEARCH, "sql.blocks", 412, 96, Outcome.IMPROVED, cause=ran(STATUS, 400, 84, "blocks")),
        row(
            DASHBOARD,
            "redis.commands",
            2,
            2,
            Outcome.EQUIVALENT,
            caveats=(Caveat(code="nondeterministic", text="counted 2 and 2.1 in separate passes"),),
        ),
    ]
    return report(
        State.BLOCKED,
        (LOOP,),
        with_rows(changed),
        budgets=budgets(),
        findings=(
            Finding(
                name="became-nondeterministic",
                level=Level.WARN,
                case=SEARCH,
                text="GET /api/search: blocks became nondeterministic: counted 96 and 97; base always same",
            ),
        ),
    )


FEW = "400 values, p99 needs 1,000: raise suites.endpoints.rounds, 50 now, to 125"


def budgets() -> tuple[BudgetCheck, ...]:
    def check(
        case: Case, metric: str, value: float | None, target: float, state: BudgetState, **more: object
    ) -> BudgetCheck:
        facts = {
            "case": case,
            "label": CASES[case],
            "metric": metric,
            "unit": "bytes" if metric == "response.bytes" else "s",
            "value": value,
            "target": target,
            "state": state,
            "level": Level.NOTE,
        }
        return BudgetCheck(**{**facts, **more})  # type: ignore[arg-type]

    return (
        check(DASHBOARD, "latency.p95", 0.0034, 0.1, BudgetState.IDEAL, ideal=0.05),
        check(PLAYLIST, "latency.p95", 0.161, 0.15, BudgetState.OVER),
        check(
            SEARCH,
            "latency.p95",
            0.812,
            0.4,
            BudgetState.CRITICAL,
            level=Level.WARN,
            reason="above 2 x target; this class of machine is not declared, so it warns",
        ),
        check(PROGRESS, "latency.p99", None, 0.4, BudgetState.TOO_FEW, reason=FEW),
        check(SETTINGS, "response.bytes", 24_312, 1e6, BudgetState.TARGET),
    )


def dropped_index() -> Report:
    changed = [
        regressed(PROGRESS, "sql.blocks", 118, 8_420.5, cause=ran(STATUS, 9, 8311.5, "blocks")),
        regressed(PROGRESS, "sql.temp_blocks", 0, 1204, cause=ran(STATUS, 0, 1204, "temp blocks")),
        regressed(SONGS_40, "sql.blocks", 118, 131),
        row(SYNC, "sql.wal_records", 100, 84, Outcome.IMPROVED),
    ]
    return report(
        State.BLOCKED,
        (
            "GET /api/users/{id}/analysis/progress: 118 -> 8,420.5 blocks; SELECT ... FROM analysis_results "
            "WHERE analysis_results.user_id = $1 AND analysis_results.status IN ($2, $3, $4) ORDER BY "
            "analysis_results.analysed_at DESC LIMIT $5: 8,312 blocks (was 9)",
            "GET /api/songs: 118 -> 131 blocks",
        ),
        with_rows(changed),
    )


def accepted() -> Report:
    changed = [
        row(PLAYLIST, "sql.calls", 3, 202, Outcome.ACCEPTED, level=Level.BLOCK, cause=ran(SONG, 1, 200)),
        row(
            PLAYLIST,
            "sql.rows",
            27,
            226,
            Outcome.ACCEPTED,
            level=Level.BLOCK,
            cause=ran(SONG, 1, 200, "rows"),
        ),
    ]
    return report(
        State.ACCEPTED,
        (
            "1 case got worse and the baseline's edit accepts it",
            LOOP,
        ),
        with_rows(changed),
        accepts=(
            Accept(case=PLAYLIST, metric="sql.calls", value=202),
            Accept(case=PLAYLIST, metric="sql.rows", value=226),
        ),
    )


def first_adoption() -> Report:
    rows = [
        row(case, name, None, value, Outcome.NEW, allowed=None)
        for case in CASES
        for name, value in VALUES.items()
    ]
    reason = f"first run: all {len(CASES)} cases are new; commit what `perf-gate baseline update` writes"
    made = report(State.PASS, (reason,), rows)
    return dataclasses.replace(
        made, sides=Sides(base=None, head=SideInfo(name="head", ref=HEAD, data_key=KEY))
    )


def inconclusive() -> Report:
    why = Caveat(code="no-base", text="base could not be measured: its migrations failed (exit 1)")
    changed = [
        row(case, name, None, value, Outcome.INCOMPARABLE, allowed=None, caveats=(why,))
        for case in (SEARCH, SYNC)
        for name, value in VALUES.items()
    ]
    return report(
        State.INCONCLUSIVE,
        (f"2 cases could not be compared ({SEARCH}, {SYNC}): {why.text}",),
        with_rows(changed),
        caveats=(Caveat(code="data-key", text="stored counts are for other packages: flask 3.0.0 -> 3.1.2"),),
    )


def missing() -> Report:
    rows = [
        *equal_rows(),
        row(GONE, "case", None, None, Outcome.MISSING, level=Level.BLOCK, blocking=True, allowed=None),
    ]
    reason = f"{GONE}: was measured on base and is missing on head"
    return report(State.BLOCKED, (reason,), rows)


def error() -> Report:
    failure = "expected 200, got 500: psycopg.errors.UndefinedColumn: column songs.isrc does not exist"
    changed = [
        row(SEARCH, "errors", 1, 1, Outcome.EQUIVALENT, cause=Cause(summary=failure)),
    ]
    return report(
        State.ERROR,
        (f"GET /api/search: fails on base and on head: {failure}",),
        with_rows(changed),
        timings=(),
    )


def harmless() -> Report:
    return report(State.PASS, (f"{len(CASES)} cases compared, none got worse",), equal_rows())


RULE = TimingRule(allowed=0.05, detect=0.1, margin=0.01, floor=50e-6)


def timed(
    case: Case,
    base: float,
    change: float,
    half: float,
    outcome: Outcome = Outcome.EQUIVALENT,
    *,
    pairs: int = 8,
    stage: Stage = "screen",
    **more: object,
) -> Comparison:
    """A time judged side by side. change, half: shares, the interval is from one half below to one above."""
    facts = {
        "kind": Kind.TIMING,
        "ratio": 1 + change,
        "interval": Interval(low=1 + change - half, high=1 + change + half, confidence=0.9),
        "allowed": RULE.allowed,
        "detect": RULE.detect,
        "pairs": pairs,
        "stage": stage,
    }
    if outcome is Outcome.REGRESSED:
        facts |= {"level": Level.BLOCK, "blocking": True}
        facts["interval"] = Interval(low=1 + change - half, high=1 + change + half, confidence=0.99)
    return row(case, LATENCY.name, base, base * (1 + change), outcome, **{**facts, **more})


def pairs(
    confirmed: Iterable[tuple[int, tuple[Case, ...]]] = (), lost: Iterable[int] = ()
) -> tuple[Pair, ...]:
    """Eight pairs of the screen, then so many of the confirm with these cases."""
    lasted = [("screen", tuple(CASES), 20.1, 2.41)] * 8
    for n, cases in confirmed:
        lasted += [("confirm", cases, 2.2 + 1.1 * len(cases), 0.14)] * n
    return tuple(
        Pair(
            number=number,
            stage=stage,  # type: ignore[arg-type]
            cases=cases,
            seconds=seconds,
            start=1.9,
            warm=warm,
            measured=0.64 * seconds,
            lost="head's process ended: exit code 137" if number in lost else "",
        )
        for number, (stage, cases, seconds, warm) in enumerate(lasted, 1)
    )


STEADY = {
    DASHBOARD: (0.0021, 0.004, 0.009),
    PLAYLIST: (0.0041, -0.002, 0.011),
    SONGS: (0.0063, 0.001, 0.006),
    SONGS_40: (0.0084, -0.011, 0.014),
    SEARCH: (0.0105, 0.009, 0.018),
    PROGRESS: (0.0126, 0.003, 0.008),
    SETTINGS: (0.00061, 0.013, 0.021),
    SYNC: (0.0168, -0.006, 0.024),
}


def side_by_side(
    times: Iterable[Comparison],
    counts: Iterable[Comparison] = (),
    *,
    measured: tuple[Pair, ...],
    findings: tuple[Finding, ...] = (),
    **more: object,
) -> Report:
    """A report of a run that timed both sides; its verdict is the policy's own."""
    judged = {case: timed(case, *steady, mde=0.081) for case, steady in STEADY.items()}
    judged |= {each.case: each for each in times}
    comparisons = (*with_rows(counts), *judged.values())
    made = report(State.PASS, (), comparisons)
    plan = dataclasses.replace(
        made.run.plan, base=tuple(CASES), timed=tuple(TimedCase(case=case, rule=RULE) for case in CASES)
    )
    verdict = decide(
        comparisons,
        budgets=(),
        findings=findings,
        head=SideRun(side=made.sides.head, cases=plan.cases, samples=()),
        against="auto",
        adoption=False,
    )
    shown = tuple(
        dataclasses.replace(
            each,
            p50=judged[each.case].head or 0.0,
            p95=(judged[each.case].head or 0.0) * 1.62,
            cpu=(judged[each.case].head or 0.0) * 0.55,
            services_cpu=(judged[each.case].head or 0.0) * 0.21,
        )
        for each in made.timings
    )
    facts = {
        "verdict": verdict,
        "sides": Sides(
            base=SideInfo(name="base", ref=BASE, data_key=KEY),
            head=SideInfo(name="head", ref=HEAD, data_key=KEY),
        ),
        "run": dataclasses.replace(made.run, plan=plan, pairs=measured),
        "timings": shown,
        "findings": findings,
    }
    return dataclasses.replace(made, **{**facts, **more})  # type: ignore[arg-type]


def slower() -> Report:
    working = "+0.50 ms, of it +0.44 ms processor time of the program"
    waiting = "+1.15 ms, of it +1.09 ms waiting (processor time +0.06 ms)"
    return side_by_side(
        (
            timed(
                PLAYLIST,
                0.0041,
                0.123,
                0.025,
                Outcome.REGRESSED,
                pairs=24,
                stage="confirm",
                cause=Cause(summary=working),
            ),
            timed(
                PROGRESS,
                0.0126,
                0.091,
                0.031,
                Outcome.REGRESSED,
                pairs=24,
                stage="confirm",
                cause=Cause(summary=waiting),
            ),
            timed(SONGS_40, 0.0084, 0.031, 0.019, pairs=24, stage="confirm", mde=0.088),
            timed(SEARCH, 0.0105, -0.142, 0.04, Outcome.IMPROVED),
        ),
        (row(PLAYLIST, "response.bytes", 24_312, 24_298, Outcome.IMPROVED),),
        measured=pairs([(24, (PLAYLIST, SONGS_40, PROGRESS))]),
    )


def too_noisy() -> Report:
    def noisy(text: str) -> tuple[Caveat, ...]:
        return (Caveat(code="too-noisy", text=text),)

    caught = "24 pairs show neither a slowdown beyond doubt nor that there is none; "
    return side_by_side(
        (
            timed(
                SEARCH,
                0.0105,
                0.071,
                0.062,
                Outcome.INCONCLUSIVE,
                pairs=24,
                stage="confirm",
                mde=0.152,
                needed=58,
                caveats=noisy(caught + "about 58 would settle it"),
            ),
            timed(
                SYNC,
                0.0168,
                0.048,
                0.41,
                Outcome.INCONCLUSIVE,
                pairs=24,
                stage="confirm",
                mde=0.87,
                caveats=noisy(caught + "more would hardly settle it"),
            ),
            timed(
                SONGS,
                0.0063,
                0.022,
                0.09,
                Outcome.INCONCLUSIVE,
                needed=34,
                caveats=(
                    Caveat(
                        code="time-budget",
                        text="0 of 34 confirm pairs fitted the time budget; at least 12 are needed",
                    ),
                ),
            ),
            timed(
                SETTINGS,
                0.00061,
                -0.012,
                0.05,
                Outcome.INCONCLUSIVE,
                pairs=24,
                stage="confirm",
                caveats=(
                    Caveat(code="unsteady", text="head's odd visits differ from its even ones by 6.1%"),
                    Caveat(code="drift", text="neighbouring pairs resemble each other (correlation 0.61)"),
                ),
            ),
        ),
        measured=pairs([(25, (SEARCH, SYNC, SETTINGS))], lost=(17,)),
    )


def too_short() -> Report:
    """A time budget that ended before the screen had pairs enough to prove anything."""
    few = (
        Caveat(
            code="time-budget", text="0 of 60 confirm pairs fitted the time budget; at least 8 are needed"
        ),
    )
    made = side_by_side(
        [
            timed(case, *steady, Outcome.INCONCLUSIVE, pairs=2, needed=60, caveats=few)
            for case, steady in STEADY.items()
        ],
        measured=pairs()[:2],
    )
    plan = dataclasses.replace(made.run.plan, time_budget=5.0)
    return dataclasses.replace(made, run=dataclasses.replace(made.run, plan=plan))


def void() -> Report:
    moved = (Caveat(code="control", text="fixed work differed by 4.2% between the sides"),)
    return side_by_side(
        [
            timed(case, base, change + 0.042, half, Outcome.INCONCLUSIVE, caveats=moved)
            for case, (base, change, half) in STEADY.items()
        ],
        measured=pairs(),
    )


def timed_clean() -> Report:
    return side_by_side((), measured=pairs())


def untimed() -> Report:
    made = harmless()
    plan = dataclasses.replace(made.run.plan, untimed="nothing that runs has changed (README.md)")
    return dataclasses.replace(made, run=dataclasses.replace(made.run, plan=plan))


EXAMPLES = {
    "slower": slower,
    "too-noisy": too_noisy,
    "too-short": too_short,
    "void": void,
    "timed-clean": timed_clean,
    "untimed": untimed,
    "n-plus-one": n_plus_one,
    "dropped-index": dropped_index,
    "accepted": accepted,
    "first-adoption": first_adoption,
    "inconclusive": inconclusive,
    "missing": missing,
    "error": error,
    "harmless": harmless,
}
