"""What is said on stderr while the gate works, and what the terminal behind stdout can show."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable

import click


def progress() -> Callable[[str], None]:
    """Says on stderr what is being done, with the seconds since the start."""
    started = time.monotonic()

    def notify(text: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.1f} s] {text}", err=True)

    return notify


def say(text: str) -> None:
    """Write to stdout; a reader that has left, as `head` does, changes no exit code."""
    try:
        click.echo(text, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer must not raise again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def width() -> int:
    """At most 100 columns; the terminal's own where it is narrower."""
    if not sys.stdout.isatty():
        return 100
    return max(60, min(100, shutil.get_terminal_size().columns))


def color() -> bool:
    """Colour for a terminal, unless NO_COLOR says otherwise."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
