"""The comment: its order, its size, and that nothing foreign in it acts."""

from __future__ import annotations

import dataclasses
import functools
import re
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from example_reports import CASES, EXAMPLES, SONG, equal_rows, n_plus_one, ran, regressed, report, row, timed
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gate.model import Case, Cause, Caveat, Environment, Finding, Level, Outcome, Pair, Report, State
from gate.report import format as f
from gate.report import markdown
from gate.report.markdown import cell, code, fenced

OURS = {"p", "strong", "code", "pre", "br", "ul", "li", "details", "summary"} | {
    *("table", "thead", "tbody", "tr", "th", "td")
}


class Outline(HTMLParser):
    """Tags, rows of tables by their number of cells, text outside of code, and each piece of code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[int] = []
        self.prose = ""
        self.codes: list[str] = []
        self._within = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append(0)
        elif tag in ("td", "th"):
            self.rows[-1] += 1
        elif tag == "code":
            self._within += 1
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        self._within -= tag == "code"

    def handle_data(self, data: str) -> None:
        if self._within:
            self.codes[-1] += data
        else:
            self.prose += data


def outline(text: str) -> Outline:
    """As GitHub's own library reads it, raw HTML and autolinks included."""
    return Outline(cmarkgfm.github_flavored_markdown_to_html(text, options=Options.CMARK_OPT_UNSAFE))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_comment_is_well_formed(name: str) -> None:
    """Only our elements, full rows, every fold closed, no empty line too many."""
    made = markdown(EXAMPLES[name]())
    seen = outline(made)
    assert seen.tags <= OURS
    assert set(seen.rows) <= {3, 6, 7, 11}
    assert made.count("<details>") == made.count("</details>")
    assert "\n\n\n" not in made
    assert made.endswith("\n")


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_first_line_is_the_verdict(name: str) -> None:
    """The state in words and the reason."""
    made = EXAMPLES[name]()
    first = markdown(made).splitlines()[0]
    reason = code(f.reason(made.verdict.reasons[0], 200))
    assert first.endswith(f" **perf-gate: {made.verdict.state.value}.** {reason}")


def test_blocking_rows_come_before_everything_folded() -> None:
    """What blocks is seen without a click, with its cause."""
    visible = markdown(n_plus_one()).split("<details>")[0]
    assert visible.count("🔴\u00a0blocked") == 1
    (line,) = [line for line in visible.splitlines() if "🔴\u00a0blocked" in line]
    assert "`SELECT ... FROM songs WHERE songs.id = $1 ran 200 times (was 1)`" in line
    assert "improved |" not in visible


def test_a_case_is_one_row_with_a_line_for_each_metric() -> None:
    """Its name and its statement stand there once; what each metric was stands in its own line."""
    (line,) = [
        line
        for line in markdown(n_plus_one()).splitlines()
        if "🔴\u00a0blocked` |" in line
        or (line.startswith("| 🔴\u00a0blocked") and "<br>`sql.blocks`<br>" in line)
    ]
    assert line.count("GET /api/playlists/{id}") == line.count("SELECT") == 1
    assert "`the same statement: 603 blocks (was 3), 200 rows (was 1)`" in line
    assert "| `sql.calls`<br>`sql.blocks`<br>`sql.rows` | 3<br>118<br>27 | 202<br>718<br>226 |" in line


def test_a_cause_is_shown_whole() -> None:
    """Where the code stands that sent it is what a reviewer needs: a line of its own, and not cut."""
    place = (
        "from examples/library/library/services/rows.py:30 song_row, called at examples/library/pages.py:72"
    )
    said = (
        f"{'SELECT ... FROM artists WHERE artists.id = $1 ran 30 times (was 0)'}; Index Scan is gone; {place}"
    )
    cause = dataclasses.replace(ran(SONG, 1, 30), summary=said)
    rows = [regressed(case, "sql.calls", 3, 33, cause=cause) for case in list(CASES)[:1]]
    assert f"`<br>`Index Scan is gone`<br>`{place}` |" in markdown(report(State.BLOCKED, ("x",), rows))


@pytest.mark.parametrize(
    "said",
    [
        "DELETE FROM a WHERE b = 'x; y' ran 3 times (was 1); Seq Scan",
        "DELETE FROM a WHERE b IN ('it''s; x', 'y; z') ran 3 times (was 1); Seq Scan",
        "head's answer is longer; base's is not",
    ],
)
def test_a_literal_of_a_statement_is_not_taken_apart(said: str) -> None:
    """A semicolon ends what is said, not what stands between quotes; an apostrophe is no quote."""
    rows = [regressed(next(iter(CASES)), "sql.calls", 3, 33, cause=Cause(summary=said))]
    visible = markdown(report(State.BLOCKED, ("x",), rows)).split("<details>")[0]
    assert "`<br>`".join(said.rsplit("; ", 1)) in visible


