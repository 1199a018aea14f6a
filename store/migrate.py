"""Numbered migrations, each applied and recorded in one transaction."""

import re
from importlib import resources

import duckdb

from teachback.errors import StoreError

__all__ = ["latest_version", "migrate", "schema_version"]

_NAME = re.compile(r"(\d{4})_\w+\.sql")


def migrate(connection: duckdb.DuckDBPyConnection, upto: int | None = None) -> int:
    """Bring a database to the newest schema.

    Args:
        connection: The database.
        upto: The last migration to apply; the newest when not given.

    Returns:
        The schema version afterwards.

    Raises:
        StoreError: The database was written by a newer Teachback, or by another program.
    """
    _refuse_foreign(connection)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (version INTEGER NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
    )
    current = schema_version(connection)
    steps = _steps()
    if current > max(steps):
        raise StoreError(
            f"this store has schema version {current}, this Teachback knows {max(steps)}",
            "upgrade with `pip install -U teachback`",
        )
    for version in sorted(steps):
        if current < version <= (upto or version):
            connection.execute("BEGIN")
            connection.execute(steps[version])
            connection.execute("INSERT INTO migrations VALUES (?, now())", [version])
            connection.execute("COMMIT")
    return schema_version(connection)


def schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the number of the last migration applied, 0 for an empty database."""
    # To the last row: an answer that is not read to its end keeps the connection to itself.
    ((version,),) = connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchall()
    return int(version)


def latest_version() -> int:
    """Return the newest schema version that this Teachback knows."""
    return max(_steps())


def _refuse_foreign(connection: duckdb.DuckDBPyConnection) -> None:
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if tables and "migrations" not in tables:
        raise StoreError(
            f"this DuckDB file is no Teachback store: it holds {', '.join(sorted(tables)[:3])}", "name another file"
        )


def _steps() -> dict[int, str]:
    folder = resources.files("teachback.store") / "migrations"
    return {
        int(match[1]): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if (match := _NAME.fullmatch(entry.name))
    }
