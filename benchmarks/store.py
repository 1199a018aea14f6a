"""The store at a million labels and at ten: rows/s written, size, the example queries, and readers while a run writes.

    python benchmarks/store.py [--labels 1000000] [--readers 4] [--repeat 5] [--folder DIR] [--keep]

Writes labels as labeling does (`store_load.py`): most of them alone, the rest while reader processes open the newest
snapshot again and again, check that it is whole (labels and marks of a chunk are one transaction) and note how old it
is. Then asks each example query of `store/queries`, and three questions of SQLite and of pandas on Parquet as well. The
last line is one JSON object.
"""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
from store_load import CHUNK, Load, prepare, write_all

from teachback.store.asking import ask
from teachback.store.database import open_snapshot
from teachback.store.queries import example_queries
from teachback.store.writer import Writer

READER = """
import json, sys, time
from teachback.store.database import open_snapshot
from teachback.errors import StoreError
store, until = sys.argv[1], sys.argv[2]
opened = failed = broken = 0
ages, seconds = [], []
import pathlib
while not pathlib.Path(until).exists():
    started = time.perf_counter()
    try:
        connection, age = open_snapshot(store)
        with connection:
            torn, _ = connection.execute(
                "SELECT count(*), (SELECT count(*) FROM committed) FROM labels JOIN labelers USING (labeler_id) "
                "WHERE kind = 'rule' AND report_id > (SELECT coalesce(max(report_id), '') FROM committed)"
            ).fetchall()[0]
        opened += 1
        broken += torn > 0
        ages.append(age)
    except Exception as error:
        failed += 1
        print(error, file=sys.stderr)
    seconds.append(time.perf_counter() - started)
    time.sleep(0.1)
print(json.dumps({"opened": opened, "failed": failed, "broken": broken, "ages": ages, "seconds": seconds}))
"""
ALONE = 0.6  # of the chunks are written without readers
# The same question in three languages; those of the other queries that need lists, structs or views have no like there.
SQLITE = {
    "statuses": "SELECT target, status, count(*) FROM labels WHERE task = 'findings' GROUP BY 1, 2",
    "report": "SELECT target, labeler_id, status FROM labels WHERE report_id = ?",
    "disagreements": "SELECT count(*) FROM (SELECT report_id, target FROM labels WHERE task = 'findings' "
    "GROUP BY 1, 2 HAVING count(DISTINCT status) > 1)",
}


def main() -> None:
    options = _options()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="store-benchmark-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _measure(options, folder)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _measure(options: argparse.Namespace, folder: Path) -> None:
    store = folder / "labels.duckdb"
    load = Load(options.labels, options.seed)
    machine = f"Python {platform.python_version()}, DuckDB {duckdb.__version__}, {os.cpu_count()} cores"
    print(
        f"setting: about {options.labels:,} labels of {load.reports:,} reports, chunks of {CHUNK} reports, "
        f"{options.readers} readers"
    )
    print(f"         seed {options.seed}, {machine}\n")
    prepare(store, load)
    written = _write(store, load, options.readers, folder)
    size = _size(store, load.labels)
    queries = _ask_all(store, options.repeat)
    others = _others(store, folder, options.repeat) if options.others else {}
    print()
    shown = {"labels": load.labels, "reports": load.reports, "seed": options.seed, "readers": options.readers}
    print(
        json.dumps(
            {"benchmark": "store", "machine": machine, **shown, **written, **size, "queries": queries, "others": others}
        )
    )


