"""The catalogue: artists, albums, songs.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "artists",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("sort_name", sa.String(200), nullable=False),
        sa.Column("country", sa.String(2)),
        sa.Column("formed_year", sa.SmallInteger),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint("formed_year BETWEEN 1850 AND 2100", name="ck_artists_formed_year"),
    )
    op.create_index("ix_artists_sort_name", "artists", ["sort_name", "id"])
    op.create_table(
        "albums",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("artist_id", sa.BigInteger, nullable=False),
        sa.Column("title", sa.String(300), nullable=False),
        sa.Column("released_on", sa.Date),
        sa.Column("label", sa.String(200)),
        sa.Column("list_price", sa.Numeric(8, 2)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["artist_id"], ["artists.id"], name="fk_albums_artist_id"),
        sa.CheckConstraint("list_price >= 0", name="ck_albums_list_price"),
    )
    op.create_index("ix_albums_artist_id", "albums", ["artist_id"])
    op.create_table(
        "songs",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("artist_id", sa.BigInteger, nullable=False),
        sa.Column("album_id", sa.BigInteger),
        sa.Column("title", sa.String(300), nullable=False),
        sa.Column("track_number", sa.SmallInteger),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("lyrics", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["artist_id"], ["artists.id"], name="fk_songs_artist_id"),
        sa.ForeignKeyConstraint(["album_id"], ["albums.id"], name="fk_songs_album_id"),
        sa.CheckConstraint("duration_ms > 0", name="ck_songs_duration_ms"),
        sa.CheckConstraint("track_number > 0", name="ck_songs_track_number"),
    )
    op.create_index("ix_songs_artist_id", "songs", ["artist_id", "id"])
    op.create_index("ix_songs_album_id", "songs", ["album_id", "track_number"])


def downgrade() -> None:
    op.drop_table("songs")
    op.drop_table("albums")
    op.drop_table("artists")
