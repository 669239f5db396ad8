"""The plan pass: how Postgres answered each statement, and what has changed in that.

auto_explain writes every plan with its numbers to the server's log, in which marks of ours delimit a
case. Only the shape of a plan is compared: node types, tables, indexes and conditions without values.
Costs are guesses, and row counts belong to the counters; they stand beside the shape, to explain it.

Slows every statement by a multiple: never while anything is timed or counted.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import postgast

from gate import db
from gate.errors import EnvironmentFailure, MeasurementError
from gate.explain.plans import PlanNode, QueryPlan, sum_nodes, summed
from gate.model import PostgresServer
from gate.probes.fingerprint import Identity, identify

_ADMIN = "postgres"  # the database of our own sessions, which is never the one that is explained
_EXTENSION = "auto_explain."
_SETTINGS = {
    "log_format": "json",
    "log_analyze": "on",
    "log_buffers": "on",
    "log_timing": "off",  # a clock at every row is most of the cost
    "log_triggers": "on",
    "log_verbose": "off",
    "log_nested_statements": "off",  # the work inside of a function is its caller's, as in the counts
    "log_parameter_max_length": "0",
    "log_level": "log",
    "sample_rate": "1",
    "log_min_duration": "0",
}
_PREFIX = "log_line_prefix"
_RELOADED = 10.0  # seconds until the server must have read its settings again
_ARRIVED = 10.0  # seconds until a line must have come through to the log
_POLL = 0.005
_QUIET = 0.02  # seconds without any change after which an application is taken to be done
_RESTLESS = 2.0  # seconds after which one that never rests is read as it is

_SESSIONS = """
SELECT count(*) FILTER (WHERE xact_start IS NOT NULL OR state = 'active'),
       max(state_change), array_agg(pid ORDER BY pid)
FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """plans: sorted by fingerprint and shape. skipped: log entries of plans that could not be used."""

    plans: tuple[QueryPlan, ...] = ()
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment in the log. end: where to read from. token: what was written at that moment."""

    end: int
    token: str


class Logged(Protocol):
    """A running Postgres and its log; see `gate.services.Running`, which is one."""

    @property
    def postgres(self) -> PostgresServer: ...

    def log_end(self) -> int | None: ...

    def log_since(self, end: int) -> str: ...


class Explainer:
    """Reads the plans of one database between two moments. missing: why there are none; else empty."""

    def __init__(
        self, services: Logged, database: str, token: str, admin: db.Connection | None, missing: str = ""
    ) -> None:
        self.missing = missing
        self._services = services
        self._database = database
        self._token = token
        self._admin = admin

    def mark(self) -> Mark:
        """Now, once the application rests."""
        if self._admin is None:
            return Mark(end=0, token="")
        self._rest(self._admin)
        return self._written(self._admin)

    def since(self, mark: Mark) -> Explained:
        """The plans of what was executed since then, once the application rests.

        A plan is logged when its statement is closed, which may be at the end of the transaction: the last
        one of a transaction that never ends is missing, and so is a cursor that a rollback closed.
        Raises MeasurementError where the log stays behind.
        """
        if self._admin is None:
            return Explained()
        self._rest(self._admin)
        return read(self._between(mark, self._written(self._admin)), self._token, self._database)

    def _written(self, admin: db.Connection) -> Mark:
        mark = Mark(end=self._services.log_end() or 0, token=f"mark {secrets.token_hex(8)}")
        _ask(admin, f"DO $$ BEGIN RAISE LOG '{mark.token}'; END $$")
        return mark

    def _between(self, first: Mark, last: Mark) -> str:
        deadline = time.monotonic() + _ARRIVED
        while last.token not in (log := self._services.log_since(first.end)):
            if time.monotonic() > deadline:
                raise MeasurementError(
                    f"the log of Postgres is more than {_ARRIVED:g} s behind", hint="run again"
                )
            time.sleep(_POLL)
        # The mark's own statement is logged after it: the last of the first, the first of the last.
        return log.rpartition(first.token)[2].partition(last.token)[0]

    def _rest(self, admin: db.Connection) -> None:
        """Return once no session of the database is in a transaction and nothing has changed for 20 ms."""
        deadline = time.monotonic() + _RESTLESS
        seen: tuple[Any, ...] | None = None
        while time.monotonic() < deadline:
            now = _ask(admin, _SESSIONS, (self._database,))
            if now == seen and now is not None and now[0] == 0:
                return
            seen = now
            time.sleep(_QUIET)


def _ask(admin: db.Connection, query: str, values: tuple[str, ...] | None = None) -> tuple[Any, ...] | None:
    """The first row; None where the statement gives none."""
    try:
        cursor = admin.execute(query, values)
        return cursor.fetchone() if cursor.description else None
    except db.Error as error:
        reason = str(error).partition("\n")[0]
        raise MeasurementError(f"the plans cannot be read: {reason}", hint="run again") from error


@contextlib.contextmanager
def explaining(services: Logged, database: str) -> Iterator[Explainer]:
    """Have every plan of a database logged until the context ends, whatever ends it.

    The whole server is switched, for that alone reaches the open connections of a pool; other databases
    and the gate's own sessions are told apart when the log is read. One such context for a server at a
    time. Where plans are out of reach, `missing` says why, and there are none.
    Raises EnvironmentFailure where the server does not take the settings.
    """
    if services.log_end() is None:
        yield Explainer(services, database, "", None, "plans are not available: the server's log is not ours")
        return
    with db.connect(services.postgres, _ADMIN) as admin:
        known = {name for (name,) in admin.execute("SELECT name FROM pg_settings")}
        settings = {f"{_EXTENSION}{name}": value for name, value in _SETTINGS.items()}
        settings = {name: value for name, value in settings.items() if name in known}
        if not settings:
            missing = "plans are not available: this Postgres has no auto_explain"
            yield Explainer(services, database, "", None, missing)
            return
        token = f"plans-{secrets.token_hex(8)}"
        settings[_PREFIX] = f"{token}|%p|%d|%a| "
        try:
            _switch(services, settings, token)
            yield Explainer(services, database, token, admin)
        except BaseException:
            with contextlib.suppress(EnvironmentFailure):  # of a server that is gone: that is told already
                _switch(services, dict.fromkeys(settings), token)
            raise
        _switch(services, dict.fromkeys(settings), token)


def _switch(services: Logged, settings: Mapping[str, str | None], token: str) -> None:
    """Set, or take back where None, and wait until every session will have read it before its next statement.

    The postmaster signals its children in one go before it accepts a connection, and hands its own settings
    to new ones: a new session that has them proves that all have been told.
    """
    server = services.postgres
    wanted = settings[_PREFIX] is not None
    try:
        with db.connect(server, _ADMIN) as admin:
            for name, value in settings.items():
                action = f"RESET {name}" if value is None else f"SET {name} = '{value}'"
                admin.execute(f"ALTER SYSTEM {action}")
            admin.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + _RELOADED
        while _prefix(server).startswith(token) is not wanted:
            if time.monotonic() > deadline:
                raise EnvironmentFailure(
                    f"Postgres has not read its settings again within {_RELOADED:g} s",
                    where=f"port {server.port}",
                )
            time.sleep(_POLL)
    except db.Error as error:
        reason = str(error).partition("\n")[0]
        raise EnvironmentFailure(f"Postgres refuses to log plans: {reason}") from error


def _prefix(server: PostgresServer) -> str:
    with db.connect(server, _ADMIN) as connection:
        row = connection.execute(f"SHOW {_PREFIX}").fetchone()
        return str(row[0]) if row else ""


def read(log: str, token: str, database: str) -> Explained:
    """The plans in a piece of the log whose lines begin with `token` and the fields of `explaining`.

    Entries of other databases, of the gate's own sessions and of any other kind are passed over. Counted
    as skipped are those cut off or mixed up (a pipe keeps only 4 KiB together) and those of several
    statements sent as one text, of which it is not known which one it was.
    """
    head = re.compile(
        rf"{re.escape(token)}\|\d+\|{re.escape(database)}\|(?P<application>.*)\| "
        r"\w+:  (?:\w{5}: )?duration: [\d.]+ ms  plan:"
    )
    plans: list[QueryPlan] = []
    skipped = 0
    for first, body in _entries(log, token):
        found = head.fullmatch(first)
        if found is None or found["application"] == db.APPLICATION:
            continue
        try:
            plans.append(query_plan(json.loads(body)))
        except (ValueError, KeyError, TypeError):
            skipped += 1
    return Explained(plans=summed(plans), skipped=skipped)


def _entries(log: str, token: str) -> Iterator[tuple[str, str]]:
    """First line and the rest of every entry; the server indents what continues one by a tab."""
    entry: list[str] = []
    for line in (*log.split("\n"), ""):
        if entry and line.startswith("\t"):
            entry.append(line[1:])
            continue
        if entry:
            yield entry[0], "\n".join(entry[1:])
        entry = [line] if line.startswith(f"{token}|") else []


# --- From JSON to a shape ---

_Json = Mapping[str, Any]

_AGGREGATES = {"Sorted": "GroupAggregate", "Hashed": "HashAggregate", "Mixed": "MixedAggregate"}
_JOINS = frozenset({"Nested Loop", "Hash Join", "Merge Join"})
_NAMED = ("Relation Name", "CTE Name", "Function Name", "Table Function Name", "Tuplestore Name")
_CONDITIONS = (
    "Index Cond",
    "Order By",
    "TID Cond",
    "Hash Cond",
    "Merge Cond",
    "Join Filter",
    "Cache Key",
    "Sort Key",
    "Presorted Key",
    "Group Key",
    "Conflict Resolution",
    "Conflict Filter",
    "One-Time Filter",
    "Filter",
)
_SUBJECTS = ("Sort Key", "Group Key", "Hash Cond", "Merge Cond", "Join Filter")
_REMOVED = ("Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")

_TYPE = (
    r'::(?:"[^"]+"|[a-z_]\w*)(?:\.(?:"[^"]+"|\w+))?(?: varying| precision)?(?:\(\d+(?:,\d+)?\))?'
    r"(?: with(?:out)? time zone)?(?:\[\])*"
)
_VALUE = re.compile(
    r'(?P<kept>"(?:[^"]|"")*"|(?:SubPlan|InitPlan) \d+)'
    rf"|(?:(?:\b[EBX]|\bU&)?'(?:[^']|'')*'|\$\d+|(?<![\w.$])\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?:{_TYPE})?"
    rf"|\bNULL{_TYPE}"
)
_ENCLOSED = re.compile(rf"(?<![\w\"])\(\?\)(?:{_TYPE})?|\bARRAY\[\?(?:, \?)*\](?:{_TYPE})?")
_OF_LIST = re.compile(r"= ANY \?|<> ALL \?")
_CAST_NAME = re.compile(r"\(([\w.]+)\)(?=::)")
_PARTITION = re.compile(r"(.+)_\d+")
_RETURNS = re.compile(r" \(returns .*\)$")


def query_plan(entry: _Json) -> QueryPlan:
    """One execution, from the JSON of auto_explain. ValueError, KeyError or TypeError if it is not that.

    ValueError too where the text holds several statements.
    """
    identity = _identity(entry["Query Text"])
    top = entry["Plan"]
    lines = _Names(top).lines(top)
    lines += [_Line(1, _trigger(trigger)) for trigger in entry.get("Triggers", ())]
    nodes = tuple(replace(line.node, line=n) for n, line in enumerate(lines) if line.node)
    return QueryPlan(
        fingerprint=identity.fingerprint,
        text=identity.text,
        tree=tuple("  " * line.depth + line.text for line in lines),
        nodes=nodes,
        relations=tuple(sorted({node["Relation Name"] for node in _walk(top) if "Relation Name" in node})),
        calls=1,
        rows=nodes[0].rows,
        estimated=nodes[0].estimated,
        removed=sum(node.removed for node in nodes),
        blocks=nodes[0].blocks,
        temp_blocks=top.get("Temp Read Blocks", 0) + top.get("Temp Written Blocks", 0),
    )


@functools.lru_cache(maxsize=4096)
def _identity(text: str) -> Identity:
    """That of the text as pg_stat_statements keeps it, without values."""
    try:
        if len(postgast.split(text)) > 1:
            raise ValueError("several statements in one text")
        return identify(postgast.normalize(text))
    except postgast.PgQueryError:
        return identify(_VALUE.sub(lambda found: found["kept"] or "?", text))


def _walk(node: _Json) -> Iterator[_Json]:
    yield node
    for child in node.get("Plans", ()):
        yield from _walk(child)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a tree. node: where the line is one; its own `line` is not known yet."""

    depth: int
    text: str
    node: PlanNode | None = None


