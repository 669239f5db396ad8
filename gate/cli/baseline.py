"""`perf-gate baseline`: update, show and check the stored exact counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gate.cli.baselines import head_of, read_stored, say_changed, write_baselines
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
def update(**given: Any) -> int:
    """Measure the working tree and write its exact counts to the baselines directory."""
    options = from_flags(against="none", timed=False, **given)
    outcome = execute(options, progress())
    repository = Repository.discover((options.directory / options.config).parent, environ=options.environ)
    where = configuration(options.directory / options.config, options.config)
    say_changed(write_baselines(repository.root, where.baselines, head_of(outcome.report)))
    return 0


@baseline.command()
@click.argument("cases", nargs=-1)
@config_option
def show(cases: tuple[str, ...], config: str) -> int:
    """Print the stored counts, of all cases or of the CASES named."""
    side, _ = _stored(config)
    chosen = [planned for planned in side.cases if not cases or str(planned.case) in cases]
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
    side = read_stored(repository.root, configuration(file, config).baselines)
    if side is None:
        raise ConfigError("there are no baselines", hint="perf-gate baseline update")
    return side, file
