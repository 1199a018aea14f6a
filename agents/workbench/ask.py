"""Many reports asked about with one prompt: as many at once as the client allows, labels written as they come."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from teachback.agents.call_cache import write_durably
from teachback.agents.calls import Postponed
from teachback.agents.labeler import AskingLabeler
from teachback.agents.nodes import STRICTEST
from teachback.errors import TeacherReplyError
from teachback.store.label import Failure, Label
from teachback.store.report import Report
from teachback.store.rows import label_row
from teachback.store.writer import Writer

__all__ = ["SampleLabels", "label_sample"]

BATCH = 50  # reports whose labels are written together


@dataclass
class SampleLabels:
    """What one labeler says of a sample.

    Attributes:
        labels: Report id to its labels; a report that it failed on is missing.
        failures: What could not be done.
        postponed: Reports with a question that was not sent.
    """

    labels: dict[str, list[Label]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    postponed: list[str] = field(default_factory=list)

    @property
    def call_ids(self) -> set[str]:
        """The calls that the labels come from."""
        return {label.llm_call_id for labels in self.labels.values() for label in labels if label.llm_call_id}


async def label_sample(
    writer: Writer,
    labeler: AskingLabeler,
    reports: Sequence[Report],
    egress: Mapping[str, str],
    run_id: str,
    on_progress: Callable[[], None] = lambda: None,
) -> SampleLabels:
    """Have a labeler label reports, and keep its labels and failures in the store.

    Args:
        writer: The store's writer; the labeler's own row is already written.
        labeler: Who labels.
        reports: The reports.
        egress: Corpus to egress policy; a corpus that is not named counts as `local-only`.
        run_id: The run that labels and failures are booked on.
        on_progress: Told of each report that is done, failed or not sent.

    Raises:
        EgressError: A corpus's policy forbids asking there; nothing of it was sent.
        TeacherError: Nothing can be asked at all; what was answered is in the store.
    """
    said = SampleLabels()
    waiting: list[Label] = []

    async def write() -> None:
        rows = [label_row(label, run_id) for label in waiting]
        waiting.clear()
        await write_durably(writer, {"labels": rows})

    async def ask(report: Report) -> None:
        try:
            reply = await labeler.label(report, egress.get(report.corpus, STRICTEST))
        except TeacherReplyError as error:
            said.failures.append(Failure(report.report_id, labeler.spec.labeler_id, error.reason))
        except Postponed:
            said.postponed.append(report.report_id)
        else:
            said.labels[report.report_id] = list(reply.labels)
            waiting.extend(reply.labels)
            if len(said.labels) % BATCH == 0:
                await write()
        on_progress()

    try:
        async with asyncio.TaskGroup() as group:
            for report in reports:
                group.create_task(ask(report))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        await write()
        await write_durably(writer, {"failures": [{**asdict(f), "run_id": run_id} for f in said.failures]})
    return said
