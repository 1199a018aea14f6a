"""`teachback sql`: plain SQL over the newest snapshot, while a run writes or not."""

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import duckdb
    from rich.console import Console

__all__ = ["sql"]

MOST_ROWS_SHOWN = 100  # rows of a table on a terminal; --json and --csv give all
MOST_CHARACTERS_SHOWN = 200  # of one value on a terminal
ROWS_AT_ONCE = 2_048  # rows in memory while --csv writes
_KINDS = {"BASE TABLE": "table", "VIEW": "view"}

Row = tuple[Any, ...]


def sql(
    store: Annotated[Path, typer.Argument(help="The store.")],
    query: Annotated[str | None, typer.Argument(help="One SQL query; without it, the tables and views.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all rows as a JSON array.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="Most rows of the table on the terminal.")] = MOST_ROWS_SHOWN,
) -> None:
    """Ask the store's newest snapshot a question in SQL; it is read-only, and works while a run writes.

    Example: teachback sql labels.duckdb "SELECT target, count(*) FROM labels WHERE status = 'present' GROUP BY 1"
    """
    from rich.console import Console

    from teachback.errors import SettingError
    from teachback.store.database import open_snapshot

    if as_json and as_csv:
        raise SettingError("--json and --csv are both given", "give one of them")
    connection, age = open_snapshot(store)
    with connection, _explained_errors():
        _lock_down(connection)
        names, found = _ask(connection, _list_tables(connection) if query is None else query)
        print(f"snapshot of {store}, {_age(age)} old", file=sys.stderr)
        if as_json:
            print(json.dumps([dict(zip(names, row, strict=True)) for row in found], indent=2, default=_plain))
        elif as_csv:
            _print_csv(names, found)
        else:
            _print_table(Console(), names, found, rows)


def _lock_down(connection: "duckdb.DuckDBPyConnection") -> None:
    """Let queries see this snapshot alone: no other files, no network, and no way to turn that off again."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _ask(connection: "duckdb.DuckDBPyConnection", query: str) -> tuple[list[str], Iterator[Row]]:
    from teachback.errors import SettingError

    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise SettingError(f"the query holds {len(statements)} statements", "give one query")
    relation = connection.sql(statements[0])
    if relation is None:
        return [], iter(())
    reader = relation.to_arrow_reader(ROWS_AT_ONCE)  # DuckDB's own rows need pytz for timestamps
    rows = (row for batch in reader for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return list(relation.columns), rows


def _list_tables(connection: "duckdb.DuckDBPyConnection") -> str:
    named = connection.execute(
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'main' ORDER BY ALL"
    ).fetchall()
    counts = (
        f"SELECT '{_KINDS[kind]}' AS kind, '{name}' AS name, (SELECT count(*) FROM \"{name}\") AS rows"
        for name, kind in named
    )
    return f"SELECT * FROM ({' UNION ALL '.join(counts)}) ORDER BY kind, name"


@contextmanager
def _explained_errors() -> Iterator[None]:
    import duckdb

    from teachback.errors import SettingError

    try:
        yield
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (duckdb.Error, OSError) as error:  # OSError: what arises while rows are fetched
        message = str(error).strip().splitlines()[0]
        remedy = "`teachback sql STORE` lists the tables; `DESCRIBE labels` a table's columns"
        if "read-only" in message:
            remedy = "the snapshot can only be read; labels are written by the commands that make them"
        elif "disabled by configuration" in message or "locked" in message:
            remedy = "a query sees the snapshot alone; write files with --csv or --json and `>`"
        raise SettingError(message, remedy) from None


def _print_csv(names: Sequence[str], found: Iterator[Row]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in found:
        nested = (isinstance(value, (dict, list)) for value in row)
        writer.writerow(
            json.dumps(value, ensure_ascii=False, default=_plain) if deep else value
            for value, deep in zip(row, nested, strict=True)
        )
    sys.stdout.flush()


def _print_table(console: "Console", names: Sequence[str], found: Iterator[Row], most: int) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    kept = list(islice(found, most + 1))
    table = Table(box=box.SIMPLE_HEAD)
    for position, name in enumerate(names):
        numeric = all(isinstance(row[position], (int, float, Decimal, type(None))) for row in kept)
        table.add_column(Text(name), justify="right" if numeric and kept else "left", overflow="fold")
    cut = 0
    for row in kept[:most]:
        shown = [_shown(value) for value in row]
        cut += sum(len(text) > MOST_CHARACTERS_SHOWN for text in shown)
        table.add_row(*(Text(_clip(text)) for text in shown))
    if names:
        console.print(table)
    if not kept:
        console.print("No rows.")
    if len(kept) > most:
        console.print(f"The first {most:,} rows; there are more. --rows N shows more, --csv and --json give all.")
    if cut:
        console.print(f"{cut:,} values were cut at {MOST_CHARACTERS_SHOWN} characters; --csv and --json give them whole.")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return " ".join(str(value).split())


def _clip(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS_SHOWN else f"{text[: MOST_CHARACTERS_SHOWN - 3]}..."


def _plain(value: Any) -> Any:
    """Return what JSON can hold in place of a value that it cannot; sums of integers come as decimals."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def _age(seconds: float) -> str:
    for unit, length in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
