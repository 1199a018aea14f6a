"""Platt scaling of each finding, drawn to the pooled fit: a temperature and an offset, for rare findings too."""

import numpy as np
from numpy.typing import NDArray

from teachback.distill.calibration import PRESENT, Calibration, log_odds, sigmoid

__all__ = ["fit_temperatures"]

_PRIOR_A, _PRIOR_B = 8.0, 4.0  # precision of the prior that ties a finding's a and b to the pooled ones


def fit_temperatures(probabilities: NDArray[np.float32], truth: NDArray[np.int8]) -> Calibration:
    """Fit a and b of each finding, with a threshold of 0.5; something must be curated."""
    known = truth >= 0
    scores, positive = log_odds(probabilities), (truth == PRESENT).astype(np.float64)
    pooled = _platt(scores[known], positive[known], np.array([1.0, 0.0]), np.array([0.01, 0.01]))
    own = [
        _platt(scores[known[:, f], f], positive[known[:, f], f], pooled, np.array([_PRIOR_A, _PRIOR_B]))
        for f in range(truth.shape[1])
    ]
    return Calibration(tuple(float(ab[0]) for ab in own), tuple(float(ab[1]) for ab in own), 0.5)


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
        p = sigmoid(features @ ab)
        gradient = features.T @ (p - positive) + precision * (ab - prior)
        hessian = (features * (p * (1 - p))[:, None]).T @ features + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        ab = ab - np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    ab[0] = max(ab[0], 0.05)  # a student's order is kept even where the calibration split contradicts it
    return ab
