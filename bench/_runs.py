"""What aa.py, power.py and sizes.py share: complete runs of the gate in a throw-away clone, results that
outlive an interruption, planted patches, and a busy neighbour.

    python -m bench._runs CORE SEED        is the neighbour on one core
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import Any

from scipy.stats import beta

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PLANTED = ROOT / "bench" / "planted"
# The benchmarks that need the processor only; those of the database are another suite's worth of time.
ONLY = {"benchmarks": "benchmarks/test_[lw]*", "endpoints": "*"}
GATED = {"benchmarks": "time", "endpoints": "latency"}
CONFIDENCE = 0.95
_SIDES = ("base", "head")
STOP = 15.0  # seconds that a gate told to end has for its servers
_IDENTITY = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "-c", "commit.gpgsign=false"]

Line = dict[str, Any]


# Planted changes


@dataclass(frozen=True, slots=True)
class Plant:
    """One slowed case. knob: the number in the patch that sets its size, empty where there is none."""

    case: str
    knob: str
    measured: str


@dataclass(frozen=True, slots=True)
class Patch:
    """A change as a colleague would make it, with what it slows down and by how much.

    kind: what its trials are counted under. aim: a share (0.05) or seconds (0.003), as `unit` says.
    trials: wanted of this kind. touches: globs of the cases it slows beside the planted ones.
    """

    path: Path
    kind: str
    suite: str
    aim: float
    unit: str
    trials: int
    plants: tuple[Plant, ...]
    touches: tuple[str, ...]
    text: str

    @classmethod
    def read(cls, path: Path) -> Patch:
        text = path.read_text(encoding="utf-8")
        header: dict[str, list[str]] = {}
        for line in text.partition("\ndiff ")[0].splitlines():
            name, _, value = line.partition(": ")
            header.setdefault(name, []).append(value.strip())
        amount, unit = header["Aim"][0].split()
        plants = (re.split(r"\s*\|\s*", line) for line in header["Planted"])
        return cls(
            path=path,
            kind=header["Kind"][0],
            suite=header["Suite"][0],
            aim=float(amount) * {"%": 0.01, "ms": 0.001}[unit],
            unit=unit,
            trials=int(header["Trials"][0]),
            plants=tuple(Plant(case, knob, measured) for case, knob, measured in plants),
            touches=tuple(header.get("Touches", ["none"])[0].split(", ")),
            text=text,
        )

    def touched(self, case: str) -> bool:
        """Whether the change slows this case at all. Brackets in a glob are those of parameters."""
        if any(case == plant.case for plant in self.plants):
            return True
        return any(fnmatchcase(case, glob.replace("[", "[[]")) for glob in self.touches)

    def knobs(self) -> dict[str, int]:
        wanted = {plant.knob for plant in self.plants} - {""}
        return {name: int(value) for name, value in _KNOB.findall(self.text) if name in wanted}

    def turned(self, knobs: Mapping[str, int]) -> str:
        """The patch with other numbers at its knobs."""

        def line(found: re.Match[str]) -> str:
            return f'+    "{found[1]}": {knobs.get(found[1], int(found[2]))},'

        return _KNOB.sub(line, self.text)


_KNOB = re.compile(r'^\+    "([\w-]+)": (\d+),$', re.MULTILINE)


def patches(glob: str = "*") -> list[Patch]:
    return [Patch.read(path) for path in sorted(PLANTED.glob(f"{glob}.patch"))]


# Runs


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone of the committed repository, and what of it decides a measurement, as ten hex digits."""

    path: Path
    commit: str
    version: str

    def git(self, *arguments: str) -> str:
        return _git(self.path, *arguments)

    def apply(self, patch: Patch) -> None:
        """On top of the commit, as a commit: base is then its parent."""
        self.git("checkout", "--quiet", "--force", "--detach", self.commit)
        self.git("clean", "--quiet", "-fd")
        self.git("apply", "--whitespace=nowarn", str(patch.path))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", patch.kind)


