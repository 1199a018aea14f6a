import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import duckdb
import pytest

from teachback.errors import StoreError
from teachback.store.database import open_snapshot, snapshot_path
from teachback.store.writer import FRESH_S, LEAST_REST_S, Writer, _rest

PUBLISH_S = 0.05


def report(report_id: str) -> dict[str, Any]:
    return {"report_id": report_id, "corpus": "c"}


def stored(path: Path) -> set[str]:
    with duckdb.connect(str(path)) as connection:
        return {row[0] for row in connection.execute("SELECT report_id FROM reports").fetchall()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.duckdb"


def test_rows_from_many_threads_are_all_written(path: Path) -> None:
    with Writer(path) as writer:

        def submit(thread: int) -> None:
            for number in range(50):
                writer.submit({"reports": [report(f"{thread}-{number}")]})

        threads = [threading.Thread(target=submit, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(stored(path)) == 200


def test_what_waits_is_committed_together(path: Path) -> None:
    with Writer(path) as writer:
        futures = [writer.submit({"reports": [report(str(number))]}) for number in range(300)]
        counts = [done.result()["reports"] for done in futures]
    assert max(counts) > 1  # some futures shared a commit, and each is told the whole group's count
    assert len(stored(path)) == 300


SUBMITTER = """
import sys
from teachback.store.writer import FRESH_S, LEAST_REST_S, Writer, _rest
writer = Writer(sys.argv[1])
for number in range(10_000):
    writer.submit({"reports": [{"report_id": str(number), "corpus": "c"}]}).result()
    print(number, flush=True)
"""


def test_a_done_future_outlives_kill_9(path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", SUBMITTER, str(path)], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    told = [killed.stdout.readline().strip() for _ in range(25)]
    killed.send_signal(signal.SIGKILL)
    told += killed.stdout.read().split()
    killed.stdout.close()
    assert killed.wait() == -signal.SIGKILL
    written = stored(path)
    assert set(told) <= written
    assert len(written) <= len(told) + 1  # and at most the one that was under way


def test_a_cancelled_future_does_not_stop_the_writer_and_its_rows_are_kept(path: Path) -> None:
    with Writer(path) as writer:
        futures: list[Future[dict[str, int]]] = []
        for number in range(200):
            futures.append(writer.submit({"reports": [report(str(number))]}))
            futures[-1].cancel()
        assert any(done.cancelled() for done in futures)
        assert writer.write({"reports": [report("after")]})["reports"] >= 1
    assert len(stored(path)) == 201


def test_a_bad_row_fails_its_submitter_and_the_writer_goes_on(path: Path) -> None:
    with Writer(path) as writer:
        with pytest.raises(StoreError, match="no column colour"):
            writer.write({"reports": [{**report("a"), "colour": "red"}]})
        with pytest.raises(duckdb.CatalogException):
            writer.write({"nowhere": [{"x": 1}]})
        writer.write({"reports": [report("b")]})
    assert stored(path) == {"b"}


def test_a_snapshot_follows_while_nothing_more_comes(path: Path) -> None:
    with Writer(path, publish_interval=PUBLISH_S) as writer:
        writer.write({"reports": [report("a")]})
        published = threading.Event()
        for _ in range(200):
            connection, _ = open_snapshot(path) if snapshot_path(path).exists() else (None, 0.0)
            if connection is not None:
                with connection:
                    if connection.execute("SELECT count(*) FROM reports").fetchone() == (1,):
                        published.set()
                        break
            published.wait(0.02)
        assert published.is_set()


@pytest.mark.parametrize(
    ("interval", "checkpoints", "copy", "rest"),
    [
        (2.0, [0.01], 0.1, 2.0),  # quickly made: as often as was asked
        (2.0, [0.3], 0.3, 3.0),  # a tenth of the writer's time at most
        (2.0, [2.0, 0.3], 0.5, FRESH_S - 2.5),  # the next may be as slow as the slowest, and must not come late
        (2.0, [9.0], 2.0, LEAST_REST_S),
        (60.0, [2.0], 1.0, 57.0),  # who asks for seldom snapshots gets them
    ],
)
def test_the_rest_between_snapshots(interval: float, checkpoints: list[float], copy: float, rest: float) -> None:
    assert _rest(interval, checkpoints, copy) == pytest.approx(rest)


def test_a_snapshot_that_cannot_be_written_does_not_stop_the_writer(path: Path) -> None:
    writer = Writer(path, publish_interval=0.0)
    snapshot_path(path).mkdir()  # a folder stands in its place: `cp` writes, `os.replace` refuses
    (snapshot_path(path) / "x").touch()
    for name in ("a", "b", "c"):
        writer.write({"reports": [report(name)]})
    with pytest.raises(StoreError, match="cannot publish"):
        writer.close()
    assert stored(path) == {"a", "b", "c"}


def test_closing_writes_what_is_queued_and_refuses_what_comes_later(path: Path) -> None:
    writer = Writer(path)
    futures = [writer.submit({"reports": [report(str(number))]}) for number in range(50)]
    writer.close()
    writer.close()
    assert all(done.done() for done in futures)
    with pytest.raises(StoreError, match="writer is closed"):
        writer.submit({"reports": [report("late")]})
    assert len(stored(path)) == 50
