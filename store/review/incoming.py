"""Decisions that were made elsewhere and come in: checked one by one, taken in many at a time, twice is a no-op."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from teachback.errors import InputError
from teachback.store.corpora.imported import Skipped
from teachback.store.database import Store
from teachback.store.identity import content_id
from teachback.store.review.decisions import Decision, decision_rows

__all__ = ["Incoming", "same_review_id", "take"]

AT_ONCE = 5_000  # decisions a transaction
SHOWN = 10  # rows left out that are kept for people to see


@dataclass
class Incoming:
    """What came in.

    Attributes:
        read: Rows or annotations read, good or bad.
        labels: Curated labels that are new in the store.
        decisions: Decisions that are new in the store.
        reviewers: Reviewer to the number of decisions read.
        skipped: Why something was left out, to how often.
        first_skipped: The first few that were left out.
    """

    read: int = 0
    labels: int = 0
    decisions: int = 0
    reviewers: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    first_skipped: list[Skipped] = field(default_factory=list)

    def leave_out(self, skipped: Skipped) -> None:
        """Count what is left out."""
        self.skipped[skipped.reason] += 1
        if len(self.first_skipped) < SHOWN:
            self.first_skipped.append(skipped)


def take(
    store: Store,
    incoming: Iterable[tuple[Decision, Skipped] | Skipped],
    on_progress: Callable[[int], None] = lambda _: None,
) -> Incoming:
    """Write decisions into a store.

    Args:
        store: The store, open for writing.
        incoming: Decisions, each with what would be said if it cannot be taken (file and row), or what is left out.
        on_progress: Called with how many were read.

    Raises:
        InputError: Not one could be taken.
    """
    known = {report_id for (report_id,) in store.connection.execute("SELECT report_id FROM reports").fetchall()}
    summary = Incoming()
    entries = iter(incoming)
    while batch := list(islice(entries, AT_ONCE)):
        summary.read += len(batch)
        decisions = list(_good(batch, known, summary))
        added = store.write(decision_rows(decisions)) if decisions else {}
        summary.labels += added.get("labels", 0)
        summary.decisions += added.get("reviews", 0)
        summary.reviewers.update(decision.reviewer for decision in decisions)
        on_progress(summary.read)
    if not summary.reviewers:
        why = f"; the first: {summary.first_skipped[0].why}" if summary.first_skipped else ""
        raise InputError(f"not one decision could be taken{why}", "check that its reports are in this store")
    return summary


def same_review_id(decision: Decision, *, dated: bool) -> Decision:
    """Return a decision whose id follows from its content, so that reading a file twice gives it once.

    Args:
        decision: The decision.
        dated: Whether the file says when it was made; if not, that is no part of the id.
    """
    moment = decision.decided_at.isoformat() if dated else None
    parts = [decision.reviewer, decision.report_id, decision.task, decision.target, decision.action, decision.status]
    return replace(decision, review_id=content_id("rev", *parts, decision.icd10, decision.note, moment))


def _good(
    batch: Iterable[tuple[Decision, Skipped] | Skipped], known: set[str], summary: Incoming
) -> Iterator[Decision]:
    for entry in batch:
        if isinstance(entry, Skipped):
            summary.leave_out(entry)
            continue
        decision, otherwise = entry
        if decision.report_id in known:
            yield decision
        else:
            reason = "no report of that id in the store"
            summary.leave_out(replace(otherwise, reason=reason, detail=decision.report_id))
