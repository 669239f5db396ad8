"""Plans of base and head beside each other: which statement is answered in another way, in one sentence.

Pure; `gate.probes.plans` reads them from a server's log.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gate.explain.rewritten import successors
from gate.model import PlanChange


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNode:
    """One node of a plan; numbers are sums over all loops of all executions.

    line: its place in `QueryPlan.tree`. depth: 0 for the top.
    kind: "Index Scan", "Hash Left Join", "Insert". relation, index: as the tree names them, else empty.
    detail: what it sorts, groups or joins by; else empty.
    rows: given to the node above; estimated: what the planner expected of the same loops.
    removed: read and thrown away by a condition. blocks: shared, hit + read, its children's included.
    spills: it had more than work_mem holds and wrote to disk.
    """

    line: int
    depth: int
    kind: str
    relation: str
    index: str
    detail: str
    loops: float
    rows: float
    estimated: float
    removed: float
    blocks: int
    spills: bool

    @property
    def joins(self) -> bool:
        return self.kind.startswith("Nested Loop") or self.kind.endswith(" Join")

    @property
    def name(self) -> str:
        using = f" using {self.index}" if self.index else ""
        on = f" on {self.relation}" if self.relation else ""
        return f"{self.kind}{using}{on}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPlan:
    """All executions of one statement that had one shape.

    fingerprint, text: as of `Statement`, so the two can be matched; values are not in the text.
    tree: the shape, a line a node, two spaces a level, with its conditions below it.
    nodes: the nodes of the tree, in its order. relations: all tables named in it, sorted.
    calls: executions; rows, estimated (of the top node), removed (of all), blocks and temp_blocks
        (read + written) are sums over them.
    """

    fingerprint: str
    text: str
    tree: tuple[str, ...]
    nodes: tuple[PlanNode, ...]
    relations: tuple[str, ...]
    calls: int
    rows: float
    estimated: float
    removed: float
    blocks: int
    temp_blocks: int


def summed(plans: Iterable[QueryPlan]) -> tuple[QueryPlan, ...]:
    """One entry for each statement and shape, sorted by both."""
    sums: dict[tuple[str, tuple[str, ...]], QueryPlan] = {}
    for plan in plans:
        key = plan.fingerprint, plan.tree
        sums[key] = _sum(sums[key], plan) if key in sums else plan
    return tuple(sums[key] for key in sorted(sums))


def _sum(one: QueryPlan, other: QueryPlan) -> QueryPlan:
    return replace(
        one,
        text=min(one.text, other.text, key=lambda text: (len(text), text)),
        nodes=tuple(map(sum_nodes, one.nodes, other.nodes)),
        calls=one.calls + other.calls,
        rows=one.rows + other.rows,
        estimated=one.estimated + other.estimated,
        removed=one.removed + other.removed,
        blocks=one.blocks + other.blocks,
        temp_blocks=one.temp_blocks + other.temp_blocks,
    )


def sum_nodes(one: PlanNode, other: PlanNode) -> PlanNode:
    return replace(
        one,
        loops=one.loops + other.loops,
        rows=one.rows + other.rows,
        estimated=one.estimated + other.estimated,
        removed=one.removed + other.removed,
        blocks=one.blocks + other.blocks,
    )


_FACTOR, _ROWS = 2, 100  # times as many rows, and so many more, are far more
_FOLLOWS = ("Hash", "Bitmap Index Scan", "Materialize")  # where they are is decided by the node above
_TRIGGER = "  Trigger "
_ACCESS = re.compile(r".*\bScan( Backward)?")


def unstable(plans: Iterable[QueryPlan]) -> tuple[str, ...]:
    """Fingerprints of statements that had more than one shape, sorted.

    Given all executions and passes of one side: where even they differ, the planner holds two plans for
    equally good, and that head has the other one says nothing.
    """
    shapes = {(plan.fingerprint, plan.tree) for plan in plans}
    times = Counter(fingerprint for fingerprint, _ in shapes)
    return tuple(sorted(fingerprint for fingerprint, number in times.items() if number > 1))


def changed(before: Iterable[QueryPlan], after: Iterable[QueryPlan]) -> tuple[PlanChange, ...]:
    """The statements of both sides whose shapes are not the same, sorted by fingerprint.

    Of a statement with several shapes, the most frequent that only one side has is shown. A statement
    that only one side has is beside the one it was rewritten from, where its tables are read, joined or
    sorted in another way, or far more of them is read; otherwise it is no change of a plan.
    """
    was, now = _by_statement(before), _by_statement(after)
    found = []
    for fingerprint in sorted(was.keys() & now.keys()):
        old, new = was[fingerprint], now[fingerprint]
        if {plan.tree for plan in old} != {plan.tree for plan in new}:
            found.append(_change(_telling(old, new), _telling(new, old), _calls(new)))
    # What a statement no longer reads another one may, as where a join became a loop.
    more = [plans for name, plans in now.items() if _calls(plans) > _calls(was.get(name, ()))]
    kept = {_reached(node) for plans in more for plan in plans for node in _read(plan)}
    for olds, news in _rewritten(was, now):
        # One that reads as the other did is not what has changed, whichever the planner took more often.
        if all(any(_clauses(old, new, kept)) for old in olds for new in news):
            found.append(_change(_telling(olds, []), _telling(news, []), _calls(news), kept))
    return tuple(sorted(found, key=lambda change: change.fingerprint))


def _calls(plans: Iterable[QueryPlan]) -> int:
    return sum(plan.calls for plan in plans)


def _rewritten(
    was: Mapping[str, list[QueryPlan]], now: Mapping[str, list[QueryPlan]]
) -> list[tuple[list[QueryPlan], list[QueryPlan]]]:
    return successors(
        [was[fingerprint] for fingerprint in was.keys() - now.keys()],
        [now[fingerprint] for fingerprint in now.keys() - was.keys()],
        text=lambda plans: plans[0].text,
        calls=_calls,
    )


def _by_statement(plans: Iterable[QueryPlan]) -> dict[str, list[QueryPlan]]:
    grouped: dict[str, list[QueryPlan]] = {}
    for plan in summed(plans):
        grouped.setdefault(plan.fingerprint, []).append(plan)
    return grouped


def _telling(plans: list[QueryPlan], others: list[QueryPlan]) -> QueryPlan:
    known = {plan.tree for plan in others}
    own = [plan for plan in plans if plan.tree not in known] or plans
    return max(own, key=lambda plan: plan.calls)


def _change(
    before: QueryPlan, after: QueryPlan, calls: int, kept: Collection[tuple[str, str]] = ()
) -> PlanChange:
    clauses = tuple(_clauses(before, after, kept)) or tuple(_details(before, after))
    sentence = "; ".join(clauses[:2]) or "the plan has another shape"
    if after.calls < calls:
        sentence += f" (in {after.calls:,} of {calls:,} executions)"
    return PlanChange(
        fingerprint=after.fingerprint,
        text=after.text,
        lines=difference(before.tree, after.tree),
        sentence=sentence,
    )


def difference(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    """Both as one list of lines: "- " was, "+ " is, "  " is in both.

    A line that has only moved to another level is in both, shown where it is now, unless nothing else
    has changed.
    """
    lines = _difference(before, after, [line.strip() for line in before], [line.strip() for line in after])
    if before != after and all(line.startswith("  ") for line in lines):
        return _difference(before, after, before, after)
    return lines


def _difference(
    before: Sequence[str], after: Sequence[str], old: Sequence[str], new: Sequence[str]
) -> tuple[str, ...]:
    lines: list[str] = []
    for tag, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [f"  {line}" for line in after[k:m]]
        else:
            lines += [f"- {line}" for line in before[i:j]]
            lines += [f"+ {line}" for line in after[k:m]]
    return tuple(lines)


def _clauses(before: QueryPlan, after: QueryPlan, kept: Collection[tuple[str, str]]) -> Iterator[str]:
    """What has changed, in plain words, the most telling first. kept: ways to a table that are not gone."""
    yield from _access(before, after, kept)
    yield from _more(before, after)
    yield from _spills(before, after)
    yield from _joins(before, after)
    yield from _others(before, after)


def _access(before: QueryPlan, after: QueryPlan, kept: Collection[tuple[str, str]]) -> Iterator[str]:
    """Tables that are read in another way; those first of which most rows are read now."""
    was, now = _scans(before), _scans(after)
    ways = [(was.get(relation), now.get(relation)) for relation in dict.fromkeys((*now, *was))]
    ways = [(old, new) for old, new in ways if (old and old.name) != (new and new.name)]
    for old, new in sorted(ways, key=lambda way: _rows_read(way[1]), reverse=True):
        if new is None:
            if old and _reached(old) not in kept:
                yield f"{old.name} is gone"
        elif old is None:
            yield f"{new.name} was added ({_reading(new, after.calls)})"
        else:
            yield f"{old.name} became {new.name} ({_reading(new, after.calls)})"


def _more(before: QueryPlan, after: QueryPlan) -> Iterator[str]:
    """Tables that are read in the same way and to a larger part, as by an index that only sorts now."""
    was = _scans(before)
    for relation, node in _scans(after).items():
        if relation not in was or was[relation].name != node.name:
            continue
        read, known = _rows_read(node) / after.calls, _rows_read(was[relation]) / before.calls
        if read >= max(_FACTOR * known, known + _ROWS):
            yield f"{node.name}: {_reading(node, after.calls)} (was {round(known):,})"


def _scans(plan: QueryPlan) -> dict[str, PlanNode]:
    return {node.relation: node for node in _read(plan)}


def _read(plan: QueryPlan) -> Iterator[PlanNode]:
    return (node for node in plan.nodes if node.relation and _ACCESS.fullmatch(node.kind))


def _reached(node: PlanNode) -> tuple[str, str]:
    """The table, whatever the statement calls it, and the index or kind of scan by which it is read."""
    return node.relation.partition(" ")[0], node.index or node.kind


def _rows_read(node: PlanNode | None) -> float:
    return node.rows + node.removed if node else 0.0


def _reading(node: PlanNode, calls: int) -> str:
    """Of one execution."""
    parts = [_number(_rows_read(node) / calls, "row") + " read"]
    if round(node.removed / calls):
        parts.append(f"{round(node.removed / calls):,} removed by filter")
    if round(node.loops / calls) > 1:
        parts.append(f"in {round(node.loops / calls):,} loops")
    return ", ".join(parts)


def _number(value: float, noun: str) -> str:
    return f"{round(value):,} {noun}{'' if round(value) == 1 else 's'}"


def _spills(before: QueryPlan, after: QueryPlan) -> Iterator[str]:
    known = {(node.kind, node.detail) for node in before.nodes if node.spills}
    for node in after.nodes:
        if node.spills and (node.kind, node.detail) not in known:
            yield f"{_described(node)} spills to disk"


def _described(node: PlanNode) -> str:
    by = f" by {node.detail}" if node.detail and not node.joins else ""
    return f"{node.name}{by}"


def _joins(before: QueryPlan, after: QueryPlan) -> Iterator[str]:
    was, now = _joined(before), _joined(after)
    for relations, kind in now.items():
        if relations in was and was[relations] != kind:
            yield f"{was[relations]} of {_listed(sorted(relations))} became {kind}"


def _joined(plan: QueryPlan) -> dict[frozenset[str], str]:
    """The kind of every join by the tables below it."""
    found = {}
    for n, node in enumerate(plan.nodes):
        if node.joins:
            below = list(itertools.takewhile(functools.partial(_is_below, node), plan.nodes[n + 1 :]))
            found[frozenset(other.relation for other in below if other.relation)] = node.kind
    return found


def _is_below(top: PlanNode, node: PlanNode) -> bool:
    return node.depth > top.depth


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _others(before: QueryPlan, after: QueryPlan) -> Iterator[str]:
    was, now = _rest(before), _rest(after)
    for node in now.values():
        if _described(node) not in was:
            yield f"{_described(node)} was added ({_amount(node, after)})"
    for node in was.values():
        if _described(node) not in now:
            yield f"{_described(node)} is gone"
    for line in sorted(_triggers(after) ^ _triggers(before)):
        yield f"{line} {'was added' if line in _triggers(after) else 'is gone'}"


def _amount(node: PlanNode, plan: QueryPlan) -> str:
    """What it gives in one execution; of a sort what it is given, for a limit may want little of it."""
    if "Sort" in node.kind:
        below = plan.nodes[plan.nodes.index(node) + 1]
        return f"{_number(below.rows / plan.calls, 'row')} sorted"
    return _number(node.rows / plan.calls, "row")


def _rest(plan: QueryPlan) -> dict[str, PlanNode]:
    """What neither reads a table nor joins, by how it is described."""
    return {
        _described(node): node
        for node in plan.nodes
        if not (node.joins or node.kind in _FOLLOWS or _ACCESS.fullmatch(node.kind))
    }


def _details(before: QueryPlan, after: QueryPlan) -> Iterator[str]:
    """What is told only where there is nothing else to tell: it comes with every other change."""
    was, now = _lines_of(before), _lines_of(after)
    for name, lines in now.items():
        if name in was and was[name] != lines:
            yield f"{name} has other conditions"
    if list(_scans(before)) != list(_scans(after)):
        yield "the tables are joined in another order"


def _lines_of(plan: QueryPlan) -> dict[str, tuple[str, ...]]:
    """The conditions of every node, by its name."""
    starts = [node.line for node in plan.nodes]
    found = {}
    for node, end in zip(plan.nodes, (*starts[1:], len(plan.tree)), strict=True):
        found[node.name] = tuple(
            line.strip() for line in plan.tree[node.line + 1 : end] if not line.startswith(_TRIGGER)
        )
    return found


def _triggers(plan: QueryPlan) -> set[str]:
    return {line.strip() for line in plan.tree if line.startswith(_TRIGGER)}
