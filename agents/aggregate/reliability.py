"""How reliable each labeler has proved on curated labels, for each finding.

A finding has few curated labels, so its accuracy is filled up with votes of the labeler's overall accuracy, and that
by Laplace's rule with one right and one wrong vote.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.agents.aggregate.curated import fetch_truths
from teachback.agents.aggregate.votes import FULL, NO_VOTE, UNMENTIONED, fetch_newest
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["FindingReliability", "Reliability", "reliability"]

POOLED_VOTES = 20  # votes of the overall accuracy that a finding's own are filled up with
LEAST_WEIGHT = 0.05  # of a labeler that is wrong more often than not: it decides ties, and never counts negatively

_PRESENT = STATUSES.index("present")


@dataclass(frozen=True)
class FindingReliability:
    """One labeler on one finding.

    Attributes:
        labeler_id: The labeler.
        finding: The finding.
        n: Curated reports on which it gave a status; silence is none.
        accuracy: How often the status was the curated one.
        shrunk_accuracy: The same, filled up with votes of its overall accuracy.
        precision: Of its `present`, how many are curated `present`; None where it never said so.
        recall: Of the curated `present` that it gave a status, how many it called `present`; None where there are none.
    """

    labeler_id: str
    finding: str
    n: int
    accuracy: float
    shrunk_accuracy: float
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Reliability:
    """The reliability of V labelers.

    Attributes:
        labeler_ids: The labelers.
        split: The split whose curated labels judged them.
        overall: Accuracy over all findings by Laplace's rule; None for a labeler that nothing curated tells of.
        findings: What is known, by labeler and finding.
    """

    labeler_ids: tuple[str, ...]
    split: str
    overall: Mapping[str, float | None]
    findings: Mapping[tuple[str, str], FindingReliability] = field(repr=False)

    def of(self, labeler_id: str, finding: str) -> FindingReliability | None:
        """Return a labeler's reliability on a finding; None where nothing curated tells of it."""
        return self.findings.get((labeler_id, finding))

    def weights(self) -> npt.NDArray[np.float64] | None:
        """Return what each labeler's vote should weigh: the log-odds that it is right, shape `(13, V)`.

        A finding without curated labels takes the labeler's overall accuracy, a labeler without any takes the mean
        weight of the others. None where nothing is curated at all: then nobody should weigh more.
        """
        if not self.findings:
            return None
        weights = np.full((len(FINDINGS), len(self.labeler_ids)), np.nan)
        for column, labeler_id in enumerate(self.labeler_ids):
            overall = self.overall[labeler_id]
            if overall is None:
                continue
            for row, finding in enumerate(FINDINGS):
                known = self.of(labeler_id, finding)
                accuracy = known.shrunk_accuracy if known else overall
                weights[row, column] = max(LEAST_WEIGHT, math.log(accuracy / (1 - accuracy)))
        return np.where(np.isnan(weights), np.nanmean(weights, axis=1, keepdims=True), weights)


def reliability(
    connection: duckdb.DuckDBPyConnection, labeler_ids: Sequence[str], split: str = "calibration"
) -> Reliability:
    """Judge labelers by the curated labels of a split.

    `unmentioned` from less of the report than the curator read is silence here too: it is not counted. Where a curator
    marks positives only, any status but `present` is as good as its `unmentioned`.

    Args:
        connection: A store or a snapshot.
        labeler_ids: The labelers.
        split: `calibration` or `train`.

    Raises:
        SettingError: The split is kept for judging.
    """
    curated = fetch_truths(connection, split)
    newest = fetch_newest(connection, labeler_ids, curated.report_ids)
    place = (newest.reports, newest.findings)
    truth, positives_only = curated.codes[place], curated.positives_only[place]
    counted = (newest.codes != NO_VOTE) & ~newest.silence(curated.scopes[place] == FULL) & (truth != NO_VOTE)[:, None]
    vague = positives_only & (truth == UNMENTIONED)
    right = (newest.codes == truth[:, None]) | (vague[:, None] & (newest.codes != _PRESENT))
    called = newest.codes == _PRESENT
    true = np.broadcast_to((truth == _PRESENT)[:, None], called.shape)

    def count(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        counts = np.zeros((len(FINDINGS), len(labeler_ids)), dtype=np.int64)
        np.add.at(counts, newest.findings, mask & counted)
        return counts

    n, hits = count(np.ones_like(called)), count(right)
    tp, positives, calls = count(true & called), count(true), count(called)
    overall = (hits.sum(axis=0) + 1) / (n.sum(axis=0) + 2)
    shrunk = (hits + POOLED_VOTES * overall) / (n + POOLED_VOTES)
    known = {
        (labeler_id, finding): FindingReliability(
            labeler_id,
            finding,
            int(n[f, v]),
            float(hits[f, v] / n[f, v]),
            float(shrunk[f, v]),
            float(tp[f, v] / calls[f, v]) if calls[f, v] else None,
            float(tp[f, v] / positives[f, v]) if positives[f, v] else None,
        )
        for f, finding in enumerate(FINDINGS)
        for v, labeler_id in enumerate(labeler_ids)
        if n[f, v]
    }
    told = {v: float(overall[i]) if n[:, i].any() else None for i, v in enumerate(labeler_ids)}
    return Reliability(tuple(labeler_ids), split, told, known)