def test_cases_that_share_a_statement_say_it_once() -> None:
    """One line of code, four endpoints: the statement and where it is sent from stand at the first."""
    place = "; from a.py:30 song_row"
    rows = []
    for number, case in enumerate(list(CASES)[:4], 1):
        for metric, told in (
            ("sql.calls", f" ran {number}0 times (was 0){place}"),
            ("sql.rows", f": {number}0 rows (was 0)"),
        ):
            summary = f"SELECT ... FROM artists WHERE artists.id = $1{told}"
            cause = dataclasses.replace(ran(SONG, 1, 30), summary=summary)
            rows.append(regressed(case, metric, 3, 33 - number, cause=cause))
    visible = markdown(report(State.BLOCKED, ("x",), rows)).split("<details>")[0]
    assert visible.count("SELECT") == visible.count("a.py:30") == 1
    assert visible.count("`the same statement: ran ") == 3


def test_another_statement_is_not_called_the_same() -> None:
    """Two statements that differ in their select lists alone look alike in a row: each is named."""
    other = SONG.replace("songs.duration", "songs.isrc")
    asked = [("sql.calls", SONG, "calls"), ("sql.rows", other, "rows"), ("sql.blocks", other, "blocks")]
    rows = [
        regressed(next(iter(CASES)), metric, 3, 33 - number, cause=ran(sql, 1, 30, measure))
        for number, (metric, sql, measure) in enumerate(asked)
    ]
    visible = markdown(report(State.BLOCKED, ("x",), rows)).split("<details>")[0]
    assert visible.count("SELECT ... FROM songs") == 2
    assert visible.count("the same statement") == 1


def test_statement_is_shown_whole_in_the_evidence() -> None:
    """A reviewer reads the SQL, once, with all that it costs."""
    made = markdown(n_plus_one())
    assert made.count(f"```sql\n{SONG}\n```") == 1
    assert "calls 1 -> 200, blocks 3 -> 603, rows 1 -> 200, per request:" in made


def test_same_report_gives_the_same_bytes() -> None:
    """A comment is only written when it changes."""
    assert markdown(n_plus_one()) == markdown(n_plus_one())


def many(blocked: int, equal: int = 4000) -> Report:
    """A report with this many blocked rows among many equal ones, four blocked metrics a case."""
    metrics = ("sql.calls", "sql.blocks", "sql.rows", "redis.commands")
    rows = [
        regressed(
            Case(suite="endpoints", name=f"bad-{index // 4:04}"),
            metrics[index % 4],
            3,
            202 + index,
            label=f"GET /api/some/long/path/bad-{index // 4:04}",
            cause=ran(SONG, 1, 200 + index),
        )
        for index in range(blocked)
    ]
    rows += [
        row(
            Case(suite="endpoints", name=f"fine-{index}"),
            "sql.calls",
            3,
            3,
            Outcome.EQUIVALENT,
            label=f"GET /{index}",
        )
        for index in range(equal)
    ]
    return report(State.BLOCKED, ("many",), rows)


@pytest.mark.parametrize("blocked", [0, 3, 100, 400, 1200])
@pytest.mark.parametrize("limit", [20_000, 60_000])
def test_cut_to_size_loses_no_blocked_case(blocked: int, limit: int) -> None:
    """Equal rows go first; every blocked case is still named, and the cut says what it took."""
    made = markdown(many(blocked), limit=limit)
    assert len(made.encode()) <= limit
    assert "**Cut to fit.** Left out: " in made
    named = len(set(re.findall(r"bad-\d{4}", made)))
    if (blocked, limit) != (1200, 20_000):
        assert named == blocked // 4 + (blocked % 4 > 0)
    else:  # 300 names do not fit
        assert re.search(r"[\d,]+ of 300 cases that block", made)
    assert set(outline(made).rows) <= {3, 6, 7, 11}


def test_whole_report_says_nothing_of_a_cut() -> None:
    """Where all fits, nothing is left out."""
    assert "Cut to fit" not in markdown(many(3, equal=10))


def test_impossible_limit_still_gives_the_verdict() -> None:
    """The smallest comment is the verdict and what was left out, never an exception."""
    assert markdown(many(400), limit=10).startswith("🔴 **perf-gate: blocked.** `many`")


HOSTILE = [
    *("a|b", "a\\|b", "a\\\\|b", "|" * 130, "\\" * 119 + "|", "| x | y |", "\n\n| a |\n|--|\n"),
    *("`", "``", "`a", "a`", "a`b``c", "`" * 130, "```\nx\n```", "~~~", "a\n" + "`" * 300 + "\n<img src=x>"),
    *("", " ", "a\nb", "a\r\n\r\n# b", "\u202egnp", "\u200b", "\x00", "\ud800", "a" * 500),
    *("<img src=x onerror=alert(1)>", "</code></details><script>", "<details>", "<!-- x", "-->", "&lt;b&gt;"),
    *("@octocat", "#12", "https://evil.example", "www.evil.example", "a@b.example"),
    *("[a](http://b)", "![a](b)", "*a*", "{{ 7 * 7 }}", "{% raw %}"),
]
pieces = st.sampled_from(
    ["`", "|", "\\", "\n", "<", ">", "@a", "#1", "http://a.b", "[", "](", "!", "*", "<!--", "-->", "{{", "}}"]
)
texts = st.one_of(
    st.sampled_from(HOSTILE), st.lists(st.one_of(pieces, st.text(max_size=5)), max_size=20).map("".join)
)


