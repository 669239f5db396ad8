"""`perf-gate dataset`: see the generated data, fill a database with it, verify one, describe production's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import click

from gate import dataset, db
from gate.cli.clock import Clock
from gate.cli.options import config_option, option
from gate.cli.prepared import Prepared
from gate.cli.run import from_flags
from gate.cli.services import provider_option
from gate.cli.sides import Workshop, migrated_database
from gate.cli.sources import configuration, read_sources, read_suites
from gate.cli.terminal import progress, say, width
from gate.config import Config
from gate.config import Dataset as Specification
from gate.dataset.preview import Fan, Look, Preview, preview
from gate.dataset.schema import reflect, said
from gate.dataset.shape import READ, shape
from gate.dataset.verify import Verified, verify
from gate.errors import ConfigError, EnvironmentFailure
from gate.model import PostgresServer

_BARS = "▁▂▃▄▅▆▇█"
_NAME = 24  # characters of a column's name and type before the line breaks its alignment
_CELL = 28  # characters of a sample value
# What a URL may say about the connection, and libpq's own variable for it.
_LIBPQ = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "options": "PGOPTIONS",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}

scale_option = option(
    "--scale", type=click.FloatRange(min=0, min_open=True), help="Multiplies the rows of the data set."
)


@click.group("dataset")
def group() -> None:
    """The generated data: look at it, fill databases with it, verify them."""


@group.command("preview")
@click.argument("tables", nargs=-1)
@config_option
@provider_option
@scale_option
@click.option(
    "--rows", default=3, show_default=True, type=click.IntRange(min=0), help="Sample rows of each table."
)
def preview_(tables: tuple[str, ...], config: str, provider: str, scale: float | None, rows: int) -> None:
    """Show what will be generated, for all tables or for TABLES: sample rows and distributions.

    Migrates an empty database as `run` does, and generates a sample; nothing is loaded.
    """
    with _migrated(config, provider, scale) as made:
        known = {table.name for table in made.plan.tables if table.rows}
        if unknown := sorted(set(tables) - known):
            raise ConfigError(
                f"no rows are generated for {unknown[0]!r}", hint=f"there are {', '.join(sorted(known))}"
            )
        found = preview(made.server, migrated_database(made.side), made.plan, shown=rows, only=tables)
    say("\n\n".join("\n".join(_previewed(each)) for each in found) + "\n")
    if made.plan.left:
        click.echo(f"left as the migrations leave them: {', '.join(made.plan.left)}", err=True)


@group.command()
@option("--url", required=True, help="The database, as postgresql://user:password@host:port/name.")
@config_option
@scale_option
@click.option(
    "--keep-rows", is_flag=True, help="Leave tables that hold rows as they are, and fill the others."
)
@click.option(
    "--replace",
    metavar="NAME",
    help="Remove the rows of tables that the configuration names; NAME is the database's own, to be sure.",
)
def seed(url: str, config: str, scale: float | None, keep_rows: bool, replace: str | None) -> None:
    """Fill a migrated database of yours with the data set of the configuration.

    Refuses a database whose tables hold rows, unless told to keep or to replace them. Everything happens
    in one transaction: where anything fails, nothing was changed. Tables with rows that the configuration
    does not name or ignores, and what migration tools keep for themselves, are never touched.
    """
    if keep_rows and replace is not None:
        raise click.UsageError("--keep-rows and --replace exclude each other")
    spec = _own(config)
    server, database = _server(url)
    if replace is not None and replace != database:
        raise ConfigError(f"--replace names {replace!r}, and the database is {database!r}")
    with _told(server, database):
        full = _full(server, database, spec)
        if full and not keep_rows and replace is None:
            raise ConfigError(
                "the database holds rows",
                where=f"database {database}: {', '.join(f'{name}' for name in full)}",
                hint="--keep-rows leaves these tables as they are and fills the others; "
                f"--replace {database} removes the rows of those that the configuration names",
            )
        over = frozenset(full) & spec.tables.keys() if replace is not None else frozenset()
        if keep_rows:
            spec = spec.model_copy(update={"tables": {n: t for n, t in spec.tables.items() if n not in full}})
        notify = progress()
        plan = dataset.describe(
            server,
            database,
            spec,
            scale=spec.scale * (scale or 1.0),
            directory=Path.cwd(),
            over=over,
            keyed=False,
        )
        for note in plan.notes:
            notify(note)
        tables = dataset.fill(server, database, plan, over=over, notify=notify)
    for name, rows, _ in tables:
        click.echo(f"{name}: {rows:,} rows")
    click.echo(f"data set {dataset.digest_of(tables)}")
    if plan.left:
        click.echo(f"left as they are: {', '.join(plan.left)}", err=True)


@group.command("verify")
@option("--url", help="A database that `seed` filled; without it the data set that runs of this machine use.")
@config_option
@provider_option
@scale_option
def verify_(url: str | None, config: str, provider: str, scale: float | None) -> None:
    """Count the rows, compare them with the specification, and ask about every constraint.

    Without --url the sealed template is taken from the cache, or built, as `run` does, and a clone of it is
    verified. Exits 3 where something is wrong. Nothing in the database is changed.
    """
    if url is not None:
        spec = _own(config)
        server, database = _server(url)
        with _told(server, database):
            plan = _plan_of_seeded(server, database, spec, spec.scale * (scale or 1.0))
            found = verify(server, database, plan, notify=progress())
        _report(found, "")
        return
    with _migrated(config, provider, scale) as made:
        side = made.workshop.seeded(made.side, made.plan)
        made.workshop.save()
        with made.workshop.looking(side) as database:
            found = verify(side.running.postgres, database, made.plan, notify=made.clock.notify)
        _report(found, side.sealed.digest)
        _say_baseline(made.config, made.root, found.digest)


@group.command("shape")
@click.option(
    "--from",
    "source",
    envvar="PERF_GATE_FROM",
    show_envvar=True,
    required=True,
    help="A production database's URL.",
)
@click.option(
    "--scale", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Written as dataset.scale."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write here instead of to stdout."
)
def shape_(source: str, scale: float, output: Path | None) -> None:
    """Write the [dataset] of a perf-gate.toml from a production database's catalogue.

    Row counts, shares of NULL, numbers of different values, widths, and how many rows parents have. No
    table is read, and no value; what was read is said.
    """
    server, database = _server(source)
    with _told(server, database):
        found = shape(server, database, scale=scale)
    head = "".join(f"#   {line}\n" for line in READ)
    text = f"# Shapes of {database}, written by perf-gate dataset shape. What was read, and nothing else:\n"
    text = f"{text}{head}\n{found.text}"
    if output is None:
        say(text)
    else:
        output.write_text(text, encoding="utf-8")
    for line in ("read, and nothing else:", *(f"  {line}" for line in READ)):
        click.echo(line, err=True)
    if found.unknown:
        click.echo(f"never analysed, so left out: {', '.join(found.unknown)} (run ANALYZE)", err=True)


# Sides and servers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A migrated database of head, and what belongs into its tables."""

    workshop: Workshop
    side: Prepared
    plan: dataset.DataPlan
    config: Config
    root: Path
    clock: Clock

    @property
    def server(self) -> PostgresServer:
        return self.side.running.postgres


