"""What the store knows of the batches at one endpoint and model.

A row of `batches` is the intent, written before the endpoint is told; `batch_events` says what became of it. So
whatever is interrupted, the store says which requests may be under way, and none of them is handed in a second time.
"""

from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from teachback.agents.calls import ChatRequest
from teachback.agents.failures import DISPENSABLE_PARAMETERS
from teachback.store.database import Rows

__all__ = ["BatchBill", "HandedIn", "Ledger", "OpenBatch", "event_rows", "intent_rows"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What became of a batch that was executed. One that the endpoint never had (`lost`), or refused as a whole (`failed`),
# asked nothing, so it does not count as a try.
EXECUTED = ("completed", "expired", "cancelled")

_HERE = "SELECT * FROM batches WHERE endpoint = $endpoint AND model = $model"
_TRIED = f"""
    SELECT llm_call_id, count(DISTINCT batch_id) AS times
    FROM batch_requests JOIN here USING (batch_id) JOIN batch_events USING (batch_id)
    WHERE event IN {EXECUTED} GROUP BY ALL
"""


@dataclass(frozen=True)
class OpenBatch:
    """A batch of which the end is not known.

    Attributes:
        batch_id: Its name in the store.
        endpoint_batch_id: Its name at the endpoint; None when it is not known whether the endpoint has it.
        requests: How many requests it holds.
        created_at: When it was handed in, in UTC.
    """

    batch_id: str
    endpoint_batch_id: str | None
    requests: int
    created_at: datetime


@dataclass(frozen=True)
class HandedIn:
    """A request of a batch.

    Attributes:
        llm_call_id: The request's hash.
        report_id: The report that it asks about.
        agent: Which agent asks.
        prompt_id: The prompt that made it.
        sample: Which of several answers to the same question it asks for.
        earlier: In how many executed batches it was before this one.
        errors: Why it failed there.
    """

    llm_call_id: str
    report_id: str
    agent: str
    prompt_id: str | None
    sample: int
    earlier: int = 0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchBill:
    """What the store holds of a batch's answers.

    Attributes:
        answered: Requests with an answer.
        refused: Requests without one.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens returned.
        cost_usd: US dollars, of the calls whose price is known.
        unpriced: Answers whose price is not known.
    """

    answered: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    def __add__(self, other: "BatchBill") -> "BatchBill":
        return BatchBill(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Ledger:
    """Reads what is known of the batches at an endpoint.

    Args:
        connection: A connection to the store.
        endpoint: What names the endpoint (`LLMSettings.identity`).
        model: The model.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, endpoint: str, model: str) -> None:
        self._connection = connection
        self._place = {"endpoint": endpoint, "model": model}

    def open_batches(self) -> list[OpenBatch]:
        """Return the batches of which the end is not known, oldest first."""
        rows = self._rows(f"""
            SELECT batch_id, max(endpoint_batch_id) FILTER (event = 'submitted'), any_value(requests),
                epoch_us(any_value(b.created_at)) AS handed_in
            FROM ({_HERE}) b LEFT JOIN batch_events e USING (batch_id)
            GROUP BY batch_id
            HAVING count(*) FILTER (event IS NOT NULL AND event <> 'submitted') = 0
            ORDER BY handed_in, batch_id
        """)
        return [OpenBatch(name, theirs, asked, EPOCH + timedelta(microseconds=at)) for name, theirs, asked, at in rows]

    def under_way(self) -> set[str]:
        """Return the hashes of the requests whose answers may still come."""
        open_ids = [batch.batch_id for batch in self.open_batches()]
        query = "SELECT DISTINCT llm_call_id FROM batch_requests WHERE list_contains($ids, batch_id)"
        return {llm_call_id for (llm_call_id,) in self._rows(query, ids=open_ids)} if open_ids else set()

    def requests_of(self, batch_id: str) -> dict[str, HandedIn]:
        """Return a batch's requests by `custom_id`."""
        query = f"""
            WITH here AS ({_HERE}), mine AS (SELECT * FROM batch_requests WHERE batch_id = $batch_id),
            tried AS ({_TRIED}),
            failed AS (
                SELECT llm_call_id, list(error ORDER BY c.created_at) AS errors
                FROM llm_calls c JOIN here USING (batch_id)
                WHERE error IS NOT NULL AND batch_id <> $batch_id AND llm_call_id IN (SELECT llm_call_id FROM mine)
                GROUP BY ALL
            )
            SELECT custom_id, llm_call_id, report_id, agent, prompt_id, coalesce(sample, 0),
                coalesce(times, 0), coalesce(errors, [])
            FROM mine LEFT JOIN tried USING (llm_call_id) LEFT JOIN failed USING (llm_call_id)
        """
        rows = self._rows(query, batch_id=batch_id)
        return {
            custom_id: HandedIn(call_id, report_id, agent, prompt_id, sample, earlier, tuple(errors))
            for custom_id, call_id, report_id, agent, prompt_id, sample, earlier, errors in rows
        }

    def stored(self, batch_id: str) -> set[str]:
        """Return the hashes of the requests whose fate in a batch is stored already."""
        query = "SELECT llm_call_id FROM llm_calls WHERE batch_id = $batch_id"
        return {llm_call_id for (llm_call_id,) in self._rows(query, batch_id=batch_id)}

    def bill_of(self, batch_id: str) -> BatchBill:
        """Return what a batch's stored answers come to."""
        ((*counts,),) = self._rows(
            """
            SELECT count(*) FILTER (error IS NULL), count(*) FILTER (error IS NOT NULL),
                coalesce(sum(prompt_tokens), 0)::BIGINT, coalesce(sum(completion_tokens), 0)::BIGINT,
                coalesce(sum(cost_usd), 0.0), count(*) FILTER (cost_usd IS NULL AND prompt_tokens IS NOT NULL)
            FROM llm_calls WHERE batch_id = $batch_id
            """,
            batch_id=batch_id,
        )
        return BatchBill(*counts)

    def reasons_of(self, batch_id: str) -> dict[str, int]:
        """Return why a batch's requests failed, and how many of them, the commonest first."""
        query = """
            SELECT error, count(*) FROM llm_calls WHERE batch_id = $batch_id AND error IS NOT NULL
            GROUP BY ALL ORDER BY 2 DESC, 1
        """
        return dict(self._rows(query, batch_id=batch_id))

    def tries(self, hashes: Collection[str]) -> dict[str, int]:
        """Return in how many executed batches each of these requests was; one that was in none is left out."""
        wanted = set(hashes)
        rows = self._rows(f"WITH here AS ({_HERE}) {_TRIED}")
        return {llm_call_id: times for llm_call_id, times in rows if llm_call_id in wanted}

    def last_error(self, llm_call_id: str) -> str | None:
        """Return why a request failed the last time; None when its last answer came."""
        query = f"""
            SELECT error FROM llm_calls c JOIN ({_HERE}) USING (batch_id) WHERE llm_call_id = $llm_call_id
            ORDER BY c.created_at DESC LIMIT 1
        """
        rows = self._rows(query, llm_call_id=llm_call_id)
        return rows[0][0] if rows else None

    def refused_parameters(self) -> frozenset[str]:
        """Return the request parameters that the model turned out not to take, in any batch so far."""
        rows = self._rows(f"""
            SELECT DISTINCT response->>'$.error.param' FROM llm_calls JOIN ({_HERE}) USING (batch_id)
            WHERE error LIKE 'HTTP 400%' AND response IS NOT NULL
        """)
        return frozenset(str(parameter).split(".")[0] for (parameter,) in rows) & DISPENSABLE_PARAMETERS

    def policies_of(self, report_ids: Collection[str]) -> dict[str, str]:
        """Return the egress policies of these reports' corpora, by corpus.

        A corpus without a policy is `local-only`, and so is a report that the store does not hold.
        """
        query = """
            SELECT DISTINCT coalesce(corpus, '(not in the store)'), coalesce(egress, 'local-only')
            FROM (SELECT unnest($report_ids::VARCHAR[]) AS report_id)
            LEFT JOIN reports USING (report_id) LEFT JOIN corpora USING (corpus)
        """
        return dict(self._rows(query, report_ids=list(report_ids)))

    def _rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        used = {name: value for name, value in {**self._place, **values}.items() if f"${name}" in query}
        return self._connection.cursor().execute(query, used).fetchall()


def intent_rows(
    batch_id: str, requests: Mapping[str, ChatRequest], endpoint: str, model: str, run_id: str | None
) -> Rows:
    """Return the rows that say which requests are about to be handed in.

    Args:
        batch_id: The batch.
        requests: Hash to request; the hash is the `custom_id` too.
        endpoint: What names the endpoint.
        model: The model.
        run_id: The run that hands it in.
    """
    batch = {"batch_id": batch_id, "endpoint": endpoint, "model": model, "requests": len(requests), "run_id": run_id}
    asked = [
        {
            "batch_id": batch_id,
            "custom_id": request_hash,
            "llm_call_id": request_hash,
            "report_id": request.report_id,
            "agent": request.agent,
            "prompt_id": request.prompt_id,
            "sample": request.sample,
        }
        for request_hash, request in requests.items()
    ]
    return {"batches": [batch], "batch_requests": asked}


def event_rows(
    batch_id: str,
    event: str,
    *,
    endpoint_batch_id: str | None = None,
    bill: BatchBill | None = None,
    reason: str | None = None,
) -> Rows:
    """Return the row that says what became of a batch."""
    row = {
        "batch_id": batch_id,
        "event": event,
        "endpoint_batch_id": endpoint_batch_id,
        "answered": bill.answered if bill else None,
        "refused": bill.refused if bill else None,
        "reason": reason,
    }
    return {"batch_events": [row]}