def infested(name: str) -> Report:
    """A blocked report in which every string that could be foreign is this one."""
    bad = Case(suite="endpoints", name=name or "x", parameters=name)
    cause = dataclasses.replace(ran(SONG, 1, 200), summary=name)
    cause = dataclasses.replace(
        cause,
        differences=(
            dataclasses.replace(cause.differences[0], text=name, measure=name),
            dataclasses.replace(cause.differences[0], what="command", text=name),
        ),
    )
    foreign = {"label": name, "unit": name, "caveats": (Caveat(code=name, text=name),), "cause": cause}
    judged = (Outcome.REGRESSED, Outcome.INCONCLUSIVE, Outcome.IMPROVED, Outcome.EQUIVALENT)
    rows = [
        *(timed(bad, 0.004, 0.2, 0.1, outcome, **(foreign | {"unit": "s"})) for outcome in judged),
        regressed(bad, "sql.calls", 3, 202, **foreign),
        row(bad, name, 3, 1, Outcome.IMPROVED, **foreign),
        row(bad, "sql.rows", None, 1, Outcome.NEW, **foreign),
        row(bad, "sql.blocks", 3, 3, Outcome.EQUIVALENT, **foreign),
        *equal_rows(list(CASES)[:1]),
    ]
    made = n_plus_one()
    sides = dataclasses.replace(
        made.sides,
        head=dataclasses.replace(made.sides.head, ref=name),
        base=dataclasses.replace(made.sides.base, ref=name) if made.sides.base else None,
    )
    return dataclasses.replace(
        made,
        tool=name,
        verdict=dataclasses.replace(made.verdict, reasons=(name, name)),
        comparisons=tuple(rows),
        sides=sides,
        environment=Environment(
            os=name, cpu=name, python=name, postgres=name, provider=name, runner_class=name, cores=2
        ),
        findings=(Finding(name=name, level=Level.WARN, text=name),),
        caveats=(Caveat(code=name, text=name),),
        budgets=tuple(
            dataclasses.replace(check, label=name, metric=name, unit=name, reason=name)
            for check in made.budgets
        ),
        timings=tuple(dataclasses.replace(each, label=name) for each in made.timings),
        timeline=tuple(dataclasses.replace(each, name=name) for each in made.timeline),
        config=tuple(dataclasses.replace(each, value=name) for each in made.config),
        run=dataclasses.replace(
            made.run,
            plan=dataclasses.replace(made.run.plan, against=name, untimed=name or "x"),
            pairs=(
                Pair(number=1, stage="screen", cases=(bad,), seconds=2.0, measured=1.0),
                Pair(number=2, stage="confirm", cases=(bad,), seconds=2.0, lost=name or "x"),
            ),
        ),
    )


@functools.cache
def calm_outline() -> Outline:
    return outline(markdown(infested("calm")))


def assert_inert(name: str) -> None:
    made = markdown(infested(name))
    seen = outline(made)
    assert seen.tags <= OURS
    assert seen.attributes <= {"align", "lang"}
    assert set(seen.rows) <= {3, 6, 7, 11}
    calm = calm_outline()
    assert len(seen.rows) == len(calm.rows)
    # Nothing foreign stands outside of code: the prose is the same whatever the name.
    assert re.sub(r"\s+", " ", seen.prose) == re.sub(r"\s+", " ", calm.prose)


@pytest.mark.parametrize("name", HOSTILE)
def test_known_hostile_names_stay_inert(name: str) -> None:
    """No row, image, mention, link, comment or element comes out of a name, SQL or error text."""
    assert_inert(name)


@given(texts)
def test_any_text_stays_inert(name: str) -> None:
    """The same for what a generator can think of."""
    assert_inert(name)


@given(texts.filter(str.strip).map(lambda text: re.sub(r"[\s\x00\ud800-\udfff]|`{41,}", " ", text)))
@example("a\\|b")
def test_code_span_shows_the_text(text: str) -> None:
    """A name is shown as it is, not only harmlessly."""
    assume(text.strip())
    (shown,) = outline(code(text)).codes
    # CommonMark takes one space from both ends where both have one.
    assert shown in (text, text[1:-1]) or shown == text.strip(" ")


@given(texts)
def test_cell_never_ends_early(text: str) -> None:
    """A cell holding any text is one cell."""
    flat = re.sub(r"[\x00\ud800-\udfff\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", " ", text)
    seen = outline(f"| a | b |\n|--|--|\n| {cell(flat)} | {cell(flat)} |\n")
    assert seen.rows == [2, 2]


@given(texts)
def test_fence_holds_any_text(text: str) -> None:
    """No line of a statement closes its block."""
    flat = re.sub(r"[\x00\ud800-\udfff\r]", "?", text)
    seen = outline(f"{fenced(flat, 'sql')}\n\nafter\n")
    assert len(seen.codes) == 1
    assert seen.prose.strip() == "after"
