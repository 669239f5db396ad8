"""Many small steps: times are kept by kind of machine, and how far they have led is told, never judged."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import build
import pytest
from build import LIST
from fake_api import FakeGitHub
from git_server import git
from made import CASE, CONFIG, as_artifact, client, desk, finished, measured, on_github, stored
from shop import Shop

from gate import baseline
from gate.baseline import Kept, KeptTime, kept_of, runner_of, times_from_text, times_path, times_to_text
from gate.cli import drift, entry
from gate.cli.baselines import write_times
from gate.cli.sources import keep
from gate.config import TIMING_RULES, Config
from gate.errors import BaselineError, ConfigError
from gate.github.merge import merged
from gate.github.stage import comment_on
from gate.judge import Context, judge
from gate.model import (
    LATENCY,
    Case,
    Environment,
    Level,
    Outcome,
    Pair,
    Point,
    Report,
    Sample,
    State,
    TimedCase,
)
from gate.schema import report_to_json
from gate.target.repository import Repository
from gate.toml import read_config

MACHINE = Environment(
    os="Linux (ubuntu 24.04)", arch="x86_64", cpu="AMD EPYC 7763", cores=4, provider="docker", redis="7.4.1"
)
RULES = read_config(CONFIG.replace('"playlist"', '"list"'), name="perf-gate.toml")
RUNNER = runner_of(MACHINE, build.KEY)
PATH = times_path("baselines", RUNNER, "endpoints")
FIRST = 0.012  # seconds of a request before the first step


def commit(number: int) -> str:
    return f"{number:040x}"


def kept(
    number: int, seconds: float, *, case: Case = LIST, definition: str = "d", dataset: str = "d1"
) -> Kept:
    times = (KeptTime(case=case, definition=definition, values=(seconds * 0.999, seconds * 1.001)),)
    return Kept(commit=commit(number), dataset=dataset, times=times)


def slower(first: int, seconds: float, **more: object) -> list[Kept]:
    """Three runs that agree."""
    return [kept(first + number, seconds, **more) for number in range(3)]  # type: ignore[arg-type]


def files(*runs: Kept, counts: float = 3) -> dict[str, str]:
    side = build.side("base", {LIST: {"errors": [0, 0], "sql.calls": [counts] * 2}})
    return {
        "baselines/endpoints.json": baseline.to_text(side, "endpoints"),
        PATH: times_to_text(runs, "endpoints", RUNNER, keep=30),
    }


def reading(held: dict[str, str]) -> drift.Read:
    return held.get


def report(number: int, before: float, after: float, *, calls: float = 3, seed: int = 0) -> Report:
    """A pull request measured beside its base: 8 pairs of the screen, 20 of the confirm, a spread of 1 %."""
    rng = random.Random(seed)
    noise = [rng.gauss(0, 0.01) for _ in range(28)]
    seconds = {
        "base": [(before, before * 1.0001) for _ in noise],
        "head": [tuple(after * math.exp(each) * visit for visit in (1, 1.0001)) for each in noise],
    }
    counts = {LIST: {"errors": [0, 0], "sql.calls": [3.0, 3.0]}}
    head = build.side("head", {LIST: {"errors": [0, 0], "sql.calls": [calls] * 2}})
    run = build.run(head, build.side("base", counts), known=(LIST,))
    timed = tuple(
        Sample(
            case=LIST,
            metric=LATENCY,
            side=side,  # type: ignore[arg-type]
            points=tuple(
                Point(pair, visit, 1, value)
                for pair, visits in enumerate(values, 1)
                for visit, value in enumerate(visits, 1)
            ),
        )
        for side, values in seconds.items()
    )
    pairs = tuple(
        Pair(number=n, stage="screen" if n <= 8 else "confirm", cases=(LIST,), seconds=1.0)
        for n in range(1, len(noise) + 1)
    )
    rule = TIMING_RULES["endpoints"]
    run = dataclasses.replace(
        run,
        environment=MACHINE,
        plan=dataclasses.replace(run.plan, timed=(TimedCase(case=LIST, rule=rule),)),
        sides=tuple(
            dataclasses.replace(side, ref=commit(number) if side.name == "head" else commit(number - 1))
            for side in run.sides
        ),
        samples=run.samples + timed,
        pairs=pairs,
    )
    return judge(run, Context(config=RULES, ref=commit(number - 1)))


def told(made: Report, held: dict[str, str], config: Config = RULES, **anchors: dict[str, str]) -> list[str]:
    """The sentences of a report's drift. anchors: files by ref; those of every other ref are the same."""
    found = drift.drifted(
        made, config, read=reading(held), at=lambda ref: reading(anchors.get(ref.replace(".", "_"), held))
    )
    return [each.text for each in drift.findings(found, config)]


