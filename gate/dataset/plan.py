"""What will be generated: decided, checked and rehearsed before a single row is written.

`describe` reads the migrated database, gives every column its source, and lets the server judge a few
hundred rows of each table in temporary copies of the tables, so that what cannot be honoured is an
error of the configuration with the override that solves it, not a load that fails half-way.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate import config, db
from gate.dataset import forms, given, partitions
from gate.dataset.checks import Different, Ordered, Rule, rules
from gate.dataset.columns import OF_A_UNIQUE_COLUMN, Columns
from gate.dataset.encode import Part, pool
from gate.dataset.fanout import capacity
from gate.dataset.given import NO_ROWS, Rows
from gate.dataset.keys import GeneratedKeys, StoredKeys, sent
from gate.dataset.misfits import misfits
from gate.dataset.rehearsal import CHUNK, Filled, rehearse
from gate.dataset.roles import Facts, Roles, assign
from gate.dataset.schema import Column, ForeignKey, Schema, Table, contents, digest, quoted, reflect, said
from gate.dataset.sources import Dependent, Given, Keys, Listed, Nullable, Packed, Sequence, Source
from gate.dataset.surroundings import Surroundings
from gate.errors import ConfigError
from gate.model import PostgresServer

_CHUNK_BYTES = 8_000_000
_ROW = 28  # bytes of a row's header and pointer in the heap
_ENTRY = 20  # the same in an index, with its share of inner pages
_PAGE = 8_192
_SUPPOSED = 1_000  # parents of a table whose own cannot be counted
_EMPTY = 8_000_000  # a database without rows

# Tables in which migration tools keep their own state; never filled, whatever the configuration says.
_BOOKKEEPING = frozenset(
    """
    alembic_version django_migrations schema_migrations ar_internal_metadata flyway_schema_history
    _prisma_migrations knex_migrations knex_migrations_lock goose_db_version databasechangelog
    databasechangeloglock __EFMigrationsHistory SequelizeMeta _sqlx_migrations __diesel_schema_migrations
    spatial_ref_sys
    """.split()  # noqa: SIM905 - one name a line would be sixteen lines
)


def bookkeeping(table: str) -> bool:
    """Whether a table of that name is a migration tool's own."""
    return table.rpartition(".")[2] in _BOOKKEEPING


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """Everything `build` needs, and what names its result.

    key: names the template; equal only where schema, specification, server and generator are equal.
    estimated_bytes: of the sealed database, indexes included. left: tables that keep the rows they
    have. notes: what a reader should know ("documents.embedding (vector) stays NULL").
    """

    key: str
    rows: int
    estimated_bytes: int
    tables: tuple[Filled, ...]
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def describe(
    server: PostgresServer,
    database: str,
    spec: config.Dataset,
    *,
    scale: float,
    today: datetime.date | None = None,
    directory: Path | None = None,
    over: frozenset[str] = frozenset(),
    keyed: bool = True,
) -> DataPlan:
    """Reflect the migrated database and decide every row that will be in it.

    scale: multiplies rows of tables that are not fixed. today: the day `relative` columns count from,
    by default the current one (UTC). directory: what paths of CSV files are relative to, by default the
    current one. over: tables planned as if they were empty, which the key names: where migrations left their
    sequences is forgotten. keyed: whether a template will be made; else tables that are left are not read,
    and there is no key. Raises ConfigError with all problems at once.
    """
    day = today or datetime.datetime.now(datetime.UTC).date()
    with db.connect(server, database) as conn:
        schema = reflect(conn)
        planner = _Planner(conn, schema, spec, scale, day, directory or Path(), over)
        tables = planner.tables()
        _raise(planner.problems)
        widths = rehearse(conn, schema, tables, planner.problems)
        planner.place(tables)
        _raise(planner.problems)
        left = tuple(table for table in schema.tables if table.name in planner.left)
        key = ""
        if keyed:
            found = [contents(conn, table) for table in left] + planner.texts()
            key = _key(server, schema, spec, scale, found, day, over)
    return DataPlan(
        key=key,
        rows=sum(table.rows for table in tables),
        estimated_bytes=_EMPTY
        + sum(_size(schema.table(t.name), t, widths[t.name]) for t in tables if t.rows),
        tables=tuple(_chunked(table, widths.get(table.name, {})) for table in tables),
        left=tuple(table.name for table in left),
        notes=tuple(planner.notes),
    )


def _raise(problems: list[str]) -> None:
    if problems:
        raise ConfigError(
            "the data set cannot be generated as configured", where="[dataset]", problems=tuple(problems)
        )


