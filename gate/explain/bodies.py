"""Which part of an answer has grown: the keys of JSON, the elements of HTML.

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
    """What takes more bytes on head, largest growth first; nothing where it is neither JSON nor HTML."""
    if max(len(before), len(after)) > MOST_BYTES:
        return ()
    was, now = _sizes(before), _sizes(after)
    if was is None or now is None:
        return ()
    grown = [(now[name] - was[name], name) for name in now if now[name] > was[name]]
    return tuple(
        Difference(what="part", text=name, measure="bytes", before=float(was[name]), after=float(now[name]))
        for _, name in sorted(grown, key=lambda part: (-part[0], part[1]))
    )


def _sizes(body: bytes) -> Counter[str] | None:
    """Bytes by the name of a part."""
    text = body.decode("utf-8", "replace")
    try:
        found: Counter[str] = Counter()
        _add(found, json.loads(text), "")
    except (ValueError, RecursionError):
        return _elements(text) if text.lstrip().startswith("<") else None
    return found


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
    return len(json.dumps(value, ensure_ascii=False).encode())


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
