"""The DuckDB file: opened by one writer, read by everyone through published snapshots.

DuckDB lets one process write or many read, never both. So the one writer publishes, after commits, a read-only copy
beside the store, and every reading command opens that copy and says how old it is.
"""

import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from teachback.errors import StoreError
from teachback.store.file import connect_file, create_file
from teachback.store.inbox import posted, refuse, remove
from teachback.store.migrate import latest_version, migrate, schema_version
from teachback.store.snapshots import Copying, collect_leftovers, snapshot_path

__all__ = ["Rows", "Store", "open_snapshot", "snapshot_path"]

Rows = Mapping[str, Sequence[Mapping[str, Any]] | pa.Table]

# What makes a row the same row, for each table; a table that is not listed takes every row.
_KEYS: dict[str, tuple[str, ...]] = {
    "corpora": ("corpus",),
    "reports": ("report_id",),
    "splits": ("report_id",),
    "slices": ("report_id", "slice"),
    "prompts": ("prompt_id",),
    "labelers": ("labeler_id",),
    "teachers": ("teacher_id",),
    "teacher_members": ("teacher_id", "labeler_id"),
    "runs": ("run_id",),
    "run_ends": ("run_id",),
    "labels": ("label_id",),
    "committed": ("report_id", "teacher_id"),
    "adjudications": ("adjudication_id",),
    "rounds": ("round_id",),
    "round_decisions": ("round_id",),
    "training_rows": ("round_id", "label_id", "source"),
    "evaluations": ("evaluation_id",),
    "batches": ("batch_id",),
    "batch_requests": ("batch_id", "custom_id"),
    "looks": ("look_id",),
    "reviews": ("review_id",),
    "audit_plans": ("plan_id",),
    "audit_strata": ("plan_id", "stratum"),
    "audit_items": ("plan_id", "label_id"),
}
PATIENCE_S = 10.0  # who only hands something in holds a small store for a moment, one of 10 M labels for seconds
LOCK_PAUSE_S = 0.05
# Log before DuckDB makes a checkpoint by itself. Each compresses again what the last group of rows has, and publishing
# makes one every few seconds anyway. As much is read again after a crash, in a second or two.
CHECKPOINT_AT = "256MB"
NO_CHECKPOINT = "1TB"  # never, while a snapshot is copied
# What is written between two checkpoints makes groups of rows of its own, which later checkpoints put together with
# their neighbours: up to three full ones are compressed again for it, in a second. A group of so many rows may stay.
GOOD_GROUP = 30_000


