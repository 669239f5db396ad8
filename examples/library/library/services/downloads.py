"""Downloads: asked for here, made by the downloader, which reports how far it has come.

The percentages live in Redis alone: they change every second and are worth nothing once the file is there.
"""

from __future__ import annotations

from datetime import UTC, datetime

from redis import Redis
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from library.models import Download, Song
from library.params import ApiError, Page
from library.services.accounts import existing_user
from library.services.paging import cut
from library.services.playlists import require_songs
from library.services.rows import Row, moment, song_row

ACTIVE = ("queued", "running")
# A downloader that says nothing for an hour is gone.
PERCENT_TTL = 3600


def downloads_page(session: Session, redis: Redis, user_id: int, page: Page) -> Row:
    """A user's downloads, the latest first, with their progress: one statement and at most one MGET."""
    latest = (Download.requested_at.desc(), Download.id.desc())
    ids = cut(select(Download.id).where(Download.user_id == user_id).order_by(*latest), page, more=1)
    downloads = session.scalars(
        select(Download)
        .join(ids, ids.c.id == Download.id)
        .options(joinedload(Download.song, innerjoin=True).joinedload(Song.artist, innerjoin=True))
        .order_by(*latest)
    ).all()
    shown = downloads[: page.size]
    percents = _percents(redis, [download.id for download in shown if download.status in ACTIVE])
    return {
        "user_id": user_id,
        "downloads": [
            download_row(download) | {"song": song_row(download.song), "percent": percents.get(download.id)}
            for download in shown
        ],
        "page": page.number,
        "per_page": page.size,
        "has_more": len(downloads) > page.size,
    }


def request_download(session: Session, user_id: int, song_id: int, file_format: str) -> Row:
    existing_user(session, user_id)
    require_songs(session, [song_id])
    download = Download(
        user_id=user_id,
        song_id=song_id,
        format=file_format,
        status="queued",
        requested_at=datetime.now(UTC),
    )
    session.add(download)
    session.flush()
    return download_row(download)


def report(session: Session, download_id: int, percent: int, size_bytes: int | None) -> Row:
    """What the downloader says: at 100 the download is done. 409 if it had already ended."""
    download = session.get(Download, download_id, with_for_update=True)
    if download is None:
        raise ApiError(404, f"there is no download {download_id}")
    if download.status not in ACTIVE:
        raise ApiError(409, f"the download is already {download.status}")
    download.status = "done" if percent == 100 else "running"
    if percent == 100:
        download.finished_at = datetime.now(UTC)
        download.size_bytes = size_bytes
    return download_row(download)


def remember_percent(redis: Redis, download_id: int, percent: int) -> None:
    if percent == 100:
        redis.delete(_key(download_id))
    else:
        redis.set(_key(download_id), percent, ex=PERCENT_TTL)


def download_row(download: Download) -> Row:
    return {
        "id": download.id,
        "status": download.status,
        "format": download.format,
        "size_bytes": download.size_bytes,
        "requested_at": moment(download.requested_at),
        "finished_at": moment(download.finished_at),
    }


def _percents(redis: Redis, ids: list[int]) -> dict[int, int]:
    """The progress of those that have reported any."""
    if not ids:
        return {}
    values = redis.mget([_key(download_id) for download_id in ids])
    return {
        download_id: int(value) for download_id, value in zip(ids, values, strict=True) if value is not None
    }


def _key(download_id: int) -> str:
    return f"library:download:{download_id}"
