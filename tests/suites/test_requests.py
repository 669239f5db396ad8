"""What is planned and written out before anything is sent."""

from __future__ import annotations

import pytest

from gate.config import Anchor, Endpoints
from gate.model import Case
from gate.suites.requests import (
    Requests,
    Resolved,
    cases,
    check,
    gaps,
    login_request,
    lookups,
    variants,
)


def endpoints(*requests: dict, **suite) -> Endpoints:
    return Endpoints.model_validate({"request": list(requests), **suite})


def first(config: Endpoints) -> Requests:
    return Requests(variants(config)[0], config, Resolved())


def definition(*requests: dict, anchors=None, **suite) -> str:
    return cases(endpoints(*requests, **suite), anchors=anchors or {})[0].definition


LIST = {"name": "songs", "path": "/songs", "query": {"per_page": "{size}"}, "scale": {"size": [10, 40]}}


def test_a_scale_gives_one_case_for_each_value():
    """Each value of a scale is a case of its own, named by it, also in the label."""
    planned = cases(endpoints(LIST))
    assert [str(p.case) for p in planned] == ["endpoints/songs[size=10]", "endpoints/songs[size=40]"]
    assert [p.label for p in planned] == ["GET /songs [size=10]", "GET /songs [size=40]"]
    assert len({p.definition for p in planned}) == 2
    assert all(Case.parse(str(p.case)) == p.case for p in planned)


def test_two_scales_are_crossed():
    """Two scales give every combination."""
    config = endpoints({"name": "a", "path": "/{x}/{y}", "scale": {"x": [1, 2], "y": ["p", "q"]}})
    assert [p.case.parameters for p in cases(config)] == ["x=1,y=p", "x=1,y=q", "x=2,y=p", "x=2,y=q"]


def test_readers_come_before_writers_in_the_order_of_the_file():
    """Writing cases come last; otherwise the order of the file holds."""
    config = endpoints(
        {"name": "z", "path": "/z"},
        {"name": "w", "path": "/w", "method": "POST", "writes": True},
        {"name": "a", "path": "/a"},
    )
    planned = cases(config)
    assert [p.case.name for p in planned] == ["z", "a", "w"]
    assert [p.writes for p in planned] == [False, False, True]


def test_the_label_shows_the_query_where_the_path_is_shared():
    """Two requests of one path are told apart by their query; a lone one is short."""
    config = endpoints(
        {"name": "a", "path": "/videos", "query": {"sort": "title"}},
        {"name": "b", "path": "/videos", "query": {"sort": "artist"}},
        {"name": "c", "path": "/songs/{id}", "params": {"id": [1]}, "query": {"q": "x"}},
    )
    labels = [planned.label for planned in cases(config)]
    assert labels == ["GET /videos?sort=title", "GET /videos?sort=artist", "GET /songs/{id}"]


BASE = {"name": "a", "path": "/a/{id}", "params": {"id": [1, 2]}}


@pytest.mark.parametrize(
    ("request_change", "suite_change"),
    [
        ({"path": "/b/{id}"}, {}),
        ({"method": "DELETE"}, {}),
        ({"query": {"x": 1}}, {}),
        ({"headers": {"X": "1"}}, {}),
        ({"method": "POST", "form": {"x": "1"}}, {}),
        ({"method": "POST", "json": {"x": "1"}}, {}),
        ({"params": {"id": [1, 3]}}, {}),
        ({"params": {"id": {"sql": "SELECT 1"}}}, {}),
        ({"expect": 201}, {}),
        ({"mask": [{"pattern": "x"}]}, {}),
        ({"writes": True}, {}),
        ({}, {"headers": {"X": "1"}}),
        ({}, {"login": {"path": "/login"}}),
        ({}, {"warmup": 13}),
        ({}, {"requests": 11}),
    ],
)
def test_whatever_changes_the_work_changes_the_definition(request_change, suite_change):
    """Stored counts of another request, body, list, number or login are not comparable."""
    assert definition(BASE | request_change, **suite_change) != definition(BASE)


@pytest.mark.parametrize(
    ("request_change", "suite_change"),
    [
        ({"budgets": {"p95": "400ms"}}, {}),
        ({"shape": ["id"]}, {}),
        ({"expect": 200}, {}),
        ({}, {"rounds": 5}),
        ({}, {"timeout": "1s"}),
    ],
)
def test_what_does_not_change_the_work_keeps_the_definition(request_change, suite_change):
    """Budgets, shape, rounds and timeout leave stored counts usable, as does writing out a default."""
    assert definition(BASE | request_change, **suite_change) == definition(BASE)


def test_an_anchor_that_points_elsewhere_is_another_definition():
    """Changing the row behind {anchor.user.id} changes the cases that use it, and no other."""
    using = {"name": "a", "path": "/u/{anchor.user.id}"}
    one, other = Anchor(table="users"), Anchor(table="users", order="id desc")
    assert definition(using, anchors={"user": one}) != definition(using, anchors={"user": other})
    assert definition(BASE, anchors={"user": one}) == definition(BASE, anchors={"user": other})