class Store:
    """The store, open for writing. One process at a time; one thread at a time.

    Args:
        path: The DuckDB file; created with its folder when missing, unless `create` is False.
        patience_s: How long to wait for a process that holds it, such as a review page that hands decisions in.

    Raises:
        StoreError: The file is no store, is held by another process, or was written by a newer version.
    """

    def __init__(self, path: Path | str, *, create: bool = True, patience_s: float = PATIENCE_S) -> None:
        self.path = Path(path)
        if not create and not self.path.exists():
            raise StoreError(f"there is no store at {self.path}", "import reports first: `teachback import --help`")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            create_file(self.path)
        self.connection = _connect(self.path, read_only=False, patience_s=patience_s)
        try:
            self._checkpoint_at(CHECKPOINT_AT)
            migrate(self.connection)
        except BaseException:
            self.connection.close()
            raise
        self._schemas: dict[str, pa.Schema] = {}
        self._published_at = 0.0  # when the last publication began
        self._copying: Copying | None = None
        collect_leftovers(self.path)
        self._dirty = not snapshot_path(self.path).exists()
        self._rows_since = 0  # the last checkpoint

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def write(self, *submitted: Rows) -> dict[str, int]:
        """Append rows to tables in one transaction; rows that are already there are left out.

        Args:
            submitted: Table name to rows, or to an Arrow table; columns that are left out are NULL, `created_at`-like
                ones default to now.

        Returns:
            Table name to the number of rows that were new.
        """
        added: dict[str, int] = {}
        with self._transaction():
            for table, rows in (entry for given in submitted for entry in given.items()):
                added[table] = added.get(table, 0) + (self._append(table, rows) if len(rows) else 0)
        self._dirty = self._dirty or any(added.values())
        self._rows_since += sum(added.values())
        return added

    def take_in(self) -> int:
        """Write what was posted for this store's writer; what the schema refuses is set aside with the reason.

        What fails because of the disk or of DuckDB itself, and not of what was posted, is left for another time.

        Returns:
            How many submissions were taken in.
        """
        taken = 0
        for entry in posted(self.path):
            try:
                self.write(entry.rows)
            except (duckdb.OperationalError, duckdb.FatalException, duckdb.InternalException):
                break
            except (duckdb.Error, pa.ArrowException, StoreError, LookupError, TypeError, ValueError) as error:
                # LookupError and TypeError: a row without its key, or with one that is no plain value.
                refuse(entry.path, f"{type(error).__name__}: {error}")
                continue
            remove(entry)
            taken += 1
        return taken

    def publish(self, *, min_interval: float = 0.0, anyway: bool = False) -> bool:
        """Publish a read-only snapshot beside the store, if anything changed since the last one.

        Args:
            min_interval: Seconds that must have passed since the last publication.
            anyway: Publish although nothing was written.

        Returns:
            Whether a snapshot was published.

        Raises:
            StoreError: The snapshot cannot be written; the store itself is as it was.
        """
        if self._copying:
            self._finish_copy()
        if not (self._dirty or anyway) or time.monotonic() - self._published_at < min_interval:
            return False
        self._start_copy()
        self._finish_copy()
        return True

    def publish_beside(self, *, min_interval: float) -> bool:
        """Do what `publish` does beside further writing: start a copy, or see to the one that is under way.

        Returns:
            Whether a copy is under way.

        Raises:
            StoreError: The snapshot cannot be written; the store itself is as it was.
        """
        if self._copying:
            if self._copying.done:
                self._finish_copy()
        elif self._dirty and time.monotonic() - self._published_at >= min_interval:
            self._start_copy()
        return self._copying is not None

    def reader(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own to the open store, for another thread to read what is committed."""
        return self.connection.cursor()

    def _start_copy(self) -> None:
        self._published_at = time.monotonic()
        try:
            self.connection.execute(f"SET max_vacuum_tasks = {0 if self._rows_since >= GOOD_GROUP else 1}")
            self.connection.execute("CHECKPOINT")
            self._rows_since = 0
            self._checkpoint_at(NO_CHECKPOINT)
            self._copying = Copying(self.path)
        except (OSError, duckdb.Error) as error:
            self._checkpoint_at(CHECKPOINT_AT)
            problem = f"cannot publish {snapshot_path(self.path)}: {error}"
            raise StoreError(problem, "free some disk space and run it again") from error
        self._dirty = False

    def _finish_copy(self) -> None:
        copying, self._copying = self._copying, None
        if copying is None:
            return
        try:
            copying.publish()
        except StoreError:
            self._dirty = True
            raise
        finally:
            self._checkpoint_at(CHECKPOINT_AT)

    def _checkpoint_at(self, log: str) -> None:
        self.connection.execute(f"SET checkpoint_threshold = '{log}'")

    def close(self) -> None:
        """Publish what is new and close the file."""
        if self.connection is not None:
            try:
                self.publish()
            finally:
                self.connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def _append(self, table: str, rows: Sequence[Mapping[str, Any]] | pa.Table) -> int:
        incoming = self._batch(table, rows)  # by this name DuckDB finds it
        query, parameters = _new_rows(table, incoming)
        inserted = self.connection.execute(f"INSERT INTO {table} BY NAME {query}", parameters).fetchone()
        return int(inserted[0]) if inserted else 0

    def _batch(self, table: str, rows: Sequence[Mapping[str, Any]] | pa.Table) -> pa.Table:
        schema = self._schema(table)
        if not isinstance(rows, pa.Table):
            _check_columns(table, set[str]().union(*rows), schema)
            if keys := _KEYS.get(table):  # of several rows that are the same, the last
                rows = list(dict(zip(map(itemgetter(*keys), rows), rows, strict=True)).values())
            return _stamped(pa.Table.from_pylist(list(rows), schema=schema))
        given = rows.column_names
        _check_columns(table, given, schema)
        rows = _last_of_same(rows, _KEYS.get(table, ()))
        for column in (column for column in schema if column.name not in given):
            rows = rows.append_column(column, pa.nulls(len(rows), column.type))
        return _stamped(rows)

    def _schema(self, table: str) -> pa.Schema:
        if table not in self._schemas:
            self._schemas[table] = self.connection.sql(f"FROM {table} LIMIT 0").to_arrow_table().schema
        return self._schemas[table]


def _new_rows(table: str, batch: pa.Table) -> tuple[str, list[str]]:
    """Return the query, and its parameters, of the incoming rows that the table does not have."""
    keys = ", ".join(_KEYS.get(table, ()))
    if not keys:
        return "FROM incoming", []
    if "report_id" not in batch.column_names or batch.column("report_id").null_count:
        return f"FROM incoming ANTI JOIN {table} USING ({keys})", []
    # Rows that are the same are of the same report; to look through the whole table would cost more with each batch.
    reports = pc.min_max(batch.column("report_id")).as_py()
    nearby = f"(FROM {table} WHERE report_id BETWEEN ? AND ?)"
    return f"FROM incoming ANTI JOIN {nearby} USING ({keys})", [reports["min"], reports["max"]]


def _last_of_same(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the rows without those that a later one is the same as."""
    if not keys or len(rows.select(keys).group_by(list(keys), use_threads=False).aggregate([])) == len(rows):
        return rows
    found = zip(*(rows.column(key).to_pylist() for key in keys), strict=True)
    return rows.take(list({key: place for place, key in enumerate(found)}.values()))


def _check_columns(table: str, given: Iterable[str], schema: pa.Schema) -> None:
    if unknown := set(given) - set(schema.names):
        raise StoreError(f"table {table} has no column {', '.join(sorted(unknown))}", "this is a bug: report it")


def _stamped(batch: pa.Table) -> pa.Table:
    """Fill the moment in where a row gives none: no column of the store may lack it."""
    now = pa.scalar(datetime.now(UTC))
    for place, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and batch.column(place).null_count:
            batch = batch.set_column(place, column, pc.fill_null(batch.column(place), now.cast(column.type)))
    return batch


def open_snapshot(store: Path | str) -> tuple[duckdb.DuckDBPyConnection, float]:
    """Open the newest published snapshot of a store, read-only.

    Args:
        store: Path of the store (not of the snapshot).

    Returns:
        The connection, and the snapshot's age in seconds.

    Raises:
        StoreError: There is no such store, or nothing has been published yet.
    """
    path = snapshot_path(store)
    if not path.exists():
        raise StoreError(f"there is no store at {store}", "import reports first: `teachback import --help`")
    connection, written = _open_as_it_is_now(path)
    age = max(0.0, time.time() - written)
    if 0 < schema_version(connection) < latest_version():
        connection.close()
        with Store(store) as opened:  # written by an older Teachback: bring it up to date, and publish it anew
            opened.publish(anyway=True)
        return open_snapshot(store)
    return connection, age


def _open_as_it_is_now(path: Path) -> tuple[duckdb.DuckDBPyConnection, float]:
    """Open a file that may be replaced at any time; return when it was written too.

    Within a process DuckDB gives everybody who names a path the database that was first opened there, replaced or not.
    So it is opened by a name of its own, which is gone again at once.
    """
    own_name = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        os.link(path, own_name)
    except OSError:  # no hard links there
        return _connect(path, read_only=True), path.stat().st_mtime
    try:
        return _connect(own_name, read_only=True), own_name.stat().st_mtime
    finally:
        with suppress(OSError):
            own_name.unlink()


def _connect(path: Path, *, read_only: bool, patience_s: float = 0.0) -> duckdb.DuckDBPyConnection:
    until = time.monotonic() + patience_s
    while True:
        try:
            return connect_file(path, read_only=read_only)
        except duckdb.Error as error:  # a damaged file raises the base class itself
            if "Could not set lock" not in str(error):
                raise StoreError(f"{path} is not a DuckDB store: {error}", "name another file") from error
            if time.monotonic() >= until:
                raise StoreError(
                    f"another process is writing {path}",
                    "wait until it ends, or stop it; reading commands (`teachback sql`, `evaluate`) work meanwhile",
                ) from error
            time.sleep(LOCK_PAUSE_S)
