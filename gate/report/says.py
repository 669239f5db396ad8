"""The sentences of a report that every renderer says alike: the headline, the sides, the advice.

Each function gives plain text of which every foreign part is cleaned; Markdown quotes it again.
"""

from __future__ import annotations

import glob
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from gate.model import (
    GATED,
    Case,
    Cause,
    Caveat,
    Comparison,
    Kind,
    Level,
    Outcome,
    Pair,
    Report,
    SideInfo,
    State,
)
from gate.policy import unsettled
from gate.report import format as f
from gate.report.rows import Mark, Row, alone, first_adoption, gains, mark
from gate.timing import FEWEST, SCREEN_PAIRS

REASON = 200  # characters of a reason: the first is a whole report to many, in a list of checks
SENTENCE = 400  # of a caveat, a finding, a cause
_PAIRS = 1_000  # of a screen; a stranger's report may say any number
_HEX = frozenset("0123456789abcdef")
_COUNTED = {Mark.WARN: "warning", Mark.NOTE: "note"}  # the other marks are adjectives


def reasons(report: Report) -> tuple[str, ...]:
    """Why the verdict is what it is, worst first; at least one."""
    found = tuple(f.reason(reason, REASON) for reason in report.verdict.reasons)
    return found or ("no reason was recorded",)


def headline(report: Report) -> str:
    return f"{report.verdict.state.value}: {reasons(report)[0]}"


def tally(rows: Sequence[Row]) -> str:
    """ "72 rows of 8 cases: 3 blocked, 1 warning, 68 equal"."""
    counts = Counter(row.mark for row in rows)
    parts = [
        f.plural(counts[each], _COUNTED[each])
        if each in _COUNTED
        else f"{counts[each]:,} {each.value.lower()}"
        for each in Mark
        if counts[each]
    ]
    cases = len({row.comparison.case for row in rows})
    return (
        f"{f.plural(len(rows), 'row')} of {f.plural(cases, 'case')}: {', '.join(parts)}"
        if parts
        else "no rows"
    )


def commit(ref: str) -> str:
    """A commit as people name it; anything else as it is."""
    return ref[:10] if len(ref) >= 10 and set(ref) <= _HEX else f.clean(ref)


def sides(report: Report) -> str:
    """ "base 3f9ac21d04 (stored counts), head 91d2e4f1aa"."""
    return f"{base(report.sides.base, report)}, {head(report)}"


def base(side: SideInfo | None, report: Report, quote: Callable[[str], str] = str) -> str:
    """What base is and where its numbers come from. quote: for its commit."""
    if side is None:
        return "no base asked for" if report.run.plan.against == "none" else "no base"
    if side.stored and side.dirty:
        return "base a saved run of uncommitted edits"
    named = "the working tree" if snapshot(side, report) else quote(ref(side))
    if of_saved(report):
        return f"base {named} (a saved run)"
    return f"base {named}" + (" (stored counts)" if side.stored else " (measured in this run)")


def head(report: Report, quote: Callable[[str], str] = str) -> str:
    side = report.sides.head
    return "head the working tree with uncommitted edits" if side.dirty else f"head {quote(ref(side))}"


def snapshot(side: SideInfo, report: Report) -> bool:
    """Whether a side is a snapshot of uncommitted edits: on no branch, its name tells nobody anything."""
    head = report.sides.head
    return side.dirty or (head.dirty and side.ref == head.ref)


def ref(side: SideInfo) -> str:
    return commit(side.ref) or "of no commit"


def environment(report: Report) -> str:
    """The machine and the services on one line."""
    here = report.environment
    services = " and ".join(
        f"{name} {f.clean(version, 40)}"
        for name, version in (("Postgres", here.postgres), ("Redis", here.redis))
        if version
    )
    parts = (
        " ".join(f.clean(part, 60) for part in (here.os, here.arch) if part),
        f.clean(here.cpu, 60),
        f.plural(here.cores, "core") if here.cores else "",
        f"Python {f.clean(here.python, 20)}" if here.python else "",
        services + (f" ({f.clean(here.provider, 20)})" if here.provider else ""),
        f"{f.count(here.rows)} rows" if here.rows else "",
        f"runner class {f.clean(here.runner_class, 40)}" if here.runner_class else "",
    )
    return ", ".join(part for part in parts if part)


def timeline(report: Report) -> str:
    """ "64 s: seed 31 s, count 20 s": where the time went, in the order it went."""
    if not report.timeline:
        return ""
    total = sum(phase.seconds for phase in report.timeline)
    parts = ", ".join(f"{f.clean(phase.name, 40)} {f.seconds(phase.seconds)}" for phase in report.timeline)
    return f"{f.seconds(total)}: {parts}"


