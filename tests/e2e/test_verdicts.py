"""`perf-gate run` on the reference application: what blocks, what passes, and what the first line says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Project, counts

pytestmark = pytest.mark.e2e
# It names the endpoint, the queries before and after, the statement with its calls, and the code.
FIRST = {
    "D1-playlist-artist-in-loop": (
        r"blocked: GET /\S+ .*: 3 -> [\d.]+ queries; SELECT \.\.\. FROM artists WHERE artists\.id = \$1\S* "
        r"ran [\d.]+ times \(was 0\); from examples/library/library/services/rows\.py:\d+ song_row"
    )
}
# The others are for bench.zoo, which judges all of them.
PATCHES = [
    path
    for path in sorted((ROOT / "tests" / "regressions").glob("*.patch"))
    if "\nExpect: " in path.read_text()
]


def header(patch: Path, name: str) -> str:
    found = re.search(rf"^{name}: (.+)$", patch.read_text(), re.MULTILINE)
    return found[1] if found else ""


def test_an_unchanged_tree_passes_on_its_stored_baselines(project: Project) -> None:
    """Exit 0; at least 8 endpoints are judged by at least 6 exact metrics each, and base is not started."""
    ended, report = project.run()
    assert ended.code == 0, ended.out + ended.err
    assert ended.first.startswith("pass")
    assert report["coverage"]["compared"] >= 8
    assert report["coverage"]["exact_per_case"] >= 6
    assert report["sides"]["base"]["stored"] is True
    assert all(sample["side"] == "head" for sample in report["run"]["samples"])


@pytest.mark.parametrize("patch", PATCHES, ids=lambda p: p.stem)
def test_planted_changes_get_the_answer_their_header_names(
    applied: Callable[[Path], Project], patch: Path
) -> None:
    """A regression is blocked, naming the case and its cause; a harmless change passes without a warning."""
    ended, report = applied(patch).run()
    if header(patch, "Expect") == "pass":
        assert ended.code == 0, ended.out + ended.err
        assert not [row for row in report["comparisons"] if row["level"] == "warn"]
        return
    assert ended.code == 1, ended.out + ended.err
    assert re.match(FIRST.get(patch.stem, "blocked: "), ended.first), ended.first
    assert report["sides"]["head"]["dirty"] is True
    blocking = {
        f"{row['case']['suite']}/{row['case']['name']}"
        + (f"[{row['case']['parameters']}]" if row["case"]["parameters"] else "")
        for row in report["comparisons"]
        if row["blocking"]
    }
    assert header(patch, "Case") in blocking
    assert header(patch, "Cause") in " ".join(report["verdict"]["reasons"])
    # With the plan, where the header names one.
    causes = re.findall(r"^Cause: (.+)$", patch.read_text(), re.MULTILINE)
    told = [json.dumps(row["cause"]) for row in report["comparisons"] if row["blocking"]]
    assert any(all(cause in text for cause in causes) for text in told)


def test_an_accepted_regression_passes_and_stays_red(applied: Callable[[Path], Project]) -> None:
    """After `accept` of the cases the same change exits 0 and its rows say accepted."""
    project = applied(ROOT / "tests" / "regressions" / "C1-performance-cache-dropped.patch")
    before, report = project.run()
    assert before.code == 1
    assert project.gate("accept", "endpoints/performance-cached").code == 0
    changed = project.git("status", "--porcelain").splitlines()
    assert any(line.endswith("baselines/endpoints.json") for line in changed)
    after, report = project.run()
    assert after.code == 0, after.out
    assert report["verdict"]["state"] == "accepted"
    assert {row["outcome"] for row in report["comparisons"] if row["metric"] == "sql.calls"} >= {"accepted"}
    assert {accept["case"]["name"] for accept in report["accepts"]} == {"performance-cached"}


def test_an_endpoint_added_to_the_configuration_is_new(project: Project) -> None:
    """A new case passes with a note; base is not started for it."""
    file = project.path / "perf-gate.toml"
    file.write_text(
        file.read_text()
        + '\n[[suites.endpoints.request]]\nname = "description"\npath = "/api/openapi.json"\n'
    )
    ended, report = project.run()
    assert ended.code == 0, ended.out
    assert {r["outcome"] for r in report["comparisons"] if r["case"]["name"] == "description"} == {"new"}
    assert report["sides"]["base"]["stored"] is True


def test_an_endpoint_removed_from_the_configuration_is_missing(project: Project) -> None:
    """Exit 1: it is never silently passed."""
    file = project.path / "perf-gate.toml"
    text = file.read_text()
    start = text.index('[[suites.endpoints.request]]\nname = "settings"\n')
    end = text.index("[[suites.endpoints.request]]", start + 1)
    file.write_text(text[:start] + text[end:])
    ended, report = project.run()
    assert ended.code == 1
    assert "endpoints/settings" in ended.first
    assert [r["case"]["name"] for r in report["comparisons"] if r["outcome"] == "missing"] == ["settings"]


def test_a_baseline_row_deleted_in_the_working_tree_changes_no_verdict(project: Project) -> None:
    """The base commit's baseline is read, so that a pull request cannot loosen its own gate."""
    file = project.path / "baselines" / "endpoints.json"
    document = json.loads(file.read_text())
    del document["cases"]["endpoints/performance-cached"]
    file.write_text(json.dumps(document, indent=1, sort_keys=True))
    ended, report = project.run()
    assert ended.code == 0, ended.out
    judged = {r["case"]["name"] for r in report["comparisons"] if r["base"] is not None}
    assert "performance-cached" in judged


