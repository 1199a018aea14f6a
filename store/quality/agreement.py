"""How far two labelers agree on the four statuses: accuracy, Cohen's kappa, and F1 of each status.

Kappa (Cohen 1960, doi 10.1177/001316446002000104) is unweighted: every disagreement weighs the same. It is
(p_o - p_e) / (1 - p_e), p_o the share of equal cells and p_e the share expected if both labelers drew from their own
marginals. Where p_e is 1 (both give one and the same status throughout) it is 0/0: undefined, NaN. Pooled kappa takes
all findings' cells in one table.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from teachback.store.label import FINDINGS, STATUSES, Status
from teachback.store.quality.bootstrap import Counts, Estimate, Floats, cluster_sums, estimate, resample_sums
from teachback.store.quality.statuses import knows_positives_only

__all__ = ["Agreement", "FindingAgreement", "StatusAgreement", "accuracy_gain", "agreement"]

_S = len(STATUSES)


@dataclass(frozen=True, slots=True)
class FindingAgreement:
    """Agreement on one finding.

    Attributes:
        finding: Which one.
        n: Reports that both labelers labelled.
        accuracy: Share of equal statuses.
        kappa: Cohen's kappa.
        confusion: Reports by status of a (rows) and of b (columns), in the order of `STATUSES`.
    """

    finding: str
    n: int
    accuracy: Estimate
    kappa: Estimate
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class StatusAgreement:
    """Agreement on one status, all findings pooled.

    Attributes:
        status: Which one.
        n_a: Cells to which a gives it.
        n_b: Cells to which b gives it.
        f1: F1 of b's cells of this status against a's; NaN where neither gives it.
    """

    status: Status
    n_a: int
    n_b: int
    f1: Estimate


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two labelers, symmetric but for the confusion table.

    Attributes:
        accuracy: Share of equal cells.
        kappa: Cohen's kappa, all findings pooled.
        findings: The 13 findings, in the order of `FINDINGS`.
        statuses: The four statuses, in the order of `STATUSES`.
        confusion: Cells by status of a (rows) and of b (columns), in the order of `STATUSES`.
        n_reports: Reports with a cell that both labelled.
        n_clusters: Clusters that these reports belong to.
        n_cells: Cells that both labelled; others are left out.
    """

    accuracy: Estimate
    kappa: Estimate
    findings: tuple[FindingAgreement, ...]
    statuses: tuple[StatusAgreement, ...]
    confusion: tuple[tuple[int, ...], ...]
    n_reports: int
    n_clusters: int
    n_cells: int

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        findings = [
            {
                "finding": f.finding,
                "n": f.n,
                "accuracy": f.accuracy.as_dict(),
                "kappa": f.kappa.as_dict(),
                "confusion": [list(row) for row in f.confusion],
            }
            for f in self.findings
        ]
        return {
            "accuracy": self.accuracy.as_dict(),
            "kappa": self.kappa.as_dict(),
            "findings": findings,
            "statuses": [{"status": s.status, "n_a": s.n_a, "n_b": s.n_b, "f1": s.f1.as_dict()} for s in self.statuses],
            "confusion": [list(row) for row in self.confusion],
            "n_reports": self.n_reports,
            "n_clusters": self.n_clusters,
            "n_cells": self.n_cells,
        }


