"""The source of each column of one table: from overrides, constraints, type and name, in that order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gate import config
from gate.dataset import forms, names
from gate.dataset.checks import Bound, OneOf, Ordered, Present, parse
from gate.dataset.encode import Part, pool
from gate.dataset.fanout import Fanout, FirstOnly, Partners, Position
from gate.dataset.roles import Facts, Role, Roles, bounds, longest
from gate.dataset.schema import Column, ForeignKey
from gate.dataset.sources import (
    DAY,
    After,
    AllNull,
    Chosen,
    Composed,
    Dated,
    Earlier,
    Even,
    Flags,
    Growing,
    InOrder,
    Keys,
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
    Reference,
    Sequence,
    Shuffled,
    Skewed,
    Source,
    Stepped,
    Ticks,
    Uniform,
    Weighted,
)
from gate.dataset.streams import Stream
from gate.dataset.texts import (
    Code,
    Digits,
    Hexadecimal,
    Literal,
    Phrase,
    Piece,
    RowNumber,
    Running,
    Text,
    Word,
)

ZIPF = 0.8  # default skew: the first of 300,000 parents has 1.7 % of the rows
_BUILTIN = 16_384  # object numbers below are the same in every database
_ELEMENTS = 4
_LONG_HEX = 24  # this many random digits do not meet twice
_BYTEA = 32
_NAMED_TYPES = (*forms.INTEGERS, *forms.FLOATS, "numeric")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What one table's columns need of the rest.

    keys: key values of a parent's column, in the form of one's own. binary: literals in the binary
    form of a column's type, None with a problem noted. referenced: columns that other tables refer to.
    """

    seed: int
    origin: int
    today: int
    keys: Callable[[ForeignKey, Column], Keys]
    binary: Callable[[Column, tuple[str, ...], str], Part | None]
    referenced: frozenset[str]


_OF_A_KEY = frozenset(("nulls", "distribution", "skew"))
_OF_A_ROLE = frozenset(("nulls", "relative"))
_OF_A_UNIQUE_COLUMN = frozenset(("nulls", "relative", "length", "pattern", "low"))


