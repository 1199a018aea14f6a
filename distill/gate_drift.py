"""The gate's conditions beside F1: how often findings are called, what probabilities mean, how long lists are.

**Rates.** Feedback that calls a finding more and more often (or less) is the usual way in which self-training goes
wrong. A finding has drifted if the candidate calls it more often than it is curated, and more often than the champion
calls it (or less and less), both beyond chance by swapping signs per patient, Holm-corrected over the findings and all
of them together. A champion's own bias is not held against a candidate that shares it.

**Calibration.** Brier score (1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2) and expected calibration error
(Guo et al. 2017, arXiv 1706.04599; ten bins) of the probability of `present`, over all curated cells: the upper bound
of the candidate's minus the champion's, by bootstrap over patients, must stay below a margin.

**Lists.** A candidate whose disease lists are on average much longer or shorter than the curated ones, and farther from
them than the champion's (or than the champion's, where none are curated), lists at random or stops early, whatever its
F1 on findings.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from teachback.distill.config import GateSettings
from teachback.distill.gate_checks import Check, GateReports, one_sided, skipped
from teachback.distill.gate_swaps import SWAPS, flip_signs
from teachback.store.label import FINDINGS
from teachback.store.quality.bootstrap import Counts, Floats, cluster_sums
from teachback.store.quality.mcnemar import holm

__all__ = ["ListLengths", "calibration_counts", "check_calibration", "check_lists", "check_rates"]

_BINS = 10
_MILLION = 1_000_000  # probabilities in whole millionths, so that sums are exact


@dataclass(frozen=True, slots=True)
class ListLengths:
    """How many diseases each gate report has.

    Attributes:
        candidate: (N,) listed by the candidate; -1 where it was not asked.
        champion: (N,) by the champion; None where it lists none.
        curated: (N,) by people; None where none are curated.
    """

    candidate: npt.NDArray[np.integer[Any]]
    champion: npt.NDArray[np.integer[Any]] | None = None
    curated: npt.NDArray[np.integer[Any]] | None = None


def check_rates(reports: GateReports, settings: GateSettings, *, seed: int = 0) -> Check:
    """Refuse a candidate that calls a finding ever more, or ever less, often than it is there."""
    over_truth, over_champion = (
        _clustered(reports.candidate.astype(np.int64) - other, reports.clusters)
        for other in (reports.there, reports.champion)
    )
    gap, step = over_truth.sum(axis=0), over_champion.sum(axis=0)
    farther = (gap * step > 0) & (np.abs(gap) > np.abs(gap - step))  # gap - step: the champion's own
    p = _two_sided(np.concatenate([over_truth, over_champion], axis=1), seed).reshape(2, -1).max(axis=0)
    corrected = holm([float(x) for x in np.where(farther, p, 1.0)])
    there = [*reports.there.sum(axis=0), reports.there.sum()]
    drifted = [
        f"{name} ({int(curated + off)} calls, {int(curated)} curated)"
        for name, curated, off, p_value in zip([*FINDINGS, "all findings"], there, gap, corrected, strict=True)
        if p_value <= settings.drift_level
    ]
    words = f"drifted from the curated rate: {', '.join(drifted)}" if drifted else "no finding's rate drifted"
    return Check("rates", min(corrected), None, None, settings.drift_level, not drifted, words)


def calibration_counts(
    reports: GateReports, champion: npt.NDArray[np.floating[Any]], candidate: npt.NDArray[np.floating[Any]]
) -> Counts:
    """Count by cluster, (C, 24), what Brier score and calibration error of both are made of.

    Args:
        reports: What both call.
        champion: (N, 13) the champion's calibrated probability of `present`; NaN where it gave none.
        candidate: (N, 13) the candidate's. Cells where either gave none are left out.
    """
    known = reports.known & np.isfinite(champion) & np.isfinite(candidate)
    both = [_reliability(p, reports.there, known) for p in (champion, candidate)]
    return cluster_sums(np.concatenate(both, axis=1), reports.clusters)


def check_calibration(counts: Counts, resampled: Counts, settings: GateSettings) -> list[Check]:
    """Refuse a candidate whose probabilities are worse than the champion's by more than a margin.

    Args:
        counts: (C, 24) of `calibration_counts`.
        resampled: (B, 24) the same, drawn anew.
        settings: Margins and level.
    """
    limits = {"Brier score": settings.brier_margin, "calibration error": settings.ece_margin}
    if not counts.any() or not len(resampled):
        return [
            skipped(name, limit, "there are no probabilities, or all reports are of one patient")
            for name, limit in limits.items()
        ]
    point, drawn = _worsening(counts.sum(axis=0)), _worsening(resampled)
    checks = []
    for place, (name, limit) in enumerate(limits.items()):
        value = float(point[place])
        low, high = one_sided(value, drawn[:, place], settings.drift_level)
        passed = high <= limit
        words = f"{name} {value:+.4f}, at most {high:+.4f} with {1 - settings.drift_level:.0%} confidence"
        words += "" if passed else f"; {limit:+.4f} or less is needed"
        checks.append(Check(name, value, low, high, limit, passed, words))
    return checks


def check_lists(lists: ListLengths, settings: GateSettings) -> Check:
    """Refuse a candidate whose mean list leaves a band around the curated ones, or the champion's.

    Outside of the curated band a champion may be too; then a candidate must be no farther away.
    """
    name, band = "list length", settings.list_band
    reference, whose = (lists.curated, "curated") if lists.curated is not None else (lists.champion, "the champion's")
    if reference is None:
        return skipped(name, band, "there are no lists to compare with")
    both = (lists.candidate >= 0) & (reference >= 0)
    if not both.any() or not reference[both].any():
        return skipped(name, band, "there are no lists to compare with")
    mean, wanted = float(lists.candidate[both].mean()), float(reference[both].mean())
    ratio = mean / wanted
    words = f"{mean:.2f} diseases a report, {wanted:.2f} {whose}"
    passed = 1 - band <= ratio <= 1 + band
    if not passed:
        words += f": outside the band of {band:.0%}"
        if lists.curated is not None and lists.champion is not None:
            own = float(lists.champion[both].mean())
            passed = abs(mean - wanted) <= abs(own - wanted)
            words += f", {'but no' if passed else 'and'} farther from it than the champion's {own:.2f}"
    return Check(name, ratio, 1 - band, 1 + band, band, passed, words)


def _clustered(values: npt.NDArray[np.int64], clusters: npt.NDArray[Any]) -> Floats:
    """(N, 13) -> (C, 14): sums by cluster, and last of all findings."""
    sums = cluster_sums(values, clusters)
    return np.concatenate([sums, sums.sum(axis=1, keepdims=True)], axis=1).astype(np.float64)


def _two_sided(by_cluster: Floats, seed: int) -> Floats:
    """P-value of each column's sum against a sum of zero, by random signs."""
    drawn = np.abs(flip_signs(by_cluster, seed))
    beyond = (drawn >= np.abs(by_cluster.sum(axis=0)) - 1e-9).sum(axis=0)
    return np.asarray((beyond + 1) / (SWAPS + 1))


