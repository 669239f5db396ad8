"""Sides that run with something in them that watches: for a look into cases after everything is measured."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from gate import dataset
from gate.cli.prepared import Prepared, Rig
from gate.explain.called import Call, Caller, Function
from gate.explain.plans import QueryPlan
from gate.explain.profiles import Profile
from gate.model import Case, Plan, Side, SideName
from gate.probes import stacks
from gate.probes.plans import Explained
from gate.probes.project import Project, clean
from gate.suites import endpoints
from gate.suites.worker import Mode, Visit
from gate.target.process import launch

BUDGET = 60.0  # seconds after which no further case of a suite is begun
_IDLE = 0.3  # seconds in which nothing is asked, to know a server's own stacks by
SEED = 1

Window = tuple[float, float]
Inject = Callable[[Mapping[str, str], Path], dict[str, str]]


@dataclass(slots=True)
class Seen:
    """What one side showed of one case."""

    windows: list[Window] = field(default_factory=list)
    requests: int = 0
    plans: tuple[QueryPlan, ...] = ()
    body: bytes = b""
    callers: tuple[Caller, ...] = ()
    missing: str = ""


@dataclass(slots=True)
class Terms:
    """What every look of a suite shares. deadline: by the monotonic clock, set once everything has started:
    a slow start takes nothing from it."""

    plan: Plan
    rig: Rig
    writes: Collection[Case]
    deadline: float = math.inf

    def begun(self) -> None:
        self.deadline = time.monotonic() + BUDGET


@dataclass(slots=True)
class Watched:
    """A side that runs with the sampler in it, or the tracer. directory: of what that writes. idle: while
    nothing was asked of it."""

    prepared: Prepared
    side: Side
    database: str
    directory: Path
    idle: list[Window] = field(default_factory=list)
    seen: dict[Case, Seen] = field(default_factory=dict)

    def visit(self, case: Case, requests: int, ask: Callable[[], Visit]) -> bool:
        """Ask, and keep when that was. Failing requests do other work, and none at all are no window."""
        started = time.monotonic()
        answer = ask()
        if answer.failures or not answer.values:
            return False
        seen = self.seen.setdefault(case, Seen())
        seen.windows.append((started, time.monotonic()))
        seen.requests += requests
        return True

    def explained(self, case: Case, found: Explained, body: bytes = b"", missing: str = "") -> None:
        seen = self.seen.setdefault(case, Seen())
        seen.plans, seen.body, seen.missing = found.plans, body, missing

    def rest(self) -> None:
        started = time.monotonic()
        time.sleep(_IDLE)
        self.idle.append((started, time.monotonic()))

    def calls(self, case: Case) -> Iterator[Call]:
        """The lines of the project that call, and what they call, in one iteration or request."""
        project, directory = Project(Path(self.side.worktree)), self.side.directory
        for each in self.seen.get(case, Seen()).callers:
            ours, theirs = project.file(each.file, directory), project.file(each.into, directory)
            text = project.source(ours).text(each.line) if ours else ""
            callee = Function(theirs, clean(each.name if theirs else f"{each.module}.{each.name}"))
            yield Call(Function(ours, clean(each.function)), each.line, text, callee, each.calls)

    def profile(self, case: Case) -> Profile:
        seen = self.seen.get(case, Seen())
        worktree = Path(self.side.worktree)
        return stacks.read(self.directory, seen.windows, worktree, requests=seen.requests, idle=self.idle)


def watching(prepared: Prepared, name: str, inject: Inject, stack: ExitStack) -> Watched:
    """A side's environment with what watches it, on a clone of its own."""
    server = prepared.running.postgres
    database = stack.enter_context(dataset.cloned(server, prepared.sealed, f"{prepared.name}_{name}"))
    side = prepared.side(server, database, prepared.running.redis(prepared.name), seed=SEED)
    directory = prepared.logs / f"{prepared.name}-{name}"
    env = inject(side.env, directory)
    return Watched(prepared, dataclasses.replace(side, env=env), database, directory)


def serving(
    sides: Mapping[SideName, Prepared], name: str, inject: Inject, stack: ExitStack
) -> dict[SideName, Watched]:
    """Both sides' applications, watched, once they answer."""
    watched = {side: watching(prepared, name, inject, stack) for side, prepared in sides.items()}
    started = {
        side: stack.enter_context(
            launch(one.prepared.config.target, one.side, log=one.prepared.logs / f"{side}-{name}.log")
        )
        for side, one in watched.items()
    }
    for side, one in watched.items():
        one.side = started[side].ready()
    return watched


def asking(
    one: Watched, cases: Sequence[Case], rig: Rig, stack: ExitStack, mode: Mode = "timing"
) -> endpoints.EndpointWorker:
    config = one.prepared.config.suites.endpoints
    if config is None:
        raise RuntimeError("cases of a suite that is not configured")
    worker = endpoints.open_endpoints(
        one.side, config, cases=cases, resolved=rig.resolved, seed=SEED, mode=mode
    )
    stack.callback(worker.close)
    return worker
