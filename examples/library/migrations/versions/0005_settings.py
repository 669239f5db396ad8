"""What users prefer.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("users", sa.Column("theme", sa.String(16), server_default="system", nullable=False))
    op.add_column("users", sa.Column("language", sa.String(8), server_default="en", nullable=False))
    op.add_column(
        "users", sa.Column("hide_explicit", sa.Boolean, server_default=sa.text("false"), nullable=False)
    )
    op.add_column(
        "users", sa.Column("songs_per_page", sa.SmallInteger, server_default=sa.text("25"), nullable=False)
    )
    op.create_check_constraint("ck_users_theme", "users", "theme IN ('light', 'dark', 'system')")
    op.create_check_constraint("ck_users_songs_per_page", "users", "songs_per_page BETWEEN 10 AND 100")


def downgrade() -> None:
    op.drop_constraint("ck_users_songs_per_page", "users", type_="check")
    op.drop_constraint("ck_users_theme", "users", type_="check")
    op.drop_column("users", "songs_per_page")
    op.drop_column("users", "hide_explicit")
    op.drop_column("users", "language")
    op.drop_column("users", "theme")
