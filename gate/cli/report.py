"""`perf-gate report` and `perf-gate compare`: saved reports, rendered and compared again."""

from __future__ import annotations

from pathlib import Path

import click

from gate import report as reports
from gate.cli.options import config_option, flags
from gate.cli.sources import configuration
from gate.cli.terminal import color, say, width
from gate.config import Config
from gate.errors import INCONCLUSIVE, NOTHING_COMPARED, ConfigError
from gate.judge import Context, held_against
from gate.model import Report, State
from gate.schema import report_from_json, report_to_json

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="How it is rendered.",
)


@click.command()
@click.argument("file", type=FILE)
@FORMAT
def report(file: Path, form: str) -> int:
    """Render a saved report again."""
    say(render(read(file), form))
    return 0


@click.command()
@click.argument("base", type=FILE)
@click.argument("head", type=FILE)
@FORMAT
@config_option
def compare(base: Path, head: Path, form: str, config: str) -> int:
    """Compare the saved report HEAD with the saved report BASE, without measuring.

    Exits as `run` would. Policy and budgets are those of the configuration here, if there is one.
    """
    file = Path.cwd() / config
    policy = configuration(file, config) if file.exists() else None
    found = held_against(read(head), read(base), Context(config=policy, settings=flags()))
    say(render(found, form))
    return ended(found, policy)


def ended(report: Report, config: Config | None) -> int:
    """The verdict as an exit code; 5 where a comparison was asked for and none was possible."""
    if report.verdict.state is State.INCONCLUSIVE:
        if report.coverage.rows == 0:
            return NOTHING_COMPARED
        return INCONCLUSIVE if config and config.policy.inconclusive == "block" else 0
    return report.verdict.exit_code


def read(file: Path) -> Report:
    """A saved report. Raises ConfigError where it cannot be read."""
    try:
        return report_from_json(file.read_text(encoding="utf-8"), where=str(file))
    except UnicodeDecodeError:
        raise ConfigError("this is not a report: it is not UTF-8 text", where=str(file)) from None


def render(report: Report, form: str) -> str:
    """The report as text for this terminal, as the comment's Markdown, or as JSON."""
    if form == "markdown":
        return reports.markdown(report)
    if form == "json":
        return report_to_json(report)
    return reports.text(report, width=width(), color=color())
