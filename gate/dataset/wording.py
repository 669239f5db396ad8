"""What texts of one table are made of: patterns, words, running text, and codes where no two may be alike."""

from __future__ import annotations

from collections.abc import Callable

from gate import config
from gate.dataset import names
from gate.dataset.checks import Bound
from gate.dataset.roles import Facts, longest
from gate.dataset.schema import Column
from gate.dataset.streams import Stream
from gate.dataset.texts import (
    LONGEST_CODE,
    Code,
    Hexadecimal,
    Literal,
    OwnWord,
    Piece,
    Running,
    Text,
    pattern,
)
from gate.dataset.words import lists

_LONG_HEX = 24  # this many random digits do not meet twice


class Wording:
    """stream: of the table, for a use. refuse: notes what of an override cannot be honoured, and why."""

    def __init__(
        self,
        facts: Facts,
        stream: Callable[..., Stream],
        refuse: Callable[[Column, list[str], str], None],
    ) -> None:
        self._facts = facts
        self._stream = stream
        self._refuse = refuse

    def text(self, column: Column, given: config.Column, *, unique: bool, rows: int | None = None) -> Piece:
        """The text of a column. unique: another one in each of `rows`, by default those of the table."""
        most = longest(column, self._facts.rules)
        least, exact = self._shortest(column)
        stream = self._stream(column.name)
        rows = self._facts.rows if rows is None else rows
        code = Code(Code.width_for(max(rows, 2)))
        if given.pattern is not None:
            return Text(self._pattern(column, given.pattern, rows))
        if exact is not None:
            lead = (code,) if unique and code.width <= exact else ()
            rest = exact - (code.width if lead else 0)
            return Text((), (*lead, *((Hexadecimal(stream, rest),) if rest else ())))
        stem, suffix = names.text(column.name, self._facts.table.name, stream, rows=rows, most=most)
        if most is not None and _fixed_width(suffix) > most:
            stem, suffix = (*stem[:1],), ()
        if given.length is not None:
            stem, suffix = (self.running(stream, given, most, max(least, 1)),), ()
        elif given.vocabulary is not None:
            stem, suffix = (self._word(column, stream, given, most),), ()
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

    def running(self, stream: Stream, given: config.Column, most: int | None, least: int) -> Running:
        """Text of the length that is asked for, within what type and checks allow."""
        words = self._vocabulary(given)
        if isinstance(given.length, config.Length):
            length = given.length
            highest = min((m for m in (length.high, most) if m is not None), default=None)
            lowest = max(length.low, least)
            return Running(stream, length.mean or 1, highest, lowest, length.distribution, length.skew, words)
        return Running(stream, given.length or 1, most, least, words=words)

    def _vocabulary(self, given: config.Column) -> tuple[str, ...]:
        """The words that a text is made of; none where they are the packaged ones."""
        if isinstance(given.vocabulary, str):
            return lists().get(given.vocabulary, ())
        return given.vocabulary or ()

    def _word(self, column: Column, stream: Stream, given: config.Column, most: int | None) -> Piece:
        words = self._vocabulary(given)
        fitting = tuple(word for word in words if most is None or len(word) <= most)
        if not fitting:
            self._refuse(column, ["vocabulary"], f"none of its words fits {column.declared}")
            return Literal(b"")
        return OwnWord(stream, fitting, given.skew or 0.6)

    def _pattern(self, column: Column, text: str, rows: int) -> tuple[Piece, ...]:
        pieces = pattern(text, self._stream(column.name), rows)
        for piece in pieces:
            if isinstance(piece, Code) and (piece.width > LONGEST_CODE or 36**piece.width < rows):
                need = Code.width_for(max(rows, 2))
                self._refuse(column, [f"{{code:{piece.width}}}"], f"{rows:,} rows need {{code:{need}}}")
        return pieces

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


def _fixed_width(pieces: tuple[Piece, ...]) -> int:
    """Characters of codes and literals."""
    widths = (
        len(piece.text) if isinstance(piece, Literal) else getattr(piece, "width", 0) for piece in pieces
    )
    return sum(widths)
