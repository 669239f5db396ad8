"""What a column's name says about its values, where type and constraints leave it open.

Rules are tried from the top, the first match wins; names are matched whole words at a time
(`created_at` is "created at"). The tables are data: a rule more needs no code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeVar

from gate.dataset.streams import Stream
from gate.dataset.texts import Code, Digits, Hexadecimal, Phrase, Piece, Running, Word
from gate.dataset.texts import Literal as Fixed

Shape = Literal["uniform", "skewed", "lognormal"]
_PEOPLE = re.compile(r"user|person|people|member|customer|author|contact|employee|patient|profile|account")
_YEAR = 365.0


@dataclass(frozen=True, slots=True)
class Range:
    low: float
    high: float
    shape: Shape = "uniform"


@dataclass(frozen=True, slots=True)
class Time:
    """Days from the origin. growing: increases with the row's number. after: follows the row's first time."""

    low: float
    high: float
    growing: bool = False
    after: bool = False
    recent: bool = True


def _words(name: str) -> str:
    """ "createdAt" and "created_at" as "created at"."""
    return re.sub(r"[_\W]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).strip().lower()


_RANGES: tuple[tuple[str, Range], ...] = (
    (r"\b(duration|length|runtime)\b.*\b(ms|millis|milliseconds)\b", Range(90_000, 480_000, "lognormal")),
    (r"\b(ms|millis|milliseconds)\b", Range(5, 5_000, "lognormal")),
    (r"\b(duration|length|runtime|seconds|secs)\b", Range(90, 480, "lognormal")),
    (r"\byear\b", Range(1960, 2025)),
    (r"\bmonth\b", Range(1, 12)),
    (r"\bday\b", Range(1, 28)),
    (r"\bhour\b", Range(0, 23)),
    (r"\bminute\b", Range(0, 59)),
    (r"\bper page\b", Range(10, 100)),
    (r"\bword count\b|\bwords\b", Range(40, 1_200, "lognormal")),
    (r"\b(rating|stars)\b", Range(1, 5)),
    (r"\b(percent|percentage|progress|pct)\b", Range(0, 100)),
    (r"\b(score|sentiment)\b", Range(0, 100)),
    (r"\b(probability|confidence|ratio|share|energy|valence|danceability)\b", Range(0, 1)),
    (r"\bage\b", Range(18, 90)),
    (r"\b(size|bytes)\b", Range(1_000, 50_000_000, "lognormal")),
    (r"\b(price|amount|cost|fee|tax|discount|subtotal)\b", Range(1, 500, "lognormal")),
    (r"\b(balance|salary|income|revenue|budget)\b", Range(1_000, 200_000, "lognormal")),
    (r"\b(count|total|plays|views|likes|followers|hits|num|downloads|visits)\b", Range(0, 100_000, "skewed")),
    (r"\b(quantity|qty|stock)\b", Range(1, 100, "skewed")),
    (r"\b(position|rank|order|index|track|sort|seq|number|ordinal)\b", Range(1, 30)),
    (r"\b(level|priority|tier|grade|difficulty)\b", Range(1, 5)),
    (r"\b(width|height)\b", Range(100, 4_000)),
    (r"\bport\b", Range(1_024, 65_535)),
    (r"\b(version|revision|attempts|retries)\b", Range(1, 10, "skewed")),
    (r"\b(bpm|tempo)\b", Range(60, 180)),
    (r"\b(lat|latitude)\b", Range(-90, 90)),
    (r"\b(lon|lng|longitude)\b", Range(-180, 180)),
)

_BEFORE = (
    r"created|inserted|added|registered|joined|requested|submitted|ordered|placed|uploaded|queued|occurred"
    r"|logged|recorded|received|sent"
)
_TIMES: tuple[tuple[str, Time], ...] = (
    (rf"\b({_BEFORE})\b|^timestamp$|^time$", Time(-2 * _YEAR, 0, growing=True)),
    (r"\b(birth|birthday|birthdate|dob|born)\b", Time(-70 * _YEAR, -18 * _YEAR, recent=False)),
    (r"\b(expires?|expiry|due|until|deadline|renews?|scheduled)\b", Time(0, _YEAR, recent=False)),
    (r"\b(released?|founded|established|issued)\b", Time(-30 * _YEAR, 0)),
    (r"\b(started|begins?|began|start|from)\b", Time(-2 * _YEAR, 0, after=True)),
    (
        r"\b(updated|modified|changed|last|finished|completed|ended|closed|processed|analy[sz]ed|deleted|removed"
        r"|archived|cancell?ed|paid|shipped|delivered|read|seen|confirmed|verified|published|end|to)\b",
        Time(-2 * _YEAR, 0, after=True),
    ),
)

_RARE = re.compile(r"\b(deleted|removed|archived|cancell?ed|banned|blocked|suspended|revoked|disabled)\b")
_POSITIONAL = re.compile(
    r"\b(position|pos|rank|index|idx|seq|sequence|order|ordinal|number|num|no|nr|track|sort|line|place|version|revision|attempt|step)\b"
)

_LISTS: tuple[tuple[str, str], ...] = (
    (r"\bcountry\b|\bcountry code\b", "countries"),
    (r"\b(lang|language|locale)\b", "languages"),
    (r"\bcurrency\b", "currencies"),
    (r"\b(timezone|tz|time zone)\b", "zones"),
    (r"\b(mime|mimetype|content type|media type)\b", "mimes"),
    (r"\b(color|colour)\b", "colors"),
    (r"\b(city|town)\b", "cities"),
    (r"\b(genre|style)\b", "genres"),
    (r"\b(first name|firstname|given name)\b", "first"),
    (r"\b(last name|lastname|surname|family name)\b", "last"),
    (r"\b(status|state|type|kind|category|role|visibility|stage|mode|format|group)\b", "kinds"),
)

_LENGTHS: tuple[tuple[str, int], ...] = (
    (r"\b(lyrics|transcript)\b", 1_000),
    (r"\b(body|content|html|article|markdown)\b", 800),
    (r"\b(description|summary|about|abstract|review|notes?)\b", 160),
    (r"\b(bio|biography|message|text|comment|caption|excerpt|details)\b", 120),
    (r"\b(address|reason|error)\b", 60),
)

_DIGESTS: tuple[tuple[str, int], ...] = (
    (r"\bmd5\b", 32),
    (r"\bsha1\b", 40),
    (r"\b(sha256|sha|hash|digest|checksum|fingerprint|etag)\b", 64),
    (r"\b(token|secret|password|passwd|salt|session|key|nonce|signature|uuid|guid)\b", 40),
)


def number(name: str) -> Range | None:
    """The range a numeric column's name suggests."""
    return _first(_RANGES, name)


