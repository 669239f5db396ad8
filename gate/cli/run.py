"""`perf-gate run`: the main job, as a command and as a function for the commands of CI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gate import report as reports
from gate.cli.options import Duration, cache_directory, config_option, flags, option
from gate.cli.report import ended
from gate.cli.session import Outcome, execute
from gate.cli.sources import SUITES, Options
from gate.cli.terminal import color, progress, say, width
from gate.errors import ConfigError
from gate.github.event import job_event
from gate.schema import report_to_json
from gate.target.base import Event


@click.command()
@config_option
@option(
    "--against",
    default="auto",
    show_default=True,
    help="What base is: auto (the commit this change starts from), a ref, stored (its stored baseline "
    "only) or none.",
)
@option(
    "--services",
    type=click.Choice(["auto", "docker", "embedded", "system", "external"]),
    default="auto",
    show_default=True,
    help="How Postgres and Redis are started.",
)
@option(
    "--suite", multiple=True, type=click.Choice(SUITES), help="Only this suite; may be given several times."
)
@option("--only", default="*", show_default=True, help="Only cases that match this glob, as suite/name.")
@option(
    "--time-budget",
    type=Duration(),
    default="6m",
    show_default=True,
    help="Time for timing base and head side by side, such as 90s or 6m; the pairs that also count are "
    "measured however little it is. 0 leaves timing out.",
)
@option("--scale", type=click.FloatRange(min=0, min_open=True), help="Multiplies the rows of the data set.")
@option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write report.json here."
)
@option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the comment here.")
def run(**given: Any) -> int:
    """Measure head, compare it with base, and give a verdict.

    Head is the working tree as it is, uncommitted edits included. Starts Postgres and Redis, seeds
    them, starts the application, counts its work and times it. Exits by the verdict: 0 pass or
    accepted, 1 blocked; `perf-gate --help` has the others.
    """
    return carried_out(from_flags(**given))


def carried_out(options: Options) -> int:
    """Measures, prints the report, writes what was asked for, and gives the exit code."""
    for file in filter(None, (options.json_file, options.markdown)):
        check_writable(file)
    outcome = execute(options, progress())
    say(reports.text(outcome.report, width=width(), color=color()))
    write(outcome, options)
    return ended(outcome.report, outcome.config)


def from_flags(**given: Any) -> Options:
    """The flags of `run` and this process's environment as a value."""
    environ = dict(os.environ)
    given["suites"] = frozenset(given.pop("suite", ()))
    return Options(
        directory=Path.cwd(),
        environ=environ,
        event=event_of(environ),
        cache=cache_directory(environ),
        runner_class=environ.get("PERF_GATE_RUNNER_CLASS", ""),
        flags=flags(),
        **given,
    )


def event_of(environ: Mapping[str, str]) -> Event | None:
    """What GitHub Actions runs for, as far as it decides the base; None elsewhere."""
    event = job_event(environ)
    if event is None:
        return None
    return Event(
        name=event.name,
        ref=event.ref,
        sha=event.sha,
        base_ref=event.pull_request.base_ref if event.pull_request else "",
        base_sha=event.merge_group.base_sha if event.merge_group else "",
        default_branch=event.default_branch,
    )


def check_writable(file: Path) -> None:
    """Before minutes are spent on what could not be written. Raises ConfigError.

    A new file is removed again: a run without a verdict leaves no empty report.
    """
    new = not file.exists()
    try:
        file.open("a", encoding="utf-8").close()
        if new:
            file.unlink()
    except OSError as error:
        message = f"the report cannot be written: {error.strerror}"
        raise ConfigError(message, where=str(file), hint="name a file in a directory that exists") from error


def write(outcome: Outcome, options: Options) -> None:
    """Files that were asked for, beside the copy for `perf-gate accept`."""
    if options.json_file:
        options.json_file.write_text(report_to_json(outcome.report), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(reports.markdown(outcome.report), encoding="utf-8")