def _write(store: Path, load: Load, readers: int, folder: Path) -> dict[str, Any]:
    stop = folder / "stop"
    command = [sys.executable, "-c", READER, str(store), str(stop)]
    chunks = load.chunks()
    alone = int(ALONE * -(-load.reports // CHUNK))
    with Writer(store) as writer:
        started = time.perf_counter()
        labels = write_all(writer, islice(chunks, alone))
        seconds = time.perf_counter() - started
        reading = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(readers)]
        started = time.perf_counter()
        more = write_all(writer, chunks)
        beside_s = time.perf_counter() - started
        stop.touch()
        told = [json.loads(reader.communicate()[0]) for reader in reading]
    # How old what a reader sees is: the snapshot's moment is that of its checkpoint.
    ages = sorted(age for reader in told for age in reader["ages"][1:])
    figures: dict[str, Any] = {
        "rows_per_s": round(labels / seconds),
        "rows_per_s_with_readers": round(more / beside_s),
        "with_readers_s": round(beside_s, 1),
        "snapshots_opened": sum(reader["opened"] for reader in told),
        "reader_failures": sum(reader["failed"] for reader in told),
        "torn_snapshots": sum(reader["broken"] for reader in told),
        "stale_s_p50": round(statistics.median(ages), 2) if ages else None,
        "stale_s_most": round(ages[-1], 2) if ages else None,
    }
    print(f"written: {labels:,} labels in {seconds:.1f} s: {figures['rows_per_s']:,} rows/s, snapshots included")
    print(f"         {more:,} with {readers} readers at work: {figures['rows_per_s_with_readers']:,} rows/s")
    print(
        f"readers: {figures['snapshots_opened']:,} snapshots opened, {figures['reader_failures']} failures, "
        f"{figures['torn_snapshots']} not whole; {figures['stale_s_p50']} s old (median), "
        f"{figures['stale_s_most']} s at most"
    )
    return figures


def _size(store: Path, labels: int) -> dict[str, Any]:
    connection, _ = open_snapshot(store)
    with connection:
        blocks = connection.execute(
            "SELECT count(DISTINCT block_id) FROM pragma_storage_info('labels') WHERE persistent"
        ).fetchall()[0][0]
    figures = {
        "file_mib": round(store.stat().st_size / 2**20),
        "bytes_per_label": round(store.stat().st_size / labels, 1),
    }
    figures["table_bytes_per_label"] = round(blocks * 262_144 / labels, 1)
    print(
        f"size: {figures['file_mib']:,} MiB, {figures['bytes_per_label']} bytes a label with reports and all, "
        f"{figures['table_bytes_per_label']} in the table of labels"
    )
    return figures


def _ask_all(store: Path, repeat: int) -> list[dict[str, Any]]:
    print(f"\n{'query':24}{'waits':>6}{'rows':>9}{'p50 ms':>10}{'p99 ms':>10}")
    shown = []
    for query in example_queries():
        connection, _ = open_snapshot(store)
        with connection:
            values = _values(connection)
            sql = query.sql(
                {name: value for name, value in values.items() if name in {p.name for p in query.parameters}}
            )
            seconds, rows = [], 0
            for _ in range(repeat):
                started = time.perf_counter()
                rows = sum(1 for _ in ask(connection, sql).rows())
                seconds.append(time.perf_counter() - started)
        seconds.sort()
        figures = {
            "name": query.name,
            "waits": query.waits,
            "rows": rows,
            "p50_ms": round(1000 * statistics.median(seconds), 1),
        }
        figures["p99_ms"] = round(1000 * seconds[-1], 1)
        shown.append(figures)
        print(
            f"{query.name:24}{'yes' if query.waits else '':>6}{rows:>9,}{figures['p50_ms']:>10}{figures['p99_ms']:>10}"
        )
    slow = [query["name"] for query in shown if query["waits"] and query["p50_ms"] > 100]
    print(f"over 100 ms among those that a person waits for: {', '.join(slow) or 'none'}")
    return shown


def _values(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return what the parameters of queries on one thing are set to: a report in the middle, and a label of it."""
    report = connection.execute(
        "SELECT report_id FROM reports ORDER BY report_id LIMIT 1 OFFSET (SELECT count(*) // 2 FROM reports)"
    )
    report_id = report.fetchall()[0][0]
    label = connection.execute("SELECT label_id FROM labels WHERE report_id = ? LIMIT 1", [report_id]).fetchall()[0][0]
    return {"report": report_id, "label": label}


def _others(store: Path, folder: Path, repeat: int) -> dict[str, Any]:
    """Ask three questions of DuckDB, of SQLite with the indexes they want, and of pandas on the Parquet file."""
    connection, _ = open_snapshot(store)
    parquet = folder / "labels.parquet"
    with connection:
        report_id = _values(connection)["report"]
        plain = "SELECT label_id, report_id, task, target, status, labeler_id, confidence FROM labels"
        connection.execute(f"COPY ({plain}) TO '{parquet}' (FORMAT parquet)")
        ours = {
            name: _timed(repeat, lambda sql=sql: connection.execute(sql, [report_id] if "?" in sql else []).fetchall())
            for name, sql in SQLITE.items()
        }
        lite = sqlite3.connect(folder / "labels.sqlite")
        lite.execute("CREATE TABLE labels (label_id, report_id, task, target, status, labeler_id, confidence)")
        reader = connection.sql(plain).to_arrow_reader(50_000)
        for batch in reader:
            lite.executemany(
                "INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?, ?)",
                zip(*(column.to_pylist() for column in batch.columns), strict=True),
            )
    lite.execute("CREATE INDEX by_report ON labels (report_id)")
    lite.commit()
    theirs = {
        name: _timed(repeat, lambda sql=sql: lite.execute(sql, [report_id] if "?" in sql else []).fetchall())
        for name, sql in SQLITE.items()
    }
    lite.close()
    frames = _pandas(parquet, report_id, repeat)
    print(f"\n{'the same question, ms':24}{'DuckDB':>10}{'SQLite':>10}{'pandas':>10}")
    for name in SQLITE:
        print(f"{name:24}{ours[name]:>10.1f}{theirs[name]:>10.1f}{frames[name]:>10.1f}")
    return {"duckdb_ms": ours, "sqlite_ms": theirs, "pandas_ms": frames}


def _pandas(parquet: Path, report_id: str, repeat: int) -> dict[str, float]:
    import pandas as pd

    def statuses() -> object:
        frame = pd.read_parquet(parquet, columns=["task", "target", "status"])
        return frame[frame["task"] == "findings"].groupby(["target", "status"]).size()

    def report() -> object:
        return pd.read_parquet(
            parquet, columns=["target", "labeler_id", "status"], filters=[("report_id", "==", report_id)]
        )

    def disagreements() -> object:
        frame = pd.read_parquet(parquet, columns=["report_id", "task", "target", "status"])
        found = frame[frame["task"] == "findings"].groupby(["report_id", "target"])["status"].nunique()
        return int((found > 1).sum())

    return {
        name: _timed(1 if name == "disagreements" else repeat, run)
        for name, run in (("statuses", statuses), ("report", report), ("disagreements", disagreements))
    }


def _timed(repeat: int, run: Any) -> float:
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return round(1000 * statistics.median(seconds), 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000, help="about how many")
    parser.add_argument("--readers", type=int, default=4, help="processes that read meanwhile")
    parser.add_argument("--repeat", type=int, default=5, help="how often each query is asked")
    parser.add_argument("--no-others", dest="others", action="store_false", help="leave SQLite and pandas out")
    parser.add_argument("--folder", help="where the store is made; a temporary folder when left out")
    parser.add_argument("--keep", action="store_true", help="leave it there")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
