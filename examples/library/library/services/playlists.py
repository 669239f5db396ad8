"""Playlists: reading them page by page, and keeping them in step with their source."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    CursorResult,
    Result,
    any_,
    bindparam,
    case,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session, aliased, joinedload

from library import lyrics
from library.auth import Caller
from library.models import AnalysisResult, Playlist, PlaylistSong, Song
from library.params import ApiError, Page
from library.services.accounts import existing_user
from library.services.paging import cut
from library.services.rows import Row, entry_row, playlist_row, user_row

IDS = ARRAY(BigInteger)
MOST_COMPARED = 50


def playlist_page(session: Session, playlist_id: int, page: Page) -> Row:
    """A playlist, its owner and one page of its songs with their artists: three statements."""
    playlist = session.scalar(
        select(Playlist).where(Playlist.id == playlist_id).options(joinedload(Playlist.owner, innerjoin=True))
    )
    if playlist is None:
        raise ApiError(404, f"there is no playlist {playlist_id}")
    total = session.scalar(select(func.count()).where(PlaylistSong.playlist_id == playlist_id))
    entries = session.scalars(
        select(PlaylistSong)
        .where(PlaylistSong.playlist_id == playlist_id)
        .options(joinedload(PlaylistSong.song, innerjoin=True).joinedload(Song.artist, innerjoin=True))
        .order_by(PlaylistSong.position)
        .limit(page.size)
        .offset(page.offset)
    )
    return playlist_row(playlist) | {
        "owner": user_row(playlist.owner),
        "songs": [entry_row(entry) for entry in entries],
        "page": page.number,
        "per_page": page.size,
        "total": total,
    }


def dashboard_page(session: Session, user_id: int, page: Page) -> Row:
    """A user's playlists, latest change first, each with the number of its songs: three statements."""
    user = existing_user(session, user_id)
    total = session.scalar(select(func.count()).where(Playlist.owner_id == user_id))
    # Counted per row of the page; a join and GROUP BY would count every playlist of the user first.
    songs = select(func.count()).where(PlaylistSong.playlist_id == Playlist.id)
    latest = (Playlist.updated_at.desc(), Playlist.id.desc())
    ids = cut(select(Playlist.id).where(Playlist.owner_id == user_id).order_by(*latest), page)
    rows = session.execute(
        select(Playlist, songs.correlate(Playlist).scalar_subquery())
        .join(ids, ids.c.id == Playlist.id)
        .order_by(*latest)
    )
    return {
        "user": user_row(user),
        "playlists": [playlist_row(playlist) | {"song_count": count} for playlist, count in rows],
        "page": page.number,
        "per_page": page.size,
        "total": total,
    }


def sync(session: Session, playlist: Playlist, song_ids: Sequence[int]) -> Row:
    """Make the playlist hold exactly these songs in this order; four statements for any number of songs."""
    require_songs(session, song_ids)
    now = datetime.now(UTC)
    # One array parameter and not a list of VALUES: the statement is the same for 1 song and for 100.
    ids = bindparam("song_ids", list(song_ids), type_=IDS)
    source = func.unnest(ids).table_valued("song_id", with_ordinality="position", name="source")
    upsert = insert(PlaylistSong).from_select(
        ["playlist_id", "song_id", "position", "added_at"],
        select(literal(playlist.id, BigInteger), *source.render_derived().c, literal(now)),
    )
    session.execute(
        upsert.on_conflict_do_update(
            constraint="uq_playlist_songs_position",
            set_={"song_id": upsert.excluded.song_id, "added_at": upsert.excluded.added_at},
        )
    )
    removed = session.execute(
        delete(PlaylistSong).where(
            PlaylistSong.playlist_id == playlist.id, PlaylistSong.position > len(song_ids)
        )
    )
    playlist.updated_at = now
    return {"playlist_id": playlist.id, "songs": len(song_ids), "removed": _row_count(removed)}


def create(session: Session, owner_id: int, name: str, description: str | None, visibility: str) -> Row:
    owner = existing_user(session, owner_id)
    now = datetime.now(UTC)
    playlist = Playlist(
        owner_id=owner_id,
        name=name,
        description=description,
        visibility=visibility,
        created_at=now,
        updated_at=now,
    )
    session.add(playlist)
    session.flush()
    return playlist_row(playlist) | {"owner": user_row(owner)}


