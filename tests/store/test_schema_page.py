"""`docs/schema.md` says what the database says, and the database says what everything in it means."""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from teachback.store.migrate import migrate
from teachback.store.queries import example_queries
from teachback.store.schema_page import Described, describe_schema, schema_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "schema.md"


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        migrate(opened)
        yield opened


@pytest.fixture(scope="module")
def described(connection: duckdb.DuckDBPyConnection) -> list[Described]:
    return describe_schema(connection)


def test_the_page_is_what_the_database_gives_now() -> None:
    assert PAGE.read_text(encoding="utf-8") == schema_page(), "run `python -m teachback.store.schema_page`"


def test_every_table_view_macro_and_column_says_what_it_means(described: list[Described]) -> None:
    silent = [entry.name for entry in described if not entry.meaning]
    silent += [f"{entry.name}.{column.name}" for entry in described for column in entry.columns if not column.meaning]
    assert silent == [], "a migration that makes it also says `COMMENT ON ... IS '...'`"


def test_all_kinds_are_described_and_nothing_twice(described: list[Described]) -> None:
    names = [(entry.kind, entry.name) for entry in described]
    assert len(names) == len(set(names))
    assert {("table", "labels"), ("view", "curated_labels"), ("macro", "label_lineage")} <= set(names)
    macros = {entry.name: entry.parameters for entry in described if entry.kind == "macro"}
    assert macros["label_lineage"] == ("label_id", "report")
    assert macros["adapter_lineage"] == ("adapter",)
    assert macros["label_impact"] == ("label_id", "report")


def test_a_macros_comment_names_no_column_that_it_lacks(connection: duckdb.DuckDBPyConnection) -> None:
    by_name = {entry.name: [column.name for column in entry.columns] for entry in describe_schema(connection)}
    macros = connection.execute(
        "SELECT function_name, comment FROM duckdb_functions() WHERE function_type = 'table_macro' AND NOT internal"
    ).fetchall()
    for name, comment in macros:
        assert [line.partition(": ")[0] for line in comment.splitlines()[1:]] == by_name[name]


def test_joins_name_tables_that_are_there(described: list[Described]) -> None:
    tables = {entry.name for entry in described if entry.kind == "table"}
    named = {
        owner
        for entry in described
        for column in entry.columns
        for owner in re.findall(r"joins (\w+)", column.meaning or "")
    }
    assert {"reports", "labels", "labelers", "rounds"} <= named <= tables


def test_the_page_ends_with_every_example_query() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for query in example_queries():
        assert f"### {query.title}\n" in text
        assert query.sql() in text


def test_comments_are_in_a_store_of_the_first_schema_that_was_brought_up_to_date(tmp_path: Path) -> None:
    migrations = Path(__file__).resolve().parents[2] / "store" / "migrations"
    with duckdb.connect(str(tmp_path / "old.duckdb")) as old:
        old.execute("CREATE TABLE migrations (version INTEGER NOT NULL, applied_at TIMESTAMPTZ NOT NULL)")
        old.execute((migrations / "0001_initial.sql").read_text(encoding="utf-8"))
        old.execute("INSERT INTO migrations VALUES (1, now())")
        migrate(old)
        told = old.execute(
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'labels' AND column_name = 'status'"
        )
        assert told.fetchall() == [("present, absent, uncertain or unmentioned.",)]
        views = {name for (name,) in old.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
    assert "adapter_lineage" not in views
