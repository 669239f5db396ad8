from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from rq import Queue, SimpleWorker

from tests.conftest import ADMIN, PASSWORD


def login(client: FlaskClient, user: int) -> dict[str, str]:
    answer = client.post("/api/login", json={"email": f"user{user}@example.org", "password": PASSWORD})
    return {"Authorization": f"Bearer {answer.json['token']}"}


@pytest.fixture
def playlist(client: FlaskClient) -> int:
    """A new playlist of user 3 with the songs 1 to 5."""
    answer = client.post("/api/playlists", json={"name": "Mine", "owner_id": 3}, headers=ADMIN)
    assert answer.status_code == 201
    client.post(f"/api/playlists/{answer.json['id']}/sync", json={"song_ids": [1, 2, 3, 4, 5]}, headers=ADMIN)
    return answer.json["id"]


def song_ids(client: FlaskClient, playlist: int) -> list[int]:
    entries = client.get(f"/api/playlists/{playlist}?per_page=100").json["songs"]
    assert [entry["position"] for entry in entries] == list(range(1, len(entries) + 1))
    return [entry["song"]["id"] for entry in entries]


def test_login(client: FlaskClient) -> None:
    """The token stands for the user: its own settings need no user_id."""
    assert client.get("/api/settings", headers=login(client, 2)).json["user_id"] == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"email": "user1@example.org", "password": "wrong"}, 401),
        ({"email": "nobody@example.org", "password": PASSWORD}, 401),
        ({"service_token": "wrong"}, 401),
        ({"service_token": "the-service-token"}, 200),
        ({"email": "user1@example.org"}, 400),
        ([], 400),
    ],
)
def test_login_refused(client: FlaskClient, body: Any, status: int) -> None:
    """Wrong is 401 without saying what was wrong; incomplete is 400."""
    assert status == client.post("/api/login", json=body).status_code


@pytest.mark.parametrize("ids", [[9, 8, 7], list(range(1, 41)), [3], [5, 5, 5, 5, 5, 5]])
def test_sync(client: FlaskClient, playlist: int, ids: list[int]) -> None:
    """Afterwards the playlist holds exactly these songs, whether it was longer or shorter before."""
    answer = client.post(f"/api/playlists/{playlist}/sync", json={"song_ids": ids}, headers=ADMIN)
    assert answer.json == {"playlist_id": playlist, "songs": len(ids), "removed": max(5 - len(ids), 0)}
    assert ids == song_ids(client, playlist)


def test_sync_is_all_or_nothing(client: FlaskClient, playlist: int) -> None:
    """One unknown song, and the playlist stays as it was."""
    answer = client.post(f"/api/playlists/{playlist}/sync", json={"song_ids": [9, 999]}, headers=ADMIN)
    assert (answer.status_code, answer.json["error"]) == (422, "there is no song 999")
    assert song_ids(client, playlist) == [1, 2, 3, 4, 5]


def test_write_makes_the_cache_forget(client: FlaskClient, playlist: int) -> None:
    """Who has changed a playlist sees the change at once."""
    path = "/api/progress/cached?user_id=3"
    before = client.get(path).json
    client.post(f"/api/playlists/{playlist}/songs", json={"song_id": 40}, headers=ADMIN)
    after = client.get(path)
    assert after.headers["X-Cache"] == "miss"
    assert after.json != before
    assert after.json == client.get("/api/progress?user_id=3").json


def test_append(client: FlaskClient, playlist: int) -> None:
    """A song comes to the end."""
    answer = client.post(f"/api/playlists/{playlist}/songs", json={"song_id": 9}, headers=ADMIN)
    assert (answer.status_code, answer.json["position"]) == (201, 6)
    assert song_ids(client, playlist) == [1, 2, 3, 4, 5, 9]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(1, 5, [2, 3, 4, 5, 1]), (4, 2, [1, 4, 2, 3, 5]), (3, 3, [1, 2, 3, 4, 5])],
)
def test_move(client: FlaskClient, playlist: int, start: int, end: int, expected: list[int]) -> None:
    """The song goes to its new place and the others close the gap."""
    answer = client.post(f"/api/playlists/{playlist}/move", json={"from": start, "to": end}, headers=ADMIN)
    assert answer.status_code == 200
    assert expected == song_ids(client, playlist)


