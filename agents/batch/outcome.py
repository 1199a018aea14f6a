"""What a pass over the batches found, handed in, and left open."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from teachback.agents.batch.ledger import BatchBill
from teachback.errors import TeacherError

__all__ = ["Collected", "Exhausted", "Outcome", "Submitted", "UnderWay"]

T = TypeVar("T")


@dataclass(frozen=True)
class Submitted:
    """A batch that was handed in.

    Attributes:
        batch_id: Its name in the store.
        endpoint_batch_id: Its name at the endpoint.
        requests: How many requests it holds.
    """

    batch_id: str
    endpoint_batch_id: str
    requests: int


@dataclass(frozen=True)
class UnderWay:
    """A batch whose answers are not there yet.

    Attributes:
        batch_id: Its name in the store.
        endpoint_batch_id: Its name at the endpoint; None while it is not known whether it arrived there.
        status: The endpoint's word for where it stands; `unconfirmed` where it is not known whether it arrived.
        requests: How many requests it holds.
        completed: How many the endpoint has answered.
        failed: How many failed there.
        age_s: Seconds since it was handed in.
    """

    batch_id: str
    endpoint_batch_id: str | None
    status: str
    requests: int
    completed: int
    failed: int
    age_s: float

    @classmethod
    def just_handed_in(cls, batch: Submitted) -> "UnderWay":
        """Return how a batch stands that was handed in this moment."""
        return cls(batch.batch_id, batch.endpoint_batch_id, "validating", batch.requests, 0, 0, 0.0)


@dataclass(frozen=True)
class Collected:
    """What the endpoint had ready.

    Attributes:
        ended: Batches that ended, by how: `completed`, `expired`, `cancelled`, `failed`, `lost`.
        bill: Their answers, and what these cost.
        reasons: Why requests failed, and how many of them.
        under_way: Batches that are not done.
        oddities: Batch to what was wrong with the lines that came back.
        errors: What keeps all requests from succeeding, such as an input file that was refused.
    """

    ended: Mapping[str, int] = field(default_factory=dict)
    bill: BatchBill = field(default_factory=BatchBill)
    reasons: Mapping[str, int] = field(default_factory=dict)
    under_way: tuple[UnderWay, ...] = ()
    oddities: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[TeacherError, ...] = ()

    def __add__(self, other: "Collected") -> "Collected":
        return Collected(
            dict(Counter(self.ended) + Counter(other.ended)),
            self.bill + other.bill,
            dict(Counter(self.reasons) + Counter(other.reasons)),
            self.under_way + other.under_way,
            {**self.oddities, **other.oddities},
            self.errors + other.errors,
        )


@dataclass(frozen=True)
class Exhausted:
    """A request that is not handed in again.

    Attributes:
        llm_call_id: Its hash.
        report_id: The report that it asks about.
        agent: Which agent asks.
        reason: Why it failed the last time.
    """

    llm_call_id: str
    report_id: str
    agent: str
    reason: str


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a pass came to.

    Attributes:
        summary: What labeling came to.
        collected: What had come back.
        submitted: What was handed in.
        under_way: What is not there yet, what was just handed in included.
        exhausted: What is not handed in again.
    """

    summary: T
    collected: Collected
    submitted: tuple[Submitted, ...]
    under_way: tuple[UnderWay, ...]
    exhausted: tuple[Exhausted, ...]

    @property
    def is_done(self) -> bool:
        """Whether no further pass would bring anything."""
        return not self.under_way

    @property
    def oldest_s(self) -> float:
        """Seconds since the oldest batch under way was handed in; 0 when none is."""
        return max((batch.age_s for batch in self.under_way), default=0.0)

    @property
    def next_step(self) -> str:
        """What the user does now."""
        if self.under_way:
            return "run the same command again in an hour or so: most batches are done within a day"
        if self.exhausted:
            return "run the same command without --batch: it asks for these one by one"
        return "nothing: every answer is in the store"
