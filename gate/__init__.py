"""perf-gate: a CI performance gate for web applications on Postgres and Redis."""
