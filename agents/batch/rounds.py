"""One pass of a job that goes by batches: fetch, label what is complete, hand in what is missing, and leave.

The same command does it again later. A disputed report takes two batches one after the other: the adjudicator can only
ask once the labelers have answered.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from teachback.agents.batch.desk import BatchDesk
from teachback.agents.batch.outcome import Collected, Exhausted, Outcome, Submitted, UnderWay
from teachback.agents.calls import ChatRequest

__all__ = ["hand_in"]

T = TypeVar("T")


async def hand_in(
    desks: Sequence[BatchDesk], label: Callable[[], Awaitable[tuple[T, Sequence[Mapping[str, ChatRequest]]]]]
) -> Outcome[T]:
    """Make one pass.

    Args:
        desks: The batches of each model that is asked.
        label: Labels with what is in the store, sending nothing; returns what that came to and, for each desk, the
            requests that it would have sent, by hash. It is called once the answers that had come back are stored.

    Raises:
        EgressError: A report's corpus may not be handed in; nothing of it was.
        TeacherError: The endpoint cannot be asked, or what it said shows that no request can succeed; what had come
            back is stored, and what is complete is labelled.
    """
    found = [await desk.collect() for desk in desks]
    summary, outboxes = await label()
    for error in (error for collected in found for error in collected.errors):
        raise error
    exhausted: list[Exhausted] = []
    submitted: list[Submitted] = []
    for desk, outbox in zip(desks, outboxes, strict=True):
        for request_hash, reason in desk.exhausted(outbox).items():
            request = outbox[request_hash]
            exhausted.append(Exhausted(request_hash, request.report_id, request.agent, reason))
        submitted += await desk.submit(outbox)
    collected = sum(found, Collected())
    under_way = (*collected.under_way, *(UnderWay.just_handed_in(batch) for batch in submitted))
    return Outcome(summary, collected, tuple(submitted), under_way, tuple(exhausted))
