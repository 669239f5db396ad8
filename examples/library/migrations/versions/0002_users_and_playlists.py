"""Users and their playlists.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("display_name", sa.String(100), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("role", sa.String(16), server_default="listener", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.UniqueConstraint("email", name="uq_users_email"),
        sa.CheckConstraint("role IN ('listener', 'curator', 'admin')", name="ck_users_role"),
    )
    op.create_table(
        "playlists",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("owner_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("visibility", sa.String(16), server_default="private", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_playlists_owner_id"),
        sa.CheckConstraint("visibility IN ('private', 'unlisted', 'public')", name="ck_playlists_visibility"),
    )
    op.create_index("ix_playlists_owner_updated_at", "playlists", ["owner_id", "updated_at", "id"])
    op.create_table(
        "playlist_songs",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("playlist_id", sa.BigInteger, nullable=False),
        sa.Column("song_id", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["playlist_id"], ["playlists.id"], name="fk_playlist_songs_playlist_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["song_id"], ["songs.id"], name="fk_playlist_songs_song_id"),
        sa.UniqueConstraint("playlist_id", "position", name="uq_playlist_songs_position"),
        sa.CheckConstraint("position > 0", name="ck_playlist_songs_position"),
    )
    op.create_index("ix_playlist_songs_song_id", "playlist_songs", ["song_id"])


def downgrade() -> None:
    op.drop_table("playlist_songs")
    op.drop_table("playlists")
    op.drop_table("users")
