"""Simulated rounds for `selection.py`: a student's predictions on calibration reports and on a pool, with the truth.

What is real: the share of each status of each finding (MIMIC-CXR's, as in the synthetic corpus), how many reports a
patient has (the same source's visits), and all code from the raw probabilities on. What is made up: how a student
errs. It misreads some findings more than others; a patient's reports are misread together more often than not, and
share most statuses; its probabilities rank its mistakes more or less well, and are mostly too sure of themselves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teachback.store.corpora.synthetic.prevalence import TARGETS
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["SHARES", "Batch", "SimulatedStudent", "draw_student", "predict"]

_KEEPS_STATUS = 0.6  # share of a patient's statuses that are drawn once for all reports
_SAME_SCORE = 0.8  # share of a patient's probabilities that are the same in all reports, at the bound
_VISITS = (0.62, 0.18, 0.11, 0.06, 0.03)  # share of patients with 1, 2, 3, 4 and 6 reports
_VISIT_COUNTS = (1, 2, 3, 4, 6)

SHARES = np.array(
    [(t.present, t.absent, t.uncertain, 1 - t.present - t.absent - t.uncertain) for t in TARGETS.values()]
)


@dataclass(frozen=True, slots=True)
class SimulatedStudent:
    """How a student errs.

    Attributes:
        misreads: (13, 4) probability with which it misreads each true status.
        together: Share of a patient's misreadings that all of the patient's reports share.
        insight: By how much its margin is lower where it misreads.
        slopes: (13,) by how much it overrates (above 1) its margin.
        offsets: (13,) what it adds to it.
    """

    misreads: NDArray[np.float64]
    together: float
    insight: float
    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Reports with what the student says of them: (N, 13, 4) raw probabilities, (N, 13) truth, (N,) patients."""

    raw: NDArray[np.float32]
    truth: NDArray[np.int8]
    patients: NDArray[np.int64]


def draw_student(random: np.random.Generator) -> SimulatedStudent:
    """Draw a student: from one that misreads some 3 % of its findings to one that misreads 25 %."""
    quality = random.uniform(0.03, 0.25)
    by_status = np.array([1.6, 0.8, 2.5, 0.7])  # hedges are the hardest, silence the easiest
    misreads = quality * random.lognormal(0.0, 0.6, (len(FINDINGS), 1)) * by_status
    return SimulatedStudent(
        misreads=np.clip(misreads, 0.002, 0.5),
        together=random.uniform(0.3, 0.9),
        insight=random.uniform(0.5, 3.5),
        slopes=random.lognormal(0.5, 0.5, len(FINDINGS)),
        offsets=random.normal(0.0, 0.4, len(FINDINGS)),
    )


def predict(random: np.random.Generator, student: SimulatedStudent, reports: int) -> Batch:
    """Draw patients until there are so many reports, and let the student read them."""
    patients = _patients(random, reports)
    shape = (reports, len(FINDINGS))
    truth = _statuses(_shared(random, patients, np.full(shape, _KEEPS_STATUS)))
    luck = _shared(random, patients, np.full(shape, student.together))
    misread = luck < np.take_along_axis(student.misreads[None], truth[..., None], axis=-1)[..., 0]
    other = _statuses(random.random(shape))
    read = np.where(misread, np.where(other == truth, len(STATUSES) - 1, other), truth)
    misread = read != truth
    margin = random.normal(4.0, 1.5, shape) - student.insight * misread
    sure = 1 / (1 + np.exp(-(student.slopes * margin / 1.5 + student.offsets)))
    raw = random.dirichlet([0.7] * len(STATUSES), size=shape)
    np.put_along_axis(raw, read[..., None], 0.0, axis=-1)
    raw *= ((1 - sure) / np.maximum(raw.sum(-1), 1e-12))[..., None]
    np.put_along_axis(raw, read[..., None], sure[..., None], axis=-1)
    return Batch(raw.astype(np.float32), truth.astype(np.int8), patients)


def _patients(random: np.random.Generator, reports: int) -> NDArray[np.int64]:
    visits = random.choice(_VISIT_COUNTS, size=reports, p=_VISITS)
    return np.repeat(np.arange(reports), visits)[:reports]


def _shared(
    random: np.random.Generator, patients: NDArray[np.int64], keeps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return uniform numbers, some of them the same for all reports of a patient."""
    own, common = random.random(keeps.shape), random.random((patients.max() + 1, keeps.shape[1]))
    return np.where(random.random(keeps.shape) < keeps, common[patients], own)


def _statuses(uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    return (uniform[..., None] > SHARES.cumsum(axis=1)[None, :, :-1]).sum(-1)


def predict_at_the_bound(random: np.random.Generator, reports: int, error: float) -> Batch:
    """Let a student say `absent` of everything, wrong as often as told, a patient's reports all together.

    Its probabilities say nothing of its mistakes, differ from patient to patient, and lie where it would be right to be
    sure.
    """
    patients = _patients(random, reports)
    shape = (reports, len(FINDINGS))
    mistaken = random.random((patients.max() + 1, len(FINDINGS)))[patients] < error
    absent, unmentioned = STATUSES.index("absent"), STATUSES.index("unmentioned")
    sure = _shared(random, patients, np.full(shape, _SAME_SCORE)) / 10 + 0.9
    raw = np.repeat(((1 - sure) / (len(STATUSES) - 1))[..., None], len(STATUSES), axis=-1)
    raw[..., absent] = sure
    return Batch(raw.astype(np.float32), np.where(mistaken, unmentioned, absent).astype(np.int8), patients)
