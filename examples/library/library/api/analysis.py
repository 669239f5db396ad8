"""The analysis of lyrics: at once for one text, by the worker for songs."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from library import lyrics, params
from library.auth import token_required
from library.cache import redis
from library.db import database
from library.jobs import enqueue_analysis
from library.services.playlists import require_songs

blueprint = Blueprint("analysis", __name__, url_prefix="/api")

MOST_SONGS = 1000
LONGEST_LYRICS = 20_000


@blueprint.post("/lyrics/preview")
def preview() -> Response:
    """What the analysis would say about a text; nothing is stored."""
    text = params.body_text(params.body(), "lyrics", longest=LONGEST_LYRICS)
    plain = lyrics.normalised(lyrics.plain_text(text))
    return jsonify(
        asdict(lyrics.analyse(text))
        | {
            "rhyme_scheme": lyrics.rhyme_scheme(lyrics.lines(plain)),
            "phrases": lyrics.phrases(lyrics.tokens(plain)),
        }
    )


@blueprint.post("/analysis")
@token_required
def start() -> tuple[Response, int]:
    """Queue songs for the worker."""
    song_ids = params.body_ids(params.body(), "song_ids", most=MOST_SONGS)
    with database().reading() as session:
        require_songs(session, song_ids)
    return jsonify(songs=len(song_ids), jobs=enqueue_analysis(redis(), song_ids)), 202
