"""What a reviewer decides: a curated label for each status that is set, and a row of `reviews` for each step.

Nothing is changed afterwards. To undo a step is a further step, which takes the first one's label out of the curated
labels (view `human_labels`).
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from teachback.errors import SettingError, StoreError
from teachback.store.database import Store
from teachback.store.inbox import post
from teachback.store.label import FINDINGS, STATUSES, TASKS, Evidence, Label, Labeler, Status, Task
from teachback.store.rows import label_row, labeler_row

__all__ = ["Action", "Decision", "decision_rows", "deliver", "record", "reviewer_labeler"]

Action = Literal["set", "skip", "note", "undo"]
ACTIONS: tuple[Action, ...] = get_args(Action)
REVIEW_VERSION = "review-1"  # of what a person is shown and asked; part of who a reviewer is as a labeler
LONGEST_NAME = 80  # characters of a reviewer's name
DECIDED_BY_HAND = "decided by a person"


@dataclass(frozen=True, slots=True)
class Decision:
    """One step of a reviewer.

    Attributes:
        report_id: The report.
        reviewer: Who decides.
        action: `set` gives a status, `undo` takes an earlier step back, `skip` and `note` decide nothing.
        task: The task; None where it is about the whole report.
        target: The target; None likewise.
        status: The status that is set.
        icd10: A disease's code.
        note: What the reviewer wrote.
        why: Why it was shown, such as `cannot_tell`.
        accepts: The label that the reviewer agreed with, where one was accepted.
        undoes: The step that is taken back.
        blind: Whether the votes were hidden.
        seconds: How long the reviewer looked at it.
        plan_id: The audit plan that drew it.
        evidence: What the reviewer marked in the report.
        review_id: Its id, unlike any other.
        decided_at: When, in UTC.
    """

    report_id: str
    reviewer: str
    action: Action
    task: Task | None = None
    target: str | None = None
    status: Status | None = None
    icd10: str | None = None
    note: str | None = None
    why: str | None = None
    accepts: str | None = None
    undoes: str | None = None
    blind: bool = False
    seconds: float | None = None
    plan_id: str | None = None
    evidence: tuple[Evidence, ...] = ()
    review_id: str = field(default_factory=lambda: f"rev_{uuid.uuid4().hex[:24]}")
    decided_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        if not self.reviewer.strip() or len(self.reviewer) > LONGEST_NAME or not self.reviewer.isprintable():
            raise SettingError(
                f"{self.reviewer!r} is no reviewer's name", f"give a name of 1 to {LONGEST_NAME} characters"
            )
        if self.action not in ACTIONS:
            raise SettingError(f"{self.action!r} is no action", f"use one of {', '.join(ACTIONS)}")
        # A file of the inbox is UTF-8, which has no half of a pair of surrogates; a browser may send one.
        for text in (self.target, self.icd10, self.note, self.why):
            if text and not text.encode("utf-8", "replace").decode("utf-8") == text:
                raise SettingError(f"{text!r} is no text", "leave out the character that is broken")
        if self.action == "set":
            self._check_set()
        if self.action == "undo" and not self.undoes:
            raise SettingError("an undo names no step", "give the id of the step to take back")
        if self.action == "note" and not (self.note or "").strip():
            raise SettingError("the note is empty", "write something, or skip")

    def _check_set(self) -> None:
        if self.status not in STATUSES:
            raise SettingError(f"{self.status!r} is no status", f"use one of {', '.join(STATUSES)}")
        if self.task not in TASKS or not (self.target or "").strip():
            raise SettingError("a status is set for nothing", "name the task and the target")
        if self.task == "findings" and self.target not in FINDINGS:
            raise SettingError(f"{self.target!r} is no finding", f"use one of {', '.join(FINDINGS)}")

    def label(self) -> Label | None:
        """Return the curated label that it gives; None where it sets no status."""
        if self.action != "set" or self.task is None or self.target is None or self.status is None:
            return None
        return Label(
            report_id=self.report_id,
            task=self.task,
            target=self.target,
            status=self.status,
            labeler_id=reviewer_labeler(self.reviewer).labeler_id,
            scope="full",
            confidence_note=DECIDED_BY_HAND,
            evidence=self.evidence,
            icd10=self.icd10,
        )


def reviewer_labeler(name: str) -> Labeler:
    """Return who a reviewer is as a labeler."""
    return Labeler("human", name.strip(), REVIEW_VERSION)


def decision_rows(decisions: Iterable[Decision]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that decisions add to the store: labelers, labels and reviews."""
    rows: dict[str, list[dict[str, Any]]] = {"labelers": [], "labels": [], "reviews": []}
    for decision in decisions:
        labeler, label = reviewer_labeler(decision.reviewer), decision.label()
        rows["labelers"].append(labeler_row(labeler))
        if label is not None:
            rows["labels"].append(label_row(label))
        rows["reviews"].append(
            {
                "review_id": decision.review_id,
                "report_id": decision.report_id,
                "task": decision.task,
                "target": decision.target,
                "action": decision.action,
                "status": decision.status,
                "label_id": label.label_id if label else None,
                "accepts": decision.accepts,
                "undoes": decision.undoes,
                "reviewer": decision.reviewer.strip(),
                "labeler_id": labeler.labeler_id,
                "note": decision.note,
                "why": decision.why,
                "blind": decision.blind,
                "seconds": decision.seconds,
                "plan_id": decision.plan_id,
                "decided_at": decision.decided_at,
            }
        )
    return {table: given for table, given in rows.items() if given}


def record(store: Path | str, decisions: Iterable[Decision]) -> Path:
    """Keep decisions: they are durable when this returns, and in the store as soon as somebody can write it."""
    return post(store, decision_rows(decisions))


def deliver(store: Path | str) -> bool:
    """Take what was posted into the store and publish it, unless another process writes: then that one does it.

    Returns:
        Whether the store was open to us.
    """
    try:
        opened = Store(store, create=False, patience_s=0.0)
    except StoreError:
        return False
    with opened:
        opened.take_in()
    return True
