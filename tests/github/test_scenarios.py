"""What happens to pull requests: from the event to the comment, through the fake GitHub."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import build
import pytest
from fake_api import BOT, FakeGitHub, Fault, Request
from flow import Flow, without_waiting
from git_server import GitServer, git
from made import CONFIG, PR, SHA, green, measured, on_github, red, stored

from gate import baseline
from gate.cli import ci
from gate.github.comment import LONGEST
from gate.github.override import LABEL
from gate.model import Case, Measured

SECOND, THIRD = "2" * 40, "3" * 40
COMMENTS = f"/repos/acme/shop/issues/{PR}/comments"


@pytest.fixture
def flow(github: FakeGitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flow:
    """A fork's pull request 7 onto main, and people of every role."""
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "PERF_GATE_", "RUNNER_"))]:
        monkeypatch.delenv(name)
    without_waiting(monkeypatch)
    on_github(github)
    github.members |= {"alice": "write", "trish": "triage", "stranger": "read"}
    return Flow(github, tmp_path, monkeypatch)


def the_comment(github: FakeGitHub) -> str:
    """The one comment of ours on pull request 7; nothing else was ever written on GitHub."""
    (body,) = github.body_of(PR)
    ours = [str(comment["id"]) for comment in github.comments[PR] if comment["user"]["login"] == BOT]
    allowed = {("POST", COMMENTS)} | {("PATCH", f"/repos/acme/shop/issues/comments/{each}") for each in ours}
    assert set(github.writes) <= allowed
    return body


def verdict_of(body: str) -> str:
    """The word behind "perf-gate:", in the line that our renderer begins with."""
    line = next(line for line in body.splitlines() if "**perf-gate: " in line)
    return line.partition("perf-gate: ")[2].partition(".")[0]


def test_first_comment(flow: Flow, github: FakeGitHub) -> None:
    """A fork's blocked push: the check is red, and one comment says what got slower and why."""
    assert flow.push(red()).code == 1
    body = the_comment(github)
    assert verdict_of(body) == "blocked"
    assert "SELECT artists ran 200 times" in body
    assert "somebody with write permission sets the label `perf-gate:accept`" in body


def test_update_and_back_to_green(flow: Flow, github: FakeGitHub) -> None:
    """Two more pushes: the same comment is first updated, then green."""
    flow.push(red())
    first = github.comments[PR][0]["id"]
    flow.push(measured(99), SECOND)
    assert "ran 99 times" in the_comment(github)
    assert flow.push(green(), THIRD).code == 0
    assert verdict_of(the_comment(github)) == "pass"
    assert "label" not in the_comment(github)
    assert [comment["id"] for comment in github.comments[PR]] == [first]


def test_two_runs_out_of_order(flow: Flow, github: FakeGitHub) -> None:
    """The report of the first push arrives after the second's and changes nothing."""
    first = flow.push(red(), report=False)
    flow.push(green(), SECOND)
    flow.report(first)
    assert verdict_of(the_comment(github)) == "pass"


def test_two_attempts_out_of_order(flow: Flow, github: FakeGitHub) -> None:
    """A re-run's comment is not overwritten by the first attempt's report, when that comes late."""
    first = flow.push(red(), report=False)
    second = flow.run("pull_request", green(), action="synchronize", again=first.payload)
    flow.report(second)
    assert "attempt 2" in the_comment(github)
    flow.report(first)
    assert "attempt 2" in the_comment(github)


def test_rerun_updates_the_comment(flow: Flow, github: FakeGitHub) -> None:
    """The same run again, with another outcome: the same comment, with the attempt's number."""
    first = flow.push(red())
    again = flow.run("pull_request", green(), action="synchronize", again=first.payload)
    flow.report(again)
    assert again.code == 0
    assert verdict_of(the_comment(github)) == "pass"


def test_draft(flow: Flow, github: FakeGitHub) -> None:
    """A draft is measured and commented as any pull request."""
    github.pulls[0]["draft"] = True
    assert flow.push(red()).code == 1
    assert verdict_of(the_comment(github)) == "blocked"


def test_own_branch(flow: Flow, github: FakeGitHub) -> None:
    """A pull request from the repository itself goes the same way."""
    flow.fork = False
    github.pulls[0]["head"]["repo"] = {"id": 1, "owner": {"login": "acme"}}
    flow.push(red())
    assert verdict_of(the_comment(github)) == "blocked"


