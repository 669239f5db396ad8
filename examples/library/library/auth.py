"""Bearer tokens: signed, not stored, so that a request needs no query to know its caller."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import current_app, g, request
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.security import check_password_hash, generate_password_hash

from library.config import Settings
from library.params import ApiError


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent the request. user_id: None for a service, which is always an admin."""

    user_id: int | None
    admin: bool

    def may_edit(self, owner_id: int) -> bool:
        return self.admin or self.user_id == owner_id


SERVICE = Caller(user_id=None, admin=True)


def issue_token(caller: Caller) -> str:
    return _serializer().dumps([caller.user_id, caller.admin])


def is_service_token(token: str) -> bool:
    expected = _settings().admin_token
    return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())


def password_matches(password_hash: str | None, password: str) -> bool:
    """Takes as long for an unknown user as for a known one."""
    try:
        matches = check_password_hash(password_hash or _unusable_hash(), password)
    except ValueError:  # a hash by a method that is no longer supported
        return False
    return matches and password_hash is not None


def read_caller() -> Caller | None:
    """The caller that the Authorization header proves; None without the header; 401 for a bad token."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise ApiError(401, "use a bearer token")
    if is_service_token(token):
        return SERVICE
    try:
        user_id, admin = _serializer().loads(token, max_age=_settings().token_ttl)
    except BadData:
        raise ApiError(401, "the token is not valid or has expired") from None
    return Caller(user_id, admin)


def token_required(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if g.caller is None:
            raise ApiError(401, "a bearer token is needed; POST /api/login gives one")
        return view(*args, **kwargs)

    return guarded


def _settings() -> Settings:
    return current_app.extensions["library.settings"]


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(_settings().secret, salt="library.bearer")


@functools.cache
def _unusable_hash() -> str:
    return generate_password_hash("nobody has this password")