@contextmanager
def clone(ref: str = "HEAD") -> Iterator[Clone]:
    commit = _git(ROOT, "rev-parse", f"{ref}^{{commit}}")
    trees = _git(ROOT, "rev-parse", *(f"{commit}:{p}" for p in ("gate", "examples", "perf-gate.toml")))
    version = hashlib.sha256(trees.encode()).hexdigest()[:10]
    with tempfile.TemporaryDirectory(prefix="perf-gate-bench-") as scratch:
        path = Path(scratch) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(path)], check=True)
        _git(path, "checkout", "--quiet", "--detach", commit)
        yield Clone(path, commit, version)


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *_IDENTITY, *arguments], cwd=directory, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def gate(where: Clone, *, suite: str, against: str, only: str, budget: str) -> Line:
    """One complete run of the clone's own gate over one suite, as the line that is kept of it."""
    line, report = run(where, "--against", against, "--suite", suite, "--only", only, "--time-budget", budget)
    return {"suite": suite} | line | (summary(report) if report else {})


def run(where: Clone, *arguments: str, services: str = "embedded") -> tuple[Line, Line]:
    """`perf-gate run` of the clone's own gate as a user runs it: what is kept of any run, and its report.

    Where there is no report, `error` holds the end of what was said.
    """
    file = where.path.parent / "report.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "gate", "run", "--services", services, *arguments, "--json", str(file)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PERF_GATE_", "GITHUB_"))}
    if cache := os.environ.get("PERF_GATE_CACHE"):
        kept["PERF_GATE_CACHE"] = cache
    line: Line = {"commit": where.commit[:10], "version": where.version}
    line["load"] = [round(os.getloadavg()[0], 2)]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        # -m puts the directory first on the path: the clone's own gate runs, whatever is edited meanwhile.
        process = subprocess.Popen(
            command, cwd=where.path, env=kept, stdout=subprocess.DEVNULL, stderr=said, text=True
        )
        try:
            line["code"] = process.wait()
        except BaseException:
            _end(process)
            raise
        line["seconds"] = round(time.monotonic() - began, 1)
        line["load"].append(round(os.getloadavg()[0], 2))
        if not file.exists():
            said.seek(0)
            return line | {"error": said.read()[-2000:]}, {}
    return line, json.loads(file.read_text(encoding="utf-8"))


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def summary(report: Mapping[str, Any]) -> Line:
    """What is kept of a report.

    cases: by name, of the gated times; of those not found equal also each pair's value of either side, so
    that what happened can be seen. pairs: number, stage, seconds, warm, measured, lost.
    memory: by case and metric, outcome and bytes of base, head and their difference.
    counted: rows that are no times and block, for then the verdict is not the times' own.
    """
    gated = [row for row in report["comparisons"] if row["metric"] in GATED.values()]
    return {
        "verdict": report["verdict"]["state"],
        "reasons": list(report["verdict"]["reasons"][:3]),
        "cases": {
            case_of(row["case"]): _kept(row)
            | ({} if row["outcome"] == "equivalent" else {"values": _values(report, row)})
            for row in gated
        },
        "memory": {
            f"{case_of(row['case'])} {row['metric']}": [row[name] for name in ("outcome", *_SIDES, "delta")]
            for row in report["comparisons"]
            if row["kind"] == "gauge"
        },
        "counted": [
            f"{case_of(row['case'])} {row['metric']}"
            for row in report["comparisons"]
            if row["blocking"] and row not in gated
        ],
        "pairs": [
            [p["number"], p["stage"], p["seconds"], p["warm"], p["measured"], p["lost"]]
            for p in report["run"]["pairs"]
        ],
        "timeline": {phase["name"]: round(phase["seconds"], 1) for phase in report["timeline"]},
        "caveats": sorted({caveat["code"] for caveat in report["caveats"]}),
    }


def _kept(row: Mapping[str, Any]) -> Line:
    interval = row["interval"]
    return {
        "outcome": row["outcome"],
        "blocking": row["blocking"],
        "ratio": _rounded(row["ratio"]),
        "interval": [_rounded(interval[name]) for name in ("low", "high")] if interval else None,
        "base": row["base"] and float(f"{row['base']:.5g}"),
        "pairs": row["pairs"],
        "stage": row["stage"],
        "mde": _rounded(row["mde"]),
        "caveats": [caveat["code"] for caveat in row["caveats"]],
    }


