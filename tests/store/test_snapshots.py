"""Snapshots that are copied while the store goes on being written."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from teachback.errors import StoreError
from teachback.store.database import Store, open_snapshot, snapshot_path
from teachback.store.snapshots import Copying, collect_leftovers
from teachback.store.writer import Writer

ROWS = 150_000  # more than a row group: such rows go into the file at once, beside the log


def reports(first: int, count: int) -> pa.Table:
    names = [f"r{number:09}" for number in range(first, first + count)]
    return pa.table({"report_id": names, "corpus": ["c"] * count, "text": [f"{name} is clear." * 3 for name in names]})


def test_a_snapshot_holds_what_was_committed_before_it_and_no_more(tmp_path: Path) -> None:
    with Store(tmp_path / "labels.duckdb") as store:
        store.write({"reports": reports(0, 1_000)})
        store.publish()
        for number in range(1, 6):
            store.write({"reports": reports(number * ROWS, 10)})
            assert store.publish_beside(min_interval=0.0)
            # While the copy is made, more is written than the log takes, and enough for a checkpoint of its own.
            store.write({"reports": reports(number * ROWS + 10, ROWS - 10)})
            while store.publish_beside(min_interval=3600.0):
                time.sleep(0.01)
            connection, _ = open_snapshot(store.path)
            with connection:
                held = connection.execute(
                    "SELECT count(*), count(*) FILTER (text <> repeat(report_id || ' is clear.', 3)), max(report_id) "
                    "FROM reports"
                ).fetchall()[0]
            assert held == (1_000 + (number - 1) * ROWS + 10, 0, f"r{number * ROWS + 9:09}")
    connection, _ = open_snapshot(tmp_path / "labels.duckdb")
    with connection:
        assert connection.execute("SELECT count(*) FROM reports").fetchall() == [(1_000 + 5 * ROWS,)]


def test_readers_never_fail_and_see_whole_transactions_while_a_writer_works(tmp_path: Path) -> None:
    path, problems, opened = tmp_path / "labels.duckdb", [], [0]
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                connection, age = open_snapshot(path)
                with connection:
                    (count,) = connection.execute("SELECT count(*) FROM reports").fetchall()[0]
            except StoreError as error:
                problems.append(str(error))
                continue
            opened[0] += 1
            if count % 500 or age > 5:
                problems.append(f"{count} reports, {age} s old")

    with Writer(path, publish_interval=0.05) as writer:
        writer.write({"reports": reports(0, 500)})
        while not snapshot_path(path).exists():
            time.sleep(0.01)
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(1, 60):
            writer.write({"reports": reports(number * 500, 500)})
        done.set()
        for reader in readers:
            reader.join()
    assert problems == []
    assert opened[0] > 10


def test_a_snapshot_is_as_old_as_what_it_holds(tmp_path: Path) -> None:
    with Store(tmp_path / "labels.duckdb") as store:
        store.write({"reports": reports(0, 10)})
        before = time.time()
        store.publish_beside(min_interval=0.0)
        time.sleep(1.1)  # the copy is long made; that it is put in place later makes it no younger
        store.publish_beside(min_interval=3600.0)
        assert abs(snapshot_path(store.path).stat().st_mtime - before) < 0.9


def test_what_dead_processes_left_is_collected_and_what_living_ones_hold_is_not(tmp_path: Path) -> None:
    store = tmp_path / "labels.duckdb"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = tmp_path / f".labels.snapshot.duckdb.{gone.pid}"
    own_name = tmp_path / f".labels.snapshot.duckdb.{gone.pid}-0123abcd"
    living = tmp_path / f".labels.snapshot.duckdb.{os.getpid()}"
    other = tmp_path / ".labels.snapshot.duckdb.txt"
    for file in (dead, own_name, living, other):
        file.touch()
    assert collect_leftovers(store) == 2
    assert not dead.exists()
    assert not own_name.exists()
    assert living.exists()
    assert other.exists()


def test_a_copy_that_fails_leaves_the_snapshot_before_it(tmp_path: Path) -> None:
    with Store(tmp_path / "labels.duckdb") as store:
        store.write({"reports": reports(0, 10)})
        store.publish()
        copying = Copying(tmp_path / "missing.duckdb")
        with pytest.raises(StoreError, match="cannot publish"):
            copying.publish()
    assert not list(tmp_path.glob(".*"))
    assert snapshot_path(tmp_path / "labels.duckdb").exists()


@pytest.mark.slow
def test_other_processes_open_snapshots_with_plain_duckdb_while_a_run_writes(tmp_path: Path) -> None:
    path = tmp_path / "labels.duckdb"
    with Writer(path, publish_interval=0.05) as writer:
        writer.write({"reports": reports(0, 100)})
        while not snapshot_path(path).exists():
            time.sleep(0.01)
        plain = f"duckdb.connect({str(snapshot_path(path))!r}, read_only=True)"
        code = f"import duckdb; print({plain}.sql('FROM reports').count('*'))"
        asking = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for number in range(1, 40):
            writer.write({"reports": reports(number * 100, 100)})
        told, _ = asking.communicate(timeout=60)
    assert asking.returncode == 0
    assert "00" in told