def test_against_none_compares_nothing_and_exits_0(project: Project) -> None:
    """No comparison was asked for."""
    ended, report = project.run("--against", "none", "--only", "endpoints/health")
    assert ended.code == 0
    assert report["coverage"]["rows"] == 0


def test_base_is_measured_where_its_stored_counts_are_of_other_data(project: Project) -> None:
    """With another scale the stored counts cannot be used: base is started and counted in the same run."""
    ended, report = project.run("--scale", "0.8", "--only", "endpoints/playlist*")
    assert ended.code == 0, ended.out + ended.err
    assert report["sides"]["base"]["stored"] is False
    assert {sample["side"] for sample in report["run"]["samples"]} == {"base", "head"}


def test_stored_counts_of_other_data_are_incomparable_under_against_stored(project: Project) -> None:
    """Nothing could be compared: exit 5, with the reason."""
    ended, _ = project.run("--scale", "0.8", "--against", "stored", "--only", "endpoints/health")
    assert ended.code == 5
    assert "data set" in ended.first


def test_two_runs_give_identical_counts(project: Project) -> None:
    """Twice in a row, on other ports: every exact count of every endpoint is the same."""
    first, second = project.run()[1], project.run()[1]
    assert counts(first)
    assert counts(first) == counts(second)


def another_python() -> str | None:
    """The path of a Python of another minor version that works, as it is here or below pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for minor in (12, 13, 14):
        named = [shutil.which(f"python3.{minor}"), *pyenv.glob(f"3.{minor}.*/bin/python3")]
        for path in (str(each) for each in named if each):
            if (
                minor != sys.version_info.minor
                and subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0
            ):
                return path
    return None


def test_another_directory_and_another_data_key_of_python_give_identical_counts(
    project: Project, tmp_path: Path
) -> None:
    """Another interpreter of the same application counts the same, from a path of another length."""
    other = another_python()
    elsewhere = Project(tmp_path / "a-much-longer-name-for-the-same-thing", project.cache)
    subprocess.run(["git", "clone", "--quiet", str(project.path), str(elsewhere.path)], check=True)
    if other is not None:
        elsewhere.edit("perf-gate.toml", 'python = "python3"', f'python = "{other}"')
    here, there = project.run()[1], elsewhere.run("--against", "none")[1]
    assert counts(here) == counts(there)
    assert (here["sides"]["head"]["data_key"] != there["sides"]["head"]["data_key"]) is (other is not None)


def test_saved_reports_are_rendered_and_compared_without_measuring(project: Project, tmp_path: Path) -> None:
    """`report` gives again what the run gave, and `compare` a verdict of its own; neither needs a service."""
    comment = tmp_path / "comment.md"
    ran, _ = project.run("--only", "endpoints/health", "--markdown", str(comment))
    saved = project.path.parent / "clone-report.json"
    rendered = project.gate("report", str(saved), "--format", "markdown")
    assert rendered.code == 0
    assert rendered.out.splitlines()[0] == "🟢 **perf-gate: pass.** `1 case compared, none got worse`"
    assert rendered.out.strip() == comment.read_text(encoding="utf-8").strip()
    assert project.gate("report", str(saved)).out == ran.out
    compared = project.gate("compare", str(saved), str(saved))
    assert compared.code == 0, compared.err
    assert compared.first == "pass: 1 case compared, none got worse"


def test_the_baselines_are_shown_and_checked(project: Project) -> None:
    """`baseline check` passes on what `baseline update` wrote, and names a case measured otherwise now."""
    assert project.gate("baseline", "check").code == 0
    assert "sql.calls" in project.gate("baseline", "show", "endpoints/health").out
    project.edit("perf-gate.toml", 'path = "/health"', 'path = "/health?full=1"')
    ended = project.gate("baseline", "check")
    assert ended.code == 2
    assert "endpoints/health" in ended.err


def test_help_imports_nothing_heavy() -> None:
    """`perf-gate --help` loads neither the servers' clients nor the number crunchers."""
    code = (
        "import sys; from gate.cli import entry; entry(['--help']); "
        "print(sorted(set(m.split('.')[0] for m in sys.modules) & "
        "{'numpy', 'scipy', 'pydantic', 'sqlalchemy', 'psycopg', 'redis', 'docker', 'github', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
