"""A batch's files, line by line: requests on the way out, answers and errors on the way back.

Answers come in any order, so a line belongs to the request whose `custom_id` it carries, and to no other: lines of an
unknown or a repeated `custom_id` are counted and named, never used.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from teachback.agents.calls import ChatRequest, clip
from teachback.agents.failures import DISPENSABLE_PARAMETERS
from teachback.agents.payload import encode
from teachback.agents.settings import LLMSettings

__all__ = ["LineOutcome", "Matcher", "read_line", "request_files", "request_line"]

URL = "/v1/chat/completions"  # what each request names, whatever the base URL
HOPELESS_STATUSES = frozenset({401, 403, 404})  # wrong key, no permission, no such model: no request can succeed


@dataclass(frozen=True)
class LineOutcome:
    """What a line says of a request.

    Attributes:
        custom_id: The request.
        response: The endpoint's JSON; None when there is none.
        error: Why there is no answer; None when there is one.
        refused: The request parameter that the model does not take, where it can be left out.
        hopeless: Whether no request at all can succeed.
    """

    custom_id: str
    response: str | None
    error: str | None = None
    refused: str = ""
    hopeless: bool = False


class Matcher:
    """Sorts lines by the requests that they belong to.

    Args:
        expected: The `custom_id` of each request that was handed in.
    """

    def __init__(self, expected: Collection[str]) -> None:
        self._missing = dict.fromkeys(expected)
        self._matched: set[str] = set()
        self.strangers: list[str] = []  # of no request that was handed in
        self.doubled: list[str] = []  # seen before
        self.unreadable = 0  # lines that say nothing of any request

    def take(self, line: bytes) -> LineOutcome | None:
        """Return what a line says of a request; None when it must not be used."""
        outcome = read_line(line)
        if outcome is None:
            self.unreadable += bool(line.strip())
        elif outcome.custom_id in self._matched:
            self.doubled.append(outcome.custom_id)
        elif outcome.custom_id not in self._missing:
            self.strangers.append(outcome.custom_id)
        else:
            del self._missing[outcome.custom_id]
            self._matched.add(outcome.custom_id)
            return outcome
        return None

    def missing(self) -> list[str]:
        """Return the requests of which no line was seen, in the order in which they were handed in."""
        return list(self._missing)

    def oddities(self) -> str | None:
        """Return what was wrong with the lines as a whole; None when nothing was."""
        told = []
        if self.strangers:
            told.append(f"{len(self.strangers)} lines of requests that were not handed in, such as {self.strangers[0]}")
        if self.doubled:
            told.append(f"{len(self.doubled)} lines of requests seen before, such as {self.doubled[0]}")
        if self.unreadable:
            told.append(f"{self.unreadable} lines that cannot be read")
        return clip("; ".join(told), 500) if told else None


def request_line(
    custom_id: str, request: ChatRequest, settings: LLMSettings, without: frozenset[str] = frozenset()
) -> bytes:
    """Return a request as a line of an input file, its line feed included.

    Args:
        custom_id: What its answer will be called.
        request: What to ask.
        settings: The endpoint and its model.
        without: Parameters that the model refuses.
    """
    body = encode(request, settings, without)
    head = f'{{"custom_id":{json.dumps(custom_id)},"method":"POST","url":"{URL}","body":'
    return head.encode() + body + b"}\n"


def request_files(
    requests: Mapping[str, ChatRequest],
    settings: LLMSettings,
    without: frozenset[str],
    most_requests: int,
    most_bytes: int,
) -> Iterator[tuple[dict[str, ChatRequest], bytes]]:
    """Cut requests into input files that an endpoint takes; only one of them is in memory at a time.

    Args:
        requests: `custom_id` to request.
        settings: The endpoint and its model.
        without: Parameters that the model refuses.
        most_requests: Requests in a file.
        most_bytes: Size of a file.

    Yields:
        The requests of a file, and the file.
    """
    part: dict[str, ChatRequest] = {}
    content = bytearray()
    for custom_id, request in requests.items():
        line = request_line(custom_id, request, settings, without)
        if part and (len(part) == most_requests or len(content) + len(line) > most_bytes):
            yield part, bytes(content)
            part, content = {}, bytearray()
        part[custom_id] = request
        content += line
    if part:
        yield part, bytes(content)


def read_line(line: bytes) -> LineOutcome | None:
    """Read a line of an output or an error file; None when it says nothing of any request."""
    try:
        said = from_json(line)
    except ValueError:
        return None
    if not isinstance(said, dict) or not isinstance(said.get("custom_id"), str):
        return None
    custom_id, response = said["custom_id"], said.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    encoded = json.dumps(body, ensure_ascii=False, separators=(",", ":")) if isinstance(body, dict) else None
    status = response.get("status_code") if isinstance(response, dict) else None
    error = said.get("error")
    if status == 200 and encoded is not None and not error:
        return LineOutcome(custom_id, encoded)
    # Where the request reached the model, the error is in the body; else it stands beside an empty response.
    words = _mapping(error) or _mapping(_mapping(body).get("error"))
    code, parameter = str(words.get("code") or ""), str(words.get("param") or "").split(".")[0]
    return LineOutcome(
        custom_id,
        encoded,
        error=_reason(status, code, words.get("message")),
        refused=parameter if status == 400 and parameter in DISPENSABLE_PARAMETERS else "",
        hopeless=status in HOPELESS_STATUSES or code == "insufficient_quota",
    )


def _reason(status: object, code: str, message: object) -> str:
    said = clip(message) if message else "the endpoint gave no reason"
    names = ", ".join(filter(None, (f"HTTP {status}" if status not in (None, 200) else "", code)))
    return f"{names}: {said}" if names else said


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
