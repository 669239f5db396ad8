"""The HTML pages."""

from __future__ import annotations

from flask import Blueprint, render_template

from library import params
from library.db import database
from library.services import playlists

blueprint = Blueprint("pages", __name__)


@blueprint.get("/dashboard")
def dashboard() -> str:
    user_id, page = params.user_id(), params.page()
    with database().reading() as session:
        content = playlists.dashboard_page(session, user_id, page)
    return render_template("dashboard.html", **content)


@blueprint.get("/playlists/<int:playlist_id>")
def playlist(playlist_id: int) -> str:
    page = params.page()
    with database().reading() as session:
        content = playlists.playlist_page(session, playlist_id, page)
    return render_template("playlist.html", **content)


@blueprint.app_template_filter()
def minutes(duration_ms: int) -> str:
    """Minutes and seconds, as 3:07."""
    seconds = duration_ms // 1000
    return f"{seconds // 60}:{seconds % 60:02}"
