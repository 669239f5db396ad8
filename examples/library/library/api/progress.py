"""Progress and performance of the analysis, fresh or from the cache."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, Response, jsonify

from library import params
from library.cache import cached
from library.db import database
from library.services import progress

blueprint = Blueprint("progress", __name__, url_prefix="/api")

MOST_DAYS = 31


@blueprint.get("/progress")
def user_progress() -> Response:
    return jsonify(_progress(params.user_id()))


@blueprint.get("/progress/cached")
def cached_user_progress() -> Response:
    return _cached_progress(user_id=params.user_id()).response()


@blueprint.get("/performance")
def performance() -> Response:
    return jsonify(_performance(params.day("from"), _days()))


@blueprint.get("/performance/cached")
def cached_performance() -> Response:
    return _cached_performance(start=params.day("from"), days=_days()).response()


def _days() -> int:
    return params.integer("days", 7, high=MOST_DAYS)


def _progress(user_id: int) -> dict[str, Any]:
    with database().reading() as session:
        return progress.user_progress(session, user_id)


def _performance(start: datetime, days: int) -> dict[str, Any]:
    with database().reading() as session:
        return progress.daily_performance(session, start, days)


# Forgotten when the user's playlists change. The worker does not forget it: who watches the progress
# of an analysis may see it half a minute late.
@cached(ttl=30, key="progress:{user_id}")
def _cached_progress(*, user_id: int) -> dict[str, Any]:
    return _progress(user_id)


# Only the last day still changes, and a minute more or less does not matter there.
@cached(ttl=60, key="performance:{start:%Y-%m-%d}:{days}")
def _cached_performance(*, start: datetime, days: int) -> dict[str, Any]:
    return _performance(start, days)
