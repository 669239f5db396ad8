"""Users: who they are and what they prefer."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from library.auth import Caller, password_matches
from library.models import User
from library.params import ApiError
from library.services.rows import Row, moment


def settings(session: Session, user_id: int) -> Row:
    return settings_row(existing_user(session, user_id))


def change_settings(session: Session, user_id: int, changes: Row) -> Row:
    user = existing_user(session, user_id)
    for name, value in changes.items():
        setattr(user, name, value)
    user.updated_at = datetime.now(UTC)
    return settings_row(user)


def authenticate(session: Session, email: str, password: str) -> Caller:
    """The user with this address and password; 401 without telling which of the two was wrong."""
    user = session.scalar(select(User).where(User.email == email).options(undefer(User.password_hash)))
    matches = password_matches(user.password_hash if user else None, password)
    if user is None or not matches:
        raise ApiError(401, "email or password is wrong")
    return Caller(user_id=user.id, admin=user.role == "admin")


def existing_user(session: Session, user_id: int) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise ApiError(404, f"there is no user {user_id}")
    return user


def settings_row(user: User) -> Row:
    return {
        "user_id": user.id,
        "theme": user.theme,
        "language": user.language,
        "hide_explicit": user.hide_explicit,
        "songs_per_page": user.songs_per_page,
        "updated_at": moment(user.updated_at),
    }
