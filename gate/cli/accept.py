"""`perf-gate accept`: head's values become the baseline that the pull request proposes."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterable
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
from gate.model import WORSE, Case, Comparison, Kind, Outcome
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
            where=str(repository.root / where.baselines),
            hint="write it whole: perf-gate baseline update",
        )
    # All that the run was asked for: cases that --only or --suite left out stay as they are.
    judged = frozenset(planned.case for planned in seen.run.plan.cases) | frozenset(seen.run.plan.known)
    chosen = judged if every else named_cases(cases, head, stored)
    say_changed(write_baselines(repository.root, where.baselines, baseline.updated(stored, head, chosen)))
    for case in sorted(undecided(seen.comparisons) & chosen):
        again = f"perf-gate run --only {shlex.quote(glob.escape(str(case)))}"
        click.echo(
            f"perf-gate: that run did not decide whether {case} is slower: no time is accepted, and the next "
            f"run may block on it; decide it by `{again}`, then accept again",
            err=True,
        )
    return 0


def undecided(rows: Iterable[Comparison]) -> frozenset[Case]:
    """Cases that got worse in something that was decided, and whose time was not."""
    rows = tuple(rows)
    worse = {row.case for row in rows if row.outcome in WORSE}
    open_ = {row.case for row in rows if row.kind is Kind.TIMING and row.outcome is Outcome.INCONCLUSIVE}
    return frozenset(worse & open_)
