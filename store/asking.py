"""Other people's SQL on a snapshot: read-only, cut off from files and network, one statement, bounded in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import duckdb
import pyarrow as pa

from teachback.errors import SettingError

__all__ = ["Asked", "ask", "explained", "list_tables_query", "lock_down"]

ROWS_AT_ONCE = 2_048  # rows in memory while they are read
LIST_HINT = "`teachback sql STORE` lists the tables; `DESCRIBE labels` a table's columns"

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Asked:
    """An answer that is being read.

    Attributes:
        names: The columns.
        reader: The rows, as Arrow batches; None where the statement has none.
    """

    names: list[str]
    reader: pa.RecordBatchReader | None

    def rows(self) -> Iterator[Row]:
        """Yield the rows as Python values."""
        if self.reader is not None:
            for batch in self.reader:
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def lock_down(connection: duckdb.DuckDBPyConnection, *, memory_limit: str | None = None) -> None:
    """Let queries see this snapshot alone: no other files, no network, and no way to turn that off again.

    Args:
        connection: A snapshot, opened for reading only.
        memory_limit: What a query may take, such as `1GiB`; nothing is written to disk then either.
    """
    connection.execute("SET TimeZone = 'UTC'")
    if memory_limit:
        connection.execute(f"SET memory_limit = '{memory_limit}'")
        connection.execute("SET temp_directory = ''")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def ask(connection: duckdb.DuckDBPyConnection, query: str) -> Asked:
    """Ask one question.

    Raises:
        SettingError: The text holds no statement, or several.
        duckdb.Error: DuckDB refuses it.
    """
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise SettingError(f"the query holds {len(statements)} statements", "give one query")
    relation = cast("duckdb.DuckDBPyRelation | None", connection.sql(statements[0]))
    if relation is None:
        return Asked([], None)
    # DuckDB's own rows need pytz for timestamps.
    return Asked(list(relation.columns), relation.to_arrow_reader(ROWS_AT_ONCE))


def explained(error: Exception) -> SettingError:
    """Return what DuckDB refused as an error with its remedy."""
    message = str(error).strip().splitlines()[0]
    remedy = LIST_HINT
    if "read-only" in message:
        remedy = "the snapshot can only be read; labels are written by the commands that make them"
    elif "disabled by configuration" in message or "locked" in message:
        remedy = "a query sees the snapshot alone; write files with `teachback sql --csv` or `teachback export`"
    elif message.startswith("Out of Memory"):
        remedy = "ask for less at once, or ask with `teachback sql`, which has the machine's memory"
    elif "INTERRUPT" in message:
        remedy = "ask for less at once, or ask with `teachback sql`, which has no time limit"
    return SettingError(message, remedy)


def list_tables_query(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the query that lists tables and views with their numbers of rows."""
    named = connection.execute(
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'main' ORDER BY ALL"
    ).fetchall()
    counts = (
        f"SELECT '{'table' if kind == 'BASE TABLE' else 'view'}' AS kind, '{name}' AS name, "
        f'(SELECT count(*) FROM "{name}") AS rows'
        for name, kind in named
    )
    return f"SELECT * FROM ({' UNION ALL '.join(counts)}) ORDER BY kind, name"