def agreement(
    a: npt.NDArray[np.int8],
    b: npt.NDArray[np.int8],
    clusters: npt.NDArray[np.integer],
    *,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """Compare two labelers' statuses.

    Args:
        a: Codes (index into `STATUSES`), shape `(N, 13)`; cells that are -1 in either are left out.
        b: Codes of the other labeler, same shape.
        clusters: Cluster of each report, shape `(N,)`.
        n_boot: Resamples behind the intervals; 0 for none.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        ValueError: The shapes do not fit.
    """
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != len(FINDINGS) or clusters.shape != a.shape[:1]:
        raise ValueError(f"codes {a.shape} and {b.shape} and clusters {clusters.shape} do not fit")
    both = ((a >= 0) & (b >= 0)).any(axis=1)
    sums = cluster_sums(_pairs(a[both], b[both]), clusters[both])
    total = sums.sum(axis=0)
    drawn = resample_sums(sums, n_boot, seed)
    accuracy, kappa = _figures(total)
    drawn_accuracy, drawn_kappa = _figures(drawn)
    by_status, drawn_by_status = _status_f1(total), _status_f1(drawn)
    estimates = [
        (estimate(float(accuracy[i]), drawn_accuracy[:, i], level), estimate(float(kappa[i]), drawn_kappa[:, i], level))
        for i in range(len(FINDINGS) + 1)
    ]
    table = total.reshape(len(FINDINGS), _S, _S)
    pooled = table.sum(axis=0)
    return Agreement(
        accuracy=estimates[-1][0],
        kappa=estimates[-1][1],
        findings=tuple(
            FindingAgreement(name, int(table[i].sum()), *estimates[i], _plain(table[i]))
            for i, name in enumerate(FINDINGS)
        ),
        statuses=tuple(
            StatusAgreement(
                status,
                int(pooled[i].sum()),
                int(pooled[:, i].sum()),
                estimate(float(by_status[i]), drawn_by_status[:, i], level),
            )
            for i, status in enumerate(STATUSES)
        ),
        confusion=_plain(pooled),
        n_reports=int(both.sum()),
        n_clusters=len(sums),
        n_cells=int(total.sum()),
    )


def accuracy_gain(
    truth: npt.NDArray[np.int8],
    a: npt.NDArray[np.int8],
    b: npt.NDArray[np.int8],
    clusters: npt.NDArray[np.integer],
    *,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return how much larger the share of right statuses is with b than with a, all four told apart.

    Args:
        truth: Curated codes (index into `STATUSES`), shape `(N, 13)`; cells of -1 are left out.
        a: Codes of the labeler to beat, same shape; -1 is never right.
        b: Codes of the challenger, same shape.
        clusters: Cluster of each report, shape `(N,)`.
        n_boot: Resamples behind the interval; 0 for none.
        seed: Seed of the resamples.
        level: Coverage of the interval.

    Returns:
        The paired difference; undefined where the curated labels know positives only, or there are none.

    Raises:
        ValueError: The shapes do not fit.
    """
    if not truth.shape == a.shape == b.shape or truth.ndim != 2 or clusters.shape != truth.shape[:1]:
        raise ValueError(f"codes {truth.shape}, {a.shape} and {b.shape} and clusters {clusters.shape} do not fit")
    known = truth >= 0
    if knows_positives_only(truth) or not known.any():
        return Estimate(math.nan, math.nan, math.nan)
    curated = known.any(axis=1)
    counts = [((codes == truth) & known).sum(axis=1) for codes in (a, b)] + [known.sum(axis=1)]
    sums = cluster_sums(np.stack(counts, axis=1)[curated], clusters[curated])
    drawn = resample_sums(sums, n_boot, seed)
    gain, gains = ((of[..., 1] - of[..., 0]) / of[..., 2] for of in (sums.sum(axis=0), drawn))
    return estimate(float(gain), gains, level)


def _plain(table: Counts) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(cell) for cell in row) for row in table)


def _pairs(a: npt.NDArray[np.int8], b: npt.NDArray[np.int8]) -> Counts:
    """One report a row: a 1 for each finding's pair of statuses, shape `(N, 13 * 16)`."""
    counts = np.zeros((len(a), len(FINDINGS), _S * _S), dtype=np.int64)
    report, finding = np.nonzero((a >= 0) & (b >= 0))
    counts[report, finding, a[report, finding].astype(np.int64) * _S + b[report, finding]] = 1
    return counts.reshape(len(a), len(FINDINGS) * _S * _S)


def _status_f1(sums: Counts) -> Floats:
    """(..., 208) -> F1 of each status over all cells, (..., 4)."""
    table = sums.reshape(*sums.shape[:-1], len(FINDINGS), _S, _S).sum(axis=-3)
    given = (table.sum(axis=-1) + table.sum(axis=-2)).astype(np.float64)
    given[given == 0] = math.nan
    f1: Floats = 2 * np.diagonal(table, axis1=-2, axis2=-1) / given
    return f1


def _figures(sums: Counts) -> tuple[Floats, Floats]:
    """(..., 208) -> accuracy and kappa of the 13 findings and, last, of all cells, each (..., 14)."""
    tables = sums.reshape(*sums.shape[:-1], len(FINDINGS), _S, _S)
    tables = np.concatenate([tables, tables.sum(axis=-3, keepdims=True)], axis=-3)
    n = tables.sum(axis=(-1, -2)).astype(np.float64)
    n[n == 0] = math.nan
    observed = np.trace(tables, axis1=-2, axis2=-1) / n
    expected = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) / n**2
    chance = 1.0 - expected
    chance[chance < 1e-12] = math.nan
    return observed, (observed - expected) / chance
