"""Schemas that nobody here wrote, made by the migrations of published packages, filled and verified.

    python -m bench.schemas [NAME ...] [--scale 1.0] [--cache DIRECTORY] [--dump]

For each: an environment with the package in the cache directory, its migrations on the embedded Postgres,
then the data set of tests/dataset/schemas/NAME.toml, 20,000 to 100,000 rows in the main tables, and all of
it verified. Once more without that file's columns, to see which overrides are needed at all: what is
refused then, with the reason. --dump writes NAME.sql beside the specification, for the tests. Needs a
package index. Exits 1 where anything is refused with the overrides, or broken.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import _runs as runs
from gate import config, dataset, db, services
from gate.cli.options import cache_directory
from gate.dataset.schema import reflect
from gate.dataset.verify import verify
from gate.errors import ConfigError
from gate.model import PostgresServer
from gate.services.account import choose_account
from gate.services.embedded import find_programs

SPECIFICATIONS = runs.ROOT / "tests" / "dataset" / "schemas"
_DJANGO = """
import os
from urllib.parse import urlsplit

url = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {{"default": {{
    "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username,
    "PASSWORD": url.password, "HOST": url.hostname, "PORT": url.port,
}}}}
SECRET_KEY = "not secret"
USE_TZ = True
STATIC_URL = "/static/"
SITE_ID = 1
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
OAUTH2_PROVIDER = {{"PKCE_REQUIRED": True}}
TEMPLATES = [{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}}]
INSTALLED_APPS = {apps!r}
"""
_CONTRIB = ["admin", "auth", "contenttypes", "sessions", "messages", "sites", "redirects", "flatpages"]
_WAGTAIL = [
    "contrib.forms",
    "contrib.redirects",
    "embeds",
    "sites",
    "users",
    "snippets",
    "documents",
    "images",
]


def _django(*apps: str) -> str:
    return _DJANGO.format(apps=[*(f"django.contrib.{app}" for app in _CONTRIB), *apps])


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """packages: what pip installs. migrate: arguments of the environment's python. files: written beside.

    environ: of the migration; {url}, {host}, ... are the server's, {home} a directory of its own.
    licence: of the package whose schema it is.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    migrate: tuple[str, ...]
    licence: str
    files: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


APPLICATIONS = (
    Application(
        name="django",
        title="Django with OAuth Toolkit",
        packages=("django==5.2.*", "django-oauth-toolkit==3.*", "psycopg[binary]==3.*"),
        migrate=("-m", "django", "migrate", "--skip-checks", "--verbosity", "0"),
        licence="Django and django-oauth-toolkit, both under the BSD licence",
        files={"settings.py": _django("oauth2_provider")},
        environ={"DJANGO_SETTINGS_MODULE": "settings", "DATABASE_URL": "postgresql://{address}"},
    ),
    Application(
        name="wagtail",
        title="Wagtail",
        packages=("wagtail==7.*", "django==5.2.*", "psycopg[binary]==3.*"),
        migrate=("-m", "django", "migrate", "--skip-checks", "--verbosity", "0"),
        licence="Wagtail, under the BSD 3-clause licence",
        files={
            "settings.py": _django(
                *(f"wagtail.{app}" for app in _WAGTAIL),
                *(
                    "wagtail.search",
                    "wagtail.admin",
                    "wagtail",
                    "modelcluster",
                    "taggit",
                    "django.contrib.staticfiles",
                ),
            )
            + "WAGTAIL_SITE_NAME = 'site'\nWAGTAILADMIN_BASE_URL = 'https://example.com'\n"
        },
        environ={"DJANGO_SETTINGS_MODULE": "settings", "DATABASE_URL": "postgresql://{address}"},
    ),
    Application(
        name="mlflow",
        title="MLflow",
        packages=(
            "mlflow-skinny==3.*",
            "sqlalchemy==2.0.*",
            "alembic==1.*",
            "sqlparse",
            "psycopg2-binary==2.*",
        ),
        migrate=("-m", "mlflow", "db", "upgrade", "postgresql://{address}"),
        licence="MLflow, under the Apache License 2.0",
        environ={"MLFLOW_DISABLE_TELEMETRY": "true"},
    ),
    Application(
        name="prefect",
        title="Prefect",
        packages=("prefect==3.*",),
        migrate=("-m", "prefect", "server", "database", "upgrade", "--yes"),
        licence="Prefect, under the Apache License 2.0",
        environ={
            "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://{address}",
            "PREFECT_HOME": "{home}",
            "DO_NOT_TRACK": "1",
        },
    ),
    Application(
        name="airflow",
        title="Airflow",
        packages=("apache-airflow==3.*", "psycopg2-binary==2.*", "asyncpg"),
        migrate=("-m", "airflow", "db", "migrate"),
        licence="Apache Airflow, under the Apache License 2.0",
        environ={
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://{address}",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_HOME": "{home}",
        },
    ),
)


def main() -> int:
    options = _options()
    runs.end_on_sigterm()
    wanted = config.Services(postgres=config.Postgres(version=18))
    rows, right = [], True
    with tempfile.TemporaryDirectory() as state:
        started = services.start(wanted, provider="embedded", state=Path(state), notify=lambda _: None)
        with started as running:
            for application in APPLICATIONS:
                if not options.names or application.name in options.names:
                    row, fine = filled(application, running.postgres, options)
                    rows.append(row)
                    right &= fine
    header = ("schema", "tables", "filled", "rows", "planned, s", "loaded, s", "verified, s", "overrides")
    print(runs.table((*header, "refused without", "constraints", "wrong"), rows))
    return 0 if right else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(a.name for a in APPLICATIONS))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--cache", type=Path, default=cache_directory(os.environ) / "schemas")
    parser.add_argument("--dump", action="store_true", help="write the schemas for the tests")
    return parser.parse_args()


