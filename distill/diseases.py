"""The diseases that a student lists: each with its words in the report, and how sure the student is of it.

The list is read as an LLM teacher's is (`agents/label_reading.py`): quotes are looked up in the report and marked where
they are not found, hedged and negated diseases are not `present`, codes are looked up. How sure a student is it says in
a second pass: behind the report stands one question a disease, to be answered with yes or no, and the confidence is
P(yes) / (P(yes) + P(no)), calibrated on the calibration split where diseases are curated there: Platt's two parameters,
fitted on whether what it lists is in the curated list (by name or synonym, or of the same ICD-10 category).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.agents.label_reading import disease_labels
from teachback.distill.predict import verify_diseases, write_diseases
from teachback.distill.questions import Questions
from teachback.store.label import Label
from teachback.store.quality.diseases import Disease, icd_category
from teachback.store.quality.synonyms import concept_of
from teachback.store.report import Report, Scope

__all__ = ["Verification", "fit_verification", "is_curated", "list_diseases_of", "verification_from"]

FEWEST = 30  # listed diseases that a calibration is fitted on
_RIDGE = 1.0  # pulls towards no change at all; as strong as one disease
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Verification:
    """How P(yes) becomes a confidence: sigmoid(slope * logit + shift).

    Attributes:
        slope: Above 0.
        shift: In log-odds.
        fitted_on: Listed diseases of the calibration split behind it; 0 for none.
    """

    slope: float = 1.0
    shift: float = 0.0
    fitted_on: int = 0

    def apply(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the confidence of each probability of yes."""
        return _sigmoid(self.slope * _logit(probabilities) + self.shift)

    @property
    def note(self) -> str:
        """What a label's confidence note says of it."""
        if not self.fitted_on:
            return "yes or no, not calibrated: too few curated diseases"
        return f"yes or no, calibrated on {self.fitted_on} listed diseases"

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def fit_verification(probabilities: NDArray[np.floating], right: NDArray[np.bool_]) -> Verification:
    """Fit by Newton's method with a small ridge towards no change; too few or all alike give no change.

    Args:
        probabilities: (N,) P(yes) of listed diseases.
        right: (N,) whether each is in the curated list.
    """
    n = len(right)
    if n < FEWEST or right.all() or not right.any():
        return Verification()
    features = np.stack([_logit(probabilities), np.ones(n)], axis=1)
    start = np.array([1.0, 0.0])
    weights = start.copy()
    for _ in range(50):
        p = _sigmoid(features @ weights)
        gradient = features.T @ (p - right) + _RIDGE * (weights - start)
        curvature = (features * (p * (1 - p))[:, None]).T @ features + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    return Verification(max(float(weights[0]), _EDGE), float(weights[1]), n)


def list_diseases_of(
    model: Any,
    questions: Questions,
    reports: Sequence[Report],
    scope: Scope,
    labeler_id: str,
    verification: Verification | None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[list[Label]]:
    """Return the diseases of each report as labels.

    Args:
        model: The student.
        questions: Its questions.
        reports: N reports; one without a section of the scope has none.
        scope: What it reads.
        labeler_id: Who labels.
        verification: How sure it is becomes the label's confidence; None asks for none.
        progress: Called with the number of reports since the last call.
    """
    labels: list[list[Label]] = [[] for _ in reports]
    readable = [i for i, report in enumerate(reports) if report.text(scope)]
    texts, sections = [reports[i].text(scope) for i in readable], [reports[i].scoped(scope) for i in readable]
    for i, of, written in zip(
        readable, sections, write_diseases(model, questions, sections, texts, progress), strict=True
    ):
        labels[i] = disease_labels(written.entries, reports[i].report_id, of, labeler_id, scope)
        if written.cut:
            labels[i] = [label.changed(confidence_note=f"{label.confidence_note}; {_CUT}") for label in labels[i]]
    if verification is None:
        return labels
    sure = verify_diseases(model, questions, texts, [[label.target for label in labels[i]] for i in readable])
    for i, of_yes in zip(readable, sure, strict=True):
        labels[i] = [_sure(label, p, verification) for label, p in zip(labels[i], of_yes, strict=True)]
    return labels


def is_curated(label: Label, curated: Sequence[Disease]) -> bool:
    """Whether a listed disease is in a curated list, by name, synonym or ICD-10 category."""
    concepts = {concept_of(phrase) for phrase, _ in curated}
    categories = {category for _, code in curated if (category := icd_category(code))}
    return concept_of(label.target) in concepts or icd_category(label.icd10) in categories


_CUT = "the list broke off"


def _sure(label: Label, p_yes: float, verification: Verification) -> Label:
    # Of a disease that its words deny, the confidence is in that status.
    yes = float(verification.apply(np.array([p_yes]))[0])
    confidence = yes if label.status == "present" else 1 - yes
    note = verification.note + ("; " + _CUT if label.confidence_note.endswith(_CUT) else "")
    return label.changed(
        confidence=round(min(1.0, max(0.0, confidence)), 6),
        confidence_source="logprob",
        confidence_note=note,
    )


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return (1 + np.tanh(x / 2)) / 2  # 1 / (1 + exp(-x)), without its overflow


def _logit(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    p = np.clip(np.asarray(probabilities, np.float64), _EDGE, 1 - _EDGE)
    return np.log(p / (1 - p))


def verification_from(stored: Mapping[str, Any] | None) -> Verification | None:
    """Read a verification back."""
    return None if stored is None else Verification(**stored)
