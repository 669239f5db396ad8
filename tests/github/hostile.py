"""What a stranger may send: names by what they try, and artifacts by what is wrong with them."""

from __future__ import annotations

import dataclasses
import io
import json
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import build
from fake_api import zipped
from made import CASE, CONFIG, green, measured, red, stored

from gate import baseline
from gate.github.artifact import MOST_BYTES, MOST_VALUES
from gate.judge import Context, judge
from gate.model import (
    Case,
    Caveat,
    Environment,
    Evidence,
    Finding,
    Level,
    Phase,
    Report,
    Route,
    Setting,
    SideRun,
)
from gate.schema import report_to_json
from gate.toml import read_config

MARKER = "<!-- perf-gate:v1 id=default -->"

NAMES: dict[str, tuple[str, ...]] = {
    "markers": (
        MARKER,
        f"{MARKER}\n<!-- perf-gate:run 999.1 perf-gate.yml -->",
        f"x\n{MARKER}",
        f"x\r{MARKER}",
        f"x\u2028{MARKER}",
        f"x\x85{MARKER}",
        f"`\n{MARKER}\n`",
        "<!-- perf-gate:run 999.9 perf-gate.yml -->",
        "--> <!--",
        "<!--",
        "-->",
        "<!-- perf-gate:v1 id=other -->",
    ),
    "mentions": (
        "@everyone",
        "@acme/core please",
        "cc @octocat",
        "`@octocat`",
        "fixes #1",
        "closes acme/shop#2",
        "GH-3",
        "reverts " + "a" * 40,
        "acme/shop@" + "b" * 40,
        "\n@octocat\n",
        "mailto:a@github.test",
        "x@y.test",
    ),
    "tables": (
        "a | b",
        "|",
        "||||||||||",
        "a\n|:--|--:|\n| x | y |",
        "\\|",
        "\\\\|",
        "\\\\\\|",
        "`|`",
        "``|``",
        "a\\`|b",
        "| 🟢 equal | everything |",
        "\n\n| | case |\n|:--|:--|\n",
    ),
    "html": (
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "</details>",
        "</details></details><h1>pass</h1>",
        "<details open><summary>🟢 pass</summary>",
        "<a href='https://evil.test'>x</a>",
        "<iframe src=//evil.test>",
        "<svg/onload=alert(1)>",
        "<style>*{display:none}</style>",
        "<table><tr><td>🟢",
        "&lt;script&gt;",
        "&#60;script&#62;",
        "<plaintext>",
        "<textarea>",
        "`</code><img src=x>`",
        "<![CDATA[",
        "<?php",
        "<!DOCTYPE html>",
    ),
    "links and images": (
        "![x](https://evil.test/pixel.png)",
        "[x](javascript:alert(1))",
        "[x]: https://evil.test",
        "<https://evil.test>",
        "https://evil.test/?q=1",
        "www.evil.test",
        "[![x](https://evil.test/a.svg)](https://evil.test)",
        "![x][1]\n\n[1]: https://evil.test/p.png",
        "http://evil.test`",
        "[^1]\n\n[^1]: note",
        "ftp://evil.test/x",
        "//evil.test",
    ),
    "markdown blocks": (
        "# 🟢 perf-gate: pass",
        "\n# 🟢 perf-gate: pass\n",
        "\n---\n",
        "\n===\n",
        "\n> **quote**\n",
        "\n- [x] done\n",
        "\n1. one\n",
        "\n```\ncode\n```\n",
        "\n~~~\ncode\n~~~\n",
        "\n    indented\n",
        "**🟢 pass**",
        "~~struck~~",
        "$$\\frac{1}{0}$$",
        "\n```mermaid\ngraph TD\n```\n",
    ),
    "backticks": (
        *("`" * n for n in (1, 2, 3, 4, 39, 40, 41, 80, 81, 255, 256)),
        *("`a", "a`", "``a`", "` `", "`\n`", "a`b``c```d", "\\`", "`\\`"),
    ),
    "bidi and invisible": (
        "\u202eessap",
        "\u2066x\u2069",
        "\u200b",
        "\u200b" * 500,
        "\ufeff",
        "a\u0000b",
        "\x1b[2J\x1b[H",
        "\x1b]0;title\x07",
        "\x07\x08\x7f",
        "\u00ad",
        "\u2028",
        "\u2029",
        "\ue000",
        "\U000e0041",
        "e" + "\u0301" * 300,
        "\ufffd",
        "\u3164",
    ),
    "workflow commands": (
        "::error::run me",
        "\n::error::run me",
        "\r\n::set-output name=verdict::pass",
        "::add-mask::pass",
        "::stop-commands::x",
        "::save-state name=x::y",
        "::group::x",
        "##[error]x",
        "##[set-env name=PATH]/tmp",
        "%0A::error::x",
        "%0D%0A::add-path::/tmp",
        "verdict=pass\nblocking=0",
        "x<<EOF\npass\nEOF",
    ),
    "shells and templates": (
        "$(touch /tmp/pwned)",
        "`touch /tmp/pwned`",
        "; rm -rf ~ #",
        "' || true '",
        '"; exit 0; "',
        "${{ secrets.GITHUB_TOKEN }}",
        "${{ github.token }}",
        "{{ 7 * 7 }}",
        "{% include '/etc/passwd' %}",
        "{{ ''.__class__.__mro__ }}",
        "%s%s%s%n",
        "{0.__class__}",
        "../../etc/passwd",
        "--exec=evil",
        "-o ProxyCommand=evil",
    ),
    "empty and long": (
        "",
        " ",
        "\n",
        "\t",
        "-",
        "x" * 70_000,
        "ä" * 70_000,
        "𝔘" * 40_000,
        "|" * 70_000,
        "`" * 70_000,
        "a " * 40_000,
        "\n" * 10_000,
    ),
    "case syntax": (
        "a[b",
        "a]b",
        "a[b]",
        "[]",
        "endpoints/x",
        "/",
        "a/b/c",
        "*",
        "?",
        "[!a]",
        "playlist",
        "null",
        "True",
        "__proto__",
        "constructor",
    ),
}


