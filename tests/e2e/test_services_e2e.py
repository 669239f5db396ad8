"""The same counts whoever starts the servers, and beside whoever else measures."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from gate.errors import EnvironmentFailure
from gate.services import containers, system
from gate.services.account import choose_account
from gate.services.running import Unavailable
from tests.e2e.conftest import Project, counts, with_every_endpoint

REGISTRY = "perf-gate-stand-in"

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def images() -> None:
    """Skips where there is no daemon with the stand-in images."""
    with contextlib.ExitStack() as stack:
        try:
            client, _ = stack.enter_context(containers.daemon())
            for image in ("postgres:18", "redis:7"):
                client.images.get(f"{REGISTRY}/{image}")
        except Unavailable as error:
            pytest.skip(error.message)
        except ImageNotFound:
            pytest.skip("no stand-in images: python tools/stand_in_images.py")


@pytest.fixture(scope="module")
def fifteen() -> None:
    """Skips where the machine has no Postgres 15 of its own."""
    try:
        system.find_programs(15, choose_account())
    except EnvironmentFailure as error:
        pytest.skip(error.message)


def passed(project: Project, *arguments: str) -> dict[tuple[str, str], list[float]]:
    """Head's exact counts, of every endpoint, by a run that passed."""
    ended, report = project.run(*arguments)
    assert ended.code == 0, ended.out + ended.err
    return counts(report)


@pytest.mark.docker
def test_an_image_that_is_absent(project: Project, images: None) -> None:
    """Exit 3 naming the image and what to do; nothing is left running."""
    project.edit("perf-gate.toml", "version = 18\n", 'version = 18\nimage = "registry.invalid/absent:18"\n')
    ended, _ = project.run("--services", "docker", "--only", "endpoints/health")
    assert ended.code == 3, ended.err
    assert "registry.invalid/absent:18" in ended.err
    assert "hint:" in ended.err


@pytest.mark.docker
def test_docker_and_embedded_count_the_same_for_every_endpoint(project: Project, images: None) -> None:
    """Also where the images' own defaults are others: the gate's initialisation is the same everywhere."""
    project.edit("perf-gate.toml", "[target]\n", f'[services.docker]\nregistry = "{REGISTRY}"\n\n[target]\n')
    with_every_endpoint(project)
    by_docker = passed(project, "--services", "docker")
    by_embedded = passed(project, "--services", "embedded")
    assert len({case for case, _ in by_docker}) >= 18
    assert by_docker == by_embedded


def test_an_older_postgres_of_the_machine_repeats_itself(project: Project, fifteen: None) -> None:
    """Two runs under version = 15 give the same counts, the second on the cached data of the first."""
    project.edit("perf-gate.toml", "version = 18", "version = 15")
    first = passed(project, "--services", "system", "--against", "none")
    second = passed(project, "--services", "system", "--against", "none")
    assert len({case for case, _ in first}) >= 8
    assert first == second


def test_another_major_version_than_the_configured_is_refused(project: Project, fifteen: None) -> None:
    """Exit 3 with both versions, before anything is measured."""
    try:
        system.find_programs(18, choose_account())
    except EnvironmentFailure:
        ended, report = project.run("--services", "system")
    else:
        pytest.skip("the machine has Postgres 18 as well")
    assert ended.code == 3, ended.out + ended.err
    assert "this machine has Postgres 15, not 18" in ended.err
    assert report == {}


def test_two_runs_at_once_disturb_each_other_in_no_count(project: Project, tmp_path: Path) -> None:
    """Both pass, on one cache, with the counts of a run alone."""
    alone = passed(project)
    reports = [tmp_path / f"{number}.json" for number in range(2)]
    both = [
        subprocess.Popen(
            project.command("run", "--suite", "endpoints", "--json", str(report)),
            cwd=project.path,
            env=project.env(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for report in reports
    ]
    said = [run.communicate(timeout=300)[1] for run in both]
    assert [run.returncode for run in both] == [0, 0], "\n".join(said)
    found: list[dict[str, Any]] = [json.loads(report.read_text()) for report in reports]
    assert [counts(report) for report in found] == [alone, alone]
