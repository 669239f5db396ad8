"""The report artifact as an attacker may make it: refused with a sentence, or read as values."""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path

import pytest
from fake_api import FakeGitHub, zipped
from made import ARTIFACT, READ_ONLY, as_artifact, client, green, red

from gate.errors import PublishError
from gate.github import artifact
from gate.github.artifact import claimed, fetch, member_text, parse, shape
from gate.schema import report_to_json

RUN = 900


def got(github: FakeGitHub) -> artifact.Received | None:
    with client(github, READ_ONLY) as opened:
        return fetch(opened, RUN, name=ARTIFACT)


def refused(text: str) -> str:
    with pytest.raises(PublishError) as caught:
        parse(text)
    return caught.value.message


def altered(**fields: object) -> str:
    return json.dumps({**json.loads(report_to_json(red())), **fields})


def test_report_arrives_as_it_was_written(github: FakeGitHub) -> None:
    """A report sent through zip, redirect and schema is equal to the one that was made."""
    github.add_artifact(RUN, as_artifact(red()), "perf-gate-report-7")
    received = got(github)
    assert received is not None
    assert received.report == red()
    assert received.claimed == 7


def test_token_does_not_follow_the_redirect(github: FakeGitHub) -> None:
    """Storage, on another host, sees no Authorization header; the API did."""
    github.add_artifact(RUN, as_artifact(red()))
    got(github)
    (fetched,) = github.storage_log
    assert "authorization" not in fetched.headers
    assert all("authorization" in request.headers for request in github.log)


def test_signed_url_is_in_no_error(github: FakeGitHub) -> None:
    """A failed download names the host and neither the path nor the signature."""
    github.add_artifact(RUN, b"")
    github.storage = "http://127.0.0.1:1"
    with pytest.raises(PublishError) as caught:
        got(github)
    assert "secret-signature" not in caught.value.message + caught.value.where
    assert "127.0.0.1" in caught.value.where


def test_redirect_away_from_https_is_refused(github: FakeGitHub) -> None:
    """A file or ftp location is never opened."""
    github.add_artifact(RUN, as_artifact(red()))
    github.storage = "file:///etc"
    with pytest.raises(PublishError, match="https"):
        got(github)


def test_run_without_an_artifact_has_no_report(github: FakeGitHub) -> None:
    """No artifact, an expired one, or one of another name: no report, and no error."""
    github.add_artifact(RUN, as_artifact(red()), expired=True)
    github.add_artifact(RUN, as_artifact(red()), "perf-gate-report-x")
    github.add_artifact(RUN, as_artifact(red()), "logs")
    assert got(github) is None


def test_the_newest_artifact_counts(github: FakeGitHub) -> None:
    """The artifact of a second attempt is read, not the first's."""
    github.add_artifact(RUN, as_artifact(red()))
    github.add_artifact(RUN, as_artifact(green()))
    received = got(github)
    assert received is not None
    assert received.report == green()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("perf-gate-report", 0),
        ("perf-gate-report-12", 12),
        ("perf-gate-report-", None),
        ("perf-gate-report-12-3", None),
        ("perf-gate-report-9999999999", None),
        ("perf-gate-report-\N{ARABIC-INDIC DIGIT THREE}", None),
        ("x-perf-gate-report", None),
    ],
)
def test_number_in_the_name(name: str, number: int | None) -> None:
    """Only the name, or the name with a number behind it, is a report's artifact."""
    assert claimed(name, ARTIFACT) == number


def test_zip_slip_members_are_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members with paths that climb out, absolute ones and links are ignored beside the report."""
    monkeypatch.chdir(tmp_path)
    text = report_to_json(red())
    data = zipped({"../../evil.sh": "boom", "/etc/evil": "boom", "report.json": text, "link": "/etc/passwd"})
    assert member_text(data) == text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../report.json", "/report.json", "dir/report.json", "REPORT.JSON"])
def test_report_under_another_name_is_refused(name: str) -> None:
    """Only a member named exactly report.json is read."""
    with pytest.raises(PublishError, match="0 members"):
        member_text(zipped({name: "{}"}))


def test_two_reports_in_one_zip_are_refused() -> None:
    """Two members of the name would let two readers see two reports."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("report.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("report.json", "{}")
    with pytest.raises(PublishError, match="2 members"):
        member_text(data.getvalue())


