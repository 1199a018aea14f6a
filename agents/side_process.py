"""A process beside ours, for jobs in which a model is asked about many reports: it labels by rules and reads answers.

There one core has its hands full with the requests. What goes to the process and comes back are plain values over its
standard input and output; it ends when its input does, so whatever becomes of us, it leaves nothing behind. Small jobs
never start it, and where it cannot be started, or dies, its work is done here: nothing is lost, it is only slower.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

from teachback.agents import side_worker
from teachback.agents.calls import Answer
from teachback.agents.label_reading import LabelReading, prepare_reading
from teachback.agents.responses import Response
from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.side_worker import ENCODER, LENGTH, MADE, Made, Reading, Rules, Wanted
from teachback.store.label import Label, Labeler
from teachback.store.report import Report, Scope

__all__ = ["RulesBeside", "SideProcess"]

WORTH_IT = 1_000  # reports; fewer are done before another process has started, which takes half a second of a core
UNDER_WAY = 4  # messages at once: while one is worked on, the next is there, however busy the event loop is
# Answers that may wait for it; further ones are read where they come in. Measured: with 12 the process waits for work
# while the event loop reads answers; with 160 the calls that wait to be stored keep further ones from being sent.
BACKLOG = 80
MOST = 4  # reports in a message: some 8 ms of work, so that no answer waits long for its reading

T = TypeVar("T")


_Job = tuple[Wanted, "asyncio.Future[Made | None]"]


class SideProcess:
    """Does what it is given in another process."""

    def __init__(self) -> None:
        self._wanted = False
        self._preparing: asyncio.Task[None] | None = None  # what it takes to read an answer here, too
        self._readings: deque[tuple[str, _Job]] = deque()
        self._rules: dict[str, _Job] = {}  # by report
        self._sent: deque[list[_Job]] = deque()
        self._process: asyncio.subprocess.Process | None = None
        self._working: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()

    def expect(self, reports: int) -> None:
        """Learn, in the event loop, how large the job is; starts the process where it is worth that."""
        self._wanted = reports > WORTH_IT and (os.cpu_count() or 1) > 1
        if self._wanted and not self._working:
            self._working.append(asyncio.create_task(self._work()))

    def prepare_here(self) -> None:
        """Make what it takes to read answers in this process as well; to be called while nothing but waiting is left.

        A thread does it: else the first answer that is read here would have the event loop wait for it.
        """
        if self._wanted and self._preparing is None:
            self._preparing = asyncio.create_task(asyncio.to_thread(prepare_reading))
            self._working.append(self._preparing)

    def rules(self, scope: Scope, report: Report) -> "asyncio.Future[Made | None] | None":
        """Have a report labelled by the package's rules; None where that is to be done here."""
        job = self._job(Rules(scope, report.report_id, report.scoped(scope)))
        if job is None or report.report_id in self._rules:
            return None
        self._rules[report.report_id] = job
        return job[1]

    async def read(self, raw: bytes, read: Callable[[Answer], T], llm_call_id: str) -> Response[T] | None:
        """Read a response, as `read_response` would; None where it is to be read here, as all but labels are."""
        if not isinstance(read, LabelReading) or (self._ready_here and len(self._readings) >= BACKLOG):
            return None
        self.prepare_here()
        job = self._job(Reading(raw, read.reader, read.report_id, list(read.sections), llm_call_id))
        if job is None:
            return None
        self._readings.append((read.report_id, job))
        made = await job[1]
        if made is None:
            return None
        labels = cast(T | None, made.labels)
        return Response(
            made.model, made.prompt_tokens, made.cached_tokens, made.completion_tokens, made.kept, labels, made.refused
        )

    def label_here(self, report_id: str) -> None:
        """Label a report by rules in this process, if that still waits for the other one.

        To be called where its answer is about to be read here: both read the same sentences, and remember them.
        """
        if job := self._rules.pop(report_id, None):
            wanted, done = job
            if not done.done():
                done.set_result(wanted.done())

    async def aclose(self) -> None:
        """End the process."""
        self._wanted = False
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
            self._process = None

    @property
    def _ready_here(self) -> bool:
        return self._preparing is not None and self._preparing.done()

    def _job(self, asked: Wanted) -> _Job | None:
        if not self._wanted:
            return None
        self._news.set()
        return asked, asyncio.get_running_loop().create_future()

    async def _work(self) -> None:
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                f"from {side_worker.__name__} import serve; serve()",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            if process.stdin and process.stdout:
                self._working.append(asyncio.create_task(self._send(process.stdin)))
                await self._receive(process.stdout)
        except (OSError, asyncio.IncompleteReadError):
            pass  # it could not be started, or died
        finally:
            # Whatever happened, nobody may wait for it any longer.
            self._wanted = False
            self._give_back()

    async def _receive(self, stdout: asyncio.StreamReader) -> None:
        while True:
            (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
            answers = MADE.decode(await stdout.readexactly(length))
            jobs = self._sent.popleft()
            self._news.set()
            for (_, done), answer in zip(jobs, answers, strict=True):
                if not done.done():
                    done.set_result(answer)

    async def _send(self, stdin: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                while len(self._sent) < UNDER_WAY and (self._readings or self._rules):
                    jobs = list(self._next_jobs())
                    self._sent.append(jobs)
                    asked = ENCODER.encode([job for job, _ in jobs])
                    stdin.write(LENGTH.pack(len(asked)) + asked)
        finally:
            stdin.close()  # the process ends, and what it still had to do is given back

    def _next_jobs(self) -> Iterator[_Job]:
        # A report's rules and answer are read one after the other: what is known of its sentences is then at hand.
        for _ in range(MOST):
            if self._readings:
                report_id, reading = self._readings.popleft()
                if report_id in self._rules:
                    yield self._rules.pop(report_id)
                yield reading
            elif self._rules:
                yield self._rules.pop(next(iter(self._rules)))

    def _give_back(self) -> None:
        sent = [job for jobs in self._sent for job in jobs]
        for _, done in [*sent, *(job for _, job in self._readings), *self._rules.values()]:
            if not done.done():
                done.set_result(None)
        self._sent.clear()
        self._readings.clear()
        self._rules.clear()


class RulesBeside:
    """The rule labeler, at work in the process beside.

    Args:
        scope: The sections to label from.
        side: The process.
    """

    def __init__(self, scope: Scope, side: SideProcess) -> None:
        self._here = RuleLabeler(scope)
        self._side = side

    @property
    def spec(self) -> Labeler:
        """Who it is: the rule labeler, wherever it works."""
        return self._here.spec

    def label(self, report: Report) -> list[Label]:
        """Return one report's labels, made here."""
        return self._here.label(report)

    async def label_many(self, reports: Sequence[Report]) -> list[list[Label]] | None:
        """Return the labels of many reports, made elsewhere; None where they are to be made here."""
        begun = [self._side.rules(self._here.scope, report) for report in reports]
        labelled = [await made for made in begun if made is not None]
        labels = [made.labels for made in labelled if made is not None and made.labels is not None]
        return labels if len(labels) == len(reports) else None
