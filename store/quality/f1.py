"""Precision, recall and F1 of the 13 findings against curated labels, with intervals, and paired differences.

The four statuses are read as positive or not (CheXpert's convention; by default `uncertain` is not positive). Intervals
are percentile bootstraps by cluster, see `bootstrap`.

Where a finding has neither positives nor predicted positives, its F1 is 0/0: undefined (NaN), not 0 (scikit-learn's
default) and not 1. Macro-F1 is the mean over the findings that have a curated positive; such a finding always has an F1
on all reports, but may lose it in a resample that draws none of its positives, and that resample's mean then leaves it
out. Weighted F1 is the mean over the findings weighted by their curated positives, so one without any counts nothing. A
paired difference leaves it out for both labelers as soon as it is undefined for one of them.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from teachback.store.label import FINDINGS, STATUSES, Status
from teachback.store.quality.bootstrap import Counts, Estimate, Floats, cluster_sums, estimate, resample_sums

__all__ = [
    "POSITIVE",
    "Codes",
    "F1Report",
    "FindingF1",
    "Mask",
    "PairedReport",
    "evaluate_statuses",
    "f1_score",
    "mask_of",
    "paired_difference",
]

Codes = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]

# What counts as a positive label unless told otherwise: uncertain does not.
POSITIVE: frozenset[Status] = frozenset({"present"})


@dataclass(frozen=True, slots=True)
class FindingF1:
    """The figures of one finding.

    Attributes:
        finding: Which one.
        n: Reports with a curated label of it.
        positives: Those whose curated label is positive.
        predicted_positives: Those that the labeler calls positive.
        tp: True positives.
        fp: False positives.
        fn: False negatives.
        abstained: Reports with a curated label but without one of the labeler.
        precision: tp / (tp + fp).
        recall: tp / (tp + fn).
        f1: 2 tp / (2 tp + fp + fn).
    """

    finding: str
    n: int
    positives: int
    predicted_positives: int
    tp: int
    fp: int
    fn: int
    abstained: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, slots=True)
class F1Report:
    """How well one labeler's statuses match the curated ones.

    Attributes:
        micro: Micro-F1: all cells (report x finding) in one count.
        macro: Macro-F1: the mean of the F1s of `macro_findings`.
        weighted: The same mean, each finding weighted by its curated positives.
        precision: Micro-precision.
        recall: Micro-recall.
        findings: The 13 findings, in the order of `FINDINGS`.
        macro_findings: The findings with at least one curated positive.
        n_reports: Reports with a curated label.
        n_clusters: Clusters (patients) that these reports belong to.
        n_cells: Cells with a curated label.
        positives: Cells whose curated label is positive.
        predicted_positives: Cells that the labeler calls positive.
        abstained: Cells with a curated label but without one of the labeler; they count as not positive.
        positive: The statuses that were read as positive.
        level: Coverage of the intervals.
        n_boot: Number of resamples.
        seed: Seed of the resamples.
    """

    micro: Estimate
    macro: Estimate
    weighted: Estimate
    precision: Estimate
    recall: Estimate
    findings: tuple[FindingF1, ...]
    macro_findings: tuple[str, ...]
    n_reports: int
    n_clusters: int
    n_cells: int
    positives: int
    predicted_positives: int
    abstained: int
    positive: tuple[str, ...]
    level: float
    n_boot: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class PairedReport:
    """What labeler b gains over labeler a on the same reports, b minus a.

    Attributes:
        micro: Difference of micro-F1.
        macro: Difference of macro-F1, over `macro_findings`.
        findings: Difference of F1 for each of the 13 findings, in the order of `FINDINGS`.
        macro_findings: The findings with at least one curated positive.
        wins: Findings whose interval lies above 0.
        ties: Findings whose interval holds 0, or that have none.
        losses: Findings whose interval lies below 0.
        n_reports: Reports with a curated label.
        n_clusters: Clusters that these reports belong to.
        level: Coverage of the intervals.
        n_boot: Number of resamples.
        seed: Seed of the resamples.
    """

    micro: Estimate
    macro: Estimate
    findings: tuple[Estimate, ...]
    macro_findings: tuple[str, ...]
    wins: tuple[str, ...]
    ties: tuple[str, ...]
    losses: tuple[str, ...]
    n_reports: int
    n_clusters: int
    level: float
    n_boot: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        figures = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}
        return figures | {"findings": {f: e.as_dict() for f, e in zip(FINDINGS, self.findings, strict=True)}}


def evaluate_statuses(
    truth: Codes,
    predicted: Codes,
    clusters: npt.NDArray[np.integer],
    *,
    positive: Collection[Status] = POSITIVE,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> F1Report:
    """Compare a labeler's statuses with the curated ones.

    Args:
        truth: Curated codes (index into `STATUSES`), shape `(N, 13)`; a cell of -1 has no curated label: left out.
        predicted: The labeler's codes, same shape; -1 is no label: counts as not positive and as abstained.
        clusters: Cluster of each report, shape `(N,)`.
        positive: Statuses that are read as positive, in both.
        n_boot: Resamples behind the intervals; 0 for none.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        ValueError: The shapes do not fit.
    """
    _check(truth, predicted, clusters)
    curated = (truth >= 0).any(axis=1)
    truth, predicted, clusters = truth[curated], predicted[curated], clusters[curated]
    known, is_true = truth >= 0, mask_of(truth, positive)
    says = mask_of(predicted, positive) & known
    sums = cluster_sums(_stack(says & is_true, says, is_true), clusters)
    resampled = resample_sums(sums, n_boot, seed)
    scores, drawn = _scores(sums.sum(axis=0)), _scores(resampled)
    tp, called, positives = _split(sums.sum(axis=0))
    counted = positives > 0

    def interval(kind: int, finding: int) -> Estimate:
        return estimate(float(scores[kind, finding]), drawn[:, kind, finding], level)

    findings = tuple(
        FindingF1(
            finding=name,
            n=int(known[:, i].sum()),
            positives=int(positives[i]),
            predicted_positives=int(called[i]),
            tp=int(tp[i]),
            fp=int(called[i] - tp[i]),
            fn=int(positives[i] - tp[i]),
            abstained=int((known[:, i] & (predicted[:, i] < 0)).sum()),
            precision=interval(0, i),
            recall=interval(1, i),
            f1=interval(2, i),
        )
        for i, name in enumerate(FINDINGS)
    )
    return F1Report(
        micro=interval(2, -1),
        macro=estimate(float(_mean(scores[2, :-1][counted])), _mean(drawn[:, 2, :-1][:, counted]), level),
        weighted=estimate(float(_weighted(scores, positives)), _weighted(drawn, _split(resampled)[2]), level),
        precision=interval(0, -1),
        recall=interval(1, -1),
        findings=findings,
        macro_findings=tuple(name for name, has in zip(FINDINGS, counted, strict=True) if has),
        n_reports=len(truth),
        n_clusters=len(sums),
        n_cells=int(known.sum()),
        positives=int(positives.sum()),
        predicted_positives=int(called.sum()),
        abstained=sum(f.abstained for f in findings),
        positive=_ordered(positive),
        level=level,
        n_boot=n_boot,
        seed=seed,
    )


def paired_difference(
    truth: Codes,
    a: Codes,
    b: Codes,
    clusters: npt.NDArray[np.integer],
    *,
    positive: Collection[Status] = POSITIVE,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedReport:
    """Return what labeler b gains over labeler a, both judged on the same resamples.

    Args:
        truth: Curated codes, shape `(N, 13)`; -1 is left out.
        a: Codes of the labeler to beat, same shape; -1 counts as not positive.
        b: Codes of the challenger, same shape.
        clusters: Cluster of each report, shape `(N,)`.
        positive: Statuses that are read as positive.
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples.
        level: Coverage of the intervals; raise it when several comparisons share one error budget.

    Raises:
        ValueError: The shapes do not fit.
    """
    _check(truth, a, clusters)
    _check(truth, b, clusters)
    curated = (truth >= 0).any(axis=1)
    truth, clusters = truth[curated], clusters[curated]
    known, is_true = truth >= 0, mask_of(truth, positive)
    says_a, says_b = (mask_of(codes[curated], positive) & known for codes in (a, b))
    counts = np.concatenate([_stack(says & is_true, says, is_true) for says in (says_a, says_b)], axis=1)
    sums = cluster_sums(counts, clusters)
    counted: Mask = is_true.sum(axis=0) > 0
    point = _gains(sums.sum(axis=0), counted)
    drawn = _gains(resample_sums(sums, n_boot, seed), counted)
    estimates = [estimate(float(point[i]), drawn[:, i], level) for i in range(len(FINDINGS) + 2)]
    by_name = dict(zip(FINDINGS, estimates[2:], strict=True))
    return PairedReport(
        micro=estimates[0],
        macro=estimates[1],
        findings=tuple(estimates[2:]),
        macro_findings=tuple(name for name, has in zip(FINDINGS, counted, strict=True) if has),
        wins=tuple(name for name, gain in by_name.items() if gain.low > 0),
        ties=tuple(name for name, gain in by_name.items() if not (gain.low > 0 or gain.high < 0)),
        losses=tuple(name for name, gain in by_name.items() if gain.high < 0),
        n_reports=len(truth),
        n_clusters=len(sums),
        level=level,
        n_boot=n_boot,
        seed=seed,
    )


def f1_score(tp: float, fp: float, fn: float) -> float:
    """Return F1 from counts; NaN where it is 0/0."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else math.nan