def ruled(**drift_rules: object) -> Config:
    rules = RULES.policy.drift.model_copy(update=drift_rules)
    return RULES.model_copy(update={"policy": RULES.policy.model_copy(update={"drift": rules})})


def test_ten_steps_of_four_percent_pass_one_by_one_and_are_told_together() -> None:
    """T1: each pull request is within its 5 %, what they have come to since the first kept run is +48 %."""
    runs = [kept(0, FIRST)]
    seconds = FIRST
    for number in range(1, 11):
        made = report(number, seconds, seconds * 1.04, seed=number)
        (row,) = (row for row in made.comparisons if row.metric == "latency")
        assert (made.verdict.state, row.blocking) == (State.PASS, False)
        assert row.outcome is Outcome.EQUIVALENT
        last = told(made, files(*runs))
        seconds *= 1.04
        runs.append(kept(number, seconds))
    merged_now = dataclasses.replace(made, comparisons=())
    (text,) = told(merged_now, files(*runs))
    assert text == f"GET /list: latency +48.0 % (12 ms -> 17.7 ms) since {commit(0)[:10]}"
    (text,) = last  # in the tenth pull request, before it is merged: nine kept steps and its own
    assert text.startswith("GET /list: latency +4")
    assert 44 < float(text.split("+")[1].split()[0]) < 52


def test_small_drift_is_not_told() -> None:
    """Below `policy.drift.above`, 20 % by default, a report says nothing of it."""
    made = report(2, FIRST, FIRST)
    assert told(made, files(kept(0, FIRST), *slower(1, FIRST * 1.1))) == []


def test_drift_is_a_note_or_a_warning_and_never_blocks() -> None:
    """No level of it blocks, and the configuration refuses one that would."""
    made, held = report(9, FIRST, FIRST), files(kept(0, FIRST), *slower(1, FIRST * 2))
    for level in (Level.NOTE, Level.WARN):
        config = ruled(level=level.value)
        found = drift.findings(
            drift.drifted(made, config, read=reading(held), at=lambda ref: held.get), config
        )
        assert [each.level for each in found] == [level]
    with pytest.raises(ConfigError) as caught:
        read_config(CONFIG + '[policy.drift]\nlevel = "block"\n', name="f")
    assert "policy.drift.level" in caught.value.problems[0]


def test_pinned_anchor_is_what_its_tag_holds() -> None:
    """Counts and times are those in the files of the tag, though the branch keeps older runs."""
    now = files(kept(0, FIRST / 10), *slower(3, FIRST * 1.5))
    release = files(kept(1, FIRST / 5), kept(2, FIRST), counts=2)
    made = report(5, FIRST, FIRST, calls=4)
    (text,) = told(made, now, ruled(anchor="v1.0"), v1_0=release)
    assert text == "GET /list: sql.calls 2 -> 4, latency +50.0 % (12 ms -> 18 ms) since v1.0"


def test_pinned_commit_is_found_among_the_kept_runs() -> None:
    """A commit's own times are stored by a later one: they are taken from the branch's file."""
    now = files(kept(0, FIRST / 10), kept(2, FIRST), *slower(3, FIRST * 1.5))
    (text,) = told(
        report(5, FIRST, FIRST), now, ruled(anchor=commit(2)), **{commit(2): files(kept(0, FIRST / 10))}
    )
    assert "+50.0 %" in text


@pytest.mark.parametrize(
    "change",
    [
        {"definition": "another request"},
        {"dataset": "other rows"},
        {"case": Case(suite="endpoints", name="x")},
    ],
    ids=["definition", "data", "case"],
)
def test_times_of_something_else_are_not_compared(change: dict[str, object]) -> None:
    """Another request, other data or another case says nothing of this one."""
    made = report(9, FIRST, FIRST)
    assert told(made, files(kept(0, FIRST), *slower(1, FIRST * 2)))
    assert told(made, files(kept(0, FIRST, **change), *slower(1, FIRST * 2))) == []  # type: ignore[arg-type]
    assert told(made, files(kept(0, FIRST), *slower(1, FIRST * 2, **change))) == []


