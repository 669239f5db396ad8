"""Judging again: whatever a report claims, its samples meet the base commit's policy and baselines."""

from __future__ import annotations

import dataclasses
from typing import Any

import build
import pytest
from fake_api import FakeGitHub
from made import (
    BASE,
    CASE,
    CONFIG,
    MERGE,
    PR,
    SHA,
    as_artifact,
    client,
    desk,
    finished,
    green,
    measured,
    on_github,
    red,
    report,
    row,
    stored,
)

from gate.github.again import Judged, Unjudgeable, again, edited, plausible
from gate.github.client import Pull
from gate.github.stage import comment_on
from gate.model import Case, Metric, Outcome, Point, Report, State

OTHER = Case(suite="endpoints", name="album")
OLD = "0" * 39 + "1"


def judged(github: FakeGitHub, made: Report) -> Judged:
    with client(github) as opened:
        pull: Pull = opened.pull(PR)
        return again(opened, pull, made, survey=desk().survey)


def only_doubt(found: Judged) -> str:
    (doubt,) = found.doubts
    return doubt


@pytest.mark.parametrize("made", [green(), red()], ids=["green", "red"])
def test_honest_report_is_judged_the_same(github: FakeGitHub, made: Report) -> None:
    """A report that was judged by base's files comes out as it went in, without a doubt."""
    on_github(github)
    assert judged(github, made) == Judged(report=made, merge=MERGE)


def test_forged_verdict_is_replaced(github: FakeGitHub) -> None:
    """A report whose samples are red says pass, with no row that blocks: ours is blocked."""
    on_github(github)
    forged = dataclasses.replace(green(), run=red().run)
    found = judged(github, forged)
    assert found.report.verdict.state is State.BLOCKED
    assert only_doubt(found).startswith("The check says pass. Judged again from its samples")


def test_comment_says_first_that_the_check_came_to_another_verdict(github: FakeGitHub) -> None:
    """The difference stands before the verdict, and the verdict shown is the one made here."""
    on_github(github)
    github.add_artifact(900, as_artifact(dataclasses.replace(green(), run=red().run)))
    with client(github) as opened:
        comment_on(finished(conclusion="success"), opened, desk())
    lines = github.body_of(PR)[0].splitlines()
    assert lines[2].startswith("> **The check says pass. Judged again")
    assert next(line for line in lines if "perf-gate: " in line).startswith("🔴 **perf-gate: blocked.**")


def test_case_left_out_of_the_plan_is_missing(github: FakeGitHub) -> None:
    """What base's files know and the report does not mention blocks, whatever its plan calls known."""
    on_github(github, files={"perf-gate.toml": CONFIG, "baselines/endpoints.json": stored()})
    made = measured(1, cases=(OTHER,), known=())
    assert made.verdict.state is State.PASS
    found = judged(github, made)
    assert found.report.verdict.state is State.BLOCKED
    assert [r.outcome for r in found.report.comparisons if r.case == CASE] == [Outcome.MISSING]


def test_case_that_was_not_asked_for_is_not_missing(github: FakeGitHub) -> None:
    """A job that measures one suite is judged again by cases of that suite."""
    on_github(github)
    made = measured(1, cases=(OTHER,), known=())
    told = desk(survey=dataclasses.replace(desk().survey, only="endpoints/album"))  # type: ignore[type-var]
    with client(github) as opened:
        assert again(opened, opened.pull(PR), made, survey=told.survey).report.verdict.state is State.PASS


def test_comparison_cannot_be_declined(github: FakeGitHub) -> None:
    """A report of `--against none` is compared with the baselines that base has."""
    on_github(github)
    found = judged(github, measured(200, against="none"))
    assert found.report.verdict.state is State.BLOCKED


def test_policy_is_bases(github: FakeGitHub) -> None:
    """A budget of base's configuration holds although the pull request takes it out of its own."""
    budget = CONFIG + "budgets = { response_bytes = '1kB' }\n"
    on_github(github, files={"perf-gate.toml": budget, "baselines/endpoints.json": stored()})
    github.trees[MERGE]["perf-gate.toml"] = CONFIG.encode()
    made = green()
    sizes = build.sample(CASE, "response.bytes", [5000, 5000])
    run = dataclasses.replace(made.run, samples=(*made.run.samples, sizes))
    found = judged(github, dataclasses.replace(made, run=run))
    assert found.report.verdict.state is State.BLOCKED
    assert "over budget" in found.report.verdict.reasons[0]


def test_baseline_edited_in_the_pull_request_accepts(github: FakeGitHub) -> None:
    """`perf-gate accept` in the pull request is read from GitHub's trial merge and honoured."""
    on_github(github, head_files={"baselines/endpoints.json": stored(200)})
    made = measured(200, edited=stored(200))
    assert made.verdict.state is State.ACCEPTED
    assert judged(github, made) == Judged(report=made, merge=MERGE, edits=("baselines",))


