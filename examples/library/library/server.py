"""Serve the application: python -m library.server --port 8000. One process, several threads."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import sys

from waitress import serve

from library import create_app


def main() -> None:
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # A request that waits for a thread is no news; the database's pool is as large as the threads need.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    # waitress stops its threads and returns on SystemExit, as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = create_app()
    # What was imported stays for ever: keep it out of every later garbage collection.
    gc.collect()
    gc.freeze()
    serve(app, host=options.host, port=options.port, threads=options.threads, ident=None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m library.server", description="Serve the music library.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=8, help="requests handled at the same time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
