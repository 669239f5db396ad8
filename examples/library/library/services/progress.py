"""How far the analysis has come: for one user's songs, and per day over all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from library.models import SONG_STATUSES, AnalysisResult, Playlist, PlaylistSong, Song
from library.services.rows import Row


def user_progress(session: Session, user_id: int) -> Row:
    """Distinct songs in the user's playlists by status. A user without playlists has no songs."""
    counts = dict(
        session.execute(
            select(Song.status, func.count(Song.id.distinct()))
            .join(PlaylistSong, PlaylistSong.song_id == Song.id)
            .join(Playlist, Playlist.id == PlaylistSong.playlist_id)
            .where(Playlist.owner_id == user_id)
            .group_by(Song.status)
        ).all()
    )
    by_status = {status: counts.get(status, 0) for status in SONG_STATUSES}
    total = sum(by_status.values())
    done = total - by_status["pending"]
    return {
        "user_id": user_id,
        "songs": by_status,
        "total": total,
        "percent_done": round(100 * done / total, 1) if total else 100.0,
    }


def daily_performance(session: Session, start: datetime, days: int) -> Row:
    """Analyses per UTC day from `start`: how many, how good, how long they took.

    Days without any are left out.
    """
    day = func.date_trunc("day", AnalysisResult.analysed_at, "UTC").label("day")
    rows = session.execute(
        select(
            day,
            func.count(),
            func.avg(AnalysisResult.score),
            func.avg(AnalysisResult.processing_ms),
            func.max(AnalysisResult.processing_ms),
        )
        .where(
            AnalysisResult.analysed_at >= start,
            AnalysisResult.analysed_at < start + timedelta(days=days),
        )
        .group_by(day)
        .order_by(day)
    )
    return {
        "from": start.date().isoformat(),
        "days": [
            {
                "date": moment.astimezone(UTC).date().isoformat(),
                "analysed": count,
                "mean_score": round(float(score), 2),
                "mean_ms": round(float(mean_ms), 1),
                "slowest_ms": slowest_ms,
            }
            for moment, count, score, mean_ms, slowest_ms in rows
        ],
    }
