"""Downloads and videos.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "downloads",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("song_id", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), server_default="queued", nullable=False),
        sa.Column("format", sa.String(8), server_default="mp3", nullable=False),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_downloads_user_id"),
        sa.ForeignKeyConstraint(["song_id"], ["songs.id"], name="fk_downloads_song_id"),
        sa.CheckConstraint("status IN ('queued', 'running', 'done', 'failed')", name="ck_downloads_status"),
        sa.CheckConstraint("format IN ('mp3', 'flac', 'ogg')", name="ck_downloads_format"),
        sa.CheckConstraint("size_bytes >= 0", name="ck_downloads_size_bytes"),
    )
    op.create_index("ix_downloads_user_requested_at", "downloads", ["user_id", "requested_at", "id"])
    op.create_index("ix_downloads_song_id", "downloads", ["song_id"])
    op.create_table(
        "videos",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("artist_id", sa.BigInteger, nullable=False),
        sa.Column("title", sa.String(300), nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("view_count", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["artist_id"], ["artists.id"], name="fk_videos_artist_id"),
        sa.CheckConstraint("duration_ms > 0", name="ck_videos_duration_ms"),
        sa.CheckConstraint("view_count >= 0", name="ck_videos_view_count"),
    )
    op.create_index("ix_videos_title", "videos", ["title", "id"])
    op.create_index("ix_videos_published_at", "videos", ["published_at", "id"])
    op.create_index("ix_videos_artist_id", "videos", ["artist_id", "id"])


def downgrade() -> None:
    op.drop_table("videos")
    op.drop_table("downloads")
