"""`perf-gate ab`: two refs, or one ref in two environments, measured side by side for their own sake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gate.cli.options import Duration, config_option, option
from gate.cli.run import carried_out, from_flags
from gate.cli.sources import SUITES, Changes


class Assignment(click.ParamType[tuple[str, str]]):
    """NAME=VALUE."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"expected NAME=VALUE, not {value!r}", param, ctx)
        return name, text


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@click.option("--env", multiple=True, type=Assignment(), help="A variable of B's application.")
@click.option("--postgres", multiple=True, type=Assignment(), help="A setting of B's Postgres.")
@click.option("--redis", multiple=True, type=Assignment(), help="A setting of B's Redis.")
@config_option
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
@option("--time-budget", type=Duration(), default="6m", show_default=True, help="Time for timing.")
@option("--scale", type=click.FloatRange(min=0, min_open=True), help="Multiplies the rows of the data set.")
@option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write report.json here."
)
@option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the comment here.")
def ab(
    a: str,
    b: str | None,
    env: tuple[tuple[str, str], ...],
    postgres: tuple[tuple[str, str], ...],
    redis: tuple[tuple[str, str], ...],
    **given: Any,
) -> int:
    """Compare A with B: two commits, branches or tags; a dot is the working tree.

    B is A where it is left out, with what --env, --postgres and --redis change of it, so that a setting
    can be proved better or worse. Everything is measured in this run; baselines are not looked at. Exits as
    `run` does: 1 where B is worse than A.
    """
    if b is None and not (env or postgres or redis):
        raise click.UsageError("name B, or what is to be different: --env, --postgres or --redis")
    changes = Changes(env=dict(env), postgres=dict(postgres), redis=dict(redis))
    return carried_out(from_flags(against=a, head=b or a, changes=changes, **given))