def poisoned(*names: str) -> Report:
    """A blocked report with these texts in every place that a pull request can write to.

    Each name is a case, whose row is worse by the run's own base, so that a second judgement blocks it
    too; where there is one field only, it holds the first, and the others' places hold the others.
    """
    several = {
        Case(suite="endpoints", name=name, parameters=name if place % 2 else ""): name
        for place, name in enumerate(names)
    }
    counts = {"errors": [0, 0], "sql.calls": [3, 3], "sql.rows": [9, 9]}
    slow = counts | {"sql.calls": [203, 203]}
    first, last = names[0], names[-1]
    key = dataclasses.replace(build.KEY, dataset=first, python=last, packages=((first, last),))

    def made(name: Any, counted: dict[str, list[int]], calls: float) -> SideRun:
        statements = {case: [build.statement(f"SELECT '{text}'", calls)] for case, text in several.items()}
        return build.side(name, dict.fromkeys(several, counted), statements=statements, key=key)

    head, base = made("head", slow, 203), made("base", counts, 3)
    head = dataclasses.replace(
        head,
        cases=tuple(dataclasses.replace(each, label=several[each.case]) for each in head.cases),
        side=dataclasses.replace(head.side, ref=first),
        samples=tuple(
            dataclasses.replace(each, caveats=(Caveat(code=last, text=several[each.case]),))
            for each in head.samples
        ),
        evidence=(*head.evidence, Evidence(case=CASE, side="head", failure=first)),
    )
    run = build.run(head, base, known=tuple(several))
    run = dataclasses.replace(
        run,
        tool=first,
        environment=Environment(os=first, arch=last, cpu=first, provider=last, postgres=first, redis=last),
        routes=tuple(Route(method=name, path=name) for name in names),
        timeline=tuple(Phase(name=name, seconds=1.0) for name in names),
        caveats=tuple(Caveat(code=name, text=name) for name in names),
        plan=dataclasses.replace(run.plan, untimed=first, against=last or "auto"),
    )
    held = baseline.from_text(stored(), name="base", ref="b" * 40)
    report = judge(run, Context(config=read_config(CONFIG, name="c"), stored=held, ref="b" * 40))
    options = (*names, "--config", "--suite", "--only", "--against", "--scale")
    return dataclasses.replace(
        report,
        verdict=dataclasses.replace(report.verdict, reasons=names),
        findings=(*report.findings, *(Finding(name=n, level=Level.WARN, text=n) for n in names)),
        config=tuple(Setting(name=each, value=first, origin="flag") for each in options),
    )


def report_text() -> str:
    return report_to_json(red())


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(report_text()), **fields})


def within(path: str, value: Any) -> str:
    """The report with the value at a dotted path replaced."""
    document = json.loads(report_text())
    *steps, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = document
    for step in steps:
        place = place[step]
    place[last] = value
    return json.dumps(document)


def raw(path: str, literal: str) -> str:
    """The report with a literal of JSON, which Python would not write, at a dotted path."""
    return within(path, "@@").replace('"@@"', literal)


def as_zip(text: str | bytes, name: str = "report.json") -> bytes:
    return zipped({name: text})


