"""Check constraints as the server writes them -> rules that a generator can keep.

A small parser of boolean expressions, for what `pg_get_constraintdef` gives: enumerations, ranges,
comparisons between two columns, lengths, NOT NULL, and AND of these. Anything else is "not
understood" (None), never guessed; the rehearsal in `gate.dataset.plan` then asks the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Comparison = Literal["<", "<=", ">", ">=", "=", "<>"]
_MIRROR: dict[str, Comparison] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
_NEGATED: dict[str, Comparison] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "<>", "<>": "="}
_LENGTHS = ("length", "char_length", "character_length", "octet_length")

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>E?'(?:[^']|'')*')
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<name>[A-Za-z_][A-Za-z0-9_$]*)
    | (?P<sign>::|<=|>=|<>|!=|[-+*/%<>=()\[\],.~!@|&^\#?]+?)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class OneOf:
    """The column holds one of these literals, NULL aside."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """The column (or its length) compared with a literal number."""

    column: str
    comparison: Comparison
    value: float
    length: bool = False


@dataclass(frozen=True, slots=True)
class Ordered:
    """left < right, or left <= right where not strict."""

    left: str
    right: str
    strict: bool


@dataclass(frozen=True, slots=True)
class Present:
    """The column is not NULL, or (absent) always NULL."""

    column: str
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Different:
    """left <> right. Kept where both refer to the same table; of other columns the rehearsal judges."""

    left: str
    right: str


Rule = OneOf | Bound | Ordered | Present | Different


@dataclass(frozen=True, slots=True)
class Node:
    """kind: "column", "literal", "array", "call" or an operator; value: its name or text."""

    kind: str
    value: str = ""
    inner: tuple[Node, ...] = ()


class _Unknown(Exception):
    """The expression holds something this parser does not know."""


def rules(expression: str) -> tuple[Rule, ...] | None:
    """The rules that together mean the expression; None where it is not understood."""
    tree = parse(expression)
    if tree is None:
        return None
    found: list[Rule] = []
    for part in conjuncts(tree):
        rule = rule_of(part)
        if rule is None:
            return None
        found.append(rule)
    return tuple(found)


def columns_in(expression: str, known: frozenset[str]) -> tuple[str, ...]:
    """Which of the known columns an expression mentions, in order, without parsing it."""
    tokens = [_unquoted(text) for kind, text in _tokens(expression) if kind in ("name", "quoted")]
    return tuple(dict.fromkeys(token for token in tokens if token in known))


def parse(expression: str) -> Node | None:
    """The tree of an expression ("CHECK (...)" or bare); None where it is not understood."""
    text = expression.strip()
    if text.upper().startswith("CHECK"):
        text = text[5:].removesuffix(" NOT VALID").removesuffix(" NO INHERIT")
    try:
        return _Parser(tuple(_tokens(text))).whole()
    except _Unknown:
        return None


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            yield "unknown", text[at:]
            return
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


class _Parser:
    def __init__(self, tokens: tuple[tuple[str, str], ...]) -> None:
        self._tokens = tokens
        self._at = 0

    def whole(self) -> Node:
        node = self._or()
        if self._at != len(self._tokens):
            raise _Unknown
        return node

    def _peek(self, ahead: int = 0) -> str:
        place = self._at + ahead
        if place >= len(self._tokens):
            return ""
        kind, text = self._tokens[place]
        return text.upper() if kind in ("name", "sign") else ""

    def _accept(self, *expected: str) -> bool:
        if all(self._peek(place) == text for place, text in enumerate(expected)):
            self._at += len(expected)
            return True
        return False

    def _need(self, text: str) -> None:
        if not self._accept(text):
            raise _Unknown

    def _or(self) -> Node:
        parts = [self._and()]
        while self._accept("OR"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Node("or", inner=tuple(parts))

    def _and(self) -> Node:
        parts = [self._not()]
        while self._accept("AND"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else Node("and", inner=tuple(parts))

    def _not(self) -> Node:
        if self._accept("NOT"):
            return Node("not", inner=(self._not(),))
        return self._comparison()

    def _comparison(self) -> Node:
        left = self._term()
        if self._accept("IS", "NOT", "NULL"):
            return Node("present", inner=(left,))
        if self._accept("IS", "NULL"):
            return Node("absent", inner=(left,))
        operator = self._peek()
        if operator not in _MIRROR:
            return left
        self._at += 1
        if operator == "=" and self._accept("ANY"):
            return Node("any", inner=(left, self._term()))
        return Node(operator, inner=(left, self._term()))

    def _term(self) -> Node:
        node = self._primary()
        while self._accept("::"):
            self._type()
        return node

    def _type(self) -> None:
        """Skip a type name: `character varying(20)[]`, `timestamp with time zone`, `public.mood`."""
        self._identifier()
        while self._accept("."):
            self._identifier()
        while self._peek() in ("VARYING", "PRECISION", "WITH", "WITHOUT", "TIME", "ZONE"):
            self._at += 1
        if self._accept("("):
            while not self._accept(")"):
                self._at += 1
                if self._at >= len(self._tokens):
                    raise _Unknown
        self._accept("WITH", "TIME", "ZONE")
        self._accept("WITHOUT", "TIME", "ZONE")
        while self._accept("[", "]") or self._accept("[]"):
            pass

    def _identifier(self) -> str:
        if self._at >= len(self._tokens) or self._tokens[self._at][0] not in ("name", "quoted"):
            raise _Unknown
        self._at += 1
        return _unquoted(self._tokens[self._at - 1][1])

    def _primary(self) -> Node:
        if self._accept("("):
            node = self._or()
            self._need(")")
            return node
        if self._accept("-"):
            inner = self._term()
            if inner.kind != "literal":
                raise _Unknown
            return Node("literal", f"-{inner.value}")
        if self._at >= len(self._tokens):
            raise _Unknown
        kind, text = self._tokens[self._at]
        if kind == "number":
            self._at += 1
            return Node("literal", text)
        if kind == "string" and not text.startswith("E"):
            self._at += 1
            return Node("literal", text[1:-1].replace("''", "'"))
        return self._named()

    def _named(self) -> Node:
        if self._accept("ARRAY", "["):
            return Node("array", inner=self._list("]"))
        for word in ("TRUE", "FALSE"):
            if self._accept(word):
                return Node("literal", word.lower())
        name = self._identifier()
        if self._accept("("):
            return Node("call", name.lower(), self._list(")"))
        return Node("column", name)

    def _list(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._accept(end):
            found.append(self._or())
            self._accept(",")
        return tuple(found)


def conjuncts(node: Node) -> Iterator[Node]:
    """The parts that must all hold."""
    if node.kind == "and":
        for part in node.inner:
            yield from conjuncts(part)
    else:
        yield node


def rule_of(node: Node) -> Rule | None:
    """The rule of one conjunct, if it is of a kind that a generator can keep."""
    if node.kind == "or":
        return _either(node)
    if node.kind == "not":
        return _negated(node.inner[0])
    if node.kind == "column":
        return OneOf(node.value, ("true",))
    if node.kind in ("present", "absent"):
        (inner,) = node.inner
        return Present(inner.value, absent=node.kind == "absent") if inner.kind == "column" else None
    if node.kind == "any":
        return _membership(*node.inner)
    if node.kind in _MIRROR:
        return _compared(*node.inner, comparison=_NEGATED[_NEGATED[node.kind]])
    return None


def _either(node: Node) -> Rule | None:
    """The one rule that makes an OR true for every row.

    `x IS NULL OR rule about x` is the rule, since NULL passes a check anyway; `x = 'a' OR x = 'b'` is
    a list; where one side asks only for a value to be present, that side is kept.
    """
    present = [rule for part in node.inner if isinstance(rule := rule_of(part), Present) and not rule.absent]
    if present:
        return present[0]
    absent = {part.inner[0].value for part in node.inner if part.kind == "absent"}
    found = [rule_of(part) for part in node.inner if part.kind != "absent"]
    if len(found) == 1 and found[0] is not None:
        return found[0] if absent & set(mentions(found[0])) else None
    lists = [rule for rule in found if isinstance(rule, OneOf)]
    if lists and len(lists) == len(found) and len({rule.column for rule in lists} | absent) == 1:
        return OneOf(lists[0].column, tuple(value for rule in lists for value in rule.values))
    return None


def mentions(rule: Rule) -> tuple[str, ...]:
    """The columns a rule is about."""
    return (rule.left, rule.right) if isinstance(rule, Ordered | Different) else (rule.column,)


def _negated(node: Node) -> Rule | None:
    if node.kind == "column":
        return OneOf(node.value, ("false",))
    if node.kind in ("present", "absent"):
        return rule_of(Node("absent" if node.kind == "present" else "present", inner=node.inner))
    if node.kind in _NEGATED:
        return rule_of(Node(_NEGATED[node.kind], inner=node.inner))
    return None


def _membership(subject: Node, array: Node) -> Rule | None:
    if subject.kind == "column" and array.kind == "array":
        if all(item.kind == "literal" for item in array.inner):
            return OneOf(subject.value, tuple(item.value for item in array.inner))
    elif subject.kind == "column" and array.kind == "literal" and re.fullmatch(r"\{[\w,-]+\}", array.value):
        return OneOf(subject.value, tuple(array.value[1:-1].split(",")))
    return None


def _compared(left: Node, right: Node, *, comparison: Comparison) -> Rule | None:
    if left.kind == "literal" and right.kind != "literal":
        return _compared(right, left, comparison=_MIRROR[comparison])
    if right.kind == "literal":
        return _bounded(left, right.value, comparison)
    if left.kind == right.kind == "column" and comparison in ("<", "<=", ">", ">="):
        if comparison.startswith(">"):
            left, right = right, left
        return Ordered(left.value, right.value, strict=len(comparison) == 1)
    if left.kind == right.kind == "column" and comparison == "<>":
        return Different(left.value, right.value)
    return None


def _bounded(left: Node, value: str, comparison: Comparison) -> Rule | None:
    length = left.kind == "call" and left.value in _LENGTHS and len(left.inner) == 1
    subject = _bare(left.inner[0]) if length else left
    if subject.kind != "column":
        return None
    if _is_number(value):
        if comparison == "=" and not length:
            return OneOf(subject.value, (value,))
        return Bound(subject.value, comparison, float(value), length)
    if comparison == "=":
        return OneOf(subject.value, (value,))
    if comparison == "<>" and value == "":
        return Bound(subject.value, ">=", 1, length=True)
    return None


def _bare(node: Node) -> Node:
    """The argument of btrim and the like: generated text has no space at its ends."""
    while node.kind == "call" and node.value in ("btrim", "ltrim", "rtrim", "trim") and len(node.inner) == 1:
        node = node.inner[0]
    return node


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text) is not None
