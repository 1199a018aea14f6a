"""Step 2, assemble: from labels to the rows that a round trains on.

Every label is trained on the text of its own scope: a label made from the impression says nothing about the findings
section, so a student that reads both would learn that half of what it sees is not there.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.questions import Questions, Target, format_diseases
from teachback.distill.tree import TreeRow
from teachback.store.label import FINDINGS
from teachback.store.report import Report

__all__ = ["TrainingRow", "assemble", "plant_rows", "scoped_texts"]


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One label that a round trains on, or refused to.

    Attributes:
        label: The label.
        source: `teacher`, `curated` or `pseudo`.
        weight: What it counts in the loss.
        reason: Why it was taken or refused.
        selected: Whether it was taken.
    """

    label: TaughtLabel
    source: str
    weight: float
    reason: str
    selected: bool = True


def assemble(frozen: Frozen, settings: CampaignSettings, pseudo: Sequence[TrainingRow] = ()) -> list[TrainingRow]:
    """Collect a round's rows: teacher labels, curated ones in their place, and selected pseudo-labels.

    Args:
        frozen: The campaign's inputs.
        settings: The weights of each source.
        pseudo: Pseudo-labels of the champion, refused ones among them.
    """
    curated = {(c.report_id, c.task, c.target) for c in frozen.curated}
    rows = [
        TrainingRow(label, "teacher", settings.teacher_weight, f"teacher label, {label.decided_by}")
        for label in frozen.taught
        if (label.report_id, label.task, label.target) not in curated
    ]
    rows += [TrainingRow(label, "curated", settings.curated_weight, "curated label") for label in frozen.curated]
    return rows + list(pseudo)


def plant_rows(
    rows: Sequence[TrainingRow], frozen: Frozen, questions: Questions, settings: CampaignSettings
) -> list[TreeRow]:
    """Turn selected rows into trees, one for each report and scope, in a fixed order."""
    reports = {report.report_id: report for split in ("train", "pool") for report in frozen.reports[split]}
    grouped: dict[tuple[str, str], list[TrainingRow]] = defaultdict(list)
    for row in rows:
        if row.selected:
            grouped[row.label.report_id, row.label.scope].append(row)
    trees = []
    for (report_id, scope), members in sorted(grouped.items()):
        text = reports[report_id].text(scope)  # type: ignore[arg-type]  # a scope that the store's CHECK let in
        targets = _targets(members, report_id in frozen.listed, settings)
        if text and targets:
            trees.append(questions.row(text, targets))
    return trees


def scoped_texts(reports: Sequence[Report], settings: CampaignSettings) -> tuple[list[str], list[str]]:
    """Return the ids and texts of the reports that have something to read in the student's scope."""
    pairs = [(report.report_id, text) for report in reports if (text := report.text(settings.scope))]
    return [report_id for report_id, _ in pairs], [text for _, text in pairs]


def _targets(members: Sequence[TrainingRow], listed: bool, settings: CampaignSettings) -> Mapping[str, Target]:
    findings = {row.label.target: row for row in members if row.label.task == "findings"}
    targets = {f: Target(findings[f].label.status, findings[f].weight) for f in FINDINGS if f in findings}
    from_model = any(row.source != "pseudo" for row in members)
    if "diseases" in settings.tasks and listed and from_model and settings.disease_weight > 0:
        diseases = [
            (row.label.target, row.label.icd10)
            for row in members
            if row.label.task == "diseases" and row.label.status == "present"
        ]
        targets["diseases"] = Target(format_diseases(diseases), settings.disease_weight)
    return targets
