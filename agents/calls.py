"""What is asked of a language model, what came back, and where both are kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Protocol

from msgspec import Raw, Struct

from teachback.agents.completion import Completion, SaidToken, read_completion
from teachback.errors import TeacherReplyError
from teachback.store.identity import canonical_json, content_id, plain_id, quick_json

__all__ = [
    "Answer",
    "CallCache",
    "ChatRequest",
    "JsonForm",
    "LLMCall",
    "Postponed",
    "clip",
]


class Postponed(Exception):
    """A request was not sent, and nothing is wrong with it: it is counted, goes into a batch, or awaits a budget."""


@dataclass(frozen=True)
class JsonForm:
    """A strict JSON schema that an answer must follow.

    Attributes:
        name: Its name, as the endpoint is told.
        schema: The schema; not to be changed afterwards.
    """

    name: str
    schema: Mapping[str, Any]

    @cached_property
    def form_id(self) -> str:
        """Content hash of name and schema."""
        return content_id("frm", self.name, self.schema)

    @cached_property
    def response_format(self) -> str:
        """The form as JSON, as a request carries it."""
        form = {"name": self.name, "strict": True, "schema": self.schema}
        return json.dumps({"type": "json_schema", "json_schema": form}, separators=(",", ":"))


@dataclass(frozen=True)
class ChatRequest:
    """One chat completion to ask for.

    Attributes:
        messages: `{"role": ..., "content": ...}`, in order.
        form: What the answer must follow.
        agent: Which agent asks, such as `llm_labeler`.
        report_id: The report that it asks about.
        prompt_id: The prompt that made the messages.
        temperature: Sampling temperature.
        max_tokens: Longest answer, in tokens.
        seed: Sampling seed, for endpoints that take one.
        top_logprobs: Alternatives to return for each token; None asks for no log-probabilities.
        sample: Which of several answers to the same question this asks for, from 0.
    """

    messages: tuple[Mapping[str, str], ...]
    form: JsonForm
    agent: str
    report_id: str
    prompt_id: str | None = None
    temperature: float = 0.0
    max_tokens: int = 2000
    seed: int | None = 0
    top_logprobs: int | None = 8
    sample: int = 0

    def hash_for(self, model: str, endpoint: str) -> str:
        """Name the request by its content: what the model sees, and which model at which endpoint.

        The report's id, the agent and the key are not part of it: two reports of the same text are one call.
        """
        told = _told(self.temperature, self.max_tokens, self.seed, self.top_logprobs, self.sample)
        return plain_id("call", model, endpoint, self.messages_json, self.form.form_id, told)

    @cached_property
    def messages_json(self) -> Raw:
        """The messages as JSON, as they are sent and hashed."""
        return quick_json(self.messages)


@lru_cache(maxsize=256, typed=True)  # a run asks with few
def _told(temperature: float, max_tokens: int, seed: int | None, top_logprobs: int | None, sample: int) -> Raw:
    """Return a request's parameters as its name holds them."""
    parameters = {
        "temperature": temperature,
        "max_tokens": max_tokens,
        "seed": seed,
        "top_logprobs": top_logprobs,
    }
    if sample:
        parameters["sample"] = sample
    return Raw(canonical_json(parameters))


class LLMCall(Struct, frozen=True):
    """One call, as it is stored: the call cache and the bill at once.

    Attributes:
        llm_call_id: The request's hash; a failed call and its later success share it.
        model: The model that answered; the one that was asked where nothing came back.
        prompt_id: The prompt that made the messages.
        agent: Which agent asked.
        report_id: The report that it asked about.
        response: The endpoint's JSON, also where it cannot be used; None when nothing came back. Of a long answer, what
            no label can rest on is left out: each token's `bytes`, and alternatives below a probability of 1e-4.
        prompt_tokens: Tokens sent.
        cached_tokens: Of these, tokens that the endpoint billed as cached.
        completion_tokens: Tokens returned.
        cost_usd: Price in US dollars; 0.0 on this machine's own endpoints, None where the price is not known.
        latency_ms: Milliseconds from the first attempt to the last answer, waits between attempts included.
        attempts: How often it was sent.
        error: Why it failed; None when it did not.
        created_at: When it ended, in UTC.
        retries: Why each attempt but the last failed.
        repaired: Whether this is the second answer, given after the model was shown what was wrong with its first.
        sample: Which of several answers to the same question it is, from 0.
        batch_id: The batch that it came in, if it came in one.
    """

    llm_call_id: str
    model: str
    prompt_id: str | None
    agent: str
    report_id: str
    response: str | None
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    latency_ms: float
    attempts: int
    error: str | None
    created_at: datetime
    retries: tuple[str, ...] = ()
    repaired: bool = False
    sample: int = 0
    batch_id: str | None = None

    def answer(self) -> "Answer":
        """Return the response, parsed."""
        return Answer(self.llm_call_id, self.report_id, read_completion(self.response or "{}"))


@dataclass(frozen=True)
class Answer:
    """An endpoint's response, parsed, while it is being read; what is kept is the call.

    Attributes:
        llm_call_id: The call.
        report_id: The report that was asked about.
        completion: What came back.
    """

    llm_call_id: str
    report_id: str
    completion: Completion

    def text(self) -> str:
        """Return what the model said.

        Raises:
            TeacherReplyError: It refused, was cut off, or said nothing.
        """
        choice = self.completion.choice
        if choice is None:
            raise TeacherReplyError(self.report_id, "the endpoint's answer has no choices")
        if choice.message.refusal:
            raise TeacherReplyError(self.report_id, f"the model refused: {clip(choice.message.refusal)}")
        if choice.finish_reason == "length":
            raise TeacherReplyError(self.report_id, "the answer was cut off at max_tokens")
        if choice.finish_reason == "content_filter":
            raise TeacherReplyError(self.report_id, "the endpoint's content filter stopped the answer")
        content = choice.message.content
        if not content or not content.strip():
            raise TeacherReplyError(self.report_id, "the answer is empty")
        return content

    def tokens(self) -> Sequence[SaidToken]:
        """Return the tokens of what was said, with their log-probabilities; empty when the endpoint gave none."""
        choice = self.completion.choice
        return (choice.logprobs.content if choice and choice.logprobs else None) or []


class CallCache(Protocol):
    """Where calls are kept. The store implements it; the client asks it before it sends anything."""

    def get(self, request_hash: str) -> LLMCall | None:
        """Return the answered call of that hash, or None. A failed call is never returned."""

    async def put(self, call: LLMCall) -> None:
        """Keep a call, answered or failed. Returns only when it is durable."""


def clip(text: object, longest: int = 200) -> str:
    """Return text on one line, cut after so many characters, for messages; what would steer a terminal is masked."""
    flat = " ".join(str(text).split())
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in flat)
    return shown if len(shown) <= longest else f"{shown[:longest]}..."
