"""perf-gate.toml is read whole, and what is wrong in it is said at once, with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.config import Config
from gate.errors import ConfigError
from gate.toml import read_config, settings
from gate.toml.lines import positions

VALID = """\
# a comment
[target]
python = "python3.11"
install = [["{python}", "-m", "pip", "install", "-r", "requirements.txt"]]
start = ["{python}", "-m", "library"]

[target.env]
DATABASE_URL = "{postgres.url}"
SECRET_KEY = "a very long string"
UPSTREAM = "https://user:hunter2@example.org/api"
LOG_LEVEL = "info"

[services.postgres]
version = 18

[dataset.tables.songs]
rows = 1_000_000
columns.status = { values = { done = 9, failed = 1.0 }, nulls = "5%" }

[suites.endpoints]
timeout = "10s"

[[suites.endpoints.request]]
name = "list"
path = "/songs"
query = { page = 1, token = "abc" }
params.id = { sql = "SELECT id FROM songs" }
budgets.p95 = "400ms"

[[suites.endpoints.request]]
name = "sync"
method = "POST"
path = "/sync"
json = { ids = [1, 2], nested = [{ password = "pw" }] }
scale.n = [
    10,  # few
    40,
]
"""


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        read_config(text, name="perf-gate.toml")
    assert raised.value.exit_code == 2
    return raised.value.problems


def broken(old: str, new: str) -> tuple[str, ...]:
    """The problems of the valid file with one thing replaced."""
    assert VALID.count(old) == 1
    return problems(VALID.replace(old, new))


def line(text: str) -> int:
    return VALID[: VALID.index(text)].count("\n") + 1


def test_valid_file_becomes_config() -> None:
    """Values of every kind arrive, quantities in base units."""
    config = read_config(VALID, name="perf-gate.toml")
    assert isinstance(config, Config)
    assert config.suites.endpoints is not None
    assert config.suites.endpoints.timeout == 10.0
    first, second = config.suites.endpoints.request
    assert first.budgets.p95 is not None
    assert first.budgets.p95.target == pytest.approx(0.4)
    assert second.body == {"ids": [1, 2], "nested": [{"password": "pw"}]}
    assert second.scale == {"n": (10, 40)}
    assert config.dataset.tables["songs"].columns["status"].nulls == pytest.approx(0.05)


def test_date_without_quotes_is_text() -> None:
    """as_of = 2026-02-03 means what it says."""
    config = read_config(VALID + "\n[dataset]\nas_of = 2026-02-03\n", name="perf-gate.toml")
    assert config.dataset.as_of == "2026-02-03"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('timeout = "10s"', "wram = 3", "unknown key 'wram' in suites.endpoints; did you mean 'warmup'?"),
        (
            'timeout = "10s"',
            "zzz = 3",
            "unknown key 'zzz' in suites.endpoints; valid keys: growth, headers, login, request, requests, "
            "rounds, routes, timeout, warmup",
        ),
        (
            "version = 18",
            'version = "18"',
            'services.postgres.version: expected a whole number, found the text "18"',
        ),
        ("version = 18", "version = 9", "services.postgres.version: must be at least 14, found 9"),
        (
            'timeout = "10s"',
            'timeout = "soon"',
            'suites.endpoints.timeout: expected a duration such as 150ms, 2s or 6m, found the text "soon"',
        ),
        ('timeout = "10s"', "rounds = true", "suites.endpoints.rounds: expected a whole number, found true"),
        (
            'budgets.p95 = "400ms"',
            'budgets.p955 = "400ms"',
            "unknown key 'p955' in suites.endpoints.request 'list'.budgets; did you mean 'p95'?",
        ),
        (
            'params.id = { sql = "SELECT id FROM songs" }',
            "params.id = 7",
            "suites.endpoints.request 'list'.params.id: expected a list or a table, found the number 7",
        ),
        (
            'params.id = { sql = "SELECT id FROM songs" }',
            'params.id = { sqll = "SELECT id FROM songs" }',
            "unknown key 'sqll' in suites.endpoints.request 'list'.params.id; did you mean 'sql'?",
        ),
        (
            'method = "POST"',
            'method = "PSOT"',
            'suites.endpoints.request \'sync\'.method: expected one of "GET", "HEAD", "POST", "PUT", '
            '"PATCH", "DELETE", found the text "PSOT"; did you mean \'POST\'?',
        ),
        (
            'start = ["{python}", "-m", "library"]',
            'start = "flask run"',
            'target.start: expected a list of text in quotes, found the text "flask run"',
        ),
        (
            'install = [["{python}", "-m", "pip", "install", "-r", "requirements.txt"]]',
            "install = [[]]",
            "target.install element 1: must hold at least 1 element, found 0",
        ),
        (
            "rows = 1_000_000",
            "rows = inf",
            "dataset.tables.songs.rows: expected a whole number, found the number Infinity",
        ),
    ],
)
def test_wrong_line_is_named_with_what_was_expected(old: str, new: str, expected: str) -> None:
    """One problem gives one sentence: the line, the place, what was expected, what was found."""
    assert broken(old, new) == (f"perf-gate.toml:{line(old)}: {expected}",)


def test_rule_about_a_whole_table_points_at_its_head() -> None:
    """What a table's keys say together is said of the table."""
    assert broken('path = "/songs"', 'path = "songs"') == (
        f"perf-gate.toml:{line('[[suites')}: suites.endpoints.request 'list': "
        "path 'songs' must start with '/'",
    )


