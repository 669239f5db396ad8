"""`perf-gate ci ...` as the action calls it: environment in, exit code, summary and outputs out."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from fake_api import NOW, FakeGitHub
from git_server import GitServer, git
from made import ARTIFACT, SHA, as_artifact, green, on_github, red
from rights import rights

from gate.cli import ci, entry
from gate.errors import EnvironmentFailure
from gate.github.summary import MOST_BYTES
from gate.model import Report
from gate.schema import report_to_json

SECRET = "ghs_planted_token"
Start = Callable[..., None]


@pytest.fixture
def start(tmp_path: Path, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Puts this process into a job of run 50 that an event started, with the report job's token."""
    github.tokens = {SECRET: rights("perf-gate-report.yml", "comment")}
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "PERF_GATE_", "RUNNER_"))]:
        monkeypatch.delenv(name)

    def begin(event: str, *, ref: str = "refs/heads/main", **payload: Any) -> None:
        path = tmp_path / "event.json"
        repository = {"id": 1, "default_branch": "main"}
        path.write_text(json.dumps({"repository": repository, **payload}))
        for name, value in {
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_REF": ref,
            "GITHUB_SHA": "c" * 40,
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_API_URL": github.url,
            "GITHUB_SERVER_URL": "http://127.0.0.1:1",
            "GITHUB_RUN_ID": "50",
            "GITHUB_RUN_NUMBER": "5",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_WORKFLOW_REF": "acme/shop/.github/workflows/perf-gate.yml@refs/heads/main",
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "RUNNER_TEMP": str(tmp_path / "runner"),
            "PERF_GATE_GITHUB_TOKEN": SECRET,
            # As the action sets what nobody gave.
            "PERF_GATE_SUITE": "",
            "PERF_GATE_SCALE": "",
        }.items():
            monkeypatch.setenv(name, value)

    return begin


def pull_request() -> dict[str, Any]:
    head = {"ref": "topic", "sha": SHA, "repo": {"id": 77, "owner": {"login": "stranger"}}}
    return {"pull_request": {"number": 7, "head": head, "base": {"ref": "main"}}}


def finished_run() -> dict[str, Any]:
    return {
        "workflow_run": {
            "id": 900,
            "run_number": 9,
            "run_attempt": 1,
            "event": "pull_request",
            "conclusion": "failure",
            "path": ".github/workflows/perf-gate.yml",
            "html_url": "https://github.test/acme/shop/actions/runs/900",
            "head_sha": SHA,
            "head_branch": "topic",
            "head_repository": {"id": 77, "owner": {"login": "stranger"}},
            "created_at": NOW,
            "pull_requests": [],
        }
    }


def measuring(made: Report, code: int, calls: list[Sequence[str]]) -> Callable[[Sequence[str]], int]:
    """Stands for `perf-gate run`: writes a report where it is told to and prints like a benchmark."""

    def perform(command: Sequence[str]) -> int:
        calls.append(command)
        click.echo("::error::from a benchmark")
        Path(command[list(command).index("--json") + 1]).write_text(report_to_json(made))
        return code

    return perform


def outputs(tmp_path: Path) -> dict[str, str]:
    lines = (tmp_path / "output").read_text().splitlines()
    return {lines[i].partition("<<")[0]: lines[i + 1] for i in range(0, len(lines), 3)}


