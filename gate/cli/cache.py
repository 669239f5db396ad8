"""`perf-gate cache`: what is kept between runs, how large it is, and what of it may go."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gate import dataset
from gate.cli.options import cache_directory, option
from gate.config import octets
from gate.dataset.cache import LIMIT, occupied
from gate.errors import ConfigError
from gate.services.programs import copies, running_from
from gate.target.environment import dependencies

_DATA = "datasets"
# Directories of the cache beside the data sets, and what each is for.
_OTHERS = {
    "environments": "dependencies of applications, one for each set of lock files",
    "spares": "copies of these that runs have given back",
    "scratch": "worktrees and environments of runs; `perf-gate services clean` removes those of killed ones",
    "state": "records and locks of running services",
}
_SHOWN = 12  # digits of a key; more are needed by nobody


class Size(click.ParamType[int]):
    """A size on the command line, such as 2GB or 500MB, as bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            found = octets(float(value) if str(value).replace(".", "", 1).isdigit() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return round(float(found))


@click.group("cache")
def group() -> None:
    """Seeded data sets and installed dependencies that are kept between runs."""


@group.command("list")
def list_() -> None:
    """Say what is kept, how large it is and when it was used.

    The directory is PERF_GATE_CACHE, or perf-gate in the user's cache; in CI it is the one path to cache.
    """
    home = cache_directory(os.environ)
    click.echo("\n".join(_listed(home)))


@group.command()
@option(
    "--max-size",
    type=Size(),
    default=str(LIMIT),
    show_default="5GB",
    help="Remove the data sets unused for longest until the others take no more.",
)
@click.option("--key", "keys", multiple=True, help="Remove this data set only; the first digits will do.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Remove all data sets, dependencies, spare copies and copies of server programs.",
)
def clean(max_size: int, keys: tuple[str, ...], everything: bool) -> None:
    """Remove data sets that are too many; what runs use at this moment stays.

    Whatever goes is made again by the next run that needs it. What killed runs left behind is removed by
    `perf-gate services clean`.
    """
    home = cache_directory(os.environ)
    cache = dataset.Cache(home / _DATA)
    before = {saved.key: saved for saved in cache.saved()}
    if keys:
        for key in _named(keys, before):
            if not cache.remove(key):
                click.echo(f"data set {key[:_SHOWN]} is in use and stays")
    else:
        cache.prune(limit=0 if everything else max_size)
    left = {saved.key for saved in cache.saved()}
    gone = [saved for key, saved in before.items() if key not in left]
    for saved in gone:
        click.echo(f"removed data set {saved.key[:_SHOWN]}, {_amount(saved.size)}")
    for path in cache.doomed():
        shutil.rmtree(path, ignore_errors=True)
    freed = sum(saved.size for saved in gone)
    if everything:
        freed += _without_environments(home) + _without_programs()
    click.echo(f"{_amount(freed)} freed" if freed else "nothing to remove")


def _listed(home: Path) -> Iterator[str]:
    cache = dataset.Cache(home / _DATA)
    found = cache.saved()
    known = {_DATA, *_OTHERS}
    yield f"{home}: {_amount(occupied(home))}"
    total = sum(saved.size for saved in found)
    count = f"{len(found)} data set" + ("" if len(found) == 1 else "s")
    yield f"{_DATA:<13}{_amount(total):>9}  {count}; the oldest go above {_amount(LIMIT)}"
    for saved in found:
        busy = ", in use" if saved.busy else ""
        yield f"  {saved.key[:_SHOWN]}{_amount(saved.size):>8}  used {_time(saved.used)}{busy}"
    doomed = cache.doomed()
    if doomed:
        yield f"  half removed{_amount(sum(map(occupied, doomed))):>8}"
    for name, purpose in _OTHERS.items():
        if (home / name).is_dir():
            yield f"{name:<13}{_amount(occupied(home / name)):>9}  {purpose}"
    for place in dict.fromkeys(copy.parent for copy in copies()):
        text = f"copies of server programs, where their user can run them: {place}"
        yield f"{'programs':<13}{_amount(occupied(place)):>9}  {text}"
    strange = sorted(path.name for path in home.iterdir() if path.name not in known)
    if strange:
        yield f"{'not ours':<13}{'':>9}  {', '.join(strange)}"


def _named(prefixes: tuple[str, ...], known: dict[str, Any]) -> list[str]:
    """The keys that begin so. Raises ConfigError where one is none, or several."""
    found = []
    for prefix in prefixes:
        matching = [key for key in known if prefix and key.startswith(prefix)]
        if len(matching) != 1:
            said = "no data set" if not matching else f"{len(matching)} data sets"
            raise ConfigError(f"{said} of the cache begins with {prefix!r}", hint="see perf-gate cache list")
        found += matching
    return found


def _without_environments(home: Path) -> int:
    """Remove dependencies that no run installs now, and spare copies; gives the bytes freed."""
    places = (home / "environments", home / "spares")
    before = sum(map(occupied, places))
    if places[0].is_dir():
        dataclasses.replace(dependencies(home), kept=0).prune()
    for spare in places[1].iterdir() if places[1].is_dir() else ():
        # Runs take a spare by renaming it: whoever is quicker has it.
        doomed = places[1].with_name(f".removed-{spare.name}-{os.getpid()}")
        with contextlib.suppress(OSError):
            spare.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
    freed = max(before - sum(map(occupied, places)), 0)
    if freed:
        click.echo(f"removed dependencies and spare copies, {_amount(freed)}")
    return freed


def _without_programs() -> int:
    """Remove copies of server programs that nothing runs now; gives the bytes freed."""
    freed = 0
    for copy in copies():
        if running_from(copy):
            click.echo(f"{copy} is in use and stays")
            continue
        size = occupied(copy)
        shutil.rmtree(copy, ignore_errors=True)
        freed += size - occupied(copy) if copy.exists() else size
    if freed:
        click.echo(f"removed copies of server programs, {_amount(freed)}")
    return freed


def _amount(size: float) -> str:
    """Bytes for a person: "273 MB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}" if size < 10 * factor else f"{size / factor:.0f} {unit}"
    return f"{size:.0f} B"


def _time(since: float) -> str:
    return datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M UTC")
