"""Findings that need no baseline: what the counts of one side say about how the work is done.

Pure. Work that grows with the page (N+1), reads and writes one row at a time, work that did not fit into
memory, and an index that nothing measured uses. What base does as well is a note; what is new warns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from gate.config import FINDINGS, Policy
from gate.explain import brief, number, sizes
from gate.explain.headers import kept_less
from gate.model import Case, Evidence, Finding, Index, Level, Plan, Production, SideRun, Statement, Storage

N_PLUS_ONE, LOOP, ROW_BY_ROW, SPILL, UNUSED_INDEX, USELESS_CACHE, STAMPEDE, SLOW, GROWS, KEPT_LESS = FINDINGS

_SLOPE = 0.3  # calls for each further row of the page; a loop has 1, less where rows share a parent
_MANY = 10  # calls of one statement in one request that are a loop whatever the page's size
# Of requests at once on an empty cache: how many times one's statements are no protection on head, and how
# few are already none on base. What is between them is chance, and not new.
_UNPROTECTED, _HALF_PROTECTED = 5, 2
_GROWING = 0.7  # power of the data's size by which blocks grow; a scan has 1, an index nearly 0
_FEW_BLOCKS = 20  # of one execution, below which growth is not worth a word
_SAME_ROWS = 0.2  # share of rows by which results may differ and are as large
_LEAST = 3  # further calls, below which a slope of two pages says nothing
_WRITES = re.compile(r"(insert|update|delete|merge)\b", re.IGNORECASE)
_READS = re.compile(r"(select|with)\b", re.IGNORECASE)
# Commands that have a form for many keys at once, or are cheap to send in one pipeline.
_SINGLE = {"GET": "MGET", "HGET": "HMGET", "SET": "MSET or a pipeline", "EXISTS": "EXISTS with all keys"}


@dataclass(frozen=True, slots=True)
class _Seen:
    """One finding of one side. key: what makes it the same on base and head, within its name and case."""

    name: str
    case: Case
    key: str
    text: str


def structural(
    head: SideRun,
    base: SideRun | None,
    policy: Policy,
    *,
    plan: Plan,
    storage: Sequence[Storage] = (),
) -> tuple[Finding, ...]:
    """Everything found on head, in the order of its cases.

    base: None where nothing is known of it. Only what base does not do although it was counted there, or
    what a case does that is not among the plan's known ones of base, is new; the rest are notes.
    storage: of both sides; without base's, no index is known to be new.
    """
    slow = policy.slow_statement
    # What hangs on the clock has to be clearly not so on base, to be new.
    before = tuple(_seen(base, unprotected=_HALF_PROTECTED, slow=slow / 2)) if base else ()
    after = tuple(_seen(head, unprotected=_UNPROTECTED, slow=slow))
    counted = {evidence.case: evidence for evidence in base.evidence} if base else {}
    tables = {side: [table for table in storage if table.side == side] for side in ("base", "head")}
    indexes = _idle(tables["head"], tables["base"]) if tables["base"] else ()
    return (
        *(_finding(seen, policy, _since(seen, before, after, counted, plan.known)) for seen in after),
        *_all_growing(head, base, policy, plan),
        *_kept_less(head, counted, policy),
        *(_index_finding(index, policy) for index in indexes),
    )


class _Since(StrEnum):
    """Whether base does the same. unknown: base's work in this case is not known."""

    HEAD = "head"
    BASE = "base"
    UNKNOWN = "unknown"


def _since(
    seen: _Seen,
    before: Sequence[_Seen],
    after: Sequence[_Seen],
    counted: Mapping[Case, Evidence],
    known: Collection[Case],
) -> _Since:
    """A statement that is merely written anew is the one that base has there and head has no more."""
    if seen.name in (USELESS_CACHE, STAMPEDE) and (base := counted.get(seen.case)) and not base.warmth:
        # Without a cache ten requests did as much; one that does nothing is new where there was none.
        uncached = seen.name == USELESS_CACHE and not (base.hits or base.misses)
        return _Since.HEAD if uncached else _Since.UNKNOWN
    if seen.name == SLOW and not _clocked(counted.get(seen.case)):
        return _Since.UNKNOWN
    if seen.case not in counted:
        return _Since.HEAD if counted and seen.case not in known else _Since.UNKNOWN
    was, now = (
        [other.key for other in several if (other.name, other.case.name) == (seen.name, seen.case.name)]
        for several in (before, after)
    )
    if seen.key in was:
        return _Since.BASE
    gone = len(set(was) - set(now))
    added = [key for key in dict.fromkeys(now) if key not in was]
    return _Since.BASE if added.index(seen.key) < gone else _Since.HEAD


def _clocked(base: Evidence | None) -> bool:
    """Whether base's statements were timed in this run; stored ones have no seconds."""
    return base is not None and any(statement.seconds for statement in base.statements)


