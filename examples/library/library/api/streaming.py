"""Answers that are sent while they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Response
from sqlalchemy.orm import Session

from library.db import database


def streamed(produce: Callable[[Session], Iterator[str]], mimetype: str, filename: str) -> Response:
    """A file made piece by piece. What can be refused has to be refused before: the status is sent first."""
    source = database()

    def pieces() -> Iterator[str]:
        with source.reading() as session:
            yield from produce(session)

    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return Response(pieces(), mimetype=mimetype, headers=headers)
