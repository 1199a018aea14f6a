"""The page `docs/schema.md`, made from the database itself: what every table, view and macro holds, and the queries.

What a table and a column mean is said by `COMMENT ON` in the migrations, so that other tools show it too. A macro's
comment says first what it gives, then, one a line, what its columns mean. Where a comment says `joins labels`, the
column holds that table's key, which is its first column.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from teachback.store.migrate import migrate
from teachback.store.queries import ExampleQuery, example_queries

__all__ = ["Column", "Described", "describe_schema", "schema_page"]

HEAD = """# The store's schema

This page is made from the database by `python -m teachback.store.schema_page`; what it says stands in the database as
well, as comments, and DuckDB's own tools show it:

```sql
SELECT table_name, comment FROM duckdb_tables();
SELECT view_name, comment FROM duckdb_views() WHERE NOT internal;
SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = 'labels';
SELECT function_name, parameters, comment FROM duckdb_functions() WHERE function_name = 'label_lineage';
```

`teachback sql STORE` lists tables and views with their rows, `teachback sql STORE "..."` asks, `teachback sql STORE
--examples` lists the questions at the end of this page. Everything is append-only: nothing is changed, a later row
supersedes an earlier one in a view. Ids are hashes of content, with a prefix that tells what they are of. Of several
views on one thing:

- all labels ever given: `label_votes`; what each labeler says now: `current_labels`;
- what people say now: `human_labels`; what counts as true: `curated_labels`;
- what a teacher made of its labelers' votes: `teacher_labels`.

In a large store, name the report (`WHERE report_id = ...`) where you can: rows of one report lie together, and a
query that names it reads hardly anything else.
"""
_JOINS = re.compile(r"joins (\w+)")


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: Its name.
        type: Its type in DuckDB.
        meaning: What it holds; None where nothing says so.
        required: Whether it is never NULL; None where that is not known, as for views.
    """

    name: str
    type: str
    meaning: str | None
    required: bool | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """A table, view or macro.

    Attributes:
        kind: `table`, `view` or `macro`.
        name: Its name.
        parameters: What a macro takes.
        meaning: What it holds; None where nothing says so.
        columns: Its columns, in order.
    """

    kind: str
    name: str
    parameters: tuple[str, ...]
    meaning: str | None
    columns: tuple[Column, ...]


def describe_schema(connection: duckdb.DuckDBPyConnection) -> list[Described]:
    """Return every table, view and macro of a store, in the order in which they were made."""
    columns: dict[str, list[Column]] = defaultdict(list)
    for table, name, type_, comment, nullable in _rows(
        connection,
        """SELECT table_name, column_name, data_type, "comment", is_nullable FROM duckdb_columns()
        WHERE NOT internal AND schema_name = 'main' ORDER BY table_oid, column_index""",
    ):
        columns[table].append(Column(name, type_, comment, not nullable))
    found = []
    for kind, name, comment in _rows(
        connection,
        """FROM (SELECT 'table', table_name, "comment" FROM duckdb_tables()
            WHERE NOT internal ORDER BY table_name = 'migrations', table_oid)
        UNION ALL FROM (SELECT 'view', view_name, "comment" FROM duckdb_views()
            WHERE NOT internal ORDER BY view_oid)""",
    ):
        known = columns[name] if kind == "table" else [Column(c.name, c.type, c.meaning) for c in columns[name]]
        found.append(Described(kind, name, (), comment, tuple(known)))
    return found + list(_macros(connection))


def schema_page() -> str:
    """Return the page, made from a new database."""
    with duckdb.connect() as connection:
        migrate(connection)
        described = describe_schema(connection)
    parts = [HEAD, *_join_table(described)]
    for kind, heading in (("table", "Tables"), ("view", "Views"), ("macro", "Macros")):
        parts += [f"## {heading}\n"]
        parts += [part for entry in described if entry.kind == kind for part in _entry(entry)]
    parts += [f"## {len(example_queries())} queries that auditors ask\n"]
    parts += [
        "`teachback sql STORE --example NAME -p key=value` runs one; `--show` prints its SQL. Where a person waits for "
        "the answer, it comes at once in a store of any size; the others read the whole table of labels.\n"
    ]
    parts += [part for query in example_queries() for part in _query(query)]
    return "\n".join(parts).rstrip() + "\n"


def _macros(connection: duckdb.DuckDBPyConnection) -> Iterator[Described]:
    for name, parameters, comment in _rows(
        connection,
        """SELECT function_name, parameters, "comment" FROM duckdb_functions()
        WHERE NOT internal AND function_type = 'table_macro' ORDER BY function_oid""",
    ):
        meaning, *lines = (comment or "").splitlines() or [None]
        said = dict(line.split(": ", 1) for line in lines if ": " in line)
        called = f"{name}({', '.join(['NULL'] * len(parameters))})"
        columns = _rows(connection, f"SELECT column_name, column_type FROM (DESCRIBE FROM {called})")
        described = tuple(Column(column, type_, said.get(column)) for column, type_ in columns)
        yield Described("macro", name, tuple(parameters), meaning, described)


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def _join_table(described: list[Described]) -> Iterator[str]:
    keys = {entry.name: entry.columns[0].name for entry in described if entry.kind == "table"}
    holders: dict[str, list[str]] = defaultdict(list)
    for entry in described:
        if entry.kind == "table":
            for column in entry.columns:
                for owner in _JOINS.findall(column.meaning or ""):
                    same = column.name == keys.get(owner)
                    holders[owner].append(entry.name if same else f"{entry.name}.{column.name}")
    yield "## How the tables join\n"
    yield "| key | of | found in |\n|---|---|---|"
    for owner in keys:
        if owner in holders:
            listed = ", ".join(f"`{holder}`" for holder in holders[owner])
            yield f"| `{keys[owner]}` | `{owner}` | {listed} |"
    yield ""


def _entry(entry: Described) -> Iterator[str]:
    taken = f"({', '.join(entry.parameters)})" if entry.kind == "macro" else ""
    yield f"### `{entry.name}{taken}`\n"
    yield f"{entry.meaning}\n"
    null = entry.kind == "table"
    yield (
        "| column | type | NULL | meaning |\n|---|---|---|---|"
        if null
        else "| column | type | meaning |\n|---|---|---|"
    )
    for column in entry.columns:
        may_be_null = (" | " if column.required else " | yes") if null else ""
        meaning = (column.meaning or "").replace("|", "\\|")
        yield f"| `{column.name}` | `{column.type}`{may_be_null} | {meaning} |"
    yield ""


def _query(query: ExampleQuery) -> Iterator[str]:
    yield f"### {query.title}\n"
    yield f"`{query.name}`{', a person waits for it' if query.waits else ''}. {query.question}\n"
    for parameter in query.parameters:
        yield f"- `{parameter.name}` (`{parameter.default}`): {parameter.meaning}"
    if query.parameters:
        yield ""
    yield f"```sql\n{query.sql()}\n```\n"


if __name__ == "__main__":
    page = Path(__file__).resolve().parents[1] / "docs" / "schema.md"
    page.write_text(schema_page(), encoding="utf-8")
    print(page)
