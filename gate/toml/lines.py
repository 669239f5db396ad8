"""Where everything stands in a TOML text; the standard parser gives values and forgets their places."""

from __future__ import annotations

import tomllib

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

Path = tuple[str | int, ...]


def positions(text: str) -> dict[Path, int]:
    """The line, from 1, of every key, table and list element of a valid TOML text."""
    found: dict[Path, int] = {}
    heads: dict[Path, int] = {}  # arrays of tables -> index of the last element
    root = Parser(Language(tree_sitter_toml.language())).parse(text.encode()).root_node
    for node in root.named_children:
        if node.type == "pair":
            _pair(node, (), found)
        elif node.type in ("table", "table_array_element"):
            _table(node, found, heads)
    return found


def _table(node: Node, found: dict[Path, int], heads: dict[Path, int]) -> None:
    header, *pairs = [child for child in node.named_children if child.type != "comment"]
    base: Path = ()
    keys = _keys(header)
    for number, key in enumerate(keys, start=1):
        base = (*base, key)
        if number == len(keys) and node.type == "table_array_element":
            heads[base] = heads.get(base, -1) + 1
        found.setdefault(base, _line(node))
        if base in heads:
            base = (*base, heads[base])
    found[base] = _line(node)
    for pair in pairs:
        _pair(pair, base, found)


def _pair(node: Node, base: Path, found: dict[Path, int]) -> None:
    key, value = [child for child in node.named_children if child.type != "comment"][:2]
    for part in _keys(key):
        base = (*base, part)
        found.setdefault(base, _line(node))
    _value(value, base, found)


def _value(node: Node, base: Path, found: dict[Path, int]) -> None:
    inner = [child for child in node.named_children if child.type != "comment"]
    if node.type == "inline_table":
        for pair in inner:
            _pair(pair, base, found)
    elif node.type == "array":
        for index, element in enumerate(inner):
            found[(*base, index)] = _line(element)
            _value(element, (*base, index), found)


def _keys(node: Node) -> tuple[str, ...]:
    if node.type == "dotted_key":
        return tuple(key for child in node.named_children for key in _keys(child))
    text = (node.text or b"").decode()
    return tuple(tomllib.loads(f"{text} = 0")) if node.type == "quoted_key" else (text,)


def _line(node: Node) -> int:
    return node.start_point.row + 1
