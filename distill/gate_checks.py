"""The gate's conditions on F1: better in micro-F1, not much worse in macro-F1, no finding harmed.

**Better** is asked of micro-F1, at the level of the look (`gate_budget`): the lower bound of a paired bootstrap must
not be below zero, and swapping must not explain the gain (`gate_swaps`), which the bootstrap overlooks where few
reports differ. **Not much worse** is asked of macro-F1: with two positives of a finding its F1 is a coin's toss, so
findings with few count as one finding together, and the lower bound may lie a margin below zero. **Not harmed** is
asked of each finding, and of the rare ones together: harm must not be shown, after Holm's correction for so many tests.

A candidate must pass every one of them, so its chance of passing while it is worse in any of these senses is no larger
than that condition's own level (an intersection-union test: Berger 1982, doi:10.1080/00401706.1982.10487790).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from teachback.distill.config import GateSettings
from teachback.distill.gate_budget import Look
from teachback.distill.gate_swaps import Compared, F1Sums, compare_by_swapping, f1_of
from teachback.store.label import FINDINGS
from teachback.store.quality.bootstrap import Counts, Floats, cluster_sums, resample_sums
from teachback.store.quality.f1 import POSITIVE, Codes, Mask, mask_of
from teachback.store.quality.mcnemar import holm

__all__ = ["Check", "GateReports", "check_f1", "one_sided", "resample", "skipped"]

N_BOOT = 2000
RARE = "the rare findings together"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the gate, and what came of it.

    Attributes:
        name: Which condition.
        value: What was measured; None where nothing could be.
        low: Lower end of its interval, where it has one.
        high: Upper end, where it has one.
        limit: What the value or an end of its interval was held against.
        passed: Whether the candidate meets it; None where it was not asked, which stops nobody.
        words: The same in words.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    limit: float
    passed: bool | None
    words: str

    def as_dict(self) -> dict[str, Any]:
        """Return the condition as plain values; undefined figures are None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class GateReports:
    """What champion and candidate call present on the gate, read as positive or not.

    Attributes:
        known: (N, 13) where there is a curated label.
        there: (N, 13) where it is positive.
        champion: (N, 13) what the champion calls.
        candidate: (N, 13) what the candidate calls.
        clusters: (N,) which reports belong together.
    """

    known: Mask
    there: Mask
    champion: Mask
    candidate: Mask
    clusters: npt.NDArray[Any]

    @classmethod
    def read(cls, truth: Codes, champion: Codes, candidate: Codes, clusters: npt.NDArray[Any]) -> "GateReports":
        """Read (N, 13) status codes; only cells with a curated label count."""
        known = truth >= 0
        there, says, candidate_says = (mask_of(codes, POSITIVE) & known for codes in (truth, champion, candidate))
        return cls(known, there, says, candidate_says, clusters)

    @property
    def unchanged(self) -> bool:
        """Whether the candidate calls exactly what the champion calls."""
        return bool((self.champion == self.candidate).all())

    def counts(self) -> Counts:
        """Count by cluster, (C, 65): hits of champion and candidate, calls of both, positives, of 13 findings each."""
        said = (self.champion, self.candidate)
        stacked = np.concatenate([*(m & self.there for m in said), *said, self.there], axis=1).astype(np.int64)
        return cluster_sums(stacked, self.clusters)

    def groups(self, fewest: int) -> Mask:
        """Return (13, G) which findings make a group: all, then each that is frequent, then the rare ones together."""
        positives = self.there.sum(axis=0)
        frequent = np.flatnonzero(positives >= fewest)
        groups = np.zeros((len(FINDINGS), len(frequent) + 2), bool)
        groups[:, 0] = True
        groups[frequent, np.arange(len(frequent)) + 1] = True
        groups[:, -1] = positives < fewest
        return groups if positives[groups[:, -1]].any() else groups[:, :-1]


def resample(parts: Sequence[Counts], seed: int) -> list[Counts]:
    """Draw clusters anew, the same for all parts: each (C, K) -> (B, K)."""
    edges = np.cumsum([part.shape[1] for part in parts])[:-1]
    return np.split(resample_sums(np.concatenate(parts, axis=1), N_BOOT, seed), edges, axis=1)