def test_move_beyond_the_end(client: FlaskClient, playlist: int) -> None:
    """A position that does not exist is refused, and nothing moves."""
    answer = client.post(f"/api/playlists/{playlist}/move", json={"from": 2, "to": 6}, headers=ADMIN)
    assert answer.status_code == 422
    assert song_ids(client, playlist) == [1, 2, 3, 4, 5]


def test_playlists_of_others(client: FlaskClient, playlist: int) -> None:
    """The owner may change a playlist, another user may not."""
    path, body = f"/api/playlists/{playlist}/songs", {"song_id": 1}
    assert client.post(path, json=body, headers=login(client, 3)).status_code == 201
    assert client.post(path, json=body, headers=login(client, 2)).status_code == 403


def test_create_for_oneself(client: FlaskClient) -> None:
    """Without owner_id the playlist is the caller's; for somebody else only an admin may."""
    token = login(client, 2)
    answer = client.post("/api/playlists", json={"name": " Roads "}, headers=token)
    assert answer.json["owner"]["id"] == 2
    assert answer.json["name"] == "Roads"
    assert answer.headers["Location"] == f"/api/playlists/{answer.json['id']}"
    assert client.post("/api/playlists", json={"name": "x", "owner_id": 1}, headers=token).status_code == 403
    assert client.post("/api/playlists", json={"name": ""}, headers=token).status_code == 400


def test_settings(client: FlaskClient) -> None:
    """Only what is named changes."""
    token = login(client, 2)
    before = client.get("/api/settings", headers=token).json
    after = client.patch("/api/settings", json={"theme": "dark", "songs_per_page": 50}, headers=token).json
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"theme", "songs_per_page", "updated_at"}
    assert after == client.get("/api/settings", headers=token).json


@pytest.mark.parametrize("body", [{}, {"theme": "pink"}, {"songs_per_page": 9}, {"hide_explicit": 1}])
def test_settings_refused(client: FlaskClient, body: dict[str, Any]) -> None:
    """Unknown values are refused before the database has to."""
    assert client.patch("/api/settings", json=body, headers=login(client, 2)).status_code == 400


def test_life_of_a_download(client: FlaskClient, redis: Redis) -> None:
    """Asked for, running with a percentage, done without one, and then it cannot change again."""
    body = {"user_id": 2, "song_id": 7, "format": "flac"}
    started = client.post("/api/downloads", json=body, headers=ADMIN)
    assert (started.status_code, started.json["status"]) == (202, "queued")
    path = f"/api/downloads/{started.json['id']}/progress"
    assert client.put(path, json={"percent": 30}, headers=ADMIN).json["status"] == "running"
    assert client.get("/api/downloads?user_id=2").json["downloads"][0]["percent"] == 30
    done = client.put(path, json={"percent": 100, "size_bytes": 9}, headers=ADMIN).json
    assert (done["status"], done["size_bytes"]) == ("done", 9)
    assert client.put(path, json={"percent": 10}, headers=ADMIN).status_code == 409
    assert redis.keys("library:download:*") == []


def test_only_services_report_progress(client: FlaskClient) -> None:
    """A user cannot declare a download done."""
    answer = client.put("/api/downloads/1/progress", json={"percent": 100}, headers=login(client, 1))
    assert answer.status_code == 403


def test_preview(client: FlaskClient) -> None:
    """A text is analysed without being stored; no token is needed."""
    answer = client.post("/api/lyrics/preview", json={"lyrics": "I love the night\nso bright"}).json
    assert answer["themes"] == {"love": 1, "night": 1}
    assert answer["rhyme_scheme"] == "AA"


def test_analysis_by_the_worker(client: FlaskClient, redis: Redis) -> None:
    """Queued songs are analysed in jobs of 25, again if they were before; without lyrics it fails."""
    body = {"song_ids": list(range(1, 41))}
    assert client.post("/api/analysis", json=body, headers=ADMIN).json == {"songs": 40, "jobs": 2}
    queue = Queue("analysis", connection=redis)
    worker = SimpleWorker([queue], connection=redis)
    worker.work(burst=True, logging_level="ERROR")
    assert queue.failed_job_registry.count == 0
    assert client.get("/api/songs?status=pending").json["songs"] == []
    song = client.get("/api/songs/40").json
    assert song["status"] == "analysed"
    assert song["analysis"]["details"]["themes"]["love"] == 40
