from __future__ import annotations

import contextlib
import os
import stat

import pytest

from gate import services
from gate.config import Services
from gate.errors import ConfigError, EnvironmentFailure
from gate.model import PostgresServer
from gate.services import containers, external, system
from gate.services.account import Account
from gate.services.containers import check_major, full_name, postgres_image
from gate.services.running import Given, Request, Unavailable

MYSELF = Account(name="me", uid=os.getuid(), gid=os.getgid(), other=False)
CONFIG = Services.model_validate({"postgres": {"version": 18}})


def offers(value):
    @contextlib.contextmanager
    def provide(request):
        yield value

    return provide


def refuses(error):
    @contextlib.contextmanager
    def provide(request):
        raise error
        yield

    return provide


def start(tmp_path, monkeypatch, said, provider="auto", **providers):
    monkeypatch.setattr(services, "PROVIDERS", providers)
    monkeypatch.setattr(services, "AUTO", tuple(providers))
    return services.start(CONFIG, provider=provider, state=tmp_path, notify=said.append)


def test_auto_takes_the_first_that_can_and_says_why_not_the_others(tmp_path, monkeypatch):
    """The reason of each that was passed over is told."""
    said: list[str] = []
    absent = Unavailable("no daemon answers", where="/run/socket")
    with start(
        tmp_path, monkeypatch, said, docker=refuses(absent), embedded=offers("it"), system=offers("that")
    ) as running:
        assert running == "it"
    assert said == ["services by docker: no daemon answers (/run/socket)"]


def test_auto_does_not_hide_a_failure_behind_the_next_provider(tmp_path, monkeypatch):
    """A full disk or a refused setting would befall the next one too."""
    full = EnvironmentFailure("no free space")
    with (
        pytest.raises(EnvironmentFailure, match="no free space"),
        start(tmp_path, monkeypatch, [], docker=refuses(full), embedded=offers("it")),
    ):
        pass


def test_auto_gives_all_reasons_where_none_can(tmp_path, monkeypatch):
    """One error with everything that was tried."""
    providers = {name: refuses(Unavailable(f"not {name}")) for name in ("docker", "embedded")}
    with (
        pytest.raises(EnvironmentFailure, match="no provider of services can supply Postgres 18") as caught,
        start(tmp_path, monkeypatch, [], **providers),
    ):
        pass
    assert caught.value.tail == ("docker: not docker", "embedded: not embedded")


def test_a_provider_that_is_named_is_the_only_one_tried(tmp_path, monkeypatch):
    """Its own error is the answer."""
    with (
        pytest.raises(Unavailable, match="absent"),
        start(
            tmp_path,
            monkeypatch,
            [],
            provider="docker",
            docker=refuses(Unavailable("absent")),
            embedded=offers("it"),
        ),
    ):
        pass


def test_an_error_while_the_services_run_is_not_taken_for_a_refusal(tmp_path, monkeypatch):
    """Even one of the same kind: no second set of services is started behind it."""
    said: list[str] = []
    with (
        pytest.raises(Unavailable, match="later"),
        start(tmp_path, monkeypatch, said, docker=offers("it"), embedded=offers("that")),
    ):
        raise Unavailable("later")
    assert said == []


@pytest.mark.parametrize(
    ("image", "registry", "expected"),
    [
        ("postgres:18", "", "postgres:18"),
        ("postgres:18", "mirror.example/library/", "mirror.example/library/postgres:18"),
        ("team/postgres:18", "mirror.example", "mirror.example/team/postgres:18"),
        ("ghcr.io/team/postgres:18", "mirror.example", "ghcr.io/team/postgres:18"),
        ("localhost:5000/postgres@sha256:ab", "mirror.example", "localhost:5000/postgres@sha256:ab"),
    ],
)
def test_a_registry_is_put_before_names_that_name_none(image, registry, expected):
    """A mirror serves the official images and leaves a team's own registry alone."""
    assert full_name(image, registry) == expected


def test_the_official_image_of_the_configured_major_is_the_default():
    """An image of one's own wins."""
    assert postgres_image(CONFIG) == "postgres:18"
    own = Services.model_validate({"postgres": {"version": 18, "image": "pgvector/pgvector:pg18"}})
    assert postgres_image(own) == "pgvector/pgvector:pg18"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("postgres", ("postgres", "latest")),
        ("postgres:18-alpine", ("postgres", "18-alpine")),
        ("localhost:5000/postgres", ("localhost:5000/postgres", "latest")),
        ("host/postgres@sha256:ab", ("host/postgres", "sha256:ab")),
    ],
)
def test_exactly_one_tag_is_pulled(name, expected):
    """A name without a tag would pull them all."""
    assert containers._split(name) == expected