def test_missing_key_points_at_its_table() -> None:
    """What is not there has no line; its table has."""
    assert broken('start = ["{python}", "-m", "library"]\n', "") == (
        "perf-gate.toml:2: target: the key 'start' is missing; expected a list of text in quotes",
    )
    assert broken('name = "sync"\n', "") == (
        f"perf-gate.toml:{line('method = ') - 2}: suites.endpoints.request element 2: the key 'name' is "
        "missing; expected text in quotes",
    )


def test_missing_tables_are_named_as_tables() -> None:
    """An empty file says which tables it needs."""
    assert problems("") == (
        "perf-gate.toml:1: the table [services] is missing",
        "perf-gate.toml:1: the table [suites] is missing",
        "perf-gate.toml:1: the table [target] is missing",
    )


def test_all_problems_come_at_once_in_file_order() -> None:
    """Problems of every kind, also inside a misspelt table, are said in one run."""
    text = (
        VALID.replace("install =", "intall =")
        .replace("version = 18", 'version = "x"')
        .replace("[dataset.tables.songs]", "[datset.tables.songs]")
        .replace("rows = 1_000_000", "rows = -1")
        .replace('path = "/sync"', 'path = "sync"')
    )
    found = problems(text)
    assert [problem.split(": ")[1] for problem in found] == [
        "unknown key 'intall' in target; did you mean 'install'?",
        "services.postgres.version",
        "unknown key 'datset' at the top level; did you mean 'dataset'?",
        "dataset.tables.songs.rows",
        "suites.endpoints.request 'sync'",
    ]
    lines = [int(problem.split(":")[1]) for problem in found]
    assert lines == sorted(lines)


def test_no_word_of_the_validator_reaches_the_author() -> None:
    """No type names of the library, no addresses."""
    text = "\n".join(
        problems(VALID.replace("18", "[18]").replace('"10s"', "[]").replace('"/songs"', "{ a = 1 }"))
    )
    for word in ("pydantic", "http", "Input", "valid_", "str", "int_", "tuple", "dict", "NoneType"):
        assert word not in text


