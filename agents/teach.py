"""The labeling job: chunks of reports through the teacher graph, into the store.

A chunk's labels, verdicts, failures and the mark that its reports are done are one transaction, so a run that is
killed leaves whole chunks or nothing of them, and the next run asks the store which reports are left. Chunks overlap:
while one waits for its last answers or its verdicts, the next ones keep the endpoint busy.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cache as once
from typing import Any

import duckdb

from teachback.agents.aggregate.consolidate import Consolidated
from teachback.agents.call_cache import Bill, StoreCallCache, write_durably
from teachback.agents.graph import TeacherGraph, build_graph, label_chunk
from teachback.agents.labeler import Teachers, Verdict
from teachback.agents.nodes import ChunkState
from teachback.agents.selection import Selection, count_selected, pending
from teachback.errors import SettingError, TeacherError
from teachback.prompts import Prompt
from teachback.store.database import Rows
from teachback.store.identity import content_id
from teachback.store.label import Failure
from teachback.store.report import Report
from teachback.store.rows import fetch_reports, label_table, labeler_row
from teachback.store.runs import recorded_run
from teachback.store.writer import Writer, with_room, writing_alone

__all__ = ["Progress", "TeachConfig", "TeachSummary", "teach"]

CHUNK = 200  # reports an invocation
CHUNK_OF_RULES = 2_000  # likewise where no model is asked: nothing is paid, and a commit costs by itself
CHUNKS_IN_FLIGHT = 8  # a chunk ends with its slowest answer, and the others must keep the endpoint busy meanwhile
TICK_S = 0.2  # how often the progress callback is told


@dataclass(frozen=True)
class TeachConfig:
    """How a labeling job runs.

    Attributes:
        selection: Which reports.
        chunk: Reports an invocation of the graph; `CHUNK`, or `CHUNK_OF_RULES` without a model, when left out.
        chunks_in_flight: Chunks that are worked on at the same time.
        command: What the run is recorded as.
        settings: Further settings to record with the run; JSON-serialisable, without keys.
    """

    selection: Selection = field(default_factory=Selection)
    chunk: int | None = None
    chunks_in_flight: int = CHUNKS_IN_FLIGHT
    command: str = "label"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, number in (("chunk", self.chunk), ("chunks in flight", self.chunks_in_flight)):
            if number is not None and number < 1:
                raise SettingError(f"{name} is {number}, which is less than 1", "leave the option out for its default")


@dataclass
class Progress:
    """How far a job is; handed to the callback a few times a second.

    Attributes:
        total: Reports to label in this run.
        taught: Reports that the teacher is done with.
        failed: Reports that must be tried again.
        postponed: Reports with a question that was not sent.
        agreed: Targets on which the labelers give the same status.
        silent: Targets on which one had read too little of the report to object.
        disputed: Targets that needed a decision.
        decided: Disputes that were decided.
        left_open: Disputes that were left to a person.
        bill: What was asked and what it cost, so far.
    """

    total: int
    taught: int = 0
    failed: int = 0
    postponed: int = 0
    agreed: int = 0
    silent: int = 0
    disputed: int = 0
    decided: int = 0
    left_open: int = 0
    bill: Bill = field(default_factory=Bill)


@dataclass(frozen=True)
class TeachSummary:
    """What a job came to.

    Attributes:
        teacher_id: The teacher.
        run_id: The run; None when there was nothing to do.
        selected: Reports that were selected, done before or not.
        progress: Counts of this run.
        failures: What could not be done.
        left_out: Request parameters that a model turned out not to take, as `model: parameter`.
        aggregated: What a vote over all targets came to, where that is how the teacher decides.
    """

    teacher_id: str
    run_id: str | None
    selected: int
    progress: Progress
    failures: tuple[Failure, ...] = ()
    left_out: tuple[str, ...] = ()
    aggregated: Consolidated | None = None


async def teach(
    writer: Writer,
    connection: duckdb.DuckDBPyConnection,
    teachers: Teachers,
    config: TeachConfig,
    *,
    cache: StoreCallCache | None = None,
    prompts: Sequence[Prompt] = (),
    expecting: Callable[[int], None] = lambda _: None,
    stopped: Callable[[], TeacherError | None] = lambda: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> TeachSummary:
    """Label every selected report that this teacher is not done with.

    Args:
        writer: The store's writer.
        connection: A connection to the same store, from which reports are read.
        teachers: The members of the graph.
        config: Which reports, and how.
        cache: The cache that the teachers' client asks, to be filled chunk by chunk and billed to this run.
        prompts: The prompts that the teachers use, to be kept beside their labels.
        expecting: Told how many reports are about to be labelled.
        stopped: Says why nothing more can be asked, such as a spent budget; what is complete is kept all the same.
        on_progress: Told how far the job is, in the event loop.

    Returns:
        What it came to.

    Raises:
        SettingError: No report is selected.
        TeacherError: A teacher cannot go on at all; what was finished is in the store.
        EgressError: A corpus's policy forbids asking; nothing of it was sent.
    """
    selection = config.selection
    selected = count_selected(connection, selection)
    if not selected:
        raise SettingError("no report is selected", "import reports, or widen --corpus, --split and --limit")
    todo = pending(connection, selection, teachers.teacher_id)
    progress = Progress(len(todo), bill=cache.bill if cache else Bill())
    if not todo:
        return TeachSummary(teachers.teacher_id, None, selected, progress)
    expecting(len(todo))
    await asyncio.sleep(0)  # what is begun for them is under way meanwhile
    chunk = config.chunk or (CHUNK if teachers.asking else CHUNK_OF_RULES)
    recorded = {"selection": asdict(selection), "chunk": chunk, "teacher_id": teachers.teacher_id}
    with recorded_run(writer, config.command, {**recorded, **config.settings}, selection.seed, later=True) as run:

        @once
        def begin() -> Future[dict[str, int]]:
            members = writer.submit(_member_rows(teachers, prompts))
            run.begin()
            return members

        if cache:
            cache.run_id, cache.before_writing = run.run_id, begin
        job = _Job(writer, connection, teachers, run.run_id, begin, cache, progress, on_progress)
        try:
            with writing_alone(connection) if cache else nullcontext():
                await job.label(_chunks(todo, chunk), config.chunks_in_flight, stopped)
            begin().result()
            if error := stopped():
                raise error
        finally:
            begin()
            run.summary.update(asdict(progress))
    return TeachSummary(teachers.teacher_id, run.run_id, selected, progress, tuple(job.failures))


class _Job:
    """One run of `teach`: what its chunks share."""

    def __init__(
        self,
        writer: Writer,
        connection: duckdb.DuckDBPyConnection,
        teachers: Teachers,
        run_id: str,
        begin: Callable[[], object],
        cache: StoreCallCache | None,
        progress: Progress,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.failures: list[Failure] = []
        self._writer = writer
        self._connection = connection
        self._teacher_id = teachers.teacher_id
        self._run_id = run_id
        self._begin = begin
        self._cache = cache
        self._progress = progress
        self._on_progress = on_progress
        self._egress = dict(connection.execute("SELECT corpus, egress FROM corpora").fetchall())
        self._reading = asyncio.Lock()
        self._graph: TeacherGraph = build_graph(teachers, self._keep)

    async def label(
        self, chunks: Iterator[Sequence[str]], in_flight: int, stopped: Callable[[], TeacherError | None]
    ) -> None:
        """Work the chunks off, several at a time; the first error ends them all, a stop lets those at hand finish."""

        async def work() -> None:
            for report_ids in chunks:
                if stopped():
                    return
                await self._label_chunk(report_ids)

        ticking = asyncio.create_task(self._tick())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(in_flight):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            ticking.cancel()
        self._on_progress(self._progress)

    async def _tick(self) -> None:
        while True:
            self._on_progress(self._progress)
            await asyncio.sleep(TICK_S)
            # Who labels is written once the first questions are out: while these are answered there is time for it.
            self._begin()

    async def _label_chunk(self, report_ids: Sequence[str]) -> None:
        async with self._reading:  # in turns: several at once would take several times the memory
            reports = await asyncio.to_thread(self._fetch, report_ids)
            if self._cache:
                await self._cache.load(report_ids)
        await label_chunk(self._graph, {"reports": reports, "egress": self._egress})
        if self._cache:
            self._cache.release(report_ids)

    def _fetch(self, report_ids: Sequence[str]) -> list[Report]:
        cursor, condition = self._connection.cursor(), "report_id IN (SELECT unnest(?::VARCHAR[]))"
        return with_room(cursor, lambda: fetch_reports(cursor, condition, [list(report_ids)]))

    async def _keep(self, state: ChunkState) -> None:
        rows = await asyncio.to_thread(chunk_rows, state, self._teacher_id, self._run_id)
        self._begin()
        await write_durably(self._writer, rows)
        failures = state.get("failures", [])
        self.failures.extend(failures)
        progress = self._progress
        progress.taught += len(state["committed"])
        postponed = state.get("postponed", set())
        progress.postponed += len(postponed)
        progress.failed += len({failure.report_id for failure in failures} - postponed)
        progress.agreed += state.get("agreed", 0)
        progress.silent += state.get("silent", 0)
        progress.disputed += sum(map(len, state.get("disputes", {}).values()))
        verdicts = [verdict for decided in state.get("verdicts", {}).values() for verdict in decided]
        progress.decided += sum(verdict.label is not None for verdict in verdicts)
        progress.left_open += sum(verdict.label is None for verdict in verdicts)


def chunk_rows(state: ChunkState, teacher_id: str, run_id: str) -> Rows:
    """Return the rows that a finished chunk adds to the store.

    Votes on a report that somebody else failed on are kept too: they were given, and naming them by content keeps the
    retry from writing them twice.
    """
    verdicts = [verdict for decided in state.get("verdicts", {}).values() for verdict in decided]
    labels = [label for given in state.get("votes", {}).values() for votes in given.values() for label in votes]
    labels += [verdict.label for verdict in verdicts if verdict.label]
    done = {"teacher_id": teacher_id, "run_id": run_id}
    return {
        "labels": label_table(labels, run_id),
        "adjudications": [_adjudication_row(verdict, run_id) for verdict in verdicts],
        "failures": [{**asdict(failure), "run_id": run_id} for failure in state.get("failures", [])],
        "committed": [{"report_id": report_id, **done} for report_id in state["committed"]],
    }


def _adjudication_row(verdict: Verdict, run_id: str) -> dict[str, Any]:
    weighed = list(verdict.weighed)
    place = [verdict.report_id, verdict.task, verdict.target, verdict.status, verdict.labeler_id]
    return {
        "adjudication_id": content_id("adj", place, weighed, verdict.rationale, verdict.llm_call_id),
        "report_id": verdict.report_id,
        "task": verdict.task,
        "target": verdict.target,
        "labeler_id": verdict.labeler_id,
        "label_id": verdict.label.label_id if verdict.label else None,
        "weighed": weighed,
        "verdict": verdict.status,
        "rationale": verdict.rationale,
        "llm_call_id": verdict.llm_call_id,
        "run_id": run_id,
    }


def _member_rows(teachers: Teachers, prompts: Sequence[Prompt]) -> Rows:
    kept = [{"prompt_id": p.prompt_id, "role": p.role, "name": p.name, "text": p.full_text} for p in prompts]
    return {
        "prompts": kept,
        "labelers": [labeler_row(spec) for spec in teachers.specs],
        "teachers": [{"teacher_id": teachers.teacher_id}],
        "teacher_members": [{"teacher_id": teachers.teacher_id, **member} for member in teachers.members],
    }


def _chunks(report_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for number in range(math.ceil(len(report_ids) / size)):
        yield report_ids[number * size : (number + 1) * size]
