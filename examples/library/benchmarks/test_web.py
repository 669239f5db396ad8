"""What a request costs beside the database: rows to values, templates, exports, tokens. Processor only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask, json, render_template
from pytest_benchmark.fixture import BenchmarkFixture

from library import auth, create_app, openapi
from library.config import Settings
from library.models import AnalysisResult, Artist, PlaylistSong, Song
from library.services import export, rows
from library.services.catalogue import prefix_pattern

SIZES = [10, 50, 100]
START = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    """Connects to nothing: the engine and the Redis client wait for their first use."""
    app = create_app(
        Settings(
            database_url="postgresql+psycopg://127.0.0.1/none", redis_url="redis://127.0.0.1", secret="fixed"
        )
    )
    with app.test_request_context():
        yield app


def entries(size: int) -> list[PlaylistSong]:
    return [
        PlaylistSong(
            position=number,
            added_at=START + timedelta(minutes=number),
            song=Song(
                id=number,
                title=f"Song & dance {number}",
                artist=Artist(id=number, name=f"Artist <{number}>"),
                duration_ms=180_000 + number,
                explicit=number % 7 == 0,
                status="analysed",
                analysed_at=START,
            ),
        )
        for number in range(1, size + 1)
    ]


def values(size: int) -> list[rows.Row]:
    return [rows.entry_row(entry) for entry in entries(size)]


@pytest.mark.parametrize("size", SIZES)
def test_rows_to_values(benchmark: BenchmarkFixture, size: int) -> None:
    models = entries(size)
    assert len(benchmark(lambda: [rows.entry_row(entry) for entry in models])) == size


@pytest.mark.parametrize("size", SIZES)
def test_playlist_template(benchmark: BenchmarkFixture, app: Flask, size: int) -> None:
    content: dict[str, Any] = {
        "id": 1,
        "name": "Late nights",
        "description": "For the road",
        "owner": {"id": 1, "display_name": "Someone"},
        "songs": values(size),
        "page": 1,
        "per_page": size,
        "total": 1000,
    }
    assert "Page 1 of" in benchmark(render_template, "playlist.html", **content)


@pytest.mark.parametrize("size", SIZES)
def test_csv_export(benchmark: BenchmarkFixture, size: int) -> None:
    lines = [(n, f'Song, "{n}"', f"Artist {n}", 180_000, "analysed", "2024-03-01") for n in range(size)]
    assert benchmark(lambda: "".join(export.csv_text(export.SONG_COLUMNS, lines))).count("\n") == size + 1


def test_json_export(benchmark: BenchmarkFixture) -> None:
    content = values(100)
    assert len(json.loads(benchmark(lambda: "".join(export.json_list(content))))) == 100


def test_analysis_rows(benchmark: BenchmarkFixture) -> None:
    results = [
        AnalysisResult(
            score=Decimal("71.25"),
            sentiment=Decimal("-0.250"),
            explicit_level="mild",
            word_count=number,
            processing_ms=1,
            details={"themes": {"love": number}},
            analysed_at=START,
        )
        for number in range(100)
    ]
    assert len(benchmark(lambda: [rows.analysis_row(result) for result in results])) == 100


def test_token(benchmark: BenchmarkFixture, app: Flask) -> None:
    """A token made and read again, as for a login and the request after it."""
    caller = auth.Caller(user_id=12_345, admin=False)

    def round_trip() -> auth.Caller | None:
        return auth.caller_of(f"Bearer {auth.issue_token(caller)}")

    assert benchmark(round_trip) == caller


def test_search_pattern(benchmark: BenchmarkFixture) -> None:
    assert benchmark(prefix_pattern, "100% _Love_ \\") == "100\\% \\_love\\_ \\\\%"


def test_openapi_document(benchmark: BenchmarkFixture) -> None:
    assert benchmark(openapi.document)["openapi"].startswith("3.1")
