"""The command that a reviewer pastes: it measures what was measured, whoever said how."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from pathlib import Path

import click
import pytest
from example_reports import BASE, HEAD, PLAYLIST, first_adoption, n_plus_one, slower

from gate.cli.ab import ab
from gate.cli.options import flags
from gate.cli.run import run
from gate.model import Case, Finding, Level, Outcome, Report, Setting
from gate.report import markdown, says, text

ROOT = Path(__file__).parents[2]
SIDES = {"against", "a", "b", "env", "postgres", "redis"}
FILES = {"json_file", "markdown"}  # where the report goes changes nothing of it


@pytest.fixture(autouse=True)
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PERF_GATE_")]:
        monkeypatch.delenv(name)


def recorded(*arguments: str) -> tuple[dict[str, object], tuple[Setting, ...]]:
    """What `run` makes of a command line and the environment, and what its report says of them."""
    with run.make_context("run", list(arguments)) as context:
        return {k: v for k, v in context.params.items() if k not in FILES | SIDES}, flags()


def of_run(*arguments: str) -> tuple[dict[str, object], Report]:
    given, settings = recorded(*arguments)
    return given, dataclasses.replace(slower(), config=settings)


def pasted(command: str) -> dict[str, object]:
    """What the command measures where nothing but it says so."""
    words = shlex.split(command)
    assert words[:2] == ["perf-gate", "run"]
    return recorded(*words[2:])[0]


GIVEN = [
    {},
    {"only": "endpoints/playlist*"},
    {"only": "endpoints/v1.0"},
    {"only": "it's; rm -rf /"},
    {"only": "endpoints/" + "x" * 300},
    {"suite": "endpoints"},
    {"suite": "endpoints benchmarks"},
    {"scale": "0.25"},
    {"scale": "2"},
    {"config": "services/shop/perf-gate.toml"},
    {"services": "docker"},
    {"time-budget": "90s"},
    {"time-budget": "0"},
    {"time-budget": "6m", "services": "auto", "only": "*", "config": "perf-gate.toml"},
    {"config": "a b.toml", "scale": "1.5", "suite": "benchmarks", "only": "[a]*", "services": "embedded"},
]


@pytest.mark.parametrize("given", GIVEN, ids=str)
@pytest.mark.parametrize("how", ["flags", "variables"])
def test_what_is_pasted_measures_the_same(
    given: dict[str, str], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options given by flags or, as action.yml does, by variables come back as they were."""
    arguments: list[str] = []
    for name, value in given.items():
        if how == "variables":
            monkeypatch.setenv(f"PERF_GATE_{name.upper().replace('-', '_')}", value)
        else:
            arguments += [
                part
                for each in (value.split() if name == "suite" else [value])
                for part in (f"--{name}", each)
            ]
    measured, made = of_run(*arguments)
    for name in given:
        monkeypatch.delenv(f"PERF_GATE_{name.upper().replace('-', '_')}", raising=False)
    assert pasted(says.reproducing(made)) == measured
    assert pasted(says.measuring_anew(made)) == measured
    assert says.reproducing(made) in text(made)
    assert says.reproducing(made) in markdown(made)


@pytest.mark.parametrize("command", [run, ab], ids=["run", "ab"])
def test_no_option_is_forgotten(command: object) -> None:
    """An option that a command gets later changes what is measured, until somebody says that it does not."""
    known = {"config", "services", "suite", "only", "time_budget", "scale"}
    assert {parameter.name for parameter in command.params} - SIDES - FILES == known  # type: ignore[attr-defined]