def time(name: str) -> Time:
    """When the times of a column lie; the two years before the origin where its name says nothing."""
    return _first(_TIMES, name) or Time(-2 * _YEAR, 0)


def null_share(name: str) -> float:
    """The share of NULLs of a column that may be NULL."""
    return 0.95 if _RARE.search(_words(name)) else 0.1


def positional(name: str) -> bool:
    """Whether a whole number of this name counts within a parent, as `position` does."""
    return bool(_POSITIONAL.search(_words(name)))


def listed(name: str) -> str | None:
    """The list of words a coded column takes its values from."""
    return _first(_LISTS, name)


T = TypeVar("T")


def _first(rules: tuple[tuple[str, T], ...], name: str) -> T | None:
    text = _words(name)
    return next((value for pattern, value in rules if re.search(pattern, text)), None)


Pieces = tuple[Piece, ...]


def text(name: str, table: str, stream: Stream, *, rows: int, most: int | None) -> tuple[Pieces, Pieces]:
    """(stem, suffix) of a text column; the suffix is kept whole when a value must be cut to `most`."""
    words = _words(name)
    code = Code(Code.width_for(max(rows, 2)))
    first, last = Word(stream.sub("first"), "first-lower"), Word(stream.sub("last"), "last-lower")
    path = Phrase(stream, "lower", 1, 3, b"/")
    if re.search(r"\be?mail\b", words):
        return (first, Fixed(b"."), last, Fixed(b".")), (code, Fixed(b"@example.com"))
    if re.search(r"\b(user ?name|login|handle|nick|nickname|screen name)\b", words):
        return (first, last), (code,)
    if re.search(r"\b(url|uri|link|href|website|avatar|image|photo|thumbnail|cover|homepage)\b", words):
        return (Fixed(b"https://example.com/"), path, Fixed(b"-")), (code,)
    if re.search(r"\b(path|file|filename|directory)\b", words):
        return (path, Fixed(b"-")), (code, Fixed(b".dat"))
    if re.search(r"\b(phone|mobile|fax|tel)\b", words):
        return (Fixed(b"+1555"), Digits(stream, 1_000_000, 9_999_999)), ()
    if re.search(r"\b(zip|postcode|postal code)\b", words):
        return (Digits(stream, 10_000, 99_999),), ()
    if re.search(r"\bip\b", words):
        return (
            Fixed(b"10.0."),
            Digits(stream.sub(0), 0, 255),
            Fixed(b"."),
            Digits(stream.sub(1), 0, 255),
        ), ()
    if size := _first(_DIGESTS, name):
        return (Hexadecimal(stream, min(size, most or size)),), ()
    if re.search(r"\b(code|sku|isbn|isrc|reference|barcode|serial)\b", words):
        return (), (Code(max(code.width, min(6, most or 6)), upper=True),)
    return _wording(name, words, table, stream), ()


def _wording(name: str, words: str, table: str, stream: Stream) -> Pieces:
    """Names, titles and sentences."""
    if (pool := listed(name)) is not None:
        return (Word(stream, pool, 0.9),)
    if mean := _first(_LENGTHS, name):
        return (Running(stream, mean),)
    if re.search(r"\bslug\b", words):
        return (Phrase(stream, "lower", 2, 4, b"-"),)
    person = re.search(r"\b(full name|display name|author|owner|contact)\b", words)
    if person or (re.search(r"\bname$", words) and _PEOPLE.search(table)):
        return (Word(stream.sub("first"), "first"), Fixed(b" "), Word(stream.sub("last"), "last"))
    return (Phrase(stream, "titled", 1, 3 if re.search(r"\bname$", words) else 5),)
