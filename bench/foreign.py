"""A published application that nobody here wrote, gated as its authors would: MLflow's tracking server.

    python -m bench.foreign [--services embedded] [--keep DIRECTORY]

The released package, unpacked, is a repository of its own, to which tests/foreign/mlflow/perf-gate.toml is
added. Two runs of the unchanged application must give the same exact counts, and changes
planted in it must be blocked with their cause. Prints what was expected and answered, and exits 1 where
the two differ. Needs a package index; installs into the gate's own cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import _runs as runs

VERSION = "3.17.2"
CONFIGURATION = runs.ROOT / "tests" / "foreign" / "mlflow" / "perf-gate.toml"
_IDENTITY = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "-c", "commit.gpgsign=false"]
# The user interface's compiled pages: a third of the package, and nothing that a request here reads.
_LEFT_OUT = "mlflow/server/js/"
_VERSIONS = Path("mlflow/store/db_migrations/versions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a colleague would open as a pull request, and what the gate must say of it.

    answer: "pass" or "block". case: that must block, as suite/name. causes: words that its cause holds.
    """

    name: str
    answer: str
    apply: Callable[[Path], None]
    case: str = ""
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a run ended. report: report.json, empty where there is none; said: the progress and errors."""

    code: int
    seconds: float
    report: Mapping[str, Any]
    said: str


def main() -> int:
    options = _options()
    runs.end_on_sigterm()
    with _place(options.keep) as place:
        repository = place / "mlflow"
        made(repository, place)
        gate = Gate(repository, options.services)
        gate.baselines()
        rows, right = [], True
        for name, expected, found, cause, seconds, fine in answered(gate):
            print(f"{name}: {found}, {seconds:.0f} s", file=sys.stderr, flush=True)
            rows.append((name, expected, found if fine else f"**{found}**", cause, f"{seconds:.0f}"))
            right &= fine
    print(runs.table(("change", "expected", "answered", "cause", "s"), rows))
    return 0 if right else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--services", default="embedded", choices=["auto", "embedded", "docker", "system"])
    parser.add_argument("--keep", type=Path, help="an empty directory in which everything stays")
    return parser.parse_args()


@contextlib.contextmanager
def _place(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="perf-gate-foreign-") as scratch:
        yield Path(scratch)


# The application


def made(repository: Path, place: Path) -> None:
    """The released package as a repository of one commit."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", str(place), f"mlflow=={VERSION}"], check=True)
    (wheel,) = place.glob(f"mlflow-{VERSION}-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = [n for n in packed.namelist() if n.startswith("mlflow/") and not n.startswith(_LEFT_OUT)]
        packed.extractall(repository, names)
    (repository / "requirements.txt").write_text(f"mlflow=={VERSION}\npsycopg[binary]==3.*\n")
    (repository / ".gitignore").write_text("__pycache__/\n/mlruns/\n/mlartifacts/\n/*.db\n")
    shutil.copy(CONFIGURATION, repository)
    git(repository, "init", "--quiet", "--initial-branch", "main")
    commit(repository, f"MLflow {VERSION}")


def git(repository: Path, *arguments: str) -> None:
    subprocess.run(["git", *_IDENTITY, *arguments], cwd=repository, check=True)


def commit(repository: Path, message: str) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", message)


# Changes


def unchanged(_: Path) -> None:
    """Nothing."""


def tags_one_by_one(repository: Path) -> None:
    """The option that loads the tags of all runs of a page in one statement is left out."""
    edited(
        repository / "mlflow/store/tracking/sqlalchemy_store.py",
        "            sqlalchemy.orm.selectinload(SqlRun.tags),\n",
        "",
    )


def index_dropped(repository: Path) -> None:
    """A migration drops the index that finds the parameters of a run."""
    (repository / _VERSIONS / "f0e1d2c3b4a5_fewer_indexes.py").write_text(
        MIGRATION.replace("HEAD", newest(repository / _VERSIONS))
    )


def newest(versions: Path) -> str:
    """The revision that no other one revises."""
    texts = [path.read_text(encoding="utf-8") for path in versions.glob("*.py")]
    known = {found[1] for text in texts if (found := re.search(r'^revision\b[^"\n]*"(\w+)"', text, re.M))}
    revised = {
        name
        for text in texts
        if (found := re.search(r"^down_revision\b[^=\n]*=(.*)$", text, re.M))
        for name in re.findall(r'"(\w+)"', found[1])
    }
    (last,) = known - revised
    return last


def edited(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    if text.count(old) != 1:
        sys.exit(f"{file.name} holds {old.strip()!r} {text.count(old)} times")
    file.write_text(text.replace(old, new), encoding="utf-8")


CHANGES = (
    Change(name="nothing", answer="pass", apply=unchanged),
    Change(name="nothing, again", answer="pass", apply=unchanged),
    Change(
        name="tags loaded run by run",
        answer="block",
        apply=tags_one_by_one,
        case="endpoints/runs",
        causes=("FROM tags WHERE $1::VARCHAR = tags.run_uuid ran",),
    ),
    Change(
        name="index of parameters dropped",
        answer="block",
        apply=index_dropped,
        case="endpoints/run",
        causes=("FROM params", "index_params_run_uuid"),
    ),
)


# Runs


@dataclass(frozen=True, slots=True)
class Gate:
    """`perf-gate` of this checkout on a repository, as its user would call it."""

    repository: Path
    services: str

    def baselines(self) -> None:
        code, said, _ = self._called("baseline", "update", "--services", self.services)
        if code:
            sys.exit(said)
        commit(self.repository, "Baselines")

    def judged(self, change: Change) -> Answer:
        """The change as a branch of one commit on main."""
        git(self.repository, "checkout", "--quiet", "-B", "change", "main")
        change.apply(self.repository)
        git(self.repository, "add", "--all")
        git(self.repository, "commit", "--quiet", "--allow-empty", "--message", change.name)
        file = self.repository.with_name(change.name.replace(" ", "-").replace(",", "") + ".json")
        file.unlink(missing_ok=True)
        options = ["--services", self.services, "--time-budget", "0", "--json", str(file)]
        code, said, seconds = self._called("run", *options)
        report = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return Answer(code=code, seconds=seconds, report=report, said=said)

    def _called(self, *arguments: str) -> tuple[int, str, float]:
        """Exit code, what was said, seconds."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PERF_GATE_", "GITHUB_"))}
        if cache := os.environ.get("PERF_GATE_CACHE"):
            kept["PERF_GATE_CACHE"] = cache
        began = time.monotonic()
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gate", *arguments],
                cwd=self.repository,
                env={**kept, "PYTHONPATH": str(runs.ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=said,
                text=True,
            )
            try:
                code = process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
            said.seek(0)
            return code, said.read(), time.monotonic() - began


def answered(gate: Gate) -> Iterator[tuple[str, str, str, str, float, bool]]:
    """Of each change: its name, what was expected, answered, the cause, seconds, and whether all is so."""
    first: dict[str, list[float]] = {}
    for change in CHANGES:
        answer = gate.judged(change)
        if not answer.report:
            yield change.name, change.answer, f"exit {answer.code}", answer.said[-500:], answer.seconds, False
            continue
        if change.answer == "block":
            found, cause, fine = blocked(change, answer)
        else:
            counts = exact(answer.report)
            differing = sorted(name for name in counts if first and counts[name] != first.get(name))
            found = "pass" if answer.code == 0 else answer.report["verdict"]["state"]
            if first and not differing:
                found += f", {len(counts)} counts as before"
            first = first or counts
            cause = ", ".join(differing) or " ".join(answer.report["verdict"]["reasons"])
            fine = answer.code == 0 and not differing and bool(counts)
        yield change.name, change.answer, found, cause, answer.seconds, fine


def exact(report: Mapping[str, Any]) -> dict[str, list[float]]:
    """Every exact value that head gave, by case and metric."""
    return {
        f"{runs.case_of(sample['case'])} {sample['metric']['name']}": [
            point[-1] for point in sample["points"]
        ]
        for sample in report["run"]["samples"]
        if sample["side"] == "head" and sample["metric"]["kind"] == "exact"
    }


def blocked(change: Change, answer: Answer) -> tuple[str, str, bool]:
    """What was answered, the cause of the row that says it, and whether both are as expected."""
    rows = [row for row in answer.report["comparisons"] if row["blocking"]]
    meant = [row for row in rows if runs.case_of(row["case"]).partition("[")[0] == change.case]
    told = [row for row in meant if all(word in json.dumps(row["cause"]) for word in change.causes)]
    found = "block" if answer.code == 1 else answer.report["verdict"]["state"]
    if not meant:
        return f"{found} elsewhere", " ".join(answer.report["verdict"]["reasons"][:1]), False
    row = (told or meant)[0]
    cause = row["cause"]["summary"] if row["cause"] else ""
    where = f"{found}: {runs.case_of(row['case'])} {row['metric']}"
    return where, cause if told else f"not named: {cause}", answer.code == 1 and bool(told)


MIGRATION = '''\
"""Fewer indexes to keep up to date while parameters are logged.

Revision ID: f0e1d2c3b4a5
Revises: HEAD
"""

from alembic import op

revision = "f0e1d2c3b4a5"
down_revision = "HEAD"
branch_labels = None
depends_on = None


def upgrade():
    op.drop_index("index_params_run_uuid", table_name="params")


def downgrade():
    op.create_index("index_params_run_uuid", "params", ["run_uuid"])
'''

if __name__ == "__main__":
    sys.exit(main())
