"""`perf-gate baseline`: update, show and check the stored exact counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gate.cli.baselines import (
    head_of,
    last_report,
    named_cases,
    read_stored,
    say_changed,
    write_baselines,
    write_times,
)
from gate.cli.drift import drift_here, told
from gate.cli.options import config_option, option
from gate.cli.run import from_flags
from gate.cli.session import execute
from gate.cli.sources import configuration, endpoint_cases
from gate.cli.terminal import progress, say
from gate.errors import BaselineError, ConfigError
from gate.explain import number
from gate.model import Kind, PlannedCase, SideRun
from gate.target.repository import Repository


@click.group()
def baseline() -> None:
    """Update, show and check the stored baselines."""


@baseline.command()
@config_option
@option(
    "--services",
    type=click.Choice(["auto", "docker", "embedded", "system", "external"]),
    default="auto",
    show_default=True,
    help="How Postgres and Redis are started.",
)
@option(
    "--times",
    type=click.Choice(["on", "off"]),
    default="off",
    show_default=True,
    help="Take times too, and keep those of the last runs for each kind of machine.",
)
def update(times: str, **given: Any) -> int:
    """Measure the working tree and write its exact counts to the baselines directory.

    Times are kept to show how far many small steps have led; no verdict uses them. They belong to a machine
    that measures every commit, as CI's does.
    """
    options = from_flags(against="none", timed=times == "on", **given)
    outcome = execute(options, progress())
    repository = Repository.discover((options.directory / options.config).parent, environ=options.environ)
    where = configuration(options.directory / options.config, options.config)
    changed = write_baselines(repository.root, where.baselines, head_of(outcome.report))
    if times == "on":
        changed += write_times(repository.root, where, outcome.report)
    say_changed(changed)
    return 0


@baseline.command()
@config_option
@option(
    "--report",
    "named",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A saved report.json; by default the last run's in this repository.",
)
def drift(config: str, named: Path | None) -> int:
    """Say how far counts and times have come from the anchor, in however many steps.

    The anchor is `policy.drift.anchor`, or the oldest run whose times are kept for the last run's kind of
    machine. Measures nothing, and never fails a run.
    """
    file = Path.cwd() / config
    repository = Repository.discover(file.parent, environ=os.environ)
    found = drift_here(last_report(repository, named), configuration(file, config), repository)
    say(told(found))
    return 0


@baseline.command()
@click.argument("cases", nargs=-1)
@config_option
def show(cases: tuple[str, ...], config: str) -> int:
    """Print the stored counts, of all cases or of the CASES named, as `accept` takes them."""
    side, _ = _stored(config)
    meant = named_cases(cases, side) if cases else {planned.case for planned in side.cases}
    chosen = [planned for planned in side.cases if planned.case in meant]
    say("".join(line + "\n" for planned in chosen for line in _lines(side, planned)))
    return 0


def _lines(side: SideRun, planned: PlannedCase) -> Iterator[str]:
    yield f"{planned.case}  {planned.label}"
    for sample in side.samples:
        if sample.case == planned.case and sample.metric.kind is Kind.EXACT:
            values = " ".join(dict.fromkeys(number(value) for value in sample.values))
            yield f"  {sample.metric.name:<18} {values}"
    seen = side.seen(planned.case)
    for statement in seen.statements if seen else ():
        yield f"  {number(statement.calls):>6} x {statement.text}"


@baseline.command()
@config_option
def check(config: str) -> int:
    """Say whether the stored baselines can be read and stand for the configured cases.

    Measures nothing. Exits 2 where a case has no counts, or counts of another definition.
    """
    side, file = _stored(config)
    stored = {planned.case: planned.definition for planned in side.cases}
    problems = [
        f"{planned.case}: "
        + ("no stored counts" if planned.case not in stored else "measured differently now")
        for planned in endpoint_cases(configuration(file, config))
        if stored.get(planned.case) != planned.definition
    ]
    if problems:
        raise BaselineError(
            f"{len(problems)} case(s) have no usable baseline",
            where="; ".join(problems),
            hint="perf-gate baseline update",
        )
    click.echo(f"{len(side.cases)} cases, all usable")
    return 0


def _stored(config: str) -> tuple[SideRun, Path]:
    file = Path.cwd() / config
    repository = Repository.discover(file.parent, environ=os.environ)
    directory = configuration(file, config).baselines
    side = read_stored(repository.root, directory)
    if side is None:
        where = str(repository.root / directory)
        raise ConfigError("there are no baselines", where=where, hint="perf-gate baseline update")
    return side, file