def check_f1(
    reports: GateReports, resampled: Counts, settings: GateSettings, look: Look, *, seed: int = 0
) -> list[Check]:
    """Hold the candidate's F1 against the champion's.

    Args:
        reports: What both call.
        resampled: (B, 65) `reports.counts()`, drawn anew.
        settings: Margins and levels.
        look: The level at which a gain must be shown.
        seed: Of the swaps.
    """
    counts = reports.counts()
    sums, groups = _as_sums(counts), reports.groups(settings.macro_positives)
    point, drawn = (_gains(_as_sums(rows), groups) for rows in (counts.sum(axis=0, keepdims=True), resampled))
    point = point[0]
    rare = reports.there.sum(axis=0) < settings.macro_positives
    harm_groups = np.column_stack([np.ones(len(FINDINGS), bool), np.eye(len(FINDINGS), dtype=bool), rare])
    swapped = compare_by_swapping(sums.pooled(harm_groups), seed=seed)
    checks = [_micro(reports, float(point[0]), drawn[:, 0], look), _by_swapping(reports, swapped, look)]
    if len(point) > 1 and len(drawn):
        pooled = int(rare.sum()) if groups[:, -1].sum() > 1 else 0
        checks.append(_macro(float(point[1:].mean()), drawn[:, 1:].mean(axis=1), settings, pooled))
    return [*checks, _harm(swapped, int(rare.sum()), settings)]


def one_sided(value: float, drawn: Floats, level: float) -> tuple[float, float]:
    """Return the lower and the upper bound, each at a one-sided level, of a figure that was drawn anew (B,) times."""
    if math.isnan(value) or not len(drawn):
        return math.nan, math.nan
    low, high = np.quantile(drawn, [level, 1 - level])
    return float(low), float(high)


def skipped(name: str, limit: float, why: str) -> Check:
    """Return a condition that was not asked."""
    return Check(name, None, None, None, limit, None, f"{name} was not asked: {why}")


def _micro(reports: GateReports, gain: float, drawn: Floats, look: Look) -> Check:
    gain = gain if reports.there.any() else math.nan
    low, high = one_sided(gain, drawn, look.level)
    passed = low >= 0
    if math.isnan(low):
        words = "micro-F1 cannot be compared: no curated positives, or all reports of one patient"
        return Check("micro-F1", gain, low, high, 0.0, False, words)
    words = f"micro-F1 {gain:+.3f}, at least {low:+.3f} with {1 - look.level:.1%} confidence"
    return Check("micro-F1", gain, low, high, 0.0, passed, words if passed else f"{words}: no gain is shown")


def _by_swapping(reports: GateReports, swapped: Compared, look: Look) -> Check:
    name, p = "micro-F1 by swapping", float(swapped.better[0])
    if reports.unchanged:
        return Check(name, p, None, None, look.level, True, "the candidate calls what the champion calls")
    passed = p <= look.level
    words = f"swapping the two at random gains as much in {p:.1%} of draws, {look.level:.1%} allowed"
    return Check(name, p, None, None, look.level, passed, words)


def _macro(gain: float, drawn: Floats, settings: GateSettings, pooled: int) -> Check:
    low, high = one_sided(gain, drawn, settings.macro_level)
    limit = -settings.macro_margin
    passed = low >= limit
    words = f"macro-F1 {gain:+.3f}, at least {low:+.3f} with {1 - settings.macro_level:.0%} confidence"
    words += f" ({pooled} rare findings as one)" if pooled else ""
    words += f"; {limit:+.3f} or more is needed" if not passed else ""
    return Check("macro-F1", gain, low, high, limit, passed, words)


def _harm(swapped: Compared, rare: int, settings: GateSettings) -> Check:
    names = [*FINDINGS, RARE][: None if rare > 1 else -1]
    corrected = holm([float(p) for p in swapped.worse[1 : len(names) + 1]])
    harmed = [
        f"{name} ({gain:+.3f})"
        for name, gain, p in zip(names, swapped.gain[1:], corrected, strict=False)
        if p <= settings.harm_level
    ]
    words = f"{', '.join(harmed)} dropped beyond chance" if harmed else "no finding dropped beyond chance"
    return Check("harm by finding", min(corrected), None, None, settings.harm_level, not harmed, words)


def _gains(sums: F1Sums, groups: Mask) -> Floats:
    """Return the (R, G) gains in F1 of each row and group."""
    of = sums.pooled(groups)
    champion, candidate = (f1_of(of.hits[:, who], of.called[:, who], of.positives) for who in (0, 1))
    return candidate - champion


def _as_sums(rows: Counts) -> F1Sums:
    """(R, 65) -> counts of each row, a cluster or a resample."""
    champion_hits, hits, champion_called, called, there = np.split(rows.astype(np.float64), 5, axis=1)
    return F1Sums(np.stack([champion_hits, hits], axis=1), np.stack([champion_called, called], axis=1), there)