class _Names:
    """Makes the lines of one plan, in which a table goes by its name, or by both where it occurs twice."""

    def __init__(self, top: _Json) -> None:
        found = {(_source(node), node["Alias"]) for node in _walk(top) if _source(node) and "Alias" in node}
        times = Counter(source for source, _ in found)
        self._shown = {
            alias: source if times[source] == 1 or alias == source else f"{source} {alias}"
            for source, alias in found
        }
        for source, alias in _partitions(top):
            self._shown[alias] = _parent(source, alias)
        # Conditions name columns by alias.
        self._prefixes = {
            alias: shown for alias, shown in self._shown.items() if " " not in shown and alias != shown
        }

    def lines(self, node: _Json, depth: int = 0, above: _Json | None = None) -> list[_Line]:
        """The node's own, its conditions, then all below it. above: the node whose table its indexes are of,
        where it names none itself."""
        table = node if _source(node) or above is None else above
        own = self._node(node, depth, table)
        label = self._label(node, own)
        lines = [_Line(depth, label, own)]
        lines += [
            _Line(depth + 1, f"{name}: {self._condition(node[name])}") for name in _CONDITIONS if name in node
        ]
        if own.spills:
            lines.append(_Line(depth + 1, _spill(node)))
        children = [self.lines(child, depth + 1, table) for child in node.get("Plans", ())]
        if node["Node Type"] in ("Append", "Merge Append"):
            children = _folded(children)
        return [*lines, *itertools.chain.from_iterable(children)]

    def _node(self, node: _Json, depth: int, table: _Json) -> PlanNode:
        loops = float(node["Actual Loops"])
        relation = self._shown.get(node.get("Alias", ""), "") if _source(node) else ""
        indexes = [self._index(each, table) for each in _indexes(node)]
        return PlanNode(
            line=0,
            depth=depth,
            kind=_kind(node),
            relation=relation,
            index=", ".join(indexes),
            detail=next((self._condition(node[name]) for name in _SUBJECTS if name in node), ""),
            loops=loops,
            rows=node["Actual Rows"] * loops,
            estimated=node["Plan Rows"] * loops,
            removed=sum(node.get(name, 0) for name in _REMOVED) * loops,
            blocks=node["Shared Hit Blocks"] + node["Shared Read Blocks"],
            spills=bool(_spill(node)),
        )

    def _label(self, node: _Json, own: PlanNode) -> str:
        part = _RETURNS.sub("", node.get("Subplan Name", ""))
        match node["Node Type"]:
            case "Bitmap Heap Scan":
                name = replace(own, index="").name
            case "Bitmap Index Scan":
                name = f"{own.kind} on {own.index}"
            case "Subquery Scan":
                name = f"{own.kind} on {node['Alias']}"
            case _:
                name = own.name
        return f"{part}: {name}" if part else name

    def _index(self, index: str, table: _Json) -> str:
        """That of a partition by what it would be called on its parent, so that partitions can be equal."""
        source, alias = _source(table), table.get("Alias", "")
        shown = self._shown.get(alias, "")
        return index.replace(source, shown) if source and shown and shown == _parent(source, alias) else index

    def _condition(self, value: str | Sequence[str]) -> str:
        """Without values, without the parentheses around it, columns by the names of the tree."""
        if not isinstance(value, str):
            return ", ".join(self._condition(each) for each in value)
        text = _VALUE.sub(lambda found: found["kept"] or "?", value)
        while (plain := _ENCLOSED.sub("?", text)) != text:
            text = plain
        text = _OF_LIST.sub(lambda found: f"{found[0].split()[0]} ?", text)
        for alias, shown in self._prefixes.items():
            text = re.sub(rf'(?<![\w."])(?:{re.escape(alias)}|"{re.escape(alias)}")\.', f"{shown}.", text)
        return _CAST_NAME.sub(r"\1", _unwrapped(text))


