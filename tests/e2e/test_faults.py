"""What goes wrong on a stranger's machine: one clear error, the documented exit code, nothing left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e
START = 'start = ["{python}", "-m", "library.server", "--port", "{port}"]'


def left_behind(project: Project) -> list[str]:
    """Processes and directories of this project's runs that are still there."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ"]):
        held = " ".join(process.info["cmdline"] or ()) + str(process.info["environ"])
        if str(project.cache) in held and process.pid != os.getpid():
            found.append(held)
    found += [str(path) for path in (project.cache / "scratch").glob("*")]
    return found


CONFIGURATION = {
    "unknown key": ('ready = "/health"', 'raedy = "/health"', ["unknown key 'raedy'", "'ready'"]),
    "wrong type": ("version = 18", 'version = "new"', ["version"]),
    "no such anchor": ("{anchor.curator.id}", "{anchor.curater.id}", ["curater", "curator"]),
    "no such placeholder": ('"--port", "{port}"', '"--port", "{prot}"', ["prot", "port"]),
}


@pytest.mark.parametrize("name", CONFIGURATION)
def test_a_wrong_configuration_is_named_with_its_line_and_the_nearest_name(
    project: Project, name: str
) -> None:
    """Exit 2 before anything is started."""
    old, new, said = CONFIGURATION[name]
    project.edit("perf-gate.toml", old, new)
    ended, _ = project.run()
    assert ended.code == 2, ended.err
    assert all(word in ended.err for word in said), ended.err
    assert "starting Postgres" not in ended.err


def test_all_configuration_errors_are_told_at_once(project: Project) -> None:
    """Three mistakes, one run, three lines with their line numbers."""
    project.edit("perf-gate.toml", 'ready = "/health"', 'raedy = "/health"')
    project.edit("perf-gate.toml", "version = 18", 'version = "new"')
    project.edit("perf-gate.toml", "users.rows = 20_000", "users.rows = -1")
    ended, _ = project.run()
    assert ended.code == 2
    assert len([line for line in ended.err.splitlines() if "perf-gate.toml:" in line]) >= 3, ended.err


def test_a_missing_configuration_file(project: Project) -> None:
    """Exit 2, the path, and how to name another."""
    ended = project.gate("run", "--config", "nowhere.toml")
    assert ended.code == 2
    assert "nowhere.toml" in ended.err
    assert "--config" in ended.err


def test_a_missing_key_file(project: Project) -> None:
    """Exit 2 naming the file that target.key_files promises."""
    project.edit("perf-gate.toml", 'key_files = ["requirements.txt"]', 'key_files = ["absent.txt"]')
    ended, _ = project.run()
    assert ended.code == 2, ended.err
    assert "absent.txt" in ended.err


def test_an_application_that_never_gets_ready(project: Project) -> None:
    """Exit 3 within the configured time, naming what was asked."""
    project.edit("perf-gate.toml", START, 'start = ["{python}", "-c", "import time; time.sleep(100)"]')
    project.edit("perf-gate.toml", 'ready = "/health"', 'ready = "/health"\nready_timeout = "2s"')
    ended, _ = project.run()
    assert ended.code == 3, ended.err
    assert "/health" in ended.err
    assert not left_behind(project)


def test_an_application_that_exits(project: Project) -> None:
    """Exit 3 with its exit code and the end of its output, without the password in it."""
    program = "import os; print('no licence found for', os.environ['DATABASE_URL']); exit(7)"
    project.edit("perf-gate.toml", START, f'start = ["{{python}}", "-c", "{program}"]')
    ended, _ = project.run()
    assert ended.code == 3, ended.err
    assert "the application of head failed with exit code 7 before it answered GET /health" in ended.err
    assert re.search(r"no licence found for postgresql\+psycopg://\*\*\*@\S+$", ended.err, re.MULTILINE)


def test_a_migration_that_fails(project: Project) -> None:
    """Exit 3 with the end of the migration's output."""
    project.edit(
        "perf-gate.toml", '"alembic", "upgrade", "head"]', '"alembic", "upgrade", "no-such-revision"]'
    )
    ended, _ = project.run()
    assert ended.code == 3, ended.err
    assert "no-such-revision" in ended.err


def test_an_endpoint_that_fails_on_head_only_blocks(project: Project) -> None:
    """Exit 1: a failing request is a regression, and what it answered is shown."""
    project.edit(
        "examples/library/library/api/health.py", '@blueprint.get("/health")', '@blueprint.get("/wealth")'
    )
    project.edit("perf-gate.toml", 'ready = "/health"', 'ready = "/wealth"')
    ended, _ = project.run("--only", "endpoints/health")
    assert ended.code == 1, ended.out + ended.err
    assert "404" in ended.first


def test_a_new_endpoint_that_fails_gives_no_verdict(project: Project) -> None:
    """Exit 4: there is nothing that once worked."""
    file = project.path / "perf-gate.toml"
    file.write_text(file.read_text() + '\n[[suites.endpoints.request]]\nname = "gone"\npath = "/gone"\n')
    ended, _ = project.run("--only", "endpoints/gone")
    assert ended.code == 4, ended.out + ended.err
    assert "404" in ended.first


def test_a_parameter_without_rows(project: Project) -> None:
    """Exit 2 naming the parameter whose statement gave nothing."""
    project.edit(
        "perf-gate.toml", "SELECT id FROM users ORDER BY id DESC LIMIT 5", "SELECT id FROM users WHERE false"
    )
    ended, _ = project.run()
    assert ended.code == 2, ended.err
    assert "params.id" in ended.err