def test_one_slow_run_is_not_told() -> None:
    """What else a machine did may be what was slow: three runs in a row have to say so."""
    made = report(9, FIRST, FIRST)
    for seconds in ((1, 1, 2), (2, 1, 2), (2, 2, 1), (2, 2)):
        runs = [kept(number, FIRST * times) for number, times in enumerate(seconds, 1)]
        assert told(made, files(kept(0, FIRST), *runs)) == []


def test_times_of_another_machine_are_not_compared() -> None:
    """What matches is the whole kind of machine; another model of processor has a file of its own."""
    for change in ({"cpu": "Intel Xeon"}, {"cores": 2}, {"provider": "embedded"}, {"redis": "8.0.0"}):
        other = dataclasses.replace(MACHINE, **change)  # type: ignore[arg-type]
        assert times_path("b", runner_of(other, build.KEY), "endpoints") != times_path(
            "b", RUNNER, "endpoints"
        )
    assert runner_of(dataclasses.replace(MACHINE, redis="valkey 9.1.2"), build.KEY)["redis"] == 9
    same = dataclasses.replace(MACHINE, redis="7.2.0", postgres="18.7", rows=9)
    assert times_path("b", runner_of(same, build.KEY), "endpoints") == times_path("b", RUNNER, "endpoints")


@pytest.mark.parametrize("name", ["../../../etc", "a\nb", "\u202e", "", "x" * 500, "[a](b)"])
def test_a_strangers_machine_is_no_path(name: str) -> None:
    """In the trusted stage these words are the pull request's: they leave the directory in no way."""
    facts = runner_of(dataclasses.replace(MACHINE, os=name, arch=name, cpu=name), build.KEY)
    parts = times_path("baselines", facts, "endpoints").split("/")
    assert (len(parts), parts[:2], parts[3]) == (4, ["baselines", "timing"], "endpoints.json")
    assert len(parts[2]) < 100
    assert set(parts[2]) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_kept_are_the_values_of_each_pair() -> None:
    """The median of each pair's requests, raw, under the case's definition and the data's digest."""
    made = report(1, FIRST, FIRST)
    found = kept_of(drift.run_of(made).cut("head"), "endpoints", lambda case: "median")  # type: ignore[arg-type]
    assert found is not None
    (time,) = found.times
    assert (found.commit, found.dataset, time.case, time.definition) == (commit(1), "d1", LIST, "d")
    assert len(time.values) == 28
    text = times_to_text([found], "endpoints", RUNNER, keep=30)
    assert times_from_text(text, name="f") == (found,)


def test_only_the_last_runs_are_kept(tmp_path: Path) -> None:
    """`policy.drift.keep` of them, oldest first, and one for each commit."""
    config = ruled(keep=3)
    for number in (1, 2, 3, 4, 4):
        (changed,) = write_times(tmp_path, config, report(number, FIRST, FIRST, seed=number)) or (PATH,)
    runs = times_from_text((tmp_path / changed).read_text(), name=changed)
    assert [run.commit for run in runs] == [commit(2), commit(3), commit(4)]


def test_times_of_uncommitted_edits_are_not_kept(tmp_path: Path) -> None:
    """Nobody else has that commit."""
    made = report(1, FIRST, FIRST)
    head = dataclasses.replace(made.sides.head, dirty=True)
    edited = dataclasses.replace(made, sides=dataclasses.replace(made.sides, head=head))
    assert write_times(tmp_path, RULES, edited) == ()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": "perf-gate.times/9", "runs": []}', "[" * 100_000]
    + [
        times_to_text([kept(1, 1.0)], "endpoints", RUNNER, keep=3).replace("0.999", bad)
        for bad in ("-1", "NaN", '"x"')
    ],
)
def test_times_that_cannot_be_read_are_an_error_with_a_way_out(text: str) -> None:
    """Named, with what to do; never a guess."""
    with pytest.raises(BaselineError) as caught:
        times_from_text(text, name="some.json")
    assert caught.value.where == "some.json"
    assert "remove the file" in caught.value.hint


