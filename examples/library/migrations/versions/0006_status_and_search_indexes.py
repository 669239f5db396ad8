"""Indexes for the list of songs by status and for the search.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

STATUS = "ix_songs_status_analysed_at"
TITLE = "ix_songs_title_prefix"
NAME = "ix_artists_name_prefix"


def upgrade() -> None:
    # Concurrently: songs is the largest table that is written to all day.
    with op.get_context().autocommit_block():
        op.create_index(STATUS, "songs", ["status", "analysed_at", "id"], postgresql_concurrently=True)
        op.create_index(
            TITLE, "songs", [sa.text('lower(title) COLLATE "C"'), "id"], postgresql_concurrently=True
        )
        op.create_index(
            NAME, "artists", [sa.text('lower(name) COLLATE "C"'), "id"], postgresql_concurrently=True
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(NAME, "artists", postgresql_concurrently=True)
        op.drop_index(TITLE, "songs", postgresql_concurrently=True)
        op.drop_index(STATUS, "songs", postgresql_concurrently=True)