@contextmanager
def _migrated(config: str, provider: str, scale: float | None) -> Iterator[_Made]:
    """Services, and the working tree migrated on them as `run` does it."""
    options = from_flags(config=config, services=provider, scale=scale, against="none")
    sources = read_sources(options)
    clock = Clock(progress())
    with ExitStack() as stack:
        workshop = Workshop(options, sources, clock, stack)
        workshop.start_services()
        side = workshop.install("head", sources.head.commit, sources.config)
        with workshop.migrating(side) as migrated:
            plan = migrated()
        yield _Made(
            workshop=workshop,
            side=side,
            plan=plan,
            config=sources.config,
            root=sources.repository.root,
            clock=clock,
        )


def _own(config: str) -> Specification:
    """The specification of the configuration file."""
    return configuration((Path.cwd() / config).resolve(), config).dataset


def _server(url: str) -> tuple[PostgresServer, str]:
    """The server and the database of a URL; no error ever repeats it, for it may hold a password.

    Parameters of the connection become libpq's own variables in this process: what the URL demands of
    encryption is not dropped.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        parts, port = urlsplit(""), 0
    database = unquote(parts.path.strip("/"))
    settings = dict(parse_qsl(parts.query))
    host = parts.hostname or settings.pop("host", "")
    if parts.scheme not in ("postgresql", "postgres") or not host or not database or "/" in database:
        raise ConfigError("not a URL of the form postgresql://user:password@host:port/database")
    if unknown := sorted(settings.keys() - _LIBPQ.keys()):
        raise ConfigError(
            f"the URL's parameter {unknown[0]!r} is not known", hint=f"known are {', '.join(sorted(_LIBPQ))}"
        )
    os.environ.update({_LIBPQ[name]: value for name, value in settings.items()})
    server = PostgresServer(
        provider="external",
        version="",
        major=0,
        host=host,
        port=port,
        user=unquote(parts.username or os.environ.get("PGUSER", "postgres")),
        password=unquote(parts.password or os.environ.get("PGPASSWORD", "")),
    )
    with db.connect(server, database) as connection:
        version, major = db.server_version(connection)
    return (
        PostgresServer(
            provider=server.provider,
            version=version,
            major=major,
            host=host,
            port=port,
            user=server.user,
            password=server.password,
        ),
        database,
    )


@contextmanager
def _told(server: PostgresServer, database: str) -> Iterator[None]:
    """What the server refuses, in its own words and as an error of the environment."""
    try:
        yield
    except db.Error as error:
        where = f"database {database} on {server.host}:{server.port}"
        raise EnvironmentFailure(f"Postgres refused: {said(error)}", where=where) from error


def _full(server: PostgresServer, database: str, spec: Specification) -> tuple[str, ...]:
    """The tables that hold rows and that the data set would fill."""
    with db.connect(server, database) as conn:
        schema = reflect(conn)
    return tuple(
        table.name
        for table in schema.tables
        if table.occupied and table.name not in spec.ignore and not dataset.bookkeeping(table.name)
    )


def _plan_of_seeded(
    server: PostgresServer, database: str, spec: Specification, scale: float
) -> dataset.DataPlan:
    """The plan by which a database was filled that holds rows now.

    What the specification names was filled; another table that has not exactly the rows it would have got
    held rows before, and was left.
    """
    full = frozenset(_full(server, database, spec))

    def described(over: frozenset[str]) -> dataset.DataPlan:
        return dataset.describe(
            server, database, spec, scale=scale, directory=Path.cwd(), over=over, keyed=False
        )

    try:
        plan = described(full)
    except ConfigError:  # a table that was left may be one that cannot be generated
        return described(full & spec.tables.keys())
    planned = {table.name: table.rows for table in plan.tables}
    with db.connect(server, database) as conn:
        schema = reflect(conn)
        left = {
            name
            for name in full - spec.tables.keys()
            if _count(conn, schema.table(name).quoted) != planned.get(name)
        }
    return described(full - left) if left else plan


def _count(conn: db.Connection, table: str) -> int:
    return int(conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()[0][0])  # noqa: S608 - quoted


# What is said


def _report(found: Verified, sealed: str) -> None:
    """Every table, then what is wrong. Raises EnvironmentFailure where something is."""
    problems = list(found.problems)
    if sealed and sealed != found.digest:
        problems.append(
            f"the template was sealed as data set {sealed}, the specification gives {found.digest}"
        )
    for one in found.tables:
        mark = "as generated" if one.same and one.rows == one.wanted else "DIFFERENT"
        click.echo(f"{one.table:<{_NAME}} {one.rows:>12,} rows  {mark}")
    for name, rows in found.left:
        click.echo(f"{name:<{_NAME}} {rows:>12,} rows  not generated")
    click.echo(f"{found.constraints} constraints asked about")
    click.echo(f"data set {found.digest}")
    if problems:
        raise EnvironmentFailure(
            "the database does not hold the data set as it is specified",
            tail=tuple(problems),
            hint="seed it again; `relative` columns are as generated only on the day of seeding",
        )


def _say_baseline(config: Config, root: Path, digest: str) -> None:
    """Whether the stored counts are of this data set."""

    def read(path: str) -> str | None:
        file = root / path
        return file.read_text(encoding="utf-8") if file.is_file() else None

    stored = read_suites(config.baselines, read)
    key = stored.side.data_key if stored is not None else None
    if key is not None:
        same = key.dataset == digest
        click.echo(f"the stored baselines are of {'it' if same else f'data set {key.dataset}'}")


def _previewed(table: Preview) -> Iterator[str]:
    """One table: what each column holds, then sample rows."""
    of = "" if table.sample == table.rows else f", {table.sample:,} of them looked at"
    yield f"{table.table}: {table.rows:,} rows{of}"
    wide = min(max((len(look.name) for look in table.looks), default=0), _NAME)
    typed = min(max((len(look.type) for look in table.looks), default=0), _NAME)
    for look in table.looks:
        yield f"  {look.name:<{wide}}  {look.type:<{typed}}  {_distribution(look)}".rstrip()
    if table.shown:
        yield from _sample([look.name for look in table.looks], table.shown)


def _distribution(look: Look) -> str:
    parts = []
    if look.fan is not None:
        parts.append(_fanned(look.fan))
    elif look.values:
        parts.append(", ".join(f"{_cut(value)} {share:.0%}" for value, share in look.values))
        if look.distinct > len(look.values):
            parts.append(f"{look.distinct:,} different")
    elif look.bins:
        unit = " characters" if look.what == "characters" else ""
        low, high = (_whole_seconds(end) if look.what == "times" else end for end in (look.low, look.high))
        parts.append(f"{_bars(look.bins)}  {_cut(low)} to {_cut(high)}{unit}")
    if look.nulls:
        parts.append(f"NULL {_share(look.nulls)}")
    if not look.fan and not look.values and look.distinct > 1:
        parts.append(f"{look.distinct:,} different")
    return "; ".join(parts)


def _whole_seconds(moment: str) -> str:
    """A time as the server writes it, without fraction and zone."""
    return moment.partition(".")[0].partition("+")[0]


def _share(share: float) -> str:
    """A percentage that is not 0 % where there is any."""
    return f"{share:.0%}" if share >= 0.005 else "under 1%"


def _fanned(fan: Fan) -> str:
    none = f", {_share(fan.without)} have none" if fan.without else ""
    said_ = f"{_bars(fan.bins)}  rows of each of {fan.parents:,} {fan.parent}"
    return f"{said_}: mean {fan.mean:.3g}, median {fan.median:,}, most {fan.most:,}{none}"


def _bars(bins: tuple[int, ...]) -> str:
    """One character for each bin; a bin with anything in it is never blank."""
    top = max(bins, default=0)
    return "".join(
        " " if not count else _BARS[min(count * len(_BARS) // (top + 1), len(_BARS) - 1)] for count in bins
    )


def _sample(names: list[str], rows: tuple[tuple[str | None, ...], ...]) -> Iterator[str]:
    """Sample rows one under the other, one line for each column that has something to show."""
    name_width = max(map(len, names))
    room = min(max((width() - name_width - 4) // max(len(rows), 1) - 2, 8), _CELL)
    cells = [[_cut("NULL" if value is None else value, room) for value in row] for row in rows]
    for place, name in enumerate(names):
        values = "  ".join(f"{row[place]:<{room}}" for row in cells).rstrip()
        yield f"    {name:<{name_width}}  {values}"


def _cut(text: str, room: int = _CELL) -> str:
    """A value on one line, shortened."""
    plain = " ".join(text.split())
    return plain if len(plain) <= room else f"{plain[: room - 1]}…"
