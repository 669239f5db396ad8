"""The true size of every planted slowdown, measured directly and not by the gate's rule.

    python -m bench.sizes [--kind 'endpoints-*'] [--processes 6] [--rounds 200] [--write] [--cost]

Benchmarks: both copies of the application in one process, calls in turns, processor seconds. Endpoints:
two servers on clones of the same data, everything on one core, ten requests of each in turns, by the clock:
for a quiet machine, or under `nice -n -15`. Prints the median of the processes' ratios, and their range.
--cost prints what one round of the processor patches costs here, and nothing else.
--write turns the numbers in the patches until each is planted within 0.3 % of its aim on this machine, and
writes what was measured into their headers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pycurl

from bench import _runs as runs
from bench._runs import Patch
from gate import dataset, services
from gate.cli.options import cache_directory
from gate.cli.sources import configuration
from gate.model import Side, SideName
from gate.probes.cores import reserved
from gate.services import Running
from gate.suites import endpoints
from gate.suites.requests import Requests, variants
from gate.target.environment import Installed, install
from gate.target.process import migrate, prepare, serve

TOLERANCE = 0.003  # of the aim, as a share of base
TURNS = 5  # of the knobs, at most
VISIT = 10  # requests


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """ratios: head to base, one of each process. base: seconds of one call or request, 0 if not known."""

    ratios: tuple[float, ...]
    base: float = 0.0

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def text(self, unit: str) -> str:
        factor = 1000 * self.base if unit == "ms" else 100
        mid, low, high = (factor * (r - 1) for r in (self.ratio, min(self.ratios), max(self.ratios)))
        return f"{mid:+.2f} {unit} ({low:+.2f} to {high:+.2f})"


Measure = Callable[[str, tuple[str, ...]], dict[str, Size]]  # a patch and cases


def main() -> None:
    options = _options()
    if options.cost:
        print(f"{1e9 * cost_of_a_round():.0f} ns a round of endpoints-cpu-*.patch")
        return
    runs.end_on_sigterm()
    planted = runs.patches(options.kind)
    with runs.clone() as clone, ExitStack() as stack:
        bench = Bench(clone.path, clone.path.parent, stack, options.processes, options.rounds)
        for patch in planted:
            measure = bench.benchmarks if patch.suite == "benchmarks" else bench.endpoints
            print(f"{patch.path.stem}, aim {_amount(patch)}", flush=True)
            if options.write:
                _write(patch, *calibrated(patch, measure))
            else:
                _show(patch, measure(patch.text, tuple(plant.case for plant in patch.plants)))


def cost_of_a_round(rounds: int = 5000, times: int = 30) -> float:
    """Seconds that a round of `fingerprinted` in the endpoints-cpu patches takes, by their own statement.

    With the time of an endpoint it says what a knob plants; servers differ too much to measure it there.
    """

    def work() -> int:
        value = 5
        for number in range(rounds):
            value = (31 * value + number) & 0xFFFF_FFFF
        return value

    spent = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        spent.append((time.perf_counter() - started) / rounds)
    return statistics.median(spent)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", default="*", help="a glob of file names in bench/planted, without .patch")
    parser.add_argument("--processes", type=int, default=6, help="fresh ones of each side")
    parser.add_argument("--rounds", type=int, default=200, help="of each case, side and process")
    parser.add_argument("--cost", action="store_true", help="print what a round of the CPU patches costs")
    parser.add_argument("--write", action="store_true", help="turn the knobs and write the headers")
    return parser.parse_args()


def _amount(patch: Patch) -> str:
    return f"{patch.aim * (1000 if patch.unit == 'ms' else 100):+g} {patch.unit}"


def _show(patch: Patch, sizes: Mapping[str, Size]) -> None:
    for plant in patch.plants:
        size = sizes[plant.case]
        print(f"    {plant.case:<48} {size.text(patch.unit)}  base {1000 * size.base:.3f} ms", flush=True)


def calibrated(patch: Patch, measure: Measure) -> tuple[dict[str, int], dict[str, Size]]:
    """Numbers for the knobs with which every plant has the size aimed at, and what was measured with them.

    The work is a straight line in its knob, so two measurements give the third; only cases that are
    not yet right are measured again. Ends with the nearest that was seen where a knob is too coarse.
    What is written down is a last measurement of all: the one that looked right was also chosen for it.
    """
    knobs = patch.knobs()
    seen: dict[str, list[tuple[int, Size]]] = {plant.case: [] for plant in patch.plants}
    todo = list(patch.plants)
    for _ in range(TURNS):
        sizes = measure(patch.turned(knobs), tuple(plant.case for plant in todo))
        _show(dataclasses.replace(patch, plants=tuple(todo)), sizes)
        left = []
        for plant in todo:
            seen[plant.case].append((knobs.get(plant.knob, 0), sizes[plant.case]))
            if not plant.knob or abs(sizes[plant.case].ratio - 1 - patch.aim) <= TOLERANCE:
                continue
            wanted = _turned(seen[plant.case], patch.aim)
            if wanted not in [knob for knob, _ in seen[plant.case]]:
                knobs[plant.knob] = wanted
                left.append(plant)
        if not (todo := left):
            break
    for plant in patch.plants:
        if plant.knob:
            tried = seen[plant.case]
            knobs[plant.knob] = min(tried, key=lambda each: abs(each[1].ratio - 1 - patch.aim))[0]
    sizes = measure(patch.turned(knobs), tuple(plant.case for plant in patch.plants))
    _show(patch, sizes)
    return knobs, sizes


def _turned(tried: list[tuple[int, Size]], aim: float) -> int:
    """The knob at which the line through the two nearest tries, or through zero, meets the aim."""
    near = sorted(tried, key=lambda each: abs(each[1].ratio - 1 - aim))
    knob, share = near[0][0], near[0][1].ratio - 1
    other, others = (near[1][0], near[1][1].ratio - 1) if len(near) > 1 else (0, 0.0)
    if share == others or knob == other:
        return max(knob, 1) * 2
    return max(round(knob + (aim - share) * (knob - other) / (share - others)), 0)


def _write(patch: Patch, knobs: Mapping[str, int], sizes: Mapping[str, Size]) -> None:
    text = patch.turned(knobs)
    for plant in patch.plants:
        old = f"Planted: {plant.case} | {plant.knob} | {plant.measured}\n"
        text = text.replace(old, old.replace(plant.measured, sizes[plant.case].text(patch.unit)))
    patch.path.write_text(text, encoding="utf-8")
    off = [p for p in patch.plants if p.knob and abs(sizes[p.case].ratio - 1 - patch.aim) > TOLERANCE]
    for plant in off:
        print(f"    not within {TOLERANCE:.1%}: {plant.case} {sizes[plant.case].text(patch.unit)}")


class Bench:
    """Base as committed, and whatever patch is measured, side by side."""

    def __init__(self, source: Path, scratch: Path, stack: ExitStack, processes: int, rounds: int) -> None:
        self.scratch, self.stack = scratch, stack
        self.processes, self.rounds = processes, rounds
        self.base = runs.copied(source, scratch / "base")
        self.config = configuration(self.base / "perf-gate.toml", "perf-gate.toml")
        self.cache = cache_directory(os.environ)
        self.heads = 0
        cores = stack.enter_context(reserved(self.cache / "state"))
        if cores.chosen is not None:
            os.sched_setaffinity(0, {cores.chosen})  # everything that is started from here on inherits it
        self.installed = self._install(self.base, "base")
        self.library: Library | None = None

    def _install(self, worktree: Path, name: str) -> Installed:
        return install(
            self.config.target,
            worktree=worktree,
            env_dir=self.scratch / f"{name}-env",
            cache=self.cache,
            environ=os.environ,
            notify=_quiet,
        )

    def _head(self, patch: str) -> Path:
        self.heads += 1
        return runs.copied(self.base, self.scratch / f"head{self.heads}", patch)

    def benchmarks(self, patch: str, cases: tuple[str, ...]) -> dict[str, Size]:
        """By the median of the ratios of neighbouring rounds."""
        application = self.config.target.directory
        head = self._head(patch)
        found: list[dict[str, dict[str, float]]] = []
        for seed in range(self.processes):
            command = [
                *(self.installed.interpreter, str(Path(__file__).with_name("_alternate.py"))),
                *(str(self.base / application), str(head / application), str(self.rounds), *cases),
            ]
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONHASHSEED": str(seed)},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            found.append(json.loads(done.stdout))
        return {case: _size([each[case] for each in found]) for case in cases}

    def endpoints(self, patch: str, cases: tuple[str, ...]) -> dict[str, Size]:
        if self.library is None:
            state = self.scratch / "state"
            started = services.start(self.config.services, provider="embedded", state=state, notify=_quiet)
            self.library = Library(self, self.stack.enter_context(started))
        return self.library.sizes(self._head(patch), cases)


def _size(found: list[dict[str, float]]) -> Size:
    return Size(tuple(each["median"] for each in found), statistics.median(each["base"] for each in found))


def _quiet(_: str) -> None:
    pass


class Library:
    """Servers of both sides on clones of one seeded template."""

    def __init__(self, bench: Bench, running: Running) -> None:
        self.bench, self.running = bench, running
        self.target = bench.config.target
        if bench.config.suites.endpoints is None:
            sys.exit("the configuration has no endpoints")
        self.suite = bench.config.suites.endpoints
        self.template = self._template()
        server = running.postgres
        with dataset.cloned(server, self.template, "lookup") as database:
            self.resolved = endpoints.Resolved(
                anchors=dataset.anchors(server, database, bench.config.dataset),
                values={
                    each.sql: dataset.sql_values(server, database, each.sql, where=each.where)
                    for each in endpoints.lookups(self.suite)
                },
            )

    def _template(self) -> dataset.Template:
        spec = self.bench.config.dataset
        dataset.create(self.running.postgres, "migrated")
        side = self._side("base", self.bench.base, "migrated", 0)
        migrate(self.target, side, log=self.bench.scratch / "migrate.log")
        plan = dataset.describe(self.running.postgres, "migrated", spec, scale=spec.scale)
        saved = dataset.Cache(self.bench.cache / "datasets").find(plan.key)
        if saved is not None:
            self.running.restore_data(saved)
            if found := dataset.find(self.running.postgres, plan.key):
                return found
        return dataset.build(self.running.postgres, "migrated", plan, notify=_quiet)

    def _side(self, name: SideName, worktree: Path, database: str, seed: int) -> Side:
        return prepare(
            self.target,
            name=name,
            ref="",
            worktree=worktree,
            installed=self.bench.installed,
            postgres_url=self.running.postgres.url(database),
            redis_url=self.running.redis(name).url,
            seed=seed,
            environ=os.environ,
        )

    def sizes(self, head: Path, cases: tuple[str, ...]) -> dict[str, Size]:
        found: dict[str, list[tuple[float, float]]] = {case: [] for case in cases}
        for number in range(self.bench.processes):
            for case, pair in self._pair(number, head, cases).items():
                found[case].append(pair)
        return {
            case: Size(tuple(h / b for b, h in pairs), statistics.median(b for b, _ in pairs))
            for case, pairs in found.items()
        }

    def _pair(self, number: int, head: Path, cases: tuple[str, ...]) -> dict[str, tuple[float, float]]:
        """Medians of base and head from fresh servers, which start in turns first."""
        worktrees: dict[SideName, Path] = {"base": self.bench.base, "head": head}
        with ExitStack() as stack:
            sides: dict[SideName, Served] = {}
            for name in sorted(worktrees, reverse=bool(number % 2)):
                clone = dataset.cloned(self.running.postgres, self.template, f"{name}_{number}")
                side = self._side(name, worktrees[name], stack.enter_context(clone), number)
                log = self.bench.scratch / f"{name}.log"
                live = stack.enter_context(serve(self.target, side, log=log))
                sides[name] = Served(live)
                stack.callback(sides[name].curl.close)
            return {case: self._case(sides, case, number) for case in cases}

    def _case(self, sides: Mapping[SideName, Served], case: str, number: int) -> tuple[float, float]:
        """Medians of base's and head's seconds over all requests."""
        variant = next(each for each in variants(self.suite) if str(each.case) == case)
        requests = Requests(variant, self.suite, self.resolved)
        targets = [requests.render(index).target for index in range(self.bench.rounds)]
        seen: dict[SideName, list[float]] = {"base": [], "head": []}
        for side in sides.values():
            for target in targets[: 2 * VISIT]:
                side.answer(target)
        for turn, first in enumerate(range(0, self.bench.rounds, VISIT)):
            for name in sorted(sides, reverse=bool((turn + number) % 2)):
                seen[name] += map(sides[name].answer, targets[first : first + VISIT])
        return statistics.median(seen["base"]), statistics.median(seen["head"])


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """A side that answers."""

    live: Side
    curl: pycurl.Curl = dataclasses.field(default_factory=pycurl.Curl)

    def answer(self, target: str) -> float:
        """Seconds of one request."""
        self.curl.setopt(pycurl.URL, self.live.base_url + target)
        self.curl.setopt(pycurl.WRITEFUNCTION, len)
        started = time.perf_counter()
        self.curl.perform()
        seconds = time.perf_counter() - started
        if (status := self.curl.getinfo(pycurl.RESPONSE_CODE)) != 200:
            sys.exit(f"{self.live.name}: {target} answers {status}")
        return seconds


if __name__ == "__main__":
    main()