def append(session: Session, playlist: Playlist, song_id: int) -> Row:
    """Add a song at the end. The lock on the playlist keeps two requests from taking the same position."""
    require_songs(session, [song_id])
    last = session.scalar(
        select(func.max(PlaylistSong.position)).where(PlaylistSong.playlist_id == playlist.id)
    )
    now = datetime.now(UTC)
    position = (last or 0) + 1
    session.execute(
        insert(PlaylistSong).values(playlist_id=playlist.id, song_id=song_id, position=position, added_at=now)
    )
    playlist.updated_at = now
    return {"playlist_id": playlist.id, "song_id": song_id, "position": position}


def move(session: Session, playlist: Playlist, start: int, end: int) -> Row:
    """Take the song at position `start` to position `end`; those between move up by one: one statement.

    The rows keep their positions and exchange their songs. Exchanging positions would break the unique
    constraint halfway. 422 if one of the positions does not exist.
    """
    low, high = min(start, end), max(start, end)
    step = -1 if end > start else 1
    source = aliased(PlaylistSong)
    moved = session.execute(
        update(PlaylistSong)
        .where(
            PlaylistSong.playlist_id == playlist.id,
            source.playlist_id == playlist.id,
            source.position.between(low, high),
            PlaylistSong.position == case((source.position == start, end), else_=source.position + step),
        )
        .values(song_id=source.song_id, added_at=source.added_at)
        .execution_options(synchronize_session=False)
    )
    if _row_count(moved) != high - low + 1:
        raise ApiError(422, f"the playlist does not have all positions from {low} to {high}")
    playlist.updated_at = datetime.now(UTC)
    return {"playlist_id": playlist.id, "from": start, "to": end}


def theme_profile(session: Session, playlist_id: int) -> Row:
    """What the playlist is about, by the stored analyses of its songs."""
    existing(session, playlist_id)
    found = session.scalars(
        select(AnalysisResult.details["themes"])
        .join(PlaylistSong, PlaylistSong.song_id == AnalysisResult.song_id)
        .where(PlaylistSong.playlist_id == playlist_id)
        .order_by(PlaylistSong.position)
    )
    themes = [found_in if isinstance(found_in, dict) else {} for found_in in found]
    return {"playlist_id": playlist_id, "songs": len(themes), "themes": lyrics.theme_profile(themes)}


def duplicates(session: Session, playlist_id: int) -> Row:
    """Songs of a playlist whose lyrics are nearly the same, such as a remix beside the original.

    Only the first MOST_COMPARED songs: the work is the processor's and keeps a thread busy.
    """
    existing(session, playlist_id)
    rows = session.execute(
        select(PlaylistSong.position, Song.lyrics)
        .join(PlaylistSong.song)
        .where(PlaylistSong.playlist_id == playlist_id, Song.lyrics.is_not(None))
        .order_by(PlaylistSong.position)
        .limit(MOST_COMPARED)
    ).all()
    pairs = lyrics.near_duplicates([text or "" for _, text in rows])
    return {
        "playlist_id": playlist_id,
        "compared": len(rows),
        "pairs": [[rows[first].position, rows[second].position] for first, second in pairs],
    }


def existing(session: Session, playlist_id: int) -> Playlist:
    playlist = session.get(Playlist, playlist_id)
    if playlist is None:
        raise ApiError(404, f"there is no playlist {playlist_id}")
    return playlist


def editable(session: Session, caller: Caller, playlist_id: int) -> Playlist:
    """The playlist, locked until the end of the transaction, if the caller may change it."""
    playlist = session.get(Playlist, playlist_id, with_for_update=True)
    if playlist is None:
        raise ApiError(404, f"there is no playlist {playlist_id}")
    if not caller.may_edit(playlist.owner_id):
        raise ApiError(403, "this playlist belongs to somebody else")
    return playlist


def require_songs(session: Session, song_ids: Sequence[int]) -> None:
    """422 if one of the songs does not exist. A song may be named twice."""
    wanted = set(song_ids)
    ids = bindparam("ids", sorted(wanted), type_=IDS)
    missing = wanted.difference(session.scalars(select(Song.id).where(Song.id == any_(ids))))
    if missing:
        raise ApiError(422, f"there is no song {min(missing)}")


def _row_count(result: Result[Any]) -> int:
    """How many rows a DELETE or UPDATE touched."""
    return cast(CursorResult[Any], result).rowcount