def test_claimed_acceptance_without_an_edit_is_none(github: FakeGitHub) -> None:
    """A report that calls itself accepted is blocked where the merge has base's own baselines."""
    on_github(github)
    claimed = report(row(outcome=Outcome.ACCEPTED), state=State.ACCEPTED)
    claimed = dataclasses.replace(claimed, run=red().run, sides=red().sides)
    found = judged(github, claimed)
    assert found.report.verdict.state is State.BLOCKED
    assert "The check says accepted." in only_doubt(found)


@pytest.mark.parametrize("ref", ["", "main", "f" * 40, SHA, "../../user", "b" * 39])
def test_base_that_is_not_on_the_branch_is_not_believed(github: FakeGitHub, ref: str) -> None:
    """A claimed base that the branch does not have is replaced by its tip, and the comment says so."""
    on_github(github)
    found = judged(github, measured(200, base=stored(200), ref=ref))
    assert found.report.verdict.state is State.BLOCKED
    assert found.doubts[0].startswith("This report does not say what it was compared with")


def test_older_base_counts_and_a_stricter_tip_is_said(github: FakeGitHub) -> None:
    """A base that the branch has left behind judges; where its tip would block, that is said too."""
    on_github(github)
    github.add_commit(OLD, files={"perf-gate.toml": CONFIG, "baselines/endpoints.json": stored(200)})
    github.commits[BASE] = (OLD,)
    found = judged(github, measured(200, base=stored(200), ref=OLD))
    assert found.report.verdict.state is State.PASS
    assert "by them (`bbbbbbbbbb`) this is blocked" in only_doubt(found)


def test_older_base_with_the_same_files_is_no_doubt(github: FakeGitHub) -> None:
    """Main moved on without touching policy or baselines: nothing is to be said."""
    on_github(github)
    github.add_commit(OLD, files={"perf-gate.toml": CONFIG, "baselines/endpoints.json": stored()})
    github.commits[BASE] = (OLD,)
    assert judged(github, measured(200, ref=OLD)).doubts == ()


@pytest.mark.parametrize(
    ("merge", "parents"),
    [(None, ()), ("9" * 40, None), (MERGE, (BASE, "9" * 40)), (MERGE, (SHA,))],
    ids=["conflict", "unknown", "of another push", "no merge"],
)
def test_without_a_trial_merge_the_branches_count(
    github: FakeGitHub, merge: str | None, parents: tuple[str, ...] | None
) -> None:
    """Where GitHub could not merge this push, base is the branch's tip and head the pushed commit."""
    on_github(github, merge_commit_sha=merge, head_files={"baselines/endpoints.json": stored(200)})
    if parents:
        github.commits[MERGE] = parents
    made = measured(200, edited=stored(200))
    found = judged(github, made)
    assert (found.report, found.doubts) == (made, ())


def test_first_adoption_is_no_doubt(github: FakeGitHub) -> None:
    """A branch without configuration and baselines knows nothing: all is new, and that passes."""
    on_github(github, files={}, head_files={"perf-gate.toml": CONFIG})
    made = measured(1, base="", config="", known=())
    assert made.verdict.state is State.PASS
    assert judged(github, made) == Judged(report=made, merge=MERGE, edits=("the gate's configuration",))


@pytest.mark.parametrize("path", ["perf-gate.toml", "baselines/endpoints.json"])
def test_unreadable_files_of_base_are_said(github: FakeGitHub, path: str) -> None:
    """Without base's rules there is no second judgement, and the comment does not pretend one."""
    on_github(github)
    github.trees[BASE][path] = b"{"
    found = judged(github, red())
    assert found.report == red()
    assert "was not judged again" in only_doubt(found)
    assert "cannot be read" in only_doubt(found)


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff", b"[" * 100_000, b'{"schema": "perf-gate.baseline/1"}', b"null", b"0" * (9 << 20)],
    ids=["cut", "binary", "deep", "empty", "null", "large"],
)
@pytest.mark.parametrize("path", ["perf-gate.toml", "baselines/endpoints.json"])
def test_hostile_files_of_the_pull_request_accept_nothing(
    github: FakeGitHub, path: str, content: bytes
) -> None:
    """Whatever the pull request's own files hold, base's rules judge and nothing is accepted."""
    on_github(github)
    github.trees[MERGE][path] = content
    found = judged(github, red())
    assert (found.report, found.doubts) == (red(), ())


@pytest.mark.parametrize("place", ["../../../user", "..", "/etc", "a//b", "baselines/.", "./baselines"])
def test_paths_that_climb_are_not_asked_for(github: FakeGitHub, place: str) -> None:
    """A directory of baselines that leaves the repository reaches no other path of the API."""
    on_github(github)
    github.trees[MERGE]["perf-gate.toml"] = f'baselines = "{place}"\n{CONFIG}'.encode()
    judged(github, red())
    asked = [request.path for request in github.log if "/contents/" in request.path]
    suites = ("endpoints.json", "benchmarks.json")
    assert {path.partition("/contents/")[2] for path in asked} == {
        "perf-gate.toml",
        *(f"baselines/{suite}" for suite in suites),
        # Kept times are looked for where base's configuration says.
        *(f"baselines/timing/0-cores-d8af5981/{suite}" for suite in suites),
    }


