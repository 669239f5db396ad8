"""Videos, in three orders."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, contains_eager

from library.models import Artist, Video
from library.params import Page
from library.services.paging import cut
from library.services.rows import Row, artist_row, moment

ORDERS = {
    "title": (Video.title, Video.id),
    "date": (Video.published_at.desc(), Video.id.desc()),
    "artist": (Artist.sort_name, Video.id),
}


def videos_page(session: Session, sort: str, page: Page) -> Row:
    """One page of all videos. sort: a key of ORDERS."""
    total = session.scalar(select(func.count()).select_from(Video))
    ids = select(Video.id).order_by(*ORDERS[sort])
    if sort == "artist":
        # Only this order needs the join before the page is cut.
        ids = ids.join(Video.artist)
    shown = cut(ids, page)
    videos = session.scalars(
        select(Video)
        .join(shown, shown.c.id == Video.id)
        .join(Video.artist)
        .options(contains_eager(Video.artist))
        .order_by(*ORDERS[sort])
    )
    return {
        "videos": [_video_row(video) for video in videos],
        "sort": sort,
        "page": page.number,
        "per_page": page.size,
        "total": total,
    }


def _video_row(video: Video) -> Row:
    return {
        "id": video.id,
        "title": video.title,
        "artist": artist_row(video.artist),
        "duration_ms": video.duration_ms,
        "view_count": video.view_count,
        "published_at": moment(video.published_at),
    }
