"""How a call is recorded: what it said, what it cost, or why it failed."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from teachback.agents.calls import Answer, ChatRequest, LLMCall
from teachback.agents.prices import PriceList
from teachback.agents.settings import LLMSettings

__all__ = ["Attempted", "record_answer", "record_failure", "record_refusal"]

LONG_RESPONSE = 65_536  # characters; longer ones are thinned before they are stored
LEAST_LOGPROB = math.log(1e-4)  # alternatives below this probability are left out of long responses


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
    body = _parsed(response)
    usage: Mapping[str, Any] = body.get("usage") or {}
    sent, returned = usage.get("prompt_tokens"), usage.get("completion_tokens")
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    model = str(body.get("model") or settings.model)
    cost: float | None = 0.0 if settings.is_local else None
    if cost is None and sent is not None and returned is not None:
        known = model if prices.price_of(model) else settings.model
        cost = prices.cost_usd(known, sent, cached, returned)
    call = replace(
        _record(attempted, model),
        response=_thinned(body) if len(response) > LONG_RESPONSE else response,
        prompt_tokens=sent,
        cached_tokens=cached,
        completion_tokens=returned,
        cost_usd=cost,
    )
    return call, Answer(call.llm_call_id, call.report_id, body)


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


def _parsed(response: str) -> Mapping[str, Any]:
    try:
        body = from_json(response)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _thinned(body: Mapping[str, Any]) -> str:
    for choice in body.get("choices") or ():
        for entry in (choice.get("logprobs") or {}).get("content") or ():
            entry.pop("bytes", None)
            others = entry.get("top_logprobs") or ()
            entry["top_logprobs"] = [
                {"token": other["token"], "logprob": other["logprob"]}
                for other in others
                if other["logprob"] >= LEAST_LOGPROB
            ]
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
