"""Kills the store's writer at random moments, and looks what is left.

    python benchmarks/store_crashes.py [--kills 100] [--seed 0] [--folder DIR]

Each time a process writes chunks of labels, publishes snapshots as fast as it can and takes in what is posted, or
brings an old store up to date; it reports each chunk that it was told is on disk, and gets a SIGKILL at a random
moment. Then the store is opened again: every reported chunk must be there, no chunk in part, no label twice, the
snapshot must open and be whole, what was posted must arrive, and nothing of the dead process may lie about. The last
line is one JSON object.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import duckdb

from teachback.store.database import Store, open_snapshot
from teachback.store.inbox import inbox_path, post
from teachback.store.migrate import latest_version, migrate
from teachback.store.review.decisions import Decision, decision_rows

WRITER = """
import sys
from teachback.store.label import Label
from teachback.store.rows import label_table
from teachback.store.writer import Writer
store, first = sys.argv[1], int(sys.argv[2])
with Writer(store, publish_interval=0.05) as writer:
    print("open", flush=True)
    for chunk in range(first, first + 100_000):
        labels = [Label(f"r{chunk:07}-{n:02}", "findings", "Edema", "absent", "lbr_x", "full") for n in range(CHUNK)]
        marks = [{"report_id": label.report_id, "teacher_id": "tea_x", "run_id": "run_x"} for label in labels]
        writer.write({"labels": label_table(labels), "committed": marks})
        print(chunk, flush=True)
"""
MIGRATOR = """
import sys
from teachback.store.database import Store
with Store(sys.argv[1]) as store:
    print("open", flush=True)
    store.publish(anyway=True)
"""
CHUNK = 40  # labels; all of a chunk or none
LONGEST_S = 1.2  # from the writer's start to its end
OLD_VERSION = 1


def main() -> None:
    options = _options()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="store-crashes-"))
    chosen = random.Random(options.seed)
    print(f"setting: {options.kills} kills, chunks of {CHUNK} labels, seed {options.seed}, DuckDB {duckdb.__version__}")
    found: Counter[str] = Counter()
    store, reported = folder / "labels.duckdb", 0
    with Store(store) as opened:
        opened.write({"reports": [{"report_id": "r", "corpus": "c", "text": "Clear."}]})
    for number in range(options.kills):
        migrating = number % 5 == 4
        if migrating:
            found.update(_kill_migration(folder / "old.duckdb", chosen))
        else:
            last = _kill_writer(store, reported + 1, chosen, found)
            reported = max(reported, last)
            found.update(_look(store, reported))
    shutil.rmtree(folder, ignore_errors=True)
    moments = ("while writing", "while migrating", "before it was open")
    print(f"{found['kills']} kills: {', '.join(f'{found[moment]} {moment}' for moment in moments)}")
    print(f"{reported:,} chunks reported; {found['posted']} decisions posted")
    problems = {name: found[name] for name in PROBLEMS}
    for name, count in problems.items():
        print(f"  {name:45} {count}")
    print(json.dumps({"benchmark": "store_crashes", "kills": found["kills"], "chunks": reported, "problems": problems}))
    sys.exit(any(problems.values()))


PROBLEMS = (
    "store that does not open",
    "chunk lost",
    "chunk in part",
    "label twice",
    "snapshot that does not open or is not whole",
    "posted decision lost or twice",
    "file of a dead process left",
)


def _kill_writer(store: Path, first: int, chosen: random.Random, found: Counter[str]) -> int:
    code = WRITER.replace("CHUNK", str(CHUNK))
    running = subprocess.Popen([sys.executable, "-c", code, str(store), str(first)], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    opened = running.stdout.readline()
    # Posted while the writer is at work, and taken in by it or by the next one.
    post(store, decision_rows([Decision("r", "Ann", "note", note=f"{first}")]))
    found["posted"] += 1
    time.sleep(chosen.random() * LONGEST_S)
    running.kill()
    told = running.stdout.read().split()
    running.wait()
    found["kills"] += 1
    found["while writing" if opened else "before it was open"] += 1
    # The last line may have been cut off.
    whole = [int(line) for line in told if line.isdigit()]
    return max(whole, default=first - 1)


def _look(store: Path, reported: int) -> Counter[str]:
    problems: Counter[str] = Counter()
    try:
        with Store(store) as opened:
            opened.take_in()
            ask = opened.connection.execute
            chunks = dict(ask("SELECT left(report_id, 8), count(*) FROM labels GROUP BY 1").fetchall())
            marks = dict(ask("SELECT left(report_id, 8), count(*) FROM committed GROUP BY 1").fetchall())
            twice = ask("SELECT count(*) - count(DISTINCT label_id) FROM labels").fetchall()[0][0]
            reviews = ask("SELECT count(*) - count(DISTINCT review_id), count(*) FROM reviews").fetchall()[0]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        print(error)
        return Counter({"store that does not open": 1})
    written = {name for name in chunks if name.startswith("r0")}
    # Numbers go on after a crash from the last reported one: whatever was reported is among them.
    problems["chunk lost"] += sum(f"r{number:07}" not in written for number in range(1, reported + 1))
    problems["chunk in part"] += sum(chunks[name] != CHUNK or marks.get(name) != CHUNK for name in written)
    problems["label twice"] += twice
    problems["posted decision lost or twice"] += reviews[0] + len(list(inbox_path(store).glob("*.json")))
    try:
        connection, _ = open_snapshot(store)
        with connection:
            torn = connection.execute(
                "SELECT count(*) FROM (SELECT left(report_id, 8) AS chunk, count(*) AS n FROM labels GROUP BY 1) "
                f"WHERE n <> {CHUNK}"
            ).fetchall()[0][0]
        problems["snapshot that does not open or is not whole"] += torn > 0
    except Exception as error:  # noqa: BLE001 - as above
        print(error)
        problems["snapshot that does not open or is not whole"] += 1
    left = [path.name for path in store.parent.iterdir() if path.name.startswith(".")]
    problems["file of a dead process left"] += len(left)
    return problems


def _kill_migration(store: Path, chosen: random.Random) -> Counter[str]:
    for path in store.parent.glob("*old*"):
        path.unlink()
    with duckdb.connect(str(store)) as connection:
        migrate(connection, upto=OLD_VERSION)
        connection.execute(
            "INSERT INTO reports (report_id, corpus, imported_at) SELECT 'r' || i, 'c', now() FROM range(20000) t(i)"
        )
    running = subprocess.Popen([sys.executable, "-c", MIGRATOR, str(store)], stdout=subprocess.PIPE, text=True)
    # The migration itself takes a few hundredths of a second, after the imports.
    time.sleep(0.25 + chosen.random() * 0.5)
    running.kill()
    running.communicate()
    problems = Counter({"kills": 1, "while migrating": 1})
    try:
        with Store(store) as opened:
            version = opened.connection.execute("SELECT max(version), count(*) FROM migrations").fetchall()[0]
            reports = opened.connection.execute("SELECT count(*) FROM reports").fetchall()[0][0]
        problems["store that does not open"] += version != (latest_version(), latest_version())
        problems["chunk lost"] += reports != 20_000
    except Exception as error:  # noqa: BLE001 - as above
        print(error)
        problems["store that does not open"] += 1
    return problems


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where the stores are made; a temporary folder when left out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
