"""Take jobs from the queue until told to stop: python -m library.worker."""

from __future__ import annotations

import argparse

from redis import Redis
from rq import Queue, SimpleWorker

from library.config import Settings
from library.jobs import QUEUE


def main() -> None:
    options = _options()
    redis = Redis.from_url(Settings.from_env().redis_url)
    # Jobs run in this process, not in a fork for each: they are our own code, and a fork would
    # open a new database connection for every job.
    worker = SimpleWorker([Queue(QUEUE, connection=redis)], connection=redis)
    worker.work(burst=options.burst, logging_level="WARNING")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m library.worker", description="Analyse queued songs.")
    parser.add_argument("--burst", action="store_true", help="stop when the queue is empty")
    return parser.parse_args()


if __name__ == "__main__":
    main()
