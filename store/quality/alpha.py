"""How far any number of labelers agree on the four statuses: Krippendorff's alpha, nominal.

Krippendorff 2011, Computing Krippendorff's Alpha-Reliability. Alpha is 1 - D_o / D_e: observed disagreement over that
expected if statuses were dealt out by chance. Unlike kappa it takes any number of labelers and missing labels. A cell
(report x finding) with fewer than two labels says nothing and is left out. Where only one status was ever given D_e is
0: alpha is undefined, NaN.

Departure from the textbook: no table of coincidences is built. A cell with m labels, n_v of status v, adds
(m^2 - sum n_v^2) / (m - 1) to the observed disagreement and its n_v to the marginals; these five sums are enough, also
for the bootstrap.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.bootstrap import Counts, Estimate, Floats, cluster_sums, estimate, resample_sums
from teachback.store.quality.f1 import Codes

__all__ = ["Alpha", "krippendorff_alpha"]

_S = len(STATUSES)


@dataclass(frozen=True, slots=True)
class Alpha:
    """Krippendorff's alpha of some labelers.

    Attributes:
        overall: All findings' cells pooled.
        findings: The 13 findings, in the order of `FINDINGS`.
        n_labelers: Labelers, whether or not they labelled every report.
        n_reports: Reports with a cell that two labelers or more labelled.
        n_cells: Such cells.
    """

    overall: Estimate
    findings: tuple[Estimate, ...]
    n_labelers: int
    n_reports: int
    n_cells: int

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        return {
            "overall": self.overall.as_dict(),
            "findings": {f: e.as_dict() for f, e in zip(FINDINGS, self.findings, strict=True)},
            "n_labelers": self.n_labelers,
            "n_reports": self.n_reports,
            "n_cells": self.n_cells,
        }


def krippendorff_alpha(
    codes: Sequence[Codes],
    clusters: npt.NDArray[np.integer],
    *,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Alpha:
    """Measure the agreement of some labelers.

    Args:
        codes: Each labeler's codes (index into `STATUSES`), each of shape `(N, 13)`; -1 is no label.
        clusters: Cluster of each report, shape `(N,)`.
        n_boot: Resamples behind the intervals; 0 for none.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        ValueError: There are fewer than two labelers, or the shapes do not fit.
    """
    if len(codes) < 2 or any(c.shape != (len(clusters), len(FINDINGS)) for c in codes):
        raise ValueError(f"{[c.shape for c in codes]} and {clusters.shape} do not fit, or are not of two labelers")
    given = np.stack([sum((c == status).astype(np.int64) for c in codes) for status in range(_S)], axis=-1)
    m = given.sum(axis=-1)
    given[m < 2] = 0
    # Whole numbers sum exactly: the disagreement is counted in parts of 1 / scale.
    scale = math.lcm(*range(1, len(codes)))
    disagreement = (m**2 - (given**2).sum(axis=-1)) * (scale // np.maximum(m - 1, 1)) * (m >= 2)
    counts = np.concatenate([given, disagreement[..., None]], axis=-1).reshape(len(clusters), -1)
    paired = (m >= 2).any(axis=1)
    sums = cluster_sums(counts[paired], clusters[paired])
    point, drawn = _alphas(sums.sum(axis=0), scale), _alphas(resample_sums(sums, n_boot, seed), scale)
    estimates = [estimate(float(point[i]), drawn[:, i], level) for i in range(len(FINDINGS) + 1)]
    return Alpha(estimates[-1], tuple(estimates[:-1]), len(codes), int(paired.sum()), int((m >= 2).sum()))


def _alphas(sums: Counts, scale: int) -> Floats:
    """(..., 65) -> alpha of the 13 findings and, last, of all cells, (..., 14)."""
    by_finding = sums.reshape(*sums.shape[:-1], len(FINDINGS), _S + 1).astype(np.float64)
    by_finding = np.concatenate([by_finding, by_finding.sum(axis=-2, keepdims=True)], axis=-2)
    marginals, observed = by_finding[..., :_S], by_finding[..., _S] / scale
    n = marginals.sum(axis=-1)
    expected = n**2 - (marginals**2).sum(axis=-1)
    ratio = np.full(n.shape, math.nan)
    np.divide((n - 1) * observed, expected, out=ratio, where=expected > 0)
    return 1 - ratio
