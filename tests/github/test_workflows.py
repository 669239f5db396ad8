"""action.yml and the workflows: what may not change without somebody noticing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rights import tokens, workflow

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
FILES = [ROOT / "action.yml", *sorted(WORKFLOWS.glob("*.yml"))]
PINNED = re.compile(r"uses: (\./|[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$")


def text(name: str) -> str:
    return (WORKFLOWS / name).read_text()


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A tool of the dev extra, beside the interpreter that runs the tests; absent is a failure."""
    return subprocess.run(
        [str(Path(sys.executable).parent / name), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_zizmor_finds_nothing() -> None:
    """The strictest audit is clean; its one exception has its reason beside it."""
    done = tool("zizmor", "--offline", "--no-progress", "--persona=auditor", "action.yml", ".github")
    assert done.returncode == 0, done.stdout + done.stderr
    ignored = [line for file in FILES for line in file.read_text().splitlines() if "zizmor: ignore" in line]
    assert ignored == ["  workflow_run: # zizmor: ignore[dangerous-triggers]"]


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-actions", ["action.yml"]),
        ("vendor.github-workflows", [str(path.relative_to(ROOT)) for path in FILES[1:]]),
        ("vendor.dependabot", [".github/dependabot.yml"]),
    ],
)
def test_files_fit_their_schemas(schema: str, paths: list[str]) -> None:
    """GitHub's own schemas accept the action, the workflows and the update configuration."""
    done = tool("check-jsonschema", "--builtin-schema", schema, *paths)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_pinned_by_digest(path: Path) -> None:
    """Every action is our own or a commit digest with its version beside it."""
    used = [line.strip().removeprefix("- ") for line in path.read_text().splitlines() if "uses:" in line]
    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []


def test_one_digest_for_each_action() -> None:
    """The same action has the same digest everywhere, so an update cannot miss a place."""
    pins: dict[str, set[str]] = {}
    for path in FILES:
        for name, pin in re.findall(r"uses: ([\w./-]+)@(\S+ # \S+)", path.read_text()):
            pins.setdefault(name, set()).add(pin)
    assert {name: len(found) for name, found in pins.items()} == dict.fromkeys(pins, 1)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_expression_reaches_a_shell(path: Path) -> None:
    """Inputs and event fields come to scripts by environment variables only."""
    scripts = re.findall(r"^( *)run: *(.*(?:\n\1 +.*)*)", path.read_text(), re.MULTILINE)
    assert [body for _, body in scripts if "${{" in body] == []


def test_nothing_runs_with_a_strangers_event_and_our_token() -> None:
    """No workflow uses pull_request_target, and every one starts from no permissions."""
    for path in FILES[1:]:
        content = path.read_text()
        assert "pull_request_target" not in content
        assert "\npermissions: {}\n" in content


def test_report_workflow_runs_nothing_of_the_pull_request() -> None:
    """It checks out the default branch by name, and restores no cache and runs no script."""
    content = text("perf-gate-report.yml")
    assert re.findall(r"ref: (.*)", content) == ["${{ github.event.repository.default_branch }}"]
    assert content.count("actions/checkout@") == 1
    assert "actions/cache" not in content
    assert "download-artifact" not in content
    assert "run:" not in content.replace("workflow_run:", "")


def test_required_check_always_runs() -> None:
    """The required job runs whatever became of measuring, since a skipped one counts as a success."""
    job = text("perf-gate.yml").partition("\n  perf-gate:\n")[2]
    assert "    if: always()\n" in job
    assert "measure-result: ${{ needs.measure.result }}" in job


def test_a_label_measures_nothing_and_ends_no_measurement() -> None:
    """Labels start the deciding job alone, in a concurrency group of their own."""
    content = workflow("perf-gate.yml")
    on = content.get("on", content.get(True))
    assert {"labeled", "unlabeled", "opened", "synchronize", "reopened"} == set(on["pull_request"]["types"])
    assert content["jobs"]["measure"]["if"] == "${{ !contains(github.event.action, 'label') }}"
    assert "contains(github.event.action, 'label') && 'label' || 'measure'" in content["concurrency"]["group"]


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        ("measure", {"contents": "read"}),
        ("verdict", {"contents": "read", "actions": "read", "pull-requests": "read"}),
        ("report", {"contents": "read", "actions": "read", "pull-requests": "write"}),
        ("baseline", {"contents": "write", "actions": "write", "pull-requests": "write"}),
    ],
)
def test_tokens_have_these_rights(token: str, wanted: dict[str, str]) -> None:
    """A permission more or less in a workflow is a decision, which this line then records."""
    assert tokens()[token] == wanted


def test_fork_gets_no_right_to_write() -> None:
    """Whatever a file says, a fork's token reads."""
    for name in ("measure-of-fork", "verdict-of-fork"):
        assert set(tokens()[name].values()) == {"read"}


def test_untrusted_side_may_not_write() -> None:
    """Neither job that pull requests start has a permission to write or keeps a credential."""
    content = text("perf-gate.yml")
    assert ": write" not in content
    assert content.count("persist-credentials: false") == content.count("actions/checkout@")


def test_measuring_gets_no_token() -> None:
    """The action's token variable is empty in the mode that runs a pull request's code."""
    action = (ROOT / "action.yml").read_text()
    assert re.findall(r"PERF_GATE_GITHUB_TOKEN: (.*)", action) == [
        "${{ inputs.mode != 'measure' && inputs.github-token || '' }}"
    ]
    assert action.count("inputs.github-token") == 1
    measuring = workflow("perf-gate.yml")["jobs"]["measure"]["steps"]
    assert [step["with"]["github-token"] for step in measuring if step.get("uses") == "./"] == [""]


def test_only_the_default_branch_keeps_a_cache() -> None:
    """What a pull request made is never saved; the stages that may write restore nothing either."""
    steps = workflow("../../action.yml")["runs"]["steps"]
    used = {step["uses"].partition("@")[0]: step for step in steps if "uses" in step}
    assert "actions/cache" not in used  # it would save what it restored for, whoever ran
    assert "inputs.mode == 'update-baseline'" in used["actions/cache/save"]["if"]
    assert "steps.gate.outputs.cache-key" in used["actions/cache/save"]["if"]
    assert used["actions/cache/restore"]["if"] == "${{ steps.cache.outputs.prefix }}"
    (where,) = (step for step in steps if step.get("id") == "cache")
    assert where["if"] == "${{ inputs.mode == 'measure' || inputs.mode == 'update-baseline' }}"
    assert used["actions/cache/save"]["with"]["path"] == used["actions/cache/restore"]["with"]["path"]


def test_report_workflow_answers_to_the_measuring_workflow() -> None:
    """workflow_run matches by name: the two files must agree on it."""
    name = re.search(r"^name: (.*)$", text("perf-gate.yml"), re.MULTILINE)
    answered = re.search(r"workflows: \[(.*)\]", text("perf-gate-report.yml"))
    assert name
    assert answered
    assert name[1] == answered[1]


def test_every_input_of_the_action_is_an_option() -> None:
    """Every variable the action sets is one that some command reads, under the option's own name."""
    from gate.cli import baseline, run
    from gate.cli.ci import ci

    read = {
        parameter.envvar
        for command in [run.run, baseline.update, *ci.commands.values()]
        for parameter in command.params
        if parameter.envvar
    } | {"PERF_GATE_CACHE"}  # of every command
    given = set(re.findall(r"^        (PERF_GATE_\w+):", (ROOT / "action.yml").read_text(), re.MULTILINE))
    assert given
    assert given <= read
