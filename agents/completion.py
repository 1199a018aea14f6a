"""An endpoint's JSON, read only as far as it is needed.

A chat completion with log-probabilities is a quarter of a megabyte, of which labels rest on some dozen tokens. So each
token's alternatives stay JSON until somebody looks at them: on such an answer that is thirty times as fast as reading
everything.
"""

import math
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Raw, Struct

__all__ = [
    "Alternative",
    "Choice",
    "Completion",
    "KeptToken",
    "Message",
    "SaidToken",
    "Token",
    "Usage",
    "read_completion",
    "thinned",
]

LEAST_PROBABILITY = 1e-4  # of an alternative that a label can rest on
_LEAST_LOGPROB = math.log(LEAST_PROBABILITY)
_CERTAIN_LOGPROB = math.log1p(-LEAST_PROBABILITY)  # a token above it leaves its alternatives less than that
_NONE = Raw(b"[]")
# What is no JSON is not always said to be that: bytes that are no UTF-8, and arrays nested without end.
_NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
Count = Annotated[int, Meta(ge=0, le=10**12)]  # tokens; a number that is none would end in the bill


class Alternative(Struct, gc=False):
    """A token that might have stood in a place, with its log-probability."""

    token: str
    logprob: float


class Token(Struct, gc=False, omit_defaults=True):
    """One token of an answer; `top_logprobs` is JSON of what else might have stood there."""

    token: str
    logprob: float
    top_logprobs: Raw = _NONE

    def alternatives(self) -> list[Alternative]:
        """Return the likeliest tokens in its place; none where what was given is no list of them."""
        try:
            return _ALTERNATIVES.decode(self.top_logprobs) or []
        except _NO_JSON:
            return []


class KeptToken(Struct, gc=False, omit_defaults=True):
    """A token of a thinned answer, which has few alternatives, read already; otherwise as `Token`."""

    token: str
    logprob: float
    top_logprobs: list[Alternative] = []

    def alternatives(self) -> list[Alternative]:
        """Return the likeliest tokens in its place."""
        return self.top_logprobs


SaidToken = Token | KeptToken


class _Logprobs(Struct, gc=False):
    content: list[Token] | None = None


class Message(Struct, gc=False):
    """What was said, or why nothing was."""

    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None


class Choice(Struct, gc=False):
    """One answer, how it ended, and its tokens where they were asked for."""

    index: int = 0
    message: Message = msgspec.field(default_factory=Message)
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(Struct, gc=False):
    cached_tokens: Count | None = None


class Usage(Struct, gc=False):
    """What is billed, in tokens."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: Raw = Raw(b"null")


class Completion(Struct, gc=False):
    """A chat completion, as the OpenAI API defines it; what it does not have is None."""

    id: str | None = None
    object: str | None = None
    created: float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    choices: list[Choice] = []
    usage: Usage | None = None

    @property
    def choice(self) -> Choice | None:
        """The first answer."""
        return self.choices[0] if self.choices else None

    @property
    def cached_tokens(self) -> int:
        """Tokens sent that are billed as cached."""
        details = self.usage.prompt_tokens_details if self.usage else None
        return (details.cached_tokens if details else None) or 0


def read_completion(response: str | bytes) -> Completion:
    """Read an endpoint's JSON; what is no chat completion counts as one without choices."""
    try:
        return _COMPLETION.decode(response)
    except msgspec.ValidationError:
        return _read_loosely(response)
    except _NO_JSON:
        return Completion()


def thinned(completion: Completion) -> str:
    """Return a completion as JSON without what no label can rest on.

    Left out are bytes, and alternatives below 1e-4. Tokens that were certain are joined with their like to one, their
    log-probabilities added up: the tokens still join to the answer, and where none had an alternative, any cut says the
    same. A tenth of the answer's length is left.
    """
    for choice in completion.choices:
        if choice.logprobs and choice.logprobs.content:
            choice.logprobs.content = cast(list[Token], _joined(choice.logprobs.content))
    return _ENCODER.encode(completion).decode()


def _joined(tokens: list[Token]) -> list[KeptToken]:
    joined: list[KeptToken] = []
    behind = 0
    for place in [place for place, token in enumerate(tokens) if token.logprob <= _CERTAIN_LOGPROB]:
        if place > behind:
            joined.append(_one(tokens[behind:place]))
        token, behind = tokens[place], place + 1
        kept = [other for other in token.alternatives() if other.logprob >= _LEAST_LOGPROB]
        joined.append(KeptToken(token.token, token.logprob, kept))
    return [*joined, _one(tokens[behind:])] if behind < len(tokens) else joined


def _one(tokens: list[Token]) -> KeptToken:
    return KeptToken("".join([token.token for token in tokens]), sum([token.logprob for token in tokens]))


def _read_loosely(response: str | bytes) -> Completion:
    """Read what follows the API's types only in part: each choice and the usage by themselves, no log-probabilities."""
    try:
        body: Any = msgspec.json.decode(response)
    except _NO_JSON:
        return Completion()
    if not isinstance(body, dict):
        return Completion()
    choices = body.get("choices")
    read = [
        choice
        for entry in (choices if isinstance(choices, list) else [])
        if (choice := _converted(entry, Choice)) is not None
    ]
    model = body.get("model")
    return Completion(
        model=model if isinstance(model, str) else None, choices=read, usage=_converted(body.get("usage"), Usage)
    )


def _converted(entry: Any, kind: Any) -> Any:
    try:
        return msgspec.convert({key: value for key, value in entry.items() if key != "logprobs"}, kind)
    except (msgspec.ValidationError, AttributeError):
        return None


_COMPLETION = msgspec.json.Decoder(Completion)
_ALTERNATIVES = msgspec.json.Decoder(list[Alternative] | None)
_ENCODER = msgspec.json.Encoder()