def test_forks_branch_named_main(flow: Flow, github: FakeGitHub) -> None:
    """A fork's branch that is called like ours finds its own pull request."""
    github.pulls[0]["head"]["ref"] = "main"
    github.add_pull(3, owner="acme", repo_id=1, branch="main", sha=SHA)
    flow.push(red())
    assert verdict_of(the_comment(github)) == "blocked"


def test_label_by_somebody_without_rights(flow: Flow, github: FakeGitHub) -> None:
    """Who may only triage labels in vain: the check stays red and the comment says whose label it is."""
    flow.push(red())
    assert flow.label(LABEL, "trish").code == 1
    body = the_comment(github)
    assert verdict_of(body) == "blocked"
    assert f"> **The label {LABEL} does not count: trish, who set it, has no write permission.**" in body


def test_label_that_does_not_count_is_nobodys(flow: Flow) -> None:
    """No output names whoever had no right to accept."""
    flow.push(red())
    assert "accepted-by" not in flow.label(LABEL, "trish").outputs


def test_label_by_somebody_with_rights(flow: Flow, github: FakeGitHub) -> None:
    """The label turns the check green and the comment yellow; both name who, and the rows stay red."""
    flow.push(red())
    ran = flow.label(LABEL, "alice")
    assert ran.code == 0
    assert (ran.outputs["verdict"], ran.outputs["accepted-by"]) == ("accepted", "alice")
    assert "accepted by alice" in ran.summary
    body = the_comment(github)
    assert verdict_of(body) == "accepted"
    assert "accepted by alice" in body
    assert "SELECT artists ran 200 times" in body


def test_accepted_report_is_kept(flow: Flow) -> None:
    """The report that the label's run leaves says who accepted and which values."""
    flow.push(red())
    kept = json.loads(Path(flow.label(LABEL, "alice").outputs["report-path"]).read_text())
    assert kept["verdict"]["state"] == "accepted"
    assert kept["verdict"]["reasons"][0].startswith(
        "accepted by alice with the label perf-gate:accept on 2026"
    )
    assert {"endpoints/playlist", 202} <= {
        f"{a['case']['suite']}/{a['case']['name']}" for a in kept["accepts"]
    } | {a["value"] for a in kept["accepts"]}


def test_label_then_new_commit(flow: Flow, github: FakeGitHub) -> None:
    """The next push is red again: the label was for what had been pushed before."""
    flow.push(red())
    flow.label(LABEL, "alice")
    assert flow.push(measured(300), SECOND).code == 1
    body = the_comment(github)
    assert verdict_of(body) == "blocked"
    assert "alice set it before this was pushed" in body


def test_label_taken_away(flow: Flow, github: FakeGitHub) -> None:
    """Without the label the check is red again at once."""
    flow.push(red())
    flow.label(LABEL, "alice")
    assert flow.label(LABEL, "alice", remove=True).code == 1
    assert verdict_of(the_comment(github)) == "blocked"


def test_rerun_keeps_what_the_label_accepted(flow: Flow, github: FakeGitHub) -> None:
    """Measuring the same push once more does not undo the acceptance of that push."""
    first = flow.push(red())
    flow.label(LABEL, "alice")
    again = flow.run("pull_request", red(), action="synchronize", again=first.payload)
    flow.report(again)
    assert again.code == 0
    assert verdict_of(the_comment(github)) == "accepted"


def test_another_label_changes_nothing(flow: Flow, github: FakeGitHub) -> None:
    """Any label starts a run; the check repeats its answer, and the comment its text."""
    flow.push(red())
    body = the_comment(github)
    assert flow.label("documentation", "trish").code == 1
    assert the_comment(github) == body
    flow.push(green(), SECOND)
    assert flow.label("bug", "trish").code == 0


def test_label_before_anything_is_measured(flow: Flow, github: FakeGitHub) -> None:
    """A label's run without a measurement to repeat is an error, and says nothing in the pull request."""
    assert flow.label(LABEL, "alice").code == 3
    assert github.writes == []


def test_label_while_the_measurement_runs(flow: Flow, github: FakeGitHub) -> None:
    """The label's run ends first and does not keep the measurement from its comment."""
    first = flow.push(red(), report=False)
    run = next(run for run in github.runs if run["id"] == first.payload["id"])
    run |= {"status": "in_progress", "conclusion": None}
    assert flow.label("bug", "trish").code == 3
    run |= {"status": "completed", "conclusion": "failure"}
    flow.report(first)
    assert verdict_of(the_comment(github)) == "blocked"


