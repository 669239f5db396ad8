"""Secrets, planted and measured for real: whatever an application prints or answers, none of them gets out.

The job's environment, the application's own, the database's password and the application's log, which prints
them all, against everything that is published: log, artifact, summary, outputs and comment.
"""

from __future__ import annotations

import pytest
from fake_api import NOW, zipped
from made import PR
from shop import SERVER, Shop

pytestmark = pytest.mark.services
TELLS = """
with open({seen!r}, "a") as file:
    file.write(URL + chr(10))
print("I know", dict(os.environ), file=sys.stderr, flush=True)
"""
ANSWERS = """status, text = 500, f"no {URL} by {os.environ['PAYMENT_API_KEY']}: password={URL}\""""


def test_what_an_application_prints_and_answers_stays_where_it_is(shop: Shop) -> None:
    """A log with everything in it, and a failing answer that quotes it, of which the report shows a part."""
    tells = TELLS.format(seen=str(shop.seen))
    shop.offer(SERVER.format(at_start=tells, queries=9, order=ANSWERS))
    assert shop.measured() == 1, shop.said
    report = shop.place / "runner/perf-gate/report.json"
    assert "no postgresql://***@" in report.read_text()  # it was quoted, and its secrets taken out
    shop.github.add_artifact(50, zipped({"report.json": report.read_text()}), f"perf-gate-report-{PR}")
    pull = {"pull_request": shop.github.pulls[0]}
    arguments = ("verdict", "--measure-result", "failure")
    assert shop.job(*arguments, event="pull_request", payload=pull, token="verdict-of-fork") == 1
    run = shop.github.runs[0] | {
        "status": "completed",
        "conclusion": "failure",
        "html_url": "",
        "created_at": NOW,
    }
    shop.github.add_jobs(50, measure="failure")
    assert shop.job("report", event="workflow_run", payload={"workflow_run": run}, token="report") == 0
    (body,) = shop.github.body_of(PR)
    assert "perf-gate: blocked" in body
    assert "SELECT name FROM things" in body
    assert shop.leaks() == []


def test_what_a_dying_application_prints_is_shown_without_its_secrets(shop: Shop) -> None:
    """The job's log shows the last lines of a program that did not start; what is secret in them is not."""
    dies = TELLS.format(seen=str(shop.seen)) + 'sys.exit(f"cannot reach {URL}")\n'
    shop.offer(SERVER.format(at_start=dies, queries=1, order="pass"))
    assert shop.measured() == 3, shop.said
    assert "cannot reach postgresql://***@" in shop.said[0]
    assert shop.leaks() == []
