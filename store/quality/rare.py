"""Findings too rare for a bootstrap: counts beside exact intervals.

With a handful of positives a bootstrap draws few different resamples, and of a finding that was never missed it draws
no miss: its interval is a point. Clopper and Pearson's interval (1934, doi:10.1093/biomet/26.4.404) stays honest: three
of three found still allows a recall of 0.29. It takes reports as independent; where a patient has several, it is
somewhat too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from teachback.store.quality.bootstrap import Estimate
from teachback.store.quality.f1 import F1Report
from teachback.store.review.intervals import binomial_interval

__all__ = ["FEW", "RareFinding", "rare_findings"]

# Positives below which a finding counts as rare: 59 without an error certify an error rate of 5 % at 95 %.
FEW = 59


@dataclass(frozen=True, slots=True)
class RareFinding:
    """One subject's figures for a rare finding.

    Attributes:
        finding: Which one.
        n: Reports with a curated label of it.
        positives: Those whose curated label is positive.
        found: Positives that the subject calls so.
        claimed: Reports that the subject calls positive and that are not.
        recall: found / positives.
        precision: found / (found + claimed).
    """

    finding: str
    n: int
    positives: int
    found: int
    claimed: int
    recall: Estimate
    precision: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        plain = {f: getattr(self, f) for f in ("finding", "n", "positives", "found", "claimed")}
        return plain | {"recall": self.recall.as_dict(), "precision": self.precision.as_dict()}


def rare_findings(figures: F1Report, *, few: int = FEW, level: float = 0.95) -> Sequence[RareFinding]:
    """Return the findings with fewer positives than `few`, those without any too, the rarest first.

    Args:
        figures: A subject's figures.
        few: Positives from which a finding is no longer rare.
        level: Coverage of the intervals.
    """
    rare = sorted((f for f in figures.findings if f.positives < few), key=lambda f: f.positives)
    return [
        RareFinding(
            f.finding,
            f.n,
            f.positives,
            f.tp,
            f.fp,
            _share(f.tp, f.positives, level),
            _share(f.tp, f.predicted_positives, level),
        )
        for f in rare
    ]


def _share(part: int, whole: int, level: float) -> Estimate:
    found = binomial_interval(part, whole, level)
    return Estimate(found.value, found.low, found.high) if whole else Estimate(found.value, found.value, found.value)
