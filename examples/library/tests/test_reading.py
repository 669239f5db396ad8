from __future__ import annotations

import csv

import pytest
from flask.testing import FlaskClient
from redis import Redis

from library.services import export


def test_health(client: FlaskClient) -> None:
    """Healthy while both services answer."""
    assert client.get("/health").json == {"status": "ok"}


def test_playlist_pages(client: FlaskClient) -> None:
    """Pages follow each other without a gap, and the last one is short."""
    pages = [client.get(f"/api/playlists/1?page={n}&per_page=12").json for n in (1, 2, 3, 4)]
    assert [len(page["songs"]) for page in pages] == [12, 12, 6, 0]
    positions = [entry["position"] for page in pages for entry in page["songs"]]
    assert positions == list(range(1, 31))
    assert pages[0]["total"] == 30
    assert pages[0]["owner"] == {"id": 1, "display_name": "User 1"}
    assert pages[0]["songs"][0]["song"]["artist"] == {"id": 2, "name": "The Band 2"}


def test_playlist_as_a_page(client: FlaskClient) -> None:
    """The page shows the songs, their artists and the way to the next page."""
    page = client.get("/playlists/1?per_page=10").text
    assert page.count("<tr>") == 11
    assert "The Band 3" in page
    assert "/playlists/1?page=2&amp;per_page=10" in page
    assert "3:00" in page


def test_dashboard(client: FlaskClient) -> None:
    """The playlists of this user only, with the number of their songs."""
    page = client.get("/dashboard?user_id=1").text
    assert "List 1" in page
    assert "<td>30</td>" in page
    assert "List 3" not in page
    assert "No playlists" in client.get("/dashboard?user_id=3").text


def test_songs_by_status(client: FlaskClient) -> None:
    """Last analysed first; the answer tells whether there are more."""
    first = client.get("/api/songs?per_page=20").json
    second = client.get("/api/songs?per_page=20&page=2").json
    ids = [song["id"] for song in first["songs"] + second["songs"]]
    assert ids == [n for n in range(40, 0, -1) if n % 4]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert client.get("/api/songs?status=failed").json["songs"] == []


def test_song(client: FlaskClient) -> None:
    """One song with everything that belongs to it; what is missing is null."""
    song = client.get("/api/songs/1").json
    assert song["album"] == {"id": 2, "title": "Album 2", "released_on": None, "list_price": "9.90"}
    assert song["analysis"]["score"] == 51.0
    assert song["lyrics"].startswith("I love")
    assert client.get("/api/songs/20").json["analysis"] is None


def test_search(client: FlaskClient) -> None:
    """By the beginning of the name, whatever the case, in the order of the alphabet."""
    found = client.get("/api/search?q=SONG 1&per_page=5").json
    assert [song["title"] for song in found["songs"]] == [f"Song 1{n}" for n in range(5)]
    assert [artist["id"] for artist in client.get("/api/search?q=the b").json["artists"]] == [1, 2, 3, 4, 5]
    assert client.get("/api/search?q=%25%25").json["songs"] == []


def test_artists(client: FlaskClient) -> None:
    """By sort name, with counts."""
    answer = client.get("/api/artists?per_page=2&page=2").json
    counts = [(artist["id"], artist["song_count"], artist["album_count"]) for artist in answer["artists"]]
    assert counts == [(3, 8, 1), (4, 8, 1)]
    assert answer["total"] == 5


def test_songs_of_artist(client: FlaskClient) -> None:
    """Only this artist's songs."""
    answer = client.get("/api/artists/1/songs?per_page=3").json
    assert [song["id"] for song in answer["songs"]] == [5, 10, 15]
    assert answer["total"] == 8


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("title", [6, 5, 4, 3, 2, 1]), ("date", [2, 4, 6, 1, 3, 5]), ("artist", [5, 3, 1, 6, 4, 2])],
)
def test_videos(client: FlaskClient, sort: str, expected: list[int]) -> None:
    """The same videos in three orders, and pages that follow each other."""
    whole = [video["id"] for video in client.get(f"/api/videos?sort={sort}").json["videos"]]
    pages = [client.get(f"/api/videos?sort={sort}&per_page=2&page={n}").json["videos"] for n in (1, 2, 3)]
    assert expected == whole
    assert expected == [video["id"] for page in pages for video in page]