def measuring(report: Report) -> tuple[str, ...]:
    """How the time for timing was spent, stage by stage; what did not fit; which pairs were lost and why."""
    found = []
    kept = [pair for pair in report.run.pairs if pair.cases and not pair.lost and report.run.plan.timed]
    for stage in ("screen", "confirm"):
        if several := [pair for pair in kept if pair.stage == stage]:
            found.append(f"{stage}: {_spent(several)}")
    if found:
        whole, budget = sum(pair.seconds for pair in report.run.pairs), report.run.plan.time_budget
        beyond = whole > budget and f.seconds(whole) != f.seconds(budget)
        spent = f"{f.seconds(whole)}, more than" if beyond else f"{f.seconds(whole)} of"
        found.append(f"{spent} the time budget of {f.seconds(budget)}")
    found = ["; ".join(found)] if found else []
    found += filter(None, (_no_room(report, [pair for pair in kept if pair.stage == "screen"]),))
    lost: dict[str, list[Pair]] = {}
    for pair in report.run.pairs:
        if pair.lost:
            lost.setdefault(pair.lost, []).append(pair)
    for reason, several in lost.items():
        numbers = ", ".join(f"{pair.number}" for pair in several[:10]) + (", ..." if several[10:] else "")
        found.append(f"lost {f.plural(len(several), 'pair')} ({numbers}): {f.flat(reason, SENTENCE)}")
    return tuple(found)


def _no_room(report: Report, screen: Sequence[Pair]) -> str:
    """What the time budget had no room for, and about how much that takes; empty where no time hangs on it.

    screen: its pairs, those lost apart.
    """
    plan = report.run.plan
    times = [row for row in report.comparisons if row.kind is Kind.TIMING]
    if not screen or not any(caveat.code == "time-budget" for row in times for caveat in row.caveats[:1]):
        return ""
    left = plan.time_budget - sum(pair.seconds for pair in report.run.pairs)
    if len(screen) < (wanted := min(plan.screen, _PAIRS)):
        told = any(row.outcome is not Outcome.INCONCLUSIVE for row in times)
        text = f"too short for {'some times' if told else 'any time'} to be decided: "
        text += f"the time budget ended the screen after {f.plural(len(screen), 'pair')} of {wanted}"
        text += f", for the next one might not have fitted the {f.seconds(left)} left" if left > 0 else ""
        turns = [pair.seconds for pair in screen if pair.number > plan.passes]  # the others count too
        more = (wanted - len(screen)) * max(turns or [pair.seconds for pair in screen])
        text += f"; {wanted} pairs take about {f.seconds(sum(pair.seconds for pair in screen) + more)}"
        return f"{text} (--time-budget), and 0 leaves timing out"
    suites = {case.suite for pair in screen for case in pair.cases}
    start = statistics.median(pair.start for pair in screen) / len(suites)
    pair = start + min((pair.seconds - pair.start) / len(pair.cases) for pair in screen)
    if not 0 < left < FEWEST * pair:
        return ""
    needs = f"{FEWEST} pairs of at least {f.seconds(pair)}, {f.seconds(FEWEST * pair)} in all"
    return f"{f.seconds(left)} of the time budget were left, too few for another confirm: {needs}"


def untimed(report: Report) -> str:
    """Why nothing was timed side by side; empty where something was, or nothing was to be."""
    why = report.run.plan.untimed
    return f"not timed side by side: {f.flat(why, SENTENCE)}" if why else ""


def _spent(pairs: Sequence[Pair]) -> str:
    """ "8 pairs of 25 cases in 2 min 41 s, 64 % inside measured work, 12 % warm-up"."""
    seconds = sum(pair.seconds for pair in pairs)
    cases = len({case for pair in pairs for case in pair.cases})
    text = f"{f.plural(len(pairs), 'pair')} of {f.plural(cases, 'case')} in {f.seconds(seconds)}"
    if not seconds > 0:
        return text
    measured, warm = (f.roughly(part / seconds) for part in _parts(pairs))
    return f"{text}, {measured} inside measured work, {warm} warm-up"


def _parts(pairs: Sequence[Pair]) -> tuple[float, float]:
    return sum(pair.measured for pair in pairs), sum(pair.warm for pair in pairs)


def baselines(report: Report) -> str:
    """The directory of the baselines, as configured."""
    named = next((s.value for s in report.config if s.name == "baselines"), "baselines")
    return f.clean(named)


