"""The teacher graph's nodes: pure functions from the state of one chunk of reports to an update of it.

A labeler's failure on one report is caught here and becomes that report's `Failure`: an exception that leaves a node
would discard the whole chunk. What makes every report impossible (a wrong key, a forbidden endpoint) does leave it.
"""

import asyncio
import operator
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from typing_extensions import TypedDict

from teachback.agents.calls import Postponed
from teachback.agents.compare import compare
from teachback.agents.labeler import AskingLabeler, Decider, Dispute, ManyLabeler, ReportLabeler, Teachers, Verdict
from teachback.errors import InputError, TeacherReplyError
from teachback.store.label import Failure, Label
from teachback.store.report import SECTIONS, Report

__all__ = [
    "ChunkInput",
    "ChunkState",
    "Node",
    "Sink",
    "adjudicator_node",
    "asking_labeler_node",
    "commit_node",
    "compare_node",
    "local_labeler_node",
]

LONGEST_HOLD_S = 0.005  # how long rules may keep the event loop from the tasks that wait for a model
T = TypeVar("T")

STRICTEST = "local-only"  # the egress policy of a corpus that states none


Votes = dict[str, dict[str, list[Label]]]


def read_reports(_: list[Report], reports: Iterable[Report | Mapping[str, Any]]) -> list[Report]:
    """Take reports as they are or as JSON objects, which is how LangGraph Studio hands them in.

    Raises:
        InputError: A JSON object has no `report_id`, or neither `sections` nor a section's name.
    """
    return [report if isinstance(report, Report) else _from_json(report) for report in reports]


class ChunkInput(TypedDict, total=False):
    """What one invocation starts from.

    Attributes:
        reports: The chunk.
        egress: Corpus to egress policy; a corpus that is not named here counts as `local-only`.
    """

    reports: Annotated[list[Report], read_reports]
    egress: dict[str, str]


class ChunkState(ChunkInput, total=False):
    """What the graph knows of one chunk of reports.

    Attributes:
        votes: Labeler id to report id to its labels; a report that it failed on is missing.
        disputes: Report id to the targets that need a decision.
        agreed: Number of targets on which the labelers give the same status.
        silent: Number of targets on which one had read too little of the report to object.
        verdicts: Report id to how its disputes were decided.
        failures: What could not be done, report by report.
        postponed: Reports with a question that was not sent.
        committed: Reports with which the graph is done.
    """

    votes: Annotated[Votes, operator.or_]
    disputes: dict[str, tuple[Dispute, ...]]
    agreed: int
    silent: int
    verdicts: dict[str, list[Verdict]]
    failures: Annotated[list[Failure], operator.add]
    postponed: Annotated[set[str], operator.or_]
    committed: list[str]


Sink = Callable[[ChunkState], Awaitable[None]]


class Node(Protocol):
    """A node of the graph."""

    async def __call__(self, state: ChunkState) -> ChunkState:
        """Return what changes."""


def local_labeler_node(labeler: ReportLabeler) -> Node:
    """Label every report of the chunk at once, letting waiting tasks run every few milliseconds."""
    labeler_id = labeler.spec.labeler_id

    async def label(state: ChunkState) -> ChunkState:
        reports = state["reports"]
        elsewhere = await labeler.label_many(reports) if isinstance(labeler, ManyLabeler) else None
        if elsewhere is not None:
            return {"votes": {labeler_id: _by_report(reports, elsewhere)}}
        labels = {}
        until = time.perf_counter() + LONGEST_HOLD_S
        for report in reports:
            labels[report.report_id] = labeler.label(report)
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + LONGEST_HOLD_S
        return {"votes": {labeler_id: labels}}

    return label


