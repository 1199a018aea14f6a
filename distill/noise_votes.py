"""What a teacher's labelers say of a target, as shares of the four statuses: the soft target of `targets: soft`.

A decision hides how it came about. Each labeler of the teacher has one vote, its adjudicator among them, and a share is
the mean over votes: a vote's stored probabilities; its confidence at its status and the rest evenly elsewhere, where
that is all that is known; else all at its status. An aggregator has weighed the votes already, so its probabilities
stand alone. Silence of a labeler that did not read all of a report is no vote beside others (as in `teacher_labels`).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from teachback.store.label import STATUSES

__all__ = ["Share", "Span", "Vote", "fetch_shares", "mix", "thin"]

Span = tuple[str, int, int]

LEAST = 0.05  # a status with a smaller share is left out: each costs the student a question

_VOTES = """SELECT l.report_id, l.target, l.status, l.confidence, l.probs, l.evidence, m.seat = 'aggregator',
    l.status = 'unmentioned' AND l.scope <> 'full'
FROM committed c JOIN teacher_members m USING (teacher_id)
JOIN labels l ON l.report_id = c.report_id AND l.labeler_id = m.labeler_id
JOIN splits s ON s.report_id = l.report_id
WHERE c.teacher_id = ? AND l.task = 'findings' AND s.split = 'train'
QUALIFY row_number() OVER (
    PARTITION BY l.report_id, l.target, l.labeler_id ORDER BY l.created_at DESC, l.label_id) = 1
ORDER BY l.report_id, l.target, m.place, l.labeler_id"""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a target is of one status.

    Attributes:
        status: The status.
        share: Between 0 and 1.
        evidence: The words that say so, as (section, start, end); none for silence.
    """

    status: str
    share: float
    evidence: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Vote:
    """What one labeler says of a target.

    Attributes:
        status: Its status.
        confidence: How sure it is; None where it does not say.
        probabilities: Of the four statuses; None where it does not say.
        evidence: The words that it quotes.
        final: Whether it has weighed all other votes.
        silent: Whether it found nothing in a part of the report.
    """

    status: str
    confidence: float | None = None
    probabilities: tuple[float, ...] | None = None
    evidence: tuple[Span, ...] = ()
    final: bool = False
    silent: bool = False


def fetch_shares(connection: duckdb.DuckDBPyConnection, teacher_id: str) -> dict[tuple[str, str], tuple[Share, ...]]:
    """Read what a teacher's labelers say of the findings of `train` reports.

    Args:
        connection: The store or a snapshot of it.
        teacher_id: The teacher.

    Returns:
        Report and finding to shares that sum to 1; nothing where all votes are sure of one status.
    """
    votes: dict[tuple[str, str], list[Vote]] = defaultdict(list)
    for report_id, target, *plain in connection.execute(_VOTES, [teacher_id]).fetchall():
        votes[report_id, target].append(_vote(*plain))
    mixed = ((key, thin(mix(said))) for key, said in votes.items())
    return {key: shares for key, shares in mixed if len({share.status for share in shares}) > 1}


def mix(votes: Sequence[Vote]) -> tuple[Share, ...]:
    """Mix votes into shares that sum to 1: one a vote and status, with the vote's evidence."""
    heard = [vote for vote in votes if not vote.silent] or list(votes)
    heard = [vote for vote in heard if vote.final] or heard
    return tuple(
        Share(status, share / len(heard), () if status == "unmentioned" else vote.evidence)
        for vote in heard
        for status, share in zip(STATUSES, _distribution(vote), strict=True)
        if share > 0
    )


def thin(shares: Iterable[Share]) -> tuple[Share, ...]:
    """Leave statuses out that have less than `LEAST` in all; the others take their share."""
    found = list(shares)
    total: dict[str, float] = defaultdict(float)
    for share in found:
        total[share.status] += share.share
    kept = [share for share in found if total[share.status] >= LEAST]
    left = sum(share.share for share in kept)
    return tuple(Share(share.status, share.share / left, share.evidence) for share in kept)


def _distribution(vote: Vote) -> list[float]:
    if vote.probabilities is not None:
        return list(vote.probabilities)
    sure = 1.0 if vote.confidence is None else vote.confidence
    rest = (1 - sure) / (len(STATUSES) - 1)
    return [sure if status == vote.status else rest for status in STATUSES]


def _vote(status: str, confidence: float | None, probs: Any, evidence: Any, final: bool, silent: bool) -> Vote:
    probabilities = None if probs is None else tuple(float(probs[name] or 0.0) for name in STATUSES)
    spans = tuple((e["section"], e["start"], e["end"]) for e in evidence or ())
    return Vote(status, confidence, probabilities, spans, final, silent)