def mask_of(codes: Codes, positive: Collection[Status]) -> Mask:
    """Return where a status is one of those read as positive; -1 never is.

    Raises:
        ValueError: A name in `positive` is no status.
    """
    table = np.zeros(len(STATUSES) + 1, dtype=bool)  # the last place answers for -1
    for status in positive:
        table[STATUSES.index(status)] = True
    return table[codes]


def _stack(*masks: Mask) -> Counts:
    return np.concatenate(masks, axis=1).astype(np.int64)


def _split(sums: Counts) -> Sequence[Counts]:
    """(..., 39) -> three times (..., 13): true positives, predicted positives, positives."""
    return np.split(sums, 3, axis=-1)


def _scores(sums: Counts) -> Floats:
    """(..., 39) -> (..., 3, 14): precision, recall and F1 of the 13 findings and, last, of all cells together."""
    tp, called, positives = (np.concatenate([x, x.sum(axis=-1, keepdims=True)], axis=-1) for x in _split(sums))
    return np.stack([_ratio(tp, called), _ratio(tp, positives), _ratio(2 * tp, called + positives)], axis=-2)


def _gains(sums: Counts, counted: Mask) -> Floats:
    """(..., 78) -> (..., 15): F1 of b minus F1 of a; micro, macro over `counted`, then each finding."""
    a, b = (_scores(half)[..., 2, :] for half in np.split(sums, 2, axis=-1))
    gain = b - a
    macro = _mean(gain[..., :-1][..., counted])
    return np.concatenate([gain[..., -1:], np.asarray(macro)[..., None], gain[..., :-1]], axis=-1)


