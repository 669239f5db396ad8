"""SIGKILL at random moments of a run: what is left, and whether the next run minds.

    python -m bench.kills [--runs 20] [--services embedded] [--registry NAME] [--scale 1] [--seed 1] [--timed]

Moments are drawn from the seed and spread over seeding, cloning, starting, counting and timing, by the
phases of a run that was left alone; with --timed over a pair of base and head, the confirm and the look for
a cause, of a run that is blocked by a planted sleep. After each kill nothing of the run may be alive,
mounted or in a container after 10 s, nor any data directory beyond the cache; then a run must end with the
verdict and the counts of the one left alone, and clean up what the killed one left of scratch. Exits 1 where
one of this fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from gate.services.watchdog import LABEL
from tests.e2e.conftest import Project, counts, small_library

PHASES = ("seeding", "cloning", "starting", "counting", "timing")
# By what the gate says when it comes to them.
TIMED = {"pair": "pair 4 of", "confirm": "confirm, pair 2", "explaining": "looking into"}
SLEEPS = Path(__file__).parent / "planted" / "endpoints-sleep-3ms.patch"
PATIENCE = 10.0  # seconds until nothing may be left
SEEDING, PASS = "seeding", "pass 1"
_SAID = re.compile(r"^\[ *([\d.]+) s\] (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Window:
    """Where a phase lies: `start` to `end` seconds after the first line that holds `text`."""

    text: str
    start: float
    end: float


@dataclass(slots=True)
class Kill:
    """One kill and what came of it. last: what the gate was saying; faults: empty if all is well."""

    phase: str
    at: float = 0.0
    last: str = ""
    gone: float = 0.0
    faults: list[str] = field(default_factory=list)


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="perf-gate-kills-") as scratch:
        project = small_library(Path(scratch) / "library", Path(scratch) / "cache")
        if options.registry:
            table = f'[services.docker]\nregistry = "{options.registry}"\n\n[target]\n'
            project.edit("perf-gate.toml", "[target]\n", table)
            project.commit("Images from elsewhere")
        if options.timed:
            project.git("apply", str(SLEEPS))
            project.commit("Be gentle with the database")
        bench = Bench(project, options.services, options.scale, timed=options.timed)
        windows = bench.undisturbed()
        for phase, window in windows.items():
            print(f"{phase:9} {window.start:5.2f} to {window.end:5.2f} s after {window.text!r}")
        print(f"{'':>3} {'phase':9} {'killed':>8} {'gone':>7}  {'saying':38} next run")
        draw = random.Random(options.seed)
        kills = []
        for number in range(options.runs):
            phase = list(windows)[number % len(windows)]
            kill = bench.kill(phase, windows[phase], draw)
            kills.append(kill)
            result = "; ".join(kill.faults) or "as the one left alone"
            print(
                f"{number + 1:3} {phase:10} {kill.at:6.2f} s {kill.gone:5.2f} s  {kill.last[:38]:38} "
                f"{result}",
                flush=True,
            )
        bad = sum(bool(kill.faults) for kill in kills)
        slowest = max(kill.gone for kill in kills)
        print(f"{len(kills)} kills, {bad} with faults, all gone after {slowest:.2f} s at most")
        return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--services", default="embedded", choices=["embedded", "docker", "system"])
    parser.add_argument("--registry", default="", help="of the images, for --services docker")
    parser.add_argument("--scale", type=float, default=1.0, help="times the small project's rows")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timed", action="store_true", help="kill while both sides are timed")
    return parser.parse_args()


class Bench:
    """The project, and the counts of a run that was left alone."""

    def __init__(self, project: Project, services: str, scale: float, *, timed: bool) -> None:
        self.project = project
        self.timed = timed
        # With counts measured on both sides, no stored baseline of another scale is in the way.
        self.arguments: tuple[str, ...] = ("--services", services, "--scale", str(scale))
        if timed:
            self.arguments += ("--against", "HEAD~1", "--only", "endpoints/s*", "--time-budget", "90")
        else:
            self.arguments += ("--against", "none")
        self.docker = services == "docker"
        self.counts: dict[tuple[str, str], list[float]] = {}
        self.said: list[tuple[float, str]] = []  # seconds and text, by the run left alone

    def undisturbed(self) -> dict[str, Window]:
        """Runs once without a cached data set, and says where its phases lie."""
        self._forget_data()
        ended, report = self.project.run(*self.arguments)
        if ended.code != self.timed:
            sys.exit(f"the run without a kill ended with {ended.code}:\n{ended.err}")
        self.counts = counts(report)
        said = self.said = [(float(at), text) for at, text in _SAID.findall(ended.err)]
        if self.timed:
            return {phase: Window(text, 0.0, self._lasts(text)) for phase, text in TIMED.items()}
        spent = {phase["name"]: phase["seconds"] for phase in report["timeline"]}
        begin = _first(said, PASS)
        passes = report["run"]["plan"]["passes"]
        whole = (_first(said, "pass 2") if passes > 1 else said[-1][0]) - begin
        start, count, timed = (spent[name] / passes for name in ("start", "count", "time"))
        clone = max(0.1, whole - start - count - timed) / 2  # the other half is for stopping and dropping
        return {
            "seeding": Window(SEEDING, 0.0, _first(said, "rows, data set") - _first(said, SEEDING)),
            "cloning": Window(PASS, 0.0, clone),
            "starting": Window(PASS, clone, clone + start),
            "counting": Window(PASS, clone + start, clone + start + count / 2),
            "timing": Window(PASS, clone + start + count / 2, clone + start + count + timed),
        }

    def _lasts(self, text: str) -> float:
        """Seconds from what was said to what was said next."""
        at = next(number for number, (_, words) in enumerate(self.said) if text in words)
        return self.said[at + 1][0] - self.said[at][0] if at + 1 < len(self.said) else 2.0

    def kill(self, phase: str, window: Window, draw: random.Random) -> Kill:
        """One run killed at a drawn moment, what it leaves, and the run after it."""
        kill = Kill(phase)
        if window.text == SEEDING:
            self._forget_data()
        text, pause = self._moment(window, draw)
        with tempfile.TemporaryFile("w+") as errors:
            began = time.monotonic()
            process = subprocess.Popen(
                self.project.command("run", "--suite", "endpoints", *self.arguments),
                cwd=self.project.path,
                env=self.project.env(),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            self._wait_for(text, errors.fileno(), process)
            time.sleep(pause)
            directories = self._directories()
            process.kill()
            kill.at = time.monotonic() - began
            if process.wait() != -9:
                kill.faults.append("the run was over before the kill")
            errors.seek(0)
            kill.last = _SAID.findall(errors.read())[-1][1]
        kill.gone = self._until_gone(directories, kill)
        self._check_next(kill)
        return kill

    def _moment(self, window: Window, draw: random.Random) -> tuple[str, float]:
        """What to wait for and how long then. Seeding says much, so its moments keep to its last word."""
        moment = draw.uniform(window.start, window.end)
        if window.text != SEEDING:
            return window.text, moment
        begin = _first(self.said, SEEDING)
        at, text = max(line for line in self.said if begin <= line[0] <= begin + moment)
        return text.partition(":")[0], begin + moment - at

    def _wait_for(self, text: str, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and text.encode() not in os.pread(descriptor, 1 << 20, 0):
            time.sleep(0.005)

    def _until_gone(self, directories: list[Path], kill: Kill) -> float:
        began = time.monotonic()
        while (left := list(self._left(directories))) and time.monotonic() - began < PATIENCE:
            time.sleep(0.02)
        kill.faults += left
        return time.monotonic() - began

    def _left(self, directories: list[Path]) -> Iterator[str]:
        """What is alive, mounted or there of a run whose servers had these directories."""
        own = [str(self.project.cache), *map(str, directories)]
        for process in psutil.process_iter(["pid", "cmdline", "environ"]):
            held = " ".join(process.info["cmdline"] or ()) + str(process.info["environ"])
            if process.pid != os.getpid() and any(place in held for place in own):
                yield f"process {process.pid} runs"
        mounts = Path("/proc/mounts").read_text()
        yield from (f"{place} is mounted" for place in own if place in mounts)
        yield from (f"{directory} is there" for directory in directories if directory.exists())
        for directory in directories if self.docker else ():
            label = f"label={LABEL}={directory.name}"
            found = subprocess.check_output(["docker", "ps", "-aq", "--filter", label], text=True)
            yield from (f"container {name} is there" for name in found.split())

    def _directories(self) -> list[Path]:
        """Of the servers, as their records say."""
        found = []
        for record in (self.project.cache / "state").glob("*.json"):
            found.append(Path(json.loads(record.read_text())["directory"]))
        return found

    def _check_next(self, kill: Kill) -> None:
        ended, report = self.project.run(*self.arguments)
        if ended.code != self.timed:
            kill.faults.append(f"the next run ended with {ended.code}: {ended.err.splitlines()[-1]}")
        elif counts(report) != self.counts:
            kill.faults.append("other counts")
        cache = self.project.cache
        unfinished = [*(cache / "scratch").iterdir(), *(cache / "state").glob("*.json")]
        unfinished += (cache / "datasets").glob(".*")
        kill.faults += [f"{path} is left" for path in unfinished]
        if len(self.project.git("worktree", "list").splitlines()) > 1:
            kill.faults.append("a worktree is left")

    def _forget_data(self) -> None:
        for path in (self.project.cache / "datasets").glob("[0-9a-f]*"):
            subprocess.run(["rm", "-rf", str(path)], check=True)


def _first(said: list[tuple[float, str]], text: str) -> float:
    return next(at for at, words in said if text in words)


if __name__ == "__main__":
    sys.exit(main())
