"""Which column keeps which unique set: decided for a whole table before any column gets its source.

Every set needs one thing that tells its rows apart: a column unique on its own, a position within a
parent, or distinct partners for each parent. What finds none is a problem, named with the override
that would solve it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gate.dataset import names
from gate.dataset.checks import Bound, Different, OneOf, Present, Rule, rules
from gate.dataset.forms import ADDRESSES, INTEGERS, TEXTS, characters, limits, step
from gate.dataset.schema import Column, ForeignKey, Table, Unique
from gate.dataset.sources import DAY
from gate.dataset.texts import LONGEST_CODE

Kind = Literal["unique", "lead", "partner", "position", "first", "one-to-one", "counted"]
_SMALL = 1_000_000  # a range of whole numbers up to this size is a list of values, not a key
_CARRIERS = (
    *(*TEXTS, "uuid", *INTEGERS, "numeric", "timestamp", "timestamptz", "bytea", *ADDRESSES),
    *("float8", "float4", "interval", "time"),
)
_CAPACITY = {**ADDRESSES, "float4": 2**24, "time": 86_400_000_000}  # different values of a type
DATES = 730  # days that a date in a unique set may take


@dataclass(frozen=True, slots=True)
class Role:
    """kind, and for a partner or counted column of how many values; each: rows before the next value."""

    kind: Kind
    size: int = 0
    each: int = 1
    inverted: bool = False


@dataclass(slots=True)
class Roles:
    """columns: role by name. lead: the foreign key whose parents the rows are dealt out to.

    most: rows that a parent may have. limit: rows that fit the table; reason: the set that says so.
    """

    columns: dict[str, Role] = field(default_factory=dict)
    lead: ForeignKey | None = None
    most: int | None = None
    limit: int | None = None
    reason: str = ""
    problems: list[str] = field(default_factory=list)

    def restrict(self, limit: int, reason: str) -> None:
        if self.limit is None or limit < self.limit:
            self.limit, self.reason = limit, reason

    def cap(self, most: int) -> None:
        self.most = most if self.most is None else min(self.most, most)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a table when its roles are given out.

    keys: foreign keys by column, the widest first. parents: rows of the target of a key.
    given: columns whose values the user gives, and how many different ones (0: may be any number).
    per: the foreign key whose parents say how many rows there are.
    windows: where partitions lie, by the column of their key (`partitions.windows`).
    referenced: columns that other tables refer to. shaped: columns of which the user asks for something that
    a column with another value in every row could not give.
    """

    table: Table
    rows: int
    keys: Mapping[str, ForeignKey]
    parents: Callable[[ForeignKey], int]
    rules: tuple[Rule, ...]
    given: Mapping[str, int]
    per: ForeignKey | None = None
    windows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    referenced: frozenset[str] = frozenset()
    shaped: frozenset[str] = frozenset()


def assign(facts: Facts) -> Roles:
    """Roles for all unique sets of the table, the primary key first."""
    roles = Roles()
    for unique in sorted(facts.table.uniques, key=lambda u: (not u.primary, bool(u.predicate))):
        if facts.rows > 1:
            _settle(unique, facts, roles)
    if roles.lead is not None and roles.most is not None:
        parents = facts.parents(roles.lead)
        roles.restrict(parents * roles.most, f"at most {roles.most:,} rows for each of {parents:,} parents")
    return roles


def _settle(unique: Unique, facts: Facts, roles: Roles) -> None:
    """Find what tells the rows of one set apart."""
    if any(_kept(roles.columns.get(name)) for name in unique.columns):
        return
    if unique.predicate and _by_predicate(unique, facts, roles):
        return
    groups = _groups(unique, facts)
    for attempt in (_single, _positions, _carrier, _partners, _one_to_one, _counted):
        if attempt(unique, groups, facts, roles):
            return
    roles.problems.append(_unsolved(unique, facts))


def _kept(role: Role | None) -> bool:
    return role is not None and role.kind in ("unique", "one-to-one")


def _groups(unique: Unique, facts: Facts) -> list[ForeignKey]:
    """The foreign keys that lie wholly in the set, in the order of its columns."""
    found = dict.fromkeys(facts.keys[name] for name in unique.columns if name in facts.keys)
    return [
        key for key in found if set(key.columns) <= set(unique.columns) and key.target != facts.table.name
    ]


def _single(unique: Unique, groups: list[ForeignKey], facts: Facts, roles: Roles) -> bool:
    """One column, or one composite foreign key: unique by itself."""
    if groups and set(groups[0].columns) == set(unique.columns):
        parents = facts.parents(groups[0])
        for name in unique.columns:
            roles.columns[name] = Role("one-to-one")
        if not _may_be_absent(unique, facts):
            roles.restrict(
                parents, f"{unique.name} allows one row for each of {parents:,} rows of {groups[0].target}"
            )
        return True
    return False


