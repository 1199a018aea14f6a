"""One pass of a job that goes by batches: fetch, label what is complete, hand in what is missing, and leave.

The same command does it again later. A disputed report takes two batches one after the other: the adjudicator can only
ask once the labelers have answered.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from teachback.agents.batch.desk import BatchDesk
from teachback.agents.batch.outcome import Exhausted, Outcome, UnderWay
from teachback.agents.calls import ChatRequest

__all__ = ["hand_in"]

T = TypeVar("T")


async def hand_in(desk: BatchDesk, label: Callable[[], Awaitable[tuple[T, Mapping[str, ChatRequest]]]]) -> Outcome[T]:
    """Make one pass.

    Args:
        desk: The endpoint's batches.
        label: Labels with what is in the store, sending nothing; returns what that came to, and the requests that it
            would have sent, by hash. It is called once the answers that had come back are stored.

    Raises:
        EgressError: A report's corpus may not be handed in; nothing of it was.
        TeacherError: The endpoint cannot be asked, or what it said shows that no request can succeed; what had come
            back is stored, and what is complete is labelled.
    """
    collected = await desk.collect()
    summary, outbox = await label()
    if collected.errors:
        raise collected.errors[0]
    exhausted = tuple(
        Exhausted(request_hash, outbox[request_hash].report_id, outbox[request_hash].agent, reason)
        for request_hash, reason in desk.exhausted(outbox).items()
    )
    submitted = tuple(await desk.submit(outbox))
    handed = tuple(
        UnderWay(new.batch_id, new.endpoint_batch_id, "validating", new.requests, 0, 0, 0.0) for new in submitted
    )
    return Outcome(summary, collected, submitted, (*collected.under_way, *handed), exhausted)
