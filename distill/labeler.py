"""A student as a labeler like any other: its adapter's folder is all that the teacher graph needs to have it vote.

Beside an adapter lies `teachback.json`: the base, what it reads, how it is asked, and how its probabilities become
statuses. The labeler is the one that its round was in the store, so what the round has labelled is not done again.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from teachback.distill.artefacts import load_json, save_json
from teachback.distill.base import load_student, load_tokenizer, require_training
from teachback.distill.calibrate import Calibration
from teachback.distill.config import CampaignSettings
from teachback.distill.passages import Score, read_by_sentence
from teachback.distill.predict import predict_findings
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions
from teachback.distill.round import Round, Scored
from teachback.errors import InputError
from teachback.store.label import FINDINGS, STATUSES, Label, Labeler
from teachback.store.report import Report

__all__ = ["CARD", "StudentLabeler", "labels_of", "load_student_labeler", "write_card"]

CARD = "teachback.json"  # beside `adapter_model.safetensors`


@dataclass(frozen=True, slots=True)
class _Card:
    """What is known of a student beside its weights."""

    spec: Labeler
    student: str
    quantize: bool
    unit: str
    scope: Any
    prompt: str
    max_length: int
    calibration: Calibration


class StudentLabeler:
    """A trained student, loaded when it is first asked.

    Args:
        folder: The adapter.
        card: What is known of it.
    """

    def __init__(self, folder: Path, card: _Card) -> None:
        self.folder, self._card = folder, card
        self._score: Score | None = None
        self._lock = threading.Lock()  # chunks may be asked side by side, and a model is one

    @property
    def spec(self) -> Labeler:
        """Who it is: the labeler of the round that made it."""
        return self._card.spec

    def label(self, report: Report) -> list[Label]:
        """Return its labels of the 13 findings; none when the report has no section of its scope."""
        return self._label_all([report])[0]

    async def label_many(self, reports: Sequence[Report]) -> list[list[Label]]:
        """Return each report's labels; other tasks run meanwhile."""
        return await asyncio.to_thread(self._label_all, reports)

    def _label_all(self, reports: Sequence[Report]) -> list[list[Label]]:
        card = self._card
        readable = [report for report in reports if report.text(card.scope)]
        if not readable:
            return [[] for _ in reports]
        with self._lock:
            score = self._score = self._score or self._load()
            if card.unit == "sentence":
                reading = read_by_sentence(readable, card.scope, score)
                raw, deciding = reading.probabilities, reading.deciding
            else:
                raw, deciding = score([report.text(card.scope) for report in readable]), None
        probabilities = card.calibration.apply(raw)
        ids = tuple(report.report_id for report in readable)
        codes = card.calibration.decide(probabilities)
        scored = Scored(ids, raw, probabilities, codes, deciding, tuple(readable), card.scope)
        labels = dict(zip(ids, labels_of(card.spec.labeler_id, scored), strict=True))
        return [labels.get(report.report_id, []) for report in reports]

    def _load(self) -> Score:
        require_training()
        card = self._card
        questions = Questions(
            load_tokenizer(card.student), max_length=card.max_length, **load_student_prompt(card.prompt)
        )
        model = load_student(card.student, self.folder, quantize=card.quantize)
        return lambda texts: predict_findings(model, questions, texts)


def load_student_labeler(folder: Path | str) -> StudentLabeler:
    """Return the labeler of an adapter; its weights are loaded when it is first asked.

    Args:
        folder: The adapter's folder, or the folder of the round that holds `adapter/`.

    Raises:
        InputError: There is no adapter of Teachback's there.
    """
    path = Path(folder)
    path = path / "adapter" if (path / "adapter").is_dir() else path
    stored = load_json(path / CARD)
    if stored is None or not (path / "adapter_model.safetensors").exists():
        raise InputError(
            f"{folder} holds no adapter with its {CARD}",
            "name a round's folder, such as labels-campaigns/3fa2/1-feedback-90ab, or the adapter/ in it",
        )
    fitted = Calibration.from_dict(stored.pop("calibration"))
    return StudentLabeler(path, _Card(Labeler(**stored.pop("labeler")), calibration=fitted, **stored))


def write_card(round_: Round, settings: CampaignSettings) -> None:
    """Write beside a round's adapter what is needed to use it."""
    folder = round_.folder / "adapter"
    if folder.is_dir() and not (folder / CARD).exists():
        labeler = round_.labeler
        save_json(
            folder / CARD,
            {
                "labeler": {**asdict(labeler), "parameters": dict(labeler.parameters)},
                "student": settings.student,
                "quantize": settings.train.quantize,
                "unit": settings.unit,
                "scope": settings.scope,
                "prompt": settings.prompt,
                "max_length": settings.train.max_length,
                "calibration": round_.calibration.as_dict(),
            },
        )


def labels_of(labeler_id: str, scored: Scored, round_id: str | None = None) -> list[list[Label]]:
    """Return predictions as labels, the 13 of each report, in the order of the reports."""
    chosen = np.take_along_axis(scored.probabilities, scored.codes.astype(int)[..., None], axis=-1)[..., 0]
    return [
        [
            Label(
                report_id=report_id,
                task="findings",
                target=finding,
                status=STATUSES[scored.codes[i, f]],
                labeler_id=labeler_id,
                scope=scored.scope,
                confidence=round(min(1.0, float(chosen[i, f])), 6),
                confidence_source="logprob",
                confidence_note="calibrated",
                probs=dict(zip(STATUSES, map(float, scored.probabilities[i, f]), strict=True)),
                evidence=evidence,
                round_id=round_id,
            )
            for f, (finding, evidence) in enumerate(zip(FINDINGS, scored.evidence(i), strict=True))
        ]
        for i, report_id in enumerate(scored.report_ids)
    ]
