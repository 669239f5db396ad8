"""Database rows as plain values, ready for JSON or a template."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from library.models import Album, AnalysisResult, Artist, Playlist, PlaylistSong, Song, User

Row = dict[str, Any]


def moment(value: datetime | None) -> str | None:
    """In UTC and of one length: neither the time zone of the server nor a round second shows."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds")


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


def album_row(album: Album) -> Row:
    price = album.list_price
    return {
        "id": album.id,
        "title": album.title,
        "released_on": album.released_on.isoformat() if album.released_on else None,
        "list_price": None if price is None else str(price),
    }


def analysis_row(result: AnalysisResult) -> Row:
    return {
        "score": float(result.score),
        "sentiment": float(result.sentiment),
        "explicit_level": result.explicit_level,
        "word_count": result.word_count,
        "processing_ms": result.processing_ms,
        "details": result.details,
        "analysed_at": moment(result.analysed_at),
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
