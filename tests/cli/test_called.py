"""What of the counted calls belongs to a request."""

from __future__ import annotations

from gate.cli.called import _by_requests
from gate.explain.called import Caller

VIEW = Caller("/env/lib/web.py", "dispatch", 5, "/app/pages.py", "pages", "page", 10)
ROWS = Caller("/app/pages.py", "page", 9, "/app/rows.py", "rows", "row", 250)
POLLS = Caller("/app/jobs.py", "run", 3, "/app/jobs.py", "jobs", "poll", 40)


def test_calls_are_those_of_one_request() -> None:
    assert [each.calls for each in _by_requests([VIEW, ROWS], 10) if each.name == "row"] == [25.0]


def test_what_runs_beside_the_requests_is_not_theirs() -> None:
    """A thread that polls was called before anything was counted; the slower a side, the more it polls."""
    assert [each.name for each in _by_requests([VIEW, ROWS, POLLS], 10)] == ["row"]
