"""Step 8, select: which predictions may come back as labels, with a guarantee.

For each finding and status, the lowest probability from which the calibration predictions of that class certify "at
most 5 % wrong, at 95 %" (see `conformal`: Learn-then-Test, valid for reports of one patient); where none does, none of
its predictions is taken. With no error among them, predictions of 59 patients certify it: 0.95 ** 59 < 0.05.

The promise is about predictions like those at hand, above the threshold, of a class. Two settings change it. `promise:
all` makes it for all classes at once: Holm's procedure over their sequences (Bretz et al. 2009, doi:10.1002/sim.3495).
`rare: pool` certifies the classes that have too few predictions to certify anything together, by status: then the 5 %
are promised of the group, not of each finding in it. Which classes those are follows from how many calibration
predictions they have, never from how many of these are right.

Two things the theory does not cover, `benchmarks/selection.py` does, which runs through the same code: the
probabilities were calibrated on the very reports that certify (two numbers a finding), and caps and budget take the
surest of what is certified, which are wrong less often only if the student's order is worth anything.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teachback.distill.config import SelectSettings
from teachback.distill.conformal import Ladder, climb_down, fewest_clusters, plan_ladder
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.statuses import knows_positives_only

__all__ = ["Certificate", "Selection", "certify", "class_shares", "select", "wrong"]

PRESENT = STATUSES.index("present")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What may be promised about one class (finding and status).

    Attributes:
        finding: The finding.
        status: The predicted status.
        threshold: Probability from which predictions are taken; None where no threshold is certified.
        accepted: Calibration predictions at or above it.
        errors: How many of those are wrong.
        candidates: Calibration predictions of the class.
        clusters: Patients, or texts, that those are of.
        group: The findings that were certified together with this one, and share all figures but these; none where it
            stands for itself.
    """

    finding: str
    status: str
    threshold: float | None
    accepted: int
    errors: int
    candidates: int
    clusters: int = 0
    group: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """The verdict on each prediction of the pool.

    Attributes:
        selected: (N, 13) bool.
        reasons: (N, 13) of text: why each was taken or refused.
        certificates: One per finding and status.
        promise: The settings that it was selected by; None where the caller kept them to itself.
    """

    selected: NDArray[np.bool_]
    reasons: NDArray[np.object_]
    certificates: tuple[Certificate, ...]
    promise: SelectSettings | None = None


def certify(
    probabilities: NDArray[np.float32],
    codes: NDArray[np.int8],
    truth: NDArray[np.int8],
    settings: SelectSettings,
    clusters: NDArray[np.int64] | None = None,
) -> dict[tuple[int, int], Certificate]:
    """Find each class's certified threshold on the calibration split.

    Args:
        probabilities: (N, 13, 4) calibrated probabilities.
        codes: (N, 13) decided statuses.
        truth: (N, 13) curated statuses; -1 where there is none.
        settings: What to promise.
        clusters: (N,) which reports belong together; each stands alone if not given.

    Returns:
        (finding index, status index) to its certificate.
    """
    members = np.arange(len(codes)) if clusters is None else clusters
    errors = wrong(codes, truth)
    delta = 1 - settings.confidence
    predictions = _predictions(probabilities, codes, truth, errors, members)
    groups = _groups(predictions, settings, delta)
    merged = [_merge([predictions[key] for key in group]) for group in groups]
    testable = sum(_count(of.clusters) >= fewest_clusters(settings.error, delta) for of in merged)
    share = delta / max(1, testable) if settings.promise == "all" else delta
    ladders = [plan_ladder(of.scores, of.doubts, of.clusters, settings.error, share) for of in merged]
    standing = _holm(ladders, merged, settings, delta)
    certificates = {}
    for group, ladder, (rung, mistakes) in zip(groups, ladders, standing, strict=True):
        together = tuple(FINDINGS[f] for f, _ in group) if len(group) > 1 else ()
        for f, s in group:
            certificates[f, s] = Certificate(
                finding=FINDINGS[f],
                status=STATUSES[s],
                threshold=None if rung < 0 else ladder.rungs[rung].threshold,
                accepted=0 if rung < 0 else ladder.rungs[rung].accepted,
                errors=mistakes,
                candidates=len(predictions[f, s].scores),
                clusters=_count(predictions[f, s].clusters),
                group=together,
            )
    return dict(sorted(certificates.items()))


