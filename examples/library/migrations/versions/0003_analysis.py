"""The analysis of lyrics: results, and the state of each song.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "analysis_results",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("song_id", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Numeric(5, 2), nullable=False),
        sa.Column("sentiment", sa.Numeric(4, 3), nullable=False),
        sa.Column("explicit_level", sa.String(16), nullable=False),
        sa.Column("word_count", sa.Integer, nullable=False),
        sa.Column("processing_ms", sa.Integer, nullable=False),
        sa.Column("details", postgresql.JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("analysed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["song_id"], ["songs.id"], name="fk_analysis_results_song_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("song_id", name="uq_analysis_results_song_id"),
        sa.CheckConstraint(
            "explicit_level IN ('clean', 'mild', 'strong')", name="ck_analysis_results_explicit_level"
        ),
        sa.CheckConstraint("score BETWEEN 0 AND 100", name="ck_analysis_results_score"),
        sa.CheckConstraint("sentiment BETWEEN -1 AND 1", name="ck_analysis_results_sentiment"),
        sa.CheckConstraint("word_count >= 0", name="ck_analysis_results_word_count"),
        sa.CheckConstraint("processing_ms >= 0", name="ck_analysis_results_processing_ms"),
    )
    op.create_index("ix_analysis_results_analysed_at", "analysis_results", ["analysed_at"])
    # Constant defaults: Postgres keeps them in the catalogue and does not rewrite the table.
    op.add_column("songs", sa.Column("explicit", sa.Boolean, server_default=sa.text("false"), nullable=False))
    op.add_column("songs", sa.Column("status", sa.String(16), server_default="pending", nullable=False))
    op.add_column("songs", sa.Column("analysed_at", sa.DateTime(timezone=True)))
    op.create_check_constraint("ck_songs_status", "songs", "status IN ('pending', 'analysed', 'failed')")


def downgrade() -> None:
    op.drop_constraint("ck_songs_status", "songs", type_="check")
    op.drop_column("songs", "analysed_at")
    op.drop_column("songs", "status")
    op.drop_column("songs", "explicit")
    op.drop_table("analysis_results")
