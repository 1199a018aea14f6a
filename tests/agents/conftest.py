"""A call cache in memory, and endpoints that fail on purpose, each a real server on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import web
from tests.loopback import serving

from teachback.agents.calls import LLMCall
from teachback.agents.stand_in import stand_in_endpoint

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MemoryCache:
    """Keeps calls in memory; while `gate` is cleared, nothing is durable yet."""

    def __init__(self) -> None:
        self.answered: dict[str, LLMCall] = {}
        self.failed: list[LLMCall] = []
        self.gate: asyncio.Event | None = None

    def get(self, request_hash: str) -> LLMCall | None:
        return self.answered.get(request_hash)

    async def put(self, call: LLMCall) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if call.error is None:
            self.answered[call.llm_call_id] = call
        else:
            self.failed.append(call)


@asynccontextmanager
async def endpoint(handler: Handler) -> AsyncIterator[str]:
    """Serve chat completions by a handler on a free port; yields the base URL."""
    application = web.Application()
    application.router.add_post("/v1/chat/completions", handler)
    async with serving(application) as address:
        yield f"{address}/v1"


def chat_response(content: str | None, **choice: object) -> web.Response:
    """A chat completion that says the content."""
    message = {"role": "assistant", "content": content, "refusal": choice.pop("refusal", None)}
    body = {
        "id": "c1",
        "object": "chat.completion",
        "model": "test-model",
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": message} | choice],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}},
    }
    return web.Response(text=json.dumps(body), content_type="application/json")


@pytest.fixture
def memory_cache() -> MemoryCache:
    return MemoryCache()


@pytest.fixture
def serve_chat() -> Callable[[Handler], AbstractAsyncContextManager[str]]:
    return endpoint


@pytest.fixture
def say() -> Callable[..., web.Response]:
    return chat_response


@pytest.fixture(scope="module")
def stand_in_url() -> Iterator[str]:
    with stand_in_endpoint() as url:
        yield url
