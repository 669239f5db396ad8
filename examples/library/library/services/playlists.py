"""Playlists: reading them page by page, and keeping them in step with their source."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import BigInteger, any_, bindparam, delete, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session, joinedload

from library.auth import Caller
from library.models import Playlist, PlaylistSong, Song, User
from library.params import ApiError, Page
from library.services.paging import cut
from library.services.rows import Row, entry_row, playlist_row, user_row

IDS = ARRAY(BigInteger)


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
    user = session.get(User, user_id)
    if user is None:
        raise ApiError(404, f"there is no user {user_id}")
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
    return {"playlist_id": playlist.id, "songs": len(song_ids), "removed": removed.rowcount}


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
