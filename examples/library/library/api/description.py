"""The description of this interface, for programs."""

from __future__ import annotations

import functools

from flask import Blueprint, Response, json

from library.openapi import document

blueprint = Blueprint("description", __name__, url_prefix="/api")


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return Response(_body(), mimetype="application/json")


@functools.cache
def _body() -> str:
    return json.dumps(document())
