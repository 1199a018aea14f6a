"""Hands requests in as batches and fetches their answers, so that a kill at any moment loses and repeats nothing.

In: the intent is stored, then the endpoint is told, then it is stored that it knows. An intent without that last word
is looked for at the endpoint, by the mark in its metadata: it is there, or the endpoint never had it.
Out: answers are stored, then the batch's end. Collecting the same batch again writes no answer twice.
"""

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from types import TracebackType

import duckdb
import openai
from openai.types import Batch

from teachback.agents.batch.answers import calls_of, ended_ms, rejection
from teachback.agents.batch.endpoint import BatchEndpoint, explain, was_refused
from teachback.agents.batch.ledger import BatchBill, Ledger, OpenBatch, event_rows, intent_rows
from teachback.agents.batch.lines import Matcher, request_files
from teachback.agents.batch.outcome import Collected, Submitted, UnderWay
from teachback.agents.call_cache import call_row, write_durably
from teachback.agents.calls import ChatRequest, LLMCall
from teachback.agents.prices import load_prices
from teachback.agents.settings import LLMSettings
from teachback.agents.transport import connect
from teachback.errors import EgressError, TeacherError
from teachback.store.writer import Writer

__all__ = ["BatchDesk", "check_batchable"]

MOST_REQUESTS = 50_000  # of a batch, OpenAI's limit
MOST_BYTES = 190_000_000  # of an input file; OpenAI's limit is 200 MB
MOST_TRIES = 3  # batches in which a request is executed before it counts as failed for good
LOST_AFTER_S = 60.0  # how long a batch may take to appear in the endpoint's listing
FORGOTTEN_AFTER_S = 48 * 3600.0  # a batch ends within 24 h: what the endpoint does not know by then will not come
WRITE_EVERY = 500  # answers a transaction
ENDED = frozenset({"completed", "expired", "cancelled"})