class Image:
    def __init__(self, *environment: str) -> None:
        self.attrs = {"Config": {"Env": list(environment)}}


def test_an_image_of_another_major_version_is_refused_before_it_is_run():
    """Official images name theirs; one that does not is believed for now."""
    check_major(Image("PG_MAJOR=18"), "postgres:18", 18)
    check_major(Image(), "own", 18)
    with pytest.raises(Unavailable, match="holds Postgres 17, not 18"):
        check_major(Image("PATH=/bin", "PG_MAJOR=17"), "postgres:17", 18)


@pytest.mark.parametrize("host", ["tcp://10.0.0.1:2375", "ssh://me:secret@host"])
def test_a_daemon_of_another_machine_is_refused(tmp_path, monkeypatch, host):
    """Its servers could neither share files nor the loopback with us; no secret is repeated."""
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(Unavailable, match="of this machine") as caught:
        containers.provide(Request(config=CONFIG, state=tmp_path, notify=print)).__enter__()
    assert "secret" not in caught.value.where


def test_a_daemon_that_does_not_answer_is_said(tmp_path, monkeypatch):
    """With the socket that was asked."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(Unavailable, match="no Docker daemon answers") as caught:
        containers.provide(Request(config=CONFIG, state=tmp_path, notify=print)).__enter__()
    assert caught.value.where == f"unix://{tmp_path}/docker.sock"


def program(path, version):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with the programs a test puts there, and no others."""
    monkeypatch.setattr(system, "_VERSIONED", (f"{tmp_path}/pg/{{}}/bin",))
    monkeypatch.setattr(system, "_REDIS_PLACES", (f"{tmp_path}/redis",))
    monkeypatch.setenv("PATH", f"{tmp_path}/path:/bin")
    monkeypatch.setattr(
        system.shutil, "which", lambda name, path=f"{tmp_path}/path": _find(name, path.split(":"))
    )
    return tmp_path


def _find(name, places):
    return next((f"{place}/{name}" for place in places if os.path.exists(f"{place}/{name}")), None)


def test_the_system_has_the_version_that_is_asked_for(machine):
    """Not the one that happens to be on PATH."""
    for major in (15, 17):
        for name in ("postgres", "initdb"):
            program(machine / "pg" / str(major) / "bin" / name, f"postgres (PostgreSQL) {major}.2 (Debian)")
    program(machine / "redis" / "redis-server", "Redis server v=7.0.15 sha=0")
    found = system.find_programs(17, MYSELF)
    assert found.postgres == machine / "pg" / "17" / "bin" / "postgres"
    assert (found.major, found.redis_major) == (17, 7)


def test_the_system_says_which_version_it_has_instead(machine):
    """Found by PATH, but of another major version."""
    for name in ("postgres", "initdb"):
        program(machine / "path" / name, "postgres (PostgreSQL) 15.18")
    with pytest.raises(Unavailable, match="has Postgres 15, not 18"):
        system.find_programs(18, MYSELF)


def test_a_system_without_servers_says_so(machine):
    """With what to install."""
    with pytest.raises(Unavailable, match="no Postgres server programs") as caught:
        system.find_programs(18, MYSELF)
    assert "postgresql-18" in caught.value.hint


@pytest.mark.parametrize(
    "url", ["mysql://host", "postgresql://", "postgresql://u:s3cret@host:port", "s3cret", ""]
)
def test_a_url_that_is_none_is_refused_and_not_repeated(url):
    """It may hold a password."""
    with pytest.raises(ConfigError) as caught:
        external._postgres(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.where == "PERF_GATE_POSTGRES_URL"


def test_a_postgres_url_is_taken_apart():
    """Escapes in user and password are undone; the port has its usual default."""
    assert external._postgres("postgres://m%40e:p%2Fw@db.example/x") == PostgresServer(
        provider="external", version="", major=0, host="db.example", port=5432, user="m@e", password="p/w"
    )


def test_given_servers_are_needed_for_the_external_provider(tmp_path):
    """The hint names the variables."""
    with pytest.raises(ConfigError) as caught:
        external.provide(Request(config=CONFIG, state=tmp_path, notify=print)).__enter__()
    assert "PERF_GATE_REDIS_URLS" in caught.value.hint


def test_given_urls_are_never_shown():
    """They hold passwords."""
    assert "s3cret" not in repr(Given(postgres="postgresql://u:s3cret@h", redis=("redis://:s3cret@h",)))