def test_what_the_action_sets_to_its_default_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI every option is a variable; only those that somebody chose are worth reading."""
    action = (ROOT / "action.yml").read_text()
    for name, value in re.findall(r"(?m)^  ([\w-]+):\n    description: .*\n    default: (.*)$", action):
        monkeypatch.setenv(f"PERF_GATE_{name.upper().replace('-', '_')}", value.strip('"'))
    _, made = of_run()
    assert made.config  # they were seen
    assert says.reproducing(made) == f"perf-gate run --against {BASE[:10]}"


def test_one_blocked_case_is_measured_alone() -> None:
    """Whatever was asked for: it is that case that is to be looked at, and the text says so."""
    made = n_plus_one()
    made = dataclasses.replace(made, config=(Setting(name="--only", value="endpoints/*", origin="env"),))
    assert says.reproducing(made).endswith(" --only endpoints/playlist")
    assert "this measures the blocked case again:" in markdown(made)


def test_whatever_else_blocks_is_measured_too() -> None:
    """A request that fails, a budget or a finding of another case blocks as well: all is measured again."""
    made = n_plus_one()
    failing = next(row for row in made.comparisons if row.case != PLAYLIST and row.metric == "errors")
    failing = dataclasses.replace(failing, outcome=Outcome.REGRESSED, level=Level.BLOCK, blocking=True)
    over = next(check for check in made.budgets if check.case != PLAYLIST)
    for other in (
        dataclasses.replace(made, comparisons=(*made.comparisons, failing)),
        dataclasses.replace(made, budgets=(dataclasses.replace(over, blocking=True),)),
        dataclasses.replace(made, findings=(Finding(name="x", level=Level.BLOCK, text="x"),)),
    ):
        assert "--only" not in says.reproducing(other)
        assert "this repeats the run:" in markdown(other)


def test_a_commit_that_can_be_fetched_is_fetched() -> None:
    """On GitHub head is a trial merge, which no checkout of the branch is."""
    made = slower()
    full = dataclasses.replace(made.sides.head, ref="91d2e4f1aa" + "0" * 30)
    made = dataclasses.replace(made, sides=dataclasses.replace(made.sides, head=full))
    fetch = f"git fetch origin {full.ref} && git checkout --detach {full.ref}\nperf-gate run --against"
    assert f"This fetches what was measured and repeats the run:\n\n```sh\n{fetch}" in markdown(
        made, commit=full.ref
    )
    for other in ("", "f" * 40, HEAD):
        assert "git fetch" not in markdown(made, commit=other)


def test_edits_are_not_fetched() -> None:
    """A snapshot of a working tree is nowhere but there."""
    made = slower()
    dirty = dataclasses.replace(made.sides.head, ref="a" * 40, dirty=True)
    made = dataclasses.replace(made, sides=dataclasses.replace(made.sides, head=dirty))
    assert "git fetch" not in markdown(made, commit="a" * 40)


def test_accepting_measures_with_the_same_options() -> None:
    """Another scale or configuration would give other values; base is what the branch started from."""
    settings = tuple(
        Setting(name=name, value=value, origin="env")
        for name, value in (("--config", "shop/perf-gate.toml"), ("--scale", "0.5"))
    )
    made = dataclasses.replace(n_plus_one(), config=settings)
    assert (
        "```sh\nperf-gate run --config shop/perf-gate.toml --scale 0.5 --only endpoints/playlist\n"
        "perf-gate accept --config shop/perf-gate.toml endpoints/playlist\n"
    ) in markdown(made)


@pytest.mark.parametrize(
    ("against", "wanted"),
    [("auto", BASE[:10]), ("main", BASE[:10]), ("HEAD~3", BASE[:10]), ("stored", "stored"), ("none", "none")],
)
def test_base_is_the_commit_that_was_found(against: str, wanted: str) -> None:
    """A branch moves on and CI's base is nobody else's; what compares nothing, or stored counts, says so."""
    made = slower()
    plan = dataclasses.replace(made.run.plan, against=against)
    made = dataclasses.replace(made, run=dataclasses.replace(made.run, plan=plan))
    assert says.reproducing(made) == f"perf-gate run --against {wanted}"


def test_a_reference_of_a_report_is_one_argument() -> None:
    """Two values in what should be one would be positional arguments and options of a stranger's making."""
    two = "('main', '--markdown=../../.bashrc')"
    settings = tuple(Setting(name=n, value=v, origin="flag") for n, v in (("--a", two), ("--b", "topic")))
    made = dataclasses.replace(slower(), config=settings)
    assert shlex.split(says.reproducing(made)) == ["perf-gate", "ab", two, "topic"]


@pytest.mark.parametrize("hostile", ["-h", "--markdown=../../.bashrc", "('--help',)", "(('--help', 'x'),)"])
@pytest.mark.parametrize("command", [run, ab], ids=["run", "ab"])
@pytest.mark.parametrize("made", [n_plus_one(), first_adoption()], ids=["blocked", "adoption"])
def test_no_value_of_a_report_is_an_option(made: Report, command: click.Command, hostile: str) -> None:
    """Quotes keep a shell from reading a value, not the program: one that begins with a dash is left out."""
    options = {f"--{(parameter.name or '').replace('_', '-')}" for parameter in command.params}
    settings = [Setting(name=name, value=hostile, origin="flag") for name in sorted(options)]
    settings.append(Setting(name="baselines", value=hostile, origin="file"))
    plan = dataclasses.replace(made.run.plan, against=hostile)
    rows = tuple(
        dataclasses.replace(row, case=Case(suite=hostile, name=row.case.name)) for row in made.comparisons
    )
    made = dataclasses.replace(
        made, config=tuple(settings), comparisons=rows, run=dataclasses.replace(made.run, plan=plan)
    )
    pasted = (*says.accepting(made), *says.adopting(made), says.reproducing(made), says.measuring_anew(made))
    words = [word for line in pasted for word in shlex.split(line)]
    assert {word for word in words if word.startswith("-")} <= options | {"--against", "--all", "--"}


def test_a_directory_that_would_be_an_option_is_not_added() -> None:
    """The rest of the advice stands; of any other directory git is told that it is none."""
    made = n_plus_one()
    for value, wanted in (("--help", ()), ("a b", ("git add -- 'a b' && git commit",))):
        named = (Setting(name="baselines", value=value, origin="file"),)
        assert says.accepting(dataclasses.replace(made, config=named))[1:] == wanted
