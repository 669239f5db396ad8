"""Downloads of songs."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify

from library import params
from library.auth import acting_user, token_required
from library.cache import redis
from library.db import database
from library.models import DOWNLOAD_FORMATS
from library.params import ApiError
from library.services import downloads

blueprint = Blueprint("downloads", __name__, url_prefix="/api/downloads")


@blueprint.get("")
def index() -> Response:
    user_id, page = params.user_id(), params.page()
    with database().reading() as session:
        return jsonify(downloads.downloads_page(session, redis(), user_id, page))


@blueprint.post("")
@token_required
def start() -> tuple[Response, int]:
    data = params.body()
    user_id = acting_user(data)
    song_id = params.checked_integer("song_id", data.get("song_id"))
    file_format = params.checked_choice("format", data.get("format", "mp3"), DOWNLOAD_FORMATS)
    with database().writing() as session:
        result = downloads.request_download(session, user_id, song_id, file_format)
    return jsonify(result), 202


@blueprint.put("/<int:download_id>/progress")
@token_required
def report(download_id: int) -> Response:
    """For the downloader, which logs in as a service."""
    if not g.caller.admin:
        raise ApiError(403, "only the downloader reports progress")
    data = params.body()
    percent = params.checked_integer("percent", data.get("percent"), low=0, high=100)
    size = params.checked_integer("size_bytes", data["size_bytes"], low=0) if "size_bytes" in data else None
    with database().writing() as session:
        result = downloads.report(session, download_id, percent, size)
    downloads.remember_percent(redis(), download_id, percent)
    return jsonify(result)
