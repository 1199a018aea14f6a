"""The rule labeler in a process of its own, for jobs in which a model is asked as well.

There one core has its hands full with the requests, and rules are a third of what is left to do. Reports go to the
process over its standard input, verdicts come back over its standard output, and it ends when its input does: whatever
becomes of us, it leaves nothing behind. The first reports are labelled here, so small jobs never start it.
"""

import asyncio
import marshal
import os
import signal
import struct
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

from teachback.agents.rule_labeler import RuleLabeler
from teachback.store.label import FINDINGS, Evidence, Label, Labeler
from teachback.store.report import Report, Scope

__all__ = ["RuleProcess"]

FIRST_HERE = 1_000  # reports labelled in this process before another is worth its start of half a second
SLICE = 50  # reports sent at a time
_LENGTH = struct.Struct("<I")

Wire = Any  # what `marshal` writes and reads: tuples, lists, strings, numbers, None


class RuleProcess:
    """Labels reports by the package's own rules, the many of a large job in another process.

    Args:
        scope: The sections to label from.
    """

    def __init__(self, scope: Scope = "full") -> None:
        self._here = RuleLabeler(scope)
        self._labelled = 0
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._alone = (os.cpu_count() or 1) < 2

    @property
    def spec(self) -> Labeler:
        """Who it is: the rule labeler, wherever it works."""
        return self._here.spec

    def label(self, report: Report) -> list[Label]:
        """Return one report's labels, made here."""
        return self._here.label(report)

    async def label_many(self, reports: Sequence[Report]) -> list[list[Label]] | None:
        """Return the labels of many reports, made elsewhere; None where they are to be made here."""
        self._labelled += len(reports)
        if self._alone or self._labelled <= FIRST_HERE:
            return None
        labelled: list[list[Label]] = []
        for start in range(0, len(reports), SLICE):
            part = reports[start : start + SLICE]
            async with self._turn:
                verdicts = await self._ask([report.scoped(self._here.scope) for report in part])
            if verdicts is None:
                self._alone = True  # it could not be started, or died: nothing is lost, it is only slower
                return None
            labelled += [self._here.labels(report, _read(given)) for report, given in zip(part, verdicts, strict=True)]
        return labelled

    async def aclose(self) -> None:
        """End the process."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
            self._process = None

    async def _ask(self, sections: list[list[tuple[str, str]]]) -> list[Wire] | None:
        try:
            process = await self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            asked = marshal.dumps(sections)
            process.stdin.write(_LENGTH.pack(len(asked)) + asked)
            await process.stdin.drain()
            (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
            verdicts: list[Wire] = marshal.loads(await process.stdout.readexactly(length))
        except (OSError, asyncio.IncompleteReadError):
            return None
        return verdicts

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                f"from {__name__} import serve; serve()",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        return self._process


def serve() -> None:
    """Label what comes in until the input ends; what a process of its own runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it
    labeler = RuleLabeler()
    given, answered = sys.stdin.buffer, sys.stdout.buffer
    while (asked := _next(given)) is not None:
        verdicts = [labeler.engine.label_sections(sections) if sections else None for sections in asked]
        told = marshal.dumps([None if verdict is None else _written(verdict) for verdict in verdicts])
        answered.write(_LENGTH.pack(len(told)) + told)
        answered.flush()


def _next(given: BinaryIO) -> Wire | None:
    header = given.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    body = given.read(length)
    return marshal.loads(body) if len(body) == length else None


def _written(verdict: Any) -> Wire:
    spans = (verdict[finding] for finding in FINDINGS)
    return [(status, [(e.section, e.start, e.end, e.quote, e.cue) for e in evidence]) for status, evidence in spans]


def _read(written: Wire | None) -> Any:
    if written is None:
        return None
    return {
        finding: (status, tuple(Evidence(*span) for span in spans))
        for finding, (status, spans) in zip(FINDINGS, written, strict=True)
    }