def _values(report: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    """By side, [pair, seconds]: the fastest round of a benchmark, the median of an endpoint."""
    middle = statistics.median if row["metric"] == GATED["endpoints"] else min
    found: dict[str, list[list[float]]] = {}
    for sample in report["run"]["samples"]:
        if sample["case"] == row["case"] and sample["metric"]["name"] == row["metric"]:
            pairs: dict[int, list[float]] = {}
            for pair, *_, value in sample["points"]:
                pairs.setdefault(pair, []).append(value)
            found[sample["side"]] = [[pair, float(f"{middle(v):.6g}")] for pair, v in pairs.items()]
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def case_of(case: Mapping[str, str]) -> str:
    return f"{case['suite']}/{case['name']}" + (f"[{case['parameters']}]" if case["parameters"] else "")


def told(line: Mapping[str, Any]) -> str:
    """One line for whoever watches."""
    if "error" in line:
        return f"{line['seconds']:6.0f} s  exit {line['code']}: {line['error'].strip().splitlines()[-1]}"
    outcomes = [case["outcome"] for case in line["cases"].values()]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in sorted(set(outcomes)))
    blocking = [name for name, case in line["cases"].items() if case["blocking"]]
    return f"{line['seconds']:6.0f} s  {line['verdict']}: {counts}; blocking {', '.join(blocking) or 'none'}"


# Results


class Results:
    """One JSON line a run, appended as soon as it is over; what was written half is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[Line]:
        if not self.path.exists():
            return []
        found = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(text))
            except json.JSONDecodeError:
                print(f"{self.path.name}: half a line left out", file=sys.stderr)
        return found

    def complete(self, **wanted: Any) -> list[Line]:
        """Lines of runs with a report, and with these values."""
        return [
            line
            for line in self.lines()
            if "error" not in line and all(line[name] == value for name, value in wanted.items())
        ]

    def add(self, line: Line) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def upper(events: int, trials: int) -> float:
    """The one-sided 95 % upper bound of a rate (Clopper and Pearson; 3 / n where there was no event)."""
    return 1.0 if events >= trials else float(beta.ppf(CONFIDENCE, events + 1, trials - events))


def lower(events: int, trials: int) -> float:
    """The one-sided 95 % lower bound of a rate (Clopper and Pearson)."""
    return 0.0 if events == 0 else float(beta.ppf(1 - CONFIDENCE, events, trials - events + 1))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are numbers."""
    rule = [":--", *("--:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def end_on_sigterm() -> None:
    """So that the gate, the neighbour and the clone are not left behind."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


# The neighbour


@contextmanager
def neighbour(seed: int) -> Iterator[None]:
    """Bursts of work on every core while the block lasts: 2 to 10 s, pauses of 1 to 10 s between them."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for core in cores:
            command = [sys.executable, "-m", "bench._runs", str(core), str(seed)]
            processes.append(subprocess.Popen(command, cwd=ROOT))
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def disturb(core: int, seed: int) -> None:
    """The neighbour on one core. The same seed on each: the bursts come together, as a build's would."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    parent = os.getppid()
    source = random.Random(seed)
    block = bytearray(random.Random(0).randbytes(32 << 20))  # larger than the caches
    while os.getppid() == parent:
        time.sleep(source.uniform(1, 10))
        until = time.monotonic() + source.uniform(2, 10)
        while time.monotonic() < until and os.getppid() == parent:
            bytes(block)
            sum(number * number for number in range(100_000))


def copied(source: Path, destination: Path, patch: str = "") -> Path:
    """The repository's committed files at `source`, with a patch applied; no repository itself."""
    shutil.copytree(source, destination, ignore=shutil.ignore_patterns(".git"), symlinks=True)
    if patch:
        subprocess.run(
            ["git", "apply", "--whitespace=nowarn", "-"],
            input=patch,
            text=True,
            cwd=destination,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(destination.parent)},
            check=True,
        )
    return destination


if __name__ == "__main__":
    disturb(int(sys.argv[1]), int(sys.argv[2]))
