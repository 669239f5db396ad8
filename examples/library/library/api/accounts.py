"""Login and settings."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify

from library import auth, params
from library.db import database
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


@blueprint.get("/settings")
def settings() -> Response:
    user_id = params.user_id()
    with database().reading() as session:
        return jsonify(accounts.settings(session, user_id))
