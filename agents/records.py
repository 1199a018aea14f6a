"""How a call is recorded: what it said, what it cost, or why it failed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from teachback.agents.calls import ChatRequest, LLMCall
from teachback.agents.prices import PriceList
from teachback.agents.responses import Response
from teachback.agents.settings import LLMSettings

__all__ = ["Attempted", "record_answer", "record_failure"]


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


def record_answer(attempted: Attempted, response: Response[Any], settings: LLMSettings, prices: PriceList) -> LLMCall:
    """Record an answer that came back with status 200.

    Args:
        attempted: The request that was sent.
        response: What came back; one that cannot be used is paid for all the same, and recorded with why it cannot.
        settings: The endpoint.
        prices: What its tokens cost.
    """
    sent, returned = response.prompt_tokens, response.completion_tokens
    model = response.model or settings.model
    cost: float | None = 0.0 if settings.is_local else None
    if cost is None and sent is not None and returned is not None:
        known = model if prices.price_of(model) else settings.model
        cost = prices.cost_usd(known, sent, response.cached_tokens, returned)
    return _record(
        attempted,
        model,
        response=response.kept,
        prompt_tokens=sent,
        cached_tokens=response.cached_tokens,
        completion_tokens=returned,
        cost_usd=cost,
        error=response.refused,
    )


def record_failure(attempted: Attempted, model: str, error: str) -> LLMCall:
    """Record a request that got no answer."""
    return _record(attempted, model, error=error)


def _record(
    attempted: Attempted,
    model: str,
    *,
    response: str | None = None,
    prompt_tokens: int | None = None,
    cached_tokens: int | None = None,
    completion_tokens: int | None = None,
    cost_usd: float | None = None,
    error: str | None,
) -> LLMCall:
    request = attempted.request
    return LLMCall(
        llm_call_id=attempted.request_hash,
        model=model,
        prompt_id=request.prompt_id,
        agent=request.agent,
        report_id=request.report_id,
        response=response,
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        completion_tokens=completion_tokens,
        cost_usd=cost_usd,
        latency_ms=attempted.latency_ms,
        attempts=attempted.attempts,
        error=error,
        created_at=datetime.now(UTC),
        retries=attempted.retries,
        repaired=attempted.repaired,
        sample=request.sample,
    )
