"""Which pull request a finished run belongs to. Derived from GitHub's own facts, never believed.

A run of a fork names no pull request, and whatever its artifact says was written by the fork. The
commit and the id of its repository are GitHub's, so only pull requests that offer exactly these count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gate.github.client import Pull


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """pull: where to comment; None with the reason why nowhere."""

    pull: Pull | None
    reason: str = ""


def choose(candidates: Sequence[Pull], *, claimed: int) -> Choice:
    """One of the pull requests that offer the measured commit.

    claimed: the number in the artifact's name, 0 for none. It may choose between candidates; a claim
    that is none of them is an attempt at another pull request, and nothing is posted at all.
    """
    if not candidates:
        return Choice(pull=None, reason="no open pull request offers this commit; it was closed or pushed to")
    if claimed:
        found = next((pull for pull in candidates if pull.number == claimed), None)
        return Choice(
            pull=found, reason="" if found else f"the artifact claims #{claimed}, which is another's"
        )
    if len(candidates) > 1:
        numbers = ", ".join(f"#{pull.number}" for pull in candidates)
        return Choice(pull=None, reason=f"several pull requests offer this commit: {numbers}")
    return Choice(pull=candidates[0])
