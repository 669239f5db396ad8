"""Which part of an answer has grown: the keys of JSON, the elements of HTML, the lines of a text.

Pure, from one answer of either side to the same request. Of what is in them only names are kept.
"""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from typing import Any

from gate.model import Difference

MOST_BYTES = 4_000_000  # of an answer that is read
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)


def parts(before: bytes, after: bytes) -> tuple[Difference, ...]:
    """What takes more bytes on head, largest growth first; of other texts how many lines there are."""
    was, now = _sizes(before), _sizes(after)
    if was is None or now is None:
        return _lines(before, after)
    grown = [(now[name] - was[name], name) for name in now if now[name] > was[name]]
    if not grown and len(after) > len(before) and _json(before) == _json(after) is not None:
        return (_part("white space and escapes around the same values", "bytes", len(before), len(after)),)
    return tuple(
        _part(name, "bytes", was[name], now[name])
        for _, name in sorted(grown, key=lambda part: (-part[0], part[1]))
    )


def _part(text: str, measure: str, before: int, after: int) -> Difference:
    return Difference(what="part", text=text, measure=measure, before=float(before), after=float(after))


def _lines(before: bytes, after: bytes) -> tuple[Difference, ...]:
    try:
        before.decode(), after.decode()
    except UnicodeDecodeError:
        return ()
    was, now = before.count(b"\n"), after.count(b"\n")
    return (_part("the answer", "lines", was, now),) if now > was else ()


def _json(body: bytes) -> Any:
    """None where it is none, or too much to be read."""
    try:
        return json.loads(body.decode("utf-8", "replace")) if len(body) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        return None


def _sizes(body: bytes) -> Counter[str] | None:
    """Bytes by the name of a part; None where it is neither JSON nor HTML."""
    found: Counter[str] = Counter()
    value = _json(body)
    if value is not None:
        try:
            _add(found, value, "")
        except RecursionError:
            return None
        return found
    text = body[:MOST_BYTES].decode("utf-8", "replace")
    return _elements(text) if text.lstrip().startswith("<") and len(body) <= MOST_BYTES else None


def _add(found: Counter[str], value: Any, name: str) -> None:
    """Each key's own bytes and those of its plain values: "songs[].artist.name"."""
    if isinstance(value, dict):
        for key, item in value.items():
            inner = f"{name}.{key}" if name else str(key)
            found[inner] += _length(key) + 2
            _add(found, item, inner)
    elif isinstance(value, list):
        for item in value:
            _add(found, item, f"{name}[]")
    else:
        found[name or "the answer"] += _length(value)


def _length(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


class _Elements(HTMLParser):
    """Bytes of each kind of element, tags and text, without those inside of it: "<svg.icon>"."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: Counter[str] = Counter()
        self._open = ["text"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kinds = (dict(attrs).get("class") or "").split()
        name = f"<{'.'.join((tag, *kinds[:1]))}>"
        self.found[name] += len((self.get_starttag_text() or "").encode())
        if tag not in _VOID:
            self._open.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        for depth in range(len(self._open) - 1, 0, -1):  # what was left open inside ends too
            if self._open[depth][1:-1].split(".")[0] == tag:
                self.found[self._open[depth]] += len(tag) + 3
                del self._open[depth:]
                return

    def handle_data(self, data: str) -> None:
        self.found[self._open[-1]] += len(data.encode())


def _elements(text: str) -> Counter[str] | None:
    parser = _Elements()
    try:
        parser.feed(text)
        parser.close()
    except AssertionError:  # how it says that a declaration is none
        return None
    return parser.found
