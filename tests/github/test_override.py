"""The label that accepts: whose it is, what it is for, and what no label can do."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from fake_api import FakeGitHub
from made import CASE, PR, READ_ONLY, client, green, measured, red, report, row

from gate.github.override import LABEL, OFF, Override, Ruling, accepted, rule, unacceptable
from gate.github.verdict import Decision, overridden
from gate.model import BudgetCheck, BudgetState, Finding, Level, Outcome, State
from gate.report import markdown, text

PUSHED = datetime(2026, 11, 21, 10, tzinfo=UTC)
LATER, EARLIER = "2026-11-21T10:30:00Z", "2026-11-21T09:59:59Z"
ALICE = Override(by="alice", at=PUSHED + timedelta(minutes=30), label=LABEL)


@pytest.fixture(autouse=True)
def people(github: FakeGitHub) -> None:
    roles = {"alice": "write", "root": "admin", "mona": "maintain", "trish": "triage", "reed": "read"}
    github.members |= roles


def ruled(github: FakeGitHub, label: str = LABEL, since: datetime | None = PUSHED) -> Ruling:
    """With the token of the job that decides a fork's check, which must be enough."""
    with client(github, READ_ONLY) as opened:
        return rule(opened, PR, label=label, since=since)


@pytest.mark.parametrize("actor", ["alice", "root", "mona"])
def test_who_may_write_may_accept(github: FakeGitHub, actor: str) -> None:
    """Write, maintain and admin accept; who and when are GitHub's record."""
    github.add_label(PR, LABEL, actor, LATER)
    assert ruled(github) == Ruling(override=dataclasses.replace(ALICE, by=actor))


@pytest.mark.parametrize("actor", ["trish", "reed", "stranger", "github-actions[bot]"])
def test_others_may_not(github: FakeGitHub, actor: str) -> None:
    """Who may label without writing, an App and a stranger accept nothing, and the sentence names them."""
    github.add_label(PR, LABEL, actor, LATER)
    assert ruled(github).refused == (
        f"the label {LABEL} does not count: {actor}, who set it, has no write permission"
    )


def test_label_set_before_the_push_has_expired(github: FakeGitHub) -> None:
    """What was accepted is what was there to see; a later push needs the label again."""
    github.add_label(PR, LABEL, "alice", EARLIER)
    assert "set it before this was pushed" in ruled(github).refused


def test_label_set_again_counts(github: FakeGitHub) -> None:
    """The newest setting counts, not the first, and not the one before a removal."""
    github.add_label(PR, LABEL, "trish", EARLIER)
    github.remove_label(PR, LABEL, "alice", EARLIER)
    github.add_label(PR, LABEL, "alice", LATER)
    assert ruled(github) == Ruling(override=ALICE)


def test_removed_label_is_gone(github: FakeGitHub) -> None:
    """A label is read as it is now, whatever the history says."""
    github.add_label(PR, LABEL, "alice", LATER)
    github.remove_label(PR, LABEL, "alice", LATER)
    assert ruled(github) == Ruling()


def test_label_nobody_is_known_to_have_set(github: FakeGitHub) -> None:
    """A label without a record, or of an account that is gone, accepts nothing."""
    github.labels[PR] = [{"name": LABEL}]
    assert "does not say who" in ruled(github).refused
    github.add_label(PR, LABEL, "ghost", LATER)
    assert "has no write permission" in ruled(github).refused


def test_unknown_time_of_the_push_accepts_nothing(github: FakeGitHub) -> None:
    """Where GitHub does not say when the run was started, the label cannot be newer."""
    github.add_label(PR, LABEL, "alice", LATER)
    assert "before this was pushed" in ruled(github, since=None).refused


@pytest.mark.parametrize("name", ["perf-gate:accepted", "accept", "perf-gate", "perf-gate:accept "])
def test_other_labels_mean_nothing(github: FakeGitHub, name: str) -> None:
    """Only the whole name counts; GitHub tells names apart by more than their case."""
    github.add_label(PR, name, "alice", LATER)
    assert ruled(github) == Ruling()


