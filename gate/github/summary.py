"""The job summary, the step's outputs and the annotations: what a job may say besides its exit code.

All three are parsed by the runner, so text that a pull request chose is made harmless first, and the
outputs hold nothing but words of ours, numbers and paths.
"""

from __future__ import annotations

import math
import re
import secrets
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from gate.errors import PublishError
from gate.model import Comparison, Level, Outcome, Report

MOST_BYTES = 900 * 1024  # a summary beyond 1 MiB is dropped whole
MOST_ANNOTATIONS = 10  # GitHub shows ten errors and ten warnings of a step and drops the rest silently
_CUT = "\n\n_The summary was cut at its size limit; the report artifact has everything._\n"
_OUTPUT = re.compile(r"[a-z][a-z-]*")
# Format characters (bidi overrides, zero-width), controls, surrogates, and the two separators that
# some readers take for a line's end.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def write_summary(path: Path, text: str) -> None:
    """Append `text` to the job summary; what would take the file beyond its limit is cut at a line's end."""
    used = path.stat().st_size if path.exists() else 0
    body = cut(text if text.endswith("\n") else text + "\n", MOST_BYTES - used)
    with path.open("ab") as file:
        file.write(body)


def cut(text: str, most: int) -> bytes:
    """`text` in at most `most` bytes of UTF-8, whole lines only, with a notice where lines are missing."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data
    notice = _CUT.encode()
    kept = data[: max(0, most - len(notice))].rpartition(b"\n")[0]
    return kept + notice if len(kept) + len(notice) <= most else b""


def outputs(report: Report | None, *, state: str, path: str = "") -> dict[str, str]:
    """The outputs of a step: the verdict's word, counts of rows, and where the report lies.

    Nothing that the pull request can name is among them, so no later step can be misled by one.
    """
    rows, found = (report.comparisons, report.findings) if report else ((), ())
    worse = [row for row in rows if row.outcome is Outcome.REGRESSED]
    return {
        "verdict": state,
        "blocking": str(sum(row.blocking for row in rows) + sum(f.level is Level.BLOCK for f in found)),
        "regressions": str(len(worse)),
        "worst-change": f"{max(map(_percent, worse)):.1f}" if worse else "",
        "improvements": str(sum(row.outcome is Outcome.IMPROVED for row in rows)),
        "cases": str(report.coverage.cases if report else 0),
        "report-path": path,
    }


def _percent(row: Comparison) -> float:
    """How much worse a row is, in percent of base: infinite from nothing, 0 where only its state is worse."""
    if row.ratio is None:
        return math.inf if row.base == 0 and row.head else 0.0
    return 100 * (row.ratio - 1)


def write_outputs(path: Path, values: Mapping[str, str]) -> None:
    """Append outputs. Each value stands between lines nobody can guess, so it cannot end itself early.

    Raises PublishError for a name that is not ours or a value with a line break in it.
    """
    lines = []
    for name, value in values.items():
        if not _OUTPUT.fullmatch(name) or value != plain(value, len(value)):
            raise PublishError(f"refused to write the step output {name!r}")
        mark = f"perf-gate-{secrets.token_hex(16)}"
        lines.append(f"{name}<<{mark}\n{value}\n{mark}\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def annotate(report: Report) -> tuple[str, ...]:
    """Workflow commands for the worst rows, blocking ones first in the report's order; at most ten.

    Where more rows deserve one, a notice says how many, so a short list is never taken for all.
    """
    rows = sorted(
        (row for row in report.comparisons if row.blocking or row.level is Level.WARN),
        key=lambda row: not row.blocking,
    )
    shown = [_annotation(row) for row in rows[:MOST_ANNOTATIONS]]
    if len(rows) > len(shown):
        more = f"{len(rows) - len(shown)} more rows are in the job summary"
        shown.append(command("notice", more, title="perf-gate"))
    return tuple(shown)


def command(name: str, message: str, *, title: str) -> str:
    """One workflow command, such as `::error title=...::...`, that its message cannot leave."""
    return f"::{name} title={_property(title)}::{_data(message)}"


def fence() -> tuple[str, str]:
    """Two lines between which the runner executes no workflow commands that a benchmark might print."""
    mark = secrets.token_hex(16)
    return f"::stop-commands::{mark}", f"::{mark}::"


def plain(text: str, most: int = 200) -> str:
    """`text` on one line: unprintable and direction-changing characters replaced, cut to `most`."""
    shown = "".join("\N{REPLACEMENT CHARACTER}" if _hidden(character) else character for character in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in _UNPRINTABLE


def _annotation(row: Comparison) -> str:
    cause = f": {row.cause.summary}" if row.cause else ""
    message = plain(f"{row.label} {row.metric} {row.outcome}{cause}", 500)
    return command(
        "error" if row.blocking else "warning", message, title=f"perf-gate: {plain(str(row.case))}"
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
