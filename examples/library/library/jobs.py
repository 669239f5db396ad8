"""Work that is done later by `python -m library.worker`."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from rq import Queue
from sqlalchemy import any_, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from library import lyrics
from library.config import Settings
from library.db import Database, make_engine
from library.models import AnalysisResult, Song
from library.services.playlists import IDS

QUEUE = "analysis"
# Large enough that a job's own cost does not matter, small enough that the progress moves.
SONGS_PER_JOB = 25
JOB_TIMEOUT = 60
UPDATED = ("score", "sentiment", "explicit_level", "word_count", "processing_ms", "details", "analysed_at")


def enqueue_analysis(redis: Redis, song_ids: Sequence[int]) -> int:
    """Queue the songs in one pipeline; the number of jobs."""
    starts = range(0, len(song_ids), SONGS_PER_JOB)
    jobs = [
        Queue.prepare_data(
            analyse_songs,
            args=(list(song_ids[start : start + SONGS_PER_JOB]),),
            timeout=JOB_TIMEOUT,
            result_ttl=0,
        )
        for start in starts
    ]
    Queue(QUEUE, connection=redis).enqueue_many(jobs)
    return len(jobs)


def analyse_songs(song_ids: list[int]) -> int:
    """Analyse the lyrics of these songs and store the results; the number of songs that had lyrics.

    May be repeated: results are replaced. Songs that were deleted meanwhile are left out.
    """
    with _database().writing() as session:
        ids = bindparam("ids", song_ids, type_=IDS)
        texts = session.execute(
            select(Song.id, Song.lyrics).where(Song.id == any_(ids)).order_by(Song.id)
        ).all()
        now = datetime.now(UTC)
        results = [_result(song_id, text, now) for song_id, text in texts if text]
        _store(session, results)
        _mark(session, [result["song_id"] for result in results], "analysed", now)
        _mark(session, [song_id for song_id, text in texts if not text], "failed", now)
        return len(results)


def _result(song_id: int, text: str, now: datetime) -> dict[str, Any]:
    started = time.perf_counter()
    analysis = asdict(lyrics.analyse(text))
    return {
        "song_id": song_id,
        "score": analysis.pop("score"),
        "sentiment": analysis.pop("sentiment"),
        "explicit_level": analysis.pop("explicit_level"),
        "word_count": analysis.pop("word_count"),
        "details": analysis,
        "processing_ms": round(1000 * (time.perf_counter() - started)),
        "analysed_at": now,
    }


def _store(session: Session, results: list[dict[str, Any]]) -> None:
    """One statement for all results."""
    if not results:
        return
    statement = insert(AnalysisResult).values(results)
    session.execute(
        statement.on_conflict_do_update(
            constraint="uq_analysis_results_song_id",
            set_={name: statement.excluded[name] for name in UPDATED},
        )
    )


def _mark(session: Session, song_ids: list[int], status: str, now: datetime) -> None:
    if not song_ids:
        return
    ids = bindparam("ids", song_ids, type_=IDS)
    session.execute(
        update(Song)
        .where(Song.id == any_(ids))
        .values(status=status, analysed_at=now)
        .execution_options(synchronize_session=False)
    )


@functools.cache
def _database() -> Database:
    """One engine for the life of the worker."""
    return Database(make_engine(Settings.from_env()))
