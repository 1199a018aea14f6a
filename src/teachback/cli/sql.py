"""`teachback sql`: plain SQL over the newest snapshot, while a run writes or not."""

import csv
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from teachback.cli.snapshot_age import age_in_words

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["sql"]

MOST_ROWS_SHOWN = 100  # rows of a table on a terminal; --json and --csv give all
MOST_CHARACTERS_SHOWN = 200  # of one value on a terminal
MOST_BLOCKS_SHOWN = 10  # rows, where each is a block because its columns do not fit side by side
READABLE_WIDTH = 24  # characters to which a column may be folded
COLUMN_PADDING = 3  # characters between two columns
_NUMBER = re.compile(r"-?[\d.]+(e[+-]?\d+)?|nan|-?inf")

Row = tuple[Any, ...]


def sql(
    store: Annotated[Path, typer.Argument(help="The store.")],
    query: Annotated[str | None, typer.Argument(help="One SQL query; without it, the tables and views.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all rows as a JSON array.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    rows: Annotated[int | None, typer.Option(min=1, help="Most rows to show on the terminal.")] = None,
    examples: Annotated[bool, typer.Option("--examples", help="List the example queries.")] = False,
    example: Annotated[str | None, typer.Option(metavar="NAME", help="Run an example query.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("-p", metavar="KEY=VALUE", help="Fill a parameter of the example.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the example's SQL in place of running it.")] = False,
) -> None:
    """Ask the store's newest snapshot a question in SQL; it is read-only, and works while a run writes.

    --examples lists questions that auditors ask; `--example wrong_labels -p target=Pneumonia` asks one of them.

    Example: teachback sql labels.duckdb "SELECT target, count(*) FROM labels WHERE status = 'present' GROUP BY 1"
    """
    from rich.console import Console

    from teachback.cli.sql_examples import example_sql, list_examples, print_example
    from teachback.errors import SettingError
    from teachback.store.asking import ask, list_tables_query, lock_down
    from teachback.store.database import open_snapshot

    if as_json and as_csv:
        raise SettingError("--json and --csv are both given", "give one of them")
    if sum((query is not None, examples, example is not None)) > 1:
        raise SettingError("of a query, --examples and --example several are given", "give one of them")
    if example is None and (show or parameters):
        raise SettingError("--show and -p are for an example", "name it with --example; --examples lists them")
    if examples:
        list_examples(Console(highlight=False))
        return
    if example is not None:
        query = example_sql(example, parameters or ())
        if show:
            print_example(example, query)
            return
    connection, age = open_snapshot(store)
    with connection, _explained_errors():
        lock_down(connection)
        asked = ask(connection, list_tables_query(connection) if query is None else query)
        names, found = asked.names, asked.rows()
        print(f"snapshot of {store}, {age_in_words(age)} old", file=sys.stderr)
        if as_json:
            print(json.dumps([dict(zip(names, row, strict=True)) for row in found], indent=2, default=_plain))
        elif as_csv:
            _print_csv(names, found)
        else:
            _print_rows(Console(), names, found, rows)


@contextmanager
def _explained_errors() -> Iterator[None]:
    import duckdb

    from teachback.store.asking import explained

    try:
        yield
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (duckdb.Error, OSError) as error:  # OSError: what arises while rows are fetched
        raise explained(error) from None


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


def _print_rows(console: "Console", names: Sequence[str], found: Iterator[Row], most: int | None) -> None:
    """Print a table, or one block a row where its columns do not fit the terminal side by side."""
    first = [[_shown(value) for value in row] for row in islice(found, MOST_ROWS_SHOWN if most is None else most)]
    wide = sum(_width(name, [row[place] for row in first]) for place, name in enumerate(names)) > console.width
    shown = first[:MOST_BLOCKS_SHOWN] if wide and most is None else first
    if not first:
        console.print(f"No rows of {', '.join(names)}." if names else "Done.", markup=False)
    elif wide:
        _print_blocks(console, names, shown)
    else:
        _print_table(console, names, shown)
    if len(shown) < len(first) or next(found, None) is not None:
        console.print(f"The first {len(shown):,} rows; there are more. --rows N shows more, --csv and --json give all.")
    cut = sum(len(text) > MOST_CHARACTERS_SHOWN for row in shown for text in row)
    if cut:
        console.print(f"{cut:,} values cut at {MOST_CHARACTERS_SHOWN} characters; --csv and --json give them whole.")


def _print_table(console: "Console", names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(names):
        numeric = all(not row[place] or _NUMBER.fullmatch(row[place]) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_clip(text)) for text in row))
    console.print(table)


def _print_blocks(console: "Console", names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    for row in rows:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, text in zip(names, row, strict=True):
            table.add_row(Text(name), Text(_clip(text)))
        console.print(table)
        console.print()


def _width(name: str, texts: Sequence[str]) -> int:
    # A column may be folded, but not below the width at which one can still read it.
    longest = max((len(text) for text in texts), default=0)
    return max(len(name), min(longest, READABLE_WIDTH)) + COLUMN_PADDING


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
