"""The job's own channels: nothing that a pull request names can break out of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from made import green, red, report, row

from gate.errors import PublishError
from gate.github import summary
from gate.github.summary import annotate, command, cut, outputs, plain, write_outputs, write_summary
from gate.model import Cause, Level, Outcome

HOSTILE = "a%\r\n::error::x,y:z\u202e\u200b\x1b[31m\u2028end"


def parsed(text: str) -> dict[str, str]:
    """The outputs as the runner reads them: name<<mark, lines, mark."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, _, mark = line.partition("<<")
        value = []
        while (part := next(lines)) != mark:
            value.append(part)
        found[name] = "\n".join(value)
    return found


def test_summary_is_appended(tmp_path: Path) -> None:
    """Two steps' texts stand one after the other, each with a final newline."""
    path = tmp_path / "summary"
    write_summary(path, "one")
    write_summary(path, "two\n")
    assert path.read_text() == "one\ntwo\n"


def test_summary_stays_below_the_limit_in_bytes(tmp_path: Path) -> None:
    """Text of three-byte characters is cut by bytes, at a line's end, with a notice."""
    path = tmp_path / "summary"
    write_summary(path, "€€€€€€€€€\n" * 60_000)
    data = path.read_bytes()
    assert len(data) <= summary.MOST_BYTES
    assert data.decode().count("cut at its size limit") == 1
    write_summary(path, "more\n" * 1000)
    assert path.stat().st_size <= summary.MOST_BYTES


def test_cut_keeps_whole_lines() -> None:
    """What is left of a cut text is a prefix of whole lines."""
    text = "".join(f"line {number}\n" for number in range(100))
    kept = cut(text, 300).decode()
    assert len(kept) <= 300
    assert text.startswith(kept.partition("\n\n")[0] + "\n")
    assert cut(text, 5) == b""


def test_outputs_are_words_numbers_and_a_path() -> None:
    """The outputs of a step hold counts and the verdict, nothing that a case can be named."""
    values = outputs(red(), state="blocked", path="/tmp/report.json")
    assert values == {
        "verdict": "blocked",
        "blocking": "1",
        "regressions": "1",
        "worst-change": "6633.3",
        "improvements": "0",
        "cases": "1",
        "report-path": "/tmp/report.json",
    }
    assert outputs(None, state="error")["cases"] == "0"


def test_worst_change_is_a_number() -> None:
    """The largest of the rows that got worse, in percent; from nothing it is infinite, without one empty."""
    some = dataclasses.replace(row("some"), ratio=1.123)
    lost = dataclasses.replace(row("lost"), base=None, head=None, ratio=None)
    new = dataclasses.replace(row("new"), base=0.0, ratio=None)
    fine = dataclasses.replace(row("fine", outcome=Outcome.IMPROVED), ratio=9.0)
    for rows, wanted in (((fine,), ""), ((lost,), "0.0"), ((lost, some), "12.3"), ((new, some), "inf")):
        assert outputs(report(*rows), state="x")["worst-change"] == wanted


def test_outputs_survive_the_runner(tmp_path: Path) -> None:
    """What is written is what the runner reads, and the marks are different each time."""
    path = tmp_path / "output"
    write_outputs(path, {"verdict": "pass", "report-path": "/tmp/a b=c<<d"})
    write_outputs(path, {"cases": "3"})
    text = path.read_text()
    assert parsed(text) == {"verdict": "pass", "report-path": "/tmp/a b=c<<d", "cases": "3"}
    marks = [line.partition("<<")[2] for line in text.splitlines() if "<<perf-gate-" in line]
    assert len(set(marks)) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("verdict", "a\nGITHUB_ENV=x"), ("verdict", "a\rb"), ("x=y", "a"), ("A", "a"), ("", "a")],
)
def test_outputs_that_could_break_out_are_refused(tmp_path: Path, name: str, value: str) -> None:
    """A line break in a value, or a name that is not ours, writes nothing at all."""
    path = tmp_path / "output"
    with pytest.raises(PublishError, match="refused"):
        write_outputs(path, {name: value})
    assert not path.exists()


def test_worst_ten_rows_are_annotated() -> None:
    """Blocking rows come first, ten at most, and a notice counts the rest."""
    warned = [row(f"warn{n}", level=Level.WARN) for n in range(8)]
    blocking = [row(f"block{n}") for n in range(6)]
    lines = annotate(report(*warned, *blocking))
    assert [line.split()[0] for line in lines] == ["::error"] * 6 + ["::warning"] * 4 + ["::notice"]
    assert "4 more rows" in lines[-1]


def test_fine_rows_are_not_annotated() -> None:
    """A clean report gives no annotation."""
    assert annotate(green()) == ()
    assert annotate(report(row(outcome=Outcome.IMPROVED, level=Level.NOTE))) == ()


def test_hostile_names_stay_inside_their_annotation() -> None:
    """A label, case and cause with line breaks, commands and control characters give one plain line."""
    bad = dataclasses.replace(
        row(HOSTILE),
        label=HOSTILE,
        cause=Cause(summary=HOSTILE),
        case=dataclasses.replace(row().case, name=HOSTILE),
    )
    (line,) = annotate(report(bad))
    assert line.isprintable()
    assert line.startswith("::error title=perf-gate%3A endpoints/a%25")
    title = line.removeprefix("::error title=").partition("::")[0]
    assert "," not in title
    assert ":" not in title


def test_command_escapes_what_the_runner_decodes() -> None:
    """Percent signs and line ends are escaped in the message, colons and commas in the title as well."""
    assert (
        command("error", "100%\nx: y, z\r", title="a:b,c") == "::error title=a%3Ab%2Cc::100%25%0Ax: y, z%0D"
    )


def test_plain_text_is_one_printable_line() -> None:
    """Unprintable and direction-changing characters are replaced; long text is cut."""
    assert plain(HOSTILE).isprintable()
    assert "::error::x" in plain(HOSTILE)
    assert plain("x" * 300, 10) == "x" * 9 + "…"


def test_fence_is_new_every_time() -> None:
    """The mark that lets the runner obey commands again cannot be known beforehand."""
    stop, resume = summary.fence()
    assert stop == f"::stop-commands::{resume.strip(':')}"
    assert summary.fence() != (stop, resume)
