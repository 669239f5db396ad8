"""cause(comparison, evidence) -> Cause: what stands behind a total that changed.

Pure. The statements and commands were counted in the same pass as the total, so the difference of
the parts adds up to the difference of the whole.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping

from gate.explain.called import CHANGED
from gate.explain.growth import grown
from gate.explain.rewritten import reads, successors, unnumbered
from gate.explain.words import brief, holds, longer, number, place, plural
from gate.model import (
    CPU,
    MEMORY_GROWTH,
    PYTHON_CALLS,
    REDIS_COMMANDS,
    REDIS_KEYS,
    RESPONSE_BYTES,
    SERVICES_CPU,
    SQL_BLOCKS,
    SQL_WAL_RECORDS,
    TIME,
    WORSE,
    Case,
    Cause,
    Comparison,
    Difference,
    Evidence,
    Explanation,
    Gain,
    Index,
    Kind,
    Level,
    Outcome,
    PlanChange,
    SideName,
    SideRun,
    Statement,
    Storage,
)

EXPLAINED = frozenset({Outcome.REGRESSED, Outcome.IMPROVED, Outcome.ACCEPTED})
# By themselves: nothing that can be looked at explains them.
_TOLD = frozenset({"case", "errors"})
ALIKE = 0.02  # of a rise, by which a call may rise less or more than what it sends
# What is sent to a server, and counted by how often.
SENT = frozenset({"sql.calls", "sql.transactions", REDIS_COMMANDS.name})
KEPT = 10  # differences kept with a row; the rest are in the evidence

_MEASURES: dict[str, tuple[str, Callable[[Statement], float]]] = {
    "sql.calls": ("calls", lambda s: 0.0 if s.transaction else s.calls),
    "sql.rows": ("rows", lambda s: s.rows),
    "sql.blocks": ("blocks", lambda s: s.blocks),
    "sql.temp_blocks": ("temp blocks", lambda s: s.temp_blocks),
    "sql.wal_records": ("WAL records", lambda s: s.wal_records),
    "sql.transactions": ("calls", lambda s: s.calls if s.transaction else 0.0),
}


def explained(
    comparisons: Iterable[Comparison],
    base: SideRun | None,
    head: SideRun,
    explanations: Iterable[Explanation] = (),
    storage: Iterable[Storage] = (),
) -> tuple[Comparison, ...]:
    """The same rows, with a cause on each that got worse or better and whose parts are known.

    storage: of both sides; without base's, no index is known to be new.
    """
    before = {e.case: e for e in base.evidence} if base else {}
    after = {e.case: e for e in head.evidence}
    looks = {each.case: each for each in explanations}
    rows = tuple(comparisons)
    indexes = new_indexes(storage)

    def of(row: Comparison) -> Cause | None:
        if row.kind is Kind.TIMING:
            found = spent(row, base, head) if base else None
        elif row.kind is Kind.GAUGE:
            found = held(row)
        else:
            found = cause(row, before.get(row.case), after.get(row.case))
            found = indexed(row, found, after.get(row.case), indexes)
        look = looks.get(row.case)
        if look and row.outcome is not Outcome.IMPROVED:
            found = deepened(row, found, look)
        return grown(row, found, rows)

    return tuple(dataclasses.replace(row, cause=of(row)) if row.outcome in EXPLAINED else row for row in rows)


def new_indexes(storage: Iterable[Storage]) -> dict[str, tuple[Index, ...]]:
    """By table of both sides, the indexes that base does not have, under whatever name."""
    tables: dict[SideName, dict[str, Storage]] = {"base": {}, "head": {}}
    for table in storage:
        tables[table.side][table.table] = table
    found = {}
    for name in tables["base"].keys() & tables["head"].keys():
        known = {index.definition for index in tables["base"][name].indexes}
        found[name] = tuple(i for i in tables["head"][name].indexes if i.definition not in known)
    return found


def indexed(
    row: Comparison, found: Cause | None, seen: Evidence | None, indexes: Mapping[str, tuple[Index, ...]]
) -> Cause | None:
    """The cause with the new indexes that what a case writes has to be entered into."""
    if row.outcome not in WORSE or row.metric not in (SQL_BLOCKS.name, SQL_WAL_RECORDS.name) or seen is None:
        return found
    doing = [reads(s.text) for s in seen.statements]
    written = {table for verb, table in doing if verb in ("insert", "update", "delete")}
    new = [
        f"{index.name} on {table}"
        for table in sorted(indexes)
        for index in indexes[table]
        if table.lower() in written
    ]
    if not new:
        return found
    text = f"new index{'es' if len(new) > 1 else ''} {', '.join(new)}"
    said = [found.summary] if found else []
    return dataclasses.replace(found or Cause(summary=""), summary="; ".join((*said, text)))


def to_look_into(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The rows that got worse in a way that plans, stacks or the heap explain, those that block first."""
    rows = [row for row in comparisons if row.outcome in WORSE and row.metric not in _TOLD]
    rows = [row for row in rows if row.blocking or row.level is Level.WARN]
    return tuple(sorted(rows, key=lambda row: (not row.blocking, str(row.case))))


