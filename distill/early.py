"""Early stop: what a student still gets wrong on the calibration split, looked at while it trains.

At each checkpoint the student reads the calibration reports as it would in its round, is calibrated as it would be, and
its cross entropy of `present` against the curated labels is taken: what calibration cannot mend. A training stops after
so many looks without a lower one (`train.patience`), and the checkpoint of the lowest stands.

Looks select on the same reports that calibrate the student and certify its pseudo-labels, so those bounds become a
little too good; off unless asked for. The gate and the test split see nothing of it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import scoped_texts
from teachback.distill.calibration import PRESENT
from teachback.distill.config import CampaignSettings
from teachback.distill.passages import read_by_sentence
from teachback.distill.predict import predict_findings
from teachback.distill.questions import Questions
from teachback.distill.temperature import fit_temperatures
from teachback.store.report import Report

__all__ = ["CalibrationLook", "best_look", "out_of_patience"]

Looks = Sequence[tuple[int, float]]
_SMALLEST = 1e-6  # of a probability: one error that was as good as certain shall not decide


@dataclass(frozen=True, slots=True)
class CalibrationLook:
    """Looks at a student in training.

    Attributes:
        reports: The calibration split.
        truth: (N, 13) curated codes of those that have something to read; -1 where unknown.
        questions: The student's questions.
        settings: Unit and scope of reading.
    """

    reports: tuple[Report, ...]
    truth: NDArray[np.int8]
    questions: Questions
    settings: CampaignSettings

    def __call__(self, model: Any) -> float:
        """Return the mean cross entropy of `present` on the curated labels, in nats, after calibration."""
        readable = [report for report in self.reports if report.text(self.settings.scope)]
        model.eval()
        if self.settings.unit == "sentence":
            read = read_by_sentence(readable, self.settings.scope, lambda texts: self._score(model, texts))
            raw = read.probabilities
        else:
            raw = self._score(model, scoped_texts(readable, self.settings)[1])
        model.train()
        known = self.truth >= 0
        if not known.any():
            return float("nan")
        present = fit_temperatures(raw, self.truth).apply(raw)[..., PRESENT][known].astype(np.float64)
        right = np.where((self.truth == PRESENT)[known], present, 1 - present)
        return float(-np.log(np.maximum(right, _SMALLEST)).mean())

    def _score(self, model: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        # What is cut on this way, over and over, shall not be counted with what training cuts.
        return predict_findings(model, copy.copy(self.questions), texts)


def best_look(looks: Looks) -> int:
    """Return the step of the lowest loss, the first if several have it."""
    return min(looks, key=lambda look: (look[1], look[0]))[0]


def out_of_patience(looks: Looks, patience: int) -> bool:
    """Say whether so many looks have come since the best one."""
    return bool(looks) and sum(step > best_look(looks) for step, _ in looks) >= patience
