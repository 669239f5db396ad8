"""Numbers and foreign text as people may read them; every renderer formats here and nowhere else.

Names, SQL and error texts come from the program under test, and a report from a fork's job, so all
of it is hostile: it may hold control characters, text that runs backwards, or Markdown.
"""

from __future__ import annotations

import math
import re
import shlex
import unicodedata
from collections.abc import Sequence

from gate.model import Comparison, Interval, Kind

NAME_LIMIT = 120  # characters of a foreign name
ARGUMENT_LIMIT = 500  # of one that is to be copied: cut, it would mean something else
UNKNOWN = "-"
SAME = "the same statement: "
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
# Characters that show as nothing although Unicode does not class them as format characters.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe0e\ufe0f\u2800")


def count(value: float) -> str:
    """202, 12,345, 0.5: whole numbers plainly, others with at most three decimals that say something."""
    if not math.isfinite(value):
        return UNKNOWN
    if value == int(value):
        return f"{value:,.0f}"
    text = f"{value:,.3f}" if abs(value) >= 0.01 else f"{value:.3g}"
    return text.rstrip("0").rstrip(".") if "e" not in text else text


def seconds(value: float) -> str:
    """1.2 ms, 850 us, 64 s, 5 min 12 s: three digits, the largest unit that leaves a whole part."""
    if not math.isfinite(value):
        return UNKNOWN
    if abs(value) >= 120:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes:,} min {rest} s" if rest else f"{minutes:,} min"
    # Compared after rounding: 999.96 us is 1 ms.
    size, unit = next((s for s in _SECONDS if float(f"{abs(value):.3g}") >= s[0]), _SECONDS[-1])
    return f"{_digits(value / size)} {unit}"


def octets(value: float) -> str:
    """512 B, 24.3 kB, 1.05 MB: decimal units, three digits, bytes exactly."""
    if not math.isfinite(value):
        return UNKNOWN
    for size, unit in _BYTES:
        if float(f"{abs(value):.3g}") >= size:
            return f"{_digits(value / size)} {unit}"
    return f"{count(value)} B"


def share(value: float) -> str:
    """0.02 as "2 %"."""
    return f"{_digits(value * 100)} %" if math.isfinite(value) else UNKNOWN


def percent(ratio: float) -> str:
    """A ratio as a signed change, plus is worse: 1.053 as "+5.3 %", 67.3 as "+6,633 %"."""
    change = (ratio - 1) * 100
    if not math.isfinite(change):
        return UNKNOWN
    if change == 0:
        return "0 %"
    text = (
        f"{change:+,.0f}"
        if abs(change) >= 99.95
        else f"{change:+.2g}"
        if abs(change) < 1
        else f"{change:+.3g}"
    )
    return f"{text} %"


def tenths(ratio: float) -> str:
    """A ratio of times as a signed change, to a tenth of a percent: 1.0934 as "+9.3 %", 0.9996 as "0.0 %".

    Hundredths of a percent of a time are noise, and a column of them cannot be read.
    """
    change = (ratio - 1) * 100
    if not math.isfinite(change):
        return UNKNOWN
    text = f"{change:+,.0f}" if abs(change) >= 99.95 else f"{change:+.1f}"
    return f"{'0.0' if float(text.replace(',', '')) == 0 else text} %"


def bounds(interval: Interval) -> str:
    """ "+9.8 % to +15.1 %"."""
    return f"{tenths(interval.low)} to {tenths(interval.high)}"


def roughly(value: float) -> str:
    """0.6412 as "64 %"."""
    return f"{value * 100:,.0f} %" if math.isfinite(value) else UNKNOWN


def value(number: float | None, unit: str) -> str:
    """One value in its metric's unit; "-" where there is none. Plain counts carry no unit."""
    if number is None:
        return UNKNOWN
    if unit == "s":
        return seconds(number)
    return octets(number) if unit == "bytes" else count(number)


def both(base: float | None, head: float | None, unit: str) -> tuple[str, str]:
    """Two values side by side; where rounding would hide a difference of counts, both exactly."""
    shown = value(base, unit), value(head, unit)
    if unit == "s" or base is None or head is None or base == head or shown[0] != shown[1]:
        return shown
    exact = "B" if unit == "bytes" else ""
    return f"{base:,.9g} {exact}".strip(), f"{head:,.9g} {exact}".strip()


def change(row: Comparison) -> str:
    """ "+5.3 %"; "0 -> 202" where base is 0 and a ratio says nothing; "gone" for a missing case."""
    if row.metric == "case":
        return "gone"
    if row.ratio is not None:
        return tenths(row.ratio) if row.kind is Kind.TIMING else percent(row.ratio)
    if row.base == 0 and row.head:
        return f"0 -> {value(row.head, row.unit)}"
    return "0 %" if row.base is not None and row.base == row.head else UNKNOWN


def plural(n: int, word: str) -> str:
    """ "1 case", "2 cases"."""
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def clean(text: str, limit: int = NAME_LIMIT) -> str:
    """Foreign text on one line: U+FFFD for what is not seen (line ends too), cut at the end."""
    # Cut before each character is looked at: a stranger's text may have millions.
    return cut(_shown(text[: limit + 1]), limit)


def flat(text: str, limit: int) -> str:
    """Foreign prose or SQL on one line: any run of white space is one space, then as `worded`."""
    return worded(_shown(re.sub(r"\s+", " ", text).strip()[: limit + _LONGEST_WORD]), limit)


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(0, limit - 3)].rstrip() + "..."


