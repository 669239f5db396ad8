"""What stands behind a number that changed: pure, from evidence that the probes have gathered."""

from __future__ import annotations

from gate.explain.causes import explained, failure_of, to_look_into
from gate.explain.growth import sizes
from gate.explain.words import brief, holds, longer, number

__all__ = ["brief", "explained", "failure_of", "holds", "longer", "number", "sizes", "to_look_into"]
