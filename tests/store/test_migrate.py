import time
from pathlib import Path

import duckdb
import pytest

from teachback.errors import StoreError
from teachback.store.database import Store
from teachback.store.migrate import latest_version, migrate, schema_version


def test_a_new_store_has_every_migration_recorded_with_its_time(tmp_path: Path) -> None:
    with Store(tmp_path / "a.duckdb") as store:
        rows = store.connection.execute("SELECT version, epoch(applied_at) FROM migrations ORDER BY 1").fetchall()
    assert [version for version, _ in rows] == list(range(1, latest_version() + 1))
    assert all(0 <= time.time() - applied < 300 for _, applied in rows)


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "a.duckdb") as store:
        store.write({"corpora": [{"corpus": "c", "egress": "any"}]})
        recorded = "SELECT version, epoch(applied_at) FROM migrations"
        before = store.connection.execute(recorded).fetchall()
        assert migrate(store.connection) == latest_version()
        assert store.connection.execute(recorded).fetchall() == before
        assert store.connection.execute("SELECT corpus FROM corpora").fetchall() == [("c",)]


def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    Store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO migrations VALUES (99, now())")
    with pytest.raises(StoreError, match=f"schema version 99, this Teachback knows {latest_version()}") as caught:
        Store(path)
    assert "pip install -U teachback" in caught.value.remedy
    with duckdb.connect(str(path)) as connection:
        assert schema_version(connection) == 99


def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE reports (i INTEGER)")
    with pytest.raises(StoreError, match="is no Teachback store: it holds reports"):
        Store(path)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("reports",)]
