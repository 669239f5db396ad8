"""Settings of the process, read from the environment once, at start."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that may differ between a laptop and production.

    secret: signs bearer tokens. Not set: random, so that tokens end with the process.
    admin_token: the service token that machines log in with. Empty: no such login.
    token_ttl: seconds a bearer token stays valid.
    pool_size: database connections kept open; as many again may open for a short while.
    """

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    secret: str = field(repr=False)
    admin_token: str = field(repr=False, default="")
    token_ttl: int = 3600
    pool_size: int = 8

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        return cls(
            database_url=env.get("DATABASE_URL", "postgresql+psycopg://localhost/library"),
            redis_url=env.get("REDIS_URL", "redis://localhost:6379/0"),
            secret=env.get("LIBRARY_SECRET") or secrets.token_hex(32),
            admin_token=env.get("LIBRARY_ADMIN_TOKEN", ""),
            token_ttl=int(env.get("LIBRARY_TOKEN_TTL", "3600")),
            pool_size=int(env.get("LIBRARY_POOL_SIZE", "8")),
        )
