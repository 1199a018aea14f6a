"""Isotonic calibration of one finding: the rising curve from a student's score to how often it is right.

Isotonic regression by pool-adjacent-violators (Ayer et al. 1955, doi:10.1214/aoms/1177728423), for probabilities as in
Zadrozny and Elkan 2002 (doi:10.1145/775047.775151). Two departures. A finding with few labels cannot carry a curve of
its own: what is regressed is not the label alone but its mean with the finding's temperature fit, which is itself drawn
to the pooled one; the rarer the finding, the more of the mean is the fit, and the curve becomes it. And the steps of
the textbook are joined: between the middles of two steps the curve rises straight, so that scores keep their order.

Scores and values are log-odds, in which a temperature fit is a straight line.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from teachback.distill.calibration import PRESENT, Calibration, Curve, log_odds

__all__ = ["fit_curve", "fit_curves", "rising_means", "trust"]

TRUSTED_HALF = 20.0  # of the rarer kind, positives or negatives: labels with which curve and fit count the same
_NEAREST = 0.15  # log-odds: corners of a curve that are nearer to each other are one
_EPSILON = 1e-6

Floats = NDArray[np.float64]


def fit_curves(
    fitted: Calibration, probabilities: NDArray[np.float32], truth: NDArray[np.int8], curved: Iterable[int]
) -> Calibration:
    """Give findings an isotonic curve, where they have labels of both kinds.

    Args:
        fitted: Their temperatures, fitted on the same labels.
        probabilities: (N, 13, 4) raw probabilities.
        truth: (N, 13) curated status codes; -1 where there is none.
        curved: Which findings, by their place.
    """
    scores, present = log_odds(probabilities), fitted.apply(probabilities)[..., PRESENT].astype(np.float64)
    curves: list[Curve | None] = [None] * truth.shape[1]
    for finding in curved:
        known = truth[:, finding] >= 0
        positive = (truth[known, finding] == PRESENT).astype(np.float64)
        curves[finding] = fit_curve(scores[known, finding], positive, present[known, finding])
    has_one = any(curve is not None for curve in curves)
    return Calibration(fitted.slopes, fitted.offsets, fitted.threshold, tuple(curves) if has_one else ())


def trust(positive: Floats) -> float:
    """Return what share of a curve is the labels' own, by how many there are of the rarer kind."""
    rarer = float(min(positive.sum(), (1 - positive).sum()))
    return rarer / (rarer + TRUSTED_HALF)


def fit_curve(scores: Floats, positive: Floats, fitted: Floats) -> Curve | None:
    """Fit one finding's curve.

    Args:
        scores: (N,) log-odds that the student gave.
        positive: (N,) 1 where the finding is present, else 0.
        fitted: (N,) probabilities of the finding's temperature fit.

    Returns:
        The curve; None where there are no labels of one kind, so that only the fit can speak.
    """
    share = trust(positive)
    if share == 0.0:
        return None
    means, centres = rising_means(scores, share * positive + (1 - share) * fitted)
    inside = np.clip(means, _EPSILON, 1 - _EPSILON)
    values = np.log(inside / (1 - inside))
    kept = _corners(values)
    return Curve(tuple(round(float(centres[k]), 6) for k in kept), tuple(round(float(values[k]), 6) for k in kept))


def rising_means(scores: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Regress targets on scores by a function that never falls.

    Returns:
        The mean target of each step, rising, and the mean score of each step.
    """
    distinct, place = np.unique(scores, return_inverse=True)
    weights = np.bincount(place).astype(np.float64)
    sums = np.bincount(place, weights=targets)
    steps: list[list[float]] = []  # weight, sum of targets, sum of scores
    for weight, total, score in zip(weights, sums, distinct, strict=True):
        steps.append([weight, total, weight * score])
        while len(steps) > 1 and steps[-2][1] * steps[-1][0] >= steps[-1][1] * steps[-2][0]:
            last = steps.pop()
            steps[-1] = [a + b for a, b in zip(steps[-1], last, strict=True)]
    table = np.array(steps)
    return table[:, 1] / table[:, 0], table[:, 2] / table[:, 0]


def _corners(values: Floats) -> list[int]:
    """Leave out corners so near to the last one kept that a straight line reads the same; the ends stay."""
    kept = [0]
    for corner in range(1, len(values) - 1):
        if values[corner + 1] - values[kept[-1]] >= _NEAREST:
            kept.append(corner)
    return kept if len(values) == 1 else [*kept, len(values) - 1]
