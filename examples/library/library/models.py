"""The tables. Indexes are named after the question they answer; the migrations create the same."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Key = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
Moment = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
LateMoment = Annotated[datetime | None, mapped_column(DateTime(timezone=True))]
Small = Annotated[int, mapped_column(SmallInteger)]

USER_ROLES = ("listener", "curator", "admin")
THEMES = ("light", "dark", "system")
VISIBILITIES = ("private", "unlisted", "public")
SONG_STATUSES = ("pending", "analysed", "failed")
EXPLICIT_LEVELS = ("clean", "mild", "strong")
DOWNLOAD_STATUSES = ("queued", "running", "done", "failed")
DOWNLOAD_FORMATS = ("mp3", "flac", "ogg")


def one_of(column: str, values: tuple[str, ...], name: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email", name="uq_users_email"),
        one_of("role", USER_ROLES, "ck_users_role"),
        one_of("theme", THEMES, "ck_users_theme"),
        CheckConstraint("songs_per_page BETWEEN 10 AND 100", name="ck_users_songs_per_page"),
    )

    id: Mapped[Key]
    email: Mapped[str] = mapped_column(String(320))
    display_name: Mapped[str] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(255), deferred=True)
    role: Mapped[str] = mapped_column(String(16), server_default="listener")
    theme: Mapped[str] = mapped_column(String(16), server_default="system")
    language: Mapped[str] = mapped_column(String(8), server_default="en")
    hide_explicit: Mapped[bool] = mapped_column(server_default=text("false"))
    songs_per_page: Mapped[Small] = mapped_column(server_default=text("25"))
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]


class Artist(Base):
    __tablename__ = "artists"
    __table_args__ = (
        CheckConstraint("formed_year BETWEEN 1850 AND 2100", name="ck_artists_formed_year"),
        Index("ix_artists_sort_name", "sort_name", "id"),
        Index("ix_artists_name_prefix", text('lower(name) COLLATE "C"'), "id"),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(200))
    sort_name: Mapped[str] = mapped_column(String(200))
    country: Mapped[str | None] = mapped_column(String(2))
    formed_year: Mapped[int | None] = mapped_column(SmallInteger)
    created_at: Mapped[Moment]


class Album(Base):
    __tablename__ = "albums"
    __table_args__ = (
        CheckConstraint("list_price >= 0", name="ck_albums_list_price"),
        Index("ix_albums_artist_id", "artist_id"),
    )

    id: Mapped[Key]
    artist_id: Mapped[int] = mapped_column(ForeignKey("artists.id", name="fk_albums_artist_id"))
    title: Mapped[str] = mapped_column(String(300))
    released_on: Mapped[date | None]
    label: Mapped[str | None] = mapped_column(String(200))
    list_price: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))
    created_at: Mapped[Moment]

    artist: Mapped[Artist] = relationship()


class Song(Base):
    __tablename__ = "songs"
    __table_args__ = (
        one_of("status", SONG_STATUSES, "ck_songs_status"),
        CheckConstraint("duration_ms > 0", name="ck_songs_duration_ms"),
        CheckConstraint("track_number > 0", name="ck_songs_track_number"),
        Index("ix_songs_artist_id", "artist_id", "id"),
        Index("ix_songs_album_id", "album_id", "track_number"),
        Index("ix_songs_status_analysed_at", "status", "analysed_at", "id"),
        Index("ix_songs_title_prefix", text('lower(title) COLLATE "C"'), "id"),
    )

    id: Mapped[Key]
    artist_id: Mapped[int] = mapped_column(ForeignKey("artists.id", name="fk_songs_artist_id"))
    album_id: Mapped[int | None] = mapped_column(ForeignKey("albums.id", name="fk_songs_album_id"))
    title: Mapped[str] = mapped_column(String(300))
    track_number: Mapped[int | None] = mapped_column(SmallInteger)
    duration_ms: Mapped[int] = mapped_column(Integer)
    explicit: Mapped[bool] = mapped_column(server_default=text("false"))
    status: Mapped[str] = mapped_column(String(16), server_default="pending")
    analysed_at: Mapped[LateMoment]
    created_at: Mapped[Moment]
    # A kilobyte or two, and no list shows it.
    lyrics: Mapped[str | None] = mapped_column(Text, deferred=True)

    artist: Mapped[Artist] = relationship()
    album: Mapped[Album | None] = relationship()
    analysis: Mapped[AnalysisResult | None] = relationship(back_populates="song")


class Playlist(Base):
    __tablename__ = "playlists"
    __table_args__ = (
        one_of("visibility", VISIBILITIES, "ck_playlists_visibility"),
        Index("ix_playlists_owner_updated_at", "owner_id", "updated_at", "id"),
    )

    id: Mapped[Key]
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", name="fk_playlists_owner_id"))
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    visibility: Mapped[str] = mapped_column(String(16), server_default="private")
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]

    owner: Mapped[User] = relationship()


class PlaylistSong(Base):
    __tablename__ = "playlist_songs"
    __table_args__ = (
        UniqueConstraint("playlist_id", "position", name="uq_playlist_songs_position"),
        CheckConstraint("position > 0", name="ck_playlist_songs_position"),
        Index("ix_playlist_songs_song_id", "song_id"),
    )

    id: Mapped[Key]
    playlist_id: Mapped[int] = mapped_column(
        ForeignKey("playlists.id", name="fk_playlist_songs_playlist_id", ondelete="CASCADE")
    )
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id", name="fk_playlist_songs_song_id"))
    position: Mapped[int] = mapped_column(Integer)
    added_at: Mapped[Moment]

    song: Mapped[Song] = relationship()


class AnalysisResult(Base):
    __tablename__ = "analysis_results"
    __table_args__ = (
        UniqueConstraint("song_id", name="uq_analysis_results_song_id"),
        one_of("explicit_level", EXPLICIT_LEVELS, "ck_analysis_results_explicit_level"),
        CheckConstraint("score BETWEEN 0 AND 100", name="ck_analysis_results_score"),
        CheckConstraint("sentiment BETWEEN -1 AND 1", name="ck_analysis_results_sentiment"),
        CheckConstraint("word_count >= 0", name="ck_analysis_results_word_count"),
        CheckConstraint("processing_ms >= 0", name="ck_analysis_results_processing_ms"),
        Index("ix_analysis_results_analysed_at", "analysed_at"),
    )

    id: Mapped[Key]
    song_id: Mapped[int] = mapped_column(
        ForeignKey("songs.id", name="fk_analysis_results_song_id", ondelete="CASCADE")
    )
    score: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    sentiment: Mapped[Decimal] = mapped_column(Numeric(4, 3))
    explicit_level: Mapped[str] = mapped_column(String(16))
    word_count: Mapped[int] = mapped_column(Integer)
    processing_ms: Mapped[int] = mapped_column(Integer)
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    analysed_at: Mapped[Moment]

    song: Mapped[Song] = relationship(back_populates="analysis")


class Download(Base):
    __tablename__ = "downloads"
    __table_args__ = (
        one_of("status", DOWNLOAD_STATUSES, "ck_downloads_status"),
        one_of("format", DOWNLOAD_FORMATS, "ck_downloads_format"),
        CheckConstraint("size_bytes >= 0", name="ck_downloads_size_bytes"),
        Index("ix_downloads_user_requested_at", "user_id", "requested_at", "id"),
        Index("ix_downloads_song_id", "song_id"),
    )

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", name="fk_downloads_user_id"))
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id", name="fk_downloads_song_id"))
    status: Mapped[str] = mapped_column(String(16), server_default="queued")
    format: Mapped[str] = mapped_column(String(8), server_default="mp3")
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    requested_at: Mapped[Moment]
    finished_at: Mapped[LateMoment]

    song: Mapped[Song] = relationship()


class Video(Base):
    __tablename__ = "videos"
    __table_args__ = (
        CheckConstraint("duration_ms > 0", name="ck_videos_duration_ms"),
        CheckConstraint("view_count >= 0", name="ck_videos_view_count"),
        Index("ix_videos_title", "title", "id"),
        Index("ix_videos_published_at", "published_at", "id"),
        Index("ix_videos_artist_id", "artist_id", "id"),
    )

    id: Mapped[Key]
    artist_id: Mapped[int] = mapped_column(ForeignKey("artists.id", name="fk_videos_artist_id"))
    title: Mapped[str] = mapped_column(String(300))
    duration_ms: Mapped[int] = mapped_column(Integer)
    view_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    published_at: Mapped[Moment]

    artist: Mapped[Artist] = relationship()
