"""Can this process do its work?"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from sqlalchemy import text

from library.cache import redis
from library.db import database

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> Response:
    """Asks both services; a failure is a 500, which is all that a load balancer needs."""
    with database().reading() as session:
        session.execute(text("SELECT 1"))
    redis().ping()
    return jsonify(status="ok")
