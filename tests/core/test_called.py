"""Calls counted in one iteration: the line that calls more, and not all that follows from it."""

from __future__ import annotations

from gate.explain.called import Call, Function, more_called

TEST = Function("", "conftest.measured")
ANALYSE = Function("library/lyrics.py", "analyse")
RHYMES = Function("library/lyrics.py", "rhyme_scheme")
ENDING = Function("library/lyrics.py", "_ending")
DEBUG = Function("", "logging.Logger.debug")


def call(caller, line, text, callee, calls):
    return Call(caller, line, text, callee, calls)


BASE = [
    call(TEST, 9, "", ANALYSE, 100),
    call(ANALYSE, 95, "rhymes = rhyme_scheme(verse)", RHYMES, 100),
    call(RHYMES, 61, "return _ending(line)", ENDING, 2_000),
]
LOGGED = [
    call(TEST, 9, "", ANALYSE, 100),
    call(ANALYSE, 98, "rhymes = rhyme_scheme(verse)", RHYMES, 100),
    call(ANALYSE, 122, 'log.debug(f"{rhyme_scheme(verse)}")', RHYMES, 100),
    call(ANALYSE, 122, 'log.debug(f"{rhyme_scheme(verse)}")', DEBUG, 100),
    call(RHYMES, 64, "return _ending(line)", ENDING, 4_000),
]


def told(*sides, touched=()):
    return [(each.text, each.before, each.after) for each in more_called(*sides, touched)]


def test_the_line_that_was_added_is_named_and_what_follows_from_it_is_not():
    """Whatever its number; the endings are twice as many because the rhymes are."""
    assert told(BASE, LOGGED, touched={"library/lyrics.py"}) == [
        ("rhyme_scheme, called at library/lyrics.py:122 analyse (changed here),", 100, 200),
        ("logging.Logger.debug, called at library/lyrics.py:122 analyse (changed here),", 0, 100),
    ]


def test_equal_calls_and_fewer_say_nothing():
    assert told(BASE, BASE) == []
    assert told(LOGGED, BASE) == []
    assert told([], []) == []


def test_a_new_function_is_told_of_by_the_line_that_calls_it():
    """Not by what it calls itself."""
    helper = Function("library/lyrics.py", "helper")
    head = [*BASE, call(ANALYSE, 99, "helper()", helper, 100), call(helper, 7, "x()", ENDING, 5_000)]
    assert told(BASE, head) == [("helper, called at library/lyrics.py:99 analyse,", 0, 100)]


def test_twice_the_calls_of_the_outermost_are_its_callers_alone():
    """All beneath is called twice as often in all, and as often each time."""
    route = Function("library/api.py", "route")
    base = [call(TEST, 1, "", route, 1), call(route, 4, "analyse(x)", ANALYSE, 50), *BASE[1:]]
    base[2:] = [call(ANALYSE, 95, "rhyme_scheme(verse)", RHYMES, 50)]
    head = [
        call(TEST, 1, "", route, 1),
        call(route, 4, "analyse(x)", ANALYSE, 100),
        call(ANALYSE, 95, "rhyme_scheme(verse)", RHYMES, 100),
    ]
    assert told(base, head) == [("analyse, called at library/api.py:4 route,", 50, 100)]


def test_a_side_that_is_not_known_is_no_side_without_calls():
    benchmark = Function("benchmarks/test_lyrics.py", "test_analyse.<locals>.<lambda>")
    head = [call(benchmark, 12, "benchmark(lambda: analyse(x))", ANALYSE, 1)]
    assert told([], head) == []
    assert told(BASE, head) == [
        ("analyse, called at benchmarks/test_lyrics.py:12 test_analyse.<locals>.<lambda>,", 0, 1)
    ]
