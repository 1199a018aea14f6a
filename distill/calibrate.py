"""Step 5, calibrate: make the student's probabilities mean what they say, on curated labels it never trained on.

Platt scaling of `present` against the rest, per finding: p' = sigmoid(a * logit(p) + b). Findings are often too rare
for two numbers of their own, so each finding's (a, b) is drawn towards the pooled ones by a Gaussian prior, which a
rare finding obeys and a frequent one outvotes. The other three statuses share what is left in proportion.

The decision is `present` from a threshold on, the same for all findings, that maximises micro-F1 on the calibration
reports; F1's best threshold lies below 1/2 (Lipton et al. 2014, arXiv 1402.1892). Otherwise the likeliest other status.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Calibration", "expected_calibration_error", "fit_calibration"]

PRESENT = 0  # index of `present` in STATUSES
_PRIOR_A, _PRIOR_B = 8.0, 4.0  # precision of the prior that ties a finding's a and b to the pooled ones
_THRESHOLDS = np.linspace(0.2, 0.6, 41)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How raw probabilities become calibrated ones, and those a decision.

    Attributes:
        slopes: a of each of the 13 findings.
        offsets: b of each of the 13 findings.
        threshold: Calibrated probability from which a finding is called present.
    """

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    threshold: float

    def apply(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrate (N, 13, 4) probabilities; each distribution still sums to 1."""
        raw = np.clip(probabilities[..., PRESENT].astype(np.float64), 1e-6, 1 - 1e-6)
        present = _sigmoid(np.array(self.slopes) * np.log(raw / (1 - raw)) + np.array(self.offsets))
        scaled = probabilities.astype(np.float64) * ((1 - present) / (1 - raw))[..., None]
        scaled[..., PRESENT] = present
        calibrated: NDArray[np.float32] = (scaled / scaled.sum(-1, keepdims=True)).astype(np.float32)
        return calibrated

    def decide(self, calibrated: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return (N, 13) status codes for calibrated (N, 13, 4) probabilities."""
        others = calibrated[..., 1:].argmax(-1) + 1
        codes: NDArray[np.int8] = np.where(calibrated[..., PRESENT] >= self.threshold, PRESENT, others).astype(np.int8)
        return codes


def fit_calibration(probabilities: NDArray[np.float32], truth: NDArray[np.int8]) -> Calibration:
    """Fit on the calibration split.

    Args:
        probabilities: (N, 13, 4) raw probabilities.
        truth: (N, 13) curated status codes; -1 where there is none.

    Returns:
        The calibration; the identity with threshold 0.5 where nothing is curated.
    """
    known = truth >= 0
    findings = truth.shape[1]
    if not known.any():
        return Calibration((1.0,) * findings, (0.0,) * findings, 0.5)
    raw = np.clip(probabilities[..., PRESENT].astype(np.float64), 1e-6, 1 - 1e-6)
    scores, positive = np.log(raw / (1 - raw)), (truth == PRESENT).astype(np.float64)
    pooled = _platt(scores[known], positive[known], np.array([1.0, 0.0]), np.array([0.01, 0.01]))
    own = [
        _platt(scores[known[:, f], f], positive[known[:, f], f], pooled, np.array([_PRIOR_A, _PRIOR_B]))
        for f in range(findings)
    ]
    slopes, offsets = tuple(float(ab[0]) for ab in own), tuple(float(ab[1]) for ab in own)
    present = Calibration(slopes, offsets, 0.5).apply(probabilities)[..., PRESENT][known]
    return Calibration(slopes, offsets, _best_threshold(present, positive[known]))


def expected_calibration_error(probability: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float:
    """Return the expected calibration error over equal-width bins (Guo et al. 2017, arXiv 1706.04599)."""
    if not len(probability):
        return float("nan")
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [
        (bin_of == b).mean() * abs(probability[bin_of == b].mean() - right[bin_of == b].mean())
        for b in range(bins)
        if (bin_of == b).any()
    ]
    return float(sum(gaps))


def _platt(
    scores: NDArray[np.float64],
    positive: NDArray[np.float64],
    prior: NDArray[np.float64],
    precision: NDArray[np.float64],
    steps: int = 50,
) -> NDArray[np.float64]:
    """Fit (a, b) by Newton's method on the penalised log-likelihood, which is concave."""
    ab = prior.astype(np.float64).copy()
    features = np.stack([scores, np.ones_like(scores)], axis=1)
    for _ in range(steps):
        p = _sigmoid(features @ ab)
        gradient = features.T @ (p - positive) + precision * (ab - prior)
        hessian = (features * (p * (1 - p))[:, None]).T @ features + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        ab = ab - np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    ab[0] = max(ab[0], 0.05)  # a student's order is kept even where the calibration split contradicts it
    return ab


def _best_threshold(present: NDArray[np.float32], positive: NDArray[np.float64]) -> float:
    def f1(threshold: float) -> float:
        called = present >= threshold
        hits = float((called * positive).sum())
        return 2 * hits / max(1.0, float(called.sum() + positive.sum()))

    scored = np.array([f1(t) for t in _THRESHOLDS])
    # The curve is flat and noisy near its top: take the middle of all thresholds within 0.002 of the best.
    near = _THRESHOLDS[scored >= scored.max() - 0.002]
    return float(np.median(near))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(x, -40, 40)))
    return out