def test_case_of_the_label_does_not_matter(github: FakeGitHub) -> None:
    """GitHub has one label for all spellings."""
    github.add_label(PR, "Perf-Gate:Accept", "alice", LATER)
    assert ruled(github).override is not None


def test_switched_off_asks_nothing(github: FakeGitHub) -> None:
    """With the label off, GitHub is not even asked."""
    github.add_label(PR, LABEL, "alice", LATER)
    assert ruled(github, OFF) == Ruling()
    assert github.log == []


def test_label_among_hundreds(github: FakeGitHub) -> None:
    """Labels and their history are read to the last page."""
    for number in range(130):
        github.add_label(PR, f"label {number}", "trish", EARLIER)
    github.add_label(PR, LABEL, "alice", LATER)
    assert ruled(github) == Ruling(override=ALICE)


def test_accepted_report_stays_red_and_blocks_no_more() -> None:
    """The rows keep their numbers, are accepted with what they measured, and the reason says by whom."""
    made = accepted(red(), ALICE)
    assert made.verdict.state is State.ACCEPTED
    assert made.verdict.reasons == (
        f"accepted by alice with the label {LABEL} on 2026-11-21 10:30 UTC",
        *red().verdict.reasons,
    )
    (taken,) = [each for each in made.comparisons if each.outcome is Outcome.ACCEPTED]
    assert (taken.case, taken.head, taken.blocking) == (CASE, 202.0, False)
    assert [(each.case, each.metric, each.value) for each in made.accepts] == [(CASE, "sql.calls", 202.0)]


def test_comment_and_terminal_say_who_accepted() -> None:
    """Every renderer shows the row in red and the name beside the verdict."""
    made = accepted(red(), ALICE)
    assert "accepted by alice" in markdown(made).splitlines()[0]
    assert "🔴\N{NO-BREAK SPACE}accepted" in markdown(made)
    assert "accepted by alice" in text(made)


def test_budgets_and_findings_are_accepted_too() -> None:
    """The label is for the pull request as it is, not for one kind of row."""
    budget = BudgetCheck(
        case=CASE,
        label="GET /playlist",
        metric="latency.p95",
        unit="s",
        target=0.1,
        value=0.9,
        state=BudgetState.CRITICAL,
        level=Level.BLOCK,
        blocking=True,
    )
    finding = Finding(name="coverage", level=Level.BLOCK, text="too few routes are measured")
    made = accepted(dataclasses.replace(red(), budgets=(budget,), findings=(finding,)), ALICE)
    assert not made.budgets[0].blocking
    assert made.findings[0].level is Level.WARN


@pytest.mark.parametrize(
    "made",
    [green(), report(row(), state=State.ERROR), report(row(), state=State.INCONCLUSIVE)],
    ids=["pass", "error", "inconclusive"],
)
def test_only_a_blocked_report_can_be_accepted(made: object) -> None:
    """Nothing that was not measured or not decided passes by a label."""
    assert accepted(made, ALICE) is made  # type: ignore[arg-type, comparison-overlap]


def test_failing_request_cannot_be_accepted() -> None:
    """A request that fails is no price that somebody may be willing to pay."""
    fails = dataclasses.replace(measured(200), comparisons=(dataclasses.replace(row(), metric="errors"),))
    assert accepted(fails, ALICE) is fails
    decision = overridden(Decision(exit_code=1, text="fails"), fails, Ruling(override=ALICE))[0]
    assert decision.exit_code == 1
    assert unacceptable(fails) in decision.text


def test_refused_label_leaves_the_check_red_and_says_why() -> None:
    """The check's own line has both: what blocks, and why the label does not help."""
    decision, made = overridden(Decision(exit_code=1, text="blocked"), red(), Ruling(refused="too old"))
    assert decision == Decision(exit_code=1, text="blocked (too old)")
    assert made == red()


@pytest.mark.parametrize("code", [0, 3, 4, 5, 6])
def test_label_touches_no_other_answer(code: int) -> None:
    """An error stays an error under a label, and a pass is not called accepted."""
    decision = Decision(exit_code=code, text="so it is")
    assert overridden(decision, red(), Ruling(override=ALICE)) == (decision, red())
    assert overridden(decision, None, Ruling(override=ALICE)) == (decision, None)