def test_two_updates_keep_the_runs_of_both() -> None:
    """Racers on one file: both runs are there, oldest first, and no more than are kept."""

    def text(*numbers: int, keep: int = 3) -> str:
        return times_to_text([kept(n, 1.0) for n in numbers], "endpoints", RUNNER, keep=keep)

    def commits(*, newer: bool, ours: str, theirs: str) -> list[str]:
        made = merged(text(1, 2), ours, theirs, newer=newer)
        return [run.commit for run in times_from_text(made or "", name="f")]

    both = {"ours": text(1, 2, 3, keep=4), "theirs": text(1, 2, 4, keep=4)}
    assert commits(newer=True, **both) == [commit(n) for n in (1, 2, 4, 3)]
    assert commits(newer=False, **both) == [commit(n) for n in (1, 2, 3, 4)]
    full = {"ours": text(1, 2, 3), "theirs": text(2, 4, 5)}
    assert commits(newer=True, **full) == [commit(n) for n in (4, 5, 3)]
    again = {"ours": text(1, 2, 5), "theirs": text(1, 2, 5, keep=2)}
    assert commits(newer=True, **again) == [commit(n) for n in (1, 2, 5)]


def test_comment_says_how_far_the_branch_has_come(github: FakeGitHub) -> None:
    """The trusted stage reads the anchor's files by GitHub's API, and the verdict stays what it was."""
    rules = CONFIG + '[policy.drift]\nanchor = "v1.0"\n'
    made = measured(1, base=stored(1), config=rules)
    runner = runner_of(made.environment, made.sides.head.data_key)  # type: ignore[arg-type]
    path = times_path("baselines", runner, "endpoints")

    def held(*runs: Kept) -> str:
        return times_to_text(runs, "endpoints", runner, keep=30)

    slow, fast = slower(7, 0.018, case=CASE), kept(1, 0.012, case=CASE)
    now = {"perf-gate.toml": rules, "baselines/endpoints.json": stored(1), path: held(fast, *slow)}
    on_github(github, files=now)
    github.add_commit("v1.0", files={"baselines/endpoints.json": stored(1), path: held(fast)})
    github.add_artifact(900, as_artifact(made))
    with client(github) as opened:
        comment_on(finished(conclusion="success"), opened, desk())
    (body,) = github.body_of(7)
    assert "GET /playlist: latency +50.0 % (12 ms -> 18 ms) since v1.0" in body
    assert "perf-gate: pass" in body


