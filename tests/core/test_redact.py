"""Secrets do not survive in text that enters an error."""

from __future__ import annotations

import time

import pytest

from gate.redact import redact, secrets_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://user:pw@127.0.0.1:5432/db", "postgresql://***@127.0.0.1:5432/db"),
        ("redis://:pw@h/0 and http://token@h/", "redis://***@h/0 and http://***@h/"),
        ("url 'amqp://a:p@w@host/v'", "url 'amqp://***@host/v'"),
        ("connect(password='x y', port=1)", "connect(password='*** y', port=1)"),
        ('{"api_key": "abcdef"}', '{"api_key": "***"}'),
        ("x-api-key: abcdef", "x-api-key: ***"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("see https://example.org/a@b and me@example.org", "see https://example.org/a@b and me@example.org"),
    ],
)
def test_credentials_are_hidden(text: str, expected: str) -> None:
    """Credentials in URLs, bearer tokens and assigned passwords go; everything else stays."""
    assert redact(text) == expected


@pytest.mark.parametrize("unit", ["a.", "a-", "a", "token", "a://", "=", "bearer "])
def test_long_lines_cost_little(unit: str) -> None:
    """A log may hold one line of anything; redacting it takes milliseconds of CPU, not minutes."""
    begun = time.process_time()
    redact(unit * (64 * 1024 // len(unit)))
    assert time.process_time() - begun < 1


def test_given_secrets_are_hidden_wherever_they_stand() -> None:
    """A secret value is hidden also percent-encoded, and where one secret is part of another."""
    assert redact("x hunter22/ hunter22%2F hunter2 y", ["hunter2", "hunter22/"]) == "x *** *** *** y"


def test_a_secret_too_short_to_hide_is_left() -> None:
    """Hiding "dev" everywhere would make a log unreadable."""
    assert redact("development", ["dev"]) == "development"


def test_an_environment_tells_its_secrets() -> None:
    """Telling names and passwords in URLs are secrets, plain settings are not."""
    env = {
        "SECRET_KEY": "aaaa",
        "GITHUB_TOKEN": "bbbb",
        "PGPASSWORD": "cccc",
        "DATABASE_URL": "postgresql://u:dd%40dd@h/db",
        "PATH": "/bin",
        "KEYBOARD": "us",
    }
    assert secrets_of(env) == ("aaaa", "bbbb", "cccc", "dd%40dd", "dd@dd")