@pytest.mark.parametrize(
    ("text", "said"), [("{", "cannot be read"), ('{"schema": "perf-gate.baseline/99"}', "another version")]
)
def test_an_unreadable_baseline(project: Project, text: str, said: str) -> None:
    """Exit 2 naming the file and the commit; a future version is told apart from a damaged file."""
    (project.path / "baselines" / "endpoints.json").write_text(text)
    project.commit("A baseline that cannot be read")
    ended, _ = project.run()
    assert ended.code == 2, ended.err
    assert "baselines/endpoints.json" in ended.err
    assert said in ended.err


def test_a_shallow_checkout(project: Project, tmp_path: Path) -> None:
    """Exit 2 with the cure: base cannot be found in one commit."""
    shallow = Project(tmp_path / "shallow", project.cache)
    subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", f"file://{project.path}", str(shallow.path)], check=True
    )
    ended, _ = shallow.run()
    assert ended.code == 2, ended.err
    assert "fetch-depth: 0" in ended.err


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_no_free_space(project: Project, tmp_path: Path) -> None:
    """Exit 3 naming the place, what is needed and what is free, before anything is started."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
    try:
        cramped = Project(project.path, small)
        ended, _ = cramped.run("--scale", "10")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert ended.code == 3, ended.err
    assert re.search(r"the data set needs about [\d,]+ bytes .* and [\d,]+ are free", ended.err), ended.err
    assert any(line.strip().endswith(str(small)) for line in ended.err.splitlines()), ended.err
    assert "PERF_GATE_CACHE" in ended.err
    assert "starting Postgres" not in ended.err


def test_secrets_are_in_no_report_and_no_log(project: Project, tmp_path: Path) -> None:
    """An answer and a benchmark's failure that tell all they know bring no secret anywhere."""
    told = tmp_path / "database-url"
    tells = (
        "import os; from pathlib import Path; "
        f"Path({str(told)!r}).open('a').write(os.environ['DATABASE_URL'] + '\\n'); "
        "said = os.environ['LIBRARY_SECRET'] + ' cannot reach ' + os.environ['DATABASE_URL']"
    )
    project.edit("perf-gate.toml", 'LIBRARY_SECRET = "only-for-measuring"', 'LIBRARY_SECRET = "planted-one"')
    project.edit("perf-gate.toml", 'ready = "/health"', 'ready = "/nowhere"')
    project.edit("perf-gate.toml", 'paths = ["benchmarks"]', 'paths = ["benchmarks/test_health.py"]')
    project.edit(
        "examples/library/library/api/health.py",
        "    with database()",
        f"    {tells}; return Response(said, 500)\n    with database()",
    )
    (project.path / "examples/library/benchmarks/test_health.py").write_text(
        f"def test_health(benchmark):\n    {tells}\n    raise RuntimeError(said)\n"
    )
    markdown = tmp_path / "comment.md"
    ended, report = project.run(
        *("--suite", "benchmarks", "--only", "*health*", "--markdown", str(markdown)),
        GITHUB_TOKEN="planted-two",
        PGPASSWORD="planted-three",
    )
    assert ended.code == 4, ended.out + ended.err
    failures = {item["case"]["suite"]: item["failure"] for item in report["run"]["evidence"]}
    assert failures.keys() == {"endpoints", "benchmarks"}
    assert all("*** cannot reach postgresql+psycopg://***@" in failure for failure in failures.values())
    assert "*** cannot reach" in ended.first
    written = [tmp_path / "clone-report.json", project.path / ".git/perf-gate/report.json", markdown]
    everything = ended.out + ended.err + "".join(file.read_text() for file in written)
    passwords = {str(urlsplit(url).password) for url in told.read_text().split()}
    assert passwords
    assert [secret for secret in (*passwords, "planted-") if secret in everything] == []


@pytest.mark.parametrize("moment", ["seeding", "pass 1"])
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_stops_everything(
    project: Project, tmp_path: Path, moment: str, sent: signal.Signals, code: int
) -> None:
    """Within 10 s, with the documented code, and nothing is left running or lying about."""
    alone = Project(project.path, tmp_path / "cache")
    arguments = ["run", "--suite", "endpoints"] + (["--scale", "20"] if moment == "seeding" else [])
    errors = tmp_path / "stderr"
    with errors.open("wb") as log:
        process = subprocess.Popen(
            alone.command(*arguments), cwd=alone.path, env=alone.env(), stdout=subprocess.DEVNULL, stderr=log
        )
    deadline = time.monotonic() + 120
    while moment not in errors.read_text() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(sent)
    started = time.monotonic()
    assert process.wait(timeout=30) == code, errors.read_text()
    assert time.monotonic() - started < 10
    assert not left_behind(alone)


def test_a_killed_run_leaves_nothing_that_the_next_one_minds(project: Project, tmp_path: Path) -> None:
    """After SIGKILL the servers and the application end by themselves, and the next run cleans up."""
    alone = Project(project.path, tmp_path / "cache")
    errors = tmp_path / "stderr"
    with errors.open("wb") as log:
        process = subprocess.Popen(
            alone.command("run", "--suite", "endpoints"),
            cwd=alone.path,
            env=alone.env(),
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    while "pass 1" not in errors.read_text() and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    ended, _ = alone.run("--only", "endpoints/health")
    assert ended.code == 0, ended.err
    assert not left_behind(alone)
