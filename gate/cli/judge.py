"""`perf-gate judge`: a saved measurement under the policy, budgets and baselines as they are here."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gate.cli.baselines import read_stored
from gate.cli.drift import with_drift
from gate.cli.options import config_option
from gate.cli.report import FILE, FORMAT, ended, read, render
from gate.cli.sources import configuration, read_baselines
from gate.cli.terminal import say
from gate.judge import Context, run_of
from gate.judge import judge as judged
from gate.target.repository import Repository


@click.command()
@click.argument("file", type=FILE)
@FORMAT
@config_option
def judge(file: Path, form: str, config: str) -> int:
    """Judge the saved report FILE again, without measuring.

    Policy and budgets are those of the configuration here, stored counts those of the commit that
    the report calls base, accepted values those of the baselines here. Exits as `run` would.
    """
    saved = read(file)
    here = Path.cwd() / config
    policy = configuration(here, config)
    repository = Repository.discover(here.parent, environ=os.environ)
    ref = saved.sides.base.ref if saved.sides.base else ""
    stored = read_baselines(repository, ref, policy.baselines) if ref else None
    known = saved.run.plan.known
    edited = read_stored(repository.root, policy.baselines)
    context = Context(
        config=policy,
        settings=saved.config,
        stored=stored,
        edited=edited,
        ref=ref,
        adoption=not known and stored is None,
    )
    report = judged(run_of(saved), context)
    if saved.run.plan.against != "none":
        report = with_drift(report, policy, repository, notify=lambda text: click.echo(text, err=True))
    say(render(report, form))
    return ended(report, policy)
