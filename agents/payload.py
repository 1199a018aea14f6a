"""What a request looks like on the wire: one body for single calls and for batches."""

import json
from functools import lru_cache
from typing import Any

from teachback.agents.calls import ChatRequest
from teachback.agents.settings import LLMSettings

__all__ = ["PATH", "encode"]

PATH = "/chat/completions"  # behind the base URL


def encode(request: ChatRequest, settings: LLMSettings, without: frozenset[str] = frozenset()) -> bytes:
    """Return a request's JSON body.

    Args:
        request: What to ask.
        settings: The endpoint and its model.
        without: Parameters that this model refuses, such as `logprobs`; they are left out.
    """
    parameters = _parameters(
        settings.model,
        settings.is_hosted_openai,
        request.temperature,
        request.max_tokens,
        request.seed,
        request.top_logprobs,
        without,
    )
    form = request.form.response_format.encode()
    return b'%b,"messages":%b,"response_format":%b}' % (parameters[:-1], request.messages_json, form)


@lru_cache(maxsize=256, typed=True)  # a run asks with few
def _parameters(
    model: str,
    hosted: bool,
    temperature: float,
    max_tokens: int,
    seed: int | None,
    top_logprobs: int | None,
    without: frozenset[str],
) -> bytes:
    parameters: dict[str, Any] = {
        "model": model,
        "temperature": temperature,
        # OpenAI renamed the parameter; the servers that people run themselves know the old name.
        ("max_completion_tokens" if hosted else "max_tokens"): max_tokens,
    }
    if seed is not None:
        parameters["seed"] = seed
    if top_logprobs is not None and not without & {"logprobs", "top_logprobs"}:
        parameters["logprobs"] = True
        parameters["top_logprobs"] = top_logprobs
    if hosted:
        parameters["store"] = False
    for name in without:
        parameters.pop(name, None)
    return json.dumps(parameters, separators=(",", ":")).encode()