def _kept_less(head: SideRun, counted: Mapping[Case, Evidence], policy: Policy) -> Iterator[Finding]:
    """Answers that browsers and proxies keep less than base's."""
    for seen in head.evidence:
        base = counted.get(seen.case)
        if base is None or base.caching is None or seen.caching is None or seen.failure or base.failure:
            continue
        if why := kept_less(dict(base.caching), dict(seen.caching)):
            level, text = _judged(KEPT_LESS, str(seen.case), f"{seen.case}: {why}", policy, _Since.HEAD)
            yield Finding(name=KEPT_LESS, level=level, text=text, case=seen.case)


def _finding(seen: _Seen, policy: Policy, since: _Since) -> Finding:
    level, text = _judged(seen.name, str(seen.case), seen.text, policy, since)
    return Finding(name=seen.name, level=level, text=text, case=seen.case)


def _judged(name: str, subject: str, text: str, policy: Policy, since: _Since) -> tuple[Level, str]:
    for each in policy.accepted:
        if each.finding == name and fnmatchcase(subject, each.case):
            return Level.NOTE, f"{text} (accepted: {each.reason})"
    if since is _Since.HEAD:
        return policy.findings.get(name, Level.WARN), text
    return Level.NOTE, f"{text}, as on base" if since is _Since.BASE else text


def _seen(side: SideRun, *, unprotected: int, slow: float) -> Iterator[_Seen]:
    """unprotected: how many requests at once do what one does on an empty cache, to be told.
    slow: seconds."""
    labels = {planned.case: planned.label for planned in side.cases}
    growing = {(seen.case.name, seen.key): seen for seen in _growing(side, labels)}
    yield from growing.values()
    grown = {name for name, _ in growing}
    for evidence in side.evidence:
        case = evidence.case
        label = labels.get(case, str(case))
        yield from _cached(evidence, label, unprotected)
        for statement in evidence.statements:
            if statement.seconds >= slow:
                took = f"{1000 * statement.seconds:,.0f} ms"
                told = f"{label}: {brief(statement.text)} takes {took} a time"
                yield _Seen(SLOW, case, statement.fingerprint, told)
            if (case.name, statement.fingerprint) not in growing:
                yield from _looping(case, label, statement)
        for command in evidence.commands:
            if command.calls >= _MANY and command.name in _SINGLE and case.name not in grown:
                text = f"{label}: {command.name} runs {number(command.calls)} times a {_turn(case)}"
                yield _Seen(LOOP, case, command.name, f"{text}; {_SINGLE[command.name]} would be one")


def _cached(evidence: Evidence, label: str, unprotected: int) -> Iterator[_Seen]:
    """A cache that saves nothing, and one that lets everybody through while it is empty."""
    seen, case = evidence.warmth, evidence.case
    if seen is None or not seen.cold:
        return
    queries = f"{number(seen.cold)} " + ("query" if seen.cold == 1 else "queries")
    if seen.warm >= seen.cold and not seen.found:
        return  # a session or a queue is read alike each time, and is no cache
    if seen.warm >= seen.cold:
        told = f"{label}: looks into Redis, and the same request once more still runs {queries}"
        yield _Seen(USELESS_CACHE, case, "cache", told)
    elif seen.crowd >= seen.warm * seen.size + (seen.cold - seen.warm) * unprotected:
        told = f"{label}: {seen.size} requests at once on an empty cache run {number(seen.crowd)} queries"
        yield _Seen(STAMPEDE, case, "cache", f"{told}, one alone {number(seen.cold)}")


def _looping(case: Case, label: str, statement: Statement) -> Iterator[_Seen]:
    """One statement many times for one row each, and one that spills."""
    text = brief(statement.text)
    times = f"{number(statement.calls)} times a {_turn(case)}"
    single = statement.calls >= _MANY and statement.rows <= statement.calls and not statement.transaction
    if single and _WRITES.match(statement.text):
        told = f"{label}: {text} runs {times}, for one row each"
        yield _Seen(ROW_BY_ROW, case, statement.fingerprint, told)
    elif single and _READS.match(statement.text):
        told = f"{label}: {text} runs {times}, for a row each"
        yield _Seen(LOOP, case, statement.fingerprint, told)
    if statement.temp_blocks > 0:
        blocks = number(statement.temp_blocks)
        told = (
            f"{label}: {text} does not fit into work_mem and uses {blocks} temporary blocks a {_turn(case)}"
        )
        yield _Seen(SPILL, case, statement.fingerprint, told)


def _turn(case: Case) -> str:
    return "request" if case.suite == "endpoints" else "call"


def _growing(side: SideRun, labels: Mapping[Case, str]) -> Iterator[_Seen]:
    """Statements and commands that run more often the larger the page is."""
    for group in _by_size(side.evidence):
        (small, few), *_, (large, many) = group
        pairs = [
            *((s.fingerprint, brief(s.text), _calls(few, s.fingerprint), s.calls) for s in many.statements),
            *((c.name, c.name, _commands(few, c.name), c.calls) for c in many.commands),
        ]
        for key, text, before, after in pairs:
            if after - before < max(_LEAST, _SLOPE * (large - small)):
                continue
            told = f"{labels.get(many.case, str(many.case))}: {text} runs {number(before)} times at size "
            told += f"{number(small)} and {number(after)} times at {number(large)} (N+1)"
            yield _Seen(N_PLUS_ONE, many.case, key, told)