def test_bomb_is_refused_by_its_stated_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that states more than the cap is not unpacked."""
    monkeypatch.setattr(artifact, "MOST_BYTES", 1000)
    with pytest.raises(PublishError, match="states 5000 bytes"):
        member_text(zipped({"report.json": "0" * 5000}))


def test_bomb_that_understates_its_size_is_refused() -> None:
    """A member whose header lies about its size is refused, whatever it unpacks to."""
    honest = zipped({"report.json": "0" * 5000})
    lying = honest.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(PublishError, match="no readable zip"):
        member_text(lying)


@pytest.mark.parametrize(
    "data", [b"", b"not a zip", b"PK\x05\x06" + b"\0" * 30, b"PK\x03\x04" + b"\xff" * 60]
)
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    """Bytes that are no zip file are an error of ours, not a crash."""
    with pytest.raises(PublishError):
        member_text(data)


def test_truncated_zip_is_refused() -> None:
    """Every cut of a real artifact is refused."""
    data = as_artifact(red())
    for length in range(0, len(data), 97):
        with pytest.raises(PublishError):
            member_text(data[:length])


def test_artifact_of_too_many_bytes_is_refused_unread(github: FakeGitHub) -> None:
    """An artifact that states a size beyond the cap is not downloaded."""
    github.add_artifact(RUN, as_artifact(red()), size_in_bytes=artifact.MOST_ZIPPED + 1)
    with pytest.raises(PublishError, match="bytes large"):
        got(github)
    assert github.storage_log == []


def test_download_stops_at_the_cap(github: FakeGitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than the cap are not kept, even where the stated size was small."""
    monkeypatch.setattr(artifact, "MOST_ZIPPED", 100)
    github.add_artifact(RUN, b"x" * 300_000, size_in_bytes=10)
    with pytest.raises(PublishError, match="larger than 100 bytes"):
        got(github)


def test_bytes_that_are_no_text_are_refused() -> None:
    """A report that is not UTF-8 is refused."""
    with pytest.raises(PublishError, match="UTF-8"):
        member_text(zipped({"report.json": b"\xff\xfe{"}))


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_json_is_refused_before_it_is_parsed(opening: str) -> None:
    """A million brackets are refused by counting, without recursion."""
    assert "levels deep" in refused(opening * 1_000_000)


def test_brackets_inside_strings_do_not_nest() -> None:
    """A statement full of brackets, quotes and backslashes is text, neither depth nor a value."""
    assert shape(json.dumps({"a": ["[[[[{{{{,,,", '\\"[[[[,', "\\"]})) == (2, 4)


@pytest.mark.parametrize("text", ['"' + '\\"' * 3_000_000, '"' * 3_000_001, "\\" * 3_000_000, '["\\'])
def test_strings_that_never_end_are_read_once(text: str) -> None:
    """Quotes and backslashes made to be tried again and again cost one pass over the text."""
    started = time.process_time()
    assert refused(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000])
def test_numbers_that_are_not_finite_are_refused(number: str) -> None:
    """No value outside of a float's range gets past the parser, wherever it stands."""
    text = report_to_json(red()).replace(": 202,", f": {number},")
    assert number in text
    assert "refused" in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"report"',
        "{}",
        altered(schema="perf-gate.report/999"),
        altered(schema="perf-gate.run/1"),
        altered(verdict={"state": "fine", "reasons": []}),
        altered(verdict={"state": "pass", "reasons": "none"}),
        altered(surprise=1),
        altered(comparisons=[{}]),
        altered(comparisons=None),
        altered(coverage={"cases": "many"}),
    ],
)
def test_what_is_no_report_is_refused(text: str) -> None:
    """Everything but a report of this version is refused, with words of ours only."""
    assert refused(text).startswith("the report artifact is")


def test_refusal_quotes_nothing_of_the_artifact() -> None:
    """Text of the artifact is not in the error that refuses it."""
    assert "::error::hello" not in refused(altered(**{"::error::hello": "@everyone"}))


def test_too_many_values_are_refused() -> None:
    """More values than any real run has are refused before they become objects."""
    assert "more than" in refused(altered(findings=[0] * (artifact.MOST_VALUES + 1)))
