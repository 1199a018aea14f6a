"""The teacher graph's nodes: pure functions from the state of one chunk of reports to an update of it.

A labeler's failure on one report is caught here and becomes that report's `Failure`: an exception that leaves a node
would discard the whole chunk. What makes every report impossible (a wrong key, a forbidden endpoint) does leave it.
"""

import asyncio
import operator
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Annotated, Any, Protocol

from typing_extensions import TypedDict

from teachback.agents.compare import compare
from teachback.agents.labeler import AskingLabeler, Decider, Dispute, ReportLabeler, Verdict
from teachback.errors import InputError, TeacherReplyError
from teachback.store.label import Failure, Label
from teachback.store.report import SECTIONS, Report

__all__ = [
    "ChunkInput",
    "ChunkState",
    "Node",
    "Sink",
    "adjudicator_node",
    "commit_node",
    "compare_node",
    "llm_labeler_node",
    "rule_labeler_node",
]

LONGEST_HOLD_S = 0.005  # how long rules may keep the event loop from the tasks that wait for a model
STRICTEST = "local-only"  # the egress policy of a corpus that states none


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
        rule_labels: Report id to the rules' labels.
        llm_labels: Report id to the model's labels; a report that it failed on is missing.
        disputes: Report id to the targets that need a decision.
        agreed: Number of targets on which the labelers give the same status.
        silent: Number of targets on which one had read too little of the report to object.
        verdicts: Report id to how its disputes were decided.
        failures: What could not be done, report by report.
        committed: Reports with which the graph is done.
    """

    rule_labels: dict[str, list[Label]]
    llm_labels: dict[str, list[Label]]
    disputes: dict[str, tuple[Dispute, ...]]
    agreed: int
    silent: int
    verdicts: dict[str, list[Verdict]]
    failures: Annotated[list[Failure], operator.add]
    committed: list[str]


Sink = Callable[[ChunkState], Awaitable[None]]


class Node(Protocol):
    """A node of the graph."""

    async def __call__(self, state: ChunkState) -> ChunkState:
        """Return what changes."""


def rule_labeler_node(labeler: ReportLabeler) -> Node:
    """Label every report of the chunk at once, letting waiting tasks run every few milliseconds."""

    async def rule_labeler(state: ChunkState) -> ChunkState:
        labels = {}
        until = time.perf_counter() + LONGEST_HOLD_S
        for report in state["reports"]:
            labels[report.report_id] = labeler.label(report)
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + LONGEST_HOLD_S
        return {"rule_labels": labels}

    return rule_labeler


def llm_labeler_node(labeler: AskingLabeler) -> Node:
    """Ask for every report of the chunk; how many are asked at once is the client's business."""

    async def llm_labeler(state: ChunkState) -> ChunkState:
        async def ask(report: Report) -> list[Label] | Failure:
            try:
                reply = await labeler.label(report, _egress(state, report))
            except TeacherReplyError as error:
                return Failure(report.report_id, labeler.spec.labeler_id, error.reason)
            return list(reply.labels)

        answers = await _all(ask(report) for report in state["reports"])
        by_report = dict(zip((report.report_id for report in state["reports"]), answers, strict=True))
        return {
            "llm_labels": {key: answer for key, answer in by_report.items() if not isinstance(answer, Failure)},
            "failures": [answer for answer in answers if isinstance(answer, Failure)],
        }

    return llm_labeler


def compare_node(names: Mapping[str, str]) -> Node:
    """Find the targets on which the rules and the model differ; reports that failed wait for the next run."""

    async def compare_votes(state: ChunkState) -> ChunkState:
        rules, models = state.get("rule_labels", {}), state.get("llm_labels", {})
        found = {
            report.report_id: compare(report, rules[report.report_id], models[report.report_id], names)
            for report in state["reports"]
            if report.report_id in rules and report.report_id in models
        }
        return {
            "disputes": {key: comparison.disputes for key, comparison in found.items() if comparison.disputes},
            "agreed": sum(comparison.agreed for comparison in found.values()),
            "silent": sum(comparison.silent for comparison in found.values()),
        }

    return compare_votes


def adjudicator_node(adjudicator: Decider) -> Node:
    """Have every disputed report's disputes decided, in one question a report."""

    async def decide(state: ChunkState) -> ChunkState:
        disputed = [report for report in state["reports"] if report.report_id in state["disputes"]]

        async def ask(report: Report) -> list[Verdict] | Failure:
            try:
                return await adjudicator.decide(report, state["disputes"][report.report_id], _egress(state, report))
            except TeacherReplyError as error:
                return Failure(report.report_id, adjudicator.spec.labeler_id, error.reason)

        answers = await _all(ask(report) for report in disputed)
        by_report = dict(zip((report.report_id for report in disputed), answers, strict=True))
        return {
            "verdicts": {key: answer for key, answer in by_report.items() if not isinstance(answer, Failure)},
            "failures": [answer for answer in answers if isinstance(answer, Failure)],
        }

    return decide


def commit_node(sink: Sink | None) -> Node:
    """Hand the chunk to where it is kept, and name the reports that are done: all but those that failed."""

    async def commit(state: ChunkState) -> ChunkState:
        failed = {failure.report_id for failure in state.get("failures", [])}
        done = [report.report_id for report in state["reports"] if report.report_id not in failed]
        if sink:
            await sink({**state, "committed": done})
        return {"committed": done}

    return commit


async def _all(questions: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Wait for all; at the first exception the others are cancelled and that exception is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(question) for question in questions]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


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
