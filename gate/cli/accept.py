"""`perf-gate accept`: head's values become the baseline that the pull request proposes."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gate import baseline
from gate.cli.baselines import (
    head_of,
    last_report,
    named_cases,
    read_stored,
    say_changed,
    write_baselines,
)
from gate.cli.options import config_option
from gate.cli.sources import configuration
from gate.errors import ConfigError
from gate.target.repository import Repository


@click.command()
@click.argument("cases", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Accept every case of the last run.")
@click.option(
    "--from",
    "report",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A report.json, for instance of CI; the last run here if not given.",
)
@config_option
def accept(cases: tuple[str, ...], every: bool, report: Path | None, config: str) -> int:
    """Make head's values the new baseline, for named CASES or all.

    Takes the values of the last run. Commit the changed files: the edit unblocks a row only if its
    value equals what the next run measures, and the row stays marked in the report.
    """
    if bool(cases) == every:
        raise click.UsageError("name the cases to accept, or --all")
    file = Path.cwd() / config
    repository = Repository.discover(file.parent, environ=os.environ)
    where = configuration(file, config)
    seen = last_report(repository, report)
    head = head_of(seen)
    stored = read_stored(repository.root, where.baselines)
    if seen.run.plan.against != "none" and not every and stored is None:
        raise ConfigError(
            "there is no baseline yet that one case could be accepted into",
            hint="write it whole: perf-gate baseline update",
        )
    # All that the run was asked for: cases that --only or --suite left out stay as they are.
    judged = frozenset(planned.case for planned in seen.run.plan.cases) | frozenset(seen.run.plan.known)
    chosen = judged if every else named_cases(cases, head, stored)
    say_changed(write_baselines(repository.root, where.baselines, baseline.updated(stored, head, chosen)))
    return 0