def _ratio(top: Counts | Floats, bottom: Counts) -> Floats:
    out: Floats = np.full(top.shape, np.nan)
    return np.divide(top, bottom, out=out, where=bottom > 0)


def _mean(values: Floats) -> Floats:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    n = defined.sum(axis=-1)
    return _ratio(np.asarray(total), np.asarray(n))


def _weighted(scores: Floats, positives: Counts) -> Floats:
    """(..., 3, 14) scores -> (...), the F1s of the findings weighted by their positives; NaN where there is none."""
    f1 = np.nan_to_num(scores[..., 2, :-1])
    return _ratio(np.asarray((f1 * positives).sum(axis=-1)), np.asarray(positives.sum(axis=-1)))


def _check(truth: Codes, predicted: Codes, clusters: npt.NDArray[np.integer]) -> None:
    if truth.ndim != 2 or truth.shape[1] != len(FINDINGS):
        raise ValueError(f"truth has shape {truth.shape}, not (N, {len(FINDINGS)})")
    if predicted.shape != truth.shape or clusters.shape != truth.shape[:1]:
        raise ValueError(f"truth {truth.shape}, predicted {predicted.shape} and clusters {clusters.shape} do not fit")


def _ordered(positive: Collection[Status]) -> tuple[str, ...]:
    return tuple(status for status in STATUSES if status in positive)


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.as_dict()
    if isinstance(value, FindingF1):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