def _source(node: _Json) -> str:
    """The table, CTE or function that a node reads or writes; empty for others."""
    return next((str(node[name]) for name in _NAMED if name in node), "")


def _partitions(top: _Json) -> Iterator[tuple[str, str]]:
    """(table, alias) of everything below an Append that goes by a numbered alias of its parent."""
    for node in _walk(top):
        if node["Node Type"] in ("Append", "Merge Append"):
            for below in _walk(node):
                if "Relation Name" in below and _parent(below["Relation Name"], below["Alias"]):
                    yield below["Relation Name"], below["Alias"]


def _parent(table: str, alias: str) -> str:
    """The server calls partitions of "events" events_1, events_2, ... in a plan."""
    found = _PARTITION.fullmatch(alias)
    return found[1] if found and found[1] != table and alias != table else ""


def _folded(children: list[list[_Line]]) -> list[list[_Line]]:
    """Children that read alike as one, with their number and the sums of their numbers."""
    groups: dict[tuple[str, ...], list[list[_Line]]] = {}
    for child in children:
        groups.setdefault(tuple(line.text for line in child), []).append(child)
    return [_one(alike) if len(alike) > 1 else alike[0] for alike in groups.values()]


def _one(alike: list[list[_Line]]) -> list[_Line]:
    first = alike[0]
    nodes = [
        functools.reduce(sum_nodes, [line.node for line in lines if line.node]) if lines[0].node else None
        for lines in zip(*alike, strict=True)
    ]
    merged = [replace(line, node=node) for line, node in zip(first, nodes, strict=True)]
    return [replace(merged[0], text=f"{first[0].text} x {len(alike)}"), *merged[1:]]