class BatchDesk:
    """One model's batches at one endpoint. Use it as `async with BatchDesk(...) as desk:`.

    Args:
        settings: The endpoint and its model.
        writer: The store's writer.
        connection: A connection to the same store.
        sdk: The SDK's client; one for the settings when not given.
        run_id: The run that batches and answers are booked on.
        without: Request parameters that the model is known not to take.
        most_requests: Requests in a batch.
        most_bytes: Size of an input file.
        lost_after_s: Seconds that a batch may take to appear in the endpoint's listing.
        write_every: Answers in a transaction.
    """

    def __init__(
        self,
        settings: LLMSettings,
        writer: Writer,
        connection: duckdb.DuckDBPyConnection,
        *,
        sdk: openai.AsyncOpenAI | None = None,
        run_id: str | None = None,
        without: frozenset[str] = frozenset(),
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
        lost_after_s: float = LOST_AFTER_S,
        write_every: int = WRITE_EVERY,
    ) -> None:
        self.run_id = run_id
        self.ledger = Ledger(connection, settings.identity, settings.model)
        self._settings = settings
        self._writer = writer
        self._sdk = sdk or connect(settings)
        self._endpoint = BatchEndpoint(self._sdk, settings)
        self._prices = load_prices(settings.prices)
        self._without = without
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._lost_after_s = lost_after_s
        self._write_every = write_every

    async def __aenter__(self) -> "BatchDesk":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sdk.close()

    async def submit(self, requests: Mapping[str, ChatRequest]) -> list[Submitted]:
        """Hand in the requests that are not under way and were not tried often enough.

        Args:
            requests: Hash to request.

        Raises:
            EgressError: A report's corpus has another policy than `any`; nothing is sent.
            TeacherError: The endpoint does not take them; what it took before is stored.
        """
        check_batchable(self.ledger.policies_of({request.report_id for request in requests.values()}))
        under_way, tries = self.ledger.under_way(), self.ledger.tries(requests)
        fresh = {
            request_hash: request
            for request_hash, request in requests.items()
            if request_hash not in under_way and tries.get(request_hash, 0) < MOST_TRIES
        }
        without = self._without | self.ledger.refused_parameters()
        files = request_files(fresh, self._settings, without, self._most_requests, self._most_bytes)
        return [await self._hand_in(part, content) for part, content in files]

    def exhausted(self, requests: Mapping[str, ChatRequest]) -> dict[str, str]:
        """Return why the requests failed that are not handed in again, by hash."""
        under_way, tries = self.ledger.under_way(), self.ledger.tries(requests)
        spent = [name for name in requests if name not in under_way and tries.get(name, 0) >= MOST_TRIES]
        unusable = "its answer cannot be used"
        return {name: f"{self.ledger.last_error(name) or unusable} (handed in {MOST_TRIES} times)" for name in spent}

    async def collect(self) -> Collected:
        """Fetch what the endpoint has ready, and say what it is still working on.

        Raises:
            TeacherError: The endpoint cannot be asked; what had arrived is stored.
        """
        collected = Collected()
        async for batch, seen in self._seen():
            if isinstance(seen, UnderWay):
                collected += Collected(under_way=(seen,))
            elif isinstance(seen, str):
                collected += Collected(ended={seen: 1})
            elif seen.status == "failed":
                error = await self._rejected(batch, seen)
                collected += Collected(ended={"failed": 1}, errors=(error,))
            else:
                collected += await self._store(batch, seen)
        return collected

    async def _hand_in(self, requests: Mapping[str, ChatRequest], content: bytes) -> Submitted:
        batch_id = f"bat_{uuid.uuid4().hex[:24]}"
        intent = intent_rows(batch_id, requests, self._settings.identity, self._settings.model, self.run_id)
        await write_durably(self._writer, intent)
        uploaded = False
        try:
            file_id = await self._endpoint.upload(f"teachback-{batch_id}", content)
            uploaded = True
            endpoint_batch_id = await self._endpoint.create(file_id, batch_id)
        except openai.APIError as error:
            told = explain(error, self._settings)
            if not uploaded or was_refused(error):
                await self._note(batch_id, "lost", reason=told.message)
            raise told from None
        await self._note(batch_id, "submitted", endpoint_batch_id=endpoint_batch_id)
        return Submitted(batch_id, endpoint_batch_id, len(requests))

    async def _seen(self) -> AsyncIterator[tuple[OpenBatch, Batch | UnderWay | str]]:
        """Look at every open batch: it ended, it is under way, or it is `lost`."""
        batches = self.ledger.open_batches()
        unsure = [batch for batch in batches if batch.endpoint_batch_id is None]
        found: dict[str, str] = {}
        if unsure:
            oldest = min(batch.created_at for batch in unsure).timestamp()
            found = await self._endpoint.find({batch.batch_id for batch in unsure}, oldest)
        for batch in batches:
            age_s = (datetime.now(UTC) - batch.created_at).total_seconds()
            name = batch.endpoint_batch_id or found.get(batch.batch_id)
            if name is None and age_s < self._lost_after_s:
                yield batch, UnderWay(batch.batch_id, None, "unconfirmed", batch.requests, 0, 0, age_s)
                continue
            if name is None:
                await self._note(batch.batch_id, "lost", reason="the endpoint never had it")
                yield batch, "lost"
                continue
            if batch.endpoint_batch_id is None:
                await self._note(batch.batch_id, "submitted", endpoint_batch_id=name)
            yield batch, await self._look_at(batch, name, age_s)

    async def _look_at(self, batch: OpenBatch, name: str, age_s: float) -> Batch | UnderWay | str:
        seen = await self._endpoint.retrieve(name)
        if seen is None:
            self._check_forgotten(f"batch {name}", age_s)
            await self._note(batch.batch_id, "lost", endpoint_batch_id=name, reason="the endpoint does not know it")
            return "lost"
        if seen.status in ENDED or seen.status == "failed":
            return seen
        counts = seen.request_counts
        completed, failed = (counts.completed, counts.failed) if counts else (0, 0)
        return UnderWay(batch.batch_id, name, seen.status, batch.requests, completed, failed, age_s)

    async def _rejected(self, batch: OpenBatch, seen: Batch) -> TeacherError:
        error = rejection(seen, self._settings)
        await self._note(batch.batch_id, "failed", endpoint_batch_id=seen.id, reason=error.message)
        return error

    async def _store(self, batch: OpenBatch, seen: Batch) -> Collected:
        """Store the answers of a batch that ended, then its end."""
        batch_id = batch.batch_id
        handed, stored = self.ledger.requests_of(batch_id), self.ledger.stored(batch_id)
        matcher = Matcher(handed)
        lines, settings = self._lines(batch, seen), self._settings
        hopeless: TeacherError | None = None
        waiting: list[LLMCall] = []
        async for call, error in calls_of(batch_id, handed, matcher, lines, ended_ms(seen), settings, self._prices):
            hopeless = hopeless or error
            if call.llm_call_id not in stored:
                waiting.append(call)
            if len(waiting) >= self._write_every:
                await self._keep(waiting)
                waiting = []
        await self._keep(waiting)
        bill, odd = self.ledger.bill_of(batch_id), matcher.oddities()
        await self._note(batch_id, seen.status, endpoint_batch_id=seen.id, bill=bill, reason=odd)
        return Collected(
            ended={seen.status: 1},
            bill=bill,
            reasons=self.ledger.reasons_of(batch_id),
            oddities={batch_id: odd} if odd else {},
            errors=(hopeless,) if hopeless else (),
        )

    async def _lines(self, batch: OpenBatch, seen: Batch) -> AsyncIterator[bytes]:
        # Answers first: where a request should stand in both files, its answer counts.
        for file_id in filter(None, (seen.output_file_id, seen.error_file_id)):
            try:
                async for line in self._endpoint.lines(file_id):
                    yield line
            except FileNotFoundError:
                self._check_forgotten(f"file {file_id}", time.time() - batch.created_at.timestamp())

    def _check_forgotten(self, what: str, age_s: float) -> None:
        if self._settings.is_local or age_s > FORGOTTEN_AFTER_S:
            return
        raise TeacherError(
            f"{self._settings.host} does not know {what}, which holds answers that were asked for",
            "use the key and the project that the batch was handed in with, or leave out --batch to ask again",
        )

    async def _keep(self, calls: list[LLMCall]) -> None:
        await write_durably(self._writer, {"llm_calls": [call_row(call, self.run_id) for call in calls]})

    async def _note(
        self,
        batch_id: str,
        event: str,
        *,
        endpoint_batch_id: str | None = None,
        bill: BatchBill | None = None,
        reason: str | None = None,
    ) -> None:
        rows = event_rows(batch_id, event, endpoint_batch_id=endpoint_batch_id, bill=bill, reason=reason)
        await write_durably(self._writer, rows)


def check_batchable(policies: Mapping[str, str]) -> None:
    """Check that reports under these egress policies may be handed in as files, which stay at the endpoint for weeks.

    Args:
        policies: Corpus to egress policy.

    Raises:
        EgressError: A policy is another than `any`.
    """
    restricted = {corpus: policy for corpus, policy in policies.items() if policy != "any"}
    if restricted:
        corpus, policy = min(restricted.items())
        raise EgressError(
            f"reports of corpus {corpus} are {policy}, and a batch's files stay at the endpoint for weeks",
            "leave out --batch, or choose a corpus whose egress policy is any",
        )
