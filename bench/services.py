"""Time to a first authenticated query, initdb included, beside a bare initdb and pg_ctl.

    python bench/services.py [--rounds 7] [--registry perf-gate-stand-in]

Each round measures every provider that works here and, right after it, the bare programs of the embedded
package with the same options and settings, so that the ratio is of neighbours in time. Prints medians; the
ratio is the median of the rounds' ratios. Restart, saving and restoring are of an empty server.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gate import db, services
from gate.config import Services
from gate.errors import GateError
from gate.services.account import choose_account
from gate.services.embedded import find_programs
from gate.services.process import free_port
from gate.services.settings import initdb_options, postgres_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--registry", default="perf-gate-stand-in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perf-gate-bench-", dir=_memory()) as scratch:
        Path(scratch).chmod(0o755)
        providers = {name: _config(name, options.registry) for name in ("embedded", "docker", "system")}
        print(f"{'provider':10} {'ready':>7} {'bare':>7} {'ratio':>6} ", end="")
        print(f"{'restart':>8} {'save':>6} {'restore':>8} {'redis':>6}")
        for name, config in providers.items():
            try:
                print(_row(name, config, Path(scratch), options.rounds), flush=True)
            except GateError as error:
                print(f"{name:10} {error.message}")


def _config(provider: str, registry: str) -> Services:
    major = _installed() if provider == "system" else find_programs(choose_account()).major
    return Services.model_validate({"postgres": {"version": major}, "docker": {"registry": registry}})


def _installed() -> int:
    """The newest version that Debian's packages have put here; 18 where there are none, to be refused."""
    found = [int(path.name) for path in Path("/usr/lib/postgresql").glob("[0-9]*")]
    return max(found, default=18)


def _row(name: str, config: Services, scratch: Path, rounds: int) -> str:
    measured: list[dict[str, float]] = []
    for _ in range(rounds):
        seen = _provider(name, config, scratch)
        seen["bare"] = _bare(scratch)
        seen["ratio"] = seen["ready"] / seen["bare"]
        measured.append(seen)
    middle = {key: statistics.median(seen[key] for seen in measured) for key in measured[0]}
    return (
        f"{name:10} {middle['ready']:6.2f}s {middle['bare']:6.2f}s {middle['ratio']:6.2f} "
        f"{middle['restart']:7.2f}s {middle['save']:5.2f}s {middle['restore']:7.2f}s {middle['redis']:5.2f}s"
    )


def _provider(name: str, config: Services, scratch: Path) -> dict[str, float]:
    seen: dict[str, float] = {}
    started = time.perf_counter()
    with services.start(config, provider=name, state=scratch / "state", notify=lambda _: None) as running:
        with db.connect(running.postgres, "postgres") as connection:
            connection.execute("SELECT 1")
        seen["ready"] = time.perf_counter() - started
        saved = scratch / "saved"
        seen["redis"] = _timed(lambda: running.redis("head"))
        seen["restart"] = _timed(running.restart_postgres)
        seen["save"] = _timed(lambda: running.save_data(saved))
        seen["restore"] = _timed(lambda: running.restore_data(saved))
    shutil.rmtree(saved)
    return seen


def _timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _bare(scratch: Path) -> float:
    """initdb and pg_ctl -w start with our options, and one query by psql through the loopback."""
    account = choose_account()
    programs = find_programs(account)
    directory = Path(tempfile.mkdtemp(dir=scratch))
    account.own(directory)
    data, port = directory / "data", free_port()
    settings = postgres_settings(programs.major, {}) | {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(directory),
        "port": str(port),
    }
    server_options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
    control = str(programs.postgres.with_name("pg_ctl"))

    def run(*command: str) -> None:
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C", "TZ": "UTC"},
            cwd=directory,
            **account.process,
        )

    started = time.perf_counter()
    run(
        str(programs.initdb),
        "-D",
        str(data),
        "-U",
        "postgres",
        "--no-sync",
        "--auth=trust",
        *initdb_options(18),
    )
    run(control, "-D", str(data), "-w", "-l", str(directory / "log"), "-o", server_options, "start")
    psql = str(programs.postgres.with_name("psql"))
    run(psql, "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-c", "SELECT 1")
    took = time.perf_counter() - started
    run(control, "-D", str(data), "-m", "immediate", "stop")
    shutil.rmtree(directory)
    return took


def _memory() -> str | None:
    """Where the providers put their data too, where there is room."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    sys.exit(main())