def test_rerun_after_a_label(flow: Flow, github: FakeGitHub) -> None:
    """A label's run has the higher number; the re-run of the measurement is newer all the same."""
    first = flow.push(red())
    flow.label("bug", "trish")
    flow.report(flow.run("pull_request", green(), action="synchronize", again=first.payload))
    assert verdict_of(the_comment(github)) == "pass"


def test_deleted_comment(flow: Flow, github: FakeGitHub) -> None:
    """A comment deleted by hand comes back with the next push."""
    flow.push(red())
    github.comments[PR].clear()
    flow.push(red(), SECOND)
    assert verdict_of(the_comment(github)) == "blocked"


def test_comment_deleted_between_list_and_edit(flow: Flow, github: FakeGitHub) -> None:
    """Deleted in the one moment in which we knew of it: written anew, once."""
    flow.push(red())

    def delete(request: Request) -> None:
        if request.verb == "PATCH":
            github.comments[PR].clear()

    github.before = delete
    flow.push(measured(99), SECOND)
    (body,) = github.body_of(PR)
    assert "ran 99 times" in body


def test_132_comments(flow: Flow, github: FakeGitHub) -> None:
    """Ours is found behind 132 others, on the second page, also where some of them carry our marker."""
    for number in range(132):
        github.add_comment(PR, f"<!-- perf-gate:v1 id=default -->\nmine {number}", author="stranger")
    flow.push(red())
    flow.push(green(), SECOND)
    assert verdict_of(the_comment(github)) == "pass"
    assert len(github.body_of(PR, "stranger")) == 132


def test_thousand_cases_fit_in_a_comment(flow: Flow, github: FakeGitHub) -> None:
    """The comment of 1,000 cases, 300 of them worse, is within the limit and names all of the 300."""
    cases = tuple(Case(suite="endpoints", name=f"c{n:03}") for n in range(1000))
    counts = {case: {"errors": [0], "sql.calls": [3]} for case in cases}
    slow = counts | {case: {"errors": [0], "sql.calls": [9]} for case in cases[:300]}
    base = build.side("base", counts, stored=True)
    github.trees[github.branches["main"]] = {
        "perf-gate.toml": CONFIG.replace("playlist", "c000").encode(),
        "baselines/endpoints.json": baseline.to_text(base, "endpoints").encode(),
    }
    # Not judged here: what the report says of itself is not looked at anyway.
    run = build.run(build.side("head", slow), known=cases)
    made = dataclasses.replace(red(), run=Measured(plan=run.plan, samples=run.samples, evidence=run.evidence))
    flow.push(made)
    body = the_comment(github)
    assert len(body) <= LONGEST
    assert verdict_of(body) == "blocked"
    assert [case.name for case in cases[:300] if case.name not in body] == []


def test_merge_queue(flow: Flow, github: FakeGitHub) -> None:
    """The queue's candidate gets its check and no comment."""
    group = {"head_sha": "c" * 40, "base_sha": "b" * 40, "head_ref": queued()}
    for made, code in ((red(), 1), (green(), 0)):
        ran = flow.run("merge_group", made, merge_group=group, sha="c" * 40)
        assert ran.code == code
        assert flow.report(ran) == -1
    assert github.writes == []


def queued() -> str:
    return f"refs/heads/gh-readonly-queue/main/pr-{PR}-{'b' * 40}"


def test_merge_queue_knows_the_label(flow: Flow, github: FakeGitHub) -> None:
    """What was accepted in the pull request is not blocked again in the queue."""
    flow.push(red())
    flow.label(LABEL, "alice")
    group = {"head_sha": "c" * 40, "base_sha": "b" * 40, "head_ref": queued()}
    assert flow.run("merge_group", red(), merge_group=group, sha="c" * 40).code == 0


def test_merge_queue_does_not_know_an_expired_label(flow: Flow, github: FakeGitHub) -> None:
    """Nor does the queue accept what was pushed after the label."""
    flow.push(red())
    flow.label(LABEL, "alice")
    flow.push(red(), SECOND)
    group = {"head_sha": "c" * 40, "base_sha": "b" * 40, "head_ref": queued()}
    assert flow.run("merge_group", red(), merge_group=group, sha="c" * 40).code == 1


def test_verdict_that_differs_from_the_checks(flow: Flow, github: FakeGitHub) -> None:
    """A pull request that judges itself milder than base does passes its check and is found out."""
    forged = dataclasses.replace(green(), run=red().run)
    assert flow.push(forged).code == 0
    body = the_comment(github)
    assert body.splitlines()[2].startswith("> **The check says pass. Judged again")
    assert verdict_of(body) == "blocked"


