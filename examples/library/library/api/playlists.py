"""Playlists and what changes them."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify

from library import params
from library.auth import token_required
from library.cache import invalidate
from library.db import database
from library.services import playlists

blueprint = Blueprint("playlists", __name__, url_prefix="/api/playlists")

MOST_SONGS = 100


@blueprint.get("/<int:playlist_id>")
def show(playlist_id: int) -> Response:
    page = params.page()
    with database().reading() as session:
        return jsonify(playlists.playlist_page(session, playlist_id, page))


@blueprint.post("/<int:playlist_id>/sync")
@token_required
def sync(playlist_id: int) -> Response:
    song_ids = params.body_ids(params.body(), "song_ids", most=MOST_SONGS)
    with database().writing() as session:
        playlist = playlists.editable(session, g.caller, playlist_id)
        result = playlists.sync(session, playlist, song_ids)
    invalidate(f"progress:{playlist.owner_id}")
    return jsonify(result)
