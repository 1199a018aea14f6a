"""The teacher graph for LangGraph Studio: `langgraph dev` opens what `langgraph.json` names, and that is here.

It is the graph of `teachback label`, with two differences: nothing is stored, and without `OPENAI_API_KEY` or
`OPENAI_BASE_URL` the package's stand-in answers, so that the graph can be walked through without a key. Whether Studio
sends traces is LangSmith's setting, not ours: reports stay here as long as `LANGSMITH_TRACING` is not set.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from teachback.agents.assemble import Assembled, TeacherSettings, assemble, choose_llm
from teachback.agents.calls import LLMCall
from teachback.agents.graph import TeacherGraph, build_graph
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import serve, stand_in_settings

__all__ = ["MemoryCallCache", "teacher"]

CHOICE_VARIABLE = "TEACHBACK_LLM"  # none, openai or stand-in


class MemoryCallCache:
    """Keeps calls for as long as it lives."""

    def __init__(self) -> None:
        self._answered: dict[str, LLMCall] = {}

    def get(self, request_hash: str) -> LLMCall | None:
        """Return the answered call of that hash, or None."""
        return self._answered.get(request_hash)

    async def put(self, call: LLMCall) -> None:
        """Keep a call."""
        if call.error is None:
            self._answered[call.llm_call_id] = call


@asynccontextmanager
async def teacher() -> AsyncIterator[TeacherGraph]:
    """Open the graph, its endpoint taken from the environment; the input is `{"reports": [...]}`.

    A report is `{"report_id": "...", "findings": "...", "impression": "..."}`, with a `corpus` where that matters:
    its reports stay on this machine unless the input says otherwise, as in `{"egress": {"openi": "any"}}`.
    """
    async with AsyncExitStack() as stack:
        base_url = None
        if _choice() == "stand-in":
            running = await serve()
            stack.push_async_callback(running.close)
            base_url = running.url
        assembled = await asyncio.to_thread(_assemble, base_url)  # it reads files
        stack.push_async_callback(assembled.aclose)
        yield build_graph(assembled.teachers)


def _choice() -> str:
    configured = os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")
    return os.environ.get(CHOICE_VARIABLE) or ("openai" if configured else "stand-in")


def _assemble(stand_in_url: str | None) -> Assembled:
    endpoint = LLMSettings.from_env()
    if stand_in_url:
        endpoint = stand_in_settings(endpoint, stand_in_url)
    return assemble(TeacherSettings(choose_llm(_choice()), endpoint), MemoryCallCache())
