"""What the process beside runs (`side_process`), and what goes to it and comes back.

It loads no more than it needs: no event loop, no client.
"""

import os
import signal
import struct
import sys
from functools import cache
from typing import BinaryIO

import msgspec
from msgspec import Struct

from teachback.agents.collections import rare_collections
from teachback.agents.label_reading import LabelReading, Reader, prepare_reading
from teachback.agents.responses import read_response
from teachback.agents.rule_labeler import RuleLabeler
from teachback.store.label import Label
from teachback.store.report import Scope

__all__ = ["ENCODER", "LENGTH", "MADE", "Made", "Reading", "Rules", "Wanted", "serve"]

Sections = list[tuple[str, str]]


class Rules(Struct, frozen=True, array_like=True, tag="rules"):
    """A report to label by rules."""

    scope: Scope
    report_id: str
    sections: Sections

    def done(self) -> "Made":
        """Do it."""
        return Made(_identified(_rule_labeler(self.scope).label_sections(self.report_id, self.sections)))


class Reading(Struct, frozen=True, array_like=True, tag="reading"):
    """An endpoint's response to read."""

    raw: bytes
    reader: Reader
    report_id: str
    sections: Sections
    llm_call_id: str

    def done(self) -> "Made":
        """Do it."""
        reading = LabelReading(self.reader, self.report_id, self.sections)
        read = read_response(self.raw, reading, self.llm_call_id, self.report_id)
        return Made(
            None if read.reading is None else _identified(read.reading),
            read.refused,
            read.model,
            read.prompt_tokens,
            read.cached_tokens,
            read.completion_tokens,
            read.kept,
        )


class Made(Struct, frozen=True, array_like=True):
    """What came of it: labels, or why there are none; the rest as in `Response`."""

    labels: list[Label] | None
    refused: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    completion_tokens: int | None = None
    kept: str = ""


Wanted = Rules | Reading

LENGTH = struct.Struct("<I")  # in front of each message
ENCODER = msgspec.msgpack.Encoder()
WANTED = msgspec.msgpack.Decoder(list[Wanted])
MADE = msgspec.msgpack.Decoder(list[Made])


def serve() -> None:
    """Do what comes in until the input ends; what the process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it
    given, answered = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing that somebody prints may come between the answers
    with rare_collections():
        prepare_reading()
        while (jobs := _next(given)) is not None:
            told = ENCODER.encode([job.done() for job in jobs])
            answered.write(LENGTH.pack(len(told)) + told)
            answered.flush()
    os._exit(0)  # to take half a million objects down one by one takes a second, and keeps nothing


def _next(given: BinaryIO) -> list[Wanted] | None:
    header = given.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(header)
    body = given.read(length)
    return WANTED.decode(body) if len(body) == length else None


@cache
def _rule_labeler(scope: Scope) -> RuleLabeler:
    return RuleLabeler(scope)


def _identified(labels: list[Label]) -> list[Label]:
    for label in labels:
        _ = label.label_id  # made where there is time for it; it goes along
    return labels