def _may_be_absent(unique: Unique, facts: Facts) -> bool:
    """Whether any number of rows may hold NULL in all columns of a set."""
    columns = frozenset(unique.columns)
    required = {rule.column for rule in facts.rules if isinstance(rule, Present) and not rule.absent}
    return (
        all(facts.table.column(name).nullable for name in columns)
        and not columns & (required | facts.referenced)
        and not any(other.nulls_equal and columns & set(other.columns) for other in facts.table.uniques)
    )


def _positions(unique: Unique, groups: list[ForeignKey], facts: Facts, roles: Roles) -> bool:
    """(playlist_id, position): counted within each parent."""
    lead = _lead(groups, facts, roles)
    if lead is None:
        return False
    for name in unique.columns:
        column = facts.table.column(name)
        taken = roles.columns.get(name)
        if taken is not None and taken.kind == "position":
            return True
        if (
            taken is None
            and name not in facts.given
            and column.type in INTEGERS
            and names.positional(name)
            and name not in facts.keys
        ):
            low, high = bounds(column, facts.rules)
            first = max(low, 0)
            roles.columns[name] = Role("position", size=int(first))
            roles.cap(int(min(high, limits(column)[1]) - first) + 1)
            _take_lead(lead, roles)
            return True
    return False


def _carrier(unique: Unique, groups: list[ForeignKey], facts: Facts, roles: Roles) -> bool:
    """A column of the set that can be unique on its own: text before uuid before numbers before times.

    Rather none that stands in several sets, as `dag_id` in (dag_id, run_id) and (dag_id, date): it groups
    rows. Of equal ones the last, which is counted within those before it.
    """
    free = [facts.table.column(name) for name in unique.columns if name not in facts.keys]
    able = [c for c in free if c.name not in roles.columns and capable(c, facts)]
    if not able:
        return False
    sets = [other.columns for other in facts.table.uniques if len(other.columns) > 1]

    def doubts(column: Column) -> tuple[bool, bool, int, int]:
        shared = sum(column.name in columns for columns in sets) > 1
        place = unique.columns.index(column.name)
        return column.name in facts.shaped, shared, _CARRIERS.index(column.type), -place

    best = min(able, key=doubts)
    roles.columns[best.name] = Role("unique")
    return True


def capable(column: Column, facts: Facts) -> bool:
    """Whether a column can hold another value in every row."""
    if column.generated or (column.name in facts.given and facts.given[column.name] > 0):
        return False
    if column.type not in _CARRIERS or choices(column, facts) is not None:
        return False
    if column.type in TEXTS:
        most = longest(column, facts.rules)
        return most is None or 36 ** min(most, LONGEST_CODE) >= facts.rows
    low, high = bounds(column, facts.rules)
    if column.type in (*INTEGERS, "numeric", "float8"):
        return high - max(low, 0) + 1 >= facts.rows
    return _CAPACITY.get(column.type, facts.rows) >= facts.rows


def longest(column: Column, found: tuple[Rule, ...]) -> int | None:
    """The most characters by type and by checks of length."""
    given = [characters(column)] + [
        int(rule.value) - (rule.comparison == "<")
        for rule in found
        if isinstance(rule, Bound)
        and rule.length
        and rule.column == column.name
        and rule.comparison in ("<", "<=")
    ]
    return min((most for most in given if most is not None), default=None)


def _partners(unique: Unique, groups: list[ForeignKey], facts: Facts, roles: Roles) -> bool:
    """(playlist_id, song_id): another partner for each row of a parent."""
    lead = _lead(groups, facts, roles)
    if lead is None:
        return False
    if any(
        (role := roles.columns.get(name)) is not None and role.kind == "partner" for name in unique.columns
    ):
        return True
    others: list[tuple[int, tuple[str, ...]]] = [
        (facts.parents(key) - (lead in others_than(key, facts)), key.columns)
        for key in groups
        if key is not lead and not _taken(key.columns, roles)
    ]
    for name in unique.columns:
        size = choices(facts.table.column(name), facts) if name not in facts.keys else None
        if size and not _taken((name,), roles):
            others.append((size, (name,)))
    if not others:
        return False
    size, columns = max(others)
    if size < 1:
        return False
    for name in columns:
        roles.columns[name] = Role("partner", size=size)
    roles.cap(size)
    _take_lead(lead, roles)
    return True


def others_than(key: ForeignKey, facts: Facts) -> list[ForeignKey]:
    """Foreign keys to the same rows as this one, which a check forbids to refer to the same one."""
    if len(key.columns) != 1:
        return []
    found = []
    for rule in facts.rules:
        if isinstance(rule, Different) and key.columns[0] in (rule.left, rule.right):
            name = rule.left if rule.right == key.columns[0] else rule.right
            other = facts.keys.get(name)
            same = other is not None and len(other.columns) == 1 and other.target == key.target
            if other is not None and same and other.target_columns == key.target_columns:
                found.append(other)
    return found