def special(
    name: str, content: str, *, mode: int = 0, method: int = zipfile.ZIP_DEFLATED, flag: int = 0
) -> bytes:
    """A zip file with one member of a mode, a compression method and general purpose flags."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.compress_type = method
        archive.writestr(info, content)
    made = bytearray(data.getvalue())
    if flag:
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            place = made.index(mark) + offset
            made[place : place + 2] = struct.pack("<H", flag)
    return bytes(made)


def several(*members: tuple[str, str]) -> bytes:
    data = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # about the same name twice, which is meant
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return data.getvalue()


def lying(size: int) -> bytes:
    """A zip file whose member states another size than it unpacks to."""
    text = "0" * 50_000
    return as_zip(text).replace(struct.pack("<I", len(text)), struct.pack("<I", size))


def bomb() -> bytes:
    """64 MiB and a byte of nothing, in 64 kB."""
    return as_zip(b"0" * (MOST_BYTES + 1))


NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 400,
    "0x10",
    "01",
    "1_000",
    ".5",
    "+1",
    "١",
)


def as_report(name: str) -> bytes:
    return as_zip(report_text(), name)


def nested(opening: str, closing: str, depth: int) -> bytes:
    return as_zip(within("findings", json.loads(opening * depth + "0" + closing * depth)))


def numbered(path: str, number: str) -> bytes:
    return as_zip(raw(path, number))


REFUSED: dict[str, dict[str, Callable[[], bytes]]] = {
    "no zip": {
        "empty": lambda: b"",
        "text": lambda: b"not a zip",
        "html": lambda: b"<html>502</html>",
        "json": lambda: report_text().encode(),
        "gzip": lambda: b"\x1f\x8b" + b"\0" * 20,
        "end only": lambda: b"PK\x05\x06" + b"\0" * 18,
        "noise": lambda: bytes(range(256)) * 8,
        "cut in half": lambda: as_zip(report_text())[:700],
        "without its end": lambda: as_zip(report_text())[:-22],
        "tail only": lambda: as_zip(report_text())[-60:],
        "zeros": lambda: b"\0" * 4096,
    },
    "zip slip": {
        name.replace("/", "!"): partial(as_report, name)
        for name in (
            "../report.json",
            "../../report.json",
            "/report.json",
            "/tmp/report.json",
            "./report.json",
            "dir/report.json",
            "..\\report.json",
            "C:report.json",
            "report.json/",
            "REPORT.JSON",
            "report.json ",
            "report.json\u202e",
            "rеport.json",  # a Cyrillic letter
            "report.json.bak",
        )
    },
    "zip tricks": {
        "encrypted": lambda: special("report.json", report_text(), flag=1),
        "two reports": lambda: several(("report.json", report_text()), ("report.json", "{}")),
        "no member": lambda: zipped({}),
        "zip in a zip": lambda: as_zip(as_zip(report_text()), "report.zip"),
        "bzip2": lambda: special("report.json", report_text(), method=zipfile.ZIP_BZIP2),
        "lzma": lambda: special("report.json", report_text(), method=zipfile.ZIP_LZMA),
        "only a picture": lambda: as_zip(b"\x89PNG", "report.png"),
        "link": lambda: special("report.json", "/etc/passwd", mode=stat.S_IFLNK | 0o777),
        "device": lambda: special("report.json", "", mode=stat.S_IFCHR | 0o777),
        "markdown instead": lambda: zipped({"comment.md": "post me"}),
    },
    "bombs": {
        "64 MiB of zeros": bomb,
        "states less": lambda: lying(10),
        "states nothing": lambda: lying(0),
        "states 4 GB": lambda: lying(0xFFFFFFF0),
        "million brackets": lambda: as_zip("[" * 1_000_000),
        "million objects": lambda: as_zip('{"a":' * 1_000_000),
        "million rows": lambda: as_zip(changed(comparisons=[0] * (MOST_VALUES + 1))),
        "million findings": lambda: as_zip(changed(findings=[{}] * 1_000_000)),
        "string without end": lambda: as_zip('"' + "\\" * 3_000_001),
        "integer of a million digits": lambda: as_zip(raw("coverage.cases", "9" * 1_000_000)),
    },
    "deep": {
        f"{name} {depth}": partial(nested, opening, closing, depth)
        for name, opening, closing in (("lists", "[", "]"), ("objects", '{"a":', "}"))
        for depth in (31, 33, 100, 300)
    },
    "numbers": {
        f"{place} {number[:12]}": partial(numbered, path, number)
        for place, path in (("value", "run.samples.0.points.0.3"), ("row", "comparisons.0.head"))
        for number in NUMBERS
    },
    "no report": {
        "nothing": lambda: as_zip(""),
        "null": lambda: as_zip("null"),
        "list": lambda: as_zip("[]"),
        "text": lambda: as_zip('"report"'),
        "number": lambda: as_zip("1"),
        "open": lambda: as_zip("{"),
        "empty object": lambda: as_zip("{}"),
        "two documents": lambda: as_zip(report_text() * 2),
        "comment behind": lambda: as_zip(report_text() + "// x"),
        "BOM": lambda: as_zip("\ufeff" + report_text()),
        "UTF-16": lambda: as_zip(report_text().encode("utf-16")),
        "latin-1": lambda: as_zip('{"schema": "é"}'.encode("latin-1")),
        "lone surrogate": lambda: as_zip(within("tool", "@@").replace("@@", "\\ud800")),
        "NUL outside": lambda: as_zip("\0" + report_text()),
        "YAML": lambda: as_zip("schema: perf-gate.report/1"),
        "script": lambda: as_zip("import os; os.system('id')"),
    },
    "schema": {
        "other version": lambda: as_zip(changed(schema="perf-gate.report/2")),
        "no version": lambda: as_zip(changed(schema=None)),
        "a run": lambda: as_zip(changed(schema="perf-gate.run/1")),
        "unknown field": lambda: as_zip(changed(surprise=1)),
        "unknown inner field": lambda: as_zip(within("verdict.by", "me")),
        "prototype": lambda: as_zip(changed(__proto__={"state": "pass"})),
        "no verdict": lambda: as_zip(changed(verdict=None)),
        "unknown state": lambda: as_zip(within("verdict.state", "fine")),
        "state as a list": lambda: as_zip(within("verdict.state", ["pass"])),
        "reasons as text": lambda: as_zip(within("verdict.reasons", "none")),
        "rows as an object": lambda: as_zip(changed(comparisons={})),
        "empty row": lambda: as_zip(changed(comparisons=[{}])),
        "number as text": lambda: as_zip(within("comparisons.0.head", "202")),
        "text as a number": lambda: as_zip(within("comparisons.0.label", 5)),
        "flag as a number": lambda: as_zip(within("comparisons.0.blocking", 1)),
        "flag as text": lambda: as_zip(within("comparisons.0.blocking", "false")),
        "no samples": lambda: as_zip(within("run.samples", None)),
        "point of three": lambda: as_zip(within("run.samples.0.points.0", [1, 1, 1])),
        "point of five": lambda: as_zip(within("run.samples.0.points.0", [1, 1, 1, 1, 1])),
        "half a pair": lambda: as_zip(within("run.samples.0.points.0.0", 1.5)),
        "unknown side": lambda: as_zip(within("run.samples.0.side", "neck")),
        "unknown kind": lambda: as_zip(within("run.samples.0.metric.kind", "magic")),
        "case as text": lambda: as_zip(within("run.samples.0.case", "endpoints/x")),
        "no head": lambda: as_zip(within("sides.head", None)),
        "head named base": lambda: as_zip(within("sides.head.name", "middle")),
        "negative sizes as text": lambda: as_zip(within("coverage.rows", "-1")),
    },
}


def claims() -> Iterator[tuple[str, Report]]:
    """Reports that fit the schema and say of themselves what their samples do not."""
    plain, slow = green(), red()
    yield "green over red samples", dataclasses.replace(plain, run=slow.run)
    yield "no case at all", dataclasses.replace(plain, run=measured(1, cases=()).run, comparisons=())
    samples = dataclasses.replace(slow.run, samples=())
    yield "no samples", dataclasses.replace(plain, run=samples)
    yield (
        "not compared",
        dataclasses.replace(
            measured(200, against="none"),
            run=dataclasses.replace(slow.run, plan=dataclasses.replace(slow.run.plan, against="none")),
        ),
    )
    yield (
        "nothing known",
        dataclasses.replace(
            plain, run=dataclasses.replace(slow.run, plan=dataclasses.replace(slow.run.plan, known=()))
        ),
    )
    for ref in ("", "main", "f" * 40, "a" * 40, "HEAD", "refs/heads/main", "../../../user"):
        yield f"base {ref[:15]!r}", measured(200, base=stored(200), ref=ref)
    yield (
        "no base",
        dataclasses.replace(plain, run=slow.run, sides=dataclasses.replace(plain.sides, base=None)),
    )
    without = tuple(each for each in slow.run.samples if each.metric.name != "sql.calls")
    yield (
        "without the worse count",
        dataclasses.replace(plain, run=dataclasses.replace(slow.run, samples=without)),
    )
