"""What watching costs: statements on servers that count them, that could log plans, and that do neither.

    python -m bench.observer [--rounds 40] [--statements 500]

Three servers of the embedded package with the gate's settings, alike but for what they preload, take turns
over a Unix socket. A round runs each statement so many times on each of them, in random order; printed are
the medians of the rounds, and of the rounds' ratios to the server that watches nothing. base and head are
always on servers alike, so that the cost is in both and in no comparison.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from gate.services.account import choose_account
from gate.services.embedded import find_programs
from gate.services.settings import EXPLAINER, PRELOADED, initdb_options, postgres_settings

SERVERS = {"nothing": "", "counting": PRELOADED, "counting, plans off": f"{PRELOADED},{EXPLAINER}"}
STATEMENTS = {
    "one row by its key": "SELECT v FROM t WHERE id = %s",
    "a page of 25 rows": "SELECT id, v FROM t WHERE id > %s ORDER BY id LIMIT 25",
    "a sum over 2,000 rows": "SELECT sum(length(v)) FROM t WHERE id > %s AND id <= 2000 + %s",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--statements", type=int, default=500, help="of each kind, per server and round")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        connections = {name: stack.enter_context(server(libraries)) for name, libraries in SERVERS.items()}
        for connection in connections.values():
            connection.execute("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL)")
            connection.execute("INSERT INTO t SELECT n, repeat('x', 40) FROM generate_series(1, 20000) n")
            connection.execute("VACUUM (FREEZE, ANALYZE) t")
        draw = random.Random(1)
        print(f"{'':24}" + "".join(f"{name:>26}" for name in SERVERS))
        for label, sql in STATEMENTS.items():
            rounds = [
                one_round(connections, sql, options.statements, draw) for _ in range(options.rounds + 1)
            ][1:]
            print(f"{label:24}" + "".join(f"{cell(rounds, name):>26}" for name in SERVERS), flush=True)


def one_round(
    connections: dict[str, psycopg.Connection], sql: str, times: int, draw: random.Random
) -> dict[str, float]:
    """Seconds of one statement on each server."""
    names = list(connections)
    draw.shuffle(names)
    found = {}
    for name in names:
        execute = connections[name].execute
        started = time.perf_counter()
        for number in range(times):
            execute(sql, (number,) * sql.count("%s")).fetchall()
        found[name] = (time.perf_counter() - started) / times
    return found


def cell(rounds: list[dict[str, float]], name: str) -> str:
    seconds = statistics.median(one[name] for one in rounds)
    ratio = statistics.median(one[name] / one["nothing"] for one in rounds)
    return f"{1e6 * seconds:.1f} us, x{ratio:.3f}"


@contextlib.contextmanager
def server(libraries: str) -> Iterator[psycopg.Connection]:
    """A connection to a new server that preloads these libraries."""
    account = choose_account()
    programs = find_programs(account)
    with tempfile.TemporaryDirectory(prefix="perf-gate-bench-") as scratch:
        directory = Path(scratch)
        account.own(directory)
        data = directory / "data"
        settings = postgres_settings(programs.major, {}) | {
            "listen_addresses": "",
            "unix_socket_directories": str(directory),
            "shared_preload_libraries": libraries,
            "shared_buffers": "64MB",
        }
        if not libraries:
            settings = {n: v for n, v in settings.items() if not n.startswith(PRELOADED)}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        control = str(programs.postgres.with_name("pg_ctl"))

        def run(*command: str) -> None:
            environment = {"LC_ALL": "C", "TZ": "UTC"}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(command, check=True, env=environment, cwd=directory, **quiet, **account.process)

        run(
            str(programs.initdb),
            "-D",
            str(data),
            "-U",
            "postgres",
            "--no-sync",
            *initdb_options(programs.major),
        )
        run(control, "-D", str(data), "-w", "-l", str(directory / "log"), "-o", options, "start")
        try:
            with psycopg.connect(f"host={directory} user=postgres", autocommit=True) as connection:
                yield connection
        finally:
            run(control, "-D", str(data), "-m", "immediate", "stop")


if __name__ == "__main__":
    sys.exit(main())
