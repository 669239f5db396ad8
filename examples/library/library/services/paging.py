"""Cutting one page out of a list."""

from __future__ import annotations

from sqlalchemy import Select, Subquery

from library.params import Page


def cut(ids: Select[int], page: Page, *, more: int = 0) -> Subquery:
    """The ids of one page, and `more` of those after it, to join with.

    Rows before the page are skipped in the index alone: joins and counts beside an OFFSET would be made
    for them as well.
    """
    return ids.limit(page.size + more).offset(page.offset).subquery("cut")
