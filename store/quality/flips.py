"""What changes from one labeler to another on the same reports: which labels flip, and whether that made them better.

Flips are counted over all four statuses. Better and worse are judged as F1 does it, by whether a label is positive as
the curated one is: by a paired bootstrap of F1 over clusters, and by McNemar's test (`mcnemar`) on each finding, Holm's
correction over the 13. A finding's difference counts as shown only where both agree: the corrected test is below the
level, and the interval of F1 lies on the same side of zero.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from teachback.store.label import FINDINGS, STATUSES, Status
from teachback.store.quality.bootstrap import Estimate
from teachback.store.quality.f1 import POSITIVE, F1Report, PairedReport, evaluate_statuses, mask_of, paired_difference
from teachback.store.quality.mcnemar import McNemar, holm, mcnemar

__all__ = ["ALPHA", "FindingFlips", "FlipReport", "Kind", "Shown", "compare_statuses", "count_flips"]

ALPHA = 0.05  # level of the tests, after correction

Codes = npt.NDArray[np.int8]
Kind = tuple[Status, Status]  # what a says, what b says
Shown = Literal["better", "worse", "not shown"]


@dataclass(frozen=True, slots=True)
class FindingFlips:
    """One finding under both labelers.

    Attributes:
        finding: Which one.
        n: Reports with a curated label of it.
        positives: Those whose curated label is positive.
        flips: (status by a, status by b) to reports, where the two differ; the most frequent first.
        f1_a: F1 of a.
        f1_b: F1 of b.
        gain: F1 of b minus F1 of a, paired.
        test: McNemar's test of the two.
        corrected: Its mid-p-value after Holm's correction over the findings.
    """

    finding: str
    n: int
    positives: int
    flips: Mapping[Kind, int]
    f1_a: Estimate
    f1_b: Estimate
    gain: Estimate
    test: McNemar
    corrected: float

    @property
    def flipped(self) -> int:
        """Reports on which the two differ."""
        return sum(self.flips.values())

    @property
    def shown(self) -> Shown:
        """Whether b is shown to be better or worse than a."""
        if self.corrected > ALPHA:
            return "not shown"
        if self.gain.low > 0 and self.test.only_b > self.test.only_a:
            return "better"
        return "worse" if self.gain.high < 0 and self.test.only_a > self.test.only_b else "not shown"


@dataclass(frozen=True, slots=True)
class FlipReport:
    """Two labelers on the same reports, a and b.

    Attributes:
        a: Figures of a.
        b: Figures of b.
        gain: What b gains over a, paired.
        findings: The 13 findings, in the order of `FINDINGS`.
        test: McNemar's test over all cells (report x finding); cells of one report are not independent.
        flipped_reports: Reports with at least one flip.
        cells: Cells that both labelled.
    """

    a: F1Report
    b: F1Report
    gain: PairedReport
    findings: tuple[FindingFlips, ...]
    test: McNemar
    flipped_reports: int
    cells: int

    @property
    def flipped(self) -> int:
        """Cells on which the two differ."""
        return sum(finding.flipped for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        return {
            "reports": self.a.n_reports,
            "clusters": self.a.n_clusters,
            "cells": self.cells,
            "flips": self.flipped,
            "flipped_reports": self.flipped_reports,
            "micro_f1": _sides(self.a.micro, self.b.micro, self.gain.micro),
            "macro_f1": _sides(self.a.macro, self.b.macro, self.gain.macro),
            "macro_findings": list(self.gain.macro_findings),
            "mcnemar_all_cells": _test(self.test),
            "findings": {finding.finding: _finding(finding) for finding in self.findings},
            "level": self.gain.level,
            "n_boot": self.gain.n_boot,
            "seed": self.gain.seed,
        }


def compare_statuses(
    truth: Codes,
    a: Codes,
    b: Codes,
    clusters: npt.NDArray[np.integer],
    *,
    positive: Collection[Status] = POSITIVE,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> FlipReport:
    """Compare two labelers on the same reports.

    Args:
        truth: Curated codes (index into `STATUSES`), shape `(N, 13)`; -1 is no curated label: such a cell may flip, but
            says nothing of better or worse.
        a: Codes of the one labeler, same shape; -1, no label, counts as not positive, and is no flip.
        b: Codes of the other, same shape.
        clusters: Which reports belong together, shape `(N,)`.
        positive: Statuses that are read as positive.
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        ValueError: The shapes do not fit.
    """
    figures_a, figures_b = (
        evaluate_statuses(truth, codes, clusters, positive=positive, n_boot=n_boot, seed=seed, level=level)
        for codes in (a, b)
    )
    gain = paired_difference(truth, a, b, clusters, positive=positive, n_boot=n_boot, seed=seed, level=level)
    right_a, right_b = (mask_of(codes, positive) == mask_of(truth, positive) for codes in (a, b))
    known = truth >= 0
    only_a, only_b = known & right_a & ~right_b, known & right_b & ~right_a
    tests = [mcnemar(int(by_a), int(by_b)) for by_a, by_b in zip(only_a.sum(axis=0), only_b.sum(axis=0), strict=True)]
    corrected = holm([test.mid_p for test in tests])
    flips = count_flips(a, b)
    findings = tuple(
        FindingFlips(
            finding=name,
            n=figures_a.findings[i].n,
            positives=figures_a.findings[i].positives,
            flips=flips[name],
            f1_a=figures_a.findings[i].f1,
            f1_b=figures_b.findings[i].f1,
            gain=gain.findings[i],
            test=tests[i],
            corrected=corrected[i],
        )
        for i, name in enumerate(FINDINGS)
    )
    both = (a >= 0) & (b >= 0)
    return FlipReport(
        figures_a,
        figures_b,
        gain,
        findings,
        mcnemar(int(only_a.sum()), int(only_b.sum())),
        flipped_reports=int((both & (a != b)).any(axis=1).sum()),
        cells=int(both.sum()),
    )


def count_flips(a: Codes, b: Codes) -> dict[str, dict[Kind, int]]:
    """Count the flips of each finding by (status by a, status by b), the most frequent first.

    Args:
        a: Codes, shape `(N, 13)`; -1 is no label, and no flip.
        b: Codes, same shape.
    """
    counted: dict[str, dict[Kind, int]] = {}
    for column, finding in enumerate(FINDINGS):
        before, after = a[:, column], b[:, column]
        flipped = (before >= 0) & (after >= 0) & (before != after)
        pairs, counts = np.unique(np.stack([before[flipped], after[flipped]]), axis=1, return_counts=True)
        kinds = [(STATUSES[old], STATUSES[new]) for old, new in pairs.T]
        ordered = sorted(zip(kinds, counts, strict=True), key=lambda entry: (-entry[1], entry[0]))
        counted[finding] = {kind: int(count) for kind, count in ordered}
    return counted


def _finding(finding: FindingFlips) -> dict[str, Any]:
    return {
        "n": finding.n,
        "positives": finding.positives,
        "flips": {f"{old}->{new}": count for (old, new), count in finding.flips.items()},
        "f1": _sides(finding.f1_a, finding.f1_b, finding.gain),
        "mcnemar": {**_test(finding.test), "corrected": finding.corrected},
        "shown": finding.shown,
    }


def _sides(a: Estimate, b: Estimate, gain: Estimate) -> dict[str, Any]:
    return {"a": a.as_dict(), "b": b.as_dict(), "gain": gain.as_dict()}


def _test(test: McNemar) -> dict[str, Any]:
    return {"only_a_right": test.only_a, "only_b_right": test.only_b, "exact": test.exact, "mid_p": test.mid_p}