def _one_to_one(unique: Unique, groups: list[ForeignKey], facts: Facts, roles: Roles) -> bool:
    """As a last resort one foreign key of the set refers to another row each time."""
    own = [
        key
        for key in facts.table.keys
        if key.target == facts.table.name and facts.keys.get(key.columns[0]) == key
    ]
    for key in (*groups, *own):
        inside = set(key.columns) <= set(unique.columns)
        if inside and not _taken(key.columns, roles) and (key in own or facts.parents(key) >= facts.rows):
            for name in key.columns:
                roles.columns[name] = Role("one-to-one")
            return True
    return False


def _counted(unique: Unique, groups: list[ForeignKey], facts: Facts, roles: Roles) -> bool:
    """Only short lists of values: all combinations in order, as (day, kind)."""
    free = [name for name in unique.columns if name not in facts.keys]
    sizes = [choices(facts.table.column(name), facts) for name in free]
    if not free or len(free) < len(unique.columns) or None in sizes or _taken(tuple(free), roles):
        return False
    each = 1
    for name, size in zip(free, sizes, strict=True):
        roles.columns[name] = Role("counted", size=size or 1, each=each)
        each *= size or 1
    roles.restrict(each, f"{unique.name} allows {each:,} combinations")
    return True


def _taken(columns: tuple[str, ...], roles: Roles) -> bool:
    return any(name in roles.columns for name in columns)


def _lead(groups: list[ForeignKey], facts: Facts, roles: Roles) -> ForeignKey | None:
    """The foreign key that the rows are dealt out to: there is one in a table."""
    if roles.lead is not None:
        return roles.lead if roles.lead in groups else None
    if facts.per in groups and facts.per is not None and not _taken(facts.per.columns, roles):
        return facts.per
    return next((key for key in groups if not _taken(key.columns, roles)), None)


def _take_lead(lead: ForeignKey, roles: Roles) -> None:
    roles.lead = lead
    for name in lead.columns:
        roles.columns[name] = Role("lead")


def _by_predicate(unique: Unique, facts: Facts, roles: Roles) -> bool:
    """`UNIQUE (user_id) WHERE is_default`: true for one row of each parent only."""
    found = rules(unique.predicate) or ()
    groups = _groups(unique, facts)
    lead = _lead(groups, facts, roles)
    for rule in found:
        if not isinstance(rule, OneOf) or rule.values not in (("true",), ("false",)):
            continue
        column = facts.table.column(rule.column)
        if column.type != "bool" or column.name in roles.columns or column.name in facts.given:
            continue
        if lead is not None and set(lead.columns) == set(unique.columns):
            roles.columns[column.name] = Role("first", inverted=rule.values == ("false",))
            _take_lead(lead, roles)
            return True
    return False


def choices(column: Column, facts: Facts) -> int | None:
    """How many different values a column takes where that is a short list; else None."""
    if facts.given.get(column.name):
        return facts.given[column.name]
    listed = [rule for rule in facts.rules if isinstance(rule, OneOf) and rule.column == column.name]
    if listed:
        return len(listed[0].values)
    if column.labels and not column.element:
        return len(column.labels)
    if column.type == "bool":
        return 2
    if column.type == "date":
        window = facts.windows.get(column.name)
        return DATES if window is None else min(DATES, int((window[1] - window[0]) // DAY) + 1)
    if column.type in INTEGERS:
        low, high = bounds(column, facts.rules)
        stated = high < limits(column)[1] and low > limits(column)[0]
        return int(high - low) + 1 if stated and high - low < min(_SMALL, facts.rows) else None
    return None


def bounds(column: Column, found: tuple[Rule, ...]) -> tuple[float, float]:
    """The range of a numeric column by its type and its checks, ends included."""
    low, high = limits(column)
    for rule in found:
        if not isinstance(rule, Bound) or rule.length or rule.column != column.name:
            continue
        if rule.comparison in (">", ">="):
            low = max(low, rule.value + step(column) * (rule.comparison == ">"))
        elif rule.comparison in ("<", "<="):
            high = min(high, rule.value - step(column) * (rule.comparison == "<"))
    return low, high


def _unsolved(unique: Unique, facts: Facts) -> str:
    columns = ", ".join(unique.columns)
    table = facts.table.name
    hint = f"set dataset.tables.{_key(table)}.rows to 1 or 0, or name {table} in dataset.ignore"
    where = f" where {unique.predicate}" if unique.predicate else ""
    return f"{table}: {facts.rows:,} rows cannot be kept apart by {unique.name} ({columns}){where}; {hint}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
