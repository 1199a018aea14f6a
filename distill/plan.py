"""What a campaign will take, before anything starts: rows, tokens, steps, memory, time and disk.

Counted exactly, by the code that the campaign runs: reports, labels, lessons, tokens, what is cut, steps of round 1,
parameters. Of later rounds the most that can be fed back. Estimated: memory (`plan_model`) and time (`plan_time`).
Nothing is trained: labels are not audited, so those that an audit would leave out are counted too.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import duckdb

from teachback.distill.artefacts import load_json
from teachback.distill.assemble import TrainingRow, assemble, scoped_texts
from teachback.distill.base import load_tokenizer
from teachback.distill.config import CampaignSettings, TrainSettings
from teachback.distill.freeze import Frozen, freeze
from teachback.distill.lessons import plant_rows, write_lessons
from teachback.distill.passages import passages_of
from teachback.distill.plan_model import Memory, Shape, estimate_memory, measure_shape
from teachback.distill.plan_time import Device, Speed, flops_a_token, known_speed, probed_speed, this_device
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions
from teachback.distill.ranks import share_batch
from teachback.distill.tree import IGNORED, LENGTH_STEP, TreeRow

__all__ = ["Plan", "Reading", "Rows", "Taught", "Training", "plan_campaign", "steps_of"]

DECIDING = ("calibration", "gate", "pool")  # what each student reads before `test` is opened
CHECKPOINTS = 3  # at a time: two stay, and the next is written before the older one goes
_READ_MOST = 20_000  # texts that are encoded to count what is read; of more, every k-th


@dataclass(frozen=True, slots=True)
class Taught:
    """Labels of one source, scope and task: how many, on how many reports, and the texts that teach them.

    A text may teach labels of several sources and tasks, so these do not add up.
    """

    source: str
    scope: str
    task: str
    labels: int
    reports: int
    lessons: int


@dataclass(frozen=True, slots=True)
class Rows:
    """What round 1 trains on.

    Attributes:
        lessons: Texts.
        rows: Rows made of them.
        tokens: Of all rows, questions and answers among them.
        longest: Tokens of the longest.
        answers: Answer tokens of the row that has most.
        cut: Reports that lose words from their middle to fit `max_length`.
        cut_tokens: What they lose.
        long_lists: Lists of diseases that are left out, being longer than half a row.
    """

    lessons: int
    rows: int
    tokens: int
    longest: int
    answers: int
    cut: int
    cut_tokens: int
    long_lists: int


@dataclass(frozen=True, slots=True)
class Training:
    """One student to train; `at_most` where its steps depend on what is fed back."""

    name: str
    steps: int
    at_most: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What students read: texts and tokens of one student, over all splits, how many students, the longest row."""

    texts: int
    tokens: int
    students: int
    longest: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign will take.

    Attributes:
        campaign_id: What it would be called.
        finished: Whether it has been run to its end: it would only be shown again.
        splits: Reports by split.
        taught: Labels by source, scope and task.
        rows: What round 1 trains on.
        trainings: Students to train, at most.
        reading: What students read.
        shape: The student's sizes.
        memory: Bytes at the peak, estimated.
        device: What computes.
        training_seconds: Of all trainings, estimated.
        reading_seconds: Of all reading, estimated.
        speed: Tokens a second, and what that rests on.
        disk_bytes: Of adapters and one training's checkpoints.
    """

    campaign_id: str
    finished: bool
    splits: dict[str, int]
    taught: tuple[Taught, ...]
    rows: Rows
    trainings: tuple[Training, ...]
    reading: Reading
    shape: Shape
    memory: Memory
    device: Device
    training_seconds: float
    reading_seconds: float
    speed: Speed
    disk_bytes: int

    @property
    def fits(self) -> bool:
        """Whether the peak is within what the device has free."""
        return self.memory.peak <= self.device.free

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {**asdict(self), "fits": self.fits, "seconds": self.training_seconds + self.reading_seconds}


def steps_of(lessons: int, train: TrainSettings, first: int | None = None) -> int:
    """Return the optimizer steps of a round that teaches so many lessons.

    Args:
        lessons: Of this round.
        train: How to train.
        first: Lessons of round 1, to which `min_steps` belongs. Where that decides, a later round has more steps as it
            has more lessons: with as many steps, what is fed back would stand in the place of what the teacher says.
    """
    fewest = train.min_steps * max(1.0, lessons / first) if first else train.min_steps
    steps = max(1, ceil(fewest), ceil(train.epochs * lessons / train.batch))
    return min(steps, train.max_steps or steps)


def plan_campaign(
    connection: duckdb.DuckDBPyConnection, settings: CampaignSettings, campaigns: Path, teacher_id: str | None = None
) -> Plan:
    """Count and estimate what a campaign will take; nothing is trained and nothing is written.

    Args:
        connection: The store or a snapshot, read alone.
        settings: The campaign's settings.
        campaigns: Folder of the store's campaigns, where a finished one is looked for.
        teacher_id: Which teacher to distil; the one that has labelled most if not given.

    Raises:
        StoreError: Nothing is labelled, or there are no curated labels to judge by.
        TrainingError: The base's tokenizer or configuration cannot be loaded.
    """
    frozen = freeze(connection, settings, teacher_id)
    taught = assemble(frozen, settings.model_copy(update={"noise": "none"}))
    prompt = load_student_prompt(settings.prompt)
    questions = Questions(load_tokenizer(settings.student), max_length=settings.train.max_length, **prompt)
    rows, most = _count_rows(taught, frozen, questions, settings)
    trainings = _list_trainings(taught, rows.lessons, frozen, settings)
    reading = _count_reading(frozen, questions, settings, len(trainings) + 1)

    shape, device = measure_shape(settings), this_device()
    micro = min(share_batch(settings.train.batch, settings.train.micro_batch, 1)[0], rows.rows)
    length = -(-rows.longest // LENGTH_STEP) * LENGTH_STEP
    mean = rows.tokens / max(1, rows.rows)
    speed = known_speed(connection, settings, device) or probed_speed(shape, settings.train, micro, length, mean)
    trained, read = flops_a_token(shape, settings.train, mean)
    steps = sum(training.steps for training in trainings)
    read_tokens = reading.tokens * reading.students
    checkpoint = 4 + 8  # bytes a trained parameter: weight and both moments
    return Plan(
        campaign_id=frozen.campaign_id,
        finished=load_json(campaigns / frozen.campaign_id[4:16] / "campaign.json") is not None,
        splits={split: len(reports) for split, reports in frozen.reports.items()},
        taught=_group(taught, frozen, settings),
        rows=rows,
        trainings=trainings,
        reading=reading,
        shape=shape,
        memory=estimate_memory(shape, settings.train, micro, length, most, reading.longest),
        device=device,
        training_seconds=settings.train.batch * mean * steps / speed.tokens_a_second,
        reading_seconds=read_tokens / (speed.tokens_a_second * trained / read),
        speed=speed,
        disk_bytes=shape.trained * (4 * len(trainings) + CHECKPOINTS * checkpoint),
    )


def _count_rows(
    taught: Sequence[TrainingRow], frozen: Frozen, questions: Questions, settings: CampaignSettings
) -> tuple[Rows, int]:
    """Count what is trained on, and the answer tokens of the micro-batch that has most."""
    planted = plant_rows(taught, frozen, questions, settings)
    answers = sorted((_answers(row) for row in planted), reverse=True)
    rows = Rows(
        lessons=len(write_lessons(taught, frozen, settings)),
        rows=len(planted),
        tokens=sum(map(len, planted)),
        longest=max(map(len, planted), default=0),
        answers=answers[0] if answers else 0,
        cut=questions.cut_reports,
        cut_tokens=questions.cut_tokens,
        long_lists=questions.long_lists,
    )
    return rows, sum(answers[: settings.train.micro_batch])


def _answers(row: TreeRow) -> int:
    return sum(label != IGNORED for label in row.labels)


def _group(taught: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings) -> tuple[Taught, ...]:
    grouped: dict[tuple[str, str, str], list[TrainingRow]] = defaultdict(list)
    for row in taught:
        if row.selected:
            grouped[row.source, row.label.scope, row.label.task].append(row)
    return tuple(
        Taught(
            *named,
            labels=len(members),
            reports=len({row.label.report_id for row in members}),
            lessons=len(write_lessons(members, frozen, settings)),
        )
        for named, members in sorted(grouped.items(), key=lambda item: (item[0][0] != "teacher", item[0]))
    )


def _list_trainings(
    taught: Sequence[TrainingRow], lessons: int, frozen: Frozen, settings: CampaignSettings
) -> tuple[Training, ...]:
    """List the students to train; a later round has at most one lesson more for each text of the pool."""
    trainings = [Training("round 1", steps_of(lessons, settings.train), at_most=False)]
    if settings.rounds > 1:
        fed = _texts(frozen, ("pool",), settings)
        if settings.unit == "sentence":  # equal sentences are one lesson
            fed = sorted(set(fed) - {lesson.text for lesson in write_lessons(taught, frozen, settings)})
        steps = steps_of(lessons + len(fed), settings.train, lessons)
        arms = ("feedback", "control") if settings.control else ("feedback",)
        k = settings.select.folds
        folds = [f"fold {n} of {k}" for n in range(1, k + 1)] if k > 1 else []
        trainings += [
            Training(f"round {number} {arm}", steps, at_most=True)
            for number in range(2, settings.rounds + 1)
            for arm in (*folds, *arms)
        ]
    return tuple(trainings)


def _texts(frozen: Frozen, splits: Sequence[str], settings: CampaignSettings) -> list[str]:
    """Return what a student reads of some splits at a time: reports, or their different sentences."""
    reports = [report for split in splits for report in frozen.reports[split]]
    if settings.unit == "sentence":
        return sorted({passage.text for report in reports for passage in passages_of(report, settings.scope)})
    return scoped_texts(reports, settings)[1]


def _count_reading(frozen: Frozen, questions: Questions, settings: CampaignSettings, students: int) -> Reading:
    texts = [*_texts(frozen, DECIDING, settings), *_texts(frozen, ("test",), settings)]
    if settings.unit == "sentence" and settings.select.carry is not None and settings.rounds > 1:
        texts += _texts(frozen, ("train", "pool"), settings)  # the champion reads these to carry labels over
    every = -(-len(texts) // _READ_MOST) or 1
    lengths = [len(questions.row(text)) for text in texts[::every]]
    return Reading(len(texts), round(sum(lengths) * len(texts) / max(1, len(lengths))), students, max(lengths))
