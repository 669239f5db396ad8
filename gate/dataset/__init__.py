"""The data set: specification -> rows -> COPY -> sealed template -> clones.

Reflected from the migrated database, so that any framework's schema will do; the same bytes on every
machine; loaded at the speed of COPY; built once and kept.
"""

from __future__ import annotations

from gate.dataset.cache import Cache
from gate.dataset.fitting import fitting
from gate.dataset.load import build, digest_of, fill
from gate.dataset.lookups import anchors, sql_values
from gate.dataset.plan import DataPlan, bookkeeping, describe
from gate.dataset.templates import Template, clone, cloned, create, drop, find, templates

__all__ = [
    "Cache",
    "DataPlan",
    "Template",
    "anchors",
    "bookkeeping",
    "build",
    "clone",
    "cloned",
    "create",
    "describe",
    "digest_of",
    "drop",
    "fill",
    "find",
    "fitting",
    "sql_values",
    "templates",
]
