"""Simulated rounds for `gate.py`: a gate split, a champion on it, and candidates whose true quality is known.

What is real: the share of each status of each finding (MIMIC-CXR's, as in the synthetic corpus; Pleural Other at the
0.3 % that a gate of it had), 1.3 reports a patient, the champion's micro-F1, and how many of their mistakes two
students of the same teacher share: over rounds and arms of the demo with three seeds 64 % to 90 %, mostly 75 % to 80 %.
What is made up: that every mistake is a threshold on normal luck, part of it the report's, the same for all students.

A student is its law: the chance to miss a finding, and the chance to call it where it is not. So its true F1 needs no
draw. Its probabilities are those that the law implies for what it saw: it is calibrated.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from teachback.store.corpora.synthetic.prevalence import TARGETS
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["Split", "Student", "change", "draw_champion", "draw_split", "read", "shift_to", "true_f1"]

PRESENT, UNMENTIONED = STATUSES.index("present"), STATUSES.index("unmentioned")
SHARES = np.array(
    [(t.present, t.absent, t.uncertain, 1 - t.present - t.absent - t.uncertain) for t in TARGETS.values()]
)
SHARES[FINDINGS.index("Pleural Other")] = (0.003, 0.020, 0.006, 0.971)
_VISITS, _VISIT_SHARES = (1, 2, 3, 4), (0.80, 0.13, 0.05, 0.02)  # 1.3 reports a patient
_KEEPS_STATUS = 0.6  # share of a patient's statuses that are drawn once for all its reports
_PATIENT = 0.5  # share of luck that all reports of a patient have in common
_REPORT = 0.96  # share of luck that all students have in common: equal students then share 78 % of their mistakes

# A student: (13, 4) chance to misread each status as present, or as not present where it is.
Student = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Split:
    """N reports: (N, 13) curated codes, (N,) patients, and (N, 13) luck that no student escapes."""

    truth: NDArray[np.int8]
    patients: NDArray[np.int64]
    luck: NDArray[np.float64]


def draw_split(random: np.random.Generator, reports: int) -> Split:
    """Draw patients until there are so many reports."""
    patients = np.repeat(np.arange(reports), random.choice(_VISITS, size=reports, p=_VISIT_SHARES))[:reports]
    shape = (reports, len(FINDINGS))
    own, common = random.random(shape), random.random(shape)[patients]
    uniform = np.where(random.random(shape) < _KEEPS_STATUS, common, own)
    truth = (uniform[..., None] > SHARES.cumsum(axis=1)[None, :, :-1]).sum(-1)
    return Split(truth.astype(np.int8), patients, _luck(random, patients))


def draw_champion(random: np.random.Generator, f1: float) -> Student:
    """Draw a student of some true micro-F1: better at some findings than at others, hedges called most often."""
    misses = 0.1 * random.lognormal(0.0, 0.5, len(FINDINGS))
    called = misses * random.lognormal(0.1, 0.3, len(FINDINGS)) * SHARES[:, PRESENT] / (1 - SHARES[:, PRESENT])
    student = np.stack([misses, called, 5 * called, called], axis=1)
    return shift_to(np.clip(student, 1e-5, 0.5), f1)


def true_f1(student: Student) -> float:
    """Return a student's micro-F1 on infinitely many reports."""
    hits = (SHARES[:, PRESENT] * (1 - student[:, PRESENT])).sum()
    false = (SHARES[:, 1:] * student[:, 1:]).sum()
    return float(2 * hits / (hits + false + SHARES[:, PRESENT].sum()))


def change(student: Student, misses: float | NDArray[np.float64], calls: float | NDArray[np.float64]) -> Student:
    """Shift the log-odds of missing, and those of calling what is not there; numbers or (13,)."""
    shifts = np.empty(student.shape)
    shifts[:, PRESENT] = misses
    shifts[:, 1:] = np.broadcast_to(calls, len(FINDINGS))[:, None]
    return np.asarray(expit(logit(student) + shifts))


def shift_to(student: Student, f1: float) -> Student:
    """Shift all log-odds alike until the student's true micro-F1 is as asked."""
    return change(student, *(2 * [_bisect(lambda by: true_f1(change(student, by, by)), f1)]))


def read(random: np.random.Generator, student: Student, split: Split) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Let a student read a split.

    Returns:
        (N, 13) status codes and (N, 13) probabilities of `present`.
    """
    luck = np.sqrt(_REPORT) * split.luck + np.sqrt(1 - _REPORT) * _luck(random, split.patients)
    bounds = ndtri(student)  # misread where luck is below
    over = luck - np.take_along_axis(bounds[None], split.truth[..., None].astype(int), axis=-1)[..., 0]
    calls = (split.truth == PRESENT) == (over >= 0)
    # What it knows: whether it calls, and how far its luck was from its bound.
    sides = np.where(np.arange(4) == PRESENT, 1.0, -1.0) * np.where(calls, 1.0, -1.0)[..., None]
    densities = SHARES * np.exp(-((bounds + sides * np.abs(over)[..., None]) ** 2) / 2)
    probability = densities[..., PRESENT] / densities.sum(axis=-1)
    silent = np.where(split.truth == PRESENT, UNMENTIONED, split.truth)
    return np.where(calls, PRESENT, silent).astype(np.int8), probability


def _luck(random: np.random.Generator, patients: NDArray[np.int64]) -> NDArray[np.float64]:
    shape = (len(patients), len(FINDINGS))
    common, own = random.normal(size=shape)[patients], random.normal(size=shape)
    return np.asarray(np.sqrt(_PATIENT) * common + np.sqrt(1 - _PATIENT) * own)


def _bisect(f1_at: Callable[[float], float], wanted: float) -> float:
    """Find the shift of log-odds that gives a micro-F1; F1 falls as errors rise."""
    low, high = -8.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if f1_at(middle) > wanted else (low, middle)
    return (low + high) / 2