def _key(
    server: PostgresServer,
    schema: Schema,
    spec: config.Dataset,
    scale: float,
    found: list[str],
    day: datetime.date,
    over: frozenset[str],
) -> str:
    """Names the template. Anchors choose among rows and change none."""
    relative = any(c.relative for table in spec.tables.values() for c in table.columns.values())
    return digest(
        schema.text,
        "\n".join(found),
        spec.model_dump_json(exclude={"anchors", "scale", "production"}),
        repr(float(scale)),
        server.version,
        " ".join(server.initdb),
        platform.machine(),
        generator_version(),
        day.isoformat() if relative else "",
        " ".join(sorted(over)),
    )


def generator_version() -> str:
    """A digest of this room's own source: nobody has to remember to raise a number."""
    here = Path(__file__).parent
    files = sorted((*here.glob("*.py"), *here.glob("*.txt")))
    return digest(*(path.read_text(encoding="utf-8") for path in files))


class _Planner:
    """Gives every table its rows and every column its source, parents before children."""

    def __init__(
        self,
        conn: db.Connection,
        schema: Schema,
        spec: config.Dataset,
        scale: float,
        day: datetime.date,
        directory: Path,
        over: frozenset[str],
    ) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._conn = conn
        self._schema = schema
        self._spec = spec
        self._scale = scale
        self._origin = self._microseconds(spec.as_of)
        self._today = self._microseconds(day.isoformat())
        self._rows: dict[str, int] = {}
        self._filled: dict[str, Filled] = {}
        self._over = over
        self.left = self._left_alone()
        self._first = self._read_files(directory)
        self._check_names()

    def texts(self) -> list[str]:
        """The files whose rows are part of the data set."""
        return [f"{name}\t{rows.text}" for name, rows in sorted(self._first.items())]

    def _read_files(self, directory: Path) -> dict[str, Rows]:
        """The rows that CSV files give, by table."""
        found = {}
        for name, table in self._spec.tables.items():
            if table.csv is not None and name not in self.left:
                try:
                    found[name] = given.read(directory / table.csv, ignore=table.csv_ignore)
                except ValueError as error:
                    self.problems.append(f"dataset.tables.{name}.csv: {error}")
        return found

    def tables(self) -> list[Filled]:
        """Every table that gets rows, sorted by name."""
        order = self._order()
        plans = [(table, *self._assigned(table)) for table in order if table.name not in self.left]
        for table, facts, roles in plans:
            self._filled[table.name] = self._fill(table, facts, roles)
        return sorted(self._filled.values(), key=lambda filled: filled.name)

    def place(self, tables: list[Filled]) -> None:
        """Every row has a partition, or there is a problem."""
        for filled in tables:
            table = self._schema.table(filled.name)
            windows = self._windows(table, {})
            origin = self._origin
            problem = partitions.misplaced(self._conn, table, filled, windows=windows, origin=origin)
            if problem is not None:
                self.problems.append(problem)

    def _windows(self, table: Table, overrides: Mapping[str, config.Column]) -> dict[str, partitions.Window]:
        """Where partitions lie; not of times that count from today, for partitions do not move with it."""
        relative = {name for name, override in overrides.items() if override.relative}
        found = partitions.windows(table, self._origin)
        return {name: window for name, window in found.items() if name not in relative}

    def _microseconds(self, text: str) -> int:
        """A moment as Postgres counts it; dates without a zone are UTC."""
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            self.problems.append(f"dataset.as_of = {text!r} is not a date such as 2026-01-01")
            return 0
        moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return (moment - partitions.EPOCH) // datetime.timedelta(microseconds=1)

    # Names

    def _left_alone(self) -> frozenset[str]:
        left = {
            table.name
            for table in self._schema.tables
            if table.name in self._spec.ignore
            or bookkeeping(table.name)
            or (table.occupied and table.name not in self._over)
        }
        for name, wanted in self._spec.tables.items():
            if name in left and (wanted.rows or wanted.csv is not None):
                self.problems.append(
                    f"dataset.tables.{name}: {name} has rows from the migrations, is named in dataset.ignore "
                    f"or belongs to the migration tool, so it is left as it is; remove dataset.tables.{name}"
                )
        return frozenset(left)

    def _check_names(self) -> None:
        """Every table and column of the configuration exists."""
        known = {table.name: table for table in self._schema.tables}
        for name in self._spec.ignore:
            if name not in known and name not in _BOOKKEEPING:
                self.problems.append(f"dataset.ignore: {_unknown('table', name, known)}")
        for name, table in self._spec.tables.items():
            if name not in known:
                self.problems.append(f"dataset.tables.{name}: {_unknown('table', name, known)}")
                continue
            columns = {column.name: column for column in known[name].columns}
            for column in self._first.get(name, NO_ROWS).columns:
                if column not in columns:
                    solution = "mend its header, or name it in csv_ignore"
                    self.problems.append(
                        f"dataset.tables.{name}.csv: {_unknown('column', column, columns)}; {solution}"
                    )
                elif columns[column].generated:
                    self.problems.append(f"dataset.tables.{name}.csv: the server computes {column}")
            for column, override in table.columns.items():
                where = f"dataset.tables.{name}.columns.{column}"
                if column not in columns:
                    self.problems.append(f"{where}: {_unknown('column', column, columns)}")
                else:
                    self.problems += [f"{where}: {text}" for text in misfits(columns[column], override)]

    # Rows

    def _order(self) -> list[Table]:
        """Parents before children; a circle of foreign keys is opened where it is met."""
        found: dict[str, Table] = {}
        entered: set[str] = set()

        def visit(table: Table) -> None:
            if table.name in entered:
                return
            entered.add(table.name)
            for key in table.keys:
                if key.target:
                    visit(self._schema.table(key.target))
            found[table.name] = table

        for table in self._schema.tables:
            visit(table)
        return list(found.values())

    def _wanted(self, table: Table) -> int:
        first = len(self._first.get(table.name, NO_ROWS).rows)
        wanted = self._spec.tables.get(table.name)
        if wanted is not None and wanted.per is not None:
            return max(first, self._by_parents(table, wanted.per))
        rows = self._spec.default_rows if wanted is None else wanted.rows
        if rows == 0 or (wanted is not None and wanted.fixed):
            return max(first, rows)
        return max(1, first, round(rows * self._scale))

    def _by_parents(self, table: Table, per: config.Per) -> int:
        """Rows of a table that has so many for each row of a parent."""
        key = _key_to(table, per)
        if key is None:  # a problem, see `_per`; what refers to this table is none of its own
            return round(per.mean * _SUPPOSED)
        parents = self._parents(key)
        return capacity(parents, per.max, max(round(parents * per.mean), parents * per.min))

    def _unscaled(self, name: str, rows: int) -> int:
        """The rows that a table would have at scale 1."""
        wanted = self._spec.tables.get(name)
        while wanted is not None and wanted.per is not None and name not in self.left:
            name = wanted.per.table
            wanted = self._spec.tables.get(name)
        fixed = name in self.left or (wanted is not None and wanted.fixed)
        return rows if fixed else max(round(rows / self._scale), 1)

    def _per(self, table: Table, keys: Mapping[str, ForeignKey]) -> ForeignKey | None:
        """The foreign key whose parents say how many rows the table has."""
        wanted = self._spec.tables.get(table.name)
        if wanted is None or wanted.per is None:
            return None
        key = _key_to(table, wanted.per)
        if key is None or keys.get(key.columns[0]) != key:
            able = [k.columns[0] for k in table.keys if k.target == wanted.per.table]
            said = "has no foreign key to it" if not able else f"column is one of {', '.join(able)}"
            self.problems.append(f"dataset.tables.{table.name}.per: {wanted.per.table}: {said}")
            return None
        return key

    def _parents(self, key: ForeignKey) -> int:
        if key.target in self.left:
            target = self._schema.table(key.target)
            if target.name not in self._rows:
                statement = f"SELECT count(*) FROM {target.quoted}"  # noqa: S608
                self._rows[target.name] = int(self._conn.execute(statement).fetchall()[0][0])
        # In a circle the child may come first: what its parent is meant to have is the best answer.
        return self._rows.get(key.target, self._wanted(self._schema.table(key.target)))

    def _assigned(self, table: Table) -> tuple[Facts, Roles]:
        """The table's rows, and which of its columns keep its unique sets."""
        rows = self._wanted(table)
        if table.name not in self._spec.tables and self._orphaned(table):
            rows = 0
        facts = self._facts(table, rows)
        roles = assign(facts)
        if roles.limit is not None and roles.limit < rows:
            if table.name in self._spec.tables:
                wanted = self._spec.tables[table.name]
                key = "rows" if wanted.per is None else "per"
                self.problems.append(
                    f"dataset.tables.{table.name}.{key}: {rows:,} rows do not fit, {roles.reason}; "
                    f"set it to {roles.limit:,} at most, or give the parents more rows"
                )
            facts = dataclasses.replace(facts, rows=roles.limit)
            roles = assign(facts) if roles.limit > 0 else Roles()
        if facts.rows > 0:
            self.problems += roles.problems
            self._check_kinds(table)
        self._rows[table.name] = facts.rows
        return facts, roles

    def _orphaned(self, table: Table) -> bool:
        """Whether a row would need a parent where there are none."""
        keys = [key for key in table.keys if key.target not in ("", table.name)]
        required = [key for key in keys if not any(table.column(name).nullable for name in key.columns)]
        return any(self._parents(key) == 0 for key in required)

    def _facts(self, table: Table, rows: int) -> Facts:
        overrides = self._spec.tables.get(table.name, config.DatasetTable(rows=rows)).columns
        counted = {
            name: 1 if override.constant is not None else len(override.values or ())
            for name, override in overrides.items()
            if override.constant is not None or override.values is not None
        }
        keys = self._keys_by_column(table, rows, overrides)
        per, windows = self._per(table, keys), self._windows(table, overrides)
        return Facts(
            table,
            rows,
            keys,
            self._parents,
            self._rules(table),
            counted,
            per,
            windows,
            referenced=self._referenced(table),
            shaped=frozenset(n for n, o in overrides.items() if o.model_fields_set - OF_A_UNIQUE_COLUMN),
        )

    def _keys_by_column(
        self, table: Table, rows: int, overrides: Mapping[str, config.Column]
    ) -> dict[str, ForeignKey]:
        """The foreign key that fills each column, the widest first; the others must hold because of it."""
        found: dict[str, ForeignKey] = {}
        always_null = {name for name, override in overrides.items() if (override.nulls or 0.0) >= 1.0}
        for key in sorted(table.keys, key=lambda k: -len(k.columns)):
            if always_null & set(key.columns):
                continue  # a key with a NULL in it refers to nothing
            if all(name not in found for name in key.columns):
                found |= dict.fromkeys(key.columns, key)
            elif rows and not self._implied(key, found):
                own = [name for name in key.columns if name not in found] or list(key.columns)
                self.problems.append(
                    f"{table.name}: {key.name} ({', '.join(key.columns)}) shares columns with another "
                    f'foreign key; set dataset.tables.{table.name}.columns.{own[-1]}.nulls = "100%" '
                    f"if it may be NULL, or name {table.name} in dataset.ignore"
                )
        return found

    def _implied(self, key: ForeignKey, keys: Mapping[str, ForeignKey]) -> bool:
        """Whether a wider foreign key already makes this one hold, as (tenant, user) does tenant's own."""
        wide = keys.get(key.columns[0])
        if wide is None or any(keys.get(name) is not wide for name in key.columns):
            return False
        mine = tuple(wide.target_columns[wide.columns.index(name)] for name in key.columns)
        if (wide.target, mine) == (key.target, key.target_columns):
            return True
        theirs = self._schema.table(wide.target).keys
        return any(
            (k.columns, k.target, k.target_columns) == (mine, key.target, key.target_columns) for k in theirs
        )

    def _rules(self, table: Table) -> tuple[Rule, ...]:
        """What the checks of the table and of its domains ask; those not understood are rehearsed."""
        found = [rule for check in table.checks for rule in rules(check.expression) or ()]
        for column in table.columns:
            for text in column.domain_checks:
                found += (_about_column(rule, column.name) for rule in rules(text) or ())
        return (*found, *partitions.rules(table))

    def _check_kinds(self, table: Table) -> None:
        """What no specification can make loadable in this version."""
        solution = f"name {table.name} in dataset.ignore, or set dataset.tables.{table.name}.rows = 0"
        parted = table.partitioning
        if parted is not None and (reason := partitions.impossible(table, parted)):
            self.problems.append(f"{reason}; or {solution}")
        for name in table.exclusions:
            self.problems.append(f"{table.name}: exclusion constraint {name} cannot be kept; {solution}")
        for key in table.keys:
            if not key.target:
                self.problems.append(
                    f"{table.name}: {key.name} refers to a table outside the schema; {solution}"
                )

    # Columns

    def _fill(self, table: Table, facts: Facts, roles: Roles) -> Filled:
        if facts.rows == 0:
            return Filled(name=table.name, quoted=table.quoted, rows=0, columns=())
        spec = self._spec.tables.get(table.name, config.DatasetTable(rows=0))
        around = Surroundings(
            seed=self._spec.seed,
            origin=self._origin,
            today=self._today,
            keys=self._keys,
            binary=lambda column, values, what: self._binary(table, column, values, what),
            referenced=self._referenced(table),
            first=self._first.get(table.name, NO_ROWS),
            per=spec.per,
            parents=0 if facts.per is None else self._unscaled(facts.per.target, facts.parents(facts.per)),
        )
        columns = Columns(facts, roles, spec.columns, around)
        sources = columns.sources()
        self.problems += dict.fromkeys(columns.problems)  # what two columns ask of a third is said once
        self.notes += columns.notes
        return Filled(
            name=table.name,
            quoted=table.quoted,
            rows=facts.rows,
            columns=sources,
            sequences=_sequences(table, sources, facts.rows),
            partitioned=table.partitioning is not None,
            restated=any(_restated(source) for _, source in sources)
            or any(c.relative for c in spec.columns.values()),
        )

    def _referenced(self, table: Table) -> frozenset[str]:
        keys = [key for other in self._schema.tables for key in other.keys if key.target == table.name]
        return frozenset(name for key in keys for name in key.target_columns)

    def _keys(self, key: ForeignKey, column: Column) -> Keys:
        """Values of the referenced column, in the form of the referring one."""
        theirs = key.target_columns[key.columns.index(column.name)]
        if key.target in self.left:
            return StoredKeys(self._existing(key, theirs, column))
        return GeneratedKeys(lambda: self._filled[key.target], theirs, forms.pack(column))

    def _existing(self, key: ForeignKey, theirs: str, column: Column) -> Part:
        order = ", ".join(quoted(name) for name in key.target_columns)
        source = self._schema.table(key.target).quoted
        statement = f"SELECT {quoted(theirs)}::{column.cast} FROM {source} ORDER BY {order}"  # noqa: S608
        return pool(sent(self._conn, statement, None))

    def _binary(self, table: Table, column: Column, values: tuple[str | None, ...], what: str) -> Part | None:
        """Literals as the server itself would send them, so that every type can be given."""
        statement = (
            f"SELECT v::{column.cast} FROM unnest(%s::text[]) WITH ORDINALITY AS u(v, place) ORDER BY place"  # noqa: S608
        )
        try:
            return pool(sent(self._conn, statement, [list(values)]))
        except db.Error as error:
            where = f"dataset.tables.{table.name}.columns.{column.name}.{what}"
            if what == "csv":
                where = f"dataset.tables.{table.name}.csv: {column.name}"
            self.problems.append(f"{where}: {said(error)}")
            return None


