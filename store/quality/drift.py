"""How a student's labels moved from the round before, on the reports that both labelled; no curated labels needed.

Each student is compared with the one whose predictions were fed back to it (arm `feedback`, one round earlier, the same
campaign), and in the first round with the teacher. Three measures a finding: the change of the share of `present`, with
a bootstrap interval by cluster; the share of labels that changed at all, likewise; and the Jensen-Shannon divergence of
the two distributions over the statuses (Lin 1991, doi:10.1109/18.61115), in bits, between 0 and 1.
"""

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.errors import StoreError
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.bootstrap import Counts, Estimate, Floats, cluster_sums, estimate, resample_sums
from teachback.store.quality.f1 import Codes, Mask
from teachback.store.quality.statuses import fetch_labeler, fetch_labelled, fetch_teacher

__all__ = ["Drift", "FindingDrift", "fetch_drift", "jensen_shannon", "measure_drift"]

_S = len(STATUSES)
_PRESENT = STATUSES.index("present")


@dataclass(frozen=True, slots=True)
class FindingDrift:
    """How one finding's labels moved.

    Attributes:
        finding: Which one; `all` for all cells together.
        n: Reports, or cells, that both labelled.
        before: Share of `present` before.
        now: Share of `present` now.
        change: `now` minus `before`.
        changed: Share of labels whose status changed.
        divergence: Jensen-Shannon divergence of the distributions over the statuses, in bits; NaN where n is 0.
    """

    finding: str
    n: int
    before: float
    now: float
    change: Estimate
    changed: Estimate
    divergence: float

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        plain = {f: getattr(self, f) for f in ("finding", "n", "before", "now", "divergence")}
        plain = {name: None if value != value else value for name, value in plain.items()}
        return plain | {"change": self.change.as_dict(), "changed": self.changed.as_dict()}


@dataclass(frozen=True, slots=True)
class Drift:
    """How one round's labels moved from those before.

    Attributes:
        campaign_id: The campaign.
        round: The round's number.
        arm: Its arm.
        round_id: The round.
        before: What it is compared with: `teacher` or `round 1`.
        overall: All findings' cells together.
        findings: The 13 findings, in the order of `FINDINGS`.
        n_reports: Reports that both labelled.
    """

    campaign_id: str
    round: int
    arm: str
    round_id: str
    before: str
    overall: FindingDrift
    findings: tuple[FindingDrift, ...]
    n_reports: int

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        plain = {f: getattr(self, f) for f in ("campaign_id", "round", "arm", "round_id", "before", "n_reports")}
        return plain | {"overall": self.overall.as_dict(), "findings": [f.as_dict() for f in self.findings]}


def fetch_drift(
    connection: duckdb.DuckDBPyConnection,
    *,
    split: str | None = None,
    corpus: str | None = None,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Drift]:
    """Measure the drift of every round that has labels and something to be compared with.

    Args:
        connection: A store or a snapshot.
        split: Only reports of this split.
        corpus: Only reports of this corpus.
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        StoreError: There is no round to compare.
    """
    rounds = connection.execute(
        'SELECT campaign_id, "round", arm, round_id, labeler_id, teacher_id FROM rounds '
        'ORDER BY created_at, "round", arm'
    ).fetchall()
    fed = {(campaign, number): labeler for campaign, number, arm, _, labeler, _ in rounds if arm == "feedback"}
    found = []
    for campaign, number, arm, round_id, labeler_id, teacher_id in rounds:
        now = fetch_labelled(connection, labeler_id, split, corpus)
        earlier = fed.get((campaign, number - 1))
        if earlier:
            name, before = f"round {number - 1}", fetch_labeler(connection, earlier, now.report_ids)
        else:
            name, before = "teacher", fetch_teacher(connection, teacher_id or "", now.report_ids)
        both: Mask = np.asarray(((now.codes >= 0) & (before >= 0)).any(axis=1))
        if both.any():
            part = now.take(both)
            figures = measure_drift(before[both], part.codes, part.clusters, n_boot=n_boot, seed=seed, level=level)
            found.append(Drift(campaign, number, arm, round_id, name, figures[-1], figures[:-1], len(part)))
    if not found:
        raise StoreError(
            "no round has labels that can be compared with those before", "`teachback distill` makes rounds"
        )
    return found


def measure_drift(
    before: Codes,
    now: Codes,
    clusters: npt.NDArray[np.integer],
    *,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[FindingDrift, ...]:
    """Compare two labelings of the same reports.

    Args:
        before: Codes (index into `STATUSES`), shape `(N, 13)`; cells that are -1 in either are left out.
        now: Codes of the later labeling, same shape.
        clusters: Cluster of each report, shape `(N,)`.
        n_boot: Resamples behind the intervals; 0 for none.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Returns:
        The 13 findings, in the order of `FINDINGS`, and last all of them together.

    Raises:
        ValueError: The shapes do not fit.
    """
    if before.shape != now.shape or before.ndim != 2 or clusters.shape != before.shape[:1]:
        raise ValueError(f"codes {before.shape} and {now.shape} and clusters {clusters.shape} do not fit")
    both = (before >= 0) & (now >= 0)
    masks = (both, both & (before == _PRESENT), both & (now == _PRESENT), both & (before != now))
    sums = cluster_sums(np.stack(masks, axis=-1).astype(np.int64).reshape(len(before), -1), clusters)
    total, drawn = _with_all(sums.sum(axis=0)), _with_all(resample_sums(sums, n_boot, seed))
    point, resampled = _shares(total), _shares(drawn)
    spread = [
        np.array([[(c[:, i] == s)[both[:, i]].sum() for s in range(_S)] for c in (before, now)])
        for i in range(len(FINDINGS))
    ]
    spread.append(sum(spread[1:], spread[0]))
    return tuple(
        FindingDrift(
            finding=name,
            n=int(total[i, 0]),
            before=float(point[i, 2]),
            now=float(point[i, 3]),
            change=estimate(float(point[i, 0]), resampled[:, i, 0], level),
            changed=estimate(float(point[i, 1]), resampled[:, i, 1], level),
            divergence=jensen_shannon(*spread[i]),
        )
        for i, name in enumerate((*FINDINGS, "all"))
    )


def jensen_shannon(p: npt.NDArray[Any], q: npt.NDArray[Any]) -> float:
    """Return the Jensen-Shannon divergence, in bits, of two distributions given as counts; NaN where one is empty."""
    if not p.sum() or not q.sum():
        return float("nan")
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    return float(sum((side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum() for side in (p, q)) / 2)


def _with_all(sums: Counts) -> Counts:
    """(..., 52) -> (..., 14, 4): the findings, and last all cells."""
    by_finding = sums.reshape(*sums.shape[:-1], len(FINDINGS), 4)
    return np.concatenate([by_finding, by_finding.sum(axis=-2, keepdims=True)], axis=-2)


def _shares(sums: Counts) -> Floats:
    """(..., 4) of n, present before, present now, changed -> (..., 4): change, changed, before, now."""
    n = sums[..., :1].astype(np.float64)
    n[n == 0] = np.nan
    before, now, changed = (sums[..., i : i + 1] / n for i in (1, 2, 3))
    return np.concatenate([now - before, changed, before, now], axis=-1)