def worded(text: str, limit: int) -> str:
    """Prose of at most `limit` characters, cut between words; a path that would be cut loses its front.

    "called at .../rows.py:72 ...". A word that is most of the text is cut as a name is.
    """
    if len(text) <= limit:
        return text
    start = text.rfind(" ", 0, max(0, limit - len(_MORE) + 1)) + 1
    before, (word, *after) = text[:start], text[start:].split(" ", 1)
    for slash in re.finditer("/", word[:_LONGEST_WORD]):
        path = f"{before}...{word[slash.start() :]}{_MORE if after else ''}"
        if len(path) <= limit:
            return path
    return before.rstrip() + _MORE if start > limit // 2 else cut(text, limit)


def _shown(text: str) -> str:
    # Most text is plain, and a large report has 100,000 names.
    return text if text.isascii() and text.isprintable() else "".join(map(_seen, text))


def _seen(character: str) -> str:
    # Cc control, Cf format (bidi, zero width), Cs lone surrogates, Zl and Zp line ends.
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in _BLANK
    return "\ufffd" if hidden else character


def lines(text: str, limit: int) -> str:
    """Foreign text of several lines, cut to `limit` characters; line ends stay, tabs become spaces."""
    # A line end may be two characters; what is left over is cut again.
    kept = text[: 2 * limit + 2].replace("\r\n", "\n").replace("\t", "    ").split("\n")
    return cut("\n".join(map(_shown, kept)), limit)


def shortened(text: str, limit: int) -> str:
    """A sentence with SQL in front, "SELECT ... ran 200 times (was 1)", at most `limit` long.

    What says least goes first: who called the code that sent it, the select list, lists of values, the
    table's name before its columns, and last the end of the statement; what it cost stays, and from where
    it was sent.
    """
    text = flat(text, 20 * limit)
    if len(text) > limit and (found := _WHENCE.search(text)):
        place = _CALLED.sub("", found[2]) if len(found[2]) > limit // 2 else found[2]
        if len(place) <= limit // 2:
            return shortened(found[1], limit - len(place)) + place
        return shortened(found[1], limit)
    if _STATEMENT.match(text):
        for pattern, short in _LEAST:
            if len(text) > limit:
                text = pattern.sub(short, text)
    cost = _COST.search(text)
    if len(text) > limit and cost and len(cost[0]) < limit // 2:
        return worded(text[: cost.start()], limit - len(cost[0])) + cost[0]
    return worded(text, limit)


def continued(text: str, earlier: Sequence[str]) -> str:
    """A sentence on a statement below others on the same one, without what they say already.

    "the same statement: 603 blocks (was 3)". Anything else as it is.
    """
    own = _COUNTED.match(flat(text, _LONG))
    others = [_COUNTED.match(flat(each, _LONG)) for each in earlier]
    if not own or not _STATEMENT.match(own["what"]) or not others:
        return text
    if any(other is None or other["what"] != own["what"] for other in others):
        return text
    said = any(other is not None and other["rest"] == own["rest"] for other in others)
    return f"{SAME}{own['cost']}" + ("" if said else own["rest"])


def reason(text: str, limit: int) -> str:
    """A reason, "GET /songs: 3 -> 202 queries; SELECT ... ran 200 times (was 1)", at most `limit` long.

    The statement gives way, not what is said before it nor what it cost.
    """
    text = flat(text, 20 * limit)
    found = _QUOTED.search(text)
    if len(text) <= limit or found is None or found.end() > limit - 60:
        return worded(text, limit)
    return text[: found.end()] + shortened(text[found.end() :], limit - found.end())


_STATEMENT = re.compile(r"(?:select|insert|update|delete|with|merge)\b", re.IGNORECASE)
_QUOTED = re.compile(rf"; (?={_STATEMENT.pattern})", re.IGNORECASE)
_COST = re.compile(r"(?: ran |: )[\d,.]+ [^:]*$")
# What was counted, then what stands behind it: the plan, and the line of code.
_WHENCE = re.compile(r"^(.*? \(was [\d,.]+\)[^;]*)(; .*)$")
_CALLED = re.compile(r", called at [^;]*")
_LONG = 8_000  # characters of a sentence that is looked into
_LONGEST_WORD = 300  # characters beyond a limit in which a path may end
_MORE = " ..."
# Statement, what was counted of it, and what stands behind that.
_COUNTED = re.compile(
    r"(?P<what>.*?)(?:: | (?=ran ))(?P<cost>(?:ran )?[\d,.]+ [a-zA-Z ]+ \(was [\d,.]+\))(?P<rest>.*)$"
)
_LEAST = tuple(
    (re.compile(pattern, re.IGNORECASE), short)
    for pattern, short in (
        (r"\bselect (?!\.\.\. )(?:(?!\bselect\b|\bfrom\b).){12,}? from\b", "SELECT ... FROM"),
        (r"\bin \((?:\s*[^\s(),]+\s*,){2,}\s*[^\s(),]+\s*\)", "IN (...)"),
        (r"(\binsert into \S+) \([^()]{12,}\)", r"\1 (...)"),
        (r"\bvalues \([^()]{8,}\)(?:, ?\([^()]*\))*", "VALUES (...)"),
        (r"\breturning .{12,}?(?=;|$| ran \d|: \d)", "RETURNING ..."),
        (r"\b[a-z_][a-z0-9_]*\.(?=[a-z_])", ""),
    )
)


def quoted(argument: str) -> str | None:
    """An argument to copy into a shell, or None where what is shown would not be what is meant.

    So it is where a program would take it for an option, which no quotes prevent.
    """
    plain = clean(argument, ARGUMENT_LIMIT) == argument and not argument.startswith("-")
    return shlex.quote(argument) if plain else None


def _digits(number: float) -> str:
    """Three significant digits without an exponent: 1.05, 24.3, 812, 12,345."""
    if abs(number) >= 999.5:
        return f"{number:,.0f}"
    return f"{number:.3g}"