def asking_labeler_node(labeler: AskingLabeler) -> Node:
    """Ask for every report of the chunk; how many are asked at once is the client's business."""
    labeler_id = labeler.spec.labeler_id

    async def ask(report: Report, egress: str) -> list[Label]:
        return list((await labeler.label(report, egress)).labels)

    async def label(state: ChunkState) -> ChunkState:
        reports = state["reports"]
        answers = await _ask_all(
            labeler_id, {report.report_id: ask(report, _egress(state, report)) for report in reports}
        )
        return {"votes": {labeler_id: answers.given}, "failures": answers.failures, "postponed": answers.postponed}

    return label


def compare_node(teachers: Teachers) -> Node:
    """Find the targets on which the labelers differ; reports that somebody failed on wait for the next run."""
    voters, names = [spec.labeler_id for spec in teachers.voters], teachers.names

    async def compare_votes(state: ChunkState) -> ChunkState:
        votes = state.get("votes", {})
        found = {
            report.report_id: compare(report, [votes[voter][report.report_id] for voter in voters], names)
            for report in state["reports"]
            if all(report.report_id in votes.get(voter, {}) for voter in voters)
        }
        return {
            "disputes": {key: comparison.disputes for key, comparison in found.items() if comparison.disputes},
            "agreed": sum(comparison.agreed for comparison in found.values()),
            "silent": sum(comparison.silent for comparison in found.values()),
        }

    return compare_votes


def adjudicator_node(adjudicator: Decider) -> Node:
    """Have every disputed report's disputes decided, in one question a report."""
    labeler_id = adjudicator.spec.labeler_id

    async def decide(state: ChunkState) -> ChunkState:
        disputes = state["disputes"]
        answers = await _ask_all(
            labeler_id,
            {
                report.report_id: adjudicator.decide(report, disputes[report.report_id], _egress(state, report))
                for report in state["reports"]
                if report.report_id in disputes
            },
        )
        return {"verdicts": answers.given, "failures": answers.failures, "postponed": answers.postponed}

    return decide


def commit_node(sink: Sink | None) -> Node:
    """Hand the chunk to where it is kept, and name the reports that are done: none that failed or was postponed."""

    async def commit(state: ChunkState) -> ChunkState:
        left = {failure.report_id for failure in state.get("failures", [])} | state.get("postponed", set())
        done = [report.report_id for report in state["reports"] if report.report_id not in left]
        if sink:
            await sink({**state, "committed": done})
        return {"committed": done}

    return commit


@dataclass(frozen=True)
class _Answers(Generic[T]):
    given: dict[str, T]
    failures: list[Failure]
    postponed: set[str]


async def _ask_all(labeler_id: str, questions: Mapping[str, Coroutine[Any, Any, T]]) -> _Answers[T]:
    """Wait for all; at the first error that concerns them all, the others are cancelled and that error is raised."""
    answers: _Answers[T] = _Answers({}, [], set())

    async def ask(report_id: str, question: Coroutine[Any, Any, T]) -> None:
        try:
            answers.given[report_id] = await question
        except TeacherReplyError as error:
            answers.failures.append(Failure(report_id, labeler_id, error.reason))
        except Postponed:
            answers.postponed.add(report_id)

    try:
        async with asyncio.TaskGroup() as group:
            for report_id, question in questions.items():
                group.create_task(ask(report_id, question))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return answers


def _by_report(reports: list[Report], labels: list[list[Label]]) -> dict[str, list[Label]]:
    return {report.report_id: given for report, given in zip(reports, labels, strict=True)}


def _egress(state: ChunkState, report: Report) -> str:
    return state.get("egress", {}).get(report.corpus, STRICTEST)


def _from_json(report: Mapping[str, Any]) -> Report:
    sections = report.get("sections") or {name: report[name] for name in SECTIONS if report.get(name)}
    if not report.get("report_id") or not sections:
        raise InputError(
            f"{report!r} is not a report",
            'give {"report_id": "...", "findings": "...", "impression": "..."}, or "text" where it has no sections',
        )
    return Report(str(report["report_id"]), str(report.get("corpus", "")), dict(sections), report.get("subject_id"))