def test_progress(client: FlaskClient) -> None:
    """Every song counts once, in however many of the user's playlists it is."""
    answer = client.get("/api/progress?user_id=1").json
    assert answer["songs"] == {"pending": 7, "analysed": 23, "failed": 0}
    assert answer["total"] == 30
    assert answer["percent_done"] == 76.7
    assert client.get("/api/progress?user_id=3").json["percent_done"] == 100.0


@pytest.mark.parametrize("path", ["/api/progress?user_id=1", "/api/performance?from=2024-03-01&days=9"])
def test_cached_is_the_same(client: FlaskClient, redis: Redis, path: str) -> None:
    """The cached variant says the same, cold and warm, and what it stores does not live for ever."""
    cached = path.replace("?", "/cached?")
    cold, warm = client.get(cached), client.get(cached)
    assert (cold.headers["X-Cache"], warm.headers["X-Cache"]) == ("miss", "hit")
    assert client.get(path).json == cold.json == warm.json
    (key,) = redis.keys("library:cache:*")
    assert redis.ttl(key) > 0


def test_performance(client: FlaskClient) -> None:
    """Analyses of each day from the first, the last day left out."""
    days = client.get("/api/performance?from=2024-03-02&days=2").json["days"]
    assert days == [
        {"date": "2024-03-02", "analysed": 2, "mean_score": 52.5, "mean_ms": 2.5, "slowest_ms": 3},
        {"date": "2024-03-03", "analysed": 2, "mean_score": 54.5, "mean_ms": 4.5, "slowest_ms": 5},
    ]


def test_downloads(client: FlaskClient, redis: Redis) -> None:
    """Latest first; active ones show how far they are, if that is known."""
    redis.set("library:download:1", 40)
    answer = client.get("/api/downloads?user_id=1").json
    percents = {download["id"]: download["percent"] for download in answer["downloads"]}
    assert percents == {4: None, 3: None, 2: None, 1: 40}


def test_csv_export(client: FlaskClient) -> None:
    """All songs in one state, with a header."""
    rows = list(csv.DictReader(client.get("/api/songs/export.csv?limit=7").text.splitlines()))
    assert [int(row["id"]) for row in rows] == [1, 2, 3, 5, 6, 7, 9]
    assert rows[0]["artist"] == "The Band 2"


def test_export_in_batches(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches follow each other without a gap or a repetition, full or not."""
    whole = client.get("/api/playlists/1/export.json").json
    for chunk in (1, 7, 10, 30):
        monkeypatch.setattr(export, "CHUNK", chunk)
        assert whole == client.get("/api/playlists/1/export.json").json


def test_json_export(client: FlaskClient) -> None:
    """All songs of the playlist, not only a page."""
    answer = client.get("/api/playlists/1/export.json")
    assert len(answer.json) == 30
    assert "playlist-1.json" in answer.headers["Content-Disposition"]


def test_themes(client: FlaskClient) -> None:
    """Shares of those songs that were analysed."""
    answer = client.get("/api/playlists/1/themes").json
    assert answer == {"playlist_id": 1, "songs": 10, "themes": {"love": 0.5}}


def test_duplicates(client: FlaskClient) -> None:
    """Pairs of positions, the earlier one first."""
    answer = client.get("/api/playlists/2/duplicates").json
    assert answer == {"playlist_id": 2, "compared": 3, "pairs": [[1, 2], [1, 3], [2, 3]]}


def test_unknown_path_is_json(client: FlaskClient) -> None:
    """Programs get errors that they can read."""
    answer = client.get("/api/nothing")
    assert answer.status_code == 404
    assert "not found" in answer.json["error"]