def accepting(report: Report) -> tuple[str, ...]:
    """The commands that accept what blocks, in order; none where nothing blocks that can be accepted."""
    cases = _blocked(row for row in report.comparisons if row.metric != "errors")
    if not cases or _of_two_refs(report) or of_saved(report):
        return ()
    names = [f.quoted(str(case)) for case in cases]
    named = [name for name in names if name is not None]
    arguments = named if len(named) == len(cases) <= 10 else ["--all"]
    command = ["perf-gate", "accept", *_flags(report, "--config"), *arguments]
    return (" ".join(command), *_committed(report))


def adopting(report: Report) -> tuple[str, ...]:
    """The commands of a first adoption; none where something was compared."""
    if not first_adoption(report) or report.verdict.state is State.ERROR:
        return ()
    if _of_two_refs(report) or of_saved(report):
        return ()
    command = ["perf-gate", "baseline", "update", *_flags(report, "--config")]
    return (" ".join(command), *_committed(report))


def _committed(report: Report) -> tuple[str, ...]:
    """The command that commits the baselines; none where their directory cannot be named in one."""
    directory = f.quoted(baselines(report))
    return (f"git add -- {directory} && git commit",) if directory else ()


def fetching(report: Report, commit: str) -> str:
    """The command that checks out what was measured, where that is `commit`; empty where it is not.

    commit: one that GitHub names and hands out, such as its trial merge of a pull request.
    """
    head = report.sides.head
    if head.dirty or head.ref != commit or len(commit) != 40 or not set(commit) <= _HEX:
        return ""
    return f"git fetch origin {commit} && git checkout --detach {commit}"


def reproducing(report: Report) -> str:
    """The command that repeats this comparison on a checkout of head, or in its working tree.

    With whatever changes what is measured, given by a flag or, as in CI, by the environment; of a run in
    which one case blocks it measures that one.
    """
    if of_saved(report):
        files = (*_given(report, "--base"), *_given(report, "--head"))
        return " ".join(("perf-gate", "compare", *files, *_flags(report, "--config")))
    return " ".join(("perf-gate", *_compared(report), *_measured_with(report)))


def measuring_anew(report: Report) -> str:
    """The same on a branch that goes on from head, where base is what the branch started from."""
    return " ".join(("perf-gate", "run", *_measured_with(report)))


def only_blocked(report: Report) -> bool:
    """Whether `reproducing` measures the one case that blocks, and no other."""
    return bool(_only(report))


# What `run` and `ab` do without a flag, as a report records it: the environment of a job may say so too.
_DEFAULTS = {"--config": "perf-gate.toml", "--services": "auto", "--only": "*", "--time-budget": "360.0"}


def _measured_with(report: Report) -> list[str]:
    """The flags that decide what is measured, sides apart."""
    names = ("--config", "--services", "--suite", "--scale", "--time-budget")
    only = _only(report)
    return [*_flags(report, *names), *(("--only", only) if only else _flags(report, "--only"))]


def _flags(report: Report, *names: str) -> list[str]:
    return [part for name in names for value in _given(report, name) for part in (name, value)]


def _only(report: Report) -> str:
    """The one case that blocks, as a glob that means it alone; empty where there is another or none."""
    cases = {row.case for row in report.comparisons if mark(row) is Mark.BLOCKED}
    cases |= {check.case for check in report.budgets if check.blocking}
    about = {finding.case for finding in report.findings if finding.level is Level.BLOCK}
    one = cases | {case for case in about if case}
    if len(one) != 1 or None in about or of_saved(report):
        return ""
    (case,) = one
    return (f.quoted(glob.escape(str(case))) or "") if _measured(report, case) else ""


def _compared(report: Report) -> list[str]:
    """The command and its sides: "run --against 3f9ac21d04", or "ab main topic"."""
    if two := _given(report, "--a"):
        changes = _flags(report, "--env", "--postgres", "--redis")
        return ["ab", *two, *_given(report, "--b"), *changes]
    against, side = report.run.plan.against, report.sides.base
    named = side is not None and side.ref and not snapshot(side, report)
    if side is not None and named and against not in ("stored", "none"):
        against = commit(side.ref)
    return ["run"] if against == "auto" else ["run", "--against", f.quoted(against) or "auto"]


# How a flag that may be given several times is recorded: ('endpoints',) or (('LOG', 'off'), ('X', '1')).
# Of any other a stranger's report may say the like: it is one value, or one argument would become several.
_SEVERAL = re.compile(r"\(('[^'\\]*'(, )?)+,?\)")
_ASSIGNED = re.compile(r"\((\('[^'\\]*', '[^'\\]*'\)(, )?)+,?\)")
_ASSIGNING = ("--env", "--postgres", "--redis")
_NUMBERS = ("--scale", "--time-budget")


