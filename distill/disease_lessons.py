"""What a student is taught about diseases: its list, in phrases or in JSON, and yes or no for each disease.

In JSON each disease stands with the words that it was listed for; one whose words are not in the report is not taught.
An answer in JSON is some three times as long as the same list in phrases, and counts as much.

A student that shall say how sure it is of a disease must have been asked: `yes` for what its teacher lists, `no` for
what its teacher denies or only suspects, and for as many diseases of other reports, drawn by how often they are listed.
The findings that the same teacher has labelled are asked too, so that `no` is not only what a report is silent about.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from teachback.agents.grounding import places
from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.disease_json import LONGEST_EVIDENCE, format_json
from teachback.distill.questions import DISEASES, DISEASES_JSON, VERIFY, Target
from teachback.store.quality.synonyms import concept_of
from teachback.store.report import Report

__all__ = ["disease_targets", "disease_vocabulary"]

SHORT_EVIDENCE = 60  # characters of a quote that is taught as it is
FINDINGS_ASKED = 2  # findings a report that are asked with yes or no
FEWEST_OTHERS = 2  # diseases of other reports that are asked, however few the report has


def disease_vocabulary(rows: Sequence[TrainingRow]) -> Counter[str]:
    """Count how often each disease is listed."""
    return Counter(row.label.target for row in _diseases(rows) if row.label.status == "present")


def disease_targets(
    listed: Target, members: Sequence[TrainingRow], report: Report, vocabulary: Counter[str], settings: CampaignSettings
) -> dict[str, Target]:
    """Return what a lesson asks about diseases.

    Args:
        listed: The list in phrases, with its weight.
        members: The report's rows of one scope.
        report: The report.
        vocabulary: What other reports' diseases are drawn from.
        settings: Form and weights.
    """
    targets = {DISEASES: listed}
    if settings.disease_form == "json":
        answer = format_json([entry for row in _diseases(members) if (entry := _quoted(row, report)) is not None])
        targets = {DISEASES_JSON: Target(answer, listed.weight * min(1.0, len(listed.answer) / len(answer)))}
    if settings.verify_weight > 0:
        for disease, answer in _verified(members, report.report_id, vocabulary, settings.seed).items():
            targets[VERIFY + disease] = Target(answer, settings.verify_weight)
    return targets


def _verified(members: Sequence[TrainingRow], report_id: str, vocabulary: Counter[str], seed: int) -> Mapping[str, str]:
    draw = random.Random(f"{seed}:{report_id}")
    said = {row.label.target: "yes" if row.label.status == "present" else "no" for row in _diseases(members)}
    known = {concept_of(disease) for disease in said}
    findings = sorted(
        (row.label.target.lower(), row.label.status)
        for row in members
        if row.label.task == "findings" and row.label.status != "unmentioned"
    )
    for finding, status in draw.sample(findings, min(FINDINGS_ASKED, len(findings))):
        if concept_of(finding) not in known:
            said[finding] = "yes" if status == "present" else "no"
            known.add(concept_of(finding))
    diseases, counts = list(vocabulary), list(vocabulary.values())
    wanted = max(FEWEST_OTHERS, sum(answer == "yes" for answer in said.values()))
    for other in draw.choices(diseases, counts, k=wanted) if diseases else ():
        if concept_of(other) not in known:
            said[other] = "no"
            known.add(concept_of(other))
    return said


def _quoted(row: TrainingRow, report: Report) -> tuple[str, str | None, str] | None:
    """Return a present disease with the words of the report that it was listed for; None where there are none."""
    label = row.label
    if label.status != "present":
        return None
    quotes = [report.sections[section][start:end] for section, start, end in label.evidence if start >= 0]
    if quotes and len(quotes[0]) <= SHORT_EVIDENCE:
        return label.target, label.icd10, quotes[0]
    # A long quote costs tokens and says no more than the disease's own words, where the report has them.
    sections = report.scoped(label.scope)  # type: ignore[arg-type]  # a scope that the store's CHECK let in
    if found := places(label.target, [("", quote) for quote in quotes] or sections):
        texts = dict(sections) | ({"": quotes[0]} if quotes else {})
        return label.target, label.icd10, texts[found[0].section][found[0].start : found[0].end]
    return (label.target, label.icd10, quotes[0]) if quotes and len(quotes[0]) <= LONGEST_EVIDENCE else None


def _diseases(rows: Sequence[TrainingRow]) -> list[TrainingRow]:
    return [row for row in rows if row.selected and row.label.task == "diseases" and row.source != "pseudo"]
