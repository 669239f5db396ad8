"""The command line: the only reader of argv and environment, and the only exit.

Commands are imported when they are used, so that `perf-gate --help` stays instant.
"""

from __future__ import annotations

import gc
import importlib
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from gate import __version__
from gate.errors import INTERNAL, INTERRUPTED, TERMINATED, ConfigError, GateError

COMMANDS = {
    "run": ("gate.cli.run:run", "Measure head, compare it with base, and give a verdict."),
    "ab": ("gate.cli.ab:ab", "Compare two commits, or one under other settings, side by side."),
    "accept": ("gate.cli.accept:accept", "Make head's values the new baseline, for named cases or all."),
    "baseline": ("gate.cli.baseline:baseline", "Update, show and check the stored baselines."),
    "report": ("gate.cli.report:report", "Render a saved report again, as text, markdown or JSON."),
    "judge": ("gate.cli.judge:judge", "Judge a saved report again under the policy here."),
    "compare": ("gate.cli.report:compare", "Compare two saved reports without measuring."),
    "services": (
        "gate.cli.services:group",
        "Start and stop Postgres and Redis; say and remove what is left over.",
    ),
    "dataset": ("gate.cli.dataset:group", "See the generated data; fill and verify databases with it."),
    "cache": ("gate.cli.cache:group", "Say and remove what is kept between runs."),
    "ci": ("gate.cli.ci:ci", "The steps that the GitHub workflows run."),
}
# Commands that end with a verdict.
_JUDGING = frozenset({"run", "ab", "judge", "compare", "ci measure", "ci verdict"})


class Commands(click.Group):
    """A group whose commands are named in a table and loaded on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        gc.disable()  # what is loaded stays: to look through it again and again is a tenth of the time
        command = getattr(importlib.import_module(module), name)
        gc.freeze()
        gc.enable()
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="perf-gate %(version)s")
def cli() -> None:
    """A performance gate for web applications on Postgres and Redis.

    Exit codes: 0 pass, 1 blocked, 2 usage or configuration, 3 environment, 4 measurement failed,
    5 nothing could be compared, 6 inconclusive (where that blocks), 70 internal error,
    130 interrupted, 143 terminated.
    """


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; unwinds through every context manager as KeyboardInterrupt does."""


@contextmanager
def _signals() -> Iterator[None]:
    """The first signal unwinds; later ones are ignored, so that nothing is left half stopped."""

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        if signum == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated

    previous = {
        each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def main(argv: Sequence[str] | None = None) -> None:
    """The `perf-gate` program: runs one command and exits with its documented code."""
    sys.exit(entry(argv))


def entry(argv: Sequence[str] | None = None) -> int:
    """The program without the exit: every way it can end, as a code."""
    try:
        with _signals():
            result = cli.main(
                args=None if argv is None else list(argv), prog_name="perf-gate", standalone_mode=False
            )
            return result if isinstance(result, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return ConfigError.exit_code
    except GateError as error:
        click.echo(explain(error, _command(sys.argv[1:] if argv is None else argv)), err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("perf-gate: interrupted; everything it started is stopped", err=True)
        return INTERRUPTED
    except Terminated:
        click.echo("perf-gate: terminated; everything it started is stopped", err=True)
        return TERMINATED
    except Exception:  # noqa: BLE001 - the one place where a bug becomes an exit code
        click.echo("perf-gate: no verdict: internal error; please report it with these lines", err=True)
        click.echo(traceback.format_exc(), err=True)
        return INTERNAL


def _command(words: Sequence[str]) -> str:
    """The name of the command, with its group's where it has one; empty where there is none."""
    named = [word for word in words if not word.startswith("-")]
    return " ".join(named[: 2 if named[:1] == ["ci"] else 1])


def explain(error: GateError, command: str) -> str:
    """An error as a stranger needs it: what failed, where, the end of its log, one next step.

    Where the command would have given a verdict, it says that there is none.
    """
    lines = [f"perf-gate: {'no verdict' if command in _JUDGING else 'error'}: {error.message}"]
    if error.where:
        lines.append(f"  at {error.where}")
    if isinstance(error, ConfigError):
        lines += [f"  {problem}" for problem in error.problems]
    lines += [f"  | {line}" for line in error.tail]
    if error.hint:
        lines.append(f"  hint: {error.hint}")
    return "\n".join(lines)
