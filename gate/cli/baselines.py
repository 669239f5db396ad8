"""The one writer of baselines/: for `accept`, `baseline update` and `ci update-baseline`."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

import click

from gate import baseline
from gate.cli.sources import LAST_REPORT, SUITES, read_suites
from gate.config import Config
from gate.errors import BaselineError, ConfigError, MeasurementError
from gate.explain import failure_of
from gate.judge import run_of
from gate.model import ERRORS, Accept, Case, Kind, Outcome, Report, SideRun
from gate.schema import report_from_json
from gate.target.repository import Repository


def write_baselines(root: Path, directory: str, side: SideRun) -> tuple[str, ...]:
    """Writes one file per suite of the side, whole or not at all; the names of those that changed.

    The file of a suite without cases is removed. A failing case is never stored: raises
    MeasurementError that names it and says how it fails.
    """
    failing = {
        str(sample.case): failure_of(side, sample.case)
        for sample in side.samples
        if sample.metric == ERRORS and max(sample.values) > 0
    }
    if failing:
        raise MeasurementError(
            f"a failing case cannot become a baseline: {', '.join(sorted(failing))}",
            hint="mend it, or take it out of the configuration",
            tail=tuple(f"{case}: {said}" for case, said in sorted(failing.items())),
        )
    changed = []
    for suite in SUITES:
        path = root / directory / f"{suite}.json"
        if any(planned.case.suite == suite for planned in side.cases):
            different = _replace(path, baseline.to_text(side, suite))
        elif different := path.exists():
            path.unlink()
        if different:
            changed.append(f"{directory}/{suite}.json")
    return tuple(changed)


def write_times(root: Path, config: Config, report: Report) -> tuple[str, ...]:
    """Adds a run's times to those kept for its kind of machine; the names of the files that changed.

    Times of edits that nobody else has are not kept, nor is a file that cannot be read (it begins anew).
    """
    head = run_of(report).cut("head")
    key = head.side.data_key if head else None
    if head is None or key is None or head.side.dirty:
        return ()
    runner, keep = baseline.runner_of(report.environment, key), config.policy.drift.keep
    changed = []
    for suite in SUITES:
        run = baseline.kept_of(
            head, suite, lambda case: config.policy.rule(f"{case.suite}/{case.name}").statistic
        )
        if run is None:
            continue
        path = baseline.times_path(config.baselines, runner, suite)
        runs = baseline.with_run(_kept_runs(root / path, path), run, keep=keep)
        if _replace(root / path, baseline.times_to_text(runs, suite, runner, keep=keep)):
            changed.append(path)
    return tuple(changed)


def _kept_runs(file: Path, name: str) -> tuple[baseline.Kept, ...]:
    try:
        return baseline.times_from_text(file.read_text(encoding="utf-8"), name=name)
    except (FileNotFoundError, BaselineError):
        return ()


def say_changed(files: tuple[str, ...]) -> None:
    """The files on stdout, and what to do with them on stderr."""
    for path in files:
        click.echo(path)
    told = f"{len(files)} file(s) changed; commit them" if files else "nothing changed"
    click.echo(f"perf-gate: {told}", err=True)


def _replace(path: Path, text: str) -> bool:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def read_stored(root: Path, directory: str) -> SideRun | None:
    """The baselines of the working tree, joined; None where there are none."""

    def read(path: str) -> str | None:
        file = root / path
        return file.read_text(encoding="utf-8") if file.exists() else None

    return read_suites(directory, read)


def last_report(repository: Repository, named: Path | None) -> Report:
    """The report of the last run here, or of the file that was named. Raises ConfigError."""
    path = named or repository.private / LAST_REPORT
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "there is no report to accept from",
            where=str(named or "the last run in this repository"),
            hint="measure first: perf-gate run",
        ) from None
    return report_from_json(text, where=str(named or "the last run's report"))


def head_of(report: Report) -> SideRun:
    """What a report measured on head and a baseline can hold."""
    head = run_of(report).cut("head")
    if head is None:
        raise ConfigError("this report holds no measurement of head", hint="measure again: perf-gate run")
    worse = tuple(
        Accept(case=row.case, metric=row.metric, value=round(value, 4))
        for row in report.comparisons
        if row.outcome in (Outcome.REGRESSED, Outcome.ACCEPTED) and row.kind is not Kind.EXACT
        if (value := row.ratio if row.kind is Kind.TIMING else row.head) and value >= 1
    )
    return baseline.storable(dataclasses.replace(head, worse=worse))


def named_cases(names: tuple[str, ...], *sides: SideRun | None) -> frozenset[Case]:
    """The cases meant on the command line: by whole names, by "suite/name" with all their parameters, or by
    globs in which brackets stand for themselves. Raises ConfigError with the nearest names."""
    there = {str(planned.case): planned.case for side in sides if side for planned in side.cases}
    meant = {
        name: [
            case
            for text, case in there.items()
            if name in (text, f"{case.suite}/{case.name}") or fnmatchcase(text, name.replace("[", "[[]"))
        ]
        for name in names
    }
    if unknown := [name for name, cases in meant.items() if not cases]:
        near = [match for name in unknown for match in difflib.get_close_matches(name, there, n=3)]
        raise ConfigError(
            f"no such case: {', '.join(unknown)}",
            hint=f"did you mean {', '.join(near)}?" if near else "name cases as the report does: suite/name",
        )
    return frozenset(case for cases in meant.values() for case in cases)
