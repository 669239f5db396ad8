"""Songs and artists as lists, and the search over both."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload, undefer

from library.models import Album, Artist, Song
from library.params import ApiError, Page
from library.services.paging import cut
from library.services.rows import Row, album_row, analysis_row, artist_row, moment, song_row


def songs_by_status(session: Session, status: str, page: Page) -> Row:
    """Songs in one state, last analysed first. One more row than asked tells whether there is a next page,
    since counting a hundred thousand songs would cost more than the page."""
    latest = (Song.analysed_at.desc(), Song.id.desc())
    ids = cut(select(Song.id).where(Song.status == status).order_by(*latest), page, more=1)
    songs = session.scalars(
        select(Song)
        .join(ids, ids.c.id == Song.id)
        .options(joinedload(Song.artist, innerjoin=True))
        .order_by(*latest)
    ).all()
    return {
        "status": status,
        "songs": [song_row(song) for song in songs[: page.size]],
        "page": page.number,
        "per_page": page.size,
        "has_more": len(songs) > page.size,
    }


def song_detail(session: Session, song_id: int) -> Row:
    """One song with all that is known about it, its lyrics too: one statement."""
    song = session.scalar(
        select(Song)
        .where(Song.id == song_id)
        .options(
            joinedload(Song.artist, innerjoin=True),
            joinedload(Song.album),
            joinedload(Song.analysis),
            undefer(Song.lyrics),
        )
    )
    if song is None:
        raise ApiError(404, f"there is no song {song_id}")
    return song_row(song) | {
        "track_number": song.track_number,
        "lyrics": song.lyrics,
        "album": album_row(song.album) if song.album else None,
        "analysis": analysis_row(song.analysis) if song.analysis else None,
    }


def songs_of_artist(session: Session, artist_id: int, page: Page) -> Row:
    """An artist and one page of its songs, oldest entry first: three statements."""
    artist = session.get(Artist, artist_id)
    if artist is None:
        raise ApiError(404, f"there is no artist {artist_id}")
    total = session.scalar(select(func.count()).where(Song.artist_id == artist_id))
    ids = cut(select(Song.id).where(Song.artist_id == artist_id).order_by(Song.id), page)
    songs = session.scalars(
        select(Song)
        .join(ids, ids.c.id == Song.id)
        .options(joinedload(Song.artist, innerjoin=True))
        .order_by(Song.id)
    )
    return {
        "artist": artist_row(artist),
        "songs": [song_row(song) for song in songs],
        "page": page.number,
        "per_page": page.size,
        "total": total,
    }


def artists_by_name(session: Session, page: Page) -> Row:
    """Artists in the order of their sort names, each with the number of its songs and albums."""
    total = session.scalar(select(func.count()).select_from(Artist))
    songs = select(func.count()).where(Song.artist_id == Artist.id).correlate(Artist).scalar_subquery()
    albums = select(func.count()).where(Album.artist_id == Artist.id).correlate(Artist).scalar_subquery()
    ids = cut(select(Artist.id).order_by(Artist.sort_name, Artist.id), page)
    rows = session.execute(
        select(Artist, songs, albums).join(ids, ids.c.id == Artist.id).order_by(Artist.sort_name, Artist.id)
    )
    return {
        "artists": [
            artist_row(artist)
            | {
                "country": artist.country,
                "formed_year": artist.formed_year,
                "created_at": moment(artist.created_at),
                "song_count": song_count,
                "album_count": album_count,
            }
            for artist, song_count, album_count in rows
        ],
        "page": page.number,
        "per_page": page.size,
        "total": total,
    }


def search(session: Session, query: str, limit: int) -> Row:
    """Songs and artists whose names begin with the query, whatever the case, in the order of the alphabet."""
    song_key, artist_key = _search_key(Song.title), _search_key(Artist.name)
    pattern = prefix_pattern(query)
    songs = session.scalars(
        select(Song)
        .where(song_key.like(pattern))
        .options(joinedload(Song.artist, innerjoin=True))
        .order_by(song_key, Song.id)
        .limit(limit)
    )
    artists = session.scalars(
        select(Artist).where(artist_key.like(pattern)).order_by(artist_key, Artist.id).limit(limit)
    )
    return {
        "query": query,
        "songs": [song_row(song) for song in songs],
        "artists": [artist_row(artist) for artist in artists],
    }


def _search_key(column: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """The indexed expression. In collation C an index serves both LIKE 'x%' and the order."""
    return func.lower(column).collate("C")


def prefix_pattern(query: str) -> str:
    """The pattern for LIKE; what is special there stands for itself."""
    escaped = query.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped + "%"
