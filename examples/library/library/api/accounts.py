"""Login and settings."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify

from library import auth, params
from library.db import database
from library.models import THEMES
from library.params import ApiError
from library.services import accounts

blueprint = Blueprint("accounts", __name__, url_prefix="/api")


@blueprint.post("/login")
def login() -> Response:
    """A bearer token for a person (email and password) or for a service (service_token)."""
    data = params.body()
    if "service_token" in data:
        if not auth.is_service_token(params.body_text(data, "service_token", longest=500)):
            raise ApiError(401, "the service token is wrong")
        caller = auth.SERVICE
    else:
        email = params.body_text(data, "email", longest=320)
        password = params.body_text(data, "password", longest=500)
        with database().reading() as session:
            caller = accounts.authenticate(session, email, password)
    ttl = current_app.extensions["library.settings"].token_ttl
    return jsonify(token=auth.issue_token(caller), token_type="Bearer", expires_in=ttl)


@blueprint.patch("/settings")
@auth.token_required
def change_settings() -> Response:
    data = params.body()
    user_id, changes = auth.acting_user(data), _changes(data)
    with database().writing() as session:
        return jsonify(accounts.change_settings(session, user_id, changes))


@blueprint.get("/settings")
def settings() -> Response:
    user_id = params.user_id()
    with database().reading() as session:
        return jsonify(accounts.settings(session, user_id))


def _changes(data: dict[str, Any]) -> dict[str, Any]:
    """The settings named in the body, checked; at least one."""
    changes: dict[str, Any] = {}
    if "theme" in data:
        changes["theme"] = params.checked_choice("theme", data["theme"], THEMES)
    if "language" in data:
        changes["language"] = params.body_text(data, "language", longest=8)
    if "hide_explicit" in data:
        changes["hide_explicit"] = params.checked_choice(
            "hide_explicit", data["hide_explicit"], (True, False)
        )
    if "songs_per_page" in data:
        changes["songs_per_page"] = params.checked_integer(
            "songs_per_page", data["songs_per_page"], low=10, high=100
        )
    if not changes:
        raise ApiError(400, "name at least one setting")
    return changes
