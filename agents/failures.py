"""What an endpoint's failure means: try again, give up on this report, or stop altogether."""

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import openai

from teachback.agents.calls import clip
from teachback.agents.settings import LLMSettings

__all__ = ["EndpointFailure", "classify"]

RETRIED_STATUSES = frozenset({408, 409, 429})  # and every 5xx
OVERLOADED_STATUSES = frozenset({429, 503, 529})
# What aiohttp raises where an answer began and did not end well.
BROKEN_ANSWERS = frozenset(
    {"ClientPayloadError", "TransferEncodingError", "ContentLengthError", "BadHttpMessage", "BadStatusLine"}
)
LONGEST_MESSAGE = 300  # characters of an endpoint's own words that are kept

# Request parameters that an endpoint can refuse as such: then every report would be refused, so the run stops, unless
# the request still asks the same without it: reasoning models take no log-probabilities and no temperature.
DISPENSABLE_PARAMETERS = frozenset({"logprobs", "top_logprobs", "seed", "temperature", "store"})
REFUSABLE_PARAMETERS = DISPENSABLE_PARAMETERS | {"response_format", "max_tokens", "max_completion_tokens", "model"}

_KEY_LIKE = re.compile(r"\b(sk-|Bearer\s+)[^\s\"',}]+")


@dataclass(frozen=True)
class EndpointFailure:
    """One attempt that failed.

    Attributes:
        verdict: `retry`, `report` (this report's request cannot succeed) or `fatal` (no request can).
        message: What happened, without keys.
        remedy: What the user can do, for `fatal`.
        overloaded: Whether the endpoint asked for fewer requests, or may have meant to.
        throttled: Whether it said so (429), which a 503 alone does not.
        unreachable: Whether no HTTP answer came at all.
        retry_after_s: Seconds that the endpoint asked to wait.
        refused: The request parameter that the model does not take, where it can be left out.
    """

    verdict: Literal["retry", "report", "fatal"]
    message: str
    remedy: str = ""
    overloaded: bool = False
    throttled: bool = False
    unreachable: bool = False
    retry_after_s: float = 0.0
    refused: str = ""


def classify(error: openai.APIError | TimeoutError, settings: LLMSettings) -> EndpointFailure:
    """Say what a failed attempt means.

    Args:
        error: What the SDK raised, or the timeout of the whole attempt.
        settings: The endpoint, for the messages.
    """
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, settings)
    if isinstance(error, (TimeoutError, openai.APITimeoutError)) and not _root_is_connection(error):
        return EndpointFailure("retry", f"no answer within {settings.timeout_s:g} s", unreachable=True)
    if type(_root(error)).__name__ in BROKEN_ANSWERS:
        return EndpointFailure("retry", f"the answer of {settings.host} broke off, or is no HTTP")
    return EndpointFailure(
        "retry",
        f"{settings.base_url} cannot be reached ({_root_message(error, settings)})",
        remedy=_reach_remedy(settings),
        unreachable=True,
    )


def _of_status(error: openai.APIStatusError, settings: LLMSettings) -> EndpointFailure:
    status, code = error.status_code, str(error.code or "")
    said = f"HTTP {status} from {settings.host}: {_clean(_own_words(error), settings)}"
    if status in (401, 403):
        return EndpointFailure("fatal", said, _key_remedy(settings))
    if status == 404:
        return EndpointFailure(
            "fatal",
            said,
            f"check the model's name ({settings.model}) and that the base URL ends where /chat/completions begins",
        )
    if status == 429 and code == "insufficient_quota":
        return EndpointFailure("fatal", said, "the account has no credit left: add some, or use another endpoint")
    if 300 <= status < 400:
        return EndpointFailure(
            "fatal", said, "the endpoint redirects, and reports are never sent on: give the final address as base URL"
        )
    if status in RETRIED_STATUSES or status >= 500:
        return EndpointFailure(
            "retry",
            said,
            overloaded=status in OVERLOADED_STATUSES,
            throttled=status == 429,
            retry_after_s=_retry_after(error, settings),
        )
    parameter = str(error.param or "").split(".")[0].split("[")[0]
    if parameter in REFUSABLE_PARAMETERS:
        return EndpointFailure(
            "fatal",
            said,
            f"the model {settings.model} does not take {parameter}: choose another, or change the prompt's parameters",
            refused=parameter if parameter in DISPENSABLE_PARAMETERS else "",
        )
    return EndpointFailure("report", said)


def _retry_after(error: openai.APIStatusError, settings: LLMSettings) -> float:
    headers = error.response.headers
    seconds = _seconds(headers.get("retry-after-ms"), 1000.0) or _seconds(headers.get("retry-after"), 1.0)
    if not seconds and headers.get("retry-after"):
        try:
            until = parsedate_to_datetime(headers["retry-after"])
            sent = parsedate_to_datetime(headers["date"])
            seconds = (until - sent).total_seconds()
        except (ValueError, TypeError, KeyError):
            seconds = 0.0
    return min(max(seconds, 0.0), settings.max_retry_after_s)


def _seconds(value: str | None, per_second: float) -> float:
    try:
        return float(value) / per_second if value else 0.0
    except ValueError:
        return 0.0


def _own_words(error: openai.APIStatusError) -> str:
    body: Any = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) else error.message


def _clean(text: str, settings: LLMSettings) -> str:
    # Endpoints repeat a key that they refuse; this one may look like anything.
    hidden = text.replace(settings.api_key, "***") if settings.api_key else text
    return clip(_KEY_LIKE.sub(r"\1***", " ".join(hidden.split())), LONGEST_MESSAGE)


def _root_is_connection(error: BaseException) -> bool:
    # The aiohttp transport reports a refused connection as a timeout; the cause underneath tells them apart.
    return isinstance(_root(error), OSError) and not isinstance(_root(error), TimeoutError)


def _root_message(error: BaseException, settings: LLMSettings) -> str:
    root = _root(error)
    return _clean(str(root) or type(root).__name__, settings)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _key_remedy(settings: LLMSettings) -> str:
    if settings.api_key is None:
        return "set OPENAI_API_KEY to a key for this endpoint"
    return "check OPENAI_API_KEY: this key is not valid here, or may not use this model"


def _reach_remedy(settings: LLMSettings) -> str:
    if settings.is_local:
        return "start the server, or correct OPENAI_BASE_URL"
    return "check the network, any proxy, and OPENAI_BASE_URL"
