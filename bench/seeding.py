"""Seconds and rows per second of every part of seeding, on a schema like the reference application's.

    python bench/seeding.py [scale]

Prints: generation alone (one thread, nothing sent), then a real build: rows, constraints and indexes,
vacuum and statistics, and a clone of the sealed template. The server is the embedded one.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gate import config, dataset, db, services
from gate.dataset.load import encoded
from gate.model import PostgresServer

SCHEMA = Path(__file__).parent.parent / "tests" / "dataset" / "schemas" / "music.sql"
SPEC = config.Dataset.model_validate(
    {
        "tables": {
            "artists": {"rows": 20_000},
            "users": {"rows": 100_000},
            "songs": {"rows": 300_000, "columns": {"lyrics": {"length": 400, "nulls": "70%"}}},
            "playlists": {"rows": 20_000},
            "playlist_songs": {"rows": 1_000_000},
            "analysis_results": {"rows": 250_000},
        }
    }
)


@contextmanager
def timed(what: str, rows: int = 0) -> Iterator[None]:
    start, cpu = time.perf_counter(), time.process_time()
    yield
    seconds, own = time.perf_counter() - start, time.process_time() - cpu
    rate = f"{rows / seconds / 1000:10,.0f} k rows/s" if rows else ""
    print(f"{what:<34}{seconds:8.2f} s {own:8.2f} s cpu{rate}")


def generate(plan: dataset.DataPlan) -> None:
    """Every row of every table, encoded and thrown away."""
    for table in plan.tables:
        with timed(f"generate {table.name}", table.rows):
            for _ in encoded(table):
                pass


def main(scale: float) -> None:
    wanted = config.Services(postgres=config.Postgres(version=18))
    with tempfile.TemporaryDirectory() as state:
        started = services.start(wanted, provider="embedded", state=Path(state), notify=lambda _: None)
        with started as running:
            measure(running.postgres, scale)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'peak memory of this process':<34}{peak:8.0f} MB")


def measure(server: PostgresServer, scale: float) -> None:
    dataset.create(server, "seeding")
    with db.connect(server, "seeding") as conn:
        conn.execute(SCHEMA.read_bytes())
    with timed("describe and rehearse"):
        plan = dataset.describe(server, "seeding", SPEC, scale=scale)
    with timed("generate and encode, all tables", plan.rows):
        generate(plan)
    with timed("build, all of it", plan.rows):
        template = dataset.build(server, "seeding", plan, notify=lambda text: print(f"    {text}"))
    dataset.clone(server, template, "first")
    with timed("clone"):
        dataset.clone(server, template, "copy")
    with db.connect(server, "copy") as conn:
        (size,) = conn.execute("SELECT pg_database_size('copy')").fetchall()[0]
    print(f"{plan.rows:,} rows, {size / 1e6:,.0f} MB, estimated {plan.estimated_bytes / 1e6:,.0f} MB")
    print(f"digest {template.digest}, statistics {template.statistics}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
