"""What waits for a person: the targets of which an adjudicator could not tell, with the votes that it weighed."""

from dataclasses import dataclass
from typing import Any

import duckdb

__all__ = ["QueuedTarget", "QueuedVote", "fetch_queue"]


@dataclass(frozen=True, slots=True)
class QueuedVote:
    """One vote on a target that waits.

    Attributes:
        labeler: Who gave it.
        status: What it says.
        quote: The first words that it rests on; None where it gave none.
        confidence: How sure it was; None where it gave no figure.
    """

    labeler: str
    status: str
    quote: str | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class QueuedTarget:
    """One target of one report that waits for a person.

    Attributes:
        report_id: The report.
        corpus: Its corpus.
        task: The task.
        target: What is to be decided.
        why: Why it waits, such as `cannot_tell`.
        rationale: What the adjudicator said of it.
        votes: The votes that differ, in the order in which they were weighed.
        adjudicator: Who could not tell.
        adjudication_id: The verdict.
    """

    report_id: str
    corpus: str
    task: str
    target: str
    why: str
    rationale: str
    votes: tuple[QueuedVote, ...]
    adjudicator: str
    adjudication_id: str


def fetch_queue(connection: duckdb.DuckDBPyConnection, corpus: str | None = None) -> tuple[QueuedTarget, ...]:
    """Read the review queue (view `review_queue`), in the order of reports and targets.

    Args:
        connection: A store or a snapshot.
        corpus: Only reports of this corpus.
    """
    rows = connection.execute(
        "SELECT q.report_id, r.corpus, q.task, q.target, q.why, coalesce(q.rationale, ''), b.name, q.adjudication_id, "
        "q.weighed FROM review_queue q JOIN reports r USING (report_id) JOIN labelers b USING (labeler_id) "
        f"WHERE {'true' if corpus is None else 'r.corpus = ?'} "
        "ORDER BY q.report_id, q.task, q.target, q.created_at, q.adjudication_id",
        [] if corpus is None else [corpus],
    ).fetchall()
    votes = _votes(connection, sorted({label_id for row in rows for label_id in row[-1]}))
    return tuple(
        QueuedTarget(
            report_id=report_id,
            corpus=of_corpus,
            task=task,
            target=target,
            why=why,
            rationale=rationale,
            votes=tuple(votes[label_id] for label_id in weighed if label_id in votes),
            adjudicator=adjudicator,
            adjudication_id=adjudication_id,
        )
        for report_id, of_corpus, task, target, why, rationale, adjudicator, adjudication_id, weighed in rows
    )


def _votes(connection: duckdb.DuckDBPyConnection, label_ids: list[str]) -> dict[str, QueuedVote]:
    found: list[tuple[Any, ...]] = connection.execute(
        "SELECT label_id, b.name, status, evidence[1].quote, confidence FROM labels JOIN labelers b USING (labeler_id) "
        "WHERE label_id IN (SELECT unnest(?::VARCHAR[]))",
        [label_ids],
    ).fetchall()
    return {label_id: QueuedVote(*vote) for label_id, *vote in found}
