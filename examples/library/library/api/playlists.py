"""Playlists and what changes them."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify

from library import params
from library.api.streaming import streamed
from library.auth import acting_user, token_required
from library.cache import invalidate
from library.db import database
from library.models import VISIBILITIES
from library.services import playlists
from library.services.export import playlist_json

blueprint = Blueprint("playlists", __name__, url_prefix="/api/playlists")

MOST_SONGS = 100
MOST_POSITIONS = 100_000


@blueprint.get("/<int:playlist_id>")
def show(playlist_id: int) -> Response:
    page = params.page()
    with database().reading() as session:
        return jsonify(playlists.playlist_page(session, playlist_id, page))


@blueprint.get("/<int:playlist_id>/themes")
def themes(playlist_id: int) -> Response:
    with database().reading() as session:
        return jsonify(playlists.theme_profile(session, playlist_id))


@blueprint.get("/<int:playlist_id>/duplicates")
def duplicates(playlist_id: int) -> Response:
    with database().reading() as session:
        return jsonify(playlists.duplicates(session, playlist_id))


@blueprint.get("/<int:playlist_id>/export.json")
def export(playlist_id: int) -> Response:
    with database().reading() as session:
        playlists.existing(session, playlist_id)
    name = f"playlist-{playlist_id}.json"
    return streamed(lambda session: playlist_json(session, playlist_id), "application/json", name)


@blueprint.post("")
@token_required
def create() -> tuple[Response, int, dict[str, str]]:
    data = params.body()
    owner_id = acting_user(data, "owner_id")
    name = params.body_text(data, "name", longest=200)
    description = params.body_text(data, "description", longest=2000) if "description" in data else None
    visibility = params.checked_choice("visibility", data.get("visibility", "private"), VISIBILITIES)
    with database().writing() as session:
        result = playlists.create(session, owner_id, name, description, visibility)
    invalidate(f"progress:{owner_id}")
    return jsonify(result), 201, {"Location": f"/api/playlists/{result['id']}"}


@blueprint.post("/<int:playlist_id>/songs")
@token_required
def append(playlist_id: int) -> tuple[Response, int]:
    song_id = params.checked_integer("song_id", params.body().get("song_id"))
    with database().writing() as session:
        playlist = playlists.editable(session, g.caller, playlist_id)
        result = playlists.append(session, playlist, song_id)
    invalidate(f"progress:{playlist.owner_id}")
    return jsonify(result), 201


@blueprint.post("/<int:playlist_id>/move")
@token_required
def move(playlist_id: int) -> Response:
    data = params.body()
    start = params.checked_integer("from", data.get("from"), high=MOST_POSITIONS)
    end = params.checked_integer("to", data.get("to"), high=MOST_POSITIONS)
    with database().writing() as session:
        playlist = playlists.editable(session, g.caller, playlist_id)
        return jsonify(playlists.move(session, playlist, start, end))


@blueprint.post("/<int:playlist_id>/sync")
@token_required
def sync(playlist_id: int) -> Response:
    song_ids = params.body_ids(params.body(), "song_ids", most=MOST_SONGS)
    with database().writing() as session:
        playlist = playlists.editable(session, g.caller, playlist_id)
        result = playlists.sync(session, playlist, song_ids)
    invalidate(f"progress:{playlist.owner_id}")
    return jsonify(result)
