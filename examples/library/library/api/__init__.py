"""The JSON interface: one blueprint per subject."""

from __future__ import annotations

from flask import Flask

from library.api import accounts, analysis, catalogue, description, downloads, health, playlists, progress


def register(app: Flask) -> None:
    for module in (accounts, analysis, catalogue, description, downloads, health, playlists, progress):
        app.register_blueprint(module.blueprint)