def test_no_suite_is_a_problem() -> None:
    """A file that measures nothing is refused."""
    text = VALID[: VALID.index("[suites.endpoints]")] + "[suites]\n"
    assert problems(text) == ("perf-gate.toml:1: suites: name at least one of endpoints and benchmarks",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[target]\nstart = \n", "perf-gate.toml:2:9: invalid value"),
        ("a = 1\na = 2\n", "perf-gate.toml:2:6: this key is given twice"),
        ("a = 'abc", 'perf-gate.toml:1:9: expected "\'"'),
    ],
)
def test_text_that_is_not_toml_has_line_and_column(text: str, expected: str) -> None:
    """A syntax error is one problem at its place."""
    assert problems(text) == (expected,)


def test_positions_know_every_way_to_write_a_key() -> None:
    """Tables, arrays of tables and their subtables, dotted and quoted keys, inline tables, lists."""
    text = (
        'a.b = 1\n"q.r" = 2\nc = { d = [1,\n 2, { e = 3 }] }\n[x.y]\n[[s]]\n[s.t]\nu = 1\n[[s]]\nv = 1\n[x]\n'
    )
    assert positions(text) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("q.r",): 2,
        ("c",): 3,
        ("c", "d"): 3,
        ("c", "d", 0): 3,
        ("c", "d", 1): 4,
        ("c", "d", 2): 4,
        ("c", "d", 2, "e"): 4,
        ("x",): 11,
        ("x", "y"): 5,
        ("s",): 6,
        ("s", 0): 6,
        ("s", 0, "t"): 7,
        ("s", 0, "t", "u"): 8,
        ("s", 1): 9,
        ("s", 1, "v"): 10,
    }


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    """No text makes the reader fail in another way."""
    with pytest.raises(ConfigError) as raised:
        read_config(text, name="f")
    assert all(problem.startswith("f:") for problem in raised.value.problems)


def shown() -> dict[str, tuple[str, str]]:
    config = read_config(VALID, name="perf-gate.toml")
    return {setting.name: (setting.value, setting.origin) for setting in settings(config, VALID)}


def test_settings_say_where_each_value_comes_from() -> None:
    """The file's values and the defaults, in base units, lists as one value."""
    found = shown()
    assert found["suites.endpoints.timeout"] == ("10", "file")
    assert found["suites.endpoints.rounds"] == ("100", "default")
    assert found["suites.endpoints.request.list.budgets.p95.target"] == ("0.4", "file")
    assert found["suites.endpoints.request.sync.scale.n"] == ("[10, 40]", "file")
    assert found["target.start"] == ('["{python}", "-m", "library"]', "file")
    assert found["dataset.tables.songs.columns.status.values.failed"] == ("1", "file")
    assert found["policy.inconclusive"] == ("pass", "default")
    assert found["target.env.LOG_LEVEL"] == ("info", "file")


def test_settings_hide_secrets() -> None:
    """What is named like a secret, and passwords inside URLs and commands, are not in the report."""
    found = shown()
    assert found["target.env.SECRET_KEY"] == ("***", "file")
    assert found["target.env.UPSTREAM"] == ("https://***@example.org/api", "file")
    assert found["target.env.DATABASE_URL"] == ("{postgres.url}", "file")
    assert found["suites.endpoints.request.list.query.token"] == ("***", "file")
    assert found["suites.endpoints.request.sync.json.nested.0.password"] == ("***", "file")
    text = VALID.replace(
        '"-m", "library"', '"--password=hunter2", "https://u:hunter2@host/", "a very long string"'
    )
    config = read_config(text, name="perf-gate.toml")
    values = "".join(setting.value for setting in settings(config, text))
    assert "hunter2" not in values
    assert "a very long string" not in values


def test_settings_hide_files_written_for_the_application() -> None:
    """A settings file of the application is where its secrets live."""
    text = VALID + "\n[[target.files]]\npath = 'local.py'\ntext = 'PIN = 1234'\n"
    found = {s.name: s.value for s in settings(read_config(text, name="f"), text)}
    assert found["target.files.0.text"] == "*** (10 characters)"