def _indexes(node: _Json) -> list[str]:
    """Its own index, or those whose bitmaps it reads the table by."""
    if "Index Name" in node:
        return [node["Index Name"]]
    if node["Node Type"] != "Bitmap Heap Scan":
        return []
    return [below["Index Name"] for below in _walk(node) if below["Node Type"] == "Bitmap Index Scan"]


def _kind(node: _Json) -> str:
    kind = str(node["Node Type"])
    if kind == "Aggregate":
        kind = _AGGREGATES.get(node["Strategy"], kind)
    elif kind == "SetOp":
        kind = f"{'Hash' if node['Strategy'] == 'Hashed' else ''}SetOp {node['Command']}"
    elif kind == "ModifyTable":
        kind = str(node["Operation"])
    elif kind in _JOINS and node["Join Type"] != "Inner":
        kind = f"{kind.removesuffix(' Join')} {node['Join Type']} Join"
    elif kind == "Custom Scan":
        kind = f"{kind} ({node['Custom Plan Provider']})"
    if node.get("Scan Direction") == "Backward":
        kind += " Backward"
    if node.get("Partial Mode", "Simple") != "Simple":
        kind = f"{node['Partial Mode']} {kind}"
    return f"Parallel {kind}" if node.get("Parallel Aware") else kind


def _spill(node: _Json) -> str:
    """The line that says so where the node wrote to disk for want of memory. Whether it sorts few rows in
    one way or another depends on their number and is no part of the shape."""
    if node.get("Sort Space Type") == "Disk":
        return f"Sort Method: {node['Sort Method']} on disk"
    groups = (node.get("Full-sort Groups", {}), node.get("Pre-sorted Groups", {}))
    if any("Sort Space Disk" in group for group in groups):
        return "Sort Method: external merge on disk"
    batches = max(node.get("Hash Batches", 0), node.get("HashAgg Batches", 0))
    return "Spills: to disk" if batches > 1 or node.get("Storage") == "Disk" else ""


def _trigger(trigger: _Json) -> str:
    name = trigger.get("Constraint Name") or trigger["Trigger Name"]
    relation = trigger.get("Relation", "")
    return f"Trigger {name} on {relation}" if relation else f"Trigger {name}"


def _unwrapped(text: str) -> str:
    """Without the parentheses that enclose all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for n, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and n < len(text) - 1:
            return text
    return text[1:-1]