def select(
    probabilities: NDArray[np.float32],
    codes: NDArray[np.int8],
    certificates: dict[tuple[int, int], Certificate],
    prior: NDArray[np.float64],
    budget: int,
    eligible: NDArray[np.bool_] | None = None,
    vetoes: NDArray[np.object_] | None = None,
) -> Selection:
    """Choose pseudo-labels from the pool.

    Args:
        probabilities: (N, 13, 4) calibrated probabilities of the pool.
        codes: (N, 13) decided statuses.
        certificates: From `certify`.
        prior: (13, 4) from `class_shares`: no class may be larger among the selected than it is there, or feedback
            would drift towards the easy classes.
        budget: The most labels to take in all.
        eligible: (N,) which reports may be taken; all of them if not given.
        vetoes: (N, 13) reasons for which a prediction may not be taken, however sure; empty text where there is none.

    Returns:
        The selection; within a class the surest come first. Over budget every class gives up the same share of its
        labels: by probability alone the easy classes, which are the absent ones, would leave no room for others.
    """
    may = np.ones(len(codes), bool) if eligible is None else eligible
    n = int(may.sum())
    selected = np.zeros(codes.shape, bool)
    reasons = np.full(codes.shape, "refused: kept for another round", object)
    place = np.zeros(codes.shape)  # of a label among those of its class, the surest at 0, the last at 1
    free = np.ones(codes.shape, bool) if vetoes is None else vetoes == ""
    if vetoes is not None:
        reasons[~free & may[:, None]] = vetoes[~free & may[:, None]]
    for (f, s), certificate in certificates.items():
        chosen = np.flatnonzero((codes[:, f] == s) & may & free[:, f])
        if certificate.threshold is None:
            reasons[chosen, f] = (
                f"refused: no threshold certified ({certificate.candidates} calibration predictions of this class)"
            )
            continue
        scores = probabilities[chosen, f, s]
        sure = chosen[scores >= certificate.threshold]
        reasons[chosen, f] = f"refused: probability below the certified {certificate.threshold:.3f}"
        order = sure[np.argsort(-probabilities[sure, f, s], kind="stable")]
        cap = int(np.ceil(prior[f, s] * n))
        reasons[order, f] = f"refused: the class is capped at its share, {cap} of {n}"
        taken = order[:cap]
        selected[taken, f] = True
        reasons[taken, f] = _praise(certificate)
        place[taken, f] = (np.arange(len(taken)) + 0.5) / max(1, len(taken))
    _keep_within(budget, selected, place, reasons)
    return Selection(selected, reasons, tuple(certificates.values()))