def deepened(row: Comparison, found: Cause | None, look: Explanation) -> Cause | None:
    """The cause with the plan that changed and the lines of code that take longer.

    A plan explains work in the database. Functions explain a time, and who sent the statements or
    commands of a count that rose: those that wait for a server longer.
    """
    if row.metric in _TOLD:
        return found
    if row.kind is Kind.GAUGE:
        return _holding(row, found, look)
    if row.metric == RESPONSE_BYTES.name:
        said = [f"{p.text}: {number(p.after)} {p.measure} (was {number(p.before)})" for p in look.parts]
        return Cause(summary="; ".join(said[:2]), differences=look.parts) if said else found
    plans = _plans_of(row, found, look.plans)
    gains = look.gains if row.kind is Kind.TIMING else tuple(g for g in look.gains if _asks(g))
    said = [found.summary] if found else []
    said += [change.sentence for change in plans[:1] if _tells(change, row, found)]
    # Counted, so sure; samples tell where it took the time, which may be far beneath.
    calls = _calls_of(row, found, look.calls, gains)
    said += [_sentence(calls[0])] if calls else []
    said += [_from(gains[0], row)] if gains else []
    if not said:
        return None
    return Cause(
        summary="; ".join(said),
        differences=found.differences if found and found.differences else calls,
        plans=plans,
        gains=gains,
    )


def _calls_of(
    row: Comparison, found: Cause | None, calls: tuple[Difference, ...], gains: tuple[Gain, ...]
) -> tuple[Difference, ...]:
    """The calls of functions that explain the row, which were counted.

    Of a count of requests the one that rose by as much as its statement or command did, where samples did not
    see who sent that from what the change edits. Many calls rise by one, and several alike tell nothing.
    """
    if row.metric in (TIME.name, PYTHON_CALLS.name):
        return calls
    most = found.differences[0] if found and found.differences else None
    if most is None or row.metric not in SENT or any(gain.touched for gain in gains):
        return ()
    rise = most.after - most.before
    alike = [each for each in calls if rise >= 2 and abs(each.after - each.before - rise) <= ALIKE * rise]
    alike = [each for each in alike if CHANGED in each.text] or alike
    return tuple(alike) if len(alike) == 1 else ()


def _tells(change: PlanChange, row: Comparison, found: Cause | None) -> bool:
    """Whether a plan belongs into the sentence: it is of the statement that a count has risen by."""
    if row.kind is Kind.TIMING or found is None or not found.differences:
        return True
    return unnumbered(change.text) == unnumbered(found.differences[0].text)


def _holding(row: Comparison, found: Cause | None, look: Explanation) -> Cause | None:
    """The cause with the lines that allocate what stays, those of files that changed before what holds less
    than twice as much."""
    mine = [holding for holding in look.holdings if holding.metric == row.metric]
    if not mine or found is None:
        return found
    large = max(holding.size for holding in mine) / 2
    mine.sort(key=lambda holding: (not (holding.touched and holding.size >= large), -holding.size))
    text = f"{found.summary}; allocated at {holds(mine[0])}"
    return dataclasses.replace(found, summary=text, holdings=tuple(mine))


def _plans_of(row: Comparison, found: Cause | None, plans: tuple[PlanChange, ...]) -> tuple[PlanChange, ...]:
    """Those that can stand behind the row, that of the statement which changed most first."""
    if row.kind is not Kind.TIMING and row.metric not in _MEASURES:
        return ()
    texts = [unnumbered(each.text) for each in found.differences] if found else []

    def place_of(change: PlanChange) -> int:
        text = unnumbered(change.text)
        return texts.index(text) if text in texts else len(texts)

    return tuple(sorted(plans, key=place_of))


def _asks(gain: Gain) -> bool:
    """It waits longer for something outside the project, as for the answer of a server."""
    return bool(gain.into) and gain.wait > 0


def _from(gain: Gain, row: Comparison) -> str:
    """Of a count the place alone."""
    return longer(gain) if row.kind is Kind.TIMING else f"from {place(gain)}"


def held(row: Comparison) -> Cause | None:
    """What more memory means, in words and bytes."""
    if row.delta is None:
        return None
    if row.metric == MEMORY_GROWTH.name:
        text = f"{number(round(row.delta))} more bytes per request stay in memory{_between(row, 1)}"
        return Cause(summary=f"{text}, {number(round(row.delta * 1000 / 2**20, 1))} MB after 1,000 requests")
    text = f"{number(round(row.delta / 2**20, 1))} MB more at the peak of the first requests"
    return Cause(summary=text + _between(row, 2**20))


def _between(row: Comparison, unit: int) -> str:
    if row.interval is None or not (math.isfinite(row.interval.low) and math.isfinite(row.interval.high)):
        return ""
    digits = 0 if unit == 1 else 1
    low, high = (number(round(bound / unit, digits)) for bound in (row.interval.low, row.interval.high))
    return f" ({low} to {high})"


