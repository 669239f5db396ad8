"""The watchdog: removes what a run has started once the run is gone, even after SIGKILL.

Run as a file by `python -I -S watchdog.py DIRECTORY RECORD`, so it imports little and nothing of ours. Its
standard input is a pipe whose other end only the gate holds; end of file is the signal. Everything of a
run lies in one directory that its servers name on their command lines, so a server is found even when the
gate was killed between starting it and noting its pid. The next run uses the same `sweep` on directories
that no watchdog has removed, because it was killed too or the machine was switched off.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

SERVERS = frozenset({"postgres", "initdb", "valkey-server", "redis-server"})
_PATIENCE = 10.0  # seconds; Postgres kills its own children 5 s after SIGQUIT


def servers_of(directory: str) -> list[int]:
    """Pids of the servers whose command line names the directory or something in it.

    A Postgres backend has its own title and is not found: its postmaster ends it.
    """
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and _serves(name, directory):
            found.append(int(name))
    return found


def _serves(pid: str, directory: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            program, *arguments = os.fsdecode(file.read()).split("\0")
    except OSError:
        return False  # ended meanwhile
    if os.path.basename(program) not in SERVERS:
        return False
    return any(argument == directory or argument.startswith(directory + "/") for argument in arguments)


def end_servers(directory: str) -> None:
    """End every server of the directory: at once, without writing anything, by force if need be."""
    for number, seconds in ((signal.SIGQUIT, _PATIENCE), (signal.SIGKILL, _PATIENCE)):
        deadline = time.monotonic() + seconds
        told: set[int] = set()
        while servers := servers_of(directory):
            for pid in set(servers) - told:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)


def sweep(directory: str, record: str) -> None:
    """End the run's servers, remove its directory, then its record. Safe to repeat, and beside another."""
    end_servers(directory)
    shutil.rmtree(directory, ignore_errors=True)
    if not os.path.lexists(directory):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(record)


def main() -> None:
    directory, record = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the gate, which may still be cleaning up
    while os.read(sys.stdin.fileno(), 1):
        pass
    if os.path.lexists(record):
        sweep(directory, record)


if __name__ == "__main__":
    main()