def test_every_problem_is_found_at_once_with_its_place():
    """Unknown names, unused parameters, bad masks, headers and anchors are all listed."""
    config = endpoints(
        {
            "name": "a",
            "path": "/a/{idd}/{anchor.usr.id}/{anchor.user}",
            "params": {"id": [1], "n": [1]},
            "scale": {"id": [1, 1]},
            "mask": [{"pattern": "("}],
            "headers": {"bad name": "x"},
        },
        {"name": "h", "path": "/h", "method": "HEAD", "shape": ["x"]},
        headers={"X-User": "{id}"},
    )
    problems = check(config, ["user"])
    wanted = [
        "suites.endpoints.headers.X-User: {id} is unknown here",
        "request 'a': path: unknown placeholder {idd}; did you mean 'id'?",
        "request 'a': params.id: {id} is not used",
        "request 'a': params.n: 'n' has a meaning of its own",
        "request 'a': scale.id: 'id' is also in params",
        "request 'a': scale.id: a value stands there twice",
        "request 'a': mask 1: not a regular expression",
        "request 'a': headers: 'bad name' is not a valid header",
        "request 'a': path: unknown anchor 'usr'; did you mean 'user'?",
        "request 'a': path: {anchor.user} must name a column",
        "request 'h': shape: the answer to HEAD has no body",
    ]
    for text in wanted:
        assert any(text in problem for problem in problems), (text, problems)


def test_a_sound_configuration_has_no_problems():
    """Every documented kind of placeholder passes, wherever it may stand."""
    config = endpoints(
        {
            "name": "a",
            "method": "POST",
            "path": "/a/{id}",
            "query": {"page": "{page}"},
            "headers": {"X-User": "{anchor.user.id}"},
            "json": {"deep": [{"name": "song {n}", "literal": "{{id}} { id } {}"}]},
            "params": {"id": [1]},
            "scale": {"page": [1, 2]},
        },
        login={"path": "/login", "form": {"name": "{anchor.user.name}"}},
    )
    assert check(config, ["user"]) == ()


def test_lookups_name_the_place_of_each_statement():
    """The driver is told which statements to run and where each stands."""
    config = endpoints({"name": "a", "path": "/{id}", "params": {"id": {"sql": "SELECT id FROM t"}}})
    assert [(item.sql, item.where) for item in lookups(config)] == [
        ("SELECT id FROM t", "suites.endpoints.request 'a': params.id")
    ]


def test_gaps_of_the_seeded_data_are_all_named():
    """A missing column, a NULL, an unknown anchor and an empty statement are each a problem."""
    config = endpoints(
        {
            "name": "a",
            "path": "/{anchor.user.idd}/{anchor.user.mail}/{anchor.none.id}/{id}",
            "params": {"id": {"sql": "SELECT 1"}},
        }
    )
    problems = gaps(config, Resolved(anchors={"user": {"id": 1, "mail": None}}, values={}))
    assert len(problems) == 4
    assert "anchor 'user' has no column 'idd'; did you mean 'id'?" in problems[0]
    assert "user.mail is NULL" in problems[1]
    assert "no anchor 'none'" in problems[2]
    assert "the statement gave no rows" in problems[3]


def test_values_are_encoded_in_paths_and_queries():
    """A value cannot break out of its place in a path or a query; booleans read as in JSON."""
    config = endpoints(
        {
            "name": "a",
            "path": "/ä b/{id}?fixed=1",
            "query": {"q": "{id}", "flag": True},
            "params": {"id": ["a/b?&ü"]},
        }
    )
    target = first(config).render(0).target
    assert target == "/%C3%A4%20b/a%2Fb%3F%26%C3%BC?fixed=1&q=a%2Fb%3F%26%C3%BC&flag=true"


def test_a_json_string_that_is_one_placeholder_keeps_the_type():
    """ "{id}" becomes the number 7; inside a longer text it becomes text; other braces stay."""
    config = endpoints(
        {
            "name": "a",
            "method": "POST",
            "path": "/",
            "json": {
                "id": "{id}",
                "text": "song {id} of {n}",
                "q": "{ a }",
                "raw": "{{id}}",
                "list": [1, None],
            },
            "params": {"id": [7]},
        }
    )
    sent = first(config).render(2)
    assert sent.body == b'{"id":7,"text":"song 7 of 3","q":"{ a }","raw":"{id}","list":[1,null]}'
    assert ("Content-Type", "application/json") in sent.headers


def test_request_i_takes_value_i_of_each_list():
    """Every list starts over at its own end."""
    config = endpoints({"name": "a", "path": "/{x}/{y}", "params": {"x": [1, 2], "y": ["p", "q", "r"]}})
    requests = first(config)
    targets = [requests.render(i).target for i in range(7)]
    assert targets == ["/1/p", "/2/q", "/1/r", "/2/p", "/1/q", "/2/r", "/1/p"]
    assert requests.distinct(5) == 5
    assert requests.distinct(100) == 6


def test_the_login_is_written_with_anchors():
    """The seeded user's name can be used to log in."""
    config = endpoints(BASE, login={"path": "/in", "form": {"name": "{anchor.user.name}"}})
    assert config.login is not None
    sent = login_request(config.login, Resolved(anchors={"user": {"name": "a b"}}))
    assert sent.body == b"name=a+b"
    assert ("Content-Type", "application/x-www-form-urlencoded") in sent.headers
