"""Songs, artists, videos and the search."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from library import params
from library.api.streaming import streamed
from library.db import database
from library.models import SONG_STATUSES
from library.params import ApiError
from library.services import catalogue, videos
from library.services.export import songs_csv

blueprint = Blueprint("catalogue", __name__, url_prefix="/api")

SHORTEST_QUERY = 2
LONGEST_QUERY = 100
MOST_EXPORTED = 100_000


@blueprint.get("/songs")
def songs() -> Response:
    status, page = params.choice("status", SONG_STATUSES, "analysed"), params.page()
    with database().reading() as session:
        return jsonify(catalogue.songs_by_status(session, status, page))


@blueprint.get("/songs/<int:song_id>")
def song(song_id: int) -> Response:
    with database().reading() as session:
        return jsonify(catalogue.song_detail(session, song_id))


@blueprint.get("/songs/export.csv")
def export() -> Response:
    status = params.choice("status", SONG_STATUSES, "analysed")
    limit = params.integer("limit", 1000, high=MOST_EXPORTED)
    return streamed(lambda session: songs_csv(session, status, limit), "text/csv", "songs.csv")


@blueprint.get("/artists/<int:artist_id>/songs")
def songs_of_artist(artist_id: int) -> Response:
    page = params.page()
    with database().reading() as session:
        return jsonify(catalogue.songs_of_artist(session, artist_id, page))


@blueprint.get("/videos")
def videos_page() -> Response:
    sort, page = params.choice("sort", tuple(videos.ORDERS), "title"), params.page()
    with database().reading() as session:
        return jsonify(videos.videos_page(session, sort, page))


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
