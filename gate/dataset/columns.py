"""The source of each column of one table: from overrides, constraints, type and name, in that order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from gate import config
from gate.dataset import forms, names
from gate.dataset.checks import OneOf, Ordered, Present, parse
from gate.dataset.encode import pool
from gate.dataset.fanout import FirstOnly, Partners, Position
from gate.dataset.parents import ZIPF, Parents
from gate.dataset.roles import Facts, Role, Roles, bounds, longest
from gate.dataset.schema import Column
from gate.dataset.sources import (
    DAY,
    After,
    AllNull,
    Among,
    Below,
    Chosen,
    Composed,
    Condition,
    Dated,
    Delayed,
    Dependent,
    Earlier,
    Even,
    Flagged,
    Flags,
    Given,
    Growing,
    InOrder,
    Later,
    Listed,
    Lognormal,
    Moments,
    Nullable,
    Numbers,
    Origin,
    Packed,
    Places,
    Popular,
    RandomBytes,
    Recent,
    Reference,
    Sequence,
    Shuffled,
    Skewed,
    Source,
    Spaced,
    Stepped,
    Ticks,
    Uniform,
    Weighted,
)
from gate.dataset.sources import Present as IsPresent
from gate.dataset.streams import Coupled, Stream, Zipf
from gate.dataset.surroundings import Surroundings, beyond
from gate.dataset.texts import (
    LONGEST_CODE,
    Digits,
    Literal,
    Phrase,
    Piece,
    Span,
    Text,
    Word,
)
from gate.dataset.wording import Wording
from gate.dataset.words import lists

_BUILTIN = 16_384  # object numbers below are the same in every database
_ELEMENTS = 4
_BYTEA = 32
_NAMED_TYPES = (*forms.INTEGERS, *forms.FLOATS, "numeric")
_DOCUMENTS, _LEXEMES, _WORDS_SKEW = 1_000, 12, 0.9  # of a search vector
_MOST_DISTINCT = 1_000_000  # values that are made once and kept
_FOLLOWED = (Uniform, Skewed, Moments, Recent, Lognormal)


_OF_A_ROLE = frozenset(("nulls", "relative"))
OF_A_UNIQUE_COLUMN = frozenset(("nulls", "relative", "length", "pattern", "low", "when", "vocabulary"))


class Columns:
    """Chooses the sources of one table's columns; problems collects what cannot be honoured."""

    def __init__(
        self, facts: Facts, roles: Roles, given: Mapping[str, config.Column], around: Surroundings
    ) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._facts = facts
        self._table = facts.table
        self._roles = roles
        self._given = given
        self._around = around
        self._built: dict[str, Source | None] = {}
        self._lists: dict[str, tuple[str, ...]] = {}
        self._open: set[str] = set()
        self._parents = Parents(facts, roles, given, around, self.stream, self._refuse, self.problems)
        self._fanout = self._parents.fanout
        self._texts = Wording(facts, self.stream, self._refuse)

    def sources(self) -> tuple[tuple[str, Source], ...]:
        """The columns that COPY fills, in the table's order; others take their default."""
        found = [(c.name, self._source(c)) for c in self._table.columns if not c.generated]
        return tuple((name, source) for name, source in found if source is not None)

    def stream(self, *names_: str) -> Stream:
        return Stream(self._around.seed, self._table.name, *names_)

    def _source(self, column: Column) -> Source | None:
        first = self._around.first
        if column.name not in first.columns:
            return self._later(column)
        if len(first.rows) >= self._facts.rows:
            return self._first_rows(column, AllNull())
        rest = self._later(column)
        if rest is None:
            self._refuse(column, ["csv"], "rows after those of the file would need a generator")
            return None
        return self._first_rows(column, rest)

    def _first_rows(self, column: Column, rest: Source) -> Source | None:
        """A column whose first values a file gives."""
        texts = self._around.first.column(column.name, nullable=column.nullable)[: self._facts.rows]
        values = self._around.binary(column, texts, "csv")
        if values is None:
            return None
        nulls = np.array([text is None for text in texts], dtype=np.bool_)
        whole = None
        if column.type in forms.INTEGERS:
            whole = np.zeros(len(texts), dtype=np.int64)
            if values.width:  # else all of them are NULL
                whole = values.data.copy().view(f">i{values.width}")[:, 0].astype(np.int64)
            if isinstance(rest, Packed) and isinstance(rest.source, Sequence):
                # Numbers go on after those of the file.
                after = max(int(whole.max(initial=0)) + 1 - len(texts), rest.source.first)
                rest = dataclasses.replace(rest, source=Sequence(after))
        return Given(values, nulls, rest, whole)

    def _later(self, column: Column) -> Source | None:
        """The column's source, with its NULLs and what they depend on."""
        if column.name in self._open:
            self._refuse(column, ["after or when"], "the columns depend on each other in a circle")
            return None
        self._open.add(column.name)
        found = self._with_nulls(column)
        conditions = self._conditions(column)
        self._open.discard(column.name)
        return Dependent(found, conditions) if found is not None and conditions else found

    def _with_nulls(self, column: Column) -> Source | None:
        plain = self._plain(column)
        if plain is None or isinstance(plain, AllNull):
            return plain
        share = self._null_share(column)
        first = isinstance(plain, Reference) and isinstance(plain.place, Earlier) and column.nullable
        if share >= 1.0:
            return AllNull()
        if share > 0 or first:
            return Nullable(plain, self.stream(column.name, "nulls"), share, first)
        return plain

    def _plain(self, column: Column) -> Source | None:
        """The source without its NULLs, made once; None while it is being made (a circle of rules)."""
        if column.name not in self._built:
            self._built[column.name] = None
            self._built[column.name] = self._chosen(column)
        return self._built[column.name]

    def _chosen(self, column: Column) -> Source | None:
        given = self._given.get(column.name, config.Column())
        if self._null_share(column) >= 1.0:
            return AllNull()
        role = self._roles.columns.get(column.name)
        if column.name in self._facts.keys:
            return self._parents.reference(column, given)
        if given.constant is not None or given.values is not None:
            return self._values(column, given)
        if role is not None:
            return self._by_role(column, role, given)
        if given.after is not None:
            return self._after(column, given)
        if given.distinct is not None:
            return self._repeated(column, given)
        return self._by_rule(column, given) or self._by_type(column, given)

    # What depends on another column of the row

    def _other(self, column: Column, name: str, key: str) -> Column | None:
        """The other column that a key names; None with a problem noted."""
        found = next((c for c in self._table.columns if c.name == name), None)
        if found is None or found is column or found.generated:
            what = "itself" if found is column else "no column" if found is None else "computed by the server"
            self._refuse(column, [f"{key} = {name}"], f"that is {what}")
            return None
        return found

    def _conditions(self, column: Column) -> tuple[Condition, ...]:
        """Where the column may have a value: `when`, and for `after` where the other one has."""
        given = self._given.get(column.name, config.Column())
        found: list[Condition] = []
        role, key = self._roles.columns.get(column.name), self._facts.keys.get(column.name)
        if role is not None and role.kind == "one-to-one" and key is not None and column.nullable:
            parents, place = self._facts.parents(key), self._parents.places.get(key)
            if isinstance(place, Shuffled) and parents < self._facts.rows:
                found.append(Below(place, parents))  # the others have no parent left
        for name, values in given.when.items():
            other = self._other(column, name, "when")
            if other is None:
                continue
            condition = self._condition(column, other, tuple(literal(value) for value in values))
            if condition is not None:
                found += (condition, IsPresent(source)) if (source := self._nullable(other)) else (condition,)
        if given.after is not None and column.nullable:
            other = next((c for c in self._table.columns if c.name == given.after), None)
            if other is not None and other is not column and (source := self._nullable(other)):
                found.append(IsPresent(source))
        return tuple(found)

    def _nullable(self, column: Column) -> Source | None:
        """The column's source where it may give NULL."""
        found = self._later(column) if column.nullable else None
        return found if isinstance(found, Nullable | Dependent | AllNull) else None

    def _condition(self, column: Column, other: Column, values: tuple[str, ...]) -> Condition | None:
        if not column.nullable:
            self._refuse(column, ["when"], "the column is NOT NULL")
            return None
        source = self._plain(other)
        if isinstance(source, Flags) and set(values) <= {"true", "false"} and len(values) == 1:
            return Flagged(source, values[0] == "true")
        known = self._lists.get(other.name, ())
        if not isinstance(source, Chosen) or not known:
            self._refuse(column, [f"when.{other.name}"], f"{other.name} is no list; give it values")
            return None
        if unknown := [value for value in values if value not in known]:
            reason = f"{other.name} is one of {', '.join(known)}"
            self._refuse(column, [f"when.{other.name} = {unknown[0]}"], reason)
            return None
        return Among(source.place, tuple(known.index(value) for value in values))

    def _after(self, column: Column, given: config.Column) -> Source | None:
        """Later or larger than another column of the row."""
        other = self._other(column, str(given.after), "after")
        base = None if other is None else self._plain(other)
        if other is None:
            return None
        if base is None:
            reason = f"{other.name} depends on it in turn, in a circle, or cannot be generated itself"
            self._refuse(column, [f"after = {other.name}"], reason)
            return None
        times = column.type in forms.TIMES
        comparable = other.type in (forms.TIMES if times else _NAMED_TYPES)
        if not isinstance(base, Packed) or not comparable or not (times or column.type in _NAMED_TYPES):
            reason = f"{column.declared} after {other.declared}"
            self._refuse(column, [f"after = {other.name}"], f"{reason}; both must be times, or numbers")
            return None
        if not times:
            self._refuse(column, ["delay"] if given.delay is not None else [], "it is of times")
        if times and given.delay is not None:
            high = 0.0 if given.high is None else -given.high * DAY
            mean = given.delay * 1e6
            delayed = Delayed(base, self._origin_of(base, given), self.stream(column.name), mean, high)
            return self._packed(column, delayed)
        return self._ordered(column, base, strict=True, given=given)

    def _draws(self, column: Column, given: config.Column, shape: type) -> Stream:
        """The column's own stream, or one that follows another column's for a share of the rows."""
        own = self.stream(column.name)
        if given.follows is None:
            return own
        other = self._other(column, given.follows, "follows")
        numbers = self._followed(given)
        alike = isinstance(numbers, Lognormal) is (shape is Lognormal)
        if other is None or not isinstance(numbers, _FOLLOWED) or not alike:
            if other is not None:
                reason = "both must be numbers or times drawn by chance, and both lognormal or neither"
                self._refuse(column, [f"follows = {given.follows}"], reason)
            return own
        share = 1.0 if given.correlation is None else given.correlation
        return Coupled(own, numbers.stream, abs(share), opposed=share < 0)

    def _followed(self, given: config.Column) -> Numbers | None:
        """The numbers of the column that is followed."""
        other = next((c for c in self._table.columns if c.name == given.follows), None)
        source = None if other is None or other.generated else self._plain(other)
        return source.source if isinstance(source, Packed) else None

    def _repeated(self, column: Column, given: config.Column) -> Source | None:
        """At most so many different values, chosen by a power law or evenly."""
        count = min(given.distinct or 1, _MOST_DISTINCT)
        stream = self.stream(column.name, "distinct")
        even = given.distribution == "uniform"

        def place(count: int) -> Places:
            return Even(stream, count) if even else Popular(stream, count, given.skew or ZIPF)

        if column.type in _NAMED_TYPES:
            low, high = self._range(column, given)
            if forms.whole(column):
                count = min(count, int(high - low) + 1)
            return self._packed(column, Spaced(place(count), low, high, count, forms.whole(column)))
        if column.type in forms.TEXTS:
            return self._repeated_text(column, given, count, place)
        if column.type not in ("uuid", "bytea"):
            self._refuse(column, ["distinct"], f"numbers, texts and uuids have it, not {column.declared}")
            return None
        uuid = column.type == "uuid"
        made = RandomBytes(self.stream(column.name), 16 if uuid else _BYTEA, uuid)
        return Chosen(made.field(Span(0, count)).joined(count), place(count))

    def _repeated_text(
        self, column: Column, given: config.Column, count: int, place: Callable[[int], Places]
    ) -> Source:
        """Words of the list that the column's name suggests where it is long enough, else texts and codes."""
        most = longest(column, self._facts.rules)
        listed = names.listed(column.name)
        plain = given.pattern is None and given.length is None and given.vocabulary is None
        if plain and listed is not None and len(lists()[listed]) >= count:
            fitting = [word for word in lists()[listed] if most is None or len(word) <= most]
            if len(fitting) >= count:
                return Chosen(pool([word.encode() for word in fitting[:count]]), place(count))
        if most is not None and most < LONGEST_CODE:
            count = min(count, 36**most)
        made = Composed(self._texts.text(column, given, unique=given.pattern is None, rows=count))
        return Chosen(made.field(Span(0, count)).joined(count), place(count))

    # NULLs

    def _null_share(self, column: Column) -> float:
        given = self._given.get(column.name, config.Column())
        if given.nulls is not None:
            return min(given.nulls, 1.0)
        key = self._facts.keys.get(column.name)
        present = [r for r in self._facts.rules if isinstance(r, Present) and r.column == column.name]
        if any(rule.absent for rule in present):
            return 1.0
        if not column.nullable or present or column.name in self._around.referenced:
            return 0.0
        role = self._roles.columns.get(column.name)
        if (
            role is not None
            and role.kind == "one-to-one"
            and key is not None
            and not self._facts.parents(key)
        ):
            return 1.0
        if role is not None and role.kind != "unique":
            return 0.0
        if any(u.nulls_equal and column.name in u.columns for u in self._table.uniques):
            return 0.0
        if given.when or (key is not None and key == self._facts.per):
            return 0.0  # what decides about NULL there is said
        if key is not None and len(key.columns) > 1:
            return 0.0  # the parts of one key would be NULL in different rows
        if key is not None and self._facts.parents(key) == 0:
            return 1.0
        return names.null_share(column.name)

    # Given values

    def _values(self, column: Column, given: config.Column) -> Source | None:
        table = given.values if isinstance(given.values, dict) else dict.fromkeys(given.values or (), 1.0)
        what = "values"
        if given.constant is not None:
            table, what = {literal(given.constant): 1.0}, "constant"
        return self._listed(column, {literal(value): weight for value, weight in table.items()}, what)

    def _listed(self, column: Column, weights: Mapping[str, float], what: str) -> Source | None:
        values = self._around.binary(column, tuple(weights), what)
        if values is None:
            return None
        self._lists[column.name] = tuple(weights)
        role = self._roles.columns.get(column.name)
        return Chosen(values, self._picked(column, role, tuple(weights.values())))

    def _picked(self, column: Column, role: Role | None, weights: tuple[float, ...]) -> Places:
        """Which of a short list of values each row takes."""
        stream = self.stream(column.name)
        if role is not None and role.kind == "partner" and self._fanout is not None:
            return Partners(self._fanout, stream, len(weights), ZIPF)
        if role is not None and role.kind == "counted":
            return InOrder(role.size, role.each)
        return Weighted(stream, weights)

    def _refuse(self, column: Column, asked: list[str], reason: str) -> None:
        """An override that would have no effect is an error, never ignored."""
        if asked:
            where = f"dataset.tables.{self._table.name}.columns.{column.name}"
            self.problems.append(f"{where}: {', '.join(asked)} cannot be honoured: {reason}")

    # Roles and rules

    def _by_role(self, column: Column, role: Role, given: config.Column) -> Source | None:
        honoured = OF_A_UNIQUE_COLUMN if role.kind == "unique" else _OF_A_ROLE
        self._refuse(column, beyond(given, honoured), "the column keeps the rows of a unique key apart")
        if role.kind == "first" and self._fanout is not None:
            return FirstOnly(self._fanout, role.inverted)
        if role.kind == "position" and self._fanout is not None:
            return self._packed(column, Position(self._fanout, role.size))
        if role.kind == "unique":
            return self._unique(column, given)
        return self._short_list(column, role, given)

    def _unique(self, column: Column, given: config.Column) -> Source | None:
        """Another value in every row."""
        rows = self._facts.rows
        if column.type in forms.TEXTS:
            return Composed(self._texts.text(column, given, unique=True))
        if column.type == "uuid":
            return RandomBytes(self.stream(column.name), 16, uuid=True)
        if column.type == "bytea":
            return RandomBytes(self.stream(column.name), _octets(given))
        if column.type in forms.TIMES and column.name in self._facts.windows:
            low, high = self._facts.windows[column.name]
            step = max(int(high - low) // max(rows, 1), 1)
            return self._packed(column, Ticks(Origin(int(high)), rows, step))
        if column.type in forms.TIMES:
            time = names.time(column.name)
            spread = int((time.high - time.low) * DAY) // max(rows, 1)
            return self._packed(column, Ticks(self._origin(given), rows, max(spread, 1)))
        return self._packed(column, Sequence(self._least(column, given)))

    def _least(self, column: Column, given: config.Column) -> int:
        """The first of numbers that count up."""
        low, _ = bounds(column, self._facts.rules)
        low, _ = self._facts.windows.get(column.name, (low, low))
        return int(given.low if given.low is not None else max(low, 1))

    def _short_list(self, column: Column, role: Role, given: config.Column) -> Source | None:
        """A partner or counted column that is no foreign key: enumeration, boolean, date, small range."""
        rule = self._enumeration(column)
        if rule is not None:
            return self._listed(column, dict.fromkeys(rule, 1.0), "values")
        if column.type == "bool":
            return self._listed(column, {"false": 1.0, "true": 1.0}, "values")
        place = self._picked(column, role, (1.0,) * role.size)
        if column.type == "date":
            window = self._facts.windows.get(column.name)
            origin = self._origin(given) if window is None else Origin(int(window[1]))
            return self._packed(column, Dated(place, origin))
        return self._packed(column, Stepped(place, int(bounds(column, self._facts.rules)[0])))

    def _by_rule(self, column: Column, given: config.Column) -> Source | None:
        """Enumerations and comparisons with another column."""
        listed = self._enumeration(column)
        if listed is not None:
            # As elsewhere the first is the most frequent; 1/k needs no user to say so.
            return self._listed(column, {v: 1.0 / (k + 1) for k, v in enumerate(listed)}, "values")
        for rule in self._facts.rules:
            if isinstance(rule, Ordered) and rule.right == column.name:
                base = self._plain(self._table.column(rule.left))
                if isinstance(base, Packed):
                    if given.follows is not None:
                        self._refuse(column, ["follows"], f"a check puts it after {rule.left}")
                    return self._ordered(column, base, strict=rule.strict, given=given)
        return None

    def _enumeration(self, column: Column) -> tuple[str, ...] | None:
        listed = [r.values for r in self._facts.rules if isinstance(r, OneOf) and r.column == column.name]
        if listed:
            return tuple(v for v in dict.fromkeys(listed[0]) if all(v in other for other in listed))
        return column.labels if column.labels and not column.element else None

    def _ordered(self, column: Column, base: Numbers, *, strict: bool, given: config.Column) -> Source | None:
        stream = self.stream(column.name)
        if column.type in forms.TIMES:
            high = 0.0 if given.high is None else -given.high * DAY
            return self._packed(column, Later(base, self._origin_of(base, given), stream, high))
        if column.type not in _NAMED_TYPES:
            return None
        low, high = self._range(column, given)
        gap = forms.step(column) if strict else 0.0
        return self._packed(column, After(base, stream, low, high, gap, forms.whole(column)))

    # Types

    def _by_type(self, column: Column, given: config.Column) -> Source | None:
        stream = self.stream(column.name)
        if column.sequence and column.type in forms.INTEGERS:
            return self._packed(column, Sequence(self._least(column, given)))
        if column.type in forms.TIMES:
            return self._packed(column, self._time(column, given))
        if column.type == "bool":
            share = {"true": 0.9, "false": 0.1}.get(self._default(column) or "", 0.5)
            return Flags(stream, share)
        if column.type in forms.TEXTS:
            return self._wording(column, given)
        if column.type in ("json", "jsonb"):
            return self._document(column, given)
        if column.type in _NAMED_TYPES:
            return self._number(column, given)
        if column.type == "uuid":
            return RandomBytes(stream, 16, uuid=True)
        if column.type == "bytea":
            return RandomBytes(stream, _octets(given))
        if column.type in ("time", "timetz", "interval", "money", "oid", *forms.ADDRESSES):
            most = {"interval": DAY, "money": 100_000, "oid": 100_000}.get(column.type, 2**24)
            return self._packed(
                column, Uniform(stream, 0, DAY - 1 if column.type.startswith("time") else most)
            )
        if column.element:
            return self._array(column, given)
        if column.type == "tsvector" and not column.default:
            return self._vectors(column, given)
        return self._unsupported(column)

    def _vectors(self, column: Column, given: config.Column) -> Source | None:
        """Search vectors of a thousand documents, one of which each row has; of the packaged words."""
        self._refuse(column, beyond(given, frozenset(("nulls", "when"))), "it is made of packaged words")
        pool_, stream = lists()["lower"], self.stream(column.name, "words")
        drawn = Zipf(len(pool_), _WORDS_SKEW).ranks(stream.uniform(0, _DOCUMENTS * _LEXEMES))
        documents = []
        for ranks in drawn.reshape(_DOCUMENTS, _LEXEMES).tolist():
            places: dict[str, list[str]] = {}
            for place, rank in enumerate(ranks, start=1):
                places.setdefault(pool_[rank], []).append(str(place))
            documents.append(" ".join(f"'{word}':{','.join(at)}" for word, at in places.items()))
        values = self._around.binary(column, tuple(documents), "values")
        return None if values is None else Chosen(values, Even(self.stream(column.name), _DOCUMENTS))

    def _unsupported(self, column: Column) -> Source | None:
        """A type nothing here fills: its default, NULL, or a problem."""
        if column.default:
            return None
        if column.nullable:
            self.notes.append(f"{self._table.name}.{column.name} ({column.declared}) stays NULL")
            return AllNull()
        self.problems.append(
            f"{self._table.name}.{column.name}: no generator for type {column.declared}; "
            f"set dataset.tables.{self._table.name}.columns.{column.name}.values or .constant"
        )
        return None

    def _packed(self, column: Column, numbers: Numbers) -> Source | None:
        pack = forms.pack(column)
        return None if pack is None else Packed(numbers, pack)

    def _default(self, column: Column) -> str | None:
        """The default where it is a literal."""
        tree = parse(column.default) if column.default else None
        return tree.value if tree is not None and tree.kind == "literal" else None

    def _number(self, column: Column, given: config.Column) -> Source | None:
        default = self._default(column)
        suggested = names.number(column.name)
        untouched = given.low is None and given.high is None and given.distribution is None
        untouched = untouched and given.follows is None and column.name not in self._facts.windows
        if default is not None and suggested is None and untouched:
            return self._listed(column, {default: 1.0}, "default")
        low, high = self._range(column, given)
        whole = forms.whole(column)
        shape = given.distribution or (suggested.shape if suggested and untouched else "uniform")
        if given.follows is not None and given.distribution is None:
            # Draws of the bell law and even ones have no ranks in common, so it takes the other's kind.
            shape = "lognormal" if isinstance(self._followed(given), Lognormal) else "uniform"
        stream = self._draws(column, given, Lognormal if shape == "lognormal" else Uniform)
        if shape == "sequence":
            return self._packed(column, Sequence(int(low if given.low is not None else max(low, 1))))
        if shape in ("zipf", "skewed"):
            return self._packed(column, Skewed(stream, low, high, given.skew or 1.0, whole))
        if shape == "lognormal":
            return self._packed(column, Lognormal(stream, low, high, whole))
        return self._packed(column, Uniform(stream, low, high, whole))

    def _range(self, column: Column, given: config.Column) -> tuple[float, float]:
        """low and high of a number: given, else what the name says within what type and checks allow."""
        low, high = self._bounds(column)
        for name, value in (("low", given.low), ("high", given.high)):
            if value is not None and not low <= value <= high:
                self.problems.append(
                    f"dataset.tables.{self._table.name}.columns.{column.name}.{name} = {value:g} "
                    f"is outside {low:g} to {high:g}, which {column.declared} and its checks allow"
                )
        if column.name in self._facts.windows:
            window = self._facts.windows[column.name]
            low, high = max(low, window[0]), min(high, window[1])
        said = names.number(column.name)
        wide = said or names.Range(0, 10_000 if forms.whole(column) else 1_000)
        type_low, type_high = forms.limits(column)
        stated = low > type_low and high < type_high
        if stated and (said is None or said.low < low or said.high > high):
            least, most = low, high
        else:
            least, most = max(low, wide.low), min(high, wide.high)
            if least > most:
                least = max(low, min(high, 0.0))
                most = min(high, least + wide.high - wide.low)
        least = (
            given.low
            if given.low is not None
            else min(least, given.high if given.high is not None else least)
        )
        most = given.high if given.high is not None else max(most, least)
        return least, most

    def _bounds(self, column: Column) -> tuple[float, float]:
        """The range by type and checks, less the room that a column above this one needs."""
        low, high = bounds(column, self._facts.rules)
        for rule in self._facts.rules:
            if isinstance(rule, Ordered) and rule.left == column.name:
                above = self._table.column(rule.right)
                if above.type in _NAMED_TYPES:
                    gap = forms.step(column) if rule.strict else 0.0
                    high = min(high, bounds(above, self._facts.rules)[1] - gap)
        return low, high

    def _wording(self, column: Column, given: config.Column) -> Source | None:
        default = self._default(column)
        plain = given.pattern is None and given.length is None and given.vocabulary is None
        if plain and default and names.listed(column.name) in (None, "kinds"):
            return self._listed(column, {default: 1.0}, "default")
        return Composed(self._texts.text(column, given, unique=False))

    def _document(self, column: Column, given: config.Column) -> Source | None:
        """A small JSON object of the kind applications keep; `length` adds running text."""
        default = self._default(column)
        if default not in (None, "{}", "null") and given.length is None:
            return self._listed(column, {str(default): 1.0}, "default")
        stream = self.stream(column.name)
        pieces: list[Piece] = [
            Literal(b'{"label": "'),
            Word(stream.sub("label"), "lower"),
            Literal(b'", "score": 0.'),
            Digits(stream.sub("score"), 10, 99),
            Literal(b', "count": '),
            Digits(stream.sub("count"), 0, 2_000),
            Literal(b', "tags": ["'),
            Phrase(stream.sub("tags"), "lower", 1, 3, b'", "'),
        ]
        if given.length is not None:
            text = self._texts.running(stream.sub("text"), given, None, 1)
            pieces += [Literal(b'"], "text": "'), text, Literal(b'"}')]
        else:
            pieces.append(Literal(b'"]}'))
        return Composed(Text(pieces), b"\x01" if column.type == "jsonb" else b"")

    def _array(self, column: Column, given: config.Column) -> Source | None:
        default = self._default(column)
        if default not in (None, "{}"):
            return self._listed(column, {str(default): 1.0}, "default")
        elements = []
        for place in range(_ELEMENTS):
            made = self._element(column, given, self.stream(column.name, str(place)))
            if made is None:
                return self._unsupported(column)
            elements.append(made)
        builtin = column.element_oid < _BUILTIN
        return Listed(self.stream(column.name), tuple(elements), column.element_oid, builtin)

    def _element(self, column: Column, given: config.Column, stream: Stream) -> Source | None:
        kind = column.element
        single = dataclasses.replace(column, type=kind, element="")
        if column.labels:
            weights = (1.0,) * len(column.labels)
            return Chosen(pool([label.encode() for label in column.labels]), Weighted(stream, weights))
        if kind in forms.TEXTS:
            most = forms.characters(single)
            return Composed(Text((Word(stream, "lower"),), most=most))
        if kind == "uuid":
            return RandomBytes(stream, 16, uuid=True)
        if kind == "bool":
            return Flags(stream, 0.5)
        if kind in forms.TIMES:
            time = names.time(column.name)
            moments = Moments(self._origin(given), stream, time.low * DAY, time.high * DAY)
            return self._packed(single, moments)
        if kind in _NAMED_TYPES:
            low, high = bounds(single, ())
            return self._packed(single, Uniform(stream, max(low, 0), min(high, 1_000), forms.whole(single)))
        return None

    # Times

    def _origin(self, given: config.Column) -> Origin:
        return Origin(self._around.today if given.relative else self._around.origin, given.relative)

    def _origin_of(self, base: Numbers, given: config.Column) -> Origin:
        """A time that follows another one counts from the same origin."""
        while isinstance(base, Packed):
            base = base.source
        found = getattr(base, "origin", None)
        return found if isinstance(found, Origin) else self._origin(given)

    def _time(self, column: Column, given: config.Column) -> Numbers:
        said = names.time(column.name)
        stream = self.stream(column.name)
        untouched = given.low is None and given.high is None and given.distribution is None
        window = self._facts.windows.get(column.name)
        if untouched and said.after and given.follows is None and window is None:
            base = self._first_time(column, given)
            if base is not None:
                return Later(base, self._origin_of(base, given), stream, 0.0)
        origin = self._origin(given)
        least, most = said.low * DAY, said.high * DAY
        if window is not None:
            least, most = window[0] - origin.moment, window[1] - origin.moment
        low = -given.low * DAY if given.low is not None else least
        high = -given.high * DAY if given.high is not None else max(most, low)
        if given.distribution == "recent":
            half = (given.half_life or max((high - low) / DAY / 8, 1.0)) * DAY
            return Recent(origin, self._draws(column, given, Recent), low, high, half)
        if given.follows is not None:
            stream = self._draws(column, given, Moments)
            return Moments(origin, stream, low, high, said.recent and given.distribution != "uniform")
        if (said.growing and given.distribution is None) or given.distribution == "sequence":
            return Growing(origin, stream, self._facts.rows, low, high)
        return Moments(origin, stream, low, high, said.recent and given.distribution != "uniform")

    def _first_time(self, column: Column, given: config.Column) -> Numbers | None:
        """The time at which a row came to be, which its other times follow."""
        for other in self._table.columns:
            if other.name == column.name or other.type not in forms.TIMES or other.generated:
                continue
            theirs = self._given.get(other.name, config.Column())
            if names.time(other.name).growing and (theirs.relative or not given.relative):
                source = self._plain(other)
                return source if isinstance(source, Packed) else None
        return None


def literal(value: config.Scalar) -> str:
    """A value of the configuration as Postgres reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _octets(given: config.Column) -> int:
    """Bytes of a binary column: its mean length, which all rows have."""
    length = given.length.mean if isinstance(given.length, config.Length) else given.length
    return length or _BYTEA
