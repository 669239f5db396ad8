"""Database rows as plain values, ready for JSON or a template."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from library.models import Artist, Playlist, PlaylistSong, Song, User

Row = dict[str, Any]


def moment(value: datetime | None) -> str | None:
    """Always in UTC: the time zone of the server must not show."""
    return None if value is None else value.astimezone(UTC).isoformat()


def user_row(user: User) -> Row:
    return {"id": user.id, "display_name": user.display_name}


def artist_row(artist: Artist) -> Row:
    return {"id": artist.id, "name": artist.name}


def song_row(song: Song) -> Row:
    return {
        "id": song.id,
        "title": song.title,
        "artist": artist_row(song.artist),
        "duration_ms": song.duration_ms,
        "explicit": song.explicit,
        "status": song.status,
        "analysed_at": moment(song.analysed_at),
    }


def playlist_row(playlist: Playlist) -> Row:
    return {
        "id": playlist.id,
        "name": playlist.name,
        "description": playlist.description,
        "visibility": playlist.visibility,
        "created_at": moment(playlist.created_at),
        "updated_at": moment(playlist.updated_at),
    }


def entry_row(entry: PlaylistSong) -> Row:
    return {"position": entry.position, "added_at": moment(entry.added_at), "song": song_row(entry.song)}
