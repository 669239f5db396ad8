"""Postgres and Redis for one run: started, pinned, watched and removed.

A provider is one file behind `Provider`; what they share stands beside them. Nothing of a run outlives
it: an orderly end, an exception and Ctrl-C by the context manager, SIGKILL by a watchdog, both of them
killed by the next run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from gate.config import Services
from gate.errors import EnvironmentFailure
from gate.services import embedded
from gate.services.running import Notify, Provider, Request, Running

__all__ = ["ProviderName", "Running", "start"]

ProviderName = Literal["auto", "docker", "embedded", "system", "external"]

PROVIDERS: dict[str, Provider] = {embedded.NAME: embedded.provide}
AUTO = (embedded.NAME,)


@contextmanager
def start(
    config: Services, *, provider: ProviderName, state: Path, notify: Notify, needed: int = 0
) -> Iterator[Running]:
    """Services that run until the context ends.

    provider: "auto" takes the first that can supply the configured major version. state: a directory
    for the records by which the next run finds what this one could not remove. needed: bytes that the
    data will take, 0 where unknown. Raises EnvironmentFailure where no provider can.
    """
    request = Request(config=config, state=state, notify=notify, needed=needed)
    for name in AUTO if provider == "auto" else (provider,):
        if name not in PROVIDERS:
            raise EnvironmentFailure(f"unknown provider of services: {name}", hint=", ".join(PROVIDERS))
        with PROVIDERS[name](request) as running:
            yield running
        return
