"""What the policy says of times: the reasons of a verdict, which are a report's first lines."""

from __future__ import annotations

from build import LIST, SAVE, side

from gate.model import Case, Caveat, Comparison, Interval, Kind, Outcome, Verdict
from gate.policy import decide, slower, unsettled


def time(
    case: Case = LIST, ratio: float | None = 1.031, outcome: Outcome = Outcome.INCONCLUSIVE, **more: object
) -> Comparison:
    facts = {
        "case": case,
        "label": f"GET /{case.name}",
        "metric": "latency",
        "unit": "s",
        "kind": Kind.TIMING,
        "base": 0.0041,
        "head": 0.0046,
        "ratio": ratio,
        "outcome": outcome,
        "pairs": 24,
        "stage": "confirm",
    }
    return Comparison(**{**facts, **more})  # type: ignore[arg-type]


def because(code: str, text: str = "a doubt") -> tuple[Caveat, ...]:
    return (Caveat(code=code, text=text),)


def verdict(*rows: Comparison) -> Verdict:
    return decide(rows, budgets=(), findings=(), head=side("head", {}), against="auto", adoption=False)


def bounds(low: float, high: float) -> Interval:
    return Interval(low=low, high=high, confidence=0.9)


def test_slower_says_how_much_and_at_least_how_much() -> None:
    """Estimate, both times in one unit with three digits, lower bound."""
    row = time(ratio=1.123, interval=bounds(1.098, 1.148))
    assert slower(row) == "12.3 % slower (4.1 -> 4.6 ms), at least 9.8 %"


def test_faster_has_its_bound_on_the_other_side() -> None:
    """At least so much of it is gained."""
    row = time(ratio=0.88, base=1.2, head=1.056, interval=bounds(0.85, 0.91))
    assert slower(row) == "12.0 % faster (1.2 -> 1.06 s), at least 9.0 %"


def test_a_bound_that_allows_for_nothing_is_not_said() -> None:
    """ "At least 0 %" says nothing."""
    assert slower(time(ratio=1.1, interval=bounds(0.98, 1.2))) == "10.0 % slower (4.1 -> 4.6 ms)"


def test_short_and_long_times_have_their_own_unit() -> None:
    """607 us is not 0.000607 s, and an hour is not 3.6e+03 s."""
    assert "(607 -> 694 us)" in slower(time(ratio=1.14, base=607e-6, head=694e-6))
    assert "(0.9 -> 1.1 ms)" in slower(time(ratio=1.2, base=900e-6, head=1100e-6))
    assert "(3,600 -> 7,200 s)" in slower(time(ratio=2.0, base=3600.0, head=7200.0))
    assert "(85 -> 96 ns)" in slower(time(ratio=1.13, base=85e-9, head=96e-9))


def test_one_time_that_could_not_be_told_says_everything() -> None:
    """Estimate, interval, smallest slowdown that would have been caught, and what would tell."""
    row = time(interval=bounds(0.98, 1.084), mde=0.096, needed=42, caveats=because("too-noisy"))
    (reason,) = verdict(row).reasons
    assert reason == (
        "1 of 1 time could not be told: GET /list +3.1 % (-2.0 % to +8.4 %; from 9.6 % it would have "
        "been caught); it varied too much for the pairs there were (about 42 pairs or a quieter "
        "machine would tell)"
    )


def test_times_with_one_doubt_share_a_sentence() -> None:
    """What hits all of them is said once, and the slowest are named."""
    rows = [
        time(LIST, 1.02, caveats=because("time-budget")),
        time(SAVE, 1.05, caveats=because("time-budget")),
    ]
    (reason,) = verdict(*rows, time(Case(suite="endpoints", name="c"), outcome=Outcome.EQUIVALENT)).reasons
    assert reason == (
        "2 of 3 times could not be told: they needed a confirm that did not fit the time budget (a larger "
        "--time-budget would tell); GET /save +5.0 %, GET /list +2.0 %"
    )


def test_times_with_different_doubts_are_counted_by_doubt() -> None:
    """The most frequent doubt first; of more than three only the slowest is named."""
    cases = [Case(suite="endpoints", name=name) for name in "abcde"]
    codes = ("drift", "time-budget", "time-budget", "clock", "time-budget")
    rows = [
        time(case, 1.01 + 0.01 * index, caveats=because(code))
        for index, (case, code) in enumerate(zip(cases, codes, strict=True))
    ]
    (reason,) = verdict(*rows).reasons
    assert reason == (
        "5 of 5 times could not be told: 3 needed a confirm that did not fit the time budget (a larger "
        "--time-budget would tell); "
        "1 passed too fast for the clock (more work in each round would tell); "
        "1 drifted from pair to pair (a quieter machine would tell); the slowest is GET /e +5.0 %"
    )


def test_a_screen_that_was_cut_short_is_not_said_to_have_needed_a_confirm() -> None:
    """So few pairs prove nothing: what lacks is pairs of the screen."""
    rows = [time(case, pairs=2, stage="screen", caveats=because("time-budget")) for case in (LIST, SAVE)]
    assert unsettled(rows) == (
        (
            2,
            "got only 2 pairs into the time budget, too few to decide (a larger --time-budget would tell)",
        ),
    )


def test_a_control_that_moved_is_quoted() -> None:
    """It is why nothing of the run can be trusted."""
    moved = because("control", "fixed work differed by 4.2% between the sides")
    assert unsettled([time(caveats=moved), time(SAVE, caveats=moved)]) == (
        (
            2,
            "cannot be trusted: fixed work differed by 4.2% between the sides (a quieter machine would tell)",
        ),
    )


def test_pairs_are_only_promised_where_they_would_tell_for_all() -> None:
    """Where one of them is out of reach, more pairs are no remedy."""
    reachable, hopeless = (
        time(needed=42, caveats=because("too-noisy")),
        time(SAVE, caveats=because("too-noisy")),
    )
    assert "42" not in unsettled([reachable, hopeless])[0][1]
    assert "about 42 pairs" in unsettled([reachable])[0][1]


def test_an_unknown_doubt_is_said_as_it_is() -> None:
    """A report of a later version, or a row without a caveat, still has a reason."""
    assert unsettled([time(caveats=because("new", "the moon was full"))])[0][1].endswith("the moon was full")
    assert unsettled([time()])[0][1].endswith("no reason was recorded")


def test_a_time_that_nobody_has_is_not_given_a_number() -> None:
    """No pair gave a time on both sides."""
    row = time(ratio=None, base=None, head=None, caveats=because("no-times"))
    (reason,) = verdict(row).reasons
    assert reason == "1 of 1 time could not be told: GET /list unknown; it could not be had on both sides"
