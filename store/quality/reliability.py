"""Whether a labeler's confidence can be believed: calibration error, Brier score, and the curve behind them.

A label is right as `evaluate` counts it: against curated labels when it is positive and should be, or is not and should
not; against another labeler when the status is the same. Confidence is the labeler's own for the status that it gave;
labels without one are left out and counted.

ECE: confidences in bins of equal width, the mean distance of mean confidence and share of right labels, weighted by the
labels (Guo et al. 2017, arXiv 1706.04599). It is never below 0, so noise raises it: the interval, of percentiles,
leans upwards where labels are few. Brier score (1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2): the mean
squared distance of confidence and right (1) or wrong (0).

Confidences are kept in whole millionths, so that sums are exact and a resample is one product of matrices.
"""

from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.store.label import FINDINGS
from teachback.store.quality.bootstrap import Counts, Estimate, Floats, cluster_sums, estimate, resample_sums
from teachback.store.quality.f1 import Mask
from teachback.store.quality.statuses import fetch_cells
from teachback.store.quality.subjects import Compared, Subject

__all__ = ["Bin", "Reliability", "fetch_confidences", "judge_confidence", "measure_reliability"]

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Bin:
    """Labels of similar confidence.

    Attributes:
        low: Least confidence of the bin; the next bin's is just too high for it.
        n: Labels in it.
        confidence: Their mean confidence.
        right: Share of them that is right.
    """

    low: float
    n: int
    confidence: float
    right: Estimate


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well confidences match what is right.

    Attributes:
        ece: Expected calibration error.
        brier: Brier score.
        confidence: Mean confidence.
        right: Share of right labels.
        bins: Those with labels, from the least confidence to the most.
        n: Labels with a confidence.
        without: Labels without one, left out.
    """

    ece: Estimate
    brier: Estimate
    confidence: float
    right: float
    bins: tuple[Bin, ...]
    n: int
    without: int

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        return {
            "ece": self.ece.as_dict(),
            "brier": self.brier.as_dict(),
            "confidence": self.confidence,
            "right": self.right,
            "n": self.n,
            "without": self.without,
            "bins": [
                {"low": b.low, "n": b.n, "confidence": b.confidence, "right": b.right.as_dict()} for b in self.bins
            ],
        }


def judge_confidence(
    connection: duckdb.DuckDBPyConnection,
    compared: Compared,
    subject: Subject,
    *,
    finding: str | None = None,
    bins: int = 10,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Reliability | None:
    """Measure one subject's confidences on the reports on which it is judged.

    Args:
        connection: The store or snapshot that they were read from.
        compared: Who is judged, on what.
        subject: One of them.
        finding: Only this finding; None for all.
        bins: Bins between 0 and 1.
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Returns:
        The figures; None where no label has a confidence.
    """
    part, said = compared.part(subject)
    confidence = fetch_confidences(connection, subject, part.report_ids)
    judged = (part.codes >= 0) & (said >= 0)
    if finding is not None:
        judged &= np.array([name == finding for name in FINDINGS])
    if not (judged & ~np.isnan(confidence)).any():
        return None
    right = ~compared.differing(part.codes, said)
    confidence = np.where(judged, confidence, np.nan)
    found = measure_reliability(confidence, right, part.clusters, bins=bins, n_boot=n_boot, seed=seed, level=level)
    return replace(found, without=int(judged.sum()) - found.n)


def fetch_confidences(connection: duckdb.DuckDBPyConnection, subject: Subject, report_ids: tuple[str, ...]) -> Floats:
    """Read a subject's confidences in its statuses, shape `(N, 13)`; NaN where it gave none."""
    confidence = np.full((len(report_ids), len(FINDINGS)), np.nan)
    fetch_cells(connection, *subject.source, subject.subject_id, report_ids, "confidence", confidence)
    return confidence


def measure_reliability(
    confidence: Floats,
    right: Mask,
    clusters: npt.NDArray[np.integer],
    *,
    bins: int = 10,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Reliability:
    """Compare confidences with what is right.

    Args:
        confidence: In [0, 1], shape `(N, F)`; NaN cells are left out.
        right: Whether the label is right, same shape.
        clusters: Cluster of each report, shape `(N,)`.
        bins: Bins of equal width between 0 and 1.
        n_boot: Resamples behind the intervals; 0 for none.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        ValueError: The shapes do not fit, or a confidence is out of range.
    """
    if confidence.shape != right.shape or clusters.shape != confidence.shape[:1]:
        raise ValueError(f"confidence {confidence.shape}, right {right.shape}, clusters {clusters.shape} do not fit")
    report, cell = np.nonzero(~np.isnan(confidence))
    given, is_right = confidence[report, cell], right[report, cell]
    if len(given) and not (given.min() >= 0 and given.max() <= 1):
        raise ValueError("a confidence is not in [0, 1]")
    counts = np.zeros((len(clusters), 3 * bins + 1), dtype=np.int64)
    place = np.minimum((given * bins).astype(np.int64), bins - 1)
    millionths = np.rint(given * _MILLION).astype(np.int64)
    np.add.at(counts, (report, place), 1)
    np.add.at(counts, (report, bins + place), millionths)
    np.add.at(counts, (report, 2 * bins + place), is_right)
    np.add.at(
        counts, (report, np.full_like(report, 3 * bins)), np.rint((given - is_right) ** 2 * _MILLION).astype(np.int64)
    )
    labelled = np.unique(report)
    sums = cluster_sums(counts[labelled], clusters[labelled])
    total, drawn = sums.sum(axis=0), resample_sums(sums, n_boot, seed)
    point, resampled = _figures(total, bins), _figures(drawn, bins)
    n, sure, good = (total[: 3 * bins].reshape(3, bins)).astype(np.float64)
    return Reliability(
        ece=estimate(float(point[0]), resampled[:, 0], level),
        brier=estimate(float(point[1]), resampled[:, 1], level),
        confidence=float(given.mean()) if len(given) else float("nan"),
        right=float(is_right.mean()) if len(given) else float("nan"),
        bins=tuple(
            Bin(i / bins, int(n[i]), sure[i] / _MILLION / n[i], estimate(good[i] / n[i], resampled[:, 2 + i], level))
            for i in range(bins)
            if n[i]
        ),
        n=len(given),
        without=0,
    )


def _figures(sums: Counts, bins: int) -> Floats:
    """(..., 3 bins + 1) -> (..., 2 + bins): ECE, Brier score, and each bin's share of right labels; NaN where 0/0."""
    n, sure, right = np.split(sums[..., : 3 * bins].astype(np.float64), 3, axis=-1)
    total = n.sum(axis=-1)
    gap = np.abs(sure / _MILLION - right).sum(axis=-1)
    top = np.concatenate([np.stack([gap, sums[..., -1] / _MILLION], axis=-1), right], axis=-1)
    bottom = np.concatenate([np.stack([total, total], axis=-1), n], axis=-1)
    out: Floats = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
