"""What the page sees: the newest snapshot, and over it the decisions that this page has taken and the store not yet."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from teachback.errors import StoreError
from teachback.store.database import open_snapshot, snapshot_path
from teachback.store.review.decisions import Decision, deliver, record

__all__ = ["Sight", "Step"]

LOOK_EVERY_S = 1.0  # at whether there is a newer snapshot
DELIVERY_SHARE = 0.1  # of the time that may go into handing decisions in: that of a large store takes seconds
_STEPS = (
    'SELECT review_id, report_id, task, target, "action", status, undoes, reviewer, note, why, blind, seconds, '
    "plan_id, epoch(decided_at) FROM reviews ORDER BY decided_at, review_id"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a reviewer, in the store or on its way there; fields as in `Decision`, `at` in seconds since 1970."""

    review_id: str
    report_id: str
    task: str | None
    target: str | None
    action: str
    status: str | None
    undoes: str | None
    reviewer: str
    note: str | None
    why: str | None
    blind: bool
    seconds: float | None
    plan_id: str | None
    at: float


class Sight:
    """The newest snapshot of a store, opened anew whenever there is a newer one. Safe to use from several threads.

    Args:
        store: The store.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self._lock = threading.RLock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._seen = 0.0  # the snapshot's time of writing
        self._looked_at = 0.0
        self._kept: list[Step] = []  # of the snapshot
        self._own: dict[str, Step] = {}  # taken here, not yet in the snapshot
        self._generation = 0
        self._delivering = threading.Lock()
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._courier = threading.Thread(target=self._deliver, name="courier", daemon=True)
        self.look(force=True)
        self._courier.start()

    @property
    def generation(self) -> int:
        """Which snapshot it is: changes with each newer one."""
        return self._generation

    @property
    def age_s(self) -> float:
        """Seconds since the snapshot was written."""
        return max(0.0, time.time() - self._seen)

    @property
    def undelivered(self) -> int:
        """Decisions that are on disk, and not yet in the snapshot."""
        return len(self._own)

    def look(self, *, force: bool = False) -> bool:
        """Open a newer snapshot if there is one; return whether there was."""
        with self._lock:
            if not force and time.monotonic() - self._looked_at < LOOK_EVERY_S:
                return False
            self._looked_at = time.monotonic()
            written = _written(self.store)
            if written == self._seen and self._connection is not None:
                return False
            connection, _ = open_snapshot(self.store)
            connection.execute("SET TimeZone = 'UTC'")
            # The old connection closes when the last of its cursors is gone.
            self._connection, self._seen = connection, written
            self._kept = [Step(*row) for row in connection.execute(_STEPS).fetchall()]
            arrived = {step.review_id for step in self._kept}
            self._own = {key: step for key, step in self._own.items() if key not in arrived}
            self._generation += 1
            return True

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection of its own to the newest snapshot."""
        with self._lock:
            self.look()
            if self._connection is None:
                raise StoreError(f"{self.store} is closed", "this is a bug: report it")
            cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return a query's rows as dictionaries."""
        with self.cursor() as cursor:
            found = cursor.execute(query, list(parameters))
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def steps(self) -> list[Step]:
        """Return all reviewers' steps in order, those on their way included."""
        with self._lock:
            return [*self._kept, *self._own.values()]

    def take(self, decisions: Sequence[Decision]) -> None:
        """Keep decisions: they are on disk when this returns."""
        record(self.store, decisions)
        with self._lock:
            for decision in decisions:
                self._own[decision.review_id] = _step(decision)
        self._wanted.set()

    def close(self) -> None:
        """Hand in what waits, as far as nobody else writes."""
        self._closed.set()
        self._wanted.set()
        self._courier.join()
        if self._own and deliver(self.store):
            self.look(force=True)

    def _deliver(self) -> None:
        pause = LOOK_EVERY_S
        while not self._closed.is_set():
            self._wanted.wait()
            # More may come in the meantime; a running writer takes them in by itself.
            self._closed.wait(pause)
            if self._closed.is_set():
                return
            self._wanted.clear()
            started = time.monotonic()
            if not deliver(self.store):
                self._wanted.set()
            self.look(force=True)
            if not self._own:
                self._wanted.clear()
            pause = max(LOOK_EVERY_S, (time.monotonic() - started) / DELIVERY_SHARE)


def _written(store: Path) -> float:
    try:
        return snapshot_path(store).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _step(decision: Decision) -> Step:
    return Step(
        decision.review_id,
        decision.report_id,
        decision.task,
        decision.target,
        decision.action,
        decision.status,
        decision.undoes,
        decision.reviewer.strip(),
        decision.note,
        decision.why,
        decision.blind,
        decision.seconds,
        decision.plan_id,
        decision.decided_at.timestamp(),
    )
