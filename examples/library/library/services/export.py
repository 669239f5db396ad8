"""Exports, produced while they are sent: memory does not grow with the number of rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from library.models import Artist, PlaylistSong, Song
from library.services.rows import moment

# Rows per round trip to the database and per piece sent.
CHUNK = 500
SONG_COLUMNS = ("id", "title", "artist", "duration_ms", "status", "analysed_at")


def songs_csv(session: Session, status: str, limit: int) -> Iterator[str]:
    """Songs in one state in the order of their ids, with a header line."""
    statement = (
        select(Song.id, Song.title, Artist.name, Song.duration_ms, Song.status, Song.analysed_at)
        .join(Song.artist)
        .where(Song.status == status)
    )
    songs = islice(_batches(session, statement, Song.id), limit)
    yield from csv_text(SONG_COLUMNS, ((*song[:-1], moment(song[-1])) for song in songs))


def playlist_json(session: Session, playlist_id: int) -> Iterator[str]:
    """A JSON list of all songs of a playlist in their order."""
    statement = (
        select(PlaylistSong.position, Song.id, Song.title, Artist.name, Song.duration_ms)
        .join(PlaylistSong.song)
        .join(Song.artist)
        .where(PlaylistSong.playlist_id == playlist_id)
    )
    entries = _batches(session, statement, PlaylistSong.position)
    names = ("position", "song_id", "title", "artist", "duration_ms")
    yield from json_list(dict(zip(names, entry, strict=True)) for entry in entries)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """RFC 4180, in pieces of CHUNK rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    source = iter(rows)
    while piece := list(islice(source, CHUNK)):
        writer.writerows(piece)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    if rest := buffer.getvalue():
        yield rest


def json_list(values: Iterable[Any]) -> Iterator[str]:
    """A JSON array, in pieces of CHUNK values."""
    source = iter(values)
    separator = "["
    while piece := list(islice(source, CHUNK)):
        yield separator + json.dumps(piece, separators=(",", ":"))[1:-1]
        separator = ","
    yield "[]" if separator == "[" else "]"


def _batches(
    session: Session, statement: Select[*tuple[Any, ...]], key: InstrumentedAttribute[int]
) -> Iterator[Sequence[Any]]:
    """All rows in the order of their key, which is unique, positive and the first column, CHUNK at a time.

    Each batch begins behind the last row of the one before. A cursor on the server would do as well, but
    every cursor has a name of its own, and the statistics of the server would know each as a new statement.
    """
    last = 0
    while True:
        batch = session.execute(statement.where(key > last).order_by(key).limit(CHUNK)).all()
        yield from batch
        if len(batch) < CHUNK:
            return
        last = batch[-1][0]
