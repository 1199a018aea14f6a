"""The one writer: a thread that owns the store while many tasks hand it rows.

Rows that arrive while a commit is under way go into the next one together (group commit): DuckDB commits about 200
single rows a second, but tens of thousands in batches. A submission's future is done once its rows are on disk, so
whoever must not lose a paid answer waits for it before using it.
"""

import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from teachback.errors import StoreError
from teachback.store.database import Rows, Store

__all__ = ["Writer", "with_room", "writing_alone"]

PUBLISH_INTERVAL_S = 2.0  # between snapshots while a run writes
PUBLISH_SHARE = 0.1  # of the writer's time that may go into checkpoints: those of large stores come more seldom
FRESH_S = 4.4  # the age that a snapshot may reach all the same, until the next one is checkpointed, copied and there
LEAST_REST_S = 0.5  # between two snapshots where making one takes that long
RECENT = 8  # checkpoints; the next one will hardly take longer than the slowest of them
MOST_ROWS = 20_000  # in a commit, but for one large submission: some tenth of a second, or snapshots wait for it
COPY_LOOK_S = 0.05  # how often an idle writer looks whether a copy is done
INBOX_INTERVAL_S = 0.5  # between two looks at what other processes have posted
POOL_MIB = 128  # what DuckDB may keep in memory while a job only writes; rows of a chunk take a few
_STOP = None

Found = TypeVar("Found")
_Entry = tuple[Rows, "Future[dict[str, int]]"]


class Writer:
    """Owns a `Store` in a thread of its own; use as a context manager.

    Args:
        path: The DuckDB file.
        publish_interval: Seconds between snapshots while rows keep coming; other ones where making them takes long.
    """

    def __init__(self, path: Path | str, *, publish_interval: float = PUBLISH_INTERVAL_S) -> None:
        self._store = Store(path)
        self._publish_interval = publish_interval
        self._rest_s = publish_interval  # between two snapshots
        self._copying = False  # whether one is under way
        self._checkpointed_at = 0.0  # when the last one's checkpoint was done
        self._checkpoints_s: deque[float] = deque(maxlen=RECENT)  # how long the last ones took
        self._looked_at = 0.0  # when the inbox was last emptied
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name="store-writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def reader(self) -> duckdb.DuckDBPyConnection:
        """Return a connection to read with what is committed, beside the writing."""
        return self._store.reader()

    def submit(self, rows: Rows) -> "Future[dict[str, int]]":
        """Queue rows for the next commit.

        Returns:
            A future that is done when they are on disk; from asyncio, `await asyncio.wrap_future(...)`. Its value
            counts the new rows of the whole group commit.

        Raises:
            StoreError: The writer is closed.
        """
        if not self._thread.is_alive():
            raise StoreError("the store's writer is closed", "this is a bug: report it")
        done: Future[dict[str, int]] = Future()
        self._queue.put((rows, done))
        return done

    def write(self, rows: Rows) -> dict[str, int]:
        """Write rows and wait until they are on disk."""
        return self.submit(rows).result()

    def close(self) -> None:
        """Write what is queued, publish, and close the store."""
        if self._thread.is_alive():
            self._queue.put(_STOP)
            self._thread.join()
            self._store.take_in()
            self._store.close()

    def _drain(self) -> None:
        running = True
        while running:
            try:
                group = [self._queue.get(timeout=COPY_LOOK_S if self._copying else self._publish_interval)]
            except queue.Empty:
                self._take_in()
                self._publish()
                continue
            rows = _row_count(group[0])
            while rows < MOST_ROWS and not self._queue.empty():
                group.append(self._queue.get())
                rows += _row_count(group[-1])
            running = _STOP not in group
            # A submitter that was cancelled meanwhile has its rows written all the same: they may be paid for.
            entries = [(*entry, entry[1].set_running_or_notify_cancel()) for entry in group if entry is not None]
            self._commit([given for given, _, _ in entries], [done for _, done, waiting in entries if waiting])
            self._take_in()
            self._publish()

    def _take_in(self) -> None:
        if time.monotonic() - self._looked_at >= INBOX_INTERVAL_S:
            with suppress(OSError):  # an inbox that cannot be emptied must not end a run
                self._store.take_in()
            self._looked_at = time.monotonic()

    def _publish(self) -> None:
        started = time.monotonic()
        # Rows keep coming where a snapshot cannot be written; `close` tries again and says what is wrong.
        with suppress(StoreError):
            copying = self._copying
            self._copying = self._store.publish_beside(min_interval=self._rest_s)
            now = time.monotonic()
            if self._copying and not copying:
                self._checkpointed_at = now
                self._checkpoints_s.append(now - started)
            elif copying and not self._copying:
                self._rest_s = _rest(self._publish_interval, self._checkpoints_s, now - self._checkpointed_at)

    def _commit(self, group: list[Rows], waiting: list["Future[dict[str, int]]"]) -> None:
        try:
            added = self._store.write(*_merged(group))
        except Exception as error:  # noqa: BLE001 - handed to every submitter, who raises it where it belongs
            for done in waiting:
                done.set_exception(error)
            return
        for done in waiting:
            done.set_result(added)


@contextmanager
def writing_alone(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Keep DuckDB small while a job writes for hours, and reads no more than the reports it labels next.

    It then holds on to nothing that was written, and works in one thread: shared among several, a batch of some ten
    thousand rows takes a tenth more of CPU time, and the other cores have labels to make.

    Args:
        connection: Any connection to the store; the settings are the whole store's.
    """
    connection.execute(f"SET memory_limit = '{POOL_MIB}MiB'")
    connection.execute("SET threads = 1")
    try:
        yield
    finally:
        connection.execute("RESET threads")
        connection.execute("RESET memory_limit")


def with_room(connection: duckdb.DuckDBPyConnection, read: Callable[[], Found]) -> Found:
    """Read what a job needs next; where `writing_alone` leaves too little for it, do without that limit from here on.

    A query holds 2,048 texts at a time, whichever of them it is after: of 50 kB each that is more than the limit.

    Args:
        connection: Any connection to the store.
        read: Reads it; called again where there was too little.
    """
    try:
        return read()
    except duckdb.OutOfMemoryException:
        connection.execute("RESET memory_limit")
        return read()


def _rest(interval_s: float, checkpoints_s: Sequence[float], copy_s: float) -> float:
    """Return how long after a snapshot was begun the next one is, in seconds."""
    # What the checkpoint takes is the writer's time; the copy is not.
    seldom = max(interval_s, checkpoints_s[-1] / PUBLISH_SHARE)
    # The next checkpoint may take as long as the slowest: some have much more to compress than others.
    often = max(max(interval_s, FRESH_S) - max(checkpoints_s) - copy_s, LEAST_REST_S)
    return min(seldom, often)


def _row_count(entry: _Entry | None) -> int:
    return sum(map(len, entry[0].values())) if entry else 0


def _merged(group: Sequence[Rows]) -> tuple[Rows, Rows]:
    """Return the rows of several submissions table by table: what came as rows, and what came as columns."""
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    columns: dict[str, list[pa.Table]] = defaultdict(list)
    for table, given in (entry for submitted in group for entry in submitted.items()):
        if isinstance(given, pa.Table):
            columns[table].append(given)
        else:
            rows[table].extend(given)
    return rows, {table: pa.concat_tables(given, promote_options="default") for table, given in columns.items()}
