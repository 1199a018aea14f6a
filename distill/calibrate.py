"""Step 5, calibrate: make the student's probabilities mean what they say, on curated labels it never trained on.

Platt scaling of `present` against the rest, per finding: p' = sigmoid(a * logit(p) + b). Findings are often too rare
for two numbers of their own, so each finding's (a, b) is drawn towards the pooled ones by a Gaussian prior, which a
rare finding obeys and a frequent one outvotes. The other three statuses share what is left in proportion.

A finding whose probabilities do not lie on such a line may have an isotonic curve instead (`isotonic`), by the setting
or where cross-validation shows that it predicts better (`calibrate_choice`).

The decision is `present` from a threshold on, the same for all findings, that maximises micro-F1 on the calibration
reports; F1's best threshold lies below 1/2 (Lipton et al. 2014, arXiv 1402.1892). Otherwise the likeliest other status.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from teachback.distill.calibrate_choice import choose_isotonic
from teachback.distill.calibration import PRESENT, Calibration
from teachback.distill.isotonic import fit_curves
from teachback.distill.temperature import fit_temperatures

__all__ = ["Calibration", "Method", "expected_calibration_error", "fit_calibration"]

Method = Literal["temperature", "isotonic", "auto"]

_THRESHOLDS = np.linspace(0.2, 0.6, 41)


def fit_calibration(
    probabilities: NDArray[np.float32], truth: NDArray[np.int8], method: Method = "temperature"
) -> Calibration:
    """Fit on the calibration split.

    Args:
        probabilities: (N, 13, 4) raw probabilities.
        truth: (N, 13) curated status codes; -1 where there is none.
        method: `temperature`, `isotonic`, or `auto`: isotonic for the findings that cross-validation shows it to suit.

    Returns:
        The calibration; the identity with threshold 0.5 where nothing is curated.
    """
    known = truth >= 0
    findings = truth.shape[1]
    if not known.any():
        return Calibration((1.0,) * findings, (0.0,) * findings, 0.5)
    fitted = fit_temperatures(probabilities, truth)
    curved: Sequence[int] = range(findings)
    if method == "auto":
        curved = choose_isotonic(probabilities, truth)
    if method != "temperature":
        fitted = fit_curves(fitted, probabilities, truth, curved)
    present = fitted.apply(probabilities)[..., PRESENT][known]
    threshold = _best_threshold(present, (truth == PRESENT)[known].astype(np.float64))
    return Calibration(fitted.slopes, fitted.offsets, threshold, fitted.curves)


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


def _best_threshold(present: NDArray[np.float32], positive: NDArray[np.float64]) -> float:
    def f1(threshold: float) -> float:
        called = present >= threshold
        hits = float((called * positive).sum())
        return 2 * hits / max(1.0, float(called.sum() + positive.sum()))

    scored = np.array([f1(t) for t in _THRESHOLDS])
    # The curve is flat and noisy near its top: take the middle of all thresholds within 0.002 of the best.
    near = _THRESHOLDS[scored >= scored.max() - 0.002]
    return float(np.median(near))