def test_comment_goes_without_a_drift_that_cannot_be_read(github: FakeGitHub) -> None:
    """A damaged file of times costs the drift, not the comment."""
    made = measured(1)
    runner = runner_of(made.environment, made.sides.head.data_key)  # type: ignore[arg-type]
    path = times_path("baselines", runner, "endpoints")
    on_github(github, files={"perf-gate.toml": CONFIG, "baselines/endpoints.json": stored(), path: "{"})
    github.add_artifact(900, as_artifact(made))
    with client(github) as opened:
        comment_on(finished(conclusion="success"), opened, desk())
    assert "perf-gate: pass" in github.body_of(7)[0]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], str]:
    """Commits files in a repository that is the working directory; gives the commit."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)

    def committed(held: dict[str, str]) -> str:
        for path, text in held.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
        done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return committed


def test_drift_is_told_by_a_command(
    repository: Callable[[dict[str, str]], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`baseline drift` reads the last run's report and the anchor's files from git."""
    config = CONFIG.replace('"playlist"', '"list"')
    old = repository({"perf-gate.toml": config, **files(kept(3, FIRST), counts=2)})
    subprocess.run(["git", "-C", str(tmp_path), "tag", "v1.0", old], check=True)
    rules = config + '[policy.drift]\nanchor = "v1.0"\n'
    repository({"perf-gate.toml": rules, **files(kept(3, FIRST), kept(4, FIRST * 1.5))})
    here = Repository.discover(tmp_path, environ={"PATH": "/usr/bin:/bin"})
    keep(here, report(4, FIRST, FIRST))
    assert entry(["baseline", "drift"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("since v1.0: 3 counts and times, ")
    assert "  GET /list: sql.calls 2 -> 3" in out
    assert "  GET /list: latency +50.0 % (12 ms -> 18 ms)" in out


def here(tmp_path: Path) -> Repository:
    return Repository.discover(tmp_path, environ={"PATH": "/usr/bin:/bin"})


def test_report_of_a_run_has_the_drift(repository: Callable[[dict[str, str]], str], tmp_path: Path) -> None:
    """By the times that the working tree keeps; the verdict stays what it was."""
    repository({"perf-gate.toml": CONFIG, **files(kept(0, FIRST), *slower(1, FIRST * 1.5))})
    made = report(3, FIRST, FIRST)
    found = drift.with_drift(made, RULES, here(tmp_path), notify=pytest.fail)
    (finding,) = found.findings
    assert finding.text == f"GET /list: latency +50.0 % (12 ms -> 18 ms) since {commit(0)[:10]}"
    assert found == dataclasses.replace(made, findings=(finding,))


def test_run_goes_without_a_drift_that_cannot_be_told(
    repository: Callable[[dict[str, str]], str], tmp_path: Path
) -> None:
    """A mistyped anchor or a damaged file of times is said, and costs the report nothing else."""
    repository({"perf-gate.toml": CONFIG})
    made, said = report(5, FIRST, FIRST), list[str]()
    assert drift.with_drift(made, ruled(anchor="v9"), here(tmp_path), notify=said.append) == made
    (tmp_path / PATH).parent.mkdir(parents=True)
    for damaged in (b"{", b"\xff"):
        (tmp_path / PATH).write_bytes(damaged)
        assert drift.with_drift(made, RULES, here(tmp_path), notify=said.append) == made
    assert [line.partition(":")[0] for line in said] == ["no drift"] * 3


def test_saved_report_is_judged_with_its_drift(
    repository: Callable[[dict[str, str]], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`judge` says it of a saved report as `run` would; a run that was to compare nothing is told none."""
    config = CONFIG.replace('"playlist"', '"list"')
    base = repository({"perf-gate.toml": config, **files(kept(0, FIRST), *slower(1, FIRST * 1.5))})
    made = report(3, FIRST, FIRST)
    sides = dataclasses.replace(made.sides, base=dataclasses.replace(made.sides.head, name="base", ref=base))
    saved = tmp_path / "saved.json"
    for against, times in (("auto", 1), ("none", 0)):
        plan = dataclasses.replace(made.run.plan, against=against)
        run = dataclasses.replace(made.run, plan=plan)
        saved.write_text(report_to_json(dataclasses.replace(made, sides=sides, run=run)))
        entry(["judge", str(saved)])
        assert capsys.readouterr().out.count("latency +50.0 % (12 ms -> 18 ms) since") == times


@pytest.mark.services
def test_run_in_a_terminal_tells_the_drift(shop: Shop) -> None:
    """`perf-gate run` counts 9 queries where the release has 1, and says so; report.json has it too."""
    assert shop.gate("baseline", "update").returncode == 0
    git(shop.tree, "add", ".")
    git(shop.tree, "commit", "-q", "-m", "Baselines")
    git(shop.tree, "tag", "v1.0")
    shop.serve(queries=9)
    with (shop.tree / "perf-gate.toml").open("a") as config:
        config.write('[policy.drift]\nanchor = "v1.0"\n')
    done = shop.gate("run", "--against", "stored", "--json", str(shop.place / "report.json"))
    assert done.returncode == 1, done.stderr
    told = "GET /things: sql.rows 0 -> 8, sql.blocks 1 -> 9, sql.calls 1 -> 9 since v1.0"
    assert f"note: {told}" in " ".join(done.stdout.split())
    found = json.loads((shop.place / "report.json").read_text())["findings"]
    assert [each["text"] for each in found if each["name"] == "drift"] == [told]


def test_a_branch_without_kept_times_has_no_drift(
    repository: Callable[[dict[str, str]], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is kept and no anchor is named: it says so."""
    repository({"perf-gate.toml": CONFIG})
    keep(Repository.discover(tmp_path, environ={"PATH": "/usr/bin:/bin"}), report(5, FIRST, FIRST))
    assert entry(["baseline", "drift"]) == 0
    assert "nothing to compare with" in capsys.readouterr().out


def test_an_anchor_that_is_not_there_is_an_error(
    repository: Callable[[dict[str, str]], str], tmp_path: Path
) -> None:
    """A mistyped tag is said, by the command that is asked; it fails no run."""
    repository({"perf-gate.toml": CONFIG + '[policy.drift]\nanchor = "v9"\n'})
    keep(Repository.discover(tmp_path, environ={"PATH": "/usr/bin:/bin"}), report(5, FIRST, FIRST))
    assert entry(["baseline", "drift"]) == 2


def test_files_hold_one_value_a_line() -> None:
    """So that a diff shows what was added; and nothing of host, user or time of day."""
    text = times_to_text([kept(1, 0.5)], "endpoints", RUNNER, keep=3)
    assert "    0.4995,\n" in text.replace("     ", "    ").replace("     ", "    ")
    assert set(json.loads(text)) == {"schema", "regenerate", "suite", "runner", "keep", "runs"}
