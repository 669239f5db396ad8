"""perf-gate: a CI performance gate for web applications on Postgres and Redis."""

__version__ = "0.1.0"