def test_run_that_ended_without_a_report(flow: Flow, github: FakeGitHub) -> None:
    """An environment that did not start is an error, no regression, and no new comment."""
    assert flow.push(None).code == 3
    assert github.writes == []


def test_run_that_ended_without_a_report_after_a_green_one(flow: Flow, github: FakeGitHub) -> None:
    """The comment of the older commit does not stay green."""
    flow.push(green())
    flow.push(None, SECOND)
    assert verdict_of(the_comment(github)) == "no verdict"


def test_cancelled_run_says_nothing(flow: Flow, github: FakeGitHub) -> None:
    """A run that a newer push cancelled starts no comment."""
    flow.push(red(), conclusion="cancelled")
    assert github.writes == []


def test_two_pull_requests_of_one_commit(flow: Flow, github: FakeGitHub) -> None:
    """The number in the artifact's name chooses between them; the other is not touched."""
    github.add_pull(8, owner="stranger", repo_id=77, branch="topic", sha=SHA, base="release")
    flow.push(red())
    assert verdict_of(the_comment(github)) == "blocked"
    assert 8 not in github.comments


def test_artifact_that_claims_another_pull_request(flow: Flow, github: FakeGitHub) -> None:
    """A stranger's artifact with somebody else's number writes nowhere."""
    github.add_pull(3, owner="acme", repo_id=1, branch="x", sha="d" * 40)
    flow.push(red(), name="perf-gate-report-3")
    assert github.writes == []


def test_read_only_token_ends_in_the_summary(flow: Flow, github: FakeGitHub) -> None:
    """Where an organisation allows tokens no writing, the report stands in the job summary, exit 0."""
    github.tokens["report"] = dict.fromkeys(github.tokens["report"], "read")
    ran = flow.push(red(), report=False)
    assert flow.report(ran) == 0
    assert "SELECT artists ran 200 times" in (flow.place / "summary").read_text()
    assert github.comments == {}