def test_file_beyond_what_is_listed_inline(github: FakeGitHub) -> None:
    """A baseline of more than 1 MB, whose content GitHub leaves out of its listing, is read as a blob."""
    padding = " " * (2 << 20)
    on_github(
        github, files={"perf-gate.toml": CONFIG, "baselines/endpoints.json": stored().rstrip() + padding}
    )
    assert judged(github, red()) == Judged(report=red(), merge=MERGE)
    assert any("/git/blobs/" in request.path for request in github.log)


def test_gate_files_that_the_pull_request_changes_are_named(github: FakeGitHub) -> None:
    """Workflows, configuration, baselines and benchmarks: whoever reviews is told that they changed."""
    suite = CONFIG.replace("[target]", '[target]\ndirectory = "srv"')
    suite += '\n[suites.benchmarks]\npaths = ["bench"]\n'
    on_github(
        github,
        files={"perf-gate.toml": suite, "baselines/endpoints.json": stored(), "app.py": "1"},
        head_files={".github/workflows/x.yml": "on: push", "srv/bench/test_a.py": "1", "app.py": "2"},
    )
    assert judged(github, red()).edits == ("workflows", "benchmarks")
    github.add_artifact(900, as_artifact(red()))
    with client(github) as opened:
        comment_on(finished(), opened, desk())
    assert "> This pull request changes workflows, benchmarks, which decide" in github.body_of(PR)[0]


@pytest.mark.parametrize(
    ("paths", "named"),
    [
        (["app.py", "docs/baselines/x", ".githubx"], ()),
        (["perf-gate.toml"], ("configuration",)),
        (["perf-gate.toml.bak", "sub/perf-gate.toml"], ()),
        (["baselines/a.json", "baselines/timing/b.json", ".github/x"], ("workflows", "baselines")),
    ],
)
def test_places_are_matched_whole(paths: list[str], named: tuple[str, ...]) -> None:
    """A file is meant by its whole path, a directory by what lies below it."""
    places = (("workflows", ".github/"), ("configuration", "perf-gate.toml"), ("baselines", "baselines/"))
    assert edited(paths, places) == named


def altered(made: Report, **fields: Any) -> Report:
    first, *others = made.run.samples
    samples = (dataclasses.replace(first, **fields), *others)
    return dataclasses.replace(made, run=dataclasses.replace(made.run, samples=samples))


MADE_UP = {
    "unknown metric": altered(red(), metric=Metric(name="x", unit="", kind=red().run.samples[0].metric.kind)),
    "another unit": altered(red(), metric=dataclasses.replace(red().run.samples[0].metric, unit="s")),
    "no values": altered(red(), points=()),
    "negative": altered(red(), points=(Point(1, 1, 1, -1.0),)),
    "twice": altered(red(), metric=red().run.samples[1].metric),
    "too many cases": dataclasses.replace(
        red(),
        run=dataclasses.replace(red().run, plan=dataclasses.replace(red().run.plan, known=(CASE,) * 4_001)),
    ),
}


@pytest.mark.parametrize("made", MADE_UP.values(), ids=list(MADE_UP))
def test_samples_that_no_run_has_are_not_judged(made: Report) -> None:
    """What fits the schema and cannot have been measured is refused before any arithmetic."""
    with pytest.raises(Unjudgeable):
        plausible(made)


def without(made: Report, *metrics: str) -> Report:
    samples = tuple(each for each in made.run.samples if each.metric.name not in metrics)
    return dataclasses.replace(made, run=dataclasses.replace(made.run, samples=samples))


def test_planned_case_without_a_sample_is_missing(github: FakeGitHub) -> None:
    """A case that the plan names and nothing was measured of has not passed: it is gone."""
    on_github(github)
    every = {sample.metric.name for sample in red().run.samples}
    found = judged(github, without(red(), *every))
    assert [r.outcome for r in found.report.comparisons] == [Outcome.MISSING]


def test_counts_left_out_are_said(github: FakeGitHub) -> None:
    """The one count that got worse, taken out of the report, turns it green and is missed."""
    on_github(github)
    found = judged(github, without(red(), "sql.calls"))
    assert found.doubts[0] == "This report leaves out 1 count that base's baselines have."


def test_values_that_make_no_sense_end_in_a_doubt(github: FakeGitHub) -> None:
    """A report that judging trips over is shown as it says, with a doubt, and is no crash."""
    on_github(github)
    made = measured(200)
    gone = without(made, "errors")
    endless = tuple(
        dataclasses.replace(sample, points=tuple(point._replace(value=1e308) for point in sample.points * 9))
        for sample in gone.run.samples
    )
    found = judged(github, dataclasses.replace(made, run=dataclasses.replace(made.run, samples=endless)))
    assert found.report.verdict.state is State.BLOCKED
