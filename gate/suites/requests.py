"""The endpoints suite before anything is sent: which cases there are, what they need, what goes out.

Pure. Placeholders are `{name}` of a parameter or a scale, `{anchor.NAME.COLUMN}` of a named row, and
`{n}`, the number of the request (from 1); `{{name}}` stands for the text `{name}`, and any other
brace for itself, so that JSON and GraphQL bodies can be written as they are.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

from gate.config import Anchor, Endpoints, Login, Request, Scalar, SqlValues
from gate.model import Case, PlannedCase

SUITE = "endpoints"
NUMBER = "n"
ANCHOR = "anchor."
_PLACEHOLDER = re.compile(r"\{\{(?P<literal>[A-Za-z_][\w.-]*)\}\}|\{(?P<name>[A-Za-z_][\w.-]*)\}")
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DEFINITION = 1  # raised when this suite measures the same configuration in another way


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A statement whose single column fills a parameter. where: its place in the file."""

    sql: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorUse:
    """One column of a named row that some request needs. where: its place in the file."""

    anchor: str
    column: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The seeded data's answers. anchors: name -> column -> value; values: statement -> its column."""

    anchors: Mapping[str, Mapping[str, Scalar | None]] = field(default_factory=lambda: MappingProxyType({}))
    values: Mapping[str, tuple[Scalar, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One request ready to send. target: path and query, percent-encoded."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A request at one combination of its scale values; one case."""

    case: Case
    request: Request
    scale: Mapping[str, Scalar]


def variants(config: Endpoints) -> tuple[Variant, ...]:
    """All cases with their requests: readers first, then writers, each in the order of the file."""
    found = [variant for request in config.request for variant in _scaled(request)]
    return tuple(sorted(found, key=lambda variant: variant.request.writes))


def _scaled(request: Request) -> Iterator[Variant]:
    for values in itertools.product(*request.scale.values()):
        scale = dict(zip(request.scale, values, strict=True))
        parameters = ",".join(f"{name}={text(value)}" for name, value in scale.items())
        case = Case(suite=SUITE, name=request.name, parameters=parameters)
        yield Variant(case=case, request=request, scale=MappingProxyType(scale))


def cases(
    config: Endpoints, *, anchors: Mapping[str, Anchor] = MappingProxyType({})
) -> tuple[PlannedCase, ...]:
    """The cases in the order measured.

    anchors: the data set's, so that pointing an anchor at another row is another definition of the
    cases that use it. Budgets, rounds, timeout, pin and shape are not part of a definition: they do not
    change what a request does.
    """
    labels = [_route(request) for request in config.request]
    return tuple(
        PlannedCase(
            case=variant.case,
            label=_label(variant, shared=labels.count(_route(variant.request)) > 1),
            definition=_definition(config, variant, anchors),
            writes=variant.request.writes,
        )
        for variant in variants(config)
    )


def _route(request: Request) -> str:
    return f"{request.method} {request.path.replace('{' + ANCHOR, '{')}"


def _label(variant: Variant, *, shared: bool) -> str:
    """ "GET /api/songs [per_page=10]"; the query only where two requests would read the same without it."""
    request = variant.request
    query = "&".join(f"{name}={text(value)}" for name, value in request.query.items()) if shared else ""
    scale = f" [{variant.case.parameters}]" if variant.case.parameters else ""
    return _route(request) + (f"?{query}" if query else "") + scale


def _definition(config: Endpoints, variant: Variant, anchors: Mapping[str, Anchor]) -> str:
    # Defaults are left out, so that a key added to the format later leaves old definitions alone.
    request = variant.request.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude={"budgets", "shape", "scale", "pin"}
    )
    used = {use.anchor for use in _anchors_in(variant.request, config)}
    facts = {
        "version": _DEFINITION,
        "request": request,
        "scale": dict(variant.scale),
        "headers": config.headers,
        "login": config.login.model_dump(mode="json", by_alias=True) if config.login else None,
        "anchors": {name: anchors[name].model_dump(mode="json") for name in sorted(used) if name in anchors},
        "warmup": config.warmup,
        "requests": config.requests,
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def lookups(config: Endpoints) -> tuple[Lookup, ...]:
    """The statements that fill parameters, in the order of the file."""
    return tuple(
        Lookup(sql=values.sql, where=_place(request, f"params.{name}"))
        for request in config.request
        for name, values in request.params.items()
        if isinstance(values, SqlValues)
    )


def anchor_uses(config: Endpoints) -> tuple[AnchorUse, ...]:
    """The columns of named rows that requests and the login are written with."""
    found = {
        (use.anchor, use.column): use for request in config.request for use in _anchors_in(request, config)
    }
    return tuple(found.values())


def gaps(config: Endpoints, resolved: Resolved) -> tuple[str, ...]:
    """What the seeded data does not hold though a request needs it; each problem names its place."""
    problems = [problem for use in anchor_uses(config) if (problem := _gap(use, resolved.anchors))]
    problems += [
        f"{lookup.where}: the statement gave no rows"
        for lookup in lookups(config)
        if not resolved.values.get(lookup.sql)
    ]
    return tuple(problems)


def _gap(use: AnchorUse, anchors: Mapping[str, Mapping[str, Scalar | None]]) -> str:
    row = anchors.get(use.anchor)
    if row is None:
        return f"{use.where}: no anchor {use.anchor!r}" + _nearest(use.anchor, anchors)
    if use.column not in row:
        return f"{use.where}: anchor {use.anchor!r} has no column {use.column!r}" + _nearest(use.column, row)
    return f"{use.where}: {use.anchor}.{use.column} is NULL" if row[use.column] is None else ""


# What the author of the file got wrong, found while planning.


def check(config: Endpoints, anchor_names: Iterable[str]) -> tuple[str, ...]:
    """Every problem that needs no server: placeholders, anchors, unused parameters, masks, headers.

    anchor_names: those that the data set declares. Each problem names its place; empty if all is well.
    """
    problems = [
        f"suites.endpoints.{place}: {{{name}}} is unknown here; only {{anchor.NAME.COLUMN}} can be used"
        for place, name in _suite_names(config)
        if not name.startswith(ANCHOR)
    ]
    problems += [problem for request in config.request for problem in _request_problems(request)]
    problems += _anchor_problems(config, frozenset(anchor_names))
    problems += _header_problems("suites.endpoints.headers", config.headers)
    return tuple(problems)


def _request_problems(request: Request) -> Iterator[str]:
    known = {*request.params, *request.scale, NUMBER}
    used = {name: place for place, name in _names(request)}
    for name, place in used.items():
        if name not in known and not name.startswith(ANCHOR):
            yield f"{_place(request, place)}: unknown placeholder {{{name}}}" + _nearest(name, known)
    for kind, names in (("params", request.params), ("scale", request.scale)):
        for name in names:
            if name == NUMBER or name.startswith(ANCHOR):
                yield f"{_place(request, f'{kind}.{name}')}: {name!r} has a meaning of its own"
            elif name not in used:
                yield f"{_place(request, f'{kind}.{name}')}: {{{name}}} is not used in the request"
    for name in request.params.keys() & request.scale.keys():
        yield f"{_place(request, f'scale.{name}')}: {name!r} is also in params"
    for name, values in request.scale.items():
        if len({text(value) for value in values}) < len(values):
            yield f"{_place(request, f'scale.{name}')}: a value stands there twice"
    yield from _mask_problems(request)
    yield from _header_problems(_place(request, "headers"), request.headers)
    if request.method == "HEAD" and request.shape:
        yield f"{_place(request, 'shape')}: the answer to HEAD has no body"


def _mask_problems(request: Request) -> Iterator[str]:
    for index, mask in enumerate(request.mask, 1):
        try:
            re.compile(mask.pattern.encode())
        except re.error as error:
            yield f"{_place(request, f'mask {index}')}: not a regular expression: {error}"


def _header_problems(place: str, headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if not _FIELD.fullmatch(name) or "\n" in value or "\r" in value:
            yield f"{place}: {name!r} is not a valid header"


def _anchor_problems(config: Endpoints, names: frozenset[str]) -> Iterator[str]:
    for use in anchor_uses(config):
        if not use.column:
            yield f"{use.where}: {{anchor.{use.anchor}}} must name a column: {{anchor.NAME.COLUMN}}"
        elif use.anchor not in names:
            yield f"{use.where}: unknown anchor {use.anchor!r}" + _nearest(use.anchor, names)


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _place(request: Request, key: str) -> str:
    return f"suites.endpoints.request {request.name!r}: {key}"


# Placeholders: where they stand, and what they become.


def _strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """(place, text) of every string in a value of the file, keys of tables included."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, place)


def _names_in(parts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in parts.items():
        for place, content in _strings(value, key):
            for found in _PLACEHOLDER.finditer(content):
                if found["name"]:
                    yield place, found["name"]


def _names(request: Request) -> Iterator[tuple[str, str]]:
    """(place, placeholder) of everything that one request is written with."""
    return _names_in(
        {
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "form": request.form,
            "json": request.body,
        }
    )


def _suite_names(config: Endpoints) -> Iterator[tuple[str, str]]:
    """The same of what goes out with every request or before all of them."""
    yield from _names_in({"headers": config.headers})
    if (login := config.login) is not None:
        yield from _names_in(
            {
                "login.path": login.path,
                "login.headers": login.headers,
                "login.form": login.form,
                "login.json": login.body,
            }
        )


def _anchors_in(request: Request, config: Endpoints) -> Iterator[AnchorUse]:
    named = [(f"suites.endpoints.{place}", name) for place, name in _suite_names(config)]
    named += [(_place(request, place), name) for place, name in _names(request)]
    for where, name in named:
        if name.startswith(ANCHOR):
            anchor, _, column = name.removeprefix(ANCHOR).partition(".")
            yield AnchorUse(anchor=anchor, column=column, where=where)


def text(value: Scalar) -> str:
    """A value as it stands in a URL or a form: booleans as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class Values:
    """What the placeholders of one request stand for. KeyError for a name `check` or `gaps` would name."""

    def __init__(self, resolved: Resolved, values: Mapping[str, Scalar] = MappingProxyType({})) -> None:
        self._anchors = resolved.anchors
        self._values = values

    def __getitem__(self, name: str) -> Scalar:
        if name.startswith(ANCHOR):
            anchor, _, column = name.removeprefix(ANCHOR).partition(".")
            value = self._anchors[anchor][column]
            if value is None:
                raise KeyError(name)
            return value
        return self._values[name]

    def fill(self, template: str, *, encode: bool = False) -> str:
        """The text with every placeholder replaced, percent-encoded for a path if asked."""

        def replacement(found: re.Match[str]) -> str:
            if found["literal"]:
                return f"{{{found['literal']}}}"
            value = text(self[found["name"]])
            return quote(value, safe="") if encode else value

        return _PLACEHOLDER.sub(replacement, template)

    def filled(self, value: Any) -> Any:
        """A JSON value with its strings filled; a string that is one placeholder takes the value's type."""
        if isinstance(value, str):
            whole = _PLACEHOLDER.fullmatch(value)
            return self[whole["name"]] if whole and whole["name"] else self.fill(value)
        if isinstance(value, Mapping):
            return {key: self.filled(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.filled(item) for item in value]
        return value


def rendered(
    path: str,
    *,
    query: Mapping[str, Scalar],
    headers: Mapping[str, str],
    form: Mapping[str, Scalar] | None,
    body: Any,
    values: Values,
) -> Rendered:
    """One request written out; names of headers are compared without case, the later one wins."""
    fields: dict[str, tuple[str, str]] = {}
    content = None
    if form is not None:
        content = urlencode({k: text(values.filled(v)) for k, v in form.items()}).encode()
        fields["content-type"] = ("Content-Type", "application/x-www-form-urlencoded")
    elif body is not None:
        content = json.dumps(values.filled(body), separators=(",", ":"), ensure_ascii=False).encode()
        fields["content-type"] = ("Content-Type", "application/json")
    for name, value in headers.items():
        fields[name.lower()] = (name, values.fill(value))
    return Rendered(target=_target(path, query, values), headers=tuple(fields.values()), body=content)


def _target(path: str, query: Mapping[str, Scalar], values: Values) -> str:
    target = quote(values.fill(path, encode=True), safe="/?%:@!$&'()*+,;=~-._")
    if query:
        target += "&" if "?" in target else "?"
        target += urlencode({name: text(values.filled(value)) for name, value in query.items()})
    return target


def login_request(login: Login, resolved: Resolved) -> Rendered:
    """What is sent once per side before anything is measured."""
    return rendered(
        login.path,
        query={},
        headers=login.headers,
        form=login.form,
        body=login.body,
        values=Values(resolved),
    )


class Requests:
    """The requests of one case: number i takes value i of every list, each starting over at its end."""

    def __init__(self, variant: Variant, config: Endpoints, resolved: Resolved) -> None:
        self.variant = variant
        self._resolved = resolved
        self._headers = config.headers | variant.request.headers
        self._lists: dict[str, Sequence[Scalar]] = {
            name: resolved.values[values.sql] if isinstance(values, SqlValues) else values
            for name, values in variant.request.params.items()
        }
        numbered = any(name == NUMBER for _, name in _names(variant.request))
        self._cycle = None if numbered else math.lcm(*(len(values) for values in self._lists.values()))

    def distinct(self, count: int) -> int:
        """How many of the first `count` requests differ from all before them."""
        return count if self._cycle is None else min(self._cycle, count)

    def render(self, index: int) -> Rendered:
        """Request number `index`, from 0."""
        taken = {name: values[index % len(values)] for name, values in self._lists.items()}
        request = self.variant.request
        return rendered(
            request.path,
            query=request.query,
            headers=self._headers,
            form=request.form,
            body=request.body,
            values=Values(self._resolved, {**self.variant.scale, **taken, NUMBER: index + 1}),
        )
