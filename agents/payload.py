"""What a request looks like on the wire: one body for single calls and for batches."""

import json
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
    parameters: dict[str, Any] = {
        "model": settings.model,
        "temperature": request.temperature,
        # OpenAI renamed the parameter; the servers that people run themselves know the old name.
        ("max_completion_tokens" if settings.is_hosted_openai else "max_tokens"): request.max_tokens,
    }
    if request.seed is not None:
        parameters["seed"] = request.seed
    if request.top_logprobs is not None and not without & {"logprobs", "top_logprobs"}:
        parameters["logprobs"] = True
        parameters["top_logprobs"] = request.top_logprobs
    if settings.is_hosted_openai:
        parameters["store"] = False
    for name in without:
        parameters.pop(name, None)
    encoded = json.dumps(parameters, separators=(",", ":")).encode()
    form = request.form.response_format.encode()
    return b'%b,"messages":%b,"response_format":%b}' % (encoded[:-1], request.messages_json, form)
