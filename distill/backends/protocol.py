"""What is asked of whatever runs a student, and how that is written on a pipe.

A request is a report's prefix with its questions behind it and the tokens whose probability is asked. On a pipe each
message is one line of JSON: first an `Opening`, answered by who is there; then requests, and an empty line behind a
batch of them, answered by as many lines and an empty one. This module needs the standard library alone: it is read in
environments that have a server's packages and none of ours.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, Protocol

__all__ = ["Engine", "Opening", "SlotRequest", "serve", "serve_stdio"]

# Per question, the log-probability of each asked token.
LogProbabilities = list[list[float]]


@dataclass(frozen=True)
class Opening:
    """Which student is to be run.

    Attributes:
        student: The base, a folder or a Hugging Face id.
        adapter: Folder of the adapter; None for the base alone.
        rank: Rank of the adapter.
        quantize: Whether the base is loaded in NF4.
        dtype: `bfloat16` or `float32`, in which it computes.
        max_length: The longest prompt in tokens.
    """

    student: str
    adapter: str | None = None
    rank: int = 16
    quantize: bool = False
    dtype: str = "bfloat16"
    max_length: int = 1024


@dataclass(frozen=True)
class SlotRequest:
    """A report with its questions.

    Attributes:
        prefix: Token ids of the report's prompt, up to the questions.
        questions: Token ids of each question, up to where its answer starts.
        tokens: The token ids whose probability is asked where each answer starts.
    """

    prefix: tuple[int, ...]
    questions: tuple[tuple[int, ...], ...]
    tokens: tuple[int, ...]


class Engine(Protocol):
    """Runs a student in a server's process."""

    @property
    def version(self) -> str:
        """Name and version of what computes."""

    def answer(self, requests: Sequence[SlotRequest]) -> list[LogProbabilities]:
        """Return for each request, per question, the log-probabilities of its tokens, in their order."""


class Unavailable(Exception):
    """An engine cannot run here; carries the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


def serve(open_engine: Callable[[Opening], Engine], source: IO[str], sink: IO[str]) -> None:
    """Answer requests until the source ends."""

    def say(message: dict[str, Any] | None) -> None:
        sink.write((json.dumps(message) if message else "") + "\n")

    try:
        engine = open_engine(Opening(**json.loads(source.readline())))
    except Unavailable as error:
        say({"error": error.message, "remedy": error.remedy})
        sink.flush()
        return
    say({"engine": engine.version})
    sink.flush()
    batch: list[SlotRequest] = []
    for line in source:
        if line.strip():
            asked = json.loads(line)
            questions = tuple(map(tuple, asked["questions"]))
            batch.append(SlotRequest(tuple(asked["prefix"]), questions, tuple(asked["tokens"])))
            continue
        for found in engine.answer(batch):
            say({"log_probabilities": found})
        say(None)
        sink.flush()
        batch = []


def serve_stdio(open_engine: Callable[[Opening], Engine]) -> None:
    """Serve on this process's standard streams; whatever libraries print goes to standard error instead."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as sink:
        os.dup2(2, 1)
        serve(open_engine, sys.stdin, sink)


def request_line(request: SlotRequest) -> str:
    """Write a request as its line."""
    return json.dumps(asdict(request), separators=(",", ":")) + "\n"


def opening_line(opening: Opening) -> str:
    """Write an opening as its line."""
    return json.dumps(asdict(opening)) + "\n"
