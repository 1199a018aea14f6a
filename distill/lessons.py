"""Step 2, continued: from a round's rows to lessons, each a text with what the student should answer about it.

A label is taught on the text of its own scope. With unit `report` that is the sections that it was made from, one
lesson a report and scope. With unit `sentence` it is the sentences that hold its evidence: of the finding the other
sentences of the scope say nothing, and so they do of what the labeler left unmentioned. A label without evidence in the
report is taught on the whole scope, as diseases are, which are listed over a report.

Sentences repeat (a quarter of all impressions has "No acute cardiopulmonary abnormality."). Equal ones are one lesson:
the status with the most weight, weighed by the square root of how often it was said, up to three. A pseudo-label is
taught on the sentence that decided it alone: what a student finds nothing in is most of what it reads, and would
outnumber what the teacher says. One of `unmentioned` is taught on the sentences that decided other pseudo-labels of its
report: without that contrast a student learns that whatever is new to it speaks of something. A label that was carried
over (`carry`) is taught on that section too, where one sentence says it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.disease_lessons import disease_targets, disease_vocabulary
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.passages import Passage, passages_of, touched
from teachback.distill.questions import Questions, Target, format_diseases
from teachback.distill.tree import TreeRow
from teachback.store.label import FINDINGS
from teachback.store.report import Report, Scope

__all__ = ["Lesson", "plant_rows", "write_lessons"]

DISEASES = "diseases"
_MOST = 9.0  # repetitions that count: a lesson weighs at most three times as much as one that was said once
_SILENT = "unmentioned"

# Of a text, finding to status to (weight of all who say so, the largest of these weights).
_Votes = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A text and what a student should answer about it.

    Attributes:
        text: What it reads.
        targets: Question (a finding, or `diseases`) to the answer with its weight, findings in the order of `FINDINGS`.
    """

    text: str
    targets: Mapping[str, Target]


def write_lessons(rows: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings) -> list[Lesson]:
    """Turn a round's selected rows into lessons, in an order that does not depend on that of the rows."""
    reports = {report.report_id: report for split in ("train", "pool") for report in frozen.reports[split]}
    grouped: dict[tuple[str, str], list[TrainingRow]] = defaultdict(list)
    for row in rows:
        if row.selected:
            grouped[row.label.report_id, row.label.scope].append(row)
    lessons: list[Lesson] = []
    votes: dict[str, _Votes] = {}
    vocabulary = disease_vocabulary(rows)
    for (report_id, scope), members in sorted(grouped.items()):
        report = reports[report_id]
        text = report.text(scope)  # type: ignore[arg-type]  # a scope that the store's CHECK let in
        if not text:
            continue
        whole = _findings(members)
        if settings.unit == "sentence":
            whole = _vote(report, scope, whole, votes, settings.scope)
        targets = {f: _target(whole[f]) for f in FINDINGS if f in whole}
        if listed := _list_diseases(members, report_id in frozen.listed, settings):
            targets |= disease_targets(listed, members, report, vocabulary, settings)
        if targets:
            lessons.append(Lesson(text, targets))
    soft = settings.targets == "soft"
    return lessons + [Lesson(text, _shared(of) if soft else _decided(of)) for text, of in sorted(votes.items())]


def plant_rows(
    rows: Sequence[TrainingRow], frozen: Frozen, questions: Questions, settings: CampaignSettings
) -> list[TreeRow]:
    """Turn selected rows into trees, one a lesson, in a fixed order."""
    lessons = write_lessons(rows, frozen, settings)
    return [row for lesson in lessons for row in questions.rows(lesson.text, lesson.targets)]


def _findings(members: Iterable[TrainingRow]) -> dict[str, TrainingRow]:
    return {row.label.target: row for row in members if row.label.task == "findings"}


def _target(row: TrainingRow) -> Target:
    shares: dict[str, float] = defaultdict(float)
    for share in row.label.shares:
        shares[share.status] += share.share
    return Target(row.label.status, row.weight, tuple(shares.items()))