def wrong(codes: NDArray[np.int8], truth: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return which predictions are wrong.

    Where the curated labels know positives only (no absent and no uncertain among them, as with manual codes), a
    prediction is wrong when it is present and the code is not, or the other way round.
    """
    called, there = codes == PRESENT, truth == PRESENT
    mistaken: NDArray[np.bool_] = called != there if knows_positives_only(truth) else codes != truth
    return mistaken


def class_shares(teacher: NDArray[np.float64], truth: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return (13, 4) how large each class may be: its share among curated labels, or the teacher's where none tell.

    A teacher that reads less than the student names fewer findings than there are, so curated labels go before it;
    where these know positives only, that is so of `present` alone.

    Args:
        teacher: (13, 4) share of each status among the teacher's labels of each finding.
        truth: (N, 13) curated statuses of the calibration reports; -1 where there is none.
    """
    shares = teacher.copy()
    known = (truth >= 0).sum(axis=0)
    for s in (PRESENT,) if knows_positives_only(truth) else range(len(STATUSES)):
        shares[:, s] = np.where(known > 0, (truth == s).sum(axis=0) / np.maximum(known, 1), teacher[:, s])
    return shares


@dataclass(frozen=True, slots=True)
class _Predictions:
    """Calibration predictions of a class or a group: (N,) each."""

    scores: NDArray[np.float64]
    doubts: NDArray[np.float64]
    clusters: NDArray[np.int64]
    errors: NDArray[np.bool_]


def _predictions(
    probabilities: NDArray[np.float32],
    codes: NDArray[np.int8],
    truth: NDArray[np.int8],
    errors: NDArray[np.bool_],
    clusters: NDArray[np.int64],
) -> dict[tuple[int, int], _Predictions]:
    positives_only = knows_positives_only(truth)
    found = {}
    for f, s in np.ndindex(len(FINDINGS), len(STATUSES)):
        chosen = (codes[:, f] == s) & (truth[:, f] >= 0)
        given = probabilities[chosen, f].astype(np.float64)
        doubts = given[:, PRESENT] if positives_only and s != PRESENT else 1 - given[:, s]
        found[f, s] = _Predictions(given[:, s], doubts, clusters[chosen], errors[chosen, f])
    return found


def _groups(
    predictions: dict[tuple[int, int], _Predictions], settings: SelectSettings, delta: float
) -> list[list[tuple[int, int]]]:
    """Return which classes are certified together: each by itself, or the rare ones of a status as one.

    A class without a single prediction on calibration reports is no part of a group: nothing speaks for it.
    """
    fewest = fewest_clusters(settings.error, delta)
    rare = [key for key, of in predictions.items() if settings.rare == "pool" and 0 < _count(of.clusters) < fewest]
    alone = [[key] for key in predictions if key not in rare]
    pooled = [[key for key in rare if key[1] == s] for s in range(len(STATUSES))]
    return alone + [group for group in pooled if group]


def _merge(parts: list[_Predictions]) -> _Predictions:
    names = ("scores", "doubts", "clusters", "errors")
    return _Predictions(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _count(clusters: NDArray[np.int64]) -> int:
    return len(np.unique(clusters))


def _holm(
    ladders: list[Ladder], merged: list[_Predictions], settings: SelectSettings, delta: float
) -> list[tuple[int, int]]:
    """Climb down all ladders; where all are promised at once, one that ends leaves its share of delta to the others.

    Returns:
        For each ladder its last rung that passed, -1 for none, and the errors there.
    """
    share = delta / max(1, sum(bool(ladder.rungs) for ladder in ladders)) if settings.promise == "all" else delta
    while True:
        walks = [
            climb_down(ladder, of.errors, settings.error, share) for ladder, of in zip(ladders, merged, strict=True)
        ]
        ended = [
            bool(ladder.rungs) and len(walk) == len(ladder.rungs) for ladder, walk in zip(ladders, walks, strict=True)
        ]
        left = sum(bool(ladder.rungs) for ladder in ladders) - sum(ended)
        if settings.promise != "all" or not left or delta / left <= share:
            return [(len(walk) - 1, walk[-1] if walk else 0) for walk in walks]
        share = delta / left


def _praise(certificate: Certificate) -> str:
    together = f" in a group of {len(certificate.group)} rare classes" if certificate.group else ""
    return f"certified at {certificate.threshold:.3f}{together}: {certificate.errors} errors in {certificate.accepted}"


def _keep_within(
    budget: int, selected: NDArray[np.bool_], place: NDArray[np.float64], reasons: NDArray[np.object_]
) -> None:
    excess = int(selected.sum()) - budget
    if excess > 0:
        last = np.argsort(-np.where(selected, place, -np.inf), axis=None, kind="stable")[:excess]
        spots = np.unravel_index(last, selected.shape)
        selected[spots] = False
        reasons[spots] = f"refused: over the round's budget of {budget} pseudo-labels"