def test_measure_writes_report_summary_outputs_and_annotations(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A blocked run exits as `run` does, keeps its report, and tells the job's four places."""
    start("pull_request", **pull_request())
    calls: list[Sequence[str]] = []
    monkeypatch.setattr(ci, "perform", measuring(red(), 1, calls))
    assert entry(["ci", "measure", "--suite", "endpoints"]) == 1
    path = tmp_path / "runner/perf-gate/report.json"
    assert calls == [["run", "--suite", "endpoints", "--json", str(path)]]
    assert outputs(tmp_path)["verdict"] == "blocked"
    assert outputs(tmp_path)["report-path"] == str(path)
    assert json.loads(path.read_text())["verdict"]["state"] == "blocked"
    assert "SELECT artists ran 200 times" in (tmp_path / "summary").read_text()
    lines = capsys.readouterr().out.splitlines()
    mark = lines[0].removeprefix("::stop-commands::")
    assert lines[1:3] == ["::error::from a benchmark", f"::{mark}::"]
    assert lines[3].startswith("::error title=perf-gate")


def test_summary_repeats_what_was_measured(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit of the event is what a pull request's job measures: its commands fetch it."""
    start("pull_request", **pull_request())
    sha = os.environ["GITHUB_SHA"]
    made = red()
    head = dataclasses.replace(made.sides.head, ref=sha)
    made = dataclasses.replace(made, sides=dataclasses.replace(made.sides, head=head))
    monkeypatch.setattr(ci, "perform", measuring(made, 1, []))
    entry(["ci", "measure"])
    assert f"git fetch origin {sha} && git checkout --detach {sha}" in (tmp_path / "summary").read_text()


def test_measure_without_a_verdict_leaves_no_report(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An environment failure exits 3, says so in the summary, and an older report is gone."""
    start("pull_request", **pull_request())
    stale = tmp_path / "runner/perf-gate/report.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")

    def fails(command: Sequence[str]) -> int:
        raise EnvironmentFailure("postgres did not start", where="postgres", tail=("::error::log",))

    monkeypatch.setattr(ci, "perform", fails)
    assert entry(["ci", "measure"]) == 3
    assert not stale.exists()
    assert outputs(tmp_path)["verdict"] == "error"
    assert outputs(tmp_path)["report-path"] == ""
    assert "postgres did not start" in (tmp_path / "summary").read_text()
    assert "::error::log" not in (tmp_path / "summary").read_text()
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]) == 1


@pytest.mark.parametrize("flags", [["--json", "{}/here.json"], ["--json={}/here.json"]])
def test_measure_writes_where_it_is_told(start: Start, tmp_path: Path, flags: list[str]) -> None:
    """--json decides where the report goes, in both spellings; so does its environment variable."""
    told = [flag.format(tmp_path) for flag in flags]
    assert ci.report_path(told, {}) == tmp_path / "here.json"
    assert ci.report_path([], {"PERF_GATE_JSON": "x.json"}) == Path("x.json")


def test_measure_puts_the_projects_python_first(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """python-path decides which python3 the configuration means; a relative one is refused."""
    start("push")
    monkeypatch.setenv("PATH", "/usr/bin")
    ci.put_first("/opt/python/bin/python3.12")
    assert os.environ["PATH"] == "/opt/python/bin:/usr/bin"
    assert entry(["ci", "measure", "--python-path", "python3"]) == 2


def test_summary_of_a_large_report_fits(start: Start, tmp_path: Path) -> None:
    """However long the report, the job summary stays below what GitHub keeps."""
    start("push")
    ci.job().summarize("row\n" * MOST_BYTES)
    assert (tmp_path / "summary").stat().st_size <= MOST_BYTES


@pytest.mark.parametrize(
    ("result", "made", "code", "verdict"),
    [
        ("success", green(), 0, "pass"),
        ("failure", red(), 1, "blocked"),
        ("failure", green(), 3, "error"),
        ("failure", None, 3, "error"),
        ("cancelled", None, 3, "error"),
        ("skipped", None, 3, "error"),
    ],
)
def test_verdict_reads_this_runs_report(
    start: Start,
    github: FakeGitHub,
    tmp_path: Path,
    result: str,
    made: Report | None,
    code: int,
    verdict: str,
) -> None:
    """The required check answers by the measuring job's result and the report it left."""
    start("pull_request", **pull_request())
    github.add_run(50, 5, sha=SHA, conclusion=None, status="in_progress")
    if made:
        github.add_artifact(50, as_artifact(made), f"{ARTIFACT}-7")
    assert entry(["ci", "verdict", "--measure-result", result]) == code
    assert outputs(tmp_path)["verdict"] == verdict
    assert github.writes == []


def test_verdict_of_a_skipped_measurement(
    start: Start, github: FakeGitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that did not measure repeats the answer of the run that did."""
    start("pull_request", **pull_request())
    fork = {"id": 77, "owner": {"login": "stranger"}}
    github.add_run(40, 4, sha=SHA, conclusion="failure", head_repository=fork)
    github.add_artifact(40, as_artifact(red()))
    assert entry(["ci", "verdict", "--measure-result", "skipped"]) == 1
    assert "run 4 measured this commit" in capsys.readouterr().err


def test_verdict_of_a_file_at_hand(start: Start, tmp_path: Path) -> None:
    """A report given as a file needs no artifact and no token; a missing file is no pass."""
    start("pull_request", **pull_request())
    os.environ.pop("PERF_GATE_GITHUB_TOKEN")
    path = tmp_path / "r.json"
    assert entry(["ci", "verdict", "--measure-result", "success", "--report", str(path)]) == 3
    path.write_text(report_to_json(green()))
    assert entry(["ci", "verdict", "--measure-result", "success", "--report", str(path)]) == 0


@pytest.mark.parametrize("arguments", [[], ["--measure-result", "green"]])
def test_verdict_of_an_unknown_result_is_a_usage_error(start: Start, arguments: list[str]) -> None:
    """Without a result that GitHub can have stated there is no answer."""
    start("pull_request", **pull_request())
    assert entry(["ci", "verdict", *arguments]) == 2


def test_report_comments_on_the_forks_pull_request(start: Start, github: FakeGitHub, tmp_path: Path) -> None:
    """The trusted stage turns a finished run's artifact into the comment."""
    start("workflow_run", **finished_run())
    on_github(github)
    github.add_artifact(900, as_artifact(red()), "perf-gate-report-7")
    assert entry(["ci", "report"]) == 0
    assert "SELECT artists ran 200 times" in github.body_of(7)[0]
    assert outputs(tmp_path)["comment-url"] == github.comments[7][0]["html_url"]


def test_report_of_a_pass_can_go_without_a_comment(
    start: Start, github: FakeGitHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `comment: on-regression` a pull request is left in peace before something is not well."""
    start("workflow_run", **finished_run())
    on_github(github)
    github.add_artifact(900, as_artifact(green()))
    started = json.loads((tmp_path / "event.json").read_text())
    started["workflow_run"]["conclusion"] = "success"
    (tmp_path / "event.json").write_text(json.dumps(started))
    assert entry(["ci", "report", "--comment", "on-regression"]) == 0
    assert "no comment: nothing got worse" in capsys.readouterr().err
    assert (github.writes, outputs(tmp_path)) == ([], {"comment-url": ""})


def test_report_with_a_read_only_token_is_no_failure(
    start: Start, github: FakeGitHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the right to comment the report is in the job summary, one line says why, and exit is 0."""
    start("workflow_run", **finished_run())
    github.tokens[SECRET] = rights("perf-gate.yml", "perf-gate", fork=True)
    on_github(github)
    github.add_artifact(900, as_artifact(red()))
    assert entry(["ci", "report"]) == 0
    assert "read-only" in capsys.readouterr().err
    assert "SELECT artists ran 200 times" in (tmp_path / "summary").read_text()


def test_report_needs_a_finished_run(start: Start) -> None:
    """Called by another event, the stage that has a token to write does nothing."""
    start("pull_request", **pull_request())
    assert entry(["ci", "report"]) == 2


def test_outside_of_github_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of CI say that they need a job instead of guessing."""
    monkeypatch.delenv("GITHUB_EVENT_NAME", raising=False)
    for command in (["measure"], ["verdict", "--measure-result", "success"], ["report"], ["update-baseline"]):
        assert entry(["ci", *command]) == 2


@pytest.mark.parametrize("event", ["pull_request", "workflow_run", "merge_group"])
def test_update_baseline_refuses_other_events(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    """Numbers of anything but the default branch are not measured, let alone stored."""
    start(event)
    calls: list[Sequence[str]] = []
    monkeypatch.setattr(ci, "perform", lambda command: calls.append(command) or 0)
    assert entry(["ci", "update-baseline"]) == 2
    assert calls == []
    assert not (tmp_path / "output").exists()  # no key either: GitHub keeps nothing of such a run


def test_cache_lies_below_the_jobs_own_directory(start: Start, tmp_path: Path) -> None:
    """Data and dependencies lie where the runner clears up, under a prefix of this configuration's own."""
    start("pull_request", **pull_request())
    assert entry(["ci", "cache"]) == 0
    told = outputs(tmp_path)
    assert told["path"] == str(tmp_path / "runner/perf-gate-cache")
    assert told["prefix"].startswith("perf-gate-1-Linux-")
    (tmp_path / "output").unlink()
    assert entry(["ci", "cache", "--config", "other/perf-gate.toml"]) == 0
    assert outputs(tmp_path)["prefix"] not in ("", told["prefix"])


def test_cache_of_ones_own_is_left_where_it_is(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PERF_GATE_CACHE names the directory; with caching off there is no prefix, so nothing is restored."""
    start("push")
    monkeypatch.setenv("PERF_GATE_CACHE", str(tmp_path / "own"))
    assert entry(["ci", "cache", "--caching", "off"]) == 0
    assert outputs(tmp_path) == {"path": str(tmp_path / "own"), "prefix": ""}


def test_update_baseline_commits_what_changed(
    start: Start,
    github: FakeGitHub,
    hub: GitServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On the default branch the new values are committed and pushed, and the token was not inherited."""
    start("push")
    github.tokens[SECRET] = rights("perf-gate-baseline.yml", "update")
    work = hub.clone(hub.root / "work")
    git(work, "commit", "-q", "--allow-empty", "-m", "first")
    git(work, "push", "-q", "origin", "HEAD:main")
    monkeypatch.chdir(work)
    monkeypatch.setenv("GITHUB_SERVER_URL", hub.url)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def updates(command: Sequence[str]) -> int:
        assert SECRET not in json.dumps(dict(os.environ))
        assert list(command) == ["baseline", "update", "--config", "perf-gate.toml"]
        (work / "baselines").mkdir()
        (work / "baselines/endpoints.json").write_text("{}\n")
        (tmp_path / "cache/datasets" / ("0" * 32)).mkdir(parents=True)
        return 0

    monkeypatch.setattr(ci, "perform", updates)
    monkeypatch.setenv("PERF_GATE_CACHE", str(tmp_path / "cache"))
    assert entry(["ci", "update-baseline"]) == 0
    assert outputs(tmp_path)["cache-key"].startswith("perf-gate-1-")
    assert "committed to main: baselines/endpoints.json" in capsys.readouterr().err
    assert hub.git("ls-tree", "-r", "--name-only", "main") == "baselines/endpoints.json"


def test_ones_own_cache_is_not_cleared(
    start: Start, hub: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With caching off the directory is somebody's own: all of it stays, and no key is given."""
    start("push")
    work = hub.clone(hub.root / "work")
    git(work, "commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.chdir(work)
    old = tmp_path / "cache/datasets" / ("0" * 32)
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    monkeypatch.setenv("PERF_GATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ci, "perform", lambda command: 0)
    assert entry(["ci", "update-baseline", "--caching", "off"]) == 0
    assert old.exists()
    assert not (tmp_path / "output").exists()
    assert entry(["ci", "update-baseline"]) == 0
    assert not old.exists()
    assert outputs(tmp_path) == {"cache-key": ""}  # and nothing is left that could be kept


def test_own_commit_takes_no_times(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An App's token starts the workflow for our commit too: its times would make a commit for ever."""
    start("push")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    message = "Update performance baselines\n\nMeasured-at: " + "a" * 40
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", message]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    monkeypatch.chdir(tmp_path)
    calls: list[Sequence[str]] = []
    monkeypatch.setattr(ci, "perform", lambda command: calls.append(command) or 3)
    assert entry(["ci", "update-baseline"]) == 3
    assert list(calls[0][-2:]) == ["--times", "off"]


def test_planted_secrets_appear_nowhere(
    start: Start,
    github: FakeGitHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Token, database URL and a planted variable are in no comment, summary, output, artifact or log."""
    planted = ["planted-password", "planted-variable"]
    monkeypatch.setenv("DATABASE_URL", f"postgresql://user:{planted[0]}@db/app")
    start("pull_request", **pull_request())
    monkeypatch.setenv("MY_SECRET", planted[1])
    monkeypatch.setattr(ci, "perform", measuring(red(), 1, []))
    entry(["ci", "measure"])
    github.add_artifact(50, as_artifact(red()))
    entry(["ci", "verdict", "--measure-result", "failure"])
    start("workflow_run", **finished_run())
    on_github(github)
    github.add_artifact(900, as_artifact(red()))
    entry(["ci", "report"])
    github.tokens.clear()
    assert entry(["ci", "report"]) == 3
    out, err = capfd.readouterr()
    left = [path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.name != "event.json"]
    said = "\n".join([out, err, *left, *github.body_of(7)])
    assert github.body_of(7)
    assert [secret for secret in [SECRET, *planted] if secret in said] == []