def _list_diseases(members: Sequence[TrainingRow], listed: bool, settings: CampaignSettings) -> Target | None:
    from_teacher = any(row.source != "pseudo" for row in members)
    if DISEASES not in settings.tasks or not listed or not from_teacher or settings.disease_weight == 0:
        return None
    diseases = [
        (row.label.target, row.label.icd10)
        for row in members
        if row.label.task == DISEASES and row.label.status == "present"
    ]
    return Target(format_diseases(diseases), settings.disease_weight)


def _vote(
    report: Report, scope: str, findings: Mapping[str, TrainingRow], votes: dict[str, _Votes], student_scope: Scope
) -> dict[str, TrainingRow]:
    """Add what labels say of their sentences; return those that can be taught on the whole scope alone."""
    passages = passages_of(report, scope)  # type: ignore[arg-type]
    fed = {i for row in findings.values() if row.source == "pseudo" for i in touched(passages, row.label.evidence)}
    unplaced = {}
    for finding, row in findings.items():
        places = touched(passages, row.label.evidence)
        if not places and row.label.status != _SILENT:
            unplaced[finding] = row
            continue
        shared = _said(passages, row.label)
        if any(shared):
            _vote_in_part(passages, shared, row, votes)
        for i, passage in enumerate(passages):
            if any(shared) or (row.source == "pseudo" and i not in (fed if row.label.status == _SILENT else places)):
                continue
            _count(votes, passage, row.label if i in places else None, finding, row.weight)
        if row.carried:
            sections = {section for section, _, _ in row.carried}
            others = [passage for passage in passages_of(report, student_scope) if passage.section in sections]
            again = touched(others, row.carried)
            for i, passage in enumerate(others):
                _count(votes, passage, row.label if i in again else None, finding, row.weight)
    return unplaced


def _count(votes: dict[str, _Votes], passage: Passage, label: TaughtLabel | None, finding: str, weight: float) -> None:
    status = label.status if label else _SILENT
    of = votes.setdefault(passage.text, {}).setdefault(finding, {})
    total, largest = of.get(status, (0.0, 0.0))
    of[status] = (total + weight, max(largest, weight))


def _said(passages: Sequence[Passage], label: TaughtLabel) -> list[dict[str, float]]:
    """Return for each passage the shares of the statuses that a label quotes it for."""
    said: list[dict[str, float]] = [defaultdict(float) for _ in passages]
    for share in label.shares:
        for i in touched(passages, share.evidence):
            said[i][share.status] += share.share
    return said


def _vote_in_part(
    passages: Sequence[Passage], said: list[dict[str, float]], row: TrainingRow, votes: dict[str, _Votes]
) -> None:
    """Add what a label's shares say of each sentence; the rest of it is silence."""
    for passage, shares in zip(passages, said, strict=True):
        shares[_SILENT] += max(0.0, 1 - sum(shares.values()))
        of = votes.setdefault(passage.text, {}).setdefault(row.label.target, {})
        for status, share in shares.items():
            if share > 0:
                total, largest = of.get(status, (0.0, 0.0))
                of[status] = (total + share * row.weight, max(largest, row.weight))


def _shared(votes: _Votes) -> dict[str, Target]:
    """Let each status have the share of those who say so, in place of the most common one alone."""
    targets: dict[str, Target] = {}
    for finding in (f for f in FINDINGS if f in votes):
        of = votes[finding]
        total, largest = sum(weight for weight, _ in of.values()), max(weight for _, weight in of.values())
        if not largest:
            targets |= _decided({finding: of})
            continue
        repeated = min(total / largest, _MOST)
        shares = tuple((status, weight / total) for status, (weight, _) in sorted(of.items()) if weight > 0)
        most = max(of, key=lambda status: (of[status][0], status != _SILENT))
        targets[finding] = Target(most, largest * repeated**0.5, shares)
    return targets


def _decided(votes: _Votes) -> dict[str, Target]:
    targets = {}
    for finding in (f for f in FINDINGS if f in votes):
        status, (total, largest) = max(votes[finding].items(), key=lambda vote: (vote[1][0], vote[0] != _SILENT))
        repeated = min(total / largest, _MOST) if largest else 0.0
        targets[finding] = Target(status, largest * repeated**0.5)
    return targets