def _about_column(rule: Rule, name: str) -> Rule:
    """A domain's rule about VALUE as one about the column."""
    return rule if isinstance(rule, Ordered | Different) else dataclasses.replace(rule, column=name)


def _restated(source: Source) -> bool:
    while isinstance(source, Nullable | Dependent | Given):
        source = source.rest if isinstance(source, Given) else source.source
    return isinstance(source, Listed) and not source.builtin


def _sequences(
    table: Table, sources: tuple[tuple[str, Source], ...], rows: int
) -> tuple[tuple[str, int], ...]:
    found = []
    by_name = dict(sources)
    for column in table.columns:
        source = by_name.get(column.name)
        last = 0
        if isinstance(source, Given) and source.whole is not None:
            last = int(source.whole.max(initial=0))
            source = source.rest if len(source.whole) < rows else None
        if isinstance(source, Packed) and isinstance(source.source, Sequence):
            last = max(last, source.source.first + (rows - 1) * source.source.step)
        if column.sequence and last > 0:
            found.append((column.sequence, last))
    return tuple(found)


def _key_to(table: Table, per: config.Per) -> ForeignKey | None:
    """The one foreign key of the table that `per` means."""
    able = [k for k in table.keys if k.target == per.table and per.column in (None, *k.columns)]
    return able[0] if len(able) == 1 else None


def _unknown(what: str, name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"the migrated database has no {what} {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _size(table: Table, filled: Filled, widths: Mapping[str, float]) -> int:
    """Bytes of the heap and of all indexes, a tenth more than the sample says."""
    heap = filled.rows * (_ROW + sum(widths.values()))
    if table.partitioning is not None:  # every partition has its own last page, and roots of its indexes
        heap += len(table.partitioning.leaves) * _PAGE * (1 + 2 * len(table.indexes))
    indexes = sum(
        filled.rows * (_ENTRY + sum(widths.get(name, 8.0) for name in index)) for index in table.indexes
    )
    return math.ceil(1.1 * (heap + indexes))


def _chunked(filled: Filled, widths: Mapping[str, float]) -> Filled:
    """Fewer rows at once where they are wide: the padded matrix is about four times the mean row."""
    padded = 4 * sum(widths.values()) + 1
    return dataclasses.replace(filled, chunk=max(500, min(CHUNK, int(_CHUNK_BYTES / padded))))
