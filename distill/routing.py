"""Where a student and a sure teacher say different things of a target: a question for a person, no lesson.

A round pseudo-labels reports that the distilled teacher has not labelled. Another teacher may have: rules alone, an
older prompt, the model of last year. Where such a teacher gives another status, and is at least as sure as the settings
ask (rules never are: they give no probability), the pseudo-label is refused, with that reason in `training_rows`. The
student's label and the teacher's both stand in the store, so the review page shows the target as "a student against the
teacher"; `fetch_contradictions` lists all that were refused so. Where a person has decided a target for training, that
decision is trained on already, and no pseudo-label stands beside it.

Curated labels that came with a corpus are not asked: a student that is fed what they agree with learns from the very
codes that judge it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from teachback.store.label import FINDINGS, STATUSES

__all__ = ["AGAINST", "Contradiction", "Opinion", "fetch_contradictions", "fetch_opinions", "objections"]

AGAINST = "refused: against a teacher that is sure of another status"
DECIDED = "refused: a person has decided this target"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What some other teacher, or a person, says of a target.

    Attributes:
        report_id: The report.
        target: The finding.
        status: Its status.
        confidence: How sure; None for a person, whose word stands.
        labeler: Who says so.
    """

    report_id: str
    target: str
    status: str
    confidence: float | None
    labeler: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A pseudo-label that was refused because a sure teacher says otherwise.

    Attributes:
        round_id: The round that would have trained on it.
        report_id: The report.
        target: The finding.
        status: What the student says.
        confidence: How sure it is.
        reason: Who says what instead.
    """

    round_id: str
    report_id: str
    target: str
    status: str
    confidence: float | None
    reason: str


def fetch_opinions(connection: duckdb.DuckDBPyConnection, report_ids: Sequence[str]) -> tuple[Opinion, ...]:
    """Read what teachers say of reports' findings, where they say how sure they are.

    A label of `unmentioned` from a part of the report is silence, and left out. So is what an adjudicator overruled:
    a teacher's last word counts.

    Args:
        connection: The store or a snapshot of it.
        report_ids: The reports of the pool, which the distilled teacher has not labelled.

    Returns:
        One opinion a report, finding, labeler and status, the surest of equals, in a fixed order.
    """
    connection.register("asked_reports", pa.table({"report_id": pa.array(list(report_ids), pa.string())}))
    try:
        rows = connection.execute(
            """SELECT l.report_id, l.target, l.status, max(l.confidence), b.name
            FROM teacher_labels l JOIN labelers b USING (labeler_id) SEMI JOIN asked_reports USING (report_id)
            WHERE l.task = 'findings' AND l.confidence IS NOT NULL
                AND NOT (l.status = 'unmentioned' AND l.scope <> 'full')
            GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
    finally:
        connection.unregister("asked_reports")
    return tuple(Opinion(*row) for row in rows)


def objections(
    opinions: Sequence[Opinion], report_ids: Sequence[str], codes: NDArray[np.int8], bound: float
) -> NDArray[np.object_]:
    """Return for each prediction why it may not be fed back; empty text where nobody objects.

    Args:
        opinions: What others say. Where several object to a prediction, a person goes first, then the surest.
        report_ids: N reports.
        codes: (N, 13) what the student says.
        bound: Confidence from which a teacher's word keeps another status out. A person's keeps any out.
    """
    vetoes = np.full(codes.shape, "", object)
    row = {report_id: i for i, report_id in enumerate(report_ids)}
    for opinion in sorted(opinions, key=lambda o: 2.0 if o.confidence is None else o.confidence):
        if opinion.report_id not in row or opinion.target not in FINDINGS:
            continue
        at = row[opinion.report_id], FINDINGS.index(opinion.target)
        if opinion.confidence is None:
            vetoes[at] = f"{DECIDED} ({opinion.labeler}: {opinion.status})"
        elif opinion.confidence >= bound and opinion.status != STATUSES[codes[at]]:
            vetoes[at] = f"{AGAINST} ({opinion.labeler}: {opinion.status} at {opinion.confidence:.2f})"
    return vetoes


def fetch_contradictions(
    connection: duckdb.DuckDBPyConnection, round_id: str | None = None
) -> tuple[Contradiction, ...]:
    """List the pseudo-labels that sure teachers kept out: what a person, or an adjudicator, should decide.

    Args:
        connection: The store or a snapshot of it.
        round_id: Only those of this round.
    """
    rows = connection.execute(
        """SELECT round_id, report_id, target, status, confidence, reason FROM pseudo_labels
        ANTI JOIN curated_labels USING (report_id, task, target)
        WHERE starts_with(reason, ?) AND (? IS NULL OR round_id = ?) ORDER BY ALL""",
        [AGAINST, round_id, round_id],
    ).fetchall()
    return tuple(Contradiction(*row) for row in rows)
