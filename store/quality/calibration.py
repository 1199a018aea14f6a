"""What calibration did to a student's probabilities: calibration error and Brier score per finding, before and after.

The event is the same on both sides, that a finding is present, and so are the reports: a difference is the
calibration's own. (`reliability` asks how often a *decided* status is right; calibration moves the decision, too.)
Calibration error: mean distance of mean probability and share present over ten bins of equal width, weighted by the
reports in them (Guo et al. 2017, arXiv 1706.04599); Brier score (1950,
doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2): mean squared distance of probability and present (1) or not (0).
Intervals are bootstraps by patient, all findings on the same resamples; noise alone raises a calibration error.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from teachback.store.label import FINDINGS
from teachback.store.quality.bootstrap import Counts, Estimate, Floats, cluster_sums, estimate, resample_sums
from teachback.store.quality.f1 import Mask

__all__ = ["CalibrationReport", "FindingCalibration", "Point", "Side", "measure_calibration"]

_BINS = 10
_MILLION = 1_000_000  # probabilities in whole millionths, so that sums are exact
_COLUMNS = 2 + _BINS  # cells, squared errors, and per bin probability minus what was there


@dataclass(frozen=True, slots=True)
class Point:
    """Probabilities of one bin.

    Attributes:
        confidence: Their mean.
        right: Share of their reports in which the finding is present.
        n: How many they are.
    """

    confidence: float
    right: float
    n: int


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a calibration, before or after.

    Attributes:
        ece: Expected calibration error.
        brier: Brier score.
        curve: Bins that hold a probability, from the lowest.
    """

    ece: Estimate
    brier: Estimate
    curve: tuple[Point, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, shares to four digits."""
        curve = [{"confidence": round(p.confidence, 4), "right": round(p.right, 4), "n": p.n} for p in self.curve]
        return {"ece": self.ece.as_dict(), "brier": self.brier.as_dict(), "curve": curve}


@dataclass(frozen=True, slots=True)
class FindingCalibration:
    """One finding, or all together.

    Attributes:
        finding: Which one; `all` for all together.
        n: Curated labels with a probability.
        positives: Those that are present.
        before: As the student gave its probabilities.
        after: Calibrated.
    """

    finding: str
    n: int
    positives: int
    before: Side
    after: Side

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        counts = {"finding": self.finding, "n": self.n, "positives": self.positives}
        return {**counts, "before": self.before.as_dict(), "after": self.after.as_dict()}


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """A student's calibration on one split.

    Attributes:
        overall: All findings together.
        findings: The 13 findings, in the order of `FINDINGS`.
        n_reports: Reports with a curated label and a probability.
    """

    overall: FindingCalibration
    findings: tuple[FindingCalibration, ...]
    n_reports: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; undefined figures are None."""
        findings = [of.as_dict() for of in self.findings]
        return {"n_reports": self.n_reports, "overall": self.overall.as_dict(), "findings": findings}


def measure_calibration(
    before: Floats,
    after: Floats,
    there: Mask,
    known: Mask,
    clusters: npt.NDArray[Any],
    *,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> CalibrationReport:
    """Hold probabilities of `present` against curated labels.

    Args:
        before: (N, 13) probabilities in [0, 1]; NaN where none was given.
        after: (N, 13) the same, calibrated.
        there: (N, 13) whether the finding is present.
        known: (N, 13) whether there is a curated label.
        clusters: (N,) which reports belong together.
        n_boot: Resamples behind the intervals; 0 for none.
        seed: Of the resamples.
        level: Coverage of the intervals.
    """
    known = known & np.isfinite(before) & np.isfinite(after)
    counts = np.concatenate([_counts(side, there, known) for side in (before, after)], axis=1)
    drawn = resample_sums(cluster_sums(counts, clusters), n_boot, seed)
    points, resampled = _figures(counts.sum(axis=0)), _figures(drawn)

    def side(at: int, place: int, cells: Mask) -> Side:
        ece, brier = (estimate(float(points[at, place, k]), resampled[..., at, place, k], level) for k in (0, 1))
        return Side(ece, brier, _curve((before, after)[at][cells], there[cells]))

    def of(place: int, name: str, cells: Mask) -> FindingCalibration:
        counted = int(cells.sum()), int((there & cells).sum())
        return FindingCalibration(name, *counted, side(0, place, cells), side(1, place, cells))

    columns = np.eye(len(FINDINGS), dtype=bool)
    findings = tuple(of(i, finding, known & columns[i]) for i, finding in enumerate(FINDINGS))
    return CalibrationReport(of(len(FINDINGS), "all", known), findings, int(known.any(axis=1).sum()))


def _counts(probability: Floats, there: Mask, known: Mask) -> Counts:
    """(N, 13 * 12): of each finding whether it counts, its squared error, and per bin what it is off by."""
    given = np.where(known, probability, 0.0)
    bins = np.minimum((given * _BINS).astype(int), _BINS - 1)[..., None] == np.arange(_BINS)
    off = np.where(known, given - there, 0.0)
    columns = np.concatenate([known[..., None], (off**2)[..., None], bins * off[..., None]], axis=-1)
    return np.asarray(np.rint(columns.reshape(len(given), -1) * _MILLION), np.int64)


def _figures(sums: Counts) -> Floats:
    """(..., 2 * 13 * 12) -> (..., 2, 14, 2): ECE and Brier score, before and after, of each finding and of all."""
    of = sums.reshape(*sums.shape[:-1], 2, len(FINDINGS), _COLUMNS).astype(np.float64)
    of = np.concatenate([of, of.sum(axis=-2, keepdims=True)], axis=-2)
    cells, squared, gaps = of[..., 0], of[..., 1], np.abs(of[..., 2:]).sum(axis=-1)
    out = np.full((*cells.shape, 2), np.nan)
    for place, top in enumerate((gaps, squared)):
        np.divide(top, cells, out=out[..., place], where=cells > 0)
    return out


def _curve(probability: Floats, there: Mask) -> tuple[Point, ...]:
    bins = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    return tuple(
        Point(float(probability[bins == b].mean()), float(there[bins == b].mean()), int((bins == b).sum()))
        for b in range(_BINS)
        if (bins == b).any()
    )
