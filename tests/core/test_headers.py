"""Which change of headers makes browsers and proxies ask again for what they kept."""

from __future__ import annotations

import pytest

from gate.explain.headers import kept_by, kept_less

DATE = "Date: Wed, 21 Oct 2026 07:28:00 GMT"
SOON = f"{DATE}\nExpires: Wed, 21 Oct 2026 07:29:00 GMT"
NEVER = f"{DATE}\nExpires: Thu, 01 Jan 1970 00:00:00 GMT\nCache-Control: max-age=0, no-cache, no-store"


def fields(text: str) -> tuple[tuple[str, str], ...]:
    lines = (line.partition(":") for line in text.splitlines())
    return tuple((name.strip().lower(), value.strip()) for name, _, value in lines)


def less(base: str, head: str) -> str:
    return kept_less(kept_by([fields(base)]), kept_by([fields(head)]))


@pytest.mark.parametrize(
    ("base", "head", "why"),
    [
        ("Cache-Control: public, max-age=60", "", "browsers"),
        ("Cache-Control: max-age=600", "Cache-Control: max-age=0", "browsers"),
        ("Cache-Control: max-age=60", "Cache-Control: No-Cache, max-age=60", "browsers"),
        (SOON, DATE, "browsers"),
        (SOON, NEVER, "browsers"),
        ("Cache-Control: max-age=60", "Cache-Control: private, max-age=60", "proxies"),
        ("Cache-Control: s-maxage=5", "Cache-Control: s-maxage=0", "proxies"),
        ('ETag: W/"1"', "", "ETag"),
        ("Last-Modified: x\nETag: y", "Vary: Cookie", "ETag"),
        ("ETag: y", "ETag: y\nCache-Control: no-store", "ETag"),
    ],
)
def test_what_is_kept_less_is_told(base: str, head: str, why: str) -> None:
    assert why in less(base, head)


@pytest.mark.parametrize(
    ("base", "head"),
    [
        ("", ""),
        ("Cache-Control: max-age=60", "Cache-Control: public, max-age=60"),
        ("Cache-Control: max-age=60", "Cache-Control: max-age=3600"),
        ("Cache-Control: max-age=3599", "Cache-Control: max-age=3598"),
        ("Cache-Control: max-age=60, private", 'Cache-Control: max-age=60, private, no-cache="set-cookie"'),
        ("Cache-Control: s-maxage=5, max-age=1", "Cache-Control: max-age=600"),
        ("Cache-Control: max-age=60", SOON),
        ("Cache-Control: no-store", "Cache-Control: no-cache"),
        ("Cache-Control: no-store\nETag: x", "Cache-Control: no-store"),
        ("Cache-Control: max-age=abc", "Cache-Control: max-age=-1"),
        (NEVER, ""),
        ("Expires: 0", ""),
        (SOON, "Cache-Control: max-age=60"),
        ('ETag: "1"', 'ETag: "2"'),
        ("ETag: 1\nLast-Modified: x", "Last-Modified: x"),
        ("ETag: 1", "Cache-Control: max-age=86400, immutable"),
        ("Vary: Cookie, Accept", "Vary: Accept, Cookie"),
        ("Server: a", "Server: b"),
    ],
)
def test_what_is_kept_as_well_is_not_told(base: str, head: str) -> None:
    assert less(base, head) == ""


def test_what_answers_do_not_agree_on_is_not_known() -> None:
    """A list of requests of which one has no ETag says nothing of ETags."""
    some = kept_by([fields("ETag: x"), fields("")])
    assert "validated" not in some
    assert kept_less(kept_by([fields("ETag: x")]), some) == ""
    assert kept_less(some, kept_by([fields("")])) == ""
    assert kept_by([]) == {}
