"""One report as a reviewer sees it: its text with the evidence in place, every vote, what was decided."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Any

from teachback.store.label import FINDINGS
from teachback.store.page.queue import REASONS, ReviewQueue, standing
from teachback.store.page.sight import Sight, Step
from teachback.store.report import SECTIONS

__all__ = ["Piece", "ReportView", "TargetView", "Vote", "pieces", "view_report"]

# Whose vote comes first.
_KINDS = ("rule", "llm", "adjudicator", "student", "human")


@dataclass(frozen=True, slots=True)
class Vote:
    """What one labeler says of a target.

    Attributes:
        label_id: The label.
        labeler: Its name.
        kind: Its kind.
        status: What it says.
        confidence: How sure; None where it gave no figure.
        note: Why there is no figure.
        scope: The sections it read.
        cue: What decided, of the first span.
        quotes: The words it rests on that stand in the report.
        lost: Quotes that do not stand in the report.
        icd10: A disease's code.
        icd10_check: What the table of codes says of it.
        rationale: An adjudicator's reason.
        when: When it was given, in UTC.
        times: How many students of this name say the same; the others' probabilities are left out.
    """

    label_id: str
    labeler: str
    kind: str
    status: str
    confidence: float | None
    note: str
    scope: str
    cue: str
    quotes: tuple[str, ...]
    lost: tuple[str, ...]
    icd10: str | None
    icd10_check: str | None
    rationale: str
    when: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target of the report.

    Attributes:
        task: The task.
        target: The target.
        why: The reasons for which it is in the queue.
        votes: What was said of it; empty while it is hidden.
        teacher: What the teacher says, and by which label; None where it says nothing or is hidden.
        teacher_label_id: That label.
        mine: What this reviewer has set.
        others: What other reviewers have set, as (reviewer, status); empty while hidden.
        hidden: Whether the votes are kept from the reviewer until the decision.
        notes: Notes on it.
    """

    task: str
    target: str
    why: tuple[str, ...]
    votes: tuple[Vote, ...]
    teacher: str | None
    teacher_label_id: str | None
    mine: Step | None
    others: tuple[tuple[str, str], ...]
    hidden: bool
    notes: tuple[str, ...]

    @property
    def quiet(self) -> bool:
        """Whether everybody is silent on it: nothing to look at first."""
        return not self.why and not self.mine and all(vote.status == "unmentioned" for vote in self.votes)

    @property
    def split(self) -> bool:
        """Whether the votes differ."""
        return len({vote.status for vote in self.votes if vote.kind != "human"}) > 1


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a section's text, and the evidence that it belongs to: target to who rests on it, as text."""

    text: str
    by: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report, ready to be shown; `sections` are names with the pieces of their text."""

    report_id: str
    corpus: str
    split: str | None
    subject_id: str | None
    sections: tuple[tuple[str, tuple[Piece, ...]], ...]
    targets: tuple[TargetView, ...]
    notes: tuple[str, ...]


# What people say is read as in the view `human_labels`, which has all reports in mind; this reads one report's rows.
_VOTES = """
WITH decided AS (
    SELECT r.label_id, max(r.decided_at) FILTER (u.review_id IS NULL) AS decided_at
    FROM reviews r LEFT JOIN reviews u ON u.undoes = r.review_id AND u."action" = 'undo'
    WHERE r.report_id = $report AND r."action" = 'set'
    GROUP BY r.label_id
),
said_by_people AS (
    SELECT l.label_id, l.task, l.target, b.name, b.kind, l.status, l.confidence, l.confidence_note, l.scope, l.evidence,
        l.icd10, l.icd10_check, strftime(coalesce(d.decided_at, l.created_at), '%Y-%m-%d %H:%M') AS created,
        NULL AS rationale
    FROM labels l JOIN labelers b USING (labeler_id) LEFT JOIN decided d USING (label_id)
    WHERE l.report_id = $report AND b.kind = 'human' AND (d.label_id IS NULL OR d.decided_at IS NOT NULL)
    QUALIFY row_number() OVER (
        PARTITION BY l.labeler_id, l.task, l.target ORDER BY coalesce(d.decided_at, l.created_at) DESC, l.label_id) = 1
)
SELECT l.label_id, l.task, l.target, b.name, b.kind, l.status, l.confidence, l.confidence_note, l.scope, l.evidence,
    l.icd10, l.icd10_check, strftime(l.created_at, '%Y-%m-%d %H:%M') AS created,
    (SELECT any_value(a.rationale) FROM adjudications a WHERE a.report_id = $report AND a.label_id = l.label_id)
        AS rationale
