"""The percentile bootstrap by cluster, for metrics that are functions of summed counts.

Clusters (patients) are drawn with replacement, not reports: reports of one patient resemble each other, and intervals
that ignore it are too narrow (Efron and Tibshirani 1993, chapter 13; Davison and Hinkley 1997, section 3.8).

Departure from the textbook: a resample is never built. A metric needs only the sums of its counts, clusters with equal
counts are exchangeable, so a resample is one multinomial draw over the *distinct* rows of counts. That has exactly the
same distribution, and 2,000 resamples of 1,000 clusters take some ten milliseconds.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Counts", "Estimate", "Floats", "cluster_sums", "estimate", "resample_sums"]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Most cells of a block of weights (resamples x distinct rows), 8 bytes each: 32 MB.
_BLOCK_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: The figure on all reports; NaN where it is undefined.
        low: Lower end of the interval; NaN where there is none (fewer than two clusters, no resamples).
        high: Upper end of the interval; NaN likewise.
    """

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Return the three figures, NaN as None, for JSON and SQL."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if math.isnan(figure) else figure for name, figure in figures.items()}

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        return f"{self.value:.3f}" if math.isnan(self.low) else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def cluster_sums(counts: Counts, clusters: npt.NDArray[np.integer]) -> Counts:
    """Sum the counts of each cluster's reports.

    Args:
        counts: Counts of each report, shape `(N, K)`.
        clusters: Cluster of each report, any integers, shape `(N,)`.

    Returns:
        Shape `(C, K)`, one row a cluster, in the order of the clusters' numbers.
    """
    if len(counts) == 0:
        return np.zeros((0, counts.shape[1]), dtype=np.int64)
    order = np.argsort(clusters, kind="stable")
    ranked = clusters[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    return np.add.reduceat(counts[order], starts, axis=0, dtype=np.int64)


def resample_sums(sums: Counts, n_boot: int, seed: int) -> Counts:
    """Draw clusters with replacement and sum their counts, many times.

    Args:
        sums: Counts of each cluster, shape `(C, K)`.
        n_boot: Number of resamples, B; each draws C clusters.
        seed: Seed of the draws; equal seeds and counts give equal resamples.

    Returns:
        Total counts of each resample, shape `(B, K)`; no rows when there are fewer than two clusters, because then
        resampling shows no spread and an interval would pretend certainty.
    """
    if len(sums) < 2:
        return np.zeros((0, sums.shape[1]), dtype=np.int64)
    distinct, copies = np.unique(sums, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_CELLS // len(distinct))
    as_floats = distinct.astype(np.float64)  # exact below 2**53, and BLAS multiplies only floats fast
    drawn = np.zeros((n_boot, sums.shape[1]))
    for start in range(0, n_boot, block):
        rows = slice(start, min(start + block, n_boot))
        drawn[rows] = _draw_weights(copies, rows.stop - start, rng) @ as_floats
    return np.rint(drawn).astype(np.int64)


def estimate(value: float, resampled: Floats, level: float = 0.95) -> Estimate:
    """Return a figure with its percentile interval.

    Args:
        value: The figure on all reports.
        resampled: The figure on each resample, shape `(B,)`; NaN, where undefined, is left out.
        level: Coverage of the interval, two-sided, in (0, 1).
    """
    defined = resampled[~np.isnan(resampled)]
    if math.isnan(value) or len(defined) == 0:
        return Estimate(float(value), math.nan, math.nan)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), float(low), float(high))


def _draw_weights(copies: Counts, n: int, rng: np.random.Generator) -> Floats:
    """How often each distinct row is drawn, in n resamples: shape `(n, len(copies))`."""
    total = int(copies.sum())
    if 3 * len(copies) < total:
        return rng.multinomial(total, copies / total, size=n).astype(np.float64)
    # Drawing cluster by cluster is the same law, and faster where few rows are equal.
    owner = np.repeat(np.arange(len(copies)), copies)
    weights = np.empty((n, len(copies)))
    for row in weights:
        row[:] = np.bincount(owner[rng.integers(0, total, total)], minlength=len(copies))
    return weights
