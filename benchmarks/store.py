"""The store at a million labels and at ten: rows/s written, size, the example queries, and readers while a run writes.

    python benchmarks/store.py [--labels 1000000] [--readers 4] [--most 100] [--folder DIR] [--keep] [--reuse]

Writes labels as labeling does, with calls and verdicts (`store_load.py`): most of them alone, the rest while reader
processes open the newest snapshot again and again, check that it is whole (labels and marks of a chunk are one
transaction) and note how old it is. Then adds what a store has besides, rounds and reviewers above all
(`store_life.py`), and asks each example query of `store/queries` and each measure (`store_asked.py`), and what can be
asked there of SQLite and of pandas on Parquet as well (`store_others.py`). The last line is one JSON object.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
from store_asked import ask_all, ask_views
from store_life import write_life
from store_load import CHUNK, Load, prepare, write_all
from store_others import ask_others

from teachback.store.database import Store, open_snapshot
from teachback.store.writer import Writer, writing_alone

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
    figures: dict[str, Any] = {"benchmark": "store", "machine": machine, "seed": options.seed}
    figures["load"] = [round(busy, 1) for busy in os.getloadavg()]  # other work on the machine
    if not options.reuse:
        prepare(store, load)
        figures |= {"reports": load.reports, "readers": options.readers} | _write(store, load, options.readers, folder)
        with Store(store) as opened:
            write_life(opened, load)
    figures |= _size(store)
    if options.ask:
        figures |= {"queries": ask_all(store, options.most), "views": ask_views(store, options.most)}
    if options.others:
        figures["others"] = ask_others(store, folder, options.most)
    print()
    print(json.dumps(figures))


def _write(store: Path, load: Load, readers: int, folder: Path) -> dict[str, Any]:
    stop = folder / "stop"
    command = [sys.executable, "-c", READER, str(store), str(stop)]
    chunks = load.chunks()
    alone = int(ALONE * -(-load.reports // CHUNK))
    with Writer(store) as writer, writing_alone(writer.reader()):
        started, worked = time.perf_counter(), time.process_time()
        labels = write_all(writer, islice(chunks, alone))
        seconds, worked = time.perf_counter() - started, time.process_time() - worked
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
        "rows_per_cpu_s": round(labels / worked),  # what other work on the machine does not change
        "rows_per_s_with_readers": round(more / beside_s),
        "with_readers_s": round(beside_s, 1),
        "snapshots_opened": sum(reader["opened"] for reader in told),
        "reader_failures": sum(reader["failed"] for reader in told),
        "torn_snapshots": sum(reader["broken"] for reader in told),
        "stale_s_p50": round(statistics.median(ages), 2) if ages else None,
        "stale_s_most": round(ages[-1], 2) if ages else None,
    }
    print(f"written: {labels:,} labels in {seconds:.1f} s: {figures['rows_per_s']:,} rows/s, snapshots included")
    print(f"         {figures['rows_per_cpu_s']:,} rows a second of CPU time, making the rows and DuckDB included")
    print(f"         {more:,} with {readers} readers at work: {figures['rows_per_s_with_readers']:,} rows/s")
    print(
        f"readers: {figures['snapshots_opened']:,} snapshots opened, {figures['reader_failures']} failures, "
        f"{figures['torn_snapshots']} not whole; {figures['stale_s_p50']} s old (median), "
        f"{figures['stale_s_most']} s at most"
    )
    return figures


def _size(store: Path) -> dict[str, Any]:
    connection, _ = open_snapshot(store)
    with connection:
        labels = connection.execute("SELECT count(*) FROM labels").fetchall()[0][0]
        blocks = connection.execute(
            "SELECT count(DISTINCT block_id) FROM pragma_storage_info('labels') WHERE persistent"
        ).fetchall()[0][0]
    figures = {
        "labels": labels,
        "file_mib": round(store.stat().st_size / 2**20),
        "bytes_per_label": round(store.stat().st_size / labels, 1),
    }
    figures["table_bytes_per_label"] = round(blocks * 262_144 / labels, 1)
    print(
        f"size: {labels:,} labels, {figures['file_mib']:,} MiB: {figures['bytes_per_label']} bytes a label with "
        f"reports, raw answers and all, {figures['table_bytes_per_label']} in the table of labels"
    )
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000, help="about how many")
    parser.add_argument("--readers", type=int, default=4, help="processes that read meanwhile")
    parser.add_argument("--most", type=int, default=100, help="how often a quick query is asked")
    parser.add_argument("--no-others", dest="others", action="store_false", help="leave SQLite and pandas out")
    parser.add_argument("--no-queries", dest="ask", action="store_false", help="leave queries and measures out")
    parser.add_argument("--reuse", action="store_true", help="ask of the store that an earlier run left in --folder")
    parser.add_argument("--folder", help="where the store is made; a temporary folder when left out")
    parser.add_argument("--keep", action="store_true", help="leave it there")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
