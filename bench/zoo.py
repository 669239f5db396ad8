"""The regression zoo: does the gate answer every planted change as its header says, and name the cause?

    python -m bench.zoo [--only 'D1*'] [--services embedded] [--time-budget 6m] [--ref HEAD] [--table]

Each patch of tests/regressions is committed on top of a clone of REF and judged as a pull request is, by
`perf-gate run --against HEAD~1`: all cases without times, or with `Needs: timing` its own cases with times
(`--time-budget 0` leaves these patches out). Every run is a line of bench/results/zoo.jsonl. A line counts
as long as neither the patch's diff nor what REF holds of the gate and of the application has changed, so
that an interrupted round goes on where it was; a header can be mended without a new run. `--table` tells the
last line of each patch's diff, whatever it was put on, and says on which commits that was. Exits 1 where an
answer or a cause is not what the header says, or a patch has not been run.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bench import _runs as runs
from bench._runs import Clone, Line, Results

ZOO = runs.ROOT / "tests" / "regressions"
ANSWERS = ("block", "warn", "note", "improve", "pass")
HARMLESS = "harmless"
PATIENCE = 3  # runs in a row without a report


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A change and what the gate must say of it (tests/regressions/README.md has the header's lines).

    row: of CASES.md, "D1", or "harmless". cases: globs in which brackets stand for themselves; one of them
    must be named by a row that answers. metrics: of which one must be that row's; empty is any.
    causes: words or regular expressions, each of which the row's cause must hold. diff: from its first line.
    """

    path: Path
    subject: str
    row: str
    plants: str
    answer: str
    cases: tuple[str, ...]
    metrics: tuple[str, ...]
    causes: tuple[str, ...]
    timed: bool
    diff: str

    @classmethod
    def read(cls, path: Path) -> Patch:
        """Raises ValueError where the header lacks a line or a line cannot be read."""
        head, found, rest = path.read_text(encoding="utf-8").partition("\ndiff ")
        header: dict[str, list[str]] = {}
        for line in filter(None, head.splitlines()):
            name, colon, value = line.partition(": ")
            if not colon or not value.strip():
                raise ValueError(f"{path.name}: not a line of a header: {line!r}")
            header.setdefault(name, []).append(value.strip())
        missing = [name for name in ("Subject", "Row", "Plants", "Answer", "Cases") if name not in header]
        if missing or not found:
            raise ValueError(f"{path.name}: no {', '.join(missing) or 'diff'}")
        if header["Answer"][0] not in ANSWERS:
            raise ValueError(f"{path.name}: Answer is one of {', '.join(ANSWERS)}")
        for pattern in header.get("Cause", ()):
            re.compile(pattern)
        return cls(
            path=path,
            subject=header["Subject"][0],
            row=header["Row"][0],
            plants=header["Plants"][0],
            answer=header["Answer"][0],
            cases=tuple(header["Cases"]),
            metrics=tuple(header.get("Metric", ())),
            causes=tuple(header.get("Cause", ())),
            timed="timing" in header.get("Needs", ()),
            diff="diff " + rest,
        )

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.diff.encode()).hexdigest()[:10]

    def about(self, case: str) -> bool:
        return any(fnmatchcase(case, escaped(glob)) for glob in self.cases)

    def only(self) -> str:
        """What --only gets for a patch that needs times, which has one glob."""
        return escaped(self.cases[0])


def escaped(glob: str) -> str:
    return glob.replace("[", "[[]")


def patches(glob: str = "*") -> list[Patch]:
    return [Patch.read(path) for path in sorted(ZOO.glob(f"{glob}.patch"))]


# Running


def main() -> int:
    options = _options()
    runs.end_on_sigterm()
    chosen = [p for p in patches(options.only) if options.time_budget != "0" or not p.timed]
    if not chosen:
        sys.exit(f"no patch in {ZOO.relative_to(runs.ROOT)} matches {options.only}, or all need times")
    results = Results(options.results)
    with runs.clone(options.ref) as clone:
        if not options.table:
            campaign(results, chosen, clone, options)
        known = done(results, chosen, None if options.table else clone.version)
    return conclusion(chosen, known)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="*", help="a glob of file names in tests/regressions, no .patch")
    parser.add_argument("--services", default="embedded", choices=["auto", "embedded", "docker", "system"])
    parser.add_argument("--time-budget", default="6m", help="of a patch that needs times; 0 leaves it out")
    parser.add_argument("--ref", default="HEAD", help="the commit that the patches are put on")
    parser.add_argument("--results", type=Path, default=runs.RESULTS / "zoo.jsonl")
    parser.add_argument("--table", action="store_true", help="run nothing, tell the last lines")
    return parser.parse_args()


