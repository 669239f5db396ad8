"""What makes two SQL texts the same statement, and what kind of statement it is. The door to libpg_query.

The server's queryid is no key: it hashes object ids up to Postgres 17 and its recipe changes between
majors. libpg_query hashes the parse tree: spelling, comments, white space, the number of values in an
IN or VALUES list, and casts of parameters make no difference; another alias or column does.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

import postgast


class Sort(StrEnum):
    """work: asks or changes data. begin: opens a transaction. control: ends or divides one, or sets
    the session up (SET, SHOW, DISCARD, DEALLOCATE, PREPARE, CLOSE, LISTEN); no work by itself."""

    WORK = "work"
    BEGIN = "begin"
    CONTROL = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """fingerprint: 16 hex digits, the same for every spelling. text: for people, on one line."""

    fingerprint: str
    text: str
    sort: Sort


_CONTROL_NODES = frozenset(
    {
        "transaction_stmt",
        "variable_set_stmt",
        "variable_show_stmt",
        "discard_stmt",
        "deallocate_stmt",
        "prepare_stmt",
        "close_portal_stmt",
        "listen_stmt",
        "unlisten_stmt",
        "constraints_set_stmt",
    }
)
_BEGIN = re.compile(r"(begin|start\s+transaction)\b", re.IGNORECASE)
_CONTROL = re.compile(
    r"(commit|end|rollback|abort|savepoint|release|prepare|set|reset|show|discard|deallocate|close|listen"
    r"|unlisten)\b",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"\$(\d+)")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\$\d+|\b\d+(?:\.\d+)?\b")
_MARKS = re.compile(r"(\(\?\)|\?)(?: ?, ?\1)+")  # lists of literals, then of rows of one literal
_ONE = r"\$\d+(?:\s*::\s*[\w .\[\]()]+?)?"
_IN_LIST = re.compile(rf"(\bIN ?\({_ONE})(?:, ?{_ONE})+(?=\))", re.IGNORECASE)
_ROW = rf"\({_ONE}(?:, ?{_ONE})*\)"
_ROWS = re.compile(rf"(\bVALUES ?{_ROW})(?:, ?{_ROW})+", re.IGNORECASE)
_SQUASHED = " /*, ... */"  # how Postgres 18 writes a list that it has shortened itself


@functools.lru_cache(maxsize=4096)
def identify(text: str) -> Identity:
    """The statement behind a text as pg_stat_statements stores it.

    Text that the grammar refuses because a constant became $1 where only a name may stand (SAVEPOINT
    $1, DEALLOCATE $1) is read with a name there. What still cannot be parsed (a newer server's syntax,
    a text cut off) is hashed without comments, case, white space and literals: stable for one spelling.
    """
    shown = readable(text)
    for candidate in (text, _PARAMETER.sub(r"p\1", text)):
        try:
            fingerprint = postgast.fingerprint(candidate).hex
            sort = _sort(candidate)
        except postgast.PgQueryError:
            continue
        return Identity(fingerprint=fingerprint, text=shown, sort=sort)
    return Identity(fingerprint=_lexical(text), text=shown, sort=_sort_by_word(shown))


def _sort(text: str) -> Sort:
    statements = postgast.parse(text).stmts
    if not statements:
        return Sort.CONTROL  # an empty query, as drivers send to see whether a connection lives
    statement = statements[0].stmt
    node = statement.WhichOneof("node")
    if node == "transaction_stmt" and statement.transaction_stmt.kind in (
        postgast.pg_query_pb2.TRANS_STMT_BEGIN,
        postgast.pg_query_pb2.TRANS_STMT_START,
    ):
        return Sort.BEGIN
    return Sort.CONTROL if node in _CONTROL_NODES else Sort.WORK


def _sort_by_word(text: str) -> Sort:
    if _BEGIN.match(text):
        return Sort.BEGIN
    return Sort.CONTROL if _CONTROL.match(text) else Sort.WORK


def _lexical(text: str) -> str:
    plain = " ".join(_uncommented(text).split()).lower()
    for pattern, replacement in ((_LITERAL, "?"), (_MARKS, r"\1"), (_MARKS, r"\1")):
        plain = pattern.sub(replacement, plain)
    return hashlib.blake2b(plain.encode(), digest_size=8).hexdigest()


def readable(text: str) -> str:
    """One line without comments; long lists of parameters as their first element and "..."."""
    plain = " ".join(_uncommented(text.replace(_SQUASHED, ", ...")).split()).strip("; ")
    return _ROWS.sub(r"\1, ...", _IN_LIST.sub(r"\1, ...", plain))


def _uncommented(text: str) -> str:
    """Comments go by the server's own tokens, so that "--" inside a literal stays."""
    raw = text.encode()
    try:
        tokens = postgast.scan(text).tokens
    except postgast.PgQueryError:
        return _COMMENT.sub(" ", text)
    comments = (postgast.pg_query_pb2.SQL_COMMENT, postgast.pg_query_pb2.C_COMMENT)
    for token in reversed(tokens):
        if token.token in comments:
            raw = raw[: token.start] + b" " + raw[token.end :]
    return raw.decode()
