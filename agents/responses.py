"""What an endpoint's response comes to: what is billed, what is kept of it, and what its reader makes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from teachback.agents.calls import Answer
from teachback.agents.completion import Usage, read_completion, thinned
from teachback.errors import TeacherReplyError

__all__ = ["Response", "read_response"]

LONG_RESPONSE = 16_384  # bytes; longer ones are thinned before they are stored

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Response(Generic[T]):
    """A response, read.

    Attributes:
        model: The model that answered, as far as it says.
        prompt_tokens: Tokens sent.
        cached_tokens: Of these, tokens that are billed as cached.
        completion_tokens: Tokens returned.
        kept: The endpoint's JSON, as it is stored.
        reading: What the reader made of it; None where it refused it.
        refused: Why it cannot be used; None where it can.
    """

    model: str | None
    prompt_tokens: int | None
    cached_tokens: int
    completion_tokens: int | None
    kept: str
    reading: T | None
    refused: str | None


def read_response(raw: bytes, read: Callable[[Answer], T], llm_call_id: str, report_id: str) -> Response[T]:
    """Read an endpoint's response.

    Args:
        raw: The endpoint's JSON; anything else counts as an answer that says nothing.
        read: Reads the answer; raises TeacherReplyError when it cannot be used.
        llm_call_id: The call.
        report_id: The report that was asked about.
    """
    completion = read_completion(raw)
    usage = completion.usage or Usage()
    long = len(raw) > LONG_RESPONSE and bool(completion.choices)
    # Thinned first, so that what is read is what is kept: read again later, it makes the same labels.
    kept = thinned(completion) if long else raw.decode("utf-8", "replace")
    reading, refused = None, None
    try:
        reading = read(Answer(llm_call_id, report_id, completion))
    except TeacherReplyError as error:
        refused = error.reason
    return Response(
        completion.model,
        usage.prompt_tokens,
        completion.cached_tokens,
        usage.completion_tokens,
        kept,
        reading,
        refused,
    )
