"""Which findings get an isotonic curve: those whose held-out log loss it is shown to lower.

Both calibrations are fitted on four fifths of the calibration reports and asked about the last fifth, five times over.
A finding gets the curve if its mean log loss falls by more than one standard error of the difference (the rule of one
standard error, Breiman et al. 1984, chapter 3): the curve is the richer model, and a gain within the noise is none. A
finding with too few labels of either kind to tell keeps its temperature, which is drawn to the pooled one.

Reports with one text have one row of probabilities. They stay in one fold, or a curve would be asked what it was told.
"""

import numpy as np
from numpy.typing import NDArray

from teachback.distill.calibration import PRESENT, Calibration
from teachback.distill.isotonic import fit_curves
from teachback.distill.temperature import fit_temperatures

__all__ = ["FEWEST", "choose_isotonic", "folds_of", "held_out_losses"]

FOLDS = 5
FEWEST = 20  # labels of each kind, present and not, below which nothing is chosen
_EPSILON = 1e-6

Floats = NDArray[np.float64]


def choose_isotonic(probabilities: NDArray[np.float32], truth: NDArray[np.int8], *, seed: int = 0) -> list[int]:
    """Return the findings, by their place, that an isotonic curve suits better than a temperature.

    Args:
        probabilities: (N, 13, 4) raw probabilities.
        truth: (N, 13) curated status codes; -1 where there is none.
        seed: Of the folds.
    """
    folds = folds_of(probabilities, seed)
    if folds.max(initial=0) + 1 < FOLDS:
        return []
    temperature, isotonic = held_out_losses(probabilities, truth, folds)
    chosen = []
    for finding in range(truth.shape[1]):
        known = truth[:, finding] >= 0
        present = int((truth[known, finding] == PRESENT).sum())
        if min(present, int(known.sum()) - present) < FEWEST:
            continue
        gain = temperature[known, finding] - isotonic[known, finding]
        if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
            chosen.append(finding)
    return chosen


def folds_of(probabilities: NDArray[np.float32], seed: int = 0) -> NDArray[np.int64]:
    """Return (N,) the fold of each report; reports with equal probabilities are in one."""
    if not len(probabilities):
        return np.zeros(0, np.int64)
    _, text = np.unique(probabilities.reshape(len(probabilities), -1), axis=0, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(int(text.max()) + 1)
    folds: NDArray[np.int64] = (drawn % FOLDS)[text.ravel()]
    return folds


def held_out_losses(
    probabilities: NDArray[np.float32], truth: NDArray[np.int8], folds: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return (N, 13) log losses of temperature and of isotonic curves, each fitted without the report's fold."""
    losses = np.zeros((2, *truth.shape))
    for fold in range(FOLDS):
        out = folds == fold
        if not (truth[~out] >= 0).any() or not out.any():
            continue
        fitted = fit_temperatures(probabilities[~out], truth[~out])
        curved = fit_curves(fitted, probabilities[~out], truth[~out], range(truth.shape[1]))
        for place, calibration in enumerate((fitted, curved)):
            losses[place, out] = _log_loss(calibration, probabilities[out], truth[out])
    return losses[0], losses[1]


def _log_loss(calibration: Calibration, probabilities: NDArray[np.float32], truth: NDArray[np.int8]) -> Floats:
    present = np.clip(calibration.apply(probabilities)[..., PRESENT].astype(np.float64), _EPSILON, 1 - _EPSILON)
    loss: Floats = -np.where(truth == PRESENT, np.log(present), np.log(1 - present))
    return loss
