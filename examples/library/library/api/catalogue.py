"""Songs, artists and the search."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from library import params
from library.db import database
from library.models import SONG_STATUSES
from library.params import ApiError
from library.services import catalogue

blueprint = Blueprint("catalogue", __name__, url_prefix="/api")

SHORTEST_QUERY = 2
LONGEST_QUERY = 100


@blueprint.get("/songs")
def songs() -> Response:
    status, page = params.choice("status", SONG_STATUSES, "analysed"), params.page()
    with database().reading() as session:
        return jsonify(catalogue.songs_by_status(session, status, page))


@blueprint.get("/artists")
def artists() -> Response:
    page = params.page()
    with database().reading() as session:
        return jsonify(catalogue.artists_by_name(session, page))


@blueprint.get("/search")
def search() -> Response:
    query = request.args.get("q", "").strip()
    if not SHORTEST_QUERY <= len(query) <= LONGEST_QUERY:
        raise ApiError(400, f"q must have {SHORTEST_QUERY} to {LONGEST_QUERY} characters")
    limit = params.integer("per_page", 20, high=params.MAX_PER_PAGE)
    with database().reading() as session:
        return jsonify(catalogue.search(session, query, limit))
