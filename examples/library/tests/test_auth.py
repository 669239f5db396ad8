from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask, g
from werkzeug.security import generate_password_hash

from library import auth, create_app
from library.auth import Caller
from library.config import Settings
from library.params import ApiError


@pytest.fixture
def app() -> Iterator[Flask]:
    app = create_app(
        Settings(
            database_url="postgresql+psycopg://127.0.0.1/none",
            redis_url="redis://127.0.0.1",
            secret="a secret",
            admin_token="service",
        )
    )
    with app.test_request_context():
        yield app


def test_token_names_its_caller(app: Flask) -> None:
    """A token gives back who it was made for."""
    caller = Caller(user_id=5, admin=False)
    assert auth.caller_of(f"Bearer {auth.issue_token(caller)}") == caller


def test_service_token(app: Flask) -> None:
    """The token of the environment is an admin without a user."""
    assert auth.caller_of("bearer service") == Caller(user_id=None, admin=True)


def test_no_header(app: Flask) -> None:
    """Nobody in particular may read."""
    assert auth.caller_of(None) is None


@pytest.mark.parametrize("header", ["Bearer", "Bearer x.y.z", "Basic service", "service"])
def test_bad_header(app: Flask, header: str) -> None:
    """A token that proves nothing is refused even where none is needed."""
    with pytest.raises(ApiError) as caught:
        auth.caller_of(header)
    assert caught.value.status == 401


def test_no_service_login_by_default() -> None:
    """Without LIBRARY_ADMIN_TOKEN an empty token is not a password."""
    with create_app(Settings.from_env({})).test_request_context():
        assert not auth.is_service_token("")


def test_passwords() -> None:
    """Only the right password of a known user matches."""
    stored = generate_password_hash("right", method="pbkdf2:sha256:1000")
    assert auth.password_matches(stored, "right")
    assert not auth.password_matches(stored, "wrong")
    assert not auth.password_matches(None, "nobody has this password")
    assert not auth.password_matches("crypt$$x", "right")


def test_acting_for_somebody_else(app: Flask) -> None:
    """A user acts for itself, an admin for whom it names."""
    g.caller = Caller(user_id=5, admin=False)
    assert auth.acting_user({}) == 5
    with pytest.raises(ApiError):
        auth.acting_user({"user_id": 6})
    g.caller = auth.SERVICE
    assert auth.acting_user({"user_id": 6}) == 6
    with pytest.raises(ApiError):
        auth.acting_user({})