def campaign(results: Results, chosen: Sequence[Patch], clone: Clone, options: argparse.Namespace) -> None:
    """Every patch without a line that counts; those that need times last."""
    failed = 0
    for patch in sorted(chosen, key=lambda patch: patch.timed):
        if patch.name in done(results, chosen, clone.version):
            continue
        commit(clone, patch)
        line = gate(clone, patch, services=options.services, budget=options.time_budget)
        results.add(line)
        judged = judge(patch, line)
        print(f"{patch.name}: {line['seconds']:.0f} s, {judged.told()}", flush=True)
        failed = failed + 1 if "error" in line else 0
        if failed == PATIENCE:
            sys.exit(f"{PATIENCE} runs in a row gave no report: {line['error'][-500:]}")


def done(results: Results, chosen: Sequence[Patch], version: str | None) -> dict[str, Line]:
    """The last line of each patch, by name, that still counts; without a version, of its diff."""
    digests = {patch.name: patch.digest for patch in chosen}
    return {
        line["patch"]: line
        for line in (results.complete(version=version) if version else results.complete())
        if digests.get(line["patch"]) == line["digest"]
    }


def commit(clone: Clone, patch: Patch) -> None:
    """The patch as the one commit on top, with nothing of an earlier one left."""
    clone.git("checkout", "--quiet", "--force", "--detach", clone.commit)
    clone.git("clean", "--quiet", "-fd")
    clone.git("apply", "--whitespace=nowarn", str(patch.path))
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message", patch.subject)


def gate(clone: Clone, patch: Patch, *, services: str, budget: str) -> Line:
    """One run over the patch, as the line that is kept of it."""
    timed = ("--time-budget", budget, "--only", patch.only()) if patch.timed else ("--time-budget", "0")
    line, report = runs.run(clone, "--against", "HEAD~1", *timed, services=services)
    return {"patch": patch.name, "digest": patch.digest} | line | (summary(report) if report else {})


def summary(report: Mapping[str, Any]) -> Line:
    """What is kept of a report: the verdict, and all that is not as it was.

    rows: comparisons that are worse, better, gone, new or unknown; `cause` is all the text of their cause.
    findings, budgets: those above a note, as rows.
    """
    rows = [_row(row) for row in report["comparisons"] if row["outcome"] != "equivalent"]
    rows += [_other(each, each["name"]) for each in report["findings"] if each["level"] != "note"]
    rows += [_other(each, each["metric"]) for each in report["budgets"] if each["level"] != "note"]
    return {
        "verdict": report["verdict"]["state"],
        "reasons": list(report["verdict"]["reasons"][:5]),
        "rows": rows,
        "timeline": {phase["name"]: round(phase["seconds"], 1) for phase in report["timeline"]},
    }


def _row(row: Mapping[str, Any]) -> Line:
    return {
        "case": runs.case_of(row["case"]),
        "metric": "missing" if row["outcome"] == "missing" else row["metric"],
        "outcome": row["outcome"],
        "level": row["level"],
        "blocking": row["blocking"],
        "base": row["base"],
        "head": row["head"],
        "cause": " | ".join(_texts(row["cause"])),
    }


def _other(each: Mapping[str, Any], name: str) -> Line:
    return {
        "case": runs.case_of(each["case"]) if each.get("case") else "",
        "metric": name,
        "outcome": "regressed",
        "level": each["level"],
        "blocking": each.get("blocking", each["level"] == "block"),
        "base": None,
        "head": each.get("value"),
        "cause": " | ".join(filter(None, (each.get("text", ""), each.get("reason", "")))),
    }


def _texts(value: Any) -> Iterator[str]:
    """Every text of a cause, whatever its shape: a statement, a command, a plan, a function."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


# Judging


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One patch and what was answered.

    answered: an answer, "inconclusive" or "error", with " elsewhere" where no expected row gives it.
    right: as the header says. named: whether the cause is; None where there is none to name.
    """

    answered: str
    right: bool
    named: bool | None

    def told(self) -> str:
        cause = {None: "", True: ", cause named", False: ", cause not named"}[self.named]
        return f"{self.answered}{'' if self.right else ' (WRONG)'}{cause}"


