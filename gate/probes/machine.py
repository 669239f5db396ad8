"""Facts of the machine that decide whether two timings may be compared; nothing that names it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from gate.model import Environment

_CPUINFO = Path("/proc/cpuinfo")
# x86 names its model. ARM gives numbers of maker and part, which tell models apart as well.
_CPU_FIELDS = (("model name",), ("CPU implementer", "CPU part"), ("cpu",), ("Hardware",))


def machine_facts() -> Environment:
    """Operating system, architecture, CPU model, usable cores, Python; the rest is left empty."""
    return Environment(
        os=_system(),
        arch=platform.machine(),
        cpu=_cpu(),
        cores=_cores(),
        python=".".join(platform.python_version_tuple()[:2]),
    )


def _system() -> str:
    """ "Linux (debian 12)": the distribution brings the C library and the compiler's output."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system()
    name = f"{release.get('ID', '')} {release.get('VERSION_ID', '')}".strip()
    return f"{platform.system()} ({name})" if name else platform.system()


def _cores() -> int:
    """Those this process may run on, which a container or taskset can make fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0


def _cpu(cpuinfo: Path = _CPUINFO) -> str:
    """The model's name; empty where the system does not tell."""
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return platform.processor()
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    for names in _CPU_FIELDS:
        if all(fields.get(name) for name in names):
            return " ".join(" ".join(fields[name] for name in names).split())
    return platform.processor()
