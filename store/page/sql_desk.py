"""The SQL page's questions: each on a locked-down snapshot of its own, one at a time, bounded in memory and time."""

import csv
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from teachback.errors import SettingError
from teachback.store.asking import Asked, ask, explained, lock_down
from teachback.store.database import open_snapshot

__all__ = ["SqlDesk", "Table"]

MEMORY = "1GiB"
TIME_S = 20.0
MOST_ROWS = 200  # shown on the page; downloads give all
LONGEST_QUERY = 20_000  # characters
MOST_BYTES = 256 * 2**20  # of a download, which is made in memory


@dataclass(frozen=True)
class Table:
    """An answer, as it is shown.

    Attributes:
        names: The columns.
        rows: The first rows, as text.
        more: Whether there are more.
    """

    names: list[str]
    rows: list[list[str]]
    more: bool


class SqlDesk:
    """Answers questions about a store.

    Args:
        store: The store.
        time_s: Longest time a question may take.
        most_bytes: Largest download.
    """

    def __init__(self, store: Path, time_s: float = TIME_S, most_bytes: int = MOST_BYTES) -> None:
        self.store = store
        self.time_s = time_s
        self.most_bytes = most_bytes
        self._busy = threading.Lock()

    def table(self, query: str) -> Table:
        """Answer a question for the page.

        Raises:
            SettingError: It cannot be answered; says why, and what to do.
        """
        with self._asked(query) as asked:
            rows = [[_text(value) for value in row] for row in islice(asked.rows(), MOST_ROWS + 1)]
        return Table(asked.names, rows[:MOST_ROWS], len(rows) > MOST_ROWS)

    def as_csv(self, query: str) -> bytes:
        """Answer with all rows as CSV."""
        with self._asked(query) as asked:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(asked.names)
            for row in asked.rows():
                writer.writerow([_text(value) for value in row])
                self._check_size(text.tell())
        return text.getvalue().encode()

    def as_parquet(self, query: str) -> bytes:
        """Answer with all rows as Parquet."""
        with self._asked(query) as asked:
            if asked.reader is None:
                raise SettingError("it has no rows to write", "ask a SELECT")
            into = io.BytesIO()
            with pq.ParquetWriter(into, asked.reader.schema, compression="zstd") as writer:
                for batch in asked.reader:
                    writer.write_batch(batch)
                    self._check_size(into.tell())
        return into.getvalue()

    def _check_size(self, size: int) -> None:
        if size > self.most_bytes:
            raise SettingError(
                f"the answer has more than {self.most_bytes // 2**20} MiB",
                "ask for less at once, or write it with `teachback sql --csv`, which has no limit",
            )

    @contextmanager
    def _asked(self, query: str) -> Iterator[Asked]:
        if not query.strip() or len(query) > LONGEST_QUERY:
            raise SettingError(
                "there is no query, or one that is too long", f"give one of up to {LONGEST_QUERY} characters"
            )
        if not self._busy.acquire(blocking=False):
            raise SettingError(
                "another question is being answered", f"wait for it; none takes over {self.time_s:.0f} s"
            )
        try:
            connection, _ = open_snapshot(self.store)
            timer = threading.Timer(self.time_s, connection.interrupt)
            try:
                lock_down(connection, memory_limit=MEMORY)
                timer.start()
                yield ask(connection, query)
            except (duckdb.Error, OSError) as error:  # OSError: what arises while rows are fetched
                raise explained(error) from None
            finally:
                timer.cancel()
                connection.close()
        finally:
            self._busy.release()


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
