"""Bearer tokens: signed, not stored, so that a request needs no query to know its caller."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import current_app, g
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.security import check_password_hash, generate_password_hash

from library.config import Settings
from library.params import ApiError, checked_integer


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


def caller_of(header: str | None) -> Caller | None:
    """The caller that an Authorization header proves; None without the header; 401 for a bad token."""
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


def acting_user(data: Mapping[str, Any], name: str = "user_id") -> int:
    """For whom the caller acts: for itself, or an admin for the user that the body names."""
    caller: Caller = g.caller
    if name not in data and caller.user_id is not None:
        return caller.user_id
    user_id = checked_integer(name, data.get(name))
    if not caller.may_edit(user_id):
        raise ApiError(403, "only an admin may act for somebody else")
    return user_id


def _settings() -> Settings:
    settings: Settings = current_app.extensions["library.settings"]
    return settings


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(_settings().secret, salt="library.bearer")


@functools.cache
def _unusable_hash() -> str:
    return generate_password_hash("nobody has this password")
