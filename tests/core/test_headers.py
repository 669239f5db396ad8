"""Which change of headers makes browsers and proxies keep answers for a shorter time."""

from __future__ import annotations

import pytest

from gate.explain.headers import kept_by, kept_less


def kept(text: str) -> tuple[tuple[str, str], ...]:
    lines = (line.partition(":") for line in text.splitlines())
    return kept_by((name.strip().lower(), value.strip()) for name, _, value in lines)


@pytest.mark.parametrize(
    ("base", "head", "why"),
    [
        ("Cache-Control: public, max-age=60", "", "no max-age, 60 on base"),
        ("Cache-Control: max-age=600", "Cache-Control: max-age=60", "max-age 60, 600 on base"),
        ("Cache-Control: s-maxage=5, max-age=1", "Cache-Control: max-age=1", "no s-maxage, 5 on base"),
        ("Cache-Control: private", "Cache-Control: no-store", "`no-store`"),
        ("Cache-Control: max-age=60", "Cache-Control: No-Cache, max-age=60", "`no-cache`"),
        ('ETag: W/"1"', "", "`ETag`"),
        ("Expires: Wed, 21 Oct 2026 07:28:00 GMT", "", "`Expires`"),
        ("Last-Modified: x\nETag: y", "Vary: Cookie", "`ETag` and `Last-Modified`"),
    ],
)
def test_what_is_kept_less_is_told(base: str, head: str, why: str) -> None:
    assert why in kept_less(kept(base), kept(head))


@pytest.mark.parametrize(
    ("base", "head"),
    [
        ("", ""),
        ("Cache-Control: max-age=60", "Cache-Control: public, max-age=60"),
        ("Cache-Control: max-age=60", "Cache-Control: max-age=3600"),
        ('ETag: "1"', 'ETag: "2"'),
        ("Expires: Wed, 21 Oct 2026 07:28:00 GMT", "Expires: Thu, 22 Oct 2026 07:28:00 GMT"),
        ("Expires: Wed, 21 Oct 2026 07:28:00 GMT", "Cache-Control: max-age=60"),
        ("Cache-Control: no-store", ""),
        ("Date: now\nServer: a", "Server: b"),
        ("Cache-Control: max-age=abc", "Cache-Control: max-age=-1"),
    ],
)
def test_what_is_kept_as_well_is_not_told(base: str, head: str) -> None:
    assert kept_less(kept(base), kept(head)) == ""


def test_what_changes_with_every_answer_is_not_kept() -> None:
    assert kept('ETag: "abc"\nExpires: tomorrow\nVary: Cookie\nVary: Accept') == (
        ("etag", "set"),
        ("expires", "set"),
        ("vary", "cookie, accept"),
    )