def _beyond(given: config.Column, honoured: frozenset[str]) -> list[str]:
    """The keys of an override that are set and not among these."""
    return sorted(given.model_fields_set - honoured)


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
        self._places: dict[ForeignKey, Places | None] = {}
        self._fanout = self._make_fanout()

    def sources(self) -> tuple[tuple[str, Source], ...]:
        """The columns that COPY fills, in the table's order; others take their default."""
        found = [(c.name, self._source(c)) for c in self._table.columns if not c.generated]
        return tuple((name, source) for name, source in found if source is not None)

    def stream(self, *names_: str) -> Stream:
        return Stream(self._around.seed, self._table.name, *names_)

    def _source(self, column: Column) -> Source | None:
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
            return self._reference(column, given)
        if given.constant is not None or given.values is not None:
            return self._values(column, given)
        if role is not None:
            return self._by_role(column, role, given)
        return self._by_rule(column, given) or self._by_type(column, given)

    # NULLs

    def _null_share(self, column: Column) -> float:
        given = self._given.get(column.name, config.Column())
        if given.nulls is not None:
            return min(given.nulls, 1.0)
        present = [r for r in self._facts.rules if isinstance(r, Present) and r.column == column.name]
        if any(rule.absent for rule in present):
            return 1.0
        if not column.nullable or present or column.name in self._around.referenced:
            return 0.0
        role = self._roles.columns.get(column.name)
        if role is not None and role.kind != "unique":
            return 0.0
        if any(u.nulls_equal and column.name in u.columns for u in self._table.uniques):
            return 0.0
        key = self._facts.keys.get(column.name)
        if key is not None and len(key.columns) > 1:
            return 0.0  # the parts of one key would be NULL in different rows
        if key is not None and self._facts.parents(key) == 0:
            return 1.0
        return names.null_share(column.name)

    # Foreign keys

    def _make_fanout(self) -> Fanout | None:
        lead = self._roles.lead
        if lead is None:
            return None
        given = self._given.get(lead.columns[0], config.Column())
        skew = 0.0 if given.distribution == "uniform" else given.skew or ZIPF
        stream = self.stream(*lead.columns)
        return Fanout(stream, self._facts.rows, self._facts.parents(lead), skew, self._roles.most)

    def _reference(self, column: Column, given: config.Column) -> Source | None:
        key = self._facts.keys[column.name]
        self._refuse(column, _beyond(given, _OF_A_KEY), f"it refers to {key.target}")
        if given.distribution == "lognormal":
            self._refuse(column, ["distribution = lognormal"], "zipf, uniform and sequence choose parents")
        if key not in self._places:
            self._places[key] = self._place(key, given)
        place = self._places[key]
        return None if place is None else Reference(place, self._around.keys(key, column))

    def _place(self, key: ForeignKey, given: config.Column) -> Places | None:
        parents = self._facts.parents(key)
        stream = self.stream(*key.columns)
        role = self._roles.columns.get(key.columns[0])
        if key.target == self._table.name:
            rows = self._facts.rows
            return InOrder(rows, first=rows - 1) if role is not None else Earlier(stream)
        if parents == 0:
            self.problems.append(
                f"{self._table.name}.{', '.join(key.columns)} must refer to {key.target}, which has no rows; "
                f"set dataset.tables.{key.target}.rows, or dataset.tables.{self._table.name}.rows = 0"
            )
            return None
        if role is not None and role.kind == "lead":
            return self._fanout
        if role is not None and role.kind == "one-to-one":
            return Shuffled(stream, parents)
        skew = 0.0 if given.distribution == "uniform" else given.skew or ZIPF
        if role is not None and role.kind == "partner" and self._fanout is not None:
            return Partners(self._fanout, stream, parents, skew)
        if given.distribution == "sequence":
            return InOrder(parents)
        return Even(stream, parents) if given.distribution == "uniform" else Popular(stream, parents, skew)

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
        honoured = _OF_A_UNIQUE_COLUMN if role.kind == "unique" else _OF_A_ROLE
        self._refuse(column, _beyond(given, honoured), "the column keeps the rows of a unique key apart")
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
            return Composed(self._text(column, given, unique=True))
        if column.type == "uuid":
            return RandomBytes(self.stream(column.name), 16, uuid=True)
        if column.type == "bytea":
            return RandomBytes(self.stream(column.name), given.length or _BYTEA)
        if column.type in forms.TIMES:
            time = names.time(column.name)
            spread = int((time.high - time.low) * DAY) // max(rows, 1)
            return self._packed(column, Ticks(self._origin(given), rows, max(spread, 1)))
        low, _ = bounds(column, self._facts.rules)
        first = given.low if given.low is not None else max(low, 1)
        return self._packed(column, Sequence(int(first)))

    def _short_list(self, column: Column, role: Role, given: config.Column) -> Source | None:
        """A partner or counted column that is no foreign key: enumeration, boolean, date, small range."""
        rule = self._enumeration(column)
        if rule is not None:
            return self._listed(column, dict.fromkeys(rule, 1.0), "values")
        if column.type == "bool":
            return self._listed(column, {"false": 1.0, "true": 1.0}, "values")
        place = self._picked(column, role, (1.0,) * role.size)
        if column.type == "date":
            return self._packed(column, Dated(place, self._origin(given)))
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
            return self._packed(column, Sequence())
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
            return RandomBytes(stream, given.length or _BYTEA)
        if column.type in ("time", "timetz", "interval", "money", "oid", *forms.ADDRESSES):
            most = {"interval": DAY, "money": 100_000, "oid": 100_000}.get(column.type, 2**24)
            return self._packed(
                column, Uniform(stream, 0, DAY - 1 if column.type.startswith("time") else most)
            )
        if column.element:
            return self._array(column, given)
        return self._unsupported(column)

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
        if default is not None and suggested is None and untouched:
            return self._listed(column, {default: 1.0}, "default")
        low, high = self._range(column, given)
        stream, whole = self.stream(column.name), forms.whole(column)
        shape = given.distribution or (suggested.shape if suggested and untouched else "uniform")
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
        plain = given.pattern is None and given.length is None
        if plain and default and names.listed(column.name) in (None, "kinds"):
            return self._listed(column, {default: 1.0}, "default")
        return Composed(self._text(column, given, unique=False))

    def _text(self, column: Column, given: config.Column, *, unique: bool) -> Piece:
        most = longest(column, self._facts.rules)
        least, exact = self._shortest(column)
        stream = self.stream(column.name)
        code = Code(Code.width_for(max(self._facts.rows, 2)))
        if given.pattern is not None:
            return Text(pattern(given.pattern))
        if exact is not None:
            lead = (code,) if unique and code.width <= exact else ()
            rest = exact - (code.width if lead else 0)
            return Text((), (*lead, *((Hexadecimal(stream, rest),) if rest else ())))
        stem, suffix = names.text(column.name, self._table.name, stream, rows=self._facts.rows, most=most)
        if most is not None and fixed_width(suffix) > most:
            stem, suffix = (*stem[:1],), ()
        if given.length is not None:
            stem, suffix = (Running(stream, given.length, most, max(least, 1)),), ()
        elif least > 3 and not suffix:
            stem = (Running(stream, max(2 * least, 40), most, least),)
        if unique and not self._tells_apart(stem, suffix):
            gap = (
                ()
                if most is not None and most <= code.width
                else (Literal(b"-" if "slug" in column.name else b" "),)
            )
            suffix = (*gap, code)
        return Text(stem, suffix, most)

    def _tells_apart(self, stem: tuple[Piece, ...], suffix: tuple[Piece, ...]) -> bool:
        long_hex = any(isinstance(piece, Hexadecimal) and piece.width >= _LONG_HEX for piece in stem)
        return long_hex or any(isinstance(piece, Code) for piece in suffix)

    def _shortest(self, column: Column) -> tuple[int, int | None]:
        """(fewest characters, exact number of characters) by the checks."""
        least, exact = 0, None
        for rule in self._facts.rules:
            if isinstance(rule, Bound) and rule.length and rule.column == column.name:
                if rule.comparison == "=":
                    exact = int(rule.value)
                elif rule.comparison in (">", ">="):
                    least = max(least, int(rule.value) + (rule.comparison == ">"))
        return least, exact

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
            pieces += [Literal(b'"], "text": "'), Running(stream.sub("text"), given.length), Literal(b'"}')]
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
        if given.low is None and given.high is None and said.after and given.distribution is None:
            base = self._first_time(column, given)
            if base is not None:
                return Later(base, self._origin_of(base, given), stream, 0.0)
        low = -given.low * DAY if given.low is not None else said.low * DAY
        high = -given.high * DAY if given.high is not None else max(said.high * DAY, low)
        origin = self._origin(given)
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


def fixed_width(pieces: tuple[Piece, ...]) -> int:
    """Characters of codes and literals."""
    widths = (
        len(piece.text) if isinstance(piece, Literal) else getattr(piece, "width", 0) for piece in pieces
    )
    return sum(widths)


def literal(value: config.Scalar) -> str:
    """A value of the configuration as Postgres reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def pattern(text: str) -> tuple[Piece, ...]:
    """ "INV-{n}" as pieces: {n} is the row's number from 1."""
    pieces: list[Piece] = []
    for place, part in enumerate(text.split("{n}")):
        if place:
            pieces.append(RowNumber())
        if part:
            pieces.append(Literal(part.encode()))
    return tuple(pieces)