FROM labels l JOIN labelers b USING (labeler_id)
WHERE l.report_id = $report AND b.kind <> 'human'
QUALIFY row_number() OVER (PARTITION BY l.labeler_id, l.task, l.target ORDER BY l.created_at DESC, l.label_id) = 1
UNION ALL BY NAME
FROM said_by_people
"""
_OPEN = """
SELECT b.name AS labeler, a.task, a.target, a.rationale, strftime(a.created_at, '%Y-%m-%d %H:%M') AS created
FROM adjudications a JOIN labelers b USING (labeler_id) WHERE a.report_id = $report AND a.verdict = 'cannot_tell'
"""
_TEACHER = """
SELECT task, target, status, label_id FROM teacher_labels WHERE report_id = $report
QUALIFY row_number() OVER (PARTITION BY task, target ORDER BY created_at DESC, label_id) = 1
"""


def view_report(sight: Sight, queue: ReviewQueue, report_id: str, reviewer: str, *, blind: bool) -> ReportView | None:
    """Read a report with everything on it; None when there is no such report.

    Args:
        sight: The store.
        queue: Why its targets are in the queue.
        report_id: The report.
        reviewer: Who looks.
        blind: Whether votes are hidden until this reviewer has decided.
    """
    found = sight.rows(
        "SELECT r.* EXCLUDE (imported_at), s.split FROM reports r LEFT JOIN splits s USING (report_id) "
        "WHERE r.report_id = ?",
        [report_id],
    )
    if not found:
        return None
    report = found[0]
    with sight.cursor() as cursor:
        votes = _dictionaries(cursor.execute(_VOTES, {"report": report_id}))
        undecided = _dictionaries(cursor.execute(_OPEN, {"report": report_id}))
        said = {
            (task, target): (status, label_id)
            for task, target, status, label_id in cursor.execute(_TEACHER, {"report": report_id}).fetchall()
        }
    steps = [step for step in standing(sight.steps()) if step.report_id == report_id]
    votes_by = _votes(votes, undecided)
    whys = queue.reasons_of(report_id)
    keys = [("findings", finding) for finding in FINDINGS]
    keys += sorted({key for key in (*votes_by, *whys, *_targets(steps)) if key not in keys})
    targets = tuple(
        _target(key, votes_by.get(key, ()), said.get(key), whys.get(key, []), steps, reviewer, blind=blind)
        for key in keys
    )
    shown = {(target.task, target.target) for target in targets if not target.hidden}
    sections = tuple(
        (name, tuple(pieces(report[name], [vote for vote in votes if (vote["task"], vote["target"]) in shown], name)))
        for name in SECTIONS
        if report[name]
    )
    notes = tuple(f"{step.reviewer}: {step.note}" for step in steps if step.note and step.target is None)
    return ReportView(report_id, report["corpus"], report["split"], report["subject_id"], sections, targets, notes)


def pieces(text: str, votes: Sequence[Mapping[str, Any]], section: str) -> list[Piece]:
    """Cut a section's text where evidence begins and ends, so that overlapping spans can each be shown.

    Args:
        text: The section's text.
        votes: Rows of labels with `target`, `name`, `status` and `evidence`.
        section: The section's name.
    """
    spans = [
        (max(0, span["start"]), min(len(text), span["end"]), vote["target"], f"{vote['name']}: {vote['status']}")
        for vote in votes
        for span in vote["evidence"] or []
        if span["section"] == section and 0 <= span["start"] < span["end"]
    ]
    cuts = sorted({0, len(text), *(place for start, end, _, _ in spans for place in (start, end))})
    cut = []
    for start, end in pairwise(cuts):
        by: dict[str, list[str]] = {}
        for first, last, target, who in spans:
            if first <= start and end <= last and who not in by.setdefault(target, []):
                by[target].append(who)
        cut.append(Piece(text[start:end], {target: ", ".join(who) for target, who in by.items() if who}))
    return cut


def _target(
    key: tuple[str, str],
    votes: Sequence[Vote],
    teacher: tuple[str, str] | None,
    why: Sequence[str],
    steps: Sequence[Step],
    reviewer: str,
    *,
    blind: bool,
) -> TargetView:
    on_it = [step for step in steps if (step.task, step.target) == key]
    sets = {step.reviewer: step for step in on_it if step.action == "set"}
    mine = sets.get(reviewer)
    hidden = blind and mine is None
    # Reasons tell what was voted: a blind reviewer sees only that it was drawn.
    reasons = [reason for reason in why if not hidden or reason in ("plan", "random")]
    return TargetView(
        task=key[0],
        target=key[1],
        why=tuple(REASONS[reason] for reason in reasons),
        votes=() if hidden else tuple(votes),
        teacher=None if hidden or teacher is None else teacher[0],
        teacher_label_id=None if hidden or teacher is None else teacher[1],
        mine=mine,
        others=() if hidden else tuple((name, str(step.status)) for name, step in sets.items() if name != reviewer),
        hidden=hidden,
        notes=tuple(f"{step.reviewer}: {step.note}" for step in on_it if step.note),
    )


def _votes(
    rows: Iterable[Mapping[str, Any]], undecided: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], list[Vote]]:
    found: dict[tuple[str, str], list[Vote]] = {}
    for row in rows:
        spans = row["evidence"] or []
        found.setdefault((row["task"], row["target"]), []).append(
            Vote(
                row["label_id"],
                row["name"],
                row["kind"],
                row["status"],
                row["confidence"],
                row["confidence_note"] or "",
                row["scope"],
                next((span["cue"] for span in spans if span["cue"]), ""),
                tuple(span["quote"] for span in spans if span["start"] >= 0),
                tuple(span["quote"] for span in spans if span["start"] < 0),
                row["icd10"],
                row["icd10_check"],
                row["rationale"] or "",
                row["created"],
            )
        )
    for row in undecided:
        found.setdefault((row["task"], row["target"]), []).append(
            Vote("", row["labeler"], "adjudicator", "cannot tell", None, "", "full", "", (), (), None, None,
                 row["rationale"] or "", row["created"])
        )  # fmt: skip
    return {key: _ordered(votes) for key, votes in found.items()}


def _ordered(votes: Sequence[Vote]) -> list[Vote]:
    """Return votes in the order in which they are shown; of students of one name that agree, the surest for all."""
    shown: list[Vote] = []
    for _, group in groupby(sorted(votes, key=_alike), key=_alike):
        same = sorted(group, key=lambda vote: vote.confidence or 0.0, reverse=True)
        shown += [replace(same[0], times=len(same))] if same[0].kind == "student" else same
    return shown


def _alike(vote: Vote) -> tuple[int, str, str]:
    return _KINDS.index(vote.kind), vote.labeler, vote.status


def _targets(steps: Iterable[Step]) -> list[tuple[str, str]]:
    return [(step.task, step.target) for step in steps if step.task and step.target]


def _dictionaries(found: Any) -> list[dict[str, Any]]:
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
