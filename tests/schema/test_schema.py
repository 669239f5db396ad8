"""Runs and reports survive JSON, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from example_reports import EXAMPLES, n_plus_one
from hypothesis import given
from hypothesis import strategies as st

import gate
from gate.errors import ConfigError
from gate.model import Report, Run, SideInfo
from gate.schema import (
    file_name,
    json_schema,
    report_from_json,
    report_to_json,
    run_from_json,
    run_to_json,
    schema_text,
)

SHIPPED = Path(gate.__file__).parent / "schemas"


def run() -> Run:
    made = n_plus_one()
    return Run(
        tool=made.tool,
        environment=made.environment,
        plan=made.run.plan,
        sides=(made.sides.head,),
        samples=made.run.samples,
        evidence=made.run.evidence,
        timeline=made.timeline,
        caveats=made.caveats,
    )


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_report_survives_json(name: str) -> None:
    """What is read is what was written, types included."""
    made = EXAMPLES[name]()
    assert report_from_json(report_to_json(made), "report.json") == made


def test_run_survives_json() -> None:
    """A saved run re-enters at compare with every value as it was."""
    assert run_from_json(run_to_json(run()), "run.json") == run()


def test_same_value_gives_the_same_bytes() -> None:
    """Sorted keys, ASCII, one final newline."""
    text = report_to_json(n_plus_one())
    assert text == report_to_json(report_from_json(text, "f"))
    assert text.isascii()
    assert text.endswith("}\n")
    keys = list(json.loads(text))
    assert keys == sorted(keys)


@pytest.mark.parametrize("kind", ["run", "report"])
def test_shipped_schema_is_made_from_the_model(kind: Any) -> None:
    """After a change of the model: python -m tools.schemas."""
    assert (SHIPPED / file_name(kind)).read_text(encoding="utf-8") == schema_text(kind)


@pytest.mark.parametrize("kind", ["run", "report"])
def test_shipped_schema_is_a_schema(kind: Any) -> None:
    """The file is valid under the draft that it names."""
    jsonschema.Draft202012Validator.check_schema(json.loads((SHIPPED / file_name(kind)).read_text()))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_report_is_valid_under_the_shipped_schema(name: str) -> None:
    """What the gate writes is what the schema promises to its readers."""
    jsonschema.validate(json.loads(report_to_json(EXAMPLES[name]())), json_schema("report"))
    jsonschema.validate(json.loads(run_to_json(run())), json_schema("run"))


def changed(change: Callable[[dict[str, Any]], None]) -> str:
    document = json.loads(report_to_json(n_plus_one()))
    change(document)
    return json.dumps(document)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "unknown field": (lambda d: d.update(extra=1), "r.json: extra: unknown field"),
    "nested unknown field": (
        lambda d: d["comparisons"][2]["case"].update(colour="red"),
        "r.json: comparisons[2].case.colour: unknown field",
    ),
    "missing field": (lambda d: d.pop("verdict"), "r.json: verdict: missing"),
    "text for a number": (
        lambda d: d["timeline"][0].update(seconds="2"),
        "r.json: timeline[0].seconds: expected a valid number",
    ),
    "number for text": (lambda d: d.update(tool=3), "r.json: tool: expected a valid string"),
    "truth for a number": (
        lambda d: d["timings"][0].update(n=True),
        "r.json: timings[0].n: expected a valid integer",
    ),
    "not a number": (
        lambda d: d["timeline"][0].update(seconds=float("nan")),
        "r.json: timeline[0].seconds: expected a finite number",
    ),
    "infinity": (
        lambda d: d["comparisons"][0].update(head=float("inf")),
        "r.json: comparisons[0].head: expected a finite number",
    ),
    "unknown state": (
        lambda d: d["verdict"].update(state="fine"),
        "r.json: verdict.state: expected 'pass', 'blocked', 'accepted', 'inconclusive' or 'error'",
    ),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_does_not_fit_is_refused_with_its_place(name: str) -> None:
    """One sentence per problem: file, field, what was expected; exit code 2."""
    change, expected = BROKEN[name]
    with pytest.raises(ConfigError) as raised:
        report_from_json(changed(change), "r.json")
    assert raised.value.problems == (expected,)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("name", sorted(set(BROKEN) - {"not a number", "infinity"}))
def test_schema_refuses_what_the_reader_refuses(name: str) -> None:
    """A report checked by the shipped schema alone is a report we read."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(changed(BROKEN[name][0])), json_schema("report"))


def test_another_version_is_named_with_the_supported_one() -> None:
    """A newer file gives one clear error instead of fifty about its fields."""
    with pytest.raises(ConfigError) as raised:
        report_from_json(changed(lambda d: d.update(schema="perf-gate.report/2", new=1)), "r.json")
    assert raised.value.message == (
        "r.json has schema 'perf-gate.report/2'; this perf-gate reads 'perf-gate.report/1'"
    )
    assert not raised.value.problems


def test_a_run_is_not_a_report() -> None:
    """Two documents of one program are not mixed up."""
    with pytest.raises(ConfigError, match=r"has schema 'perf-gate.run/1'") as raised:
        report_from_json(run_to_json(run()), "run.json")
    assert raised.value.hint == "expected a report"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '{"schema": 1}', "{}]", "\ud800", "[" * 100_000]
)
def test_other_text_is_refused(text: str) -> None:
    """Anything else is one error, whatever it is."""
    with pytest.raises(ConfigError, match=r"^f is not "):
        run_from_json(text, "f")


@given(st.text())
def test_any_text_is_refused_cleanly(text: str) -> None:
    """No text makes the reader fail in another way."""
    with pytest.raises(ConfigError):
        report_from_json(text, "f")


def test_many_problems_are_counted() -> None:
    """A document of another shape does not fill the screen."""
    with pytest.raises(ConfigError) as raised:
        report_from_json(
            json.dumps({"schema": "perf-gate.report/1", **dict.fromkeys("abcdefghijkl", 1)}), "f"
        )
    assert len(raised.value.problems) == 11
    assert raised.value.problems[-1].startswith("f: and ")


def test_a_number_that_is_not_finite_is_never_written() -> None:
    """It would be no JSON, and no number."""
    broken = dataclasses.replace(
        run(), timeline=(dataclasses.replace(run().timeline[0], seconds=float("nan")),)
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        run_to_json(broken)


def test_strings_of_every_script_survive() -> None:
    """Names are text, escaped in the file and whole after it."""
    made: Report = n_plus_one()
    made = dataclasses.replace(
        made, tool="björk 宽 \u202e \x00 |`", sides=dataclasses.replace(made.sides, base=None)
    )
    assert report_from_json(report_to_json(made), "f") == made
    assert isinstance(made.sides.head, SideInfo)