FAULTS = [
    Fault("before", "POST", COMMENTS),
    Fault("after", "POST", COMMENTS),
    Fault("lost", "POST", COMMENTS),
    Fault("unavailable", "POST", COMMENTS),
    Fault("too-many", "POST", COMMENTS),
    Fault("secondary", "POST", COMMENTS),
    Fault("unnamed", "POST", COMMENTS),
    Fault("before", "GET", COMMENTS, times=2),
    Fault("lost", "GET", COMMENTS),
    Fault("secondary", "GET", "/contents/"),
    Fault("unavailable", "GET", "/git/commits/"),
    Fault("before", "GET", "/artifacts", times=2),
    Fault("too-many", "GET", "/zip"),
    Fault("before", "GET", "/labels"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: f"{each.kind} {each.verb} {each.path[-14:]}")
def test_faults_leave_one_comment(flow: Flow, github: FakeGitHub, fault: Fault) -> None:
    """Whatever fails once or twice, and on whichever side, one comment is there in the end."""
    ran = flow.push(red(), report=False)
    github.faults.append(dataclasses.replace(fault))
    assert flow.report(ran) == 0
    assert not github.faults[0].times
    assert verdict_of(the_comment(github)) == "blocked"


@pytest.mark.parametrize("kind", ["before", "lost", "unavailable", "secondary"])
def test_faults_of_an_edit_leave_one_comment(flow: Flow, github: FakeGitHub, kind: str) -> None:
    """An edit that fails or is not answered is repeated until it stands."""
    flow.push(red())
    ran = flow.push(green(), SECOND, report=False)
    github.faults.append(Fault(kind, "PATCH"))
    assert flow.report(ran) == 0
    assert verdict_of(the_comment(github)) == "pass"


def test_label_that_cannot_be_looked_up(flow: Flow, github: FakeGitHub) -> None:
    """While GitHub fails, the check stays what the report says: red, not an error."""
    flow.push(red())
    github.faults.append(Fault("before", "GET", "/labels", times=9))
    assert flow.run("pull_request", red(), action="synchronize").code == 1


@pytest.mark.parametrize("path", ["/labels", "/events", "/permission"])
def test_label_that_cannot_be_looked_up_keeps_nobody_from_the_comment(
    flow: Flow, github: FakeGitHub, path: str
) -> None:
    """While only that fails, the report is shown as blocked, and the comment says what is not known."""
    ran = flow.push(red(), report=False)
    github.add_label(PR, LABEL, "alice", flow.now)
    github.faults.append(Fault("before", "GET", path, times=99))
    assert flow.report(ran) == 0
    body = the_comment(github)
    assert verdict_of(body) == "blocked"
    assert "GitHub did not say whether the label perf-gate:accept is set" in body


def test_github_that_stays_away_is_an_error_and_no_verdict(flow: Flow, github: FakeGitHub) -> None:
    """A comment that cannot be written ends the report job with 3; the required check is another job."""
    ran = flow.push(red(), report=False)
    github.faults.append(Fault("before", "", "", times=99))
    assert flow.report(ran) == 3
    assert github.comments == {}


@pytest.fixture
def merged(flow: Flow, hub: GitServer, monkeypatch: pytest.MonkeyPatch) -> GitServer:
    """A clone of main in which `baseline update` finds one more query, and the server it came from."""
    work = hub.clone(hub.root / "work")
    git(work, "commit", "-q", "--allow-empty", "-m", "first")
    git(work, "push", "-q", "origin", "HEAD:main")
    monkeypatch.chdir(work)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def updates(command: object) -> int:
        (work / "baselines").mkdir(exist_ok=True)
        (work / "baselines/endpoints.json").write_text(stored(2))
        return 0

    monkeypatch.setattr(ci, "perform", updates)
    return hub


def updating(flow: Flow, event: str, ref: str, server: GitServer, **payload: object) -> int:
    """perf-gate-baseline.yml."""
    run = {"id": 70, "run_number": 7, "run_attempt": 1}
    path = flow.place / "event.json"
    flow.job("baseline", event, run, dict(payload), ["--help"])
    flow.patch.setenv("GITHUB_REF", ref)
    flow.patch.setenv("GITHUB_SERVER_URL", server.url)
    assert path.exists()
    return ci_entry(["ci", "update-baseline"])


def ci_entry(arguments: list[str]) -> int:
    from gate.cli import entry

    return entry(arguments)


def last_message(server: GitServer) -> str:
    return server.git("log", "-1", "--format=%B", "main")


def test_push_to_the_default_branch(flow: Flow, github: FakeGitHub, merged: GitServer) -> None:
    """What was merged is measured and its baselines are committed, nothing is written elsewhere."""
    assert updating(flow, "push", "refs/heads/main", merged) == 0
    assert last_message(merged).startswith("Update performance baselines")
    assert github.writes == []


def test_push_names_who_accepted_by_label(flow: Flow, github: FakeGitHub, merged: GitServer) -> None:
    """The baseline commit that takes over a slower value says who let it through."""
    perform = ci.perform
    flow.push(red())
    flow.label(LABEL, "alice")
    github.pulls[0] |= {"merge_commit_sha": github.branches["main"], "state": "closed"}
    flow.patch.setattr(ci, "perform", perform)
    assert updating(flow, "push", "refs/heads/main", merged) == 0
    assert "Accepted-by: alice (#7, perf-gate:accept)" in last_message(merged)


@pytest.mark.parametrize(
    ("event", "ref"),
    [
        ("workflow_dispatch", "refs/heads/topic"),
        ("push", "refs/heads/topic"),
        ("push", "refs/tags/main"),
        ("pull_request", "refs/pull/7/merge"),
        ("merge_group", queued()),
        ("workflow_run", "refs/heads/main"),
    ],
)
def test_baselines_of_another_branch_are_refused(
    flow: Flow, github: FakeGitHub, merged: GitServer, event: str, ref: str
) -> None:
    """A dispatch on another branch, and whatever is not the default branch itself, stores nothing."""
    assert updating(flow, event, ref, merged) == 2
    assert last_message(merged) == "first"
    assert github.log == []
    assert merged.log == []


def test_protected_branch(flow: Flow, github: FakeGitHub, merged: GitServer) -> None:
    """Where main takes no push, a pull request has the values, and the gate is started on it."""
    merged.refuse()
    assert updating(flow, "push", "refs/heads/main", merged) == 0
    assert last_message(merged) == "first"
    (pull,) = github.pulls[1:]
    assert (pull["head"]["ref"], pull["base"]["ref"]) == ("perf-gate/baselines", "main")
    assert github.dispatched == [("perf-gate.yml", "perf-gate/baselines")]
    assert github.writes == [
        ("POST", "/repos/acme/shop/pulls"),
        ("POST", "/repos/acme/shop/actions/workflows/perf-gate.yml/dispatches"),
    ]
