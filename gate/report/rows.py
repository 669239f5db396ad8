"""Which rows a reader sees, in which order: one answer for every renderer.

Worst first: what blocks, what fails, what warns, what could not be told, what was accepted, what got better,
what is new; what is equal is only counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from gate.model import (
    BudgetCheck,
    BudgetState,
    Case,
    Comparison,
    Finding,
    Kind,
    Level,
    Outcome,
    Report,
    Timing,
)
from gate.policy import PRIORITY
from gate.report import format as f


class Mark(Enum):
    """The word in front of a row, worst first."""

    BLOCKED = "BLOCKED"
    FAILED = "FAILED"
    WARN = "warn"
    NOTE = "note"
    INCONCLUSIVE = "inconclusive"
    INCOMPARABLE = "incomparable"
    ACCEPTED = "accepted"
    IMPROVED = "improved"
    NEW = "new"
    EQUAL = "equal"

    @property
    def rank(self) -> int:
        return list(Mark).index(self)


_MARKS = {
    Outcome.ACCEPTED: Mark.ACCEPTED,
    Outcome.INCONCLUSIVE: Mark.INCONCLUSIVE,
    Outcome.INCOMPARABLE: Mark.INCOMPARABLE,
    Outcome.IMPROVED: Mark.IMPROVED,
    Outcome.NEW: Mark.NEW,
    Outcome.EQUIVALENT: Mark.EQUAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A comparison with the word and the title it is shown under."""

    comparison: Comparison
    mark: Mark
    title: str

    @property
    def timed(self) -> bool:
        """A time of both sides, judged; counts and sizes stand in a table of their own."""
        return self.comparison.kind is Kind.TIMING


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """A case's times. row: as they were judged side by side; timing: of head alone; either may be absent."""

    title: str
    row: Row | None
    timing: Timing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Equal:
    """Cases of which the same number of metrics is equal. of: metrics compared; titles: in order."""

    titles: tuple[str, ...]
    metrics: int
    of: int


def ordered(report: Report) -> tuple[Row, ...]:
    """Every comparison, worst first.

    Rows of one case and mark stay together, the most telling metric first; the groups follow by that
    row as the verdict's reasons do, so that the first row is what the first line speaks of.
    """
    names = titles(report)
    rows = [Row(comparison=c, mark=mark(c), title=names[c.case]) for c in report.comparisons]
    groups: dict[tuple[Mark, Case], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.mark, row.comparison.case), []).append(row)
    order = {case: index for index, case in enumerate(names)}

    def place(group: list[Row]) -> tuple[int, tuple[int, float, str], int]:
        first = group[0]
        # New and equal rows have no worst; they keep the order of the plan.
        sized = first.mark not in (Mark.NEW, Mark.EQUAL)
        return (
            first.mark.rank,
            weight(first.comparison) if sized else (0, 0.0, ""),
            order[first.comparison.case],
        )

    telling = [sorted(group, key=lambda row: weight(row.comparison)) for group in groups.values()]
    return tuple(row for group in sorted(telling, key=place) for row in group)


def mark(row: Comparison) -> Mark:
    """The word for one comparison: what blocks or warns says so, whatever its outcome."""
    if row.blocking:
        return Mark.BLOCKED
    if row.outcome is Outcome.ACCEPTED:
        return Mark.ACCEPTED
    if row.metric == "errors" and row.head:
        return Mark.FAILED  # nothing to compare it with, or broken on both sides: an error, never "new"
    if row.level is Level.WARN and row.outcome is not Outcome.IMPROVED:
        return Mark.WARN
    return _MARKS.get(row.outcome, Mark.NOTE)


def weight(row: Comparison) -> tuple[int, float, str]:
    """Sorts rows of one mark: the policy's order of metrics, then the size of the change, then the name."""
    known = PRIORITY.index(row.metric) if row.metric in PRIORITY else len(PRIORITY)
    if row.outcome is Outcome.INCONCLUSIVE:
        # What looks slowest may be a slowdown, what looks fastest is of no concern.
        return known, -(row.ratio or 0.0), str(row.case)
    # From or to nothing is beyond every ratio.
    size = abs(math.log(row.ratio)) if row.ratio is not None and row.ratio > 0 else math.inf
    return known, -size, str(row.case)


def titles(report: Report) -> dict[Case, str]:
    """What each case is called: its label, with its parameters or name where the label is not its own."""
    labels: dict[Case, str] = {}
    named: Iterable[Comparison | BudgetCheck] = (*report.comparisons, *report.budgets)
    for item in (*named, *report.timings, *report.run.plan.cases):
        labels.setdefault(item.case, item.label)
    shared = Counter(labels.values())
    return {case: label if shared[label] == 1 else _told_apart(label, case) for case, label in labels.items()}


def _told_apart(label: str, case: Case) -> str:
    own = case.parameters if case.parameters and f"[{case.parameters}]" not in label else case.name
    return f"{label} [{own}]"


def alone(row: Row) -> bool:
    """Without a base value: shown with its case's other values, since there is no change to show."""
    return row.mark in (Mark.NEW, Mark.INCOMPARABLE)


