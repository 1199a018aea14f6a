"""How a call is recorded: what it said, what it cost, or why it failed."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from teachback.agents.calls import Answer, ChatRequest, LLMCall
from teachback.agents.completion import Usage, read_completion, thinned
from teachback.agents.prices import PriceList
from teachback.agents.settings import LLMSettings

__all__ = ["Attempted", "record_answer", "record_failure", "record_refusal"]

LONG_RESPONSE = 16_384  # characters; longer ones are thinned before they are stored


@dataclass(frozen=True, slots=True)
class Attempted:
    """A request that was sent.

    Attributes:
        request: What was asked.
        request_hash: Its name.
        attempts: How often it was sent.
        latency_ms: Milliseconds that it all took.
        retries: Why each attempt but the last failed.
        repaired: Whether it shows the model what was wrong with its first answer.
    """

    request: ChatRequest
    request_hash: str
    attempts: int
    latency_ms: float
    retries: tuple[str, ...] = ()
    repaired: bool = False


def record_answer(
    attempted: Attempted, response: str, settings: LLMSettings, prices: PriceList
) -> tuple[LLMCall, Answer]:
    """Record an answer that came back with status 200, and return it parsed; what it says is not judged here.

    Args:
        attempted: The request that was sent.
        response: The endpoint's JSON; anything else counts as an answer that says nothing.
        settings: The endpoint.
        prices: What its tokens cost.
    """
    completion = read_completion(response)
    usage = completion.usage or Usage()
    sent, cached, returned = usage.prompt_tokens, completion.cached_tokens, usage.completion_tokens
    model = completion.model or settings.model
    cost: float | None = 0.0 if settings.is_local else None
    if cost is None and sent is not None and returned is not None:
        known = model if prices.price_of(model) else settings.model
        cost = prices.cost_usd(known, sent, cached, returned)
    long = len(response) > LONG_RESPONSE and bool(completion.choices)
    call = replace(
        _record(attempted, model),
        response=thinned(completion) if long else response,
        prompt_tokens=sent,
        cached_tokens=cached,
        completion_tokens=returned,
        cost_usd=cost,
    )
    return call, Answer(call.llm_call_id, call.report_id, completion)


def record_failure(attempted: Attempted, model: str, error: str) -> LLMCall:
    """Record a request that got no answer."""
    return replace(_record(attempted, model), error=error)


def record_refusal(call: LLMCall, reason: str) -> LLMCall:
    """Record an answer that cannot be used: it is paid for, and a call with an error is never served again."""
    return replace(call, error=reason)


def _record(attempted: Attempted, model: str) -> LLMCall:
    request = attempted.request
    return LLMCall(
        llm_call_id=attempted.request_hash,
        model=model,
        prompt_id=request.prompt_id,
        agent=request.agent,
        report_id=request.report_id,
        response=None,
        prompt_tokens=None,
        cached_tokens=None,
        completion_tokens=None,
        cost_usd=None,
        latency_ms=attempted.latency_ms,
        attempts=attempted.attempts,
        error=None,
        created_at=datetime.now(UTC),
        retries=attempted.retries,
        repaired=attempted.repaired,
        sample=request.sample,
    )