def _of_two_refs(report: Report) -> bool:
    """Whether it is a report of `ab`, which looks at no baselines."""
    return _stated(report, "--a") is not None


def of_saved(report: Report) -> bool:
    """Whether it is a report of `compare`, which holds one saved run against another and measures nothing."""
    return _stated(report, "--base") is not None


def _stated(report: Report, name: str) -> str | None:
    """What a report records of a flag of its run; None where that had its default."""
    setting = next((s for s in report.config if s.name == name and s.origin in ("flag", "env")), None)
    return None if setting is None or setting.value in ("None", "()", _DEFAULTS.get(name)) else setting.value


def _given(report: Report, name: str) -> tuple[str, ...]:
    """The values of a flag of this run, quoted for a shell; none where it had its default."""
    value = _stated(report, name)
    if value is None:
        return ()
    values = [value.removesuffix(".0") if name in _NUMBERS else value]
    if name in _ASSIGNING and _ASSIGNED.fullmatch(value):
        values = ["=".join(pair) for pair in re.findall(r"\('([^']*)', '([^']*)'\)", value)]
    elif name == "--suite" and _SEVERAL.fullmatch(value):
        values = re.findall(r"'([^']*)'", value)
    quoted = [f.quoted(each) for each in values]
    return tuple(each for each in quoted if each is not None)


def _blocked(rows: Iterable[Comparison]) -> list[Case]:
    """The cases of the rows that block, each once, in the order of the report."""
    return list(dict.fromkeys(row.case for row in rows if mark(row) is Mark.BLOCKED))


def _measured(report: Report, case: Case) -> bool:
    return any(planned.case == case for planned in report.run.plan.cases)


def allowed(report: Report) -> str:
    """What times are allowed, "5 %" or "2 % to 5 %"."""
    shares = sorted(
        {row.allowed for row in report.comparisons if row.metric in GATED and row.allowed is not None}
    )
    return " to ".join(map(f.share, dict.fromkeys((shares[0], shares[-1])))) if shares else f.UNKNOWN


def below(
    judged: Sequence[Row], shown: Sequence[Row], *, said: Sequence[str], limit: int
) -> tuple[tuple[str, ...], ...]:
    """By row of a table: what stands below it.

    shown: every row of the report, for what a blocked case does better; said: what is said of several rows
    elsewhere. limit: characters of a note; a blocked case's first cause may have more, since the headline
    may have cut it. Neighbours that share a cause say it once, and a statement they share too: the whole
    statement, of which a cause's sentence leaves out the select list.
    """
    gained = gains(shown)
    blocked = [row for row in shown if row.mark is Mark.BLOCKED]
    # Gains are counts: they stand below the last count that blocks, or below the time where none does.
    last = {row.comparison.case: row for row in sorted(blocked, key=lambda row: not row.timed)}
    led: set[Case] = set()
    needed = _needed(shown)
    found: list[tuple[str, ...]] = []
    before: list[str] = []  # causes of one statement, of which the first names it
    behind = ""  # that statement, whole
    for row in judged:
        case, cause = row.comparison.case, row.comparison.cause
        leads = row.mark is Mark.BLOCKED and case not in led
        notes = [sure(row.comparison, needed)] if row.timed else []
        if cause and _statement(cause) != behind:
            before, behind = [], _statement(cause)
        if cause and cause.summary not in before[-1:]:
            told = f.continued(cause.summary, before)
            notes.append(f.shortened(told, SENTENCE if leads else limit))
            before = [*(before if told != cause.summary else ()), cause.summary]
        notes += [f.worded(f"caveat: {text}", limit) for text in _doubts(row, said, limit)]
        if row.timed and row.mark is Mark.IMPROVED and case in last:
            notes.append("blocked all the same, by its counts")
        if row == last.get(case) and case in gained:
            notes.append(f.worded(f"better in the same case: {', '.join(map(_gain, gained[case]))}", limit))
        led |= {case} if leads else set()
        before = before if cause else []
        found.append(tuple(note for note in notes if note))
    return tuple(found)


def _statement(cause: Cause) -> str:
    """What the cause's sentence is about, whole; empty where it is about no part of the work."""
    return cause.differences[0].text if cause.differences else ""


def _needed(shown: Sequence[Row]) -> int | None:
    """Pairs in a confirm that most times which could not be told need; None where no two need as many."""
    found = Counter(_wanting(row.comparison) for row in shown if row.mark is Mark.INCONCLUSIVE)
    del found[None]
    return next((needed for needed, rows in found.most_common(1) if rows > 1), None)


