"""Progress and where the time went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gate.model import Phase

Notify = Callable[[str], None]


class Clock:
    """Says what is being done and keeps how long it took."""

    def __init__(self, notify: Notify) -> None:
        self.notify = notify
        self._spent: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, text: str = "") -> Iterator[None]:
        if text:
            self.notify(text)
        started = time.monotonic()
        try:
            yield
        finally:
            self._spent[name] = self._spent.get(name, 0.0) + time.monotonic() - started

    @property
    def timeline(self) -> tuple[Phase, ...]:
        return tuple(Phase(name=name, seconds=round(spent, 3)) for name, spent in self._spent.items())
