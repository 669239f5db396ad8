"""What runs left behind that were killed together with their watchdog, as far as services know of it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gate.services import containers, keeper, snapshot, watchdog
from gate.services.place import recorded, unfinished_records
from gate.services.running import Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something nobody alive owns. what: its name for a person, with its place. remove: safe to repeat."""

    what: str
    remove: Callable[[], None]


def leftovers(state: Path, saved: Path) -> Iterator[Leftover]:
    """Leftovers one after the other; what is locked by us stays so until the next is asked for.

    state: where records lie. saved: where data directories are kept between runs. Raises
    EnvironmentFailure where `state` cannot be read.
    """
    for run in recorded(state):
        if not run.alive:
            yield Leftover(
                what=f"services of a run that was killed, in {run.directory}",
                remove=_sweeping(str(run.directory), str(run.record), run.docker),
            )
    for record in keeper.dead(state):
        yield Leftover(what=f"the record of services that were kept: {record}", remove=_unlinking(record))
    for record in unfinished_records(state):
        yield Leftover(what=f"a half-written record: {record}", remove=_unlinking(record))
    yield from _containers()
    for copy in snapshot.unfinished(saved):
        yield Leftover(what=f"a half-written copy of data: {copy}", remove=_removing(copy))


def _containers() -> Iterator[Leftover]:
    """Containers whose record is lost; none where no daemon answers, for then none run."""
    with contextlib.suppress(Unavailable), containers.daemon() as (client, door):
        for container, run in containers.ownerless(client):
            yield Leftover(
                what=f"a container of a run that was killed: {container}",
                remove=_emptying(door, run),
            )


def _sweeping(directory: str, record: str, docker: str) -> Callable[[], None]:
    return lambda: watchdog.sweep(directory, record, docker)


def _emptying(door: str, run: str) -> Callable[[], None]:
    return lambda: watchdog.remove_containers(door, run)


def _unlinking(path: Path) -> Callable[[], None]:
    return lambda: path.unlink(missing_ok=True)


def _removing(path: Path) -> Callable[[], None]:
    return lambda: shutil.rmtree(path, ignore_errors=True)
