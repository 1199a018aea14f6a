"""Step 8, select: which predictions may come back as labels, with a guarantee.

Learn-then-Test by fixed-sequence testing (Angelopoulos et al. 2021, arXiv 2110.01052), for each finding and status:
sort the calibration predictions of that class by probability, start at the strictest threshold that keeps enough of
them to certify anything, and lower it as long as the binomial test still rejects "the error is above the bound". The
last threshold that passed is the class's; where none passes, none of its predictions is taken. With no error among
them, 59 predictions certify 5 % at 95 %: 0.95 ** 59 < 0.05.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teachback.distill.config import SelectSettings
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["Certificate", "Selection", "certify", "select", "wrong"]

GRID = 40  # thresholds tested per class, at quantiles of its scores


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
    """

    finding: str
    status: str
    threshold: float | None
    accepted: int
    errors: int
    candidates: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The verdict on each prediction of the pool.

    Attributes:
        selected: (N, 13) bool.
        reasons: (N, 13) of text: why each was taken or refused.
        certificates: One per finding and status that was predicted at all.
    """

    selected: NDArray[np.bool_]
    reasons: NDArray[np.object_]
    certificates: tuple[Certificate, ...]


def certify(
    probabilities: NDArray[np.float32],
    codes: NDArray[np.int8],
    truth: NDArray[np.int8],
    settings: SelectSettings,
) -> dict[tuple[int, int], Certificate]:
    """Find each class's certified threshold on the calibration split.

    Args:
        probabilities: (N, 13, 4) calibrated probabilities.
        codes: (N, 13) decided statuses.
        truth: (N, 13) curated statuses; -1 where there is none.
        settings: The error and the confidence to certify.

    Returns:
        (finding index, status index) to its certificate.
    """
    certificates = {}
    errors = wrong(codes, truth)
    for f, finding in enumerate(FINDINGS):
        for s, status in enumerate(STATUSES):
            chosen = (codes[:, f] == s) & (truth[:, f] >= 0)
            threshold, accepted, mistakes = _lowest_certified(
                probabilities[chosen, f, s].astype(np.float64), errors[chosen, f], settings
            )
            certificates[f, s] = Certificate(finding, status, threshold, accepted, mistakes, int(chosen.sum()))
    return certificates


def select(
    probabilities: NDArray[np.float32],
    codes: NDArray[np.int8],
    certificates: dict[tuple[int, int], Certificate],
    prior: NDArray[np.float64],
    budget: int,
    eligible: NDArray[np.bool_] | None = None,
) -> Selection:
    """Choose pseudo-labels from the pool.

    Args:
        probabilities: (N, 13, 4) calibrated probabilities of the pool.
        codes: (N, 13) decided statuses.
        certificates: From `certify`.
        prior: (13, 4) share of each status among the teacher's labels of each finding: no class may be larger among
            the selected than the teacher has it among all, or feedback would drift towards the easy classes.
        budget: The most labels to take in all.
        eligible: (N,) which reports may be taken; all of them if not given.

    Returns:
        The selection; within a class the surest come first.
    """
    may = np.ones(len(codes), bool) if eligible is None else eligible
    n = int(may.sum())
    selected = np.zeros(codes.shape, bool)
    reasons = np.full(codes.shape, "refused: kept for another round", object)
    margin = np.full(codes.shape, -np.inf)
    for (f, s), certificate in certificates.items():
        chosen = np.flatnonzero((codes[:, f] == s) & may)
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
        reasons[order, f] = f"refused: the class is capped at the teacher's share, {cap} of {n}"
        taken = order[:cap]
        selected[taken, f] = True
        reasons[taken, f] = (
            f"certified at {certificate.threshold:.3f}: {certificate.errors} errors in {certificate.accepted}"
        )
        margin[taken, f] = (probabilities[taken, f, s] - certificate.threshold) / (1 - certificate.threshold + 1e-9)
    _keep_within(budget, selected, margin, reasons)
    return Selection(selected, reasons, tuple(certificates.values()))


def wrong(codes: NDArray[np.int8], truth: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return which predictions are wrong.

    Where the curated labels know positives only (no absent and no uncertain among them, as with manual codes), a
    prediction is wrong when it is present and the code is not, or the other way round.
    """
    positives_only = not np.isin(truth, (1, 2)).any()
    mistaken: NDArray[np.bool_] = (codes == 0) != (truth == 0) if positives_only else codes != truth
    return mistaken


def _keep_within(
    budget: int, selected: NDArray[np.bool_], margin: NDArray[np.float64], reasons: NDArray[np.object_]
) -> None:
    excess = int(selected.sum()) - budget
    if excess > 0:
        weakest = np.argsort(np.where(selected, margin, np.inf), axis=None, kind="stable")[:excess]
        spots = np.unravel_index(weakest, selected.shape)
        selected[spots] = False
        reasons[spots] = f"refused: over the round's budget of {budget} pseudo-labels"


def _lowest_certified(
    scores: NDArray[np.float64], errors: NDArray[np.bool_], settings: SelectSettings
) -> tuple[float | None, int, int]:
    from scipy.stats import binom

    delta = 1 - settings.confidence
    fewest = int(np.ceil(np.log(delta) / np.log(1 - settings.error)))
    if len(scores) < fewest:
        return None, 0, 0
    ranked = np.sort(scores)[::-1]
    sizes = np.unique(np.linspace(fewest, len(scores), GRID).astype(int))
    best: tuple[float | None, int, int] = (None, 0, 0)
    for size in sizes:
        threshold = ranked[size - 1]
        kept = scores >= threshold
        mistakes = int(errors[kept].sum())
        if binom.cdf(mistakes, int(kept.sum()), settings.error) > delta:
            break
        best = (float(threshold), int(kept.sum()), mistakes)
    return best
