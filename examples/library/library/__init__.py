"""A music library: playlists, songs, their analysis, downloads and videos."""

from __future__ import annotations

from flask import Flask, Response, g, jsonify, request
from redis import Redis
from sqlalchemy.orm import configure_mappers
from werkzeug.exceptions import HTTPException

from library.config import Settings
from library.params import ApiError


def create_app(settings: Settings | None = None) -> Flask:
    from library import api, auth, pages
    from library.db import Database, make_engine

    settings = settings or Settings.from_env()
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024
    app.extensions["library.settings"] = settings
    app.extensions["library.database"] = Database(make_engine(settings))
    app.extensions["library.redis"] = Redis.from_url(settings.redis_url)
    configure_mappers()

    @app.before_request
    def identify() -> None:
        g.caller = None
        g.caller = auth.caller_of(request.headers.get("Authorization"))

    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(HTTPException, _http_error)
    api.register(app)
    app.register_blueprint(pages.blueprint)
    return app


def _api_error(error: ApiError) -> tuple[Response, int]:
    return jsonify(error=error.message), error.status


def _http_error(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=error.description), error.code or 500