# The schema


def migrated(application: Application, server: PostgresServer, cache: Path) -> str:
    """A database with the application's schema; gives its name."""
    home = cache / application.name
    python = _environment(application, home)
    for name, text in application.files.items():
        (home / name).write_text(text)
    database = f"schema_{application.name}"
    dataset.create(server, database)
    address = server.url(database).removeprefix("postgresql://")
    command = [part.format(address=address) for part in application.migrate]
    own = {name: value.format(address=address, home=home) for name, value in application.environ.items()}
    inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [python, *command],
        cwd=home,
        env=inherited | own | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SystemExit(f"{application.name}: its migrations failed\n{tail}")
    return database


def _environment(application: Application, home: Path) -> Path:
    """The environment's python; made where it is not there, or is of other packages."""
    wanted = "\n".join(application.packages) + "\n"
    mark, python = home / "installed.txt", home / "env" / "bin" / "python"
    if mark.exists() and mark.read_text() == wanted:
        return python
    print(f"installing {application.title}", file=sys.stderr, flush=True)
    venv.create(home / "env", with_pip=True, clear=True)
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--only-binary",
        ":all:",
        *application.packages,
    ]
    subprocess.run(command, check=True)
    mark.write_text(wanted)
    return python


_SETTINGS = re.compile(r"^(SET |SELECT pg_catalog\.set_config|\\|--|ALTER .* OWNER TO ).*\n", re.MULTILINE)


def dumped(application: Application, server: PostgresServer, database: str, cache: Path) -> str:
    """The schema and the rows that its migrations put in, as pg_dump writes them; with what it is of, and
    without what a session would set."""
    program = find_programs(choose_account()).postgres.with_name("pg_dump")
    python = _environment(application, cache / application.name)
    versions = subprocess.run(
        [python, "-m", "pip", "list", "--format", "freeze"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    names = {re.split(r"[\[=]", package)[0] for package in application.packages}
    of = ", ".join(line.replace("==", " ") for line in versions if line.partition("==")[0].lower() in names)
    command = [
        str(program),
        "--no-owner",
        "--no-privileges",
        "--schema",
        "public",
        "--rows-per-insert",
        "500",
    ]
    command += [f"--exclude-table-data=public.{table}" for table in ("django_migrations", "alembic_version*")]
    text = subprocess.run(
        [*command, "--dbname", server.url(database)], check=True, capture_output=True, text=True
    ).stdout
    text = _SETTINGS.sub("", text).replace("CREATE SCHEMA public;\n", "")
    with db.connect(server, database) as conn:
        extensions = conn.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'").fetchall()
    head = (
        f"-- The schema that the migrations of {application.title} make ({of}),\n"
        f"-- as pg_dump writes it. {application.licence}. Made by bench/schemas.py.\n\n"
    )
    made = "".join(f"CREATE EXTENSION IF NOT EXISTS {name};\n" for (name,) in extensions)
    return head + made + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


# The data


def filled(
    application: Application, server: PostgresServer, options: argparse.Namespace
) -> tuple[tuple[str, ...], bool]:
    """A row of the table, and whether all is as it should be."""
    print(f"migrating {application.title}", file=sys.stderr, flush=True)
    database = migrated(application, server, options.cache)
    if options.dump:
        text = dumped(application, server, database, options.cache)
        (SPECIFICATIONS / f"{application.name}.sql").write_text(text)
    spec = specification(application.name)
    with db.connect(server, database) as conn:
        tables = len(reflect(conn).tables)
    bare = spec.model_copy(
        update={"tables": {n: t.model_copy(update={"columns": {}}) for n, t in spec.tables.items()}}
    )
    without = problems(server, database, bare, options.scale)
    for problem in without:
        print(f"    without overrides: {problem}", file=sys.stderr)
    overrides = sum(len(table.columns) for table in spec.tables.values())
    if refused := problems(server, database, spec, options.scale):
        print("\n".join(f"    refused: {problem}" for problem in refused), file=sys.stderr)
        row = (application.title, str(tables), "0", "0", "-", "-", "-", str(overrides), str(len(without)))
        return (*row, "-", "refused"), False
    begun = time.perf_counter()
    plan = dataset.describe(server, database, spec, scale=options.scale)
    described = time.perf_counter()
    template = dataset.build(server, database, plan, notify=lambda _: None)
    built = time.perf_counter()
    with dataset.cloned(server, template, f"{database}_copy") as name:
        cloned = time.perf_counter()
        found = verify(server, name, plan, notify=lambda _: None)
        verified = time.perf_counter()
    dataset.drop(server, template.database)
    print("\n".join(f"    wrong: {problem}" for problem in found.problems), file=sys.stderr)
    fine = not found.problems and found.digest == template.digest
    row = (application.title, str(tables), str(len(template.tables)), f"{template.rows:,}")
    seconds = (described - begun, built - described, verified - cloned)
    counts = (str(overrides), str(len(without)), str(found.constraints), str(len(found.problems)))
    return (*row, *(f"{each:.1f}" for each in seconds), *counts), fine


def specification(name: str) -> config.Dataset:
    text = (SPECIFICATIONS / f"{name}.toml").read_text(encoding="utf-8")
    return config.Dataset.model_validate(tomllib.loads(text)["dataset"])


def problems(server: PostgresServer, database: str, spec: config.Dataset, scale: float) -> tuple[str, ...]:
    """What a plan of it is refused for."""
    try:
        dataset.describe(server, database, spec, scale=scale)
    except ConfigError as error:
        return error.problems
    return ()


if __name__ == "__main__":
    sys.exit(main())
