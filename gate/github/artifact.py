"""The report artifact of a workflow run: hostile until it has been read here.

Code of a pull request wrote it. One member of a known name is read into memory under a cap, nothing is
unpacked, and the text must be JSON of bounded depth with finite numbers before the schema sees it.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import NoReturn

from gate.errors import GateError, PublishError
from gate.github.client import Artifact, Client
from gate.model import Report
from gate.schema import report_from_json

MEMBER = "report.json"
MOST_ZIPPED = 16 << 20  # a report of 1,000 cases with all its values is about 30 MB, 3 MB zipped
MOST_BYTES = 64 << 20
MOST_VALUES = 2_000_000  # the same report holds 1 million; a wrong value costs the schema about 1 kB
DEEPEST = 32  # a report nests 9 levels
LONGEST_INTEGER = 20  # digits; a float of more loses them anyway
# A whole string, also one that never ends: without that, each quote in it would be tried again.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{,]|[\]}]', re.DOTALL)
_SUFFIX = re.compile(r"-([0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A report from another job. claimed: the pull request its artifact's name claims, 0 for none.

    The claim may only choose among pull requests that are known to offer the measured commit.
    """

    report: Report
    claimed: int


def fetch(client: Client, run_id: int, *, name: str) -> Received | None:
    """The report of a run, or None where it left no artifact `name` or `name`-<number>.

    Raises PublishError where there is one that is not to be trusted with being read.
    """
    for artifact in client.artifacts(run_id):
        number = claimed(artifact.name, name)
        if number is None or artifact.expired:
            continue
        data = client.download(_of_bearable_size(artifact), most=MOST_ZIPPED)
        return Received(report=parse(member_text(data)), claimed=number)
    return None


def claimed(artifact: str, name: str) -> int | None:
    """The number after `name` in an artifact's name, 0 without one, None for another artifact."""
    if artifact == name:
        return 0
    suffix = _SUFFIX.fullmatch(artifact[len(name) :]) if artifact.startswith(name) else None
    return int(suffix[1]) if suffix else None


def member_text(data: bytes) -> str:
    """The text of report.json in a zip file, whose other members are never touched."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(_member(archive)) as source:
            content = source.read(MOST_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        # RuntimeError: encrypted; NotImplementedError: a compression method we do not have.
        raise PublishError(f"the report artifact is no readable zip file: {type(error).__name__}") from error
    if len(content) > MOST_BYTES:
        _refuse(f"unpacks to more than {MOST_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise PublishError("the report artifact is not UTF-8") from error


def parse(text: str, *, where: str = "report artifact") -> Report:
    """A report from hostile JSON text. Raises PublishError whatever is wrong with it."""
    depth, values = shape(text)
    if depth > DEEPEST:
        _refuse(f"nests {depth} levels deep")
    if values > MOST_VALUES:
        _refuse(f"holds more than {MOST_VALUES} values")
    try:
        json.loads(text, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer)
    except ValueError as error:
        raise PublishError(f"the report artifact is refused: {type(error).__name__}") from error
    try:
        return report_from_json(text, where)
    except GateError as error:
        raise PublishError("the report artifact is not a report of this version", where=where) from error


def shape(text: str) -> tuple[int, int]:
    """How deep brackets nest outside of strings, and how many brackets and commas there are.

    Decided before a recursive parser sees the text, in one pass over it.
    """
    depth = deepest = values = 0
    for token in _TOKEN.finditer(text):
        character = text[token.start()]
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
        values += character in "[{,"
    return deepest, values


def _of_bearable_size(artifact: Artifact) -> Artifact:
    if artifact.size > MOST_ZIPPED:
        _refuse(f"is {artifact.size} bytes large")
    return artifact


def _member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    found = [info for info in archive.infolist() if info.filename == MEMBER]
    if len(found) != 1:
        _refuse(f"holds {len(found)} members named {MEMBER}")
    if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _refuse("is compressed in a way that cannot be unpacked piece by piece")
    if found[0].file_size > MOST_BYTES:
        _refuse(f"states {found[0].file_size} bytes for {MEMBER}")
    return found[0]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"not a number: {name}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond the range of a float")
    return number


def _integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise ValueError("an integer of too many digits")
    return int(text)


def _refuse(why: str) -> NoReturn:
    raise PublishError(f"the report artifact is refused: it {why}")
