"""The watchdog: removes what a run has started once the run is gone, even after SIGKILL.

Run as a file by `python -I -S watchdog.py DIRECTORY RECORD DOCKER_SOCKET`, so it imports little and
nothing of ours. Its standard input is a pipe whose other end only the gate holds; end of file is the
signal. Everything of a run lies in one directory that its servers name on their command lines, or in
containers that name it in a label, so a server is found even when the gate was killed between starting it
and noting its pid. The next run uses the same `sweep` on what no watchdog has removed, because it was
killed too or the machine was switched off.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

LABEL = "perf-gate.run"  # of our containers; its value is the name of the run's directory
SERVERS = frozenset({"postgres", "initdb", "valkey-server", "redis-server"})
_DAEMON_TIMEOUT = 30.0
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


def sweep(directory: str, record: str, docker: str = "") -> None:
    """End the run's servers, remove its directory, then its record. Safe to repeat, and beside another.

    docker: socket of the daemon that runs the servers, empty where they are processes.
    """
    if docker:
        with contextlib.suppress(OSError):  # a daemon that is gone runs no containers
            remove_containers(docker, os.path.basename(directory))
    end_servers(directory)
    shutil.rmtree(directory, ignore_errors=True)
    if not os.path.lexists(directory):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(record)


def remove_containers(docker: str, run: str) -> None:
    """Remove the containers of a run with their volumes, whatever they are doing.

    Speaks to the daemon itself: the watchdog must not depend on packages that may be gone by then.
    """
    import json
    from urllib.parse import quote

    filters = quote(json.dumps({"label": [f"{LABEL}={run}"]}))
    for container in json.loads(_ask(docker, "GET", f"/containers/json?all=1&filters={filters}") or "[]"):
        _ask(docker, "DELETE", f"/containers/{container['Id']}?force=1&v=1")


def _ask(docker: str, method: str, path: str) -> bytes:
    """One request to the daemon; its answer, empty where it refuses (a container that is gone already)."""
    import http.client
    import socket

    connection = http.client.HTTPConnection("localhost", timeout=_DAEMON_TIMEOUT)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(_DAEMON_TIMEOUT)
        connection.sock.connect(docker)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        return body if answer.status < 300 else b""
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def main() -> None:
    directory, record, docker = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the gate, which may still be cleaning up
    while os.read(sys.stdin.fileno(), 1):
        pass
    if os.path.lexists(record):
        sweep(directory, record, docker)


if __name__ == "__main__":
    main()