def times(report: Report, shown: Sequence[Row]) -> tuple[Time, ...]:
    """Every case that was timed: those that are not equal as in `shown`, then the slowest first.

    None where nothing was timed side by side.
    """
    judged = [row for row in shown if row.timed]
    if not judged:
        return ()
    names = titles(report)
    measured = {timing.case: timing for timing in report.timings}
    found = [Time(title=row.title, row=row, timing=measured.get(row.comparison.case)) for row in judged]
    compared = {row.comparison.case for row in judged}
    found += [
        Time(title=names[case], row=None, timing=timing)
        for case, timing in measured.items()
        if case not in compared
    ]

    def place(time: Time) -> tuple[bool, float]:
        told = time.row is not None and time.row.mark is not Mark.EQUAL
        return not told, 0.0 if told else -slowness(time)

    return tuple(sorted(found, key=place))


def slowness(time: Time) -> float:
    """Seconds of a case on head."""
    if time.row is not None and time.row.comparison.head is not None:
        return time.row.comparison.head
    return time.timing.p50 if time.timing is not None else 0.0


def gains(shown: Sequence[Row]) -> dict[Case, tuple[Row, ...]]:
    """By blocked case: its counts that got better, said below what blocks and not in rows of their own."""
    blocked = {row.comparison.case for row in shown if row.mark is Mark.BLOCKED}
    better = [
        row for row in shown if row.mark is Mark.IMPROVED and not row.timed and row.comparison.case in blocked
    ]
    return {several[0].comparison.case: several for several in by_case(better)}


def changed(shown: Sequence[Row]) -> tuple[Row, ...]:
    """The rows that are listed one by one: neither equal, nor without a base, nor gains of a blocked case."""
    folded = gains(shown)
    return tuple(
        row
        for row in shown
        if row.mark is not Mark.EQUAL
        and not alone(row)
        and not (row.mark is Mark.IMPROVED and not row.timed and row.comparison.case in folded)
    )


def times_first(shown: Sequence[Row]) -> bool:
    """Whether the worst row is a time: the table that holds it comes first."""
    return bool(shown) and shown[0].timed and shown[0].mark is not Mark.EQUAL


def by_case(rows: Iterable[Row]) -> tuple[tuple[Row, ...], ...]:
    """The rows of each case together, in the order of the first of each."""
    cases: dict[Case, list[Row]] = {}
    for row in rows:
        cases.setdefault(row.comparison.case, []).append(row)
    return tuple(map(tuple, cases.values()))


def costs(rows: Iterable[Row]) -> tuple[str, ...]:
    """What a case costs, "sql.calls 3"; what it does not do at all is left out."""
    told = [row.comparison for row in rows if row.comparison.head]
    return tuple(f"{f.clean(c.metric, 40)} {f.value(c.head, c.unit)}" for c in told) or ("all counts 0",)


def equals(rows: Sequence[Row]) -> tuple[Equal, ...]:
    """The equal rows as counts: cases that are equal in everything first, then the others."""
    compared = Counter(row.comparison.case for row in rows)
    same = Counter(row.comparison.case for row in rows if row.mark is Mark.EQUAL)
    names = {row.comparison.case: row.title for row in rows}
    groups: dict[tuple[int, int], list[str]] = {}
    for case, number in same.items():
        groups.setdefault((number, compared[case]), []).append(names[case])
    found = [Equal(titles=tuple(cases), metrics=n, of=of) for (n, of), cases in groups.items()]
    return tuple(sorted(found, key=lambda equal: (equal.metrics != equal.of, -equal.metrics, equal.titles)))


def first_adoption(report: Report) -> bool:
    """Nothing to compare with, although a comparison was asked for: all rows are new."""
    rows = report.comparisons
    asked = report.run.plan.against != "none"
    return asked and bool(rows) and all(row.outcome is Outcome.NEW for row in rows)


_STANDING = (
    BudgetState.CRITICAL,
    BudgetState.WARN,
    BudgetState.OVER,
    BudgetState.TOO_FEW,
    BudgetState.TARGET,
    BudgetState.IDEAL,
)


def ordered_budgets(budgets: Iterable[BudgetCheck]) -> tuple[BudgetCheck, ...]:
    """Budgets, worst first: what blocks, then by state, then by how far the value is over its target."""

    def place(check: BudgetCheck) -> tuple[bool, int, float]:
        over = check.value / check.target if check.value is not None and check.target else 0.0
        return not check.blocking, _STANDING.index(check.state), -over

    return tuple(sorted(budgets, key=place))


_FEW = 1


def too_few(checks: Iterable[BudgetCheck]) -> tuple[BudgetCheck, ...]:
    """Budgets without values enough, where they are so many that they are only counted."""
    found = tuple(check for check in checks if check.state is BudgetState.TOO_FEW and not check.blocking)
    return found if len(found) > _FEW else ()


def met(check: BudgetCheck) -> bool:
    return check.state in (BudgetState.IDEAL, BudgetState.TARGET)


def ordered_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings, worst level first."""
    return tuple(sorted(findings, key=lambda finding: list(Level).index(finding.level)))