def spent(row: Comparison, base: SideRun, head: SideRun) -> Cause | None:
    """Where the difference of a time went: work of the application or of the services, or waiting.

    None where processor time is not known. Medians of the visits, so the parts need not add up.
    """
    changes = [_change(row.case, metric.name, base, head) for metric in (CPU, SERVICES_CPU)]
    own, services = changes
    if own is None or row.delta is None:
        return None
    parts = {
        "processor time of the program": own,
        "processor time of Postgres and Redis": services or 0.0,
        "waiting": row.delta - own - (services or 0.0),
    }
    sign = 1 if row.delta >= 0 else -1
    most = max(parts, key=lambda name: parts[name] * sign)
    text = f"{_milli(row.delta)} ms, of it {_milli(parts[most])} ms {most}"
    if most == "waiting":
        text += f" (processor time {_milli(own + (services or 0.0))} ms)"
    return Cause(summary=text)


def _change(case: Case, metric: str, base: SideRun, head: SideRun) -> float | None:
    before, after = base.sample(case, metric), head.sample(case, metric)
    if before is None or after is None or not (before.points and after.points):
        return None
    return statistics.median(after.values) - statistics.median(before.values)


def _milli(seconds: float) -> str:
    return f"{seconds * 1000:+.2f}"


def cause(row: Comparison, base: Evidence | None, head: Evidence | None) -> Cause | None:
    """What changed most in the direction of the row; None where neither side saw any parts."""
    if head is None:
        return None
    if row.metric == "errors":
        return Cause(summary=head.failure) if head.failure else None
    base = base or Evidence(case=row.case, side="base")
    redis = row.metric in (REDIS_COMMANDS.name, REDIS_KEYS.name)
    parts = _commands(base, head) if redis else _statements(row.metric, base, head)
    rising = row.outcome is not Outcome.IMPROVED
    parts = sorted(parts, key=lambda d: (d.before - d.after if rising else d.after - d.before, d.text))
    if not parts:
        return None
    summary = _sentence(parts[0]) + _cache(base, head)
    return Cause(summary=summary, differences=tuple(parts[:KEPT]))


def _statements(metric: str, base: Evidence, head: Evidence) -> list[Difference]:
    if metric not in _MEASURES:
        return []
    measure, read = _MEASURES[metric]
    return [
        Difference(what="statement", text=text, measure=measure, before=before, after=after)
        for old, new in _pairs(base.statements, head.statements)
        for text in (new.text if new else old.text if old else "",)
        if (before := read(old) if old else 0.0) != (after := read(new) if new else 0.0)
    ]


def _pairs(
    base: Iterable[Statement], head: Iterable[Statement]
) -> list[tuple[Statement | None, Statement | None]]:
    """Each statement of base beside the same one of head; a rewritten one beside what it became.

    A statement whose text changed is gone and another is new. Where both read the same table as often,
    they are taken for one: a column left out of a query must not hide the loop that came with it.
    """
    before = {s.fingerprint: s for s in base}
    after = {s.fingerprint: s for s in head}
    pairs: list[tuple[Statement | None, Statement | None]] = [
        (before[key], after[key]) for key in sorted(before.keys() & after.keys())
    ]
    rewritten = successors(
        (before[key] for key in before.keys() - after.keys()),
        (after[key] for key in after.keys() - before.keys()),
        text=lambda s: s.text,
        calls=lambda s: s.calls,
    )
    paired = {s.fingerprint for pair in rewritten for s in pair}
    alone = sorted((before.keys() ^ after.keys()) - paired)
    return [*pairs, *rewritten, *((before.get(key), after.get(key)) for key in alone)]


def _commands(base: Evidence, head: Evidence) -> list[Difference]:
    before = {c.name: c.calls for c in base.commands}
    after = {c.name: c.calls for c in head.commands}
    return [
        Difference(
            what="command",
            text=name.upper(),
            measure="calls",
            before=before.get(name, 0.0),
            after=after.get(name, 0.0),
        )
        for name in before.keys() | after.keys()
        if before.get(name, 0.0) != after.get(name, 0.0)
    ]


def _sentence(part: Difference) -> str:
    text = brief(part.text) if part.what == "statement" else part.text
    after, before = number(part.after), number(part.before)
    if part.measure == "calls":
        return f"{text} ran {after} {plural(part.after, 'time')} (was {before})"
    return f"{text}: {after} {part.measure} (was {before})"


def _cache(base: Evidence, head: Evidence) -> str:
    """A cache that answers less often is the usual reason for more SQL on a warm request."""
    if head.hits < base.hits:
        return f"; cache hits {number(base.hits)} -> {number(head.hits)}"
    return ""


def failure_of(side: SideRun, case: Case) -> str:
    """What a failing request or benchmark of this side said; empty where none failed."""
    seen = side.seen(case)
    return seen.failure if seen else ""