def _by_size(evidence: Iterable[Evidence]) -> Iterator[list[tuple[float, Evidence]]]:
    """Cases that differ in one number alone, smallest first; at least two of them."""
    groups: dict[tuple[str, str, str], dict[float, Evidence]] = {}
    for each in evidence:
        for rest, size in sizes(each.case.parameters):
            groups.setdefault((each.case.suite, each.case.name, rest), {})[size] = each
    for members in groups.values():
        if len(members) > 1:
            yield sorted(members.items())


def _calls(evidence: Evidence, fingerprint: str) -> float:
    return next((s.calls for s in evidence.statements if s.fingerprint == fingerprint), 0.0)


def _commands(evidence: Evidence, name: str) -> float:
    return next((c.calls for c in evidence.commands if c.name == name), 0.0)


def _idle(head: Iterable[Storage], base: Iterable[Storage]) -> list[tuple[Storage, Index, int]]:
    """Indexes that only head has, on tables of base, and nothing has used; with the table's bytes there."""
    known = {(table.table, index.definition) for table in base for index in table.indexes}
    sizes = {table.table: table.bytes for table in base}
    return [
        (table, index, sizes[table.table])
        for table in head
        for index in table.indexes
        if table.table in sizes
        if not index.unique and not index.scans and (table.table, index.definition) not in known
    ]


def _all_growing(head: SideRun, base: SideRun | None, policy: Policy, plan: Plan) -> Iterator[Finding]:
    """Statements that read more the more data there is, for as many rows: nothing bounds what they read."""
    if not plan.growth:
        return
    labels = {planned.case: planned.label for planned in head.cases}
    before = {(case, s.fingerprint): e for case, s, e in _exponents(base, plan.growth)} if base else {}
    counted = [seen for seen in base.smaller if not seen.failure] if base else []
    known = {(seen.case, statement.fingerprint) for seen in counted for statement in seen.statements}
    for case, statement, power in _exponents(head, plan.growth):
        if power < _GROWING:
            continue
        was = before.get((case, statement.fingerprint), 0.0)
        # A statement that is written anew may have read as much before.
        since = _Since.HEAD if (case, statement.fingerprint) in known else _Since.UNKNOWN
        since = _Since.BASE if was >= _GROWING / 2 else since
        blocks, rows = (number(round(value, 1)) for value in (statement.blocks, statement.rows))
        text = f"{labels.get(case, str(case))}: {brief(statement.text)} reads {blocks} blocks for {rows} rows"
        text += ", and more the more data there is"
        text += f" (exponent {power:.1f}){_in_production(statement, power, plan.production)}"
        level, text = _judged(GROWS, str(case), text, policy, since)
        yield Finding(name=GROWS, level=level, text=text, case=case)


def _exponents(side: SideRun, share: float) -> Iterator[tuple[Case, Statement, float]]:
    """Each statement that gives as many rows from `share` of the data, with the power of the data's size by
    which its blocks grow."""
    smaller = {
        seen.case: {s.fingerprint: s for s in seen.statements} for seen in side.smaller if not seen.failure
    }
    for evidence in side.evidence:
        for statement in evidence.statements:
            small = smaller.get(evidence.case, {}).get(statement.fingerprint)
            if small is None or statement.transaction or small.calls != statement.calls:
                continue
            # Few blocks are the height of an index, and a page more of it.
            if statement.blocks < _FEW_BLOCKS * statement.calls or not small.blocks:
                continue
            if abs(statement.rows - small.rows) <= _SAME_ROWS * max(statement.rows, 1):
                yield evidence.case, statement, math.log(statement.blocks / small.blocks) / -math.log(share)


def _in_production(statement: Statement, power: float, tables: Iterable[Production]) -> str:
    """How long it takes there, by the largest table that it names: "; at 20,000,000 songs: 4.1 s"."""
    named = [
        each for each in tables if each.rows and re.search(rf"\b{re.escape(each.table)}\b", statement.text)
    ]
    if not named or not statement.seconds:
        return ""
    table = max(named, key=lambda each: each.production)
    seconds = statement.seconds * (table.production / table.rows) ** power
    took = f"{seconds:,.1f} s" if seconds >= 1 else f"{1000 * seconds:,.0f} ms"
    return f"; at {table.production:,} {table.table}: {took}"


def _index_finding(idle: tuple[Storage, Index, int], policy: Policy) -> Finding:
    table, index, before = idle
    text = f"index {index.name} on {table.table} {index.definition} is used by no measured case"
    text += f"; it takes {_megabytes(index.bytes)}"
    text += f", the table with its indexes {_megabytes(before)} -> {_megabytes(table.bytes)}"
    level, text = _judged(UNUSED_INDEX, index.name, text, policy, _Since.HEAD)
    return Finding(name=UNUSED_INDEX, level=level, text=text)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