def needing(shown: Sequence[Row]) -> str:
    """What several times that could not be told have in common: how many pairs would tell; or nothing."""
    needed = _needed(shown)
    if needed is None:
        return ""
    untold = [_wanting(row.comparison) for row in shown if row.mark is Mark.INCONCLUSIVE]
    times = untold.count(needed)
    which = "each inconclusive time" if times == len(untold) else f"{times} of the inconclusive times"
    return f"about {needed:,} confirm pairs needed for {which}"


def _wanting(row: Comparison) -> int | None:
    """Pairs in a confirm that would tell; None too where a whole screen may spare it."""
    return None if row.stage == "screen" and row.pairs < SCREEN_PAIRS else row.needed


def sure(row: Comparison, needed: int | None = None) -> str:
    """A time's interval and what it rests on; where it was not told, what would have been, and what it takes.

    "-2.0 % to +8.4 % at 90 %, 24 confirm pairs; from +9.6 % it would have been caught".
    needed: pairs that are said of several rows together.
    """
    known = []
    if row.interval is not None and row.kind is Kind.TIMING:
        known.append(f"{f.bounds(row.interval)} at {f.share(row.interval.confidence)}")
    if row.pairs:
        known.append(f.plural(row.pairs, f"{row.stage} pair" if row.stage else "pair"))
    parts = [", ".join(known)]
    if row.outcome is Outcome.INCONCLUSIVE:
        if row.mde is not None:
            parts.append(f"from {f.tenths(1 + row.mde)} it would have been caught")
        if row.needed is None and any(caveat.code == "too-noisy" for caveat in row.caveats):
            parts.append("more pairs would hardly tell")
        if (wanting := _wanting(row)) not in (None, needed):
            parts.append(f"about {wanting:,} confirm pairs needed")
    return "; ".join(part for part in parts if part)


def _doubts(row: Row, said: Sequence[str], limit: int) -> list[str]:
    texts = [
        f.flat(caveat.text, limit)
        for caveat in row.comparison.caveats
        # Said by the numbers of pairs, and for all rows together.
        if not (row.timed and caveat.code in ("time-budget", "too-noisy"))
    ]
    return [text for text in texts if not any(text in each for each in said)]


def _gain(row: Row) -> str:
    comparison = row.comparison
    base, head = f.both(comparison.base, comparison.head, comparison.unit)
    return f"{f.clean(comparison.metric, 40)} {base} -> {head}"


def untold(report: Report) -> tuple[str, ...]:
    """Why times could not be told and what would tell, "3 times did not fit the time budget (...)"."""
    return tuple(f"{f.plural(n, 'time')} {why}" for n, why in _unsettled(report))


def _unsettled(report: Report) -> list[tuple[int, str]]:
    rows = [row for row in report.comparisons if row.outcome is Outcome.INCONCLUSIVE]
    return [(n, f.flat(why, SENTENCE)) for n, why in unsettled(rows)]


def doubts(report: Report, rows: Sequence[Row]) -> tuple[str, ...]:
    """Caveats of the whole report, then of rows that are only counted, each once with its rows.

    Among them why times could not be told, where no reason of the verdict says it.
    """
    where: dict[Caveat, list[Row]] = {}
    for row in rows:
        if row.mark is Mark.EQUAL or alone(row):
            for caveat in row.comparison.caveats:
                if not _found(caveat, row, report):
                    where.setdefault(caveat, []).append(row)
    found = [f.flat(caveat.text, SENTENCE) for caveat in report.caveats]
    spoken = reasons(report)
    found += [
        f"{f.plural(n, 'time')} {why}"
        for n, why in _unsettled(report)
        if not any(why in reason for reason in spoken)
    ]
    for caveat, several in where.items():
        found.append(f"{_whose(several)}: {f.flat(caveat.text, SENTENCE)}")
    return tuple(dict.fromkeys(found))


def _found(caveat: Caveat, row: Row, report: Report) -> bool:
    """Whether a finding says it already."""
    case = row.comparison.case
    return any(finding.case == case and caveat.text in finding.text for finding in report.findings)


def _whose(several: Sequence[Row]) -> str:
    title = f.clean(several[0].title)
    cases = len({row.comparison.case for row in several})
    if len(several) == 1:
        return f"{title} {f.clean(several[0].comparison.metric, 40)}"
    return f"{title}, {len(several)} rows" if cases == 1 else f"{len(several)} rows of {cases} cases"
