"""The call cache in the store: an answer that was paid for is on disk before anybody uses it, and is never asked again.

Which requests are answered is known from the start (a set of ids); the answers themselves, each some kilobytes, are
read chunk by chunk and let go with their chunk.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import duckdb

from teachback.agents.calls import LLMCall
from teachback.errors import StoreError
from teachback.store.database import Rows
from teachback.store.writer import Writer, with_room

__all__ = ["Bill", "StoreCallCache", "call_row", "write_durably"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GATHER_S = 0.1  # how long an answer waits for others before they are written in one commit
_COLUMNS = LLMCall.__struct_fields__


@dataclass
class Bill:
    """What this run asked for and what that cost.

    Attributes:
        calls: Calls that were sent and answered.
        failed: Calls that were sent and not answered, or whose answer could not be used.
        reused: Answers taken from the store.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens returned.
        cost_usd: US dollars, of the calls whose price is known.
        unpriced: Calls whose price is not known.
    """

    calls: int = 0
    failed: int = 0
    reused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    def add(self, call: LLMCall) -> None:
        """Count one call."""
        self.calls += call.error is None
        self.failed += call.error is not None
        self.prompt_tokens += call.prompt_tokens or 0
        self.completion_tokens += call.completion_tokens or 0
        self.cost_usd += call.cost_usd or 0.0
        self.unpriced += call.cost_usd is None and call.prompt_tokens is not None


class StoreCallCache:
    """Keeps calls in the table `llm_calls`; `client.LLMClient` asks it before it sends anything.

    Args:
        writer: The store's writer, through which calls are written; None where nothing will be asked.
        connection: A connection to the same store, from which they are read.
        run_id: The run that new calls are booked on.
    """

    def __init__(self, writer: Writer | None, connection: duckdb.DuckDBPyConnection, run_id: str | None = None) -> None:
        self.run_id = run_id
        self.before_writing: Callable[[], object] = lambda: None  # what the rows of calls rest on
        self.bill = Bill()
        self._writer = writer
        self._connection = connection
        answered = connection.execute("SELECT DISTINCT llm_call_id FROM llm_calls WHERE error IS NULL").fetchall()
        self._answered = {call_id for (call_id,) in answered}
        self._found_some = bool(self._answered)
        self._at_hand: dict[str, LLMCall] = {}
        self._unwritten: list[dict[str, Any]] = []
        self._writing: asyncio.Task[None] | None = None

    def get(self, request_hash: str) -> LLMCall | None:
        """Return the answered call of that hash, or None."""
        if request_hash not in self._answered:
            return None
        if request_hash not in self._at_hand:  # the answer on another report of the same text
            self._at_hand.update(self._read("llm_call_id = ?", [request_hash]))
        self.bill.reused += 1
        return self._at_hand[request_hash]

    async def put(self, call: LLMCall) -> None:
        """Keep a call; returns when it is on disk."""
        if self._writer is None:
            raise StoreError("this call cache is for reading only", "this is a bug: report it")
        self._unwritten.append(call_row(call, self.run_id))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(self._writer))
        await _finished(self._writing)
        self.bill.add(call)
        if call.error is None:
            self._at_hand[call.llm_call_id] = call
            self._answered.add(call.llm_call_id)

    async def load(self, report_ids: Sequence[str]) -> None:
        """Read the answers that an earlier run left on these reports, in one query."""
        if self._found_some:
            condition = "report_id IN (SELECT unnest(?::VARCHAR[]))"
            self._at_hand.update(await asyncio.to_thread(self._read, condition, [list(report_ids)]))

    def release(self, report_ids: Iterable[str]) -> None:
        """Let go of the answers on these reports; they stay in the store."""
        finished = set(report_ids)
        self._at_hand = {key: call for key, call in self._at_hand.items() if call.report_id not in finished}

    async def _write(self, writer: Writer) -> None:
        # Calls that come within a moment are written together: what a commit costs does not grow with some dozen rows.
        await asyncio.sleep(GATHER_S)
        self.before_writing()
        rows, self._unwritten, self._writing = self._unwritten, [], None
        await asyncio.wrap_future(writer.submit({"llm_calls": rows}))

    def _read(self, condition: str, parameters: list[Any]) -> dict[str, LLMCall]:
        cursor = self._connection.cursor()
        # Timestamps come as microseconds: DuckDB's Python rows would need pytz for them.
        columns = ", ".join(f"epoch_us({name})" if name == "created_at" else name for name in _COLUMNS)
        query = f"SELECT {columns} FROM llm_calls WHERE error IS NULL AND {condition}"
        rows = with_room(cursor, lambda: cursor.execute(query, parameters).fetchall())
        # Sorted here: DuckDB would hold the answers twice. Of a call that was written twice the newest counts.
        calls = sorted(map(_call, rows), key=attrgetter("created_at"))
        return {call.llm_call_id: call for call in calls}


def call_row(call: LLMCall, run_id: str | None) -> dict[str, Any]:
    """Return the `llm_calls` row of a call."""
    return {"run_id": run_id, **{column: getattr(call, column) for column in _COLUMNS}}


async def write_durably(writer: Writer, rows: Rows) -> None:
    """Write rows and return once they are on disk; a task that is cancelled meanwhile waits for them all the same.

    Cancelling the wait must not reach the writer's own future: what it was handed, it writes.
    """
    await _finished(asyncio.wrap_future(writer.submit(rows)))


async def _finished(writing: "asyncio.Future[Any]") -> None:
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


def _call(row: tuple[Any, ...]) -> LLMCall:
    columns = dict(zip(_COLUMNS, row, strict=True))
    columns["created_at"] = EPOCH + timedelta(microseconds=columns["created_at"])
    columns["retries"] = tuple(columns["retries"] or ())
    columns["repaired"], columns["sample"] = bool(columns["repaired"]), columns["sample"] or 0
    return LLMCall(**columns)