def _reliability(p: npt.NDArray[np.floating[Any]], there: Any, known: Any) -> npt.NDArray[np.int64]:
    """(N, 12): cells, squared error, and per bin probability minus what was there, each summed over a report."""
    probability = np.where(known, p, 0.0).astype(np.float64)
    present = there & known
    bin_of = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    in_bin = (bin_of[..., None] == np.arange(_BINS)) & known[..., None]
    columns = [
        known.sum(axis=1, keepdims=True) * _MILLION,
        np.where(known, (probability - present) ** 2, 0.0).sum(axis=1, keepdims=True) * _MILLION,
        (in_bin * (probability - present)[..., None]).sum(axis=1) * _MILLION,
    ]
    return np.asarray(np.rint(np.concatenate(columns, axis=1)), np.int64)


def _worsening(sums: npt.NDArray[np.int64]) -> Floats:
    """(..., 24) -> (..., 2): Brier score and ECE of the candidate, minus the champion's."""
    figures = []
    for half in np.split(sums.astype(np.float64), 2, axis=-1):
        cells, squared, gaps = half[..., 0], half[..., 1], half[..., 2:]
        # The weight of a bin is its share of the cells, which cancels the division by its size in the mean.
        cells = np.maximum(cells, 1)  # a resample may miss all cells with probabilities
        figures.append(np.stack([squared / cells, np.abs(gaps).sum(axis=-1) / cells], axis=-1))
    return np.asarray(figures[1] - figures[0])
