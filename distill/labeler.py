"""A student as a labeler like any other: its adapter's folder is all that the teacher graph needs to have it vote.

Beside an adapter lies `teachback.json`: the base, what it reads, how it is asked, and how its probabilities become
statuses. The labeler is the one that its round was in the store, so what the round has labelled is not done again.
A student that was taught to list diseases in JSON lists them too, and is for that a labeler of its own.
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.agents.hedges import hedge_rules_version
from teachback.distill.artefacts import load_json, save_json
from teachback.distill.backends import backend_name, open_backend
from teachback.distill.base import load_student, load_tokenizer, require_training
from teachback.distill.calibrate import Calibration
from teachback.distill.config import CampaignSettings
from teachback.distill.diseases import list_diseases_of, verification_from
from teachback.distill.passages import read_by_sentence
from teachback.distill.predict import predict_findings
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions
from teachback.distill.round import Round, Scored
from teachback.errors import InputError
from teachback.store.label import FINDINGS, STATUSES, Label, Labeler
from teachback.store.report import Report

__all__ = ["CARD", "StudentLabeler", "labels_of", "lists_diseases", "load_student_labeler", "write_card"]

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
    diseases: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A student in memory; without a model of this process it lists no diseases."""

    backend: Any
    model: Any
    questions: Questions

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return predict_findings(self.backend, self.questions, texts)


class StudentLabeler:
    """A trained student, loaded when it is first asked.

    Args:
        folder: The adapter.
        card: What is known of it.
    """

    def __init__(self, folder: Path, card: _Card) -> None:
        self.folder, self._card = folder, card
        self._loaded: _Loaded | None = None
        self._lock = threading.Lock()  # chunks may be asked side by side, and a model is one

    @property
    def spec(self) -> Labeler:
        """Who it is: the labeler of the round that made it."""
        return self._card.spec

    def label(self, report: Report) -> list[Label]:
        """Return its labels of the 13 findings, and of diseases if it lists them; none without its scope's sections."""
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
            loaded = self._loaded = self._loaded or self._load()
            score = loaded.score
            diseases = self._diseases(loaded, reports)
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
        found = [labels.get(report.report_id, []) for report in reports]
        return [[*of, *more] for of, more in zip(found, diseases, strict=True)]

    def _diseases(self, loaded: _Loaded, reports: Sequence[Report]) -> list[list[Label]]:
        card = self._card
        if card.diseases is None:
            return [[] for _ in reports]
        verification = verification_from(card.diseases["verification"])
        return list_diseases_of(loaded.model, loaded.questions, reports, card.scope, card.spec.labeler_id, verification)

    def _load(self) -> _Loaded:
        require_training()
        card = self._card
        questions = Questions(
            load_tokenizer(card.student), max_length=card.max_length, **load_student_prompt(card.prompt)
        )
        name, model = backend_name(), None
        if name == "transformers" or card.diseases is not None:
            model = load_student(card.student, self.folder, quantize=card.quantize)
        if name == "transformers":
            return _Loaded(model, model, questions)
        served = open_backend(name, card.student, self.folder, quantize=card.quantize, max_length=card.max_length)
        return _Loaded(served, model, questions)


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
    labeler = Labeler(**stored.pop("labeler"))
    if stored.get("diseases") is not None:
        labeler = lists_diseases(labeler, stored["diseases"])
    return StudentLabeler(path, _Card(labeler, calibration=fitted, **stored))


def lists_diseases(labeler: Labeler, how: Mapping[str, Any]) -> Labeler:
    """Return the labeler that a student is when it lists diseases too."""
    more = {"diseases": dict(how), "hedge_rules": hedge_rules_version()}
    return replace(labeler, parameters={**labeler.parameters, **more})


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