def judge(patch: Patch, line: Mapping[str, Any]) -> Judged:
    """The line held against the header."""
    if "error" in line or line["verdict"] == "error":
        return Judged(answered="error", right=False, named=False if patch.causes else None)
    answered = _answered(patch, line)
    rows = [row for row in line["rows"] if _answers(row, answered) and patch.about(row["case"])]
    telling = [row for row in rows if not patch.metrics or row["metric"] in patch.metrics]
    wanted = telling or answered == "pass"
    right = answered == patch.answer and bool(wanted) and line["code"] == (answered == "block")
    named = None
    if patch.causes:
        named = right and any(all(holds(row["cause"], cause) for cause in patch.causes) for row in telling)
    return Judged(
        answered=answered if wanted or answered == "inconclusive" else f"{answered} elsewhere",
        right=right,
        named=named,
    )


def holds(text: str, cause: str) -> bool:
    """Whether the words stand in the text, or the regular expression is found in it."""
    return cause in text or re.search(cause, text) is not None


def _answered(patch: Patch, line: Mapping[str, Any]) -> str:
    """The strongest thing that the report says. What is merely better or new is said only if asked for."""
    for answer in ("block", "warn"):
        if any(_answers(row, answer) for row in line["rows"]):
            return answer
    if line["verdict"] == "inconclusive":
        return "inconclusive"
    if patch.answer in ("improve", "note") and any(_answers(row, patch.answer) for row in line["rows"]):
        return patch.answer
    return "pass"


def _answers(row: Mapping[str, Any], answer: str) -> bool:
    if answer == "block":
        return bool(row["blocking"])
    if answer == "warn":
        return bool(row["level"] == "warn" and row["outcome"] == "regressed")
    if answer == "note":
        return bool(row["level"] == "note" and row["outcome"] in ("regressed", "new"))
    return bool(answer == "improve" and row["outcome"] == "improved")


# Telling


def conclusion(chosen: Sequence[Patch], known: Mapping[str, Line]) -> int:
    judged = {patch.name: judge(patch, known[patch.name]) for patch in chosen if patch.name in known}
    print()
    print(
        runs.table(("patch", "row", "expected", "answered", "cause named", "s"), list(_cells(chosen, known)))
    )
    print()
    print("\n".join(totals(chosen, judged)))
    commits = Counter(known[name]["commit"] for name in judged)
    print("put on " + ", ".join(f"{commit} ({count})" for commit, count in commits.items()))
    wrong = any(not each.right or each.named is False for each in judged.values())
    return 1 if wrong or len(judged) < len(chosen) else 0


def _cells(chosen: Sequence[Patch], known: Mapping[str, Line]) -> Iterator[tuple[str, ...]]:
    for patch in chosen:
        if patch.name not in known:
            yield patch.name, patch.row, patch.answer, "not run", "", ""
            continue
        line = known[patch.name]
        judged = judge(patch, line)
        named = {None: "-", True: "yes", False: "no"}[judged.named]
        answered = judged.answered if judged.right else f"**{judged.answered}**"
        yield patch.name, patch.row, patch.answer, answered, named, f"{line['seconds']:.0f}"


def totals(chosen: Sequence[Patch], judged: Mapping[str, Judged]) -> Iterator[str]:
    """Right answers, causes named, and what was said against harmless changes."""
    ran = [patch for patch in chosen if patch.name in judged]
    harmless = [patch for patch in ran if patch.row == HARMLESS]
    right = sum(judged[patch.name].right for patch in ran)
    yield f"{right} of {len(ran)} answers are right" + _not_run(len(chosen) - len(ran))
    asked = [patch for patch in ran if judged[patch.name].named is not None]
    named = sum(bool(judged[patch.name].named) for patch in asked)
    share = f" ({runs.percent(named / len(asked), 0)})" if asked else ""
    yield f"{named} of {len(asked)} causes are named{share}"
    against = [(word, sum(word in judged[p.name].answered for p in harmless)) for word in ("block", "warn")]
    said = ", ".join(f"{count} {'blocked' if word == 'block' else 'warned about'}" for word, count in against)
    yield f"{len(harmless)} harmless changes: {said}"


def _not_run(count: int) -> str:
    return f"; {count} not run" if count else ""


if __name__ == "__main__":
    sys.exit(main())
